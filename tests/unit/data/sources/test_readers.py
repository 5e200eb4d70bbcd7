import contextlib
import os
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from ecg_files import adc, as_nobody, real, write_record
from hypothesis import given, settings
from hypothesis import strategies as st
from made_sets import (
    limb_consistent,
    make_code15_native,
    make_code_test,
    make_cpsc_native,
    make_ptb,
    make_samitrop,
    make_sph,
)

from ecgopt.data.csv_tables import read_rows
from ecgopt.data.errata import errata_of, ptb_patients
from ecgopt.data.labels import label_set
from ecgopt.data.prepare import prepare
from ecgopt.data.signals import LEADS, PrepareSettings
from ecgopt.data.sources.catalog import dataset_info, source, source_names
from ecgopt.errors import DataError, RecordError, UserError


def entry_of(reader, folders, record):
    return next(entry for entry in reader.entries(folders) if entry.record == record)


# PTB-XL


def test_ptbxl_keeps_fold_patient_and_statements():
    folders = [real("ptbxl_native"), real("ptbxl_resampled100")]
    facts = entry_of(source("ptbxl"), folders, "00001").facts
    assert (facts.fold, facts.patient, facts.sex) == (3, "ptbxl-15709", "female")
    assert facts.statements == {"NORM": 100.0, "LVOLT": 0.0, "SR": 0.0}


def test_ptbxl_500_reports_files_that_are_absent(tmp_path):
    settings = PrepareSettings(broken="drop")
    prepared = prepare("ptbxl_500", [real("ptbxl_native")], tmp_path, settings)
    counts = prepared.manifest["counts"]
    assert counts["found"] == 314
    assert counts["kept"] == 40
    assert counts["broken"] == 274


def test_ptbxl_500_and_100_agree_on_the_same_heartbeats(tmp_path):
    settings = PrepareSettings(broken="drop")
    high = prepare("ptbxl_500", [real("ptbxl_native")], tmp_path, settings)
    low = prepare("ptbxl", [real("ptbxl_native")], tmp_path, settings)
    rows = low.records.reset_index().set_index("record")["index"]
    for i, record in enumerate(high.records["record"][:10]):
        ours, theirs = high.signals[i, 1], low.signals[rows[record], 1]
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def ptbxl_with(tmp_path, **changes):
    row = {
        "ecg_id": "7", "patient_id": "3.0", "age": "50", "sex": "0", "strat_fold": "1",
        "scp_codes": "{'NORM': 100.0}", "filename_lr": "records100/00007_lr",
    } | changes  # fmt: skip
    lines = [",".join(row), ",".join(f'"{value}"' for value in row.values())]
    (tmp_path / "ptbxl_database.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ecg_id": "=1+1"}, "line 2: ecg_id must be a whole number up to 1e\\+09, but is '=1"),
        ({"patient_id": ""}, "patient_id must be a whole number"),
        ({"strat_fold": "nan"}, "strat_fold must be a whole number"),
        ({"strat_fold": "40000"}, "strat_fold must be a whole number up to 1000, but is '40000'"),
        ({"filename_lr": "../../etc/passwd"}, "must be a relative path of plain names"),
        ({"filename_lr": "/etc/passwd"}, "must be a relative path of plain names"),
        ({"scp_codes": "__import__('os')"}, "scp_codes must map codes to likelihoods"),
        ({"scp_codes": "[" * 100_000}, "scp_codes must map codes to likelihoods"),
    ],
)
def test_hostile_ptbxl_row_is_a_data_error(tmp_path, changes, reason):
    with pytest.raises(DataError, match=reason):
        source("ptbxl").entries([ptbxl_with(tmp_path, **changes)])


def test_ages_above_89_are_read_as_90(tmp_path):
    entry = source("ptbxl").entries([ptbxl_with(tmp_path, age="300")])[0]
    assert entry.facts.age_years == 90.0


@pytest.mark.parametrize("data", [b"\xff\xfe\x00bad", "ecg_id\n1".encode("utf-16")])
def test_table_in_a_wrong_encoding_is_a_data_error(tmp_path, data):
    (tmp_path / "ptbxl_database.csv").write_bytes(data)
    with pytest.raises(DataError, match=r"must be UTF-8 text|column .* is missing"):
        source("ptbxl").entries([tmp_path])


