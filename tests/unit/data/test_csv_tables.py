import zipfile

import pytest

from ecgopt.data import csv_tables
from ecgopt.data.csv_tables import read_rows
from ecgopt.errors import DataError

READ = [{"file": "a", "AF": "1"}, {"file": "b", "AF": "0"}]


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nfile;AF\na;1\nb;0\n",
        "\n\nfile,AF\na,1\nb,0\n",
        "\ufefffile,AF\na,1\nb,0\n",
        '"file","AF"\r\n"a","1"\r\n"b","0"\r\n',
        "file,AF\ra,1\rb,0\r",
    ],
)
def test_tables_of_other_programs_are_read(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_rows(tmp_path / "t.csv", ("file", "AF")) == READ


@pytest.mark.parametrize("text", ["file,AF\na,1,\nb,0,\n", "file,AF,\na,1\nb,0\n"])
def test_a_delimiter_at_the_end_of_all_rows_or_of_the_names_is_no_cell(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    assert [{"file": r["file"], "AF": r["AF"]} for r in read_rows(tmp_path / "t.csv", ("AF",))] == (
        READ
    )


@pytest.mark.parametrize(
    "rows",
    # Some rows alone have a cell more: which of their cells is too many cannot be known.
    ["a,1\nb,old infarct, 0,\n", "a,1,\nb,old, 0\n", "a,1,\nb,0\n", "a,1,0\nb,0,\n"],
)
def test_a_row_with_another_number_of_cells_than_the_first_is_refused(tmp_path, rows):
    (tmp_path / "t.csv").write_text(f"file,AF\n{rows}")
    with pytest.raises(DataError, match=r"line [23] has \d cells, but the table has 2 columns"):
        read_rows(tmp_path / "t.csv", ("file", "AF"))


def test_a_quotation_mark_that_nothing_closes_swallows_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text('file,AF\na,"1\nb,0\n')
    with pytest.raises(DataError, match="is no CSV table: unexpected end of data"):
        read_rows(tmp_path / "t.csv", ("file", "AF"))


def test_lines_after_a_stated_delimiter_are_counted_from_the_start_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_text("sep=;\nfile;AF\na;1\nb\n")
    with pytest.raises(DataError, match="line 4 has 1 cells"):
        read_rows(tmp_path / "t.csv", ("file", "AF"))


def test_columns_that_a_pattern_chooses_must_not_occur_twice(tmp_path):
    (tmp_path / "t.csv").write_text("file,icd_1,icd_1\na,I48,I44.7\n")
    with pytest.raises(DataError, match="column 'icd_1' occurs 2 times"):
        read_rows(tmp_path / "t.csv", ("file",), keep=lambda name: name.startswith("icd"))
    # A column of no interest may occur twice.
    assert read_rows(tmp_path / "t.csv", ("file",), keep=lambda name: False) == [{"file": "a"}]


def test_an_empty_table_is_named_as_such(tmp_path):
    (tmp_path / "t.csv").write_text("\n")
    with pytest.raises(DataError, match="is empty: its first line must name the columns"):
        read_rows(tmp_path / "t.csv", ("file",))


def as_excel(path, **parts):
    """Write an Excel file with parts of one's own."""
    openpyxl = pytest.importorskip("openpyxl", reason="needs the extra clinic: openpyxl")
    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path) as book:
        content = {name: book.read(name) for name in book.namelist()}
    content |= {f"xl/{name.replace('__', '/')}.xml": data for name, data in parts.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as book:
        for name, data in content.items():
            book.writestr(name, data)
    return path


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'


@pytest.mark.parametrize(("part", "limit"), [("worksheets__sheet1", 3), ("sharedStrings", 1)])
def test_excel_file_that_grows_without_measure_is_refused_before_it_is_unpacked(
    tmp_path, monkeypatch, part, limit
):
    assert csv_tables._MAX_BYTES == 512 << 20
    assert csv_tables._MAX_KEPT_BYTES == 64 << 20
    monkeypatch.setattr(csv_tables, "_MAX_BYTES", 3 << 20)
    monkeypatch.setattr(csv_tables, "_MAX_KEPT_BYTES", 1 << 20)
    path = as_excel(tmp_path / "t.xlsx", **{part: b"\0" * ((limit << 20) + 1)})
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=f"is larger than {limit} MiB when unpacked"):
        read_rows(path, ("file",))


def test_excel_sheet_with_one_cell_far_away_takes_no_memory_for_those_between(tmp_path):
    names = b'<row r="1"><c r="A1" t="str"><v>file</v></c><c r="B1" t="str"><v>AF</v></c></row>'
    far = b'<row r="90000"><c r="A90000" t="str"><v>a</v></c><c r="B90000"><v>1</v></c></row>'
    path = as_excel(
        tmp_path / "t.xlsx", worksheets__sheet1=SHEET + names + far + b"</sheetData></worksheet>"
    )
    rows = read_rows(path, ("file", "AF"))
    assert [(dict(row), row.line) for row in rows] == [({"file": "a", "AF": "1"}, 90_000)]


@pytest.mark.parametrize("name", ["t.xlsx", "t.parquet"])
def test_a_table_that_is_another_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 file,AF\n")
    with pytest.raises(DataError, match="is no sound"):
        read_rows(tmp_path / name, ("file",))
