"""The page on own data does what it says, on made exports."""

import re
import shlex
from pathlib import Path

import pytest
from clinic_files import write_aecg, write_muse
from made_sets import limb_consistent

from ecgopt.cli.data import app
from ecgopt.data.labels import label_set

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md"


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def clinic(tmp_path, monkeypatch):
    """Make the exports and the table of the page in the current folder."""
    monkeypatch.chdir(tmp_path)
    for place, name in enumerate(["ward0/ecg0", "ward0/ecg1", "ward1/ecg2"]):
        samples = (limb_consistent(5000, seed=place) / 10).round().astype(int)
        if place:
            write_aecg(Path("exports") / f"{name}.xml", samples)
        else:
            write_muse(Path("exports") / f"{name}.xml", samples[:, [0, 1, *range(6, 12)]])
    Path("clinic").mkdir()
    Path("clinic/findings.csv").write_text(blocks("")[0])
    return tmp_path


def call(line):
    assert shlex.split(line)[:2] == ["ecgopt", "data"]
    app(shlex.split(line)[2:], result_action="return_value")


def test_the_commands_of_the_page_lead_from_exports_to_a_checked_set(clinic, capsys):
    (commands,) = blocks("sh")
    lines = [line.split("  #")[0] for line in commands.splitlines()]
    assert len(lines) == 5
    for line in lines:
        call(line)
    printed = capsys.readouterr().out
    assert "3 records in clinic/ecgs" in printed
    assert Path("check.html").exists()
    assert Path("ecg0.svg").exists()
    assert label_set("clinic.toml").classes == ("AF", "LBBB")


def test_the_first_description_of_the_page_fits_its_table(clinic):
    call("ecgopt data import exports --to clinic/ecgs")
    Path("clinic.toml").write_text(blocks("toml")[0])
    call("ecgopt data prepare clinic.toml")
    assert label_set("clinic.toml").classes == ("AF", "LBBB")