def test_missing_column_is_named(tmp_path):
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id\n1\n")
    with pytest.raises(DataError, match="column 'patient_id' is missing"):
        source("ptbxl").entries([tmp_path])


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, but the table has 2 columns"),
        ("a,b\n1,old infarct, 0\n", "line 2 has 3 cells, but the table has 2 columns"),
        ("a,b,a\n1,2,3\n", "column 'a' occurs 2 times"),
    ],
)
def test_table_whose_cells_fit_no_column_is_refused_with_the_line(tmp_path, table, reason):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(DataError, match=reason):
        read_rows(tmp_path / "t.csv", ("a", "b"))


def test_empty_rows_of_a_table_are_skipped_and_lines_counted_with_them(tmp_path):
    (tmp_path / "t.csv").write_text('a,b\n,,\n\n"x\ny",2\n')
    rows = read_rows(tmp_path / "t.csv", ("a", "b"))
    assert [(row["a"], row.line) for row in rows] == [("x\ny", 5)]


def test_ptbxl_headers_without_a_row_are_counted(tmp_path):
    for name in ("00007_lr", "00008_lr"):
        write_record(tmp_path / "records100", name, adc(1000), rate=100)
    listed = source("ptbxl").entries([ptbxl_with(tmp_path)])
    assert listed.aside == {"header without a row": ["00008_lr"]}


def test_sph_files_without_a_row_are_counted(tmp_path):
    folder = make_sph(tmp_path)
    (folder / "records" / "A99999.h5").write_bytes(b"")
    assert source("sph").entries([folder]).aside == {"file without a row": ["A99999.h5"]}


def test_huge_cell_is_a_data_error(tmp_path):
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id\n" + "x" * 200_000)
    with pytest.raises(DataError, match=r"is no CSV table|column 'patient_id'"):
        source("ptbxl").entries([tmp_path])


# The challenges


def facts(folder, comments, name="A0001"):
    write_record(folder, name, adc(100), comments=comments)
    reader = source("cinc")
    return reader.read(reader.entries([folder])[0]).facts


@pytest.mark.parametrize(
    ("dx", "expected"),
    [
        ("#Dx: 1,2", ["1", "2"]),
        ("#Dx:1,2", ["1", "2"]),
        ("# Dx: 1 , 2", ["1", "2"]),
        ("#Dx:", []),
        ("#Dx: Unknown", []),
        ("#Dx: RBBB", ["RBBB"]),
        ("#Dx: 1,1", ["1"]),
        ("", []),
    ],
)
def test_diagnoses_are_read_with_and_without_blank_empty_and_as_text(tmp_path, dx, expected):
    assert list(facts(tmp_path, dx + "\n").statements) == expected


@pytest.mark.parametrize(
    ("text", "age"),
    [("74", 74.0), ("NaN", None), ("-1", None), ("Unknown", None), ("", None), ("300", 90.0)],
)
def test_ages_that_are_none_become_unknown(tmp_path, text, age):
    assert facts(tmp_path, f"#Age: {text}\n").age_years == age


@pytest.mark.parametrize(
    ("text", "sex"), [("Male", "male"), ("F", "female"), ("Unknown", None), ("", None)]
)
def test_sexes_are_read_in_all_spellings(tmp_path, text, sex):
    assert facts(tmp_path, f"#Sex: {text}\n").sex == sex


def test_copies_of_ptbxl_have_its_patient_and_fold(tmp_path):
    copy = facts(tmp_path, "#Dx: 1\n", name="HR00001")
    assert (copy.patient, copy.fold, copy.patient_published) == ("ptbxl-15709", 3, True)


def test_withdrawn_copy_of_ptbxl_counts_as_its_own_patient(tmp_path):
    copy = facts(tmp_path, "#Dx: 1\n", name="HR00137")
    assert (copy.patient, copy.patient_published) == ("cinc-HR00137", False)


def test_code15_has_published_patients_and_its_label():
    reader = source("code15")
    entry = entry_of(reader, [real("chagas2025_code15")], "1111576")
    found = reader.read(entry).facts
    assert found.patient == "code15-728777"
    assert label_set("chagas").encode([found.statements])[0].all()


def test_faulty_code15_records_are_left_out_with_their_reasons(tmp_path):
    prepared = prepare("code15", [real("chagas2025_code15")], tmp_path, PrepareSettings())
    reasons = {row["record"]: row["reason"] for row in prepared.manifest["dropped"]}
    assert reasons["9190_low_sample_rate"] == "sampling rate 300 Hz, but code15 has 400 Hz"
    assert "sampling rate 800 Hz" in reasons["9190_all_data_is_zero"]
    assert reasons["1111"] == "shorter than 10 s"


