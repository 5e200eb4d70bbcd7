import re
from pathlib import Path

import numpy as np
import pytest
from ecg_files import adc, write_record
from made_sets import OWN_TOML, make_own

from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.sources.catalog import source
from ecgopt.errors import DataError


def with_text(tmp_path, old, new):
    path = make_own(tmp_path)
    assert old in OWN_TOML
    path.write_text(OWN_TOML.replace(old, new), encoding="utf-8")
    return str(path)


def test_own_records_are_prepared_with_patients_folds_and_labels(tmp_path):
    path = str(make_own(tmp_path))
    prepared = prepare(path, [], tmp_path / "out", PrepareSettings())
    records = prepared.records
    assert list(records["record"][:2]) == ["ward0/ecg0", "ward0/ecg2"]
    assert list(records["patient"]) == [f"clinic-p{i}" for i in (0, 1, 2, 0, 1, 2)]
    assert list(records["fold"]) == [0, 2, 1, 1, 0, 2]
    assert (records["sex"] == "female").all()
    labels = prepared.labels(label_set(path))
    assert label_set(path).classes == ("AF", "LBBB")
    assert labels.tolist() == [[False, False]] * 2 + [[False, True]] + [[True, False]] * 3


def test_codes_in_one_column_make_the_classes_that_the_file_defines(tmp_path):
    path = make_own(tmp_path)
    text = OWN_TOML.replace('{ flags = ["AF", "LBBB"] }', '{ column = "dx", separator = "|" }')
    text += '[classes]\nAF = ["I48", "I48.0"]\nblock = ["I44.7", "I45.1"]\n'
    path.write_text(text)
    table = tmp_path / "findings.csv"
    lines = table.read_text().splitlines()
    codes = ["dx", "I48.0|I44.7", "I45.1", "", "Z00", "I48", "I48"]
    table.write_text("\n".join(f"{a},{b}" for a, b in zip(lines, codes, strict=True)))
    prepared = prepare(str(path), [], tmp_path / "out", PrepareSettings())
    labels = prepared.labels(label_set(str(path)))
    found = dict(zip(prepared.records["record"], labels.tolist(), strict=True))
    assert found["ward0/ecg0"] == [True, True]
    assert found["ward1/ecg1"] == [False, True]
    assert found["ward1/ecg3"] == [False, False]


def test_records_may_lie_in_another_folder(tmp_path):
    path = str(make_own(tmp_path / "a"))
    moved = (tmp_path / "a" / "ecgs").rename(tmp_path / "elsewhere")
    assert len(source(path).entries([moved])) == 6


def test_fingerprint_does_not_depend_on_the_folder(tmp_path):
    first = prepare(str(make_own(tmp_path / "a")), [], tmp_path / "out", PrepareSettings())
    second = prepare(str(make_own(tmp_path / "b")), [], tmp_path / "out", PrepareSettings())
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "clinic"', 'name = "My Clinic"', "name: must be at most 32 small letters, digits"),
        ('records = "ecgs"', "", "records: this key is missing: add it"),
        (
            'table = "findings.csv"',
            'tabel = "findings.csv"',
            "tabel: unknown key: .* 'table'",
        ),
        ('{ flags = ["AF", "LBBB"] }', "{ }", r"\[statements\]: give either column or flags"),
        ('{ flags = ["AF", "LBBB"] }', '{ column = "x" }', "need classes: add this table"),
        ('name = "clinic"', "name = ", "must be valid TOML"),
        (
            'record = "file"',
            'record = "missing"',
            "column 'missing' is missing: choose one of file",
        ),
        ('flags = ["AF", "LBBB"]', 'flags = ["age"]', "line 2: age must be 0 or 1"),
        (
            'flags = ["AF", "LBBB"]',
            'flags = ["AF", ""]',
            "entry 2.: must be text that is not empty",
        ),
        ('fold = "fold"', 'fold = "file"', "file must be a whole number, but is 'ward0/ecg0'"),
        ('records = "ecgs"', 'records = "nowhere"', "nowhere: No such file"),
    ],
)
def test_faulty_description_is_refused_with_its_key(tmp_path, old, new, reason):
    with pytest.raises(DataError, match=reason):
        source(with_text(tmp_path, old, new)).entries([])


