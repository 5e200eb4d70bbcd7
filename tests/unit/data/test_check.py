import re
from dataclasses import replace

import numpy as np
import pytest
from ecg_files import adc, real, write_record

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


def doubts_of(found, topic):
    return [doubt for doubt in found.doubts if doubt.topic == topic]


def test_equal_signals_flat_and_saturated_leads_are_named(found):
    assert [doubt.records for doubt in doubts_of(found, "copies")] == [("copy=r1",)]
    named = {doubt.text: doubt.records for doubt in doubts_of(found, "signal")}
    assert named["1 records have a flat lead"] == ("flat",)
    assert named["1 records have a lead that rests at the end of its range"] == ("clipped",)


def test_doubts_name_what_a_study_should_know(found):
    text = "\n".join(doubt.text for doubt in found.doubts)
    assert "1 records have no published patient" in text
    assert "no record is IAVB, SB, LAD" in text
    assert "1 pairs of records are the same recording" in text
    assert "1 records have no statement" in text
    assert re.search(r"few patients, so a noisy measure: .*\bNORM \(1\)", text)
    assert "damaged" not in text
    assert [doubt.level for doubt in found.doubts] == sorted(
        (doubt.level for doubt in found.doubts), key=("error", "warning", "note").index
    )


# Leads, amplitudes and rates, on real records


@pytest.fixture(scope="module")
def ptbxl(tmp_path_factory):
    folders = [real("ptbxl_native"), real("ptbxl_resampled100")]
    return prepare("ptbxl", folders, tmp_path_factory.mktemp("ptbxl"), PrepareSettings())


def changed(prepared, change, *, n=300):
    """Return the first records of a set with other signals."""
    signals = change(np.array(prepared.signals[:n]))
    return replace(prepared, signals=signals, records=prepared.records.iloc[:n])


def errors_of(prepared):
    found = check(prepared, label_set("ptbxl_superclass"))
    return [doubt.text for doubt in found.doubts if doubt.level == "error"], found


def test_real_records_give_no_error_and_one_suspect_of_swapped_arms(ptbxl):
    errors, found = errors_of(ptbxl)
    assert errors == []
    assert [doubt.records for doubt in doubts_of(found, "leads")] == [("12162",)]
    assert doubts_of(found, "amplitude") == doubts_of(found, "sampling") == []


def test_public_records_of_other_sets_have_sound_leads(tmp_path):
    folders = [real("cinc2021_utu"), real("cinc2021_deeppsp"), real("cinc2020_awwong1")]
    prepared = prepare("cinc", folders, tmp_path, PrepareSettings())
    found = check(prepared, label_set("cinc2021"))
    assert doubts_of(found, "leads") == doubts_of(found, "amplitude") == []


@pytest.mark.parametrize(
    ("order", "remedy"),
    [
        ([0, 1, 2, 3, 5, 4], "aVL and aVF exchanged"),
        ([1, 0, 2, 3, 4, 5], "I and II exchanged"),
        ([0, 1, 3, 2, 4, 5], "III and aVR exchanged"),
    ],
)
def test_mislabelled_limb_leads_are_an_error_with_the_right_order(ptbxl, order, remedy):
    errors, _ = errors_of(changed(ptbxl, lambda x: x[:, [*order, *range(6, 12)]]))
    assert len(errors) == 1
    assert re.fullmatch(rf"\d+ records .* Goldberger's relations: .* with {remedy}", errors[0])


def test_inverted_lead_is_an_error(ptbxl):
    signs = np.ones((12, 1), dtype=np.int16)
    signs[2] = -1
    errors, _ = errors_of(changed(ptbxl, lambda x: x * signs))
    assert errors[0].endswith("III inverted")


def test_exchanged_arm_electrodes_are_found(ptbxl):
    def exchange(x):
        # The right arm's electrode on the left arm: I is inverted, II and III, aVR and aVL change.
        return np.stack(
            [-x[:, 0], x[:, 2], x[:, 1], x[:, 4], x[:, 3], x[:, 5], *x.swapaxes(0, 1)[6:]], 1
        )

    _, found = errors_of(changed(ptbxl, exchange))
    (doubt,) = doubts_of(found, "leads")
    assert "lead I upside down" in doubt.text
    assert len(doubt.records) > 0.6 * 300


@pytest.mark.parametrize("factor", [0.01, 30])
def test_wrong_unit_is_an_error(ptbxl, factor):
    scaled = changed(ptbxl, lambda x: np.clip(x * factor, -32767, 32767).astype(np.int16))
    errors, _ = errors_of(scaled)
    assert any("the unit or gain in the files is wrong" in text for text in errors)


def test_wrong_sampling_rate_is_an_error(ptbxl):
    errors, _ = errors_of(changed(ptbxl, lambda x: x[:, :, ::2]))
    assert len(errors) == 1
    assert "the sampling rate in the files is probably wrong" in errors[0]


def test_copies_in_another_set_are_named(ptbxl):
    found = check(changed(ptbxl, lambda x: x, n=20), label_set("ptbxl_superclass"), others=[ptbxl])
    assert "20 records are in " in doubts_of(found, "copies")[0].text


def test_placeholders_of_patients_and_ages_are_doubted(ptbxl):
    records = ptbxl.records.copy()
    records.loc[:99, "patient"] = "clinic-unknown"
    records.loc[:4, "age_years"] = 0.0
    _, found = errors_of(replace(ptbxl, records=records))
    assert "patient clinic-unknown has 100 records" in doubts_of(found, "patients")[-1].text
    assert "5 records of a set of adults have age 0" in doubts_of(found, "age")[0].text


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
    assert doubts_of(check(prepared, label_set("georgia")), "signal") == []


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