@pytest.mark.parametrize("leads", ["two", "three", "four", "six"])
def test_lead_subsets_are_left_out_with_the_missing_leads(tmp_path, leads):
    with pytest.raises(DataError, match=r"no record fits: .*lacks \d+ of 12 leads"):
        prepare("cinc", [real("quirks", f"{leads}_leads")], tmp_path, PrepareSettings())


@pytest.mark.parametrize("record", ["HR00001", "E00001"])
def test_wrong_gain_of_the_first_issue_is_set_right(record):
    reader = source("cinc")
    old, new = (
        reader.read(entry_of(reader, [folder], record))
        for folder in (real("quirks", "dx_empty_odd_gain"), real("cinc2021_utu"))
    )
    np.testing.assert_array_equal(old.signal.microvolts, new.signal.microvolts)
    assert (old.corrections, new.corrections) == (("gain of the 2020 issue",), ())


def test_challenge_copy_of_ptbxl_equals_the_official_record():
    copy = source("cinc")
    official = source("ptbxl_500")
    for record in ("00001", "00002"):
        ours = copy.read(entry_of(copy, [real("cinc2021_utu")], f"HR{record}")).signal
        theirs = official.read(entry_of(official, [real("ptbxl_native")], record)).signal
        np.testing.assert_array_equal(ours.microvolts, theirs.microvolts)


def test_corrected_records_are_counted(tmp_path):
    prepared = prepare("cinc", [real("quirks", "dx_empty_odd_gain")], tmp_path, PrepareSettings())
    assert prepared.manifest["counts"]["corrected"] == 2
    assert prepared.manifest["corrections"] == {"gain of the 2020 issue": 2}


def as_published(folder, name="JS23074", header=None, *, signals=None):
    """Write a record of Ningbo with header and signal file of the given names."""
    path = write_record(folder, signals or name, adc(5000), suffix=".mat")
    if header is not None:
        path.rename(folder / f"{header}.hea")
    return folder / f"{header or name}.hea"


def test_record_whose_header_has_another_name_is_found_and_named(tmp_path):
    as_published(tmp_path, header="S23074")
    reader = source("ningbo")
    entry = reader.entries([tmp_path])[0]
    reading = reader.read(entry)
    assert (entry.record, reading.facts.patient) == ("JS23074", "cinc-JS23074")
    assert reading.corrections == ("header S23074 of record JS23074",)


# As in ecg-arrhythmia 1.0.0, where a newline and part of the line after it were lost.
@pytest.mark.parametrize("between", ["00/mV", " 1000/mV", "JS01052.mat 16+24 1000/mV"])
def test_header_whose_first_two_lines_are_one_is_read(tmp_path, between):
    path = as_published(tmp_path, "JS01052")
    whole = source("cinc").read(source("cinc").entries([tmp_path])[0])
    first, second, *rest = path.read_text().splitlines()
    merged = f"{first}{between} {' '.join(second.split()[3:])}"
    path.write_text("\n".join([merged, *rest]) + "\n")
    reader = source("chapman")
    reading = reader.read(reader.entries([tmp_path])[0])
    np.testing.assert_array_equal(reading.signal.microvolts, whole.signal.microvolts)
    assert reading.corrections == ("record line and first signal line merged",)
    assert whole.corrections == ()


@pytest.mark.parametrize(
    ("name", "record", "age"), [("ningbo", "JS20000", None), ("chapman", "JS00001", 0.0)]
)
def test_age_0_of_ningbo_is_unknown(tmp_path, name, record, age):
    write_record(tmp_path, record, adc(5000), comments="#Age: 0\n#Dx: 1\n")
    reader = source(name)
    reading = reader.read(reader.entries([tmp_path])[0])
    assert reading.facts.age_years == age
    assert bool(reading.corrections) == (age is None)


