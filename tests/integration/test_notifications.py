"""One message for each event of a study, however many workers run it."""

import pytest
from processes import ecgopt
from webhook_server import webhook_server

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def with_notify(study, text):
    study.write_text(f"{study.read_text()}\n[notify]\n{text}\n")
    return study


def test_two_workers_make_one_end_whose_message_holds_the_verdict_and_no_secret_is_stored(
    study_file, tmp_path
):
    workspace, out, told = tmp_path / "ws", tmp_path / "out", tmp_path / "told"
    script = tmp_path / "tell.sh"
    script.write_text('echo "$ECGOPT_EVENT" >> "$1"\n')
    command = f'command = ["sh", "{script}", "{told}"]'
    study = with_notify(study_file(trials=3), f'{command}\nwebhook = "$MY_WEBHOOK"')
    run = ("run", study, "--workers", 2, "--workspace", workspace, "--out", out)
    with webhook_server() as server:
        done = ecgopt(*run, MY_WEBHOOK=server.address("S3CR3T"))
        assert done.returncode == 0, done.stderr
        (posted,) = server.posted
        assert posted["event"] == "finished"
        assert "Undecided" in posted["text"]
        assert told.read_text() == "finished\n"
        again = ecgopt(*run, MY_WEBHOOK=server.address("S3CR3T"))
        assert again.returncode == 0, again.stderr
        assert len(server.posted) == 1, "a study that was finished before does not end again"
    unreachable = ecgopt("study", "notify", study, MY_WEBHOOK="http://127.0.0.1:1/S3CR3T")
    assert unreachable.returncode == 2
    bundle = tmp_path / "bundle"
    exported = ecgopt("export", study, bundle, "--workspace", workspace)
    assert exported.returncode == 0, exported.stderr
    said = "".join(each.stdout + each.stderr for each in (done, again, unreachable, exported))
    assert "S3CR3T" not in said
    files = [
        path for folder in (workspace, out, bundle) for path in folder.rglob("*") if path.is_file()
    ]
    assert len(files) > 10
    assert [path for path in files if b"S3CR3T" in path.read_bytes()] == []


def test_a_study_that_cannot_be_run_is_told_and_an_unreachable_webhook_changes_nothing(
    study_file, tmp_path
):
    study = with_notify(study_file(), 'webhook = "$MY_WEBHOOK"')
    workspace = tmp_path / "file"
    workspace.write_text("in the way")
    run = ("run", study, "--workspace", workspace)
    with webhook_server() as server:
        done = ecgopt(*run, MY_WEBHOOK=server.address())
        (posted,) = server.posted
    assert done.returncode == 2
    assert posted["event"] == "failed"
    assert "must be writable" in posted["text"]
    silent = ecgopt(*run, MY_WEBHOOK="http://127.0.0.1:1/")
    assert silent.returncode == 2
    assert silent.stderr.count("was not sent") == 1
    assert "must be writable" in silent.stderr.splitlines()[-1]