@pytest.mark.parametrize(
    "record", ["../outside", "/etc/passwd", "=cmd|' /C calc'!A0", "a//b", "", "a\\..\\b", ".hidden"]
)
def test_record_outside_the_folder_or_with_a_formula_is_refused(tmp_path, record):
    path = make_own(tmp_path)
    table = tmp_path / "findings.csv"
    table.write_text(table.read_text().replace("ward0/ecg0", record, 1))
    with pytest.raises(DataError, match="must be a path of letters, digits"):
        source(str(path)).entries([])


def test_missing_record_file_is_named(tmp_path):
    path = make_own(tmp_path)
    (tmp_path / "ecgs" / "ward1" / "ecg3.hea").unlink()
    with pytest.raises(DataError, match=r"its header cannot be read: .*ecg3\.hea"):
        prepare(str(path), [], tmp_path / "out", PrepareSettings())


def test_empty_flag_is_unknown_and_refused_with_its_line(tmp_path):
    path = make_own(tmp_path)
    table = tmp_path / "findings.csv"
    lines = table.read_text().splitlines()
    lines[3] = lines[3][: lines[3].rindex(",") + 1]
    table.write_text("\n".join(lines))
    with pytest.raises(DataError, match="line 4: LBBB must be 0 or 1, but is ''"):
        source(str(path)).entries([])


def test_record_in_two_rows_is_refused(tmp_path):
    path = make_own(tmp_path)
    table = tmp_path / "findings.csv"
    again = "\n".join(table.read_text().splitlines()[1:3])
    table.write_text(f"{table.read_text()}{again}\n")
    with pytest.raises(DataError, match=r"several rows of 2 records \(ward0/ecg0, ward1/ecg1\)"):
        source(str(path)).entries([])


def test_headers_without_a_row_are_counted(tmp_path):
    path = make_own(tmp_path)
    write_record(tmp_path / "ecgs" / "ward1", "other", adc(100))
    manifest = prepare(str(path), [], tmp_path / "out", PrepareSettings()).manifest
    assert manifest["left_aside"] == {
        "header without a row": {"count": 1, "names": ["ward1/other"]}
    }


FLAGS = 'statements = { flags = ["AF", "LBBB"] }'


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('name = "clinic"', "name = 3", "name: must be text in quotes, but is 3"),
        ('name = "clinic"', "name = 2026-01-02", "name: dates and times have no meaning here"),
        ("columns = ", "colums = ", "colums: unknown table: did you mean 'columns'?"),
        ("columns = { ", "columns = { recrd = 'a', ", "columns] recrd: unknown key: did you mean"),
        ('record = "file"', "record = ''", "[columns] record: must be text that is not empty"),
        ('flags = ["AF", "LBBB"]', "", "[statements]: give either column or flags: add one"),
        ('flags = ["AF", "LBBB"]', 'flags = ["AF"], column = "x"', "not both: delete one"),
        ('"LBBB"]', '"AF"]', "[statements] flags (entry 2): 'AF' is there twice: delete one"),
        (FLAGS, FLAGS + '\nclasses = { block = ["LBB"] }',
         "[classes] block (entry 1): 'LBB' is not in statements.flags: did you mean 'LBBB'?"),
        (FLAGS, 'statements = { column = "x" }', "[classes]: the codes of statements.column need"),
    ],
)  # fmt: skip
def test_an_error_of_a_description_names_file_key_and_remedy(tmp_path, old, new, line):
    path = with_text(tmp_path, old, new)
    for read in (source, label_set):
        with pytest.raises(DataError) as caught:
            read(path)
        assert all(text.startswith(f"{path}: ") for text in str(caught.value).splitlines())
        assert line in str(caught.value)


def test_all_errors_of_a_description_are_told_together(tmp_path):
    path = tmp_path / "clinic.toml"
    path.write_bytes(b'\xef\xbb\xbfnme = "clinic"\ntable = true\n[columns]\npatient = "p"\n')
    with pytest.raises(DataError) as caught:
        source(str(path))
    assert str(caught.value).splitlines() == [
        f"{path}: nme: unknown key: did you mean 'name'?",
        f"{path}: records: this key is missing: add it",
        f"{path}: [columns] record: this key is missing: add it",
        f"{path}: [statements]: this table is missing: add it",
        f"{path}: table: must be text in quotes, but is true",
    ]


