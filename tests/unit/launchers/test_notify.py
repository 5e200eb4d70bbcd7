"""Messages at the end, at failure and at pause: once each, and never fatal."""

import logging
import sys
from dataclasses import replace

import pytest
from tiny_study import tiny_study
from webhook_server import webhook_server

from ecgopt.comparison.progress import Progress, StageProgress
from ecgopt.errors import StudyFileError, UserError
from ecgopt.launchers.notify import Message, Notifier, send
from ecgopt.study_file.reading import load_spec
from ecgopt.study_file.tables import NotifyTable

MESSAGE = Message(event="finished", study="tiny", title="study 'tiny' is finished", lines=["so"])


@pytest.fixture
def server():
    with webhook_server() as started:
        yield started


def writing_command(path):
    """Return a command that appends to a file what it gets."""
    code = (
        "import os, sys; from pathlib import Path; "
        "text = os.environ['ECGOPT_EVENT'] + '|' + os.environ['ECGOPT_STUDY'] + '|' "
        "+ os.environ['ECGOPT_TITLE'] + '|' + sys.stdin.read(); "
        "file = open(sys.argv[1], 'a'); file.write(text); file.close()"
    )
    return (sys.executable, "-c", code, str(path))


@pytest.fixture
def spec_of(tmp_path):
    def spec_with(**keys):
        path = tmp_path / "study.toml"
        path.write_text(tiny_study())
        return load_spec(path).model_copy(update={"notify": NotifyTable(**keys)})

    return spec_with


def progress(*, done=1, set_aside=0, total=4, **more):
    stage = StageProgress(
        kind="trial", title="trials", total=total, done=done, running=0, set_aside=set_aside,
        mean_seconds=1.0,
    )  # fmt: skip
    return Progress(
        stages=(stage,), studies=(), total_losses=0, n_workers=2, seconds_running=1.0, **more
    )


def test_a_command_gets_the_message_on_its_input_and_the_event_in_its_environment(tmp_path):
    path = tmp_path / "told"
    assert send(NotifyTable(command=writing_command(path)), MESSAGE) == []
    told = path.read_text()
    assert told.startswith("finished|tiny|study 'tiny' is finished|study 'tiny' is finished\nso\n(")


def test_an_argument_is_never_read_by_a_shell_and_a_variable_in_it_stays_one_argument(
    tmp_path, monkeypatch
):
    out = tmp_path / "arguments"
    monkeypatch.setenv("SPACED", "a b; touch c")
    code = "import sys, json; json.dump(sys.argv[2:], open(sys.argv[1], 'w'))"
    command = (
        sys.executable,
        "-c",
        code,
        str(out),
        "$SPACED",
        "$ECGOPT_EVENT",
        "$$HOME; `id`",
        "*",
    )
    assert send(NotifyTable(command=command), MESSAGE) == []
    assert out.read_text() == '["a b; touch c", "finished", "$HOME; `id`", "*"]'


def test_a_webhook_gets_json_whose_text_holds_title_and_lines(server):
    assert send(NotifyTable(webhook=server.address()), MESSAGE) == []
    (posted,) = server.posted
    assert posted["event"] == "finished"
    assert posted["study"] == "tiny"
    assert posted["title"] == "study 'tiny' is finished"
    assert posted["text"].startswith("study 'tiny' is finished\nso\n")


def test_the_address_can_stand_in_a_variable(server, monkeypatch):
    monkeypatch.setenv("MY_WEBHOOK", server.address())
    assert send(NotifyTable(webhook="$MY_WEBHOOK"), MESSAGE) == []
    assert len(server.posted) == 1


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [(404, "", "status 404"), (500, "", "status 500"), (302, "/elsewhere", "status 302")],
)
def test_an_answer_that_is_no_success_is_a_failure_and_no_redirection_is_followed(
    server, status, location, expected
):
    server.status, server.location = status, location
    (failure,) = send(NotifyTable(webhook=server.address()), MESSAGE)
    assert expected in failure
    assert len(server.posted) == 1


@pytest.mark.parametrize("secret", ["http://127.0.0.1:1/S3CR3T", "S3CR3T", "file:///S3CR3T"])
def test_no_failure_holds_the_value_of_a_variable(monkeypatch, secret):
    monkeypatch.setenv("MY_WEBHOOK", secret)
    (failure,) = send(NotifyTable(webhook="$MY_WEBHOOK"), MESSAGE)
    assert "S3CR3T" not in failure
    assert "webhook $MY_WEBHOOK" in failure


def test_of_an_address_in_the_file_a_failure_holds_the_host_alone(server):
    server.status = 403
    (failure,) = send(NotifyTable(webhook=server.address("S3CR3T")), MESSAGE)
    assert "S3CR3T" not in failure
    assert "http://127.0.0.1" in failure


