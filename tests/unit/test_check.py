import numpy as np
import pytest
from ecg_files import adc, write_record

from ecgopt.data.check import check
from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare

AF, NORM = "164889003", "426783006"


@pytest.fixture
def found(tmp_path):
    folder = tmp_path / "in"
    for number in range(4):
        comments = f"#Patient: p{number // 2}\n#Dx: {AF if number else NORM}\n"
        write_record(folder, f"r{number}", adc(5000, seed=number), comments=comments)
    write_record(folder, "copy", adc(5000, seed=1), comments="#Patient: p9\n#Dx:\n")
    flat = adc(5000, seed=7)
    flat[:, 3] = 12
    write_record(folder, "flat", flat, comments="#Patient: p8\n#Dx: 1\n#Age: 3\n#Sex: F\n")
    clipped = adc(5000, seed=8)
    clipped[1000:1200, 5] = clipped[:, 5].max() + 500
    write_record(folder, "clipped", clipped, comments=f"#Dx: {AF}\n")
    write_record(folder, "short", adc(100), comments="")
    prepared = prepare("cinc", [folder], tmp_path / "out", PrepareSettings())
    return check(prepared, label_set("georgia"))


def test_records_patients_and_classes_are_counted(found):
    assert (found.counts["found"], found.counts["kept"]) == (8, 7)
    assert found.patients == 5
    assert (found.positives["AF"], found.positives["NORM"], found.positives["SB"]) == (4, 1, 0)
    assert found.unlabelled == 2
    assert found.without_statement == 1
    assert (found.without_age, found.without_sex) == (6, 6)
    assert found.dropped_reasons == {"shorter than 10 s": 1}


def test_equal_signals_flat_and_saturated_leads_are_named(found):
    assert found.duplicates == (("copy", "r1"),)
    assert found.flat == ("flat",)
    assert found.saturated == ("clipped",)


def test_warnings_name_what_a_study_should_know(found):
    text = "\n".join(found.warnings)
    assert "1 records have no published patient" in text
    assert "no record is IAVB, SB, LAD" in text
    assert "1 groups of records have equal signals" in text
    assert "1 records have a flat lead" in text
    assert "damaged" not in text


def test_folds_are_counted_by_record_and_patient(tmp_path):
    folder = tmp_path / "in"
    for number, record in enumerate(("HR00001", "HR00002", "HR00003")):
        write_record(folder, record, adc(5000, seed=number))
    prepared = prepare("ptbxl_cinc", [folder], tmp_path / "out", PrepareSettings())
    found = check(prepared, label_set("cinc2020"))
    assert found.records_per_fold == {2: 1, 3: 1, 5: 1}
    assert found.patients_per_fold == {2: 1, 3: 1, 5: 1}
    assert found.patients_in_several_folds == 0
    assert found.without_patient == 0


def test_a_heartbeat_is_no_saturation(tmp_path):
    time = np.arange(5000) / 500
    beats = (1000 * np.exp(-(((time % 0.8) - 0.4) ** 2) / 0.002)).astype("<i2")
    write_record(tmp_path / "in", "r", np.repeat(beats[:, None], 12, axis=1))
    prepared = prepare("cinc", [tmp_path / "in"], tmp_path / "out", PrepareSettings())
    assert check(prepared, label_set("georgia")).saturated == ()


def test_statements_that_no_class_uses_and_absent_codes_are_named(tmp_path):
    for number, code in enumerate((AF, "i48", "i48", f"{AF}|{NORM}")):
        write_record(
            tmp_path / "in", f"r{number}", adc(5000, seed=number), comments=f"#Dx: {code}\n"
        )
    found = check(
        prepare("cinc", [tmp_path / "in"], tmp_path / "out", PrepareSettings()),
        label_set("georgia"),
    )
    assert found.unused_codes == {"i48": 2, f"{AF}|{NORM}": 1}
    assert NORM in found.absent_codes
    assert AF not in found.absent_codes