def test_a_blank_may_separate_codes(tmp_path):
    text = f'{OWN_TOML}[classes]\nAF = ["I48"]\nLBBB = ["I44.7"]\n'
    path = make_own(tmp_path)
    path.write_text(text.replace(FLAGS, 'statements = { column = "AF", separator = " " }'))
    (tmp_path / "findings.csv").write_text(
        "file,person,age,sex,fold,AF\nward0/ecg0,p,40,F,1,I44.7  I48\nward1/ecg1,q,40,F,1,\n"
    )
    first, second = source(str(path)).entries([])
    assert first.facts.statements.keys() == {"I44.7", "I48"}
    assert second.facts.statements == {}


def test_letters_of_any_alphabet_may_name_a_record(tmp_path):
    path = make_own(tmp_path)
    write_record(tmp_path / "ecgs", "Müller_1", adc(5000))
    table = tmp_path / "findings.csv"
    table.write_text(table.read_text() + "Müller_1,m,50,F,1,1,0\n", encoding="utf-8")
    listing = source(str(path)).entries([])
    assert "Müller_1" in [entry.record for entry in listing.entries]


def test_a_column_that_the_table_lacks_is_named_with_the_nearest(tmp_path):
    path = with_text(tmp_path, 'patient = "person"', 'patient = "persn"')
    with pytest.raises(DataError, match="column 'persn' is missing: did you mean 'person'"):
        source(path).entries([])


def test_missing_description_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.toml: No such file"):
        source(str(tmp_path / "absent.toml"))
    with pytest.raises(DataError, match=r"absent\.toml: No such file"):
        label_set(str(tmp_path / "absent.toml"))


def test_descriptions_in_the_documentation_are_valid(tmp_path):
    page = Path(__file__).parents[4] / "docs" / "how-to" / "own-data.md"
    blocks = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    descriptions = [block for block in blocks if block.startswith("name =")]
    assert len(descriptions) == 2
    for block in descriptions:
        (tmp_path / "clinic.toml").write_text(block, encoding="utf-8")
        assert label_set(str(tmp_path / "clinic.toml")).classes == ("AF", "LBBB")


def described(tmp_path, statements, *, table="findings.csv", top="", columns="", after=""):
    """Write records and a description with other statements, and return the description's path."""
    path = make_own(tmp_path)
    path.write_text(
        f'name = "clinic"\nrecords = "ecgs"\ntable = "{table}"\n{top}\n[columns]\nrecord = "file"\n'
        f"{columns}\n[statements]\n{statements}\n{after}\n",
        encoding="utf-8",
    )
    return str(path)


TWO = [
    {"file": "ward0/ecg0", "AF": "ja", "LBBB": "nein"},
    {"file": "ward1/ecg1", "AF": "nein", "LBBB": "ja"},
]
GERMAN = 'flags = ["AF", "LBBB"]\nyes = ["ja"]\nno = ["nein"]'


def statements_of(path):
    return {
        entry.record: entry.left_out or set(entry.facts.statements)
        for entry in source(path).entries([])
    }


@pytest.mark.parametrize(
    ("delimiter", "encoding", "stated"),
    [
        (";", "utf-8", ""),
        ("\t", "utf-8-sig", ""),
        ("|", "utf-16", ""),
        (";", "cp1252", 'encoding = "cp1252"'),
        ("#", "utf-8", 'delimiter = "#"'),
    ],
)
def test_csv_tables_of_any_delimiter_and_encoding_are_read(tmp_path, delimiter, encoding, stated):
    path = described(tmp_path, GERMAN, top=stated)
    lines = [delimiter.join([*TWO[0], "Name"])]
    lines += [delimiter.join([*row.values(), "Jürgen, Dr."]) for row in TWO]
    (tmp_path / "findings.csv").write_bytes("\r\n".join(lines).encode(encoding))
    assert statements_of(path) == {"ward0/ecg0": {"AF"}, "ward1/ecg1": {"LBBB"}}


