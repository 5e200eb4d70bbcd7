"""What a study is said to have begun with."""

from ecgopt.jobs.provenance import provenance


def test_a_machine_without_git_can_begin_a_study(monkeypatch, tmp_path):
    monkeypatch.delenv("ECGOPT_COMMIT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance()["commit"] == "unknown"


def test_an_image_names_the_commit_it_was_built_from(monkeypatch):
    monkeypatch.setenv("ECGOPT_COMMIT", "0123abc")
    assert provenance()["commit"] == "0123abc"
