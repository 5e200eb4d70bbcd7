import importlib
import json

import h5py
import numpy as np
import pytest
import wfdb
from clinic_files import (
    AECG,
    EIGHT,
    MUSE,
    SIERRA,
    sierra_leads,
    write_aecg,
    write_dicom,
    write_edf,
    write_muse,
    write_sierra,
)
from ecg_files import adc
from made_sets import limb_consistent

from ecgopt.cli.data import app
from ecgopt.data.clinic.arrays import ArrayForm
from ecgopt.data.clinic.importing import ImportSettings, import_files
from ecgopt.data.clinic.sierra import unpack_codes
from ecgopt.data.csv_tables import read_rows
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.signals import LEADS
from ecgopt.data.wfdb_files import read_wfdb
from ecgopt.data.wfdb_header import read_header
from ecgopt.errors import DataError, UserError


def imported(tmp_path, **settings):
    to = tmp_path / "out"
    found = import_files([tmp_path / "in"], to, ImportSettings(**settings))
    rows = read_rows(to / "records.csv", ["record", "patient"])
    return found, to, rows


def by_wfdb(to, record):
    """Return leads and microvolts as the field's own library reads them."""
    read = wfdb.rdrecord(str(to / record))
    return tuple(read.sig_name), read.p_signal.T * 1000, read.fs


def test_muse_keeps_its_samples_and_loses_names_and_dates(tmp_path):
    samples = adc(5000)[:, :8]
    write_muse(tmp_path / "in" / "ward 1" / "a.b.xml", samples)
    found, to, rows = imported(tmp_path)
    assert found.formats == {"GE MUSE XML": 1}
    (row,) = rows
    assert dict(row) == {
        "record": "ward_1/a.b", "patient": "p000001", "age": "63", "sex": "female",
        "sampling_rate_hz": "500", "seconds": "10.000", "leads": "8", "format": "GE MUSE XML",
    }  # fmt: skip
    signal = read_wfdb(read_header(to / "ward_1" / "a.b.hea"), to / "ward_1")
    assert signal.leads == EIGHT
    assert np.allclose(signal.microvolts, samples.T * 4.88, rtol=1e-12)
    written = b"".join(path.read_bytes() for path in to.rglob("*") if path.is_file())
    for secret in ("4711", "Müller", "Eva", "2023", "1960", "Left bundle"):
        assert secret.encode() not in written


def test_names_dates_and_text_stay_where_they_are_asked_for(tmp_path):
    write_muse(tmp_path / "in" / "a.xml", adc(5000)[:, :8])
    _, _, (row,) = imported(tmp_path, keep=frozenset({"names", "dates", "text"}))
    assert (row["patient"], row["name"]) == ("4711", "Eva Müller")
    assert row["recorded"] == "2023-03-01T09:30:15"
    assert row["statements"] == "Sinus rhythm|Left bundle branch block"


def test_annotated_ecg_gives_its_rhythm_and_not_the_beat(tmp_path):
    samples = adc(5000)
    write_aecg(tmp_path / "in" / "a.xml", samples)
    _, to, (row,) = imported(tmp_path)
    leads, microvolts, rate = by_wfdb(to, "a")
    assert (leads, rate) == (LEADS, 500)
    assert np.allclose(microvolts, samples.T * 5.0)
    assert (row["age"], row["sex"]) == ("32", "female")


def test_philips_gives_eight_leads_and_the_age_90_to_who_is_older(tmp_path):
    leads = sierra_leads()
    write_sierra(tmp_path / "in" / "a.xml", leads)
    _, to, (row,) = imported(tmp_path)
    names, microvolts, rate = by_wfdb(to, "a")
    assert (names, rate) == (EIGHT, 500)
    assert np.allclose(microvolts, leads[[0, 1, *range(6, 12)]] * 5.0)
    assert (row["age"], row["sex"], row["seconds"]) == ("90", "male", "11.000")


def test_philips_is_read_as_by_its_own_library(tmp_path):
    sierraecg = pytest.importorskip("sierraecg", reason="needs the extra dev: sierraecg")
    path = write_sierra(tmp_path / "in" / "a.xml", sierra_leads())
    theirs = {lead.label: lead.samples for lead in sierraecg.read_file(str(path)).leads}
    _, to, _ = imported(tmp_path)
    ours = dict(zip(*by_wfdb(to, "a")[:2], strict=True))
    for lead in EIGHT:
        assert np.allclose(ours[lead], theirs[lead] * 5.0)


