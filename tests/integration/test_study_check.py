"""`ecgopt study check`: what a study file expands to, without any of its data."""

from pathlib import Path

from processes import ecgopt

STUDIES = Path(__file__).parents[2] / "studies"


def test_it_counts_cells_and_work_and_estimates_hours_once_measured(study_file, tmp_path):
    study = study_file()
    first = ecgopt("study", "check", study, XDG_CACHE_HOME=str(tmp_path))
    assert first.returncode == 0, first.stderr
    assert "1 cell, 1 replicate, 2 studies, 1 pre-training, 8 trials" in first.stdout
    assert "of one worker" in first.stdout
    second = ecgopt("study", "check", study, XDG_CACHE_HOME=str(tmp_path))
    assert second.stdout == first.stdout


def test_the_papers_grid_needs_no_data_to_be_checked():
    done = ecgopt("study", "check", STUDIES / "paper_grid.toml", "--no-hours", ECGOPT_DATA="/none")
    assert done.returncode == 0, done.stderr
    assert "78 cells, 1 replicate, 114 studies, 18 pre-trainings" in done.stdout


def test_one_replicate_is_said_to_decide_nothing():
    done = ecgopt("study", "check", STUDIES / "paper_grid.toml", "--no-hours")
    assert "With replicates = 1 every verdict is undecided" in done.stdout


def test_several_replicates_are_not_warned_of():
    done = ecgopt("study", "check", STUDIES / "demo.toml", "--no-hours")
    assert "undecided" not in done.stdout
