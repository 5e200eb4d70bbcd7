import pytest
from clinic_files import write_muse
from ecg_files import adc, write_record
from made_sets import make_own

from ecgopt.data.clinic.importing import ImportSettings, import_files
from ecgopt.data.describe import describe
from ecgopt.data.labels import label_set
from ecgopt.data.prepare import PrepareSettings, prepare
from ecgopt.data.sources.catalog import source
from ecgopt.errors import DataError


def written(folder, tmp_path):
    """Describe a folder, and return the description's path."""
    path = tmp_path / "first.toml"
    path.write_text(describe(folder, tmp_path).text, encoding="utf-8")
    return str(path)


def test_a_description_of_flags_can_be_prepared_as_it_is(tmp_path):
    make_own(tmp_path / "Clinic A")
    path = written(tmp_path / "Clinic A", tmp_path)
    prepared = prepare(path, [], tmp_path / "out", PrepareSettings())
    assert prepared.source == "clinic_a"
    assert label_set(path).classes == ("AF", "LBBB")
    assert prepared.records["patient"].nunique() == 3
    assert set(prepared.records["fold"]) == {0, 1, 2}
    assert set(prepared.records["sex"]) == {"female"}


def test_codes_become_classes_with_their_counts(tmp_path):
    folder = tmp_path / "clinic"
    for i in range(3):
        write_record(folder / "ecgs", f"e{i}", adc(5000, seed=i))
    (folder / "list.csv").write_text(
        "ecg;Diagnose;PatientID\ne0;I48|I44.7;p\ne1;I48;p\ne2;;q\n", encoding="utf-8"
    )
    path = written(folder, tmp_path)
    entries = source(path).entries([])
    assert [set(entry.facts.statements) for entry in entries] == [{"I48", "I44.7"}, {"I48"}, set()]
    assert label_set(path).classes == ("I48", "I44.7")
    text = (tmp_path / "first.toml").read_text()
    assert '"I48" = ["I48"]  # 2 records' in text
    assert 'records = "clinic/ecgs"' in text


def test_empty_flags_are_asked_about(tmp_path):
    folder = tmp_path / "clinic"
    for i in range(2):
        write_record(folder, f"e{i}", adc(5000, seed=i))
    (folder / "list.csv").write_text("ecg,AF\ne0,1\ne1,\n")
    text = describe(folder, tmp_path).text
    assert 'unknown = [""]' in text
    assert "do these cells mean that the finding was not judged?" in text
    assert "which column names the patient?" in text


@pytest.mark.parametrize(
    ("yes", "no", "unknown"),
    [("ja", "nein", "unbekannt"), ("Oui", "Non", "?"), ("sim", "não", ""), ("+", "neg", "u")],
)
def test_words_of_other_languages_are_proposed_for_yes_and_no(tmp_path, yes, no, unknown):
    folder = tmp_path / "clinic"
    for i in range(3):
        write_record(folder, f"e{i}", adc(5000, seed=i))
    rows = f"ecg;VHF;LSB\ne0;{yes};{no}\ne1;{no};{yes}\ne2;{no};{unknown}\n"
    (folder / "list.csv").write_text(rows, encoding="utf-8")
    path = written(folder, tmp_path)
    assert "do these words mean yes and no?" in (tmp_path / "first.toml").read_text("utf-8")
    listed = source(path).entries([])
    assert [set(entry.facts.statements) for entry in listed[:2]] == [{"VHF"}, {"LSB"}]
    assert [bool(entry.left_out) for entry in listed] == [False, False, True]


def test_tables_are_joined_by_the_key_that_fits(tmp_path):
    folder = tmp_path / "clinic"
    for i in range(4):
        write_record(folder / "files", f"e{i}", adc(5000, seed=i))
    (folder / "record_list.csv").write_text(
        "subject_id,study_id,path\n" + "".join(f"{i // 2},7{i},files/e{i}\n" for i in range(4))
    )
    (folder / "labels.csv").write_bytes(
        ("study;AF;Größe\n" + "".join(f"7{i};{i % 2};1,80\n" for i in range(4))).encode("cp1252")
    )
    path = written(folder, tmp_path)
    entries = source(path).entries([])
    assert [set(entry.facts.statements) for entry in entries] == [{"no finding"}, {"AF"}] * 2
    assert [entry.facts.patient for entry in entries] == [
        "clinic-0", "clinic-0", "clinic-1", "clinic-1",
    ]  # fmt: skip


def test_imported_records_are_described_and_leads_are_asked_for(tmp_path):
    write_muse(tmp_path / "in" / "a.xml", adc(5000)[:, :8])
    import_files([tmp_path / "in"], tmp_path / "ecgs", ImportSettings())
    write_record(tmp_path / "ecgs", "b", adc(100), leads=tuple(f"K{i}" for i in range(12)))
    text = describe(tmp_path / "ecgs", tmp_path).text
    assert "where are the findings?" in text
    assert "1 of the 2 headers looked at lack leads" in text
    assert '# "K0" = "I"' in text


@pytest.mark.parametrize("table", ["", "x,y\n1,2\n"])
def test_a_folder_without_records_or_table_says_what_is_missing(tmp_path, table):
    with pytest.raises(DataError, match="holds no WFDB record; turn other formats into WFDB"):
        describe(tmp_path, tmp_path)
    write_record(tmp_path, "a", adc(100))
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(DataError, match="no table names its 1 records"):
        describe(tmp_path, tmp_path)