def test_codes_beyond_the_table_end_a_stream():
    assert unpack_codes(bytes([0b00000000, 0b01000000, 0b00101111, 0b11111100]), 10) == b"\x01\x02"


def test_dicom_gives_the_longest_group_by_the_codes_of_its_leads(tmp_path):
    pytest.importorskip("pydicom", reason="needs the extra clinic: pydicom")
    samples = adc(5000)
    write_dicom(tmp_path / "in" / "a.dcm", samples)
    _, to, (row,) = imported(tmp_path)
    leads, microvolts, rate = by_wfdb(to, "a")
    assert (leads, rate) == (LEADS, 500)
    assert np.allclose(microvolts, samples.T * 2.5)
    assert (row["patient"], row["age"], row["sex"]) == ("p000001", "41", "female")


@pytest.mark.parametrize("bits", [16, 24])
def test_edf_and_bdf_give_their_leads_and_leave_out_breathing(tmp_path, bits):
    edfio = pytest.importorskip("edfio", reason="needs the extra clinic: edfio")
    samples = adc(5000)
    samples[100, 3] = -32768
    path = write_edf(tmp_path / "in" / "a.edf", samples, bits=bits)
    file = edfio.read_edf(path) if bits == 16 else edfio.read_bdf(path)
    expected = np.stack([signal.data for signal in file.signals[:12]]) * 1000
    _, to, (row,) = imported(tmp_path)
    leads, microvolts, rate = by_wfdb(to, "a")
    step = 16.383 / (2**bits - 1) * 1000
    assert (leads, rate) == (LEADS, 500)
    # The offset of EDF need not be a whole number of steps, and the lowest value is "missing".
    assert np.abs(microvolts - expected).max() <= step * 1.51
    assert (row["patient"], row["age"], row["sex"]) == ("p000001", "70", "male")


@pytest.mark.parametrize("shape", ["lead time", "time lead", "1 time lead"])
def test_numpy_arrays_give_one_record_per_row(tmp_path, shape):
    millivolts = np.stack([limb_consistent(2500, seed=i).T / 1000 for i in range(3)])
    stored = millivolts if shape == "lead time" else millivolts.transpose(0, 2, 1)
    if shape == "1 time lead":
        stored = stored[:, None]
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "waves.npy", stored)
    (tmp_path / "keys.csv").write_text("key,AF\ne1,0\ne2,1\ne3,0\n")
    found, to, rows = imported(
        tmp_path, arrays=ArrayForm(rate=250.0, unit="mV"), names=tmp_path / "keys.csv", key="key"
    )
    assert [row["record"] for row in rows] == ["e1", "e2", "e3"]
    leads, microvolts, rate = by_wfdb(to, "e2")
    assert (leads, rate, found.records) == (LEADS, 250, 3)
    assert np.abs(microvolts - millivolts[1] * 1000).max() <= 0.5


def test_hdf5_arrays_are_read_from_the_named_data_set(tmp_path):
    values = adc(4000, n_leads=8).T
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["ecg"] = values[None].astype(np.int32)
    form = ArrayForm(rate=400.0, unit="uV", leads=EIGHT, dataset="ecg")
    _, to, _ = imported(tmp_path, arrays=form)
    leads, microvolts, _ = by_wfdb(to, "a_000000")
    assert leads == EIGHT
    assert np.allclose(microvolts, values)


def test_csv_with_semicolons_and_commas_in_fractions_is_read(tmp_path):
    values = adc(600, n_leads=12) / 8
    lines = ["time;" + ";".join(LEADS)]
    lines += [f"{i / 500:.3f};".replace(".", ",") + ";".join(map(str, row)).replace(".", ",")
              for i, row in enumerate(values.tolist())]  # fmt: skip
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    (tmp_path / "in" / "labels.csv").write_text("record,AF\na,1\n")
    found, to, _ = imported(tmp_path, arrays=ArrayForm(rate=500.0, unit="uV"))
    assert np.abs(by_wfdb(to, "a")[1] - values.T).max() <= 0.5
    assert found.unknown == {".csv": 1}


