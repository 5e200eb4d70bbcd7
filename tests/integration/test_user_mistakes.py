"""Every mistake of a user gets one clear line and exit code 2, and leaves nothing half-written."""

import os

import pytest
from processes import ecgopt


def refused(*arguments, **environment):
    """Run a command that must be refused; return its one line."""
    done = ecgopt(*arguments, **environment)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_a_misspelt_key_is_named_with_the_nearest_valid_one(study_file):
    study = study_file()
    study.write_text(study.read_text().replace("final_seeds", "final_seed"))
    line = refused("study", "check", study)
    assert "final_seed" in line
    assert "did you mean 'final_seeds'?" in line


def test_a_published_recipe_outside_the_space_is_refused(study_file):
    line = refused("study", "check", study_file(published_epochs=100))
    assert "epochs = 100 is outside 2..4" in line


def test_a_missing_study_file_is_named(tmp_path):
    assert "nowhere.toml" in refused("run", tmp_path / "nowhere.toml")


def test_a_changed_space_is_refused_after_the_study_began(study_file, tmp_path):
    study, workspace = study_file(), tmp_path / "ws"
    assert ecgopt("run", study, "--workers", 1, "--workspace", workspace,
                  "--out", tmp_path / "out").returncode == 0  # fmt: skip
    changed = study_file(epochs_high=5)
    line = refused("run", changed, "--workspace", workspace)
    assert "space.shared.epochs.high was 4" in line


def test_an_empty_data_folder_is_refused_and_nothing_is_begun(study_file, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    study = study_file()
    text = study.read_text().replace(
        'source = "synthetic"\nlabels = "synthetic"\n'
        'synthetic = { records = 160, seed = 2, population = "B" }',
        f'source = "cinc"\nlabels = "synthetic"\nfolders = ["{empty}"]',
    )
    study.write_text(text)
    refused("run", study, "--workspace", tmp_path / "ws")
    assert not list((tmp_path / "ws" / "prepared").glob("cinc-*"))


def test_too_few_records_for_the_training_size_are_refused(study_file, tmp_path):
    line = refused("run", study_file(downstream_records=80), "--workspace", tmp_path / "ws")
    assert "train_sizes" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_workspace_without_permission_is_refused(study_file, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "writable" in refused("run", study_file(), "--workspace", locked / "ws")


def test_a_workspace_below_a_file_is_refused(study_file, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    assert "writable" in refused("run", study_file(), "--workspace", blocker / "ws")


def test_a_database_of_an_unknown_kind_is_refused(study_file, tmp_path):
    study = study_file()
    line = refused("run", study, "--workspace", tmp_path / "ws", ECGOPT_STORAGE="oracle://x:pw@h/d")
    assert "SQLite, PostgreSQL, MySQL or MariaDB" in line
    assert "pw" not in line


def test_status_of_a_study_that_has_not_begun_says_so(study_file, tmp_path):
    assert "no database at" in refused("status", study_file(), "--workspace", tmp_path / "ws")