def test_a_table_that_is_no_utf_8_asks_for_its_encoding(tmp_path):
    path = described(tmp_path, GERMAN)
    (tmp_path / "findings.csv").write_bytes("file,AF,LBBB,Gerät\n".encode("cp1252"))
    with pytest.raises(DataError, match='may state another encoding, such as encoding = "cp1252"'):
        source(path).entries([])


def test_parquet_tables_are_read_with_numbers_and_flags(tmp_path):
    import pandas as pd

    path = described(tmp_path, 'flags = ["AF"]', table="t.parquet", columns='age = "age"')
    files = ["ward0/ecg0", "ward1/ecg1"]
    pd.DataFrame({"file": files, "AF": [True, False], "age": [51.0, None]}).to_parquet(
        tmp_path / "t.parquet"
    )
    entries = source(path).entries([])
    assert [set(entry.facts.statements) for entry in entries] == [{"AF"}, {"no finding"}]
    assert [entry.facts.age_years for entry in entries] == [51.0, None]


def test_excel_tables_are_read_from_the_named_sheet(tmp_path):
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra clinic: openpyxl")
    path = described(
        tmp_path, 'flags = ["AF"]', table="t.xlsx", top='sheet = "Befunde"', columns='age = "age"'
    )
    book = openpyxl.Workbook()
    book.active.append(["other"])
    sheet = book.create_sheet("Befunde")
    for row in (["file", "AF", "age"], ["ward0/ecg0", 1, 51], ["ward1/ecg1", False, 60.5]):
        sheet.append(row)
    sheet["F9"].font = openpyxl.styles.Font(bold=True)
    book.save(tmp_path / "t.xlsx")
    entries = source(path).entries([])
    assert [set(entry.facts.statements) for entry in entries] == [{"AF"}, {"no finding"}]
    assert [entry.facts.age_years for entry in entries] == [51.0, 60.5]
    Path(path).write_text(Path(path).read_text().replace("Befunde", "Befund"))
    with pytest.raises(DataError, match="sheet 'Befund' is missing: did you mean 'Befunde'"):
        source(path).entries([])


def test_unknown_flags_leave_a_record_out_and_are_not_negative(tmp_path):
    path = described(tmp_path, 'flags = ["AF", "LBBB"]\nunknown = ["", "NA"]')
    (tmp_path / "findings.csv").write_text(
        "file,AF,LBBB\nward0/ecg0,1,0\nward1/ecg1,0,\nward0/ecg2,na,1\nward0/ecg4,0,0\n"
    )
    assert statements_of(path) == {
        "ward0/ecg0": {"AF"},
        "ward0/ecg2": "a flag is unknown",
        "ward0/ecg4": {"no finding"},
        "ward1/ecg1": "a flag is unknown",
    }
    manifest = prepare(path, [], tmp_path / "out", PrepareSettings()).manifest
    assert manifest["dropped_reasons"] == {"a flag is unknown": 2}


def test_joined_tables_give_patients_and_reports_by_their_keys(tmp_path):
    path = described(
        tmp_path,
        'column = "report_*"\nseparator = "|"',
        columns='patient = "subject"\nage = "anchor_age"',
        after='[[joins]]\ntable = "measured.csv"\nkey = "study"\n'
        '[[joins]]\ntable = "people.csv"\nkey = "id"\nmatches = "subject"\n'
        '[classes]\nAF = ["Atrial fibrillation*"]\nLBBB = ["Left bundle branch block"]',
    )
    (tmp_path / "findings.csv").write_text(
        "subject,study,file\n7,70,ward0/ecg0\n7,71,ward1/ecg1\n8,80,ward0/ecg2\n"
    )
    (tmp_path / "measured.csv").write_text(
        "study,report_0,report_1,rr\n70,Atrial fibrillation with rapid response,,600\n"
        "71,Sinus rhythm,Left bundle branch block,800\n99,Sinus rhythm,,1\n"
    )
    (tmp_path / "people.csv").write_text("id,anchor_age\n7,61\n8,>89\n")
    entries = source(path).entries([])
    assert statements_of(path) == {
        "ward0/ecg0": {"Atrial fibrillation*"},
        "ward0/ecg2": "no row in measured.csv",
        "ward1/ecg1": {"Sinus rhythm", "Left bundle branch block"},
    }
    assert [entry.facts.patient for entry in entries] == ["clinic-7", "clinic-8", "clinic-7"]
    assert [entry.facts.age_years for entry in entries] == [61, 90, 61]
    assert entries.aside["row of measured.csv without a record"] == ["99"]
    prepared = prepare(path, [], tmp_path / "out", PrepareSettings())
    assert prepared.labels(label_set(path)).tolist() == [[True, False], [False, True]]


