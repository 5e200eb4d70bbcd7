import fcntl
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ecg_files import real, write_record
from file_server import file_server
from made_sets import limb_consistent, make_own

from ecgopt.cli.data import app
from ecgopt.data.signals import LEADS
from ecgopt.database.comparisons import store_comparison
from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables
from ecgopt.errors import DataError, UserError


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGOPT_WORKSPACE", str(tmp_path / "storage"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "storage"


def run(line: str | list[str]) -> None:
    app(line, result_action="return_value")


def test_list_shows_every_set_as_one_plain_line_where_nobody_watches(capsys):
    run("list")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["ptbxl", "21,799", "18,869"]
    assert any(line.startswith("georgia") and "10,344" in line for line in lines)
    assert "\x1b" not in "".join(lines)


def test_list_of_one_set_has_licence_citation_and_address(capsys):
    run("list georgia")
    text = capsys.readouterr().out
    for words in ("CC BY 4.0", "Perez Alday", "https://physionet.org", "10.13026/34va-7q14"):
        assert words in text


def test_list_as_json_says_what_is_here(capsys, workspace):
    run("list code15 --json")
    before = json.loads(capsys.readouterr().out)
    (workspace / "data" / "code15").mkdir(parents=True)
    (workspace / "data" / "code15" / "x.hea").write_text("")
    run(["prepare", "code15", "--from", str(real("chagas2025_code15")), "--processes", "1"])
    capsys.readouterr()
    run("list code15 --json")
    after = json.loads(capsys.readouterr().out)
    assert (before["present"], before["prepared"]) == (False, False)
    assert (after["present"], after["prepared"]) == (True, True)


