"""The descriptions of published sets in the documentation read files in their layout."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from ecg_files import adc, write_record
from made_sets import limb_consistent

from ecgopt.cli.data import app
from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare

PAGE = (Path(__file__).parents[4] / "docs" / "data.md").read_text(encoding="utf-8")


def block(kind, first):
    found = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    (text,) = [each for each in found if each.startswith(first)]
    return text


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_mimic_iv_ecg_is_joined_to_the_reports_of_its_machines(here):
    root = here / "mimic-iv-ecg"
    rows, reports = [], []
    # The files name aVF before aVL, and state 200 units per millivolt.
    order = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
    for study, subject in ((40689238, 10000032), (44458630, 10000032), (49036311, 10000117)):
        path = f"files/p1000/p{subject}/s{study}/{study}"
        write_record(
            (root / path).parent, str(study), adc(5000, seed=study), gain="200.0(0)/mV", leads=order
        )
        rows.append(f"{subject},{study},{study},2180-07-23 08:44:00,{path}\n")
    columns = "subject_id,study_id,file_name,ecg_time,path\n"
    (root / "record_list.csv").write_text(columns + "".join(rows))
    names = ",".join(f"report_{i}" for i in range(18))
    for study, lines in (
        (40689238, ["Sinus rhythm", '"Left bundle branch block, complete"']),
        (44458630, ["Atrial fibrillation with rapid ventricular response"]),
    ):
        cells = ",".join([*lines, *[""] * (18 - len(lines))])
        reports.append(f"10000032,{study},6848296,2180-07-23 08:44:00,{cells},0.05-150 Hz,659\n")
    (root / "machine_measurements.csv").write_text(
        f"subject_id,study_id,cart_id,ecg_time,{names},bandwidth,rr_interval\n" + "".join(reports)
    )
    Path("mimic.toml").write_text(block("toml", 'name = "mimic_ecg"'))
    prepared = prepare("mimic.toml", [], here / "out", PrepareSettings(sampling_rate_hz=500))
    assert prepared.manifest["dropped_reasons"] == {
        "no row in mimic-iv-ecg/machine_measurements.csv": 1
    }
    assert set(prepared.records["patient"]) == {"mimic_ecg-10000032"}
    labels = dict(
        zip(prepared.records["record"], prepared.labels(label_set("mimic.toml")), strict=True)
    )
    assert labels["files/p1000/p10000032/s40689238/40689238"].tolist() == [False, True, False]
    assert labels["files/p1000/p10000032/s44458630/44458630"].tolist() == [True, False, False]
    row = list(prepared.records["record"]).index("files/p1000/p10000032/s40689238/40689238")
    expected = adc(5000, seed=40689238)[:, order.index("aVL")] * 5.0
    assert np.array_equal(prepared.signals[row][4], expected.clip(-32767, 32767))


def test_an_array_with_a_table_of_flags_is_imported_and_named_by_the_table(here):
    waves = np.stack([limb_consistent(2500, seed=i) / 1000 for i in range(3)])
    np.save("waveforms.npy", waves[:, None].astype(np.float32))
    Path("metadata.csv").write_text(
        "ecg_key,patient_key,age_at_ecg,sex,split,lvef_lte_45_flag\n"
        "11,1,60,female,train,1\n12,1,61,female,train,0\n13,2,75,male,val,\n"
    )
    app(shlex.split(block("sh", "ecgopt data import"))[2:], result_action="return_value")
    Path("echo.toml").write_text(block("toml", 'name = "echo"'))
    settings = PrepareSettings(sampling_rate_hz=250)
    prepared = prepare("echo.toml", [], here / "out", settings)
    assert list(prepared.records["record"]) == ["11", "12"]
    assert prepared.manifest["dropped_reasons"] == {"a flag is unknown": 1}
    assert np.abs(prepared.signals[0] - waves[0].T * 1000).max() <= 1
