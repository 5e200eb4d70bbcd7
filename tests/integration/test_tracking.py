"""Trials and final fits appear in a tracker while a study runs, once each."""

import shutil

import pytest
from processes import ecgopt


@pytest.fixture
def tracked(study_file):
    study = study_file(trials=3)

    def with_track(text):
        study.write_text(f"{study.read_text()}\n[track]\n{text}\n")
        return study

    return with_track


def run_folders(root):
    return {path.parent for path in root.rglob("events.out.tfevents.*")}


def test_a_run_copies_each_trial_and_final_fit_once_and_adds_what_is_missing(tracked, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    study, workspace = tracked('tensorboard = "boards"'), tmp_path / "ws"
    run = ("run", study, "--workers", 2, "--workspace", workspace, "--out", tmp_path / "out")
    done = ecgopt(*run)
    assert done.returncode == 0, done.stderr
    folders = run_folders(workspace / "boards")
    trials = {folder for folder in folders if folder.name.startswith("trial ")}
    finals = {folder for folder in folders if folder.name.startswith("final ")}
    assert len(trials) == 2 * 3
    assert finals
    assert folders == trials | finals
    shutil.rmtree(min(trials))
    track = ("study", "track", study, "--workspace", workspace)
    assert "1 run added" in ecgopt(*track).stdout
    assert "0 runs added" in ecgopt(*track).stdout
    assert run_folders(workspace / "boards") == folders


def test_a_tracker_that_does_not_answer_is_one_line_before_anything_begins(tracked, tmp_path):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    study = tracked('mlflow = "http://user:S3CR3T@127.0.0.1:9"')
    done = ecgopt("run", study, "--workspace", tmp_path / "ws")
    assert done.returncode == 2
    assert done.stderr.startswith("error: MLflow: ")
    assert done.stderr.count("\n") == 1
    assert "S3CR3T" not in done.stderr
    assert not (tmp_path / "ws" / "ecgopt.db").exists()


def test_a_study_without_trackers_says_which_key_is_missing(study_file):
    done = ecgopt("study", "track", study_file())
    assert done.returncode == 2
    assert "[track] must have tensorboard or mlflow: add one" in done.stderr