def test_a_key_that_occurs_twice_is_refused_with_its_line(tmp_path):
    path = described(
        tmp_path, 'flags = ["AF"]', after='[[joins]]\ntable = "labels.csv"\nkey = "file"'
    )
    (tmp_path / "labels.csv").write_text("file,AF\nward0/ecg0,1\nward0/ecg0,0\n")
    with pytest.raises(DataError, match=r"labels\.csv: line 3: file 'ward0/ecg0' occurs twice"):
        source(path).entries([])


def test_a_changed_joined_table_is_another_set(tmp_path):
    path = described(
        tmp_path, 'flags = ["X"]', after='[[joins]]\ntable = "labels.csv"\nkey = "file"'
    )
    files = [f"ward{i % 2}/ecg{i}" for i in range(6)]
    first = "file,X\n" + "".join(f"{file},1\n" for file in files)
    (tmp_path / "labels.csv").write_text(first)
    one = prepare(path, [], tmp_path / "out", PrepareSettings())
    (tmp_path / "labels.csv").write_text(first.replace("ecg0,1", "ecg0,0"))
    assert prepare(path, [], tmp_path / "out", PrepareSettings()).fingerprint != one.fingerprint


def test_leads_of_other_names_are_mapped(tmp_path):
    from ecgopt.data.signals import LEADS

    path = described(tmp_path, 'flags = ["AF"]', after='[leads]\nKanal_1 = "I"\nKanal_2 = "II"\n')
    names = ("Kanal_1", "Kanal_2", *LEADS[2:])
    write_record(tmp_path / "ecgs" / "ward0", "ecg0", adc(5000, seed=3), leads=names)
    (tmp_path / "findings.csv").write_text("file,AF\nward0/ecg0,1\n")
    prepared = prepare(path, [], tmp_path / "out", PrepareSettings(sampling_rate_hz=500))
    assert (prepared.signals[0] == adc(5000, seed=3).T).all()
    wrong = Path(path)
    wrong.write_text(wrong.read_text().replace('"II"', '"IV"'))
    with pytest.raises(DataError, match=r"\[leads\] Kanal_2: 'IV' is no lead: did you mean"):
        source(path)


def test_patients_without_a_name_are_no_one_giant_patient(tmp_path):
    path = described(
        tmp_path, 'flags = ["AF"]', columns='patient = "person"\nsex = "sex"\nfemale = ["W"]'
    )
    (tmp_path / "findings.csv").write_text(
        "file,person,sex,AF\nward0/ecg0,unknown,W,1\nward0/ecg2,NaN,m,1\nward0/ecg4,p,?,1\n"
    )
    facts = [entry.facts for entry in source(path).entries([])]
    assert [each.patient_published for each in facts] == [False, False, True]
    assert len({each.patient for each in facts}) == 3
    assert [each.sex for each in facts] == ["female", "male", None]


@pytest.mark.parametrize(
    ("text", "years"),
    [
        *(("056Y", 56), (">89", 90), ("51,5", 51.5), ("60 years", 60), ("", None), ("300", 90)),
        *(("90+", 90), ("\u2265 90", 90), ("006M", 0.5), ("18 months", 1.5), ("3000", None)),
        *(("> 18", None), ("fifty", None), ("-5", None), ("150", None), ("12 apples", None)),
    ],
)
def test_ages_of_other_forms_are_understood(tmp_path, text, years):
    path = described(tmp_path, 'flags = ["AF"]', columns='age = "age"', top='delimiter = ";"')
    (tmp_path / "findings.csv").write_text(f"file;age;AF\nward0/ecg0;{text};1\n")
    assert source(path).entries([])[0].facts.age_years == years