def test_prepare_ends_with_a_table_of_kept_cut_padded_and_dropped(capsys):
    run(["prepare", "code15", "--from", str(real("chagas2025_code15")), "--processes", "1"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["found", "39", "of", "345,779", "published"] in rows
    assert ["kept", "13"] in rows
    assert ["dropped", "24", "shorter", "than", "10", "s"] in rows
    # A record that is known to be negative has no statement of an unused class.
    assert not any("uses:" in row for row in rows)


def test_check_names_classes_duplicates_and_warnings(capsys):
    folders = [str(real("ptbxl_native")), str(real("ptbxl_resampled100"))]
    run(["prepare", "ptbxl", "--from", *folders, "--processes", "1"])
    run("check ptbxl")
    text = capsys.readouterr().out
    assert "label set ptbxl_superclass" in text
    assert "00459=00460" in text
    assert "warning: 3 pairs of records are the same recording, perhaps filtered" in text


def test_check_as_json_and_as_a_page_with_pictures_of_the_worst_records(capsys, tmp_path):
    folders = [str(real("ptbxl_native")), str(real("ptbxl_resampled100"))]
    run(["prepare", "ptbxl", "--from", *folders, "--processes", "1"])
    capsys.readouterr()
    run(["check", "ptbxl", "--json", "--page", "check.html"])
    found = json.loads(capsys.readouterr().out)
    assert found["positives"]["NORM"] == 950
    assert found["positive_patients"]["NORM"] == 934
    doubts = {doubt["topic"]: doubt for doubt in found["doubts"]}
    assert doubts["leads"]["records"] == ["12162"]
    page = (tmp_path / "check.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert 'alt="twelve leads of 12162"' in page
    assert "http" not in page


def test_check_of_a_set_that_is_read_wrongly_ends_with_1_and_prints_escapes(capsys, tmp_path):
    leads = ("I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:])
    for number in range(3):
        samples = limb_consistent(5000, seed=number).round().astype("<i2")
        comments = "#Dx: 426783006,\x1b[31mred\n"
        write_record(tmp_path / "in", f"r{number}", samples, leads=leads, comments=comments)
    run(["prepare", "cinc", "--from", "in", "--processes", "1"])
    with pytest.raises(SystemExit) as ended:
        run("check cinc --page check.html")
    assert ended.value.code == 1
    text = capsys.readouterr().out
    assert "error: 3 records have limb leads" in text
    assert "aVL and aVF exchanged" in text
    assert "\\x1b[31mred (3)" in text
    assert "\x1b" not in text


def test_check_and_show_read_the_set_that_was_made_last_for_the_files_as_they_are(capsys, tmp_path):
    path, table = make_own(tmp_path / "own"), tmp_path / "own" / "findings.csv"
    text = table.read_text()
    run(["prepare", str(path), "--processes", "1"])
    table.write_text(text.replace("40,F,0,0,0", "40,F,0,1,1"))
    with pytest.raises(DataError, match=f"changed or moved .*`ecgopt data prepare {path}`"):
        run(["check", str(path)])
    run(["prepare", str(path), "--processes", "1"])
    table.write_text(text)
    run(["prepare", str(path), "--processes", "1"])
    made = capsys.readouterr().out.splitlines()[-1]
    run(["check", str(path)])
    assert capsys.readouterr().out.splitlines()[0] == made


def test_set_of_another_rate_is_checked_and_shown_by_the_same_options(capsys, tmp_path):
    path = str(make_own(tmp_path / "own"))
    run(["prepare", path, "--processes", "1", "--rate", "250", "--seconds", "5"])
    with pytest.raises(DataError, match="but with --rate 250 --seconds 5"):
        run(["check", path])
    run(["check", path, "--rate", "250", "--seconds", "5"])
    run(["show", path, "ward0/ecg0", "--rate", "250", "--seconds", "5"])
    assert "wrote clinic-ward0_ecg0.svg" in capsys.readouterr().out


def test_check_before_prepare_names_the_description_of_own_data(tmp_path):
    own = tmp_path / "clinic.toml"
    own.write_text('name = "clinic"\nrecords = "ecgs"\ntable = "t.csv"\n'
                   'columns = { record = "file" }\nstatements = { flags = ["AF"] }\n')  # fmt: skip
    with pytest.raises(DataError, match=f"run `ecgopt data prepare {own}`"):
        run(f"check {own}")


def test_check_before_prepare_says_what_to_run():
    with pytest.raises(DataError, match="run `ecgopt data prepare ptbxl --from DIR`"):
        run("check ptbxl")


def test_show_draws_a_raw_and_a_prepared_record(capsys, tmp_path):
    folder = str(real("cinc2021_deeppsp"))
    run(["show", "georgia", "E07502", "--from", folder, "--out", "raw.png"])
    run(["prepare", "georgia", "--from", folder, "--processes", "1"])
    run("show georgia E07502")
    assert Path("raw.png").read_bytes().startswith(b"\x89PNG")
    assert "georgia-E07502.svg" in capsys.readouterr().out
    assert Path("georgia-E07502.svg").exists()


def test_own_data_run_through_all_verbs(capsys, tmp_path):
    path = str(make_own(tmp_path / "own"))
    run(["prepare", path, "--processes", "1"])
    run(["check", path])
    run(["show", path, "ward0/ecg0"])
    text = capsys.readouterr().out
    assert "AF" in text
    assert "wrote clinic-ward0_ecg0.svg" in text


def test_overlap_of_two_label_sets_is_shown(capsys):
    run("overlap ptbxl_superclass cpsc2018")
    text = capsys.readouterr().out
    assert "44% of the downstream classes are known upstream" in text


def test_fetch_goes_to_the_workspace(capsys, workspace):
    with file_server() as server:
        server.files["training/georgia/E00001.hea"] = b"header"
        server.add_checksums()
        run(["fetch", "georgia", "--mirror", server.address])
    assert (workspace / "data/georgia/training/georgia/E00001.hea").read_bytes() == b"header"
    assert "2 files in" in capsys.readouterr().out


def test_fetch_that_lacks_a_file_lists_it_and_exits_with_1(capsys, workspace):
    with file_server() as server:
        server.files = {"training/georgia/E1.hea": b"1", "training/georgia/E2.hea": b"2"}
        server.add_checksums()
        del server.files["training/georgia/E2.hea"]
        line = ["fetch", "georgia", "--mirror", server.address]
        with pytest.raises(SystemExit) as ended:
            run(line)
        assert ended.value.code == 1
        text = capsys.readouterr().out
        assert "failed: training/georgia/E2.hea: " in text
        assert "1 file failed: run fetch again" in text
        run([*line, "--accept", "training/georgia/E2.hea"])
    assert "accepted: training/georgia/E2.hea: " in capsys.readouterr().out
    assert (workspace / "data/georgia/training/georgia/E1.hea").exists()


def test_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'georgia'"):
        run("list georgie")


@pytest.mark.parametrize("verb", ["list", "fetch", "prepare", "check", "show", "overlap", "remove"])
def test_help_of_every_verb_has_an_example(verb, capsys):
    app([verb, "--help"], result_action="return_value")
    assert f"ecgopt data {verb} " in capsys.readouterr().out


def test_command_module_imports_neither_numpy_nor_pandas():
    code = (
        "import sys, ecgopt.cli.data; print(sorted({'numpy', 'pandas', 'rich'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "numpy" not in found.stdout
    assert "pandas" not in found.stdout


def removed(line, answer, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer + "\n"))
    run(line)


def test_remove_shows_the_size_asks_and_leaves_other_sets_and_raw_files(
    capsys, workspace, tmp_path, monkeypatch
):
    toml = make_own(tmp_path)
    for rate in ("100", "50"):
        run(["prepare", str(toml), "--rate", rate, "--processes", "1"])
    run(["prepare", "code15", "--from", str(real("chagas2025_code15")), "--processes", "1"])
    part = workspace / "prepared" / ".clinic-0123456789ab.part"
    part.mkdir()
    (part / "signals.npy").write_bytes(b"\0" * 3_000_000)
    capsys.readouterr()
    with pytest.raises(UserError, match="nothing was removed: 'clinic' must be typed, but 'no'"):
        removed(["remove", str(toml)], "no", monkeypatch)
    assert len(list((workspace / "prepared").glob("clinic-*"))) == 2
    removed(["remove", str(toml)], "clinic", monkeypatch)
    out = capsys.readouterr().out
    assert f"3.0 MB: {part}" in out
    assert "removed 3 folders, 3." in out
    (left,) = (workspace / "prepared").iterdir()
    assert left.name.startswith("code15-")
    assert (tmp_path / "ecgs" / "ward0" / "ecg0.hea").exists()
    with pytest.raises(DataError, match=rf"clinic is not prepared in .*; it holds {left.name}"):
        run(["remove", str(toml), "--yes"])


def test_remove_takes_one_set_by_its_folder_and_fetched_files_on_request(workspace, tmp_path):
    toml = make_own(tmp_path)
    for rate in ("100", "50"):
        run(["prepare", str(toml), "--rate", rate, "--processes", "1"])
    first, second = sorted((workspace / "prepared").iterdir())
    run(["remove", first.name, "--yes"])
    assert list((workspace / "prepared").iterdir()) == [second]
    for name in ("..", "*", f"../prepared/{second.name}"):
        with pytest.raises(DataError, match="is not prepared in"):
            run(["remove", name, "--yes"])
    raw = workspace / "data" / "georgia"
    raw.mkdir(parents=True)
    (raw / "E00001.hea").write_text("")
    with pytest.raises(DataError, match="holds no files that `ecgopt data fetch` has fetched"):
        run(["remove", "georgia", "--files", "--yes"])
    (raw / "SHA256SUMS.txt").write_text("")
    run(["remove", "georgia", "--files", "--yes"])
    assert not raw.exists()


def test_remove_refuses_a_set_that_a_study_uses_or_prepare_is_at_work_in(
    capsys, workspace, tmp_path
):
    toml = make_own(tmp_path)
    for rate in ("100", "50"):
        run(["prepare", str(toml), "--rate", rate, "--processes", "1"])
    used, _ = sorted((workspace / "prepared").iterdir())
    database = open_database(f"sqlite:///{workspace / 'ecgopt.sqlite3'}")
    create_tables(database)
    store_comparison(
        database, "demo", content={}, prepared={"clinic": used.name}, provenance={}
    )  # fmt: skip
    with pytest.raises(DataError, match="`ecgopt study delete` the studies that use it first"):
        run(["remove", used.name, "--yes"])
    run(["remove", str(toml), "--yes"])
    assert f"kept: {used}: study demo uses it" in capsys.readouterr().out
    assert list((workspace / "prepared").iterdir()) == [used]
    part = workspace / "prepared" / ".clinic-0123456789ab.part"
    part.mkdir()
    with (part / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="`ecgopt data prepare` is at work in"):
            run(["remove", str(toml), "--yes"])
        assert part.exists()


def test_prepare_names_the_statements_that_no_class_uses(capsys, tmp_path):
    toml = make_own(tmp_path)
    text = toml.read_text().replace('flags = ["AF", "LBBB"]', 'column = "icd"')
    toml.write_text(f'{text}\n[classes]\nAF = ["I48*"]\n')
    table = tmp_path / "findings.csv"
    lines = [f"{line},i48;I44.7" for line in table.read_text().splitlines()]
    lines[0] = lines[0].replace("i48;I44.7", "icd")
    table.write_text("\n".join(lines))
    run(["prepare", str(toml), "--processes", "1"])
    assert f"statements that no class of {toml} uses: i48 (6), I44.7 (6)\n" in (
        capsys.readouterr().out
    )


def test_records_without_precordial_leads_are_left_out_on_request(capsys, tmp_path):
    make_own(tmp_path)
    samples = limb_consistent(5000).round().astype("<i2")
    samples[:, 6:] = 7
    write_record(tmp_path / "ecgs" / "ward0", "ecg0", samples)
    for options, row in (([], ["kept", "6"]), (["--flat-leads", "5"], ["kept", "5"])):
        run(["prepare", "clinic.toml", *options, "--processes", "1"])
        rows = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert row in rows
    assert ["dropped", "1", "more", "than", "5", "leads", "are", "flat"] in rows
    run(["check", "clinic.toml", "--flat-leads", "5"])
    with pytest.raises(DataError, match="`0 <= flat_leads <= 11` must hold, but got flat_leads=12"):
        run(["prepare", "clinic.toml", "--flat-leads", "12"])