def test_challenge_copies_of_ptb_have_its_patients():
    reader = source("ptb_cinc")
    patients = {
        entry.record: reader.read(entry).facts.patient
        for entry in reader.entries([real("cinc2021_utu")])
    }
    assert patients == dict.fromkeys(("S0001", "S0002", "S0003"), "ptb-patient001")
    assert len(ptb_patients()) == 549
    assert len(set(ptb_patients().values())) == 290
    # RECORDS of ptbdb 1.0.0: patient180 has seven records, the last one of all is patient294's.
    assert sum(patient == "patient180" for patient in ptb_patients().values()) == 7
    assert ptb_patients()["S0549"] == "patient294"


def test_withdrawn_copies_of_ptbxl_are_counted(tmp_path):
    write_record(tmp_path / "in", "HR00137", adc(5000))
    manifest = prepare("cinc", [tmp_path / "in"], tmp_path / "out", PrepareSettings()).manifest
    assert manifest["corrections"] == {"withdrawn from PTB-XL in 1.0.3, patient unknown": 1}


def test_every_known_error_names_its_source_and_real_data_sets():
    known = errata_of("cinc") + errata_of("georgia") + errata_of("chapman")
    assert all(erratum.source for erratum in known)
    assert {name for erratum in known for name in erratum.sets} <= set(source_names())


def test_found_is_compared_with_what_the_publisher_has(tmp_path):
    folder = tmp_path / "in"
    for record in ("JS20000", "A0001"):
        write_record(folder, record, adc(5000))
    (folder / "._JS20000.hea").write_bytes(b"\0\5\x16\7")
    (folder / "SHA256SUMS.txt").write_text(
        "".join(f"{'0' * 64} g1/{name}.hea\n" for name in ("JS20000", "JS20001", "A0002"))
    )
    manifest = prepare("ningbo", [folder], tmp_path / "out", PrepareSettings()).manifest
    assert (manifest["counts"]["found"], manifest["published_records"]) == (1, 34905)
    assert {reason: aside["names"] for reason, aside in manifest["left_aside"].items()} == {
        "listed by the publisher, not in the folders": ["JS20001"],
        "record of another data set": ["A0001"],
        "hidden file": ["._JS20000.hea"],
    }


def test_records_in_linked_folders_are_found_once_and_capital_endings_too(tmp_path):
    write_record(tmp_path / "elsewhere", "A0001", adc(100))
    path = write_record(tmp_path / "in", "A0002", adc(100))
    path.rename(path.with_suffix(".HEA"))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [entry.record for entry in source("cinc").entries([tmp_path / "in"])] == [
        "A0001",
        "A0002",
    ]


@pytest.mark.parametrize("name", ["cinc", "ptb", "cpsc2018_native"])
def test_folder_that_cannot_be_read_is_an_error(name):
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        root.chmod(0o755)
        write_record(root / "a", "A0001", adc(100))
        (root / "REFERENCE.csv").write_text("Recording,First_label,Second_label,Third_label\n")
        (root / "locked").mkdir(mode=0)
        with as_nobody(), pytest.raises(DataError, match=r"folder .*locked: Permission denied"):
            source(name).entries([root])


def test_second_diagnosis_line_is_read_and_counted(tmp_path):
    write_record(tmp_path, "A0001", adc(100), comments="#Dx: 1,2\n#Dx: 3\n")
    reader = source("cinc")
    reading = reader.read(reader.entries([tmp_path])[0])
    assert list(reading.facts.statements) == ["1", "2", "3"]
    assert reading.corrections == ("several Dx lines, all read",)


def test_chagas_label_that_is_no_answer_leaves_the_record_out(tmp_path):
    for number, label in enumerate(("True", "0", "maybe")):
        write_record(tmp_path / "in", f"{number}", adc(5000), rate=400,
                     comments=f"#Chagas label: {label}\n")  # fmt: skip
    prepared = prepare("code15", [tmp_path / "in"], tmp_path / "out", PrepareSettings())
    assert prepared.labels(label_set("chagas"))[:, 0].tolist() == [True, False]
    assert prepared.manifest["dropped_reasons"] == {
        "its Chagas label is neither true nor false, but 'maybe'": 1
    }


def test_chapman_and_ningbo_divide_the_js_records():
    folders = [real("cinc2021_utu"), real("cinc2021_deeppsp")]
    chapman = {entry.record for entry in source("chapman").entries(folders)}
    ningbo = {entry.record for entry in source("ningbo").entries(folders)}
    assert max(chapman) <= "JS10646" < min(ningbo)


# PTB