def test_missing_values_stay_missing(tmp_path):
    values = adc(600).T.astype(float)
    values[2, 10:13] = np.nan
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", values)
    _, to, _ = imported(tmp_path, arrays=ArrayForm(rate=500.0, unit="uV"))
    signal = read_wfdb(read_header(to / "a_000000.hea"), to)
    assert np.array_equal(signal.microvolts, values, equal_nan=True)


def test_arrays_without_rate_and_unit_ask_for_both(tmp_path):
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", adc(600))
    with pytest.raises(UserError, match="give both, such as `--rate 500 --unit mV`"):
        imported(tmp_path)


@pytest.mark.parametrize(
    ("make", "old", "new", "reason"),
    [
        (write_muse, "Rhythm", "Other", "no waveform of the type Rhythm"),
        (write_muse, "<SampleBase>500", "<SampleBase>0", "sampling rate must lie in"),
        (write_muse, "MICROVOLTS", "OHM", "unit of a lead is no voltage"),
        (write_muse, "{count}", "9", None),
        (write_muse, '"restecg.dtd"', '"restecg.dtd" [<!ENTITY a "b">]', "declares entities"),
        (write_muse, "</RestingECG>", "", "no sound XML"),
        (write_aecg, 'increment value="2"', 'increment value="0"', "must be a time above 0"),
        (write_aecg, "TIME_ABSOLUTE", "TIME", "no time or lead"),
        (write_aecg, 'code="RHYTHM"/><component>', 'code="RHYTHM"/><x>', "no sound XML"),
        (write_aecg, "<digits>", "<digits>nan ", "numbers of a possible size"),
        (write_aecg, "<digits>", "<digits>1e300 ", "numbers of a possible size"),
        (write_aecg, "<digits>", "<digits>x ", "its digits must be numbers"),
        (write_sierra, "1.04<", "9.0<", "version of Sierra XML is not known"),
        (write_sierra, "XLI", "ZIP", "compression is not known"),
        (write_sierra, "LENGTH", "99999", "shorter than its stated duration"),
        (write_sierra, "<resolution>5</resolution>", "", "resolution must be a number"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_the_others_are_imported(tmp_path, make, old, new, reason):
    texts = {write_muse: MUSE, write_aecg: AECG, write_sierra: SIERRA}
    samples = {write_muse: adc(1000)[:, :8], write_aecg: adc(1000), write_sierra: sierra_leads(900)}
    if reason is None:
        path = make(tmp_path / "in" / "bad.xml", samples[make])
        text = path.read_text(encoding="latin-1").replace(
            "<LeadSampleCountTotal>1000", "<LeadSampleCountTotal>9"
        )
        path.write_text(text, encoding="latin-1")
        reason = "samples of a lead are truncated"
    else:
        text = texts[make]
        if old in text:
            make(tmp_path / "in" / "bad.xml", samples[make], text.replace(old, new))
        else:
            path = make(tmp_path / "in" / "bad.xml", samples[make])
            whole = path.read_text(encoding="latin-1")
            assert old in whole
            path.write_text(whole.replace(old, new), encoding="latin-1")
    write_aecg(tmp_path / "in" / "good.xml", adc(1000))
    found, _, rows = imported(tmp_path)
    assert reason in found.failed["bad.xml"]
    assert [row["record"] for row in rows] == ["good"]


def test_a_bomb_of_entities_is_refused_before_it_grows(tmp_path):
    (tmp_path / "in").mkdir()
    entities = '<!ENTITY a0 "aaaaaaaaaa">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
    )
    bomb = f"<?xml version='1.0'?><!DOCTYPE RestingECG [{entities}]><RestingECG>&a9;</RestingECG>"
    (tmp_path / "in" / "bomb.xml").write_text(bomb)
    with pytest.raises(DataError, match="it declares entities"):
        imported(tmp_path)


def test_formats_that_are_not_read_are_named_with_a_way_out(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.scp").write_bytes(bytes(16) + b"SCPECG" + bytes(100))
    (tmp_path / "in" / "b.xml").write_text("<CardiologyXML/>")
    (tmp_path / "in" / "c.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match="SCP-ECG is not read: export aECG or DICOM"):
        imported(tmp_path)


@pytest.mark.parametrize("name", [".zarray", "zarr.json"])
def test_zarr_is_named_with_a_way_out_and_its_pieces_are_counted(tmp_path, name):
    folder = tmp_path / "in" / "a.zarr"
    folder.mkdir(parents=True)
    (folder / name).write_text("{}")
    (folder / "0.0").write_bytes(b"piece")
    write_aecg(tmp_path / "in" / "b.xml", adc(100))
    found, _, _ = imported(tmp_path)
    assert "numpy.save(" in found.failed[f"a.zarr/{name}"]
    assert found.unknown == {".0": 1}


def test_a_link_table_numbers_records_and_patients_over_several_imports(tmp_path):
    link = tmp_path / "private" / "link.csv"
    write_muse(tmp_path / "in" / "Mueller.xml", adc(1000)[:, :8])
    import_files([tmp_path / "in"], tmp_path / "a", ImportSettings(link=link))
    write_muse(tmp_path / "in" / "Mayer.xml", adc(1000)[:, :8])
    import_files([tmp_path / "in"], tmp_path / "b", ImportSettings(link=link))
    rows = read_rows(tmp_path / "b" / "records.csv", ["record", "patient"])
    assert {(row["record"], row["patient"]) for row in rows} == {
        ("r000001", "p000001"),
        ("r000002", "p000001"),
    }
    links = read_rows(link, ["record", "file", "patient", "patient_id"])
    assert [(row["record"], row["file"], row["patient_id"]) for row in links] == [
        ("r000001", "Mueller.xml", "4711"),
        ("r000002", "Mayer.xml", "4711"),
    ]
    assert "ayer" not in "".join(map(str, (tmp_path / "b").rglob("*")))


def test_a_folder_with_files_is_not_written_to(tmp_path):
    write_aecg(tmp_path / "in" / "a.xml", adc(1000))
    imported(tmp_path)
    with pytest.raises(DataError, match="is not empty: choose a new folder"):
        imported(tmp_path)


def test_import_tells_where_each_record_comes_from(tmp_path):
    import hashlib

    path = write_aecg(tmp_path / "in" / "a.xml", adc(1000))
    _, to, _ = imported(tmp_path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    report = json.loads((to / "import.json").read_text())
    assert report["records"] == [{"record": "a", "format": "HL7 aECG", "sha256": digest}]
    assert read_header(to / "a.hea").comments[0] == f"source: HL7 aECG, SHA-256 {digest}"


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(UserError, match=r"needs pydicom: run `pip install 'ecgopt\[clinic\]'`"):
        imported(tmp_path)


def test_imported_records_are_prepared_with_all_twelve_leads(tmp_path):
    twelve = limb_consistent(5000)
    steps = np.rint(twelve[:, [0, 1, *range(6, 12)]] / 4.88).astype(np.int64)
    write_muse(tmp_path / "in" / "a.xml", steps)
    imported(tmp_path)
    (tmp_path / "clinic.toml").write_text(
        'name = "clinic"\nrecords = "out"\ntable = "labels.csv"\n[columns]\nrecord = "record"\n'
        '[statements]\nflags = ["AF"]\n'
    )
    (tmp_path / "labels.csv").write_text("record,AF\na,1\n")
    settings = PrepareSettings(sampling_rate_hz=500)
    prepared = prepare(str(tmp_path / "clinic.toml"), [], tmp_path / "prepared", settings)
    assert np.abs(prepared.signals[0] - twelve.T).max() <= 4.88 + 1


def test_hdf5_array_that_was_hardly_written_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file.create_dataset("ecg", shape=(1_000_000, 12, 5000), dtype="f4", chunks=(1, 12, 5000))
    form = ArrayForm(rate=500.0, unit="mV", dataset="ecg")
    with pytest.raises(DataError, match="ecg is not written in full"):
        imported(tmp_path, arrays=form)


def test_a_file_that_fails_is_listed_and_ends_the_command_with_1(tmp_path, capsys):
    write_aecg(tmp_path / "in" / "good.xml", adc(1000))
    (tmp_path / "in" / "bad.xml").write_text("<AnnotatedECG>")
    (tmp_path / "in" / "report.pdf").write_bytes(b"%PDF")
    with pytest.raises(SystemExit) as end:
        app(["import", str(tmp_path / "in"), "--to", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert end.value.code == 1
    assert "failed: bad.xml: it is no sound XML" in printed
    assert "left aside: 1 x .pdf: no known format" in printed
    assert f"1 record in {tmp_path / 'out'}" in printed


@pytest.mark.parametrize("header", [b"{'descr': (\n(", b"{'descr': '<f4\0'}\n", b"(" * 9000])
def test_numpy_file_with_a_damaged_header_is_told(tmp_path, header):
    (tmp_path / "in").mkdir()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "in" / "a.npy").write_bytes(data)
    with pytest.raises(DataError, match=r"it is no sound \.npy file"):
        imported(tmp_path, arrays=ArrayForm(rate=500.0, unit="uV"))


def edited_dicom(tmp_path, edit):
    """Write a DICOM object that `edit` has changed, and return its one imported record."""
    import pydicom

    path = write_dicom(tmp_path / "in" / "a.dcm", adc(5000))
    data = pydicom.dcmread(path)
    edit(data)
    data.save_as(path)
    _, to, _ = imported(tmp_path)
    return wfdb.rdrecord(str(to / "a")).p_signal.T * 1000


def test_dicom_beats_that_are_derived_are_read_only_where_nothing_else_is(tmp_path):
    import copy

    def add_longer_beat(data):
        beat = copy.deepcopy(data.WaveformSequence[1])
        beat.WaveformOriginality = "DERIVED"
        beat.NumberOfWaveformSamples = 6000
        beat.WaveformData = bytes(2 * 12 * 6000)
        data.WaveformSequence = [beat, data.WaveformSequence[1]]

    assert np.allclose(edited_dicom(tmp_path, add_longer_beat), adc(5000).T * 2.5)


@pytest.mark.parametrize("first", [-32768, 1234])
def test_dicom_padding_is_missing_and_no_voltage(tmp_path, first):
    def pad(data):
        group = data.WaveformSequence[1]
        values = np.frombuffer(group.WaveformData, "<i2").copy()
        values[values == first] += 1
        values[: 12 * 100] = first
        group.WaveformData = values.tobytes()
        group.add_new(0x5400100A, "OW", np.array([first], "<i2").tobytes())

    signal = edited_dicom(tmp_path, pad)
    assert np.isnan(signal[:, :100]).all()
    assert np.isfinite(signal[:, 100:]).all()


@pytest.mark.parametrize("bits", [16, 24])
def test_truncated_edf_is_told(tmp_path, bits):
    path = write_edf(tmp_path / "in" / "a.edf", adc(5000), bits=bits)
    path.write_bytes(path.read_bytes()[:-3000])
    write_edf(tmp_path / "in" / "b.edf", adc(5000), bits=bits)
    found, _, rows = imported(tmp_path)
    assert [row["record"] for row in rows] == ["b"]
    assert "it is truncated (9 of 10 data records are there)" in found.failed["a.edf"]


def test_edf_leads_of_other_names_are_kept_for_the_map_of_the_description(tmp_path):
    import edfio

    samples = adc(5000)
    signals = [
        edfio.EdfSignal.from_digital(
            samples[:, row].copy(), 500, label=f"{lead}-REF", physical_dimension="mV",
            physical_range=(-8.192, 8.191), digital_range=(-32768, 32767),
        )
        for row, lead in enumerate(LEADS)
    ]  # fmt: skip
    signals.append(edfio.EdfSignal(np.ones(250), 25, label="Resp", physical_dimension="mV"))
    signals.append(edfio.EdfSignal(np.ones(5000), 500, label="Temp", physical_dimension="C"))
    (tmp_path / "in").mkdir()
    edfio.Edf(signals).write(tmp_path / "in" / "a.edf")
    _, to, _ = imported(tmp_path)
    names, _, rate = by_wfdb(to, "a")
    assert (names, rate) == (tuple(f"{lead}-REF" for lead in LEADS), 500)


def test_edf_with_nothing_but_annotations_is_told(tmp_path):
    import edfio

    (tmp_path / "in").mkdir()
    edfio.Edf([], annotations=[edfio.EdfAnnotation(0, None, "start")]).write(
        tmp_path / "in" / "a.edf"
    )
    with pytest.raises(DataError, match="it has none of the leads"):
        imported(tmp_path)


def test_pydicom_does_not_print_what_is_in_a_file(tmp_path, recwarn, caplog, capfd):
    path = write_dicom(tmp_path / "in" / "a.dcm", adc(1000))
    data = path.read_bytes()
    uid = data.index(b"1.2.840.10008.1.2.1")
    path.write_bytes(data[:uid] + b"\x1b[31m" + data[uid + 5 :])
    imported(tmp_path)
    assert not recwarn.list
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