def test_an_endless_answer_ends_at_the_limit(server):
    server.is_slow = True
    (failure,) = send(NotifyTable(webhook=server.address(), limit_seconds=0.3), MESSAGE)
    assert "no answer in time" in failure


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit(3)", "exit status 3"),
        ("import time; time.sleep(600)", "took longer than limit_seconds = 0.5 and was killed"),
    ],
)
def test_a_command_that_fails_or_hangs_is_a_failure(code, expected):
    table = NotifyTable(command=(sys.executable, "-c", code), limit_seconds=0.5)
    (failure,) = send(table, MESSAGE)
    assert expected in failure


def test_a_missing_program_and_an_unset_variable_are_named(monkeypatch):
    monkeypatch.delenv("MY_WEBHOOK", raising=False)
    failures = send(NotifyTable(command=("no-such-program",), webhook="$MY_WEBHOOK"), MESSAGE)
    assert "No such file" in failures[0]
    assert "MY_WEBHOOK is not set" in failures[1]


def test_a_pause_is_told_once_and_again_after_a_resume(server, spec_of):
    watch = Notifier(spec_of(webhook=server.address())).watching(None)
    for is_paused in (False, True, True, False, True):
        watch(progress(is_paused=is_paused))
    assert [each["event"] for each in server.posted] == ["paused", "paused"]


def test_the_first_item_set_aside_is_told_immediately_and_those_of_earlier_runs_never(
    server, spec_of
):
    watch = Notifier(spec_of(webhook=server.address())).watching(None)
    for set_aside in (1, 1, 2, 3):
        watch(progress(set_aside=set_aside, total=9))
    (posted,) = server.posted
    assert posted["event"] == "failed"
    assert "1 item failed" in posted["title"]


def test_an_end_with_failed_items_is_one_failure_that_counts_them(server, spec_of):
    notifier = Notifier(spec_of(webhook=server.address()))
    watch = notifier.watching(None)
    watch(progress(done=2))
    watch(progress(done=2, set_aside=2))
    notifier.finished(["Undecided"])
    (posted,) = server.posted
    assert posted["event"] == "failed"
    assert "is finished, but 2 items failed" in posted["title"]
    assert "Undecided" in posted["text"]


def test_a_study_that_was_finished_before_has_no_end_to_tell(spec_of):
    notifier = Notifier(spec_of(command=("true",)))
    notifier.watching(None)(progress(done=4))
    assert not notifier.tells_the_end
    notifier.watching(None)(progress(done=3))
    assert notifier.tells_the_end


def test_an_error_is_told_and_raised_but_an_interruption_only_raised(server, spec_of):
    notifier = Notifier(spec_of(webhook=server.address()))
    paused = "the study paused itself after eight errors"
    with pytest.raises(UserError, match="paused itself"), notifier.telling_failures():
        raise UserError(paused)
    with pytest.raises(KeyboardInterrupt), notifier.telling_failures():
        raise KeyboardInterrupt
    (posted,) = server.posted
    assert posted["event"] == "failed"
    assert paused in posted["text"]


def test_the_text_of_an_unknown_error_is_not_sent(server, spec_of):
    notifier = Notifier(spec_of(webhook=server.address()))
    with pytest.raises(ValueError, match="S3CR3T"), notifier.telling_failures():
        raise ValueError("postgresql://me:S3CR3T@host")
    (posted,) = server.posted
    assert "ValueError" in posted["text"]
    assert "S3CR3T" not in posted["text"]


def test_only_the_events_asked_for_are_sent(server, spec_of):
    notifier = Notifier(spec_of(webhook=server.address(), on=("failed",)))
    notifier.watching(None)(progress(is_paused=True))
    notifier.finished([])
    assert server.posted == []


def test_a_message_that_fails_is_one_warning_and_no_error(spec_of, caplog):
    notifier = Notifier(spec_of(webhook="http://127.0.0.1:1/S3CR3T"))
    with caplog.at_level(logging.WARNING):
        notifier.finished([])
    (record,) = caplog.records
    assert "was not sent: the server cannot be reached" in record.message
    assert "S3CR3T" not in record.message


def test_messages_are_no_part_of_the_science(spec_of):
    plain, told = spec_of(), spec_of(command=("true",), webhook="$HOOK")
    assert told.scientific_content() == plain.scientific_content()
    assert replace(MESSAGE, lines=()).text.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        'command = "mail me; rm -rf /"',
        "command = []",
        'webhook = "ftp://host/x"',
        'webhook = "hooks.example.org/x"',
        'on = ["end"]',
        "limit_seconds = 0.0",
    ],
)
def test_what_cannot_be_sent_is_refused_by_key(text, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(tiny_study() + f"\n[notify]\n{text}\n")
    with pytest.raises(StudyFileError, match=rf"\[notify\] {text.split()[0]}"):
        load_spec(path)