def test_parquet_table_that_grows_without_measure_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = described(tmp_path, 'flags = ["AF"]', table="t.parquet")
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(40_000_000, np.int8)), ["0"])
    pq.write_table(pa.table({"file": column, "AF": column}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1 << 20
    with pytest.raises(DataError, match="has more than 67,108,864 cells"):
        source(path).entries([])


ICD = '[classes]\nAF = ["I48*"]\nLBBB = ["I44.7"]'


@pytest.mark.parametrize(
    ("words", "empty", "nan"),
    [
        ("", "no finding is stated", "no finding is stated"),
        ('no = [""]', {"no finding"}, "no finding is stated"),
        ('no = ["", "NaN"]', {"no finding"}, {"no finding"}),
        ('unknown = [""]', "the findings are unknown", "no finding is stated"),
    ],
)
def test_a_row_without_a_code_is_unknown_unless_the_description_says_no(
    tmp_path, words, empty, nan
):
    path = described(tmp_path, f'column = "icd"\n{words}', after=ICD)
    (tmp_path / "findings.csv").write_text(
        "file,icd\nward0/ecg0,I48.1\nward1/ecg1,\nward0/ecg2,NaN\n"
    )
    found = [entry.left_out.partition(" (")[0] or {*entry.facts.statements} for entry in
             source(path).entries([])]  # fmt: skip
    assert found == [{"I48*"}, nan, empty]


def test_ages_and_sexes_that_are_not_understood_are_counted(tmp_path):
    path = described(tmp_path, 'flags = ["AF"]', columns='age = "age"\nsex = "sex"\nmale = ["H"]')
    (tmp_path / "findings.csv").write_text(
        "file,AF,age,sex\nward0/ecg0,1,fifty,w\nward1/ecg1,0,,h\nward0/ecg2,0,NaN,unknown\n"
    )
    aside = source(path).entries([]).aside
    assert aside["age not understood, so unknown"] == ["ward0/ecg0 'fifty'"]
    (reason,) = (reason for reason in aside if reason.startswith("sex not understood"))
    assert aside[reason] == ["ward0/ecg0 'w'"]


@pytest.mark.parametrize(
    "cell", ["ward0/ecg0.dat", "ward0/ecg0.HEA", "./ward0/ecg0", "ward0\\ecg0", " ward0/ecg0 "]
)
def test_a_record_may_be_named_by_its_file(tmp_path, cell):
    path = described(tmp_path, 'flags = ["AF"]')
    (tmp_path / "findings.csv").write_text(f"file,AF\n{cell},1\n")
    assert statements_of(path) == {"ward0/ecg0": {"AF"}}


def test_records_in_folders_with_blanks_and_headers_in_capitals_are_found(tmp_path):
    path = described(tmp_path, 'flags = ["AF"]')
    (tmp_path / "ecgs" / "ward0").rename(tmp_path / "ecgs" / "ward 0")
    header = tmp_path / "ecgs" / "ward 0" / "ecg0.hea"
    header.rename(header.with_suffix(".HEA"))
    (tmp_path / "findings.csv").write_text("file,AF\nward 0/ecg0,1\n")
    prepared = prepare(path, [], tmp_path / "out", PrepareSettings())
    assert list(prepared.records["record"]) == ["ward 0/ecg0"]


def test_keys_join_as_numbers_with_and_without_a_fraction_and_never_when_empty(tmp_path):
    path = described(
        tmp_path, 'flags = ["AF"]', columns='patient = "person"',
        top='joins = [{ table = "more.csv", key = "person" }]',
    )  # fmt: skip
    (tmp_path / "findings.csv").write_text(
        "file,person\nward0/ecg0,7.0\nward0/ecg2,7\nward1/ecg1,\n"
    )
    (tmp_path / "more.csv").write_text("person,AF\n7,1\n,1\n,0\n")
    entries = source(path).entries([])
    assert [(entry.facts.patient, entry.left_out) for entry in entries] == [
        ("clinic-7", ""), ("clinic-7", ""), ("clinic-ward1/ecg1", "no row in more.csv")
    ]  # fmt: skip
    assert entries.aside["row of more.csv without a record"] == [
        "line 3, without a key", "line 4, without a key"
    ]  # fmt: skip
