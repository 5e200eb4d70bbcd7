"""What every reader must do, shown on real records wherever they are at hand."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ecg_files import adc, real, write_record
from made_sets import (
    make_code15_native,
    make_code_test,
    make_cpsc_native,
    make_own,
    make_ptb,
    make_samitrop,
    make_sph,
)

from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.records import Source
from ecgopt.data.sources.catalog import dataset_info, source, source_names
from ecgopt.data.sources.synthetic import SyntheticSettings, write_synthetic
from ecgopt.errors import RecordError

CINC_FOLDERS = ["cinc2021_utu", "cinc2021_deeppsp", "cinc2020_awwong1"]


def cinc(_: Path) -> list[Path]:
    return [real(name) for name in CINC_FOLDERS]


def synthetic(folder: Path) -> list[Path]:
    write_synthetic(folder / "set", SyntheticSettings(n_records=10, seed=1))
    return [folder / "set"]


def incart(folder: Path) -> list[Path]:
    for number in (1, 2):
        write_record(
            folder, f"I{number:04d}", adc(60_000, seed=number), rate=257, gain="306/mV",
            suffix=".mat", comments="#Age: 65\n#Sex: F\n#Dx: 164889003\n",
        )  # fmt: skip
    return [folder]


def own(folder: Path) -> list[Path]:
    make_own(folder)
    return []


SETS: dict[str, tuple[Callable[[Path], list[Path]], int]] = {
    "ptbxl": (lambda _: [real("ptbxl_native"), real("ptbxl_resampled100")], 1983),
    "cpsc2018": (cinc, 10),
    "cpsc2018_native": (lambda folder: [make_cpsc_native(folder)], 2),
    "cpsc_extra": (cinc, 19),
    "georgia": (cinc, 45),
    "ptb": (lambda folder: [make_ptb(folder)], 4),
    "ptb_cinc": (cinc, 3),
    "ptbxl_cinc": (cinc, 28),
    "code_test": (lambda folder: [make_code_test(folder)], 8),
    "code15_native": (lambda folder: [make_code15_native(folder)], 8),
    "samitrop": (lambda folder: [make_samitrop(folder)], 5),
    "code15": (lambda _: [real("chagas2025_code15")], 39),
    "chapman": (cinc, 14),
    "ningbo": (cinc, 43),
    "chapman_ningbo": (cinc, 57),
    "incart": (incart, 2),
    "sph": (lambda folder: [make_sph(folder)], 5),
    "cinc": (cinc, 162),
    "synthetic": (synthetic, 10),
}


@pytest.fixture(params=[*SETS, "own"])
def case(request, tmp_path):
    if request.param == "own":
        folders = own(tmp_path)
        return source(str(tmp_path / "clinic.toml")), folders, 6
    make, n_records = SETS[request.param]
    return source(request.param), make(tmp_path), n_records


def test_reader_satisfies_the_protocol_and_survives_pickling(case):
    reader, _, _ = case
    assert isinstance(reader, Source)
    assert pickle.loads(pickle.dumps(reader)) == reader


def test_records_are_listed_once_and_in_a_stable_order(case):
    reader, folders, n_records = case
    first, second = reader.entries(folders), reader.entries(list(reversed(folders)))
    names = [entry.record for entry in first]
    assert len(names) == len(set(names)) == n_records
    assert names == sorted(names) == [entry.record for entry in second]


def test_signals_are_microvolts_of_twelve_leads_at_a_rate_of_the_set(case):
    reader, folders, _ = case
    for entry in reader.entries(folders)[:40]:
        if "_low_sample_rate" in entry.record or "_all_data_is_zero" in entry.record:
            continue
        signal = reader.read(entry).signal
        assert signal.microvolts.dtype == np.float64
        assert signal.microvolts.shape[0] == len(signal.leads) >= 12
        if reader.sampling_rates_hz:
            assert signal.sampling_rate_hz in reader.sampling_rates_hz
        # A heartbeat is between 0.1 and 10 mV in some lead.
        span = np.ptp(signal.microvolts, axis=1).max()
        assert 100 < span < 60_000, entry.record


def test_facts_name_a_patient_and_plausible_values(case):
    reader, folders, _ = case
    for entry in reader.entries(folders)[:40]:
        facts = reader.read(entry).facts
        assert facts.patient
        assert facts.age_years is None or 0 <= facts.age_years <= 120
        assert facts.sex in {"female", "male", None}
        assert all(0 <= likelihood <= 100 for likelihood in facts.statements.values())


def test_listed_tables_exist(case):
    reader, folders, _ = case
    assert all(path.is_file() for path in reader.tables(folders))


def test_preparation_accounts_for_every_record(case, tmp_path):
    reader, folders, n_records = case
    name = str(tmp_path / "clinic.toml") if reader.name == "clinic" else reader.name
    prepared = prepare(name, folders, tmp_path / "out", PrepareSettings(shorter="pad"))
    counts = prepared.manifest["counts"]
    assert counts["found"] == n_records
    assert counts["kept"] + counts["dropped"] == n_records
    assert len(prepared.manifest["dropped"]) == counts["dropped"]
    assert prepared.signals.shape == (counts["kept"], 12, 1000)


def test_a_missing_file_is_called_missing_and_not_damaged(case, tmp_path):
    reader, folders, _ = case
    entry = reader.entries(folders)[0]
    gone = tuple(tmp_path / "gone" / path.name for path in entry.files)
    with pytest.raises(RecordError) as caught:
        reader.read(replace(entry, files=gone))
    assert re.search("is missing|No such file", caught.value.reason), caught.value.reason
    assert "gone" in caught.value.detail


def test_every_cataloged_set_has_a_reader_and_a_description():
    for name in source_names():
        info = dataset_info(name)
        assert source(name).name == info.name == name
        for labels in info.labels:
            label_set(labels)


def test_every_set_is_under_contract():
    assert set(source_names()) - {"ptbxl_500"} == set(SETS)