def test_ptb_takes_patients_from_the_path_and_diagnoses_from_comments(tmp_path):
    reader, folder = source("ptb"), make_ptb(tmp_path)
    first = reader.read(entry_of(reader, [folder], "patient001_s010_re")).facts
    assert (first.patient, first.age_years, first.sex) == ("ptb-patient001", 81.0, "female")
    assert first.statements == {"myocardial infarction": 100.0}
    unknown = reader.read(entry_of(reader, [folder], "patient003_s030_re")).facts
    assert unknown.statements == {}


def test_ptb_labels_are_normal_and_infarction(tmp_path):
    prepared = prepare("ptb", [make_ptb(tmp_path / "in")], tmp_path / "out", PrepareSettings())
    labels = prepared.labels(label_set("ptb"))
    assert labels.tolist() == [[False, True], [False, True], [True, False], [False, False]]
    assert prepared.records["patient"].nunique() == 3
    assert (prepared.records["seconds"] == 12.0).all()


# CPSC2018


def test_native_cpsc_record_is_read_in_microvolts_with_its_label(tmp_path):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    reading = reader.read(entry_of(reader, [folder], "A1981"))
    assert reading.signal.microvolts.shape == (12, 7950)
    assert (reading.facts.sex, reading.facts.age_years) == ("female", 48.0)
    assert 300 < np.ptp(reading.signal.microvolts, axis=1).max() < 20_000
    one, two, three = reading.signal.microvolts[:3]
    assert np.abs(one + three - two).max() < 20


def test_native_cpsc_record_may_have_several_labels(tmp_path):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    statements = reader.read(entry_of(reader, [folder], "A0043")).facts.statements
    labels = label_set("cpsc2018")
    found = [
        c for c, has in zip(labels.classes, labels.encode([statements])[0], strict=True) if has
    ]
    assert found == ["AF", "RBBB"]


def test_native_cpsc_without_its_table_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none of the folders holds REFERENCE\.csv"):
        source("cpsc2018_native").entries([tmp_path])


@pytest.mark.parametrize("size", [0, 4, 128, 200, 5000])
def test_truncated_matlab_file_is_a_record_error(tmp_path, size):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    os.truncate(folder / "A1981.mat", size)
    with pytest.raises(RecordError, match="A1981"):
        reader.read(entry_of(reader, [folder], "A1981"))


@pytest.mark.parametrize(("order", "mark"), [("<", b"\x00\x01IM"), (">", b"\x01\x00MI")])
def test_matlab_file_that_inflates_without_end_is_refused_in_both_byte_orders(
    tmp_path, order, mark
):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    bomb = zlib.compress(b"\0" * (80 << 20), 9)
    header = (folder / "A1981.mat").read_bytes()[:124] + mark
    tag = struct.pack(f"{order}II", 15, len(bomb))
    (folder / "A1981.mat").write_bytes(header + tag + bomb)
    tracemalloc.start()
    with pytest.raises(RecordError, match="inflates beyond 64 MiB"):
        reader.read(entry_of(reader, [folder], "A1981"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20


def big_endian(element):
    """Return the bytes of a MATLAB element (type, content) in big-endian order."""
    kind, content = element
    return struct.pack(">II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def big_endian_matrix(kind, shape, name, *parts):
    head = [(6, struct.pack(">II", kind, 0)), (5, struct.pack(f">{len(shape)}i", *shape))]
    content = b"".join(map(big_endian, [*head, (1, name), *parts]))
    return 14, content


def test_matlab_file_in_big_endian_order_is_read(tmp_path):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    millivolts = adc(600).T / 1000
    fields = [
        big_endian_matrix(4, (1, 4), b"", (16, b"Male")),
        big_endian_matrix(6, (1, 1), b"", (9, struct.pack(">d", 61))),
        big_endian_matrix(6, (12, 600), b"", (9, millivolts.astype(">f8").tobytes(order="F"))),
    ]
    names = b"".join(name.ljust(8, b"\0") for name in (b"sex", b"age", b"data"))
    struct_ = big_endian_matrix(2, (1, 1), b"ECG", (5, struct.pack(">i", 8)), (1, names), *fields)
    path = folder / "A1981.mat"
    path.write_bytes(path.read_bytes()[:124] + b"\x01\x00MI" + big_endian(struct_))
    np.testing.assert_array_equal(scipy.io.loadmat(path)["ECG"]["data"][0, 0], millivolts)
    reading = reader.read(entry_of(reader, [folder], "A1981"))
    np.testing.assert_array_equal(reading.signal.microvolts, millivolts * 1000)
    assert (reading.facts.sex, reading.facts.age_years) == ("male", 61.0)


def test_whole_numbers_in_a_matlab_file_are_refused_since_their_unit_is_unknown(tmp_path):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    ecg = {"sex": "Male", "age": 50, "data": adc(5000).T}
    scipy.io.savemat(folder / "A1981.mat", {"ECG": ecg})
    with pytest.raises(RecordError, match=r"decimals: .* unknown \(is .*12, 5000\)\)"):
        reader.read(entry_of(reader, [folder], "A1981"))


def test_matlab_7_3_file_is_refused_with_the_remedy(tmp_path):
    reader, folder = source("cpsc2018_native"), make_cpsc_native(tmp_path)
    with h5py.File(folder / "A1981.mat", "w", userblock_size=512) as file:
        file["ECG"] = np.zeros((12, 5000))
    with pytest.raises(RecordError, match=r"HDF5, the form of MATLAB 7\.3; store it by save -v7"):
        reader.read(entry_of(reader, [folder], "A1981"))


def test_hdf5_file_whose_chunks_do_not_fit_the_memory_is_refused(tmp_path):
    reader, folder = source("sph"), make_sph(tmp_path)
    name = reader.entries([folder])[0].record
    path = next(folder.rglob(f"{name}.h5"))
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "ecg", (12, 5000), "f4", maxshape=(12, None), chunks=(12, 1 << 22), compression="gzip"
        )
    with pytest.raises(RecordError, match="ecg has chunks larger than 64 MiB"):
        reader.read(entry_of(reader, [folder], name))


def test_code_test_needs_little_memory_to_find_its_lead_order(tmp_path):
    folder = make_code_test(tmp_path)
    with h5py.File(folder / "data" / "ecg_tracings.hdf5", "w") as file:
        file.create_dataset("tracings", (8, 1 << 18, 12), "f4", chunks=(1, 4096, 12))
        file["tracings"][:, :4096] = limb_consistent(4096)[None] / 1000
    reader = source("code_test")
    entry = entry_of(reader, [folder], "code0000")
    tracemalloc.start()
    reader.read(entry)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20


def cpsc_with_rows(folder, *rows):
    make_cpsc_native(folder)
    lines = ["Recording,First_label,Second_label,Third_label", *rows]
    (folder / "REFERENCE.csv").write_text("\n".join(lines))
    return folder


def test_native_cpsc_recordings_without_a_label_are_left_out_and_counted(tmp_path):
    folder = cpsc_with_rows(tmp_path / "in", "A1981.mat,5,,", "A0001,1,,", "A0002,2,,")
    settings = PrepareSettings(shorter="pad")
    manifest = prepare("cpsc2018_native", [folder], tmp_path / "out", settings).manifest
    assert manifest["dropped_reasons"] == {"it has no row in REFERENCE.csv": 1}
    assert manifest["counts"]["kept"] == 1
    assert manifest["left_aside"]["row without a recording"]["names"] == ["A0001", "A0002"]


def test_second_row_of_a_native_cpsc_recording_is_refused_with_its_line(tmp_path):
    folder = cpsc_with_rows(tmp_path / "in", "A1981,5,,", "A0043,1,,", "A1981,1,,")
    with pytest.raises(DataError, match="line 4: 'A1981' has a row already"):
        source("cpsc2018_native").entries([folder])


# CODE-test


def test_empty_code_test_flag_is_unknown_and_refused_with_its_line(tmp_path):
    folder = make_code_test(tmp_path)
    table = folder / "data" / "annotations" / "gold_standard.csv"
    table.write_text(table.read_text().replace("0,0,0,0,0,1", "0,,0,0,0,1"))
    with pytest.raises(DataError, match="line 7: RBBB must be 0 or 1, but is ''"):
        source("code_test").entries([folder])


def test_code_test_exams_are_read_by_row_in_microvolts(tmp_path):
    reader, folder = source("code_test"), make_code_test(tmp_path)
    reading = reader.read(entry_of(reader, [folder], "code0002"))
    expected = limb_consistent(4000, seed=2).T
    np.testing.assert_allclose(reading.signal.microvolts[:, 48:4048], expected, atol=1e-6)
    assert (reading.facts.age_years, reading.facts.sex) == (32.0, "male")


def test_code_test_labels_include_the_derived_normal_class(tmp_path):
    prepared = prepare("code_test", [make_code_test(tmp_path / "in")], tmp_path, PrepareSettings())
    labels = prepared.labels(label_set("code_test"))
    assert labels[:, 0].tolist() == [False] * 6 + [True] * 2
    assert np.array_equal(labels[:6, 1:], np.eye(6, dtype=bool))


def test_code_test_zero_padding_is_counted(tmp_path):
    prepared = prepare("code_test", [make_code_test(tmp_path / "in")], tmp_path, PrepareSettings())
    assert prepared.records["zero_padded_s"].round(2).tolist() == [0.12, 3.0] * 4
    assert prepared.manifest["counts"]["padded_at_source"] == 8


@pytest.mark.parametrize("order", [LEADS, ("I", "II", "III", "aVL", "aVF", "aVR", *LEADS[6:])])
def test_code_test_lead_order_follows_from_the_limb_leads(tmp_path, order):
    reader, folder = source("code_test"), make_code_test(tmp_path, order=order)
    assert reader.read(entry_of(reader, [folder], "code0000")).signal.leads == order


def test_code_test_with_impossible_limb_leads_is_refused(tmp_path):
    wrong = ("aVF", "aVL", "aVR", "I", "II", "III", *LEADS[6:])
    reader, folder = source("code_test"), make_code_test(tmp_path, order=wrong)
    with pytest.raises(RecordError, match="fit no published lead order"):
        reader.read(entry_of(reader, [folder], "code0000"))


def test_code_test_tables_of_different_length_are_refused(tmp_path):
    folder = make_code_test(tmp_path)
    table = folder / "data" / "attributes.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="8 tracings, 7 rows of attributes and 8 of annotations"):
        source("code_test").entries([folder])


def test_external_link_in_hdf5_is_not_followed(tmp_path):
    folder = make_code_test(tmp_path)
    tracings = folder / "data" / "ecg_tracings.hdf5"
    outside = tmp_path / "outside.hdf5"
    tracings.rename(outside)
    with h5py.File(tracings, "w") as file:
        file["tracings"] = h5py.ExternalLink(str(outside), "/tracings")
    with pytest.raises(RecordError, match="must hold a data set 'tracings' of its own"):
        source("code_test").entries([folder])


def test_external_storage_in_hdf5_is_not_read(tmp_path):
    folder = make_code_test(tmp_path)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(8 * 4096 * 12 * 8))
    tracings = folder / "data" / "ecg_tracings.hdf5"
    tracings.unlink()
    with h5py.File(tracings, "w") as file:
        file.create_dataset(
            "tracings", (8, 4096, 12), "f8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
        )
    with pytest.raises(RecordError, match="must hold a data set 'tracings' of its own"):
        source("code_test").entries([folder])


def test_damaged_hdf5_is_a_record_error(tmp_path):
    folder = make_code_test(tmp_path)
    os.truncate(folder / "data" / "ecg_tracings.hdf5", 3000)
    with pytest.raises(RecordError, match="cannot be read as HDF5"):
        source("code_test").entries([folder])


# SPH


def test_sph_statements_come_with_and_without_modifiers(tmp_path):
    reader, folder = source("sph"), make_sph(tmp_path)
    entry = reader.entries([folder])[0]
    assert list(entry.facts.statements) == ["aha:50", "aha:50+346", "aha:22"]
    assert entry.facts.patient == "sph-S1"


def test_sph_signals_obey_einthoven(tmp_path):
    reader, folder = source("sph"), make_sph(tmp_path)
    for entry in reader.entries([folder]):
        one, two, three = reader.read(entry).signal.microvolts[:3]
        # Stored as half-precision millivolts: a few microvolts of rounding.
        assert np.abs(one + three - two).max() < 15


@pytest.mark.parametrize("name", ["../A00001", "=A00001", "A1"])
def test_hostile_sph_name_is_a_data_error(tmp_path, name):
    (tmp_path / "metadata.csv").write_text(
        f"ECG_ID,AHA_Code,Patient_ID,Age,Sex\n{name},1,S1,50,M\n"
    )
    with pytest.raises(DataError, match="ECG_ID must be like A00001"):
        source("sph").entries([tmp_path])


# The catalog


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(UserError, match="'ptb_xl' is not known: did you mean 'ptbxl'"):
        source("ptb_xl")
    with pytest.raises(UserError, match="'georgie' is not known: did you mean 'georgia'"):
        dataset_info("georgie")


def test_published_sizes_of_the_study_are_in_the_catalog():
    sizes = {name: dataset_info(name).records for name in ("ptbxl", "cpsc2018", "georgia", "ptb")}
    assert sizes == {"ptbxl": 21_799, "cpsc2018": 6_877, "georgia": 10_344, "ptb": 549}
    assert dataset_info("code_test").records == 827


@settings(max_examples=150)
@given(
    table=st.one_of(
        st.binary(max_size=200),
        st.text("ecg_id,patient\n\"{}0123='", max_size=200).map(str.encode),
    )
)
def test_any_table_gives_records_or_a_data_error(tmp_path, table):
    header = b"ecg_id,patient_id,age,sex,scp_codes,strat_fold,filename_lr\n"
    (tmp_path / "ptbxl_database.csv").write_bytes(header + table)
    with contextlib.suppress(DataError):
        source("ptbxl").entries([tmp_path])


# CODE-15% as published


def test_exams_of_code15_are_found_in_their_parts_by_number(tmp_path):
    reader, folder = source("code15_native"), make_code15_native(tmp_path)
    reading = reader.read(entry_of(reader, [folder], "1018"))
    expected = limb_consistent(4000, seed=11).T
    np.testing.assert_allclose(reading.signal.microvolts[:, 48:4048], expected, atol=1e-2)
    assert (reading.facts.patient, reading.facts.age_years) == ("code15-101", 41.0)
    assert reading.facts.sex == "female"
    assert set(reading.facts.statements) == {"RBBB"}


def test_labels_of_code15_are_the_six_of_code_and_normal(tmp_path):
    folder = make_code15_native(tmp_path / "in")
    prepared = prepare("code15_native", [folder], tmp_path / "out", PrepareSettings())
    labels = dict(
        zip(prepared.records["record"], prepared.labels(label_set("code_test")), strict=True)
    )
    classes = label_set("code_test").classes
    assert [classes[i] for i in np.flatnonzero(labels["11"])] == ["1dAVb"]
    assert [classes[i] for i in np.flatnonzero(labels["32"])] == ["NORM"]
    # Neither normal nor any of the six: known, and negative for all classes.
    assert not labels["1032"].any()
    assert (prepared.records["statement_codes"].map(len) > 0).all()
    assert prepared.records["patient"].nunique() == 4


def test_code15_may_be_read_in_part_and_counts_the_other_exams(tmp_path):
    folder = make_code15_native(tmp_path / "in")
    (folder / "exams_part1.hdf5").unlink()
    manifest = prepare("code15_native", [folder], tmp_path / "out", PrepareSettings()).manifest
    assert manifest["counts"]["kept"] == 4
    assert manifest["left_aside"]["exam of a part that is not in the folders"]["count"] == 4


def test_unknown_flag_of_code15_is_refused_with_its_line(tmp_path):
    folder = make_code15_native(tmp_path)
    table = folder / "exams.csv"
    table.write_text(table.read_text().replace("True,False,False,False", "True,,False,False", 1))
    with pytest.raises(DataError, match=r"line 2: RBBB must be True or False, but is \'\'"):
        source("code15_native").entries([folder])


def test_samitrop_takes_each_tracing_by_the_row_of_its_exam(tmp_path):
    folder = make_samitrop(tmp_path)
    table = folder / "exams.csv"
    table.write_text(table.read_text().replace("872,54,True,False,False", "872,54,True,False,"))
    reader = source("samitrop")
    entries = {entry.record: entry for entry in reader.entries([folder])}
    assert list(entries) == ["872", "879", "886", "893", "900"]
    with h5py.File(folder / "exams.hdf5") as file:
        expected = file["tracings"][2].T * 1000.0
    signal = reader.read(entries["886"]).signal
    assert np.allclose(signal.microvolts, expected)
    assert entries["886"].facts.statements == {"death": 100.0}
    assert entries["893"].facts.statements == {"normal_ecg": 100.0}
    assert entries["879"].facts.statements == {"no finding": 100.0}
    assert entries["872"].left_out == "death is not stated"
    rows = table.read_text().splitlines()
    table.write_text("\n".join(rows[:-1]))
    with pytest.raises(DataError, match=r"5 tracings and 4 rows of exams\.csv must be"):
        reader.entries([folder])
