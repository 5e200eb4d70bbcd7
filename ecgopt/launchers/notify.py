"""Messages to the user when a study ends, fails or pauses: by a command, a webhook, or both.

The process that waits for the study sends them, so there is one for each event, however many
workers run and wherever they are.
"""

import logging
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from ecgopt.comparison.progress import Progress
from ecgopt.errors import EcgoptError, UserError
from ecgopt.study_file.reading import expand_variables
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import NotifyEvent, NotifyTable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a user is told about one event."""

    event: NotifyEvent
    study: str
    title: str
    lines: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The title, the lines, and the host that says it."""
        return "\n".join([self.title, *self.lines, f"(from {socket.gethostname()})"])


class Notifier:
    """Tells the user what happens to a study while this process waits for it."""

    def __init__(self, spec: StudySpec) -> None:
        """Send nothing yet."""
        self._table, self._study = spec.notify, spec.name
        self._set_aside: int | None = None
        """Items that had been set aside before; None before the first progress."""
        self._told_of_items = False
        self._is_paused = False
        self._last: Progress | None = None
        self._has_work = False
        """Whether this process saw the study unfinished: an end seen again is no event."""

    @property
    def tells_the_end(self) -> bool:
        """Whether the end of the study is to be told."""
        is_wanted = not {"finished", "failed"}.isdisjoint(self._table.on)
        return self._table.is_set and self._has_work and is_wanted

    def watching(
        self, on_progress: Callable[[Progress], None] | None
    ) -> Callable[[Progress], None]:
        """Return a function that tells what the progress shows, after calling `on_progress`."""

        def watch(progress: Progress) -> None:
            if on_progress is not None:
                on_progress(progress)
            self._watch(progress)

        return watch

    def finished(self, lines: Sequence[str]) -> None:
        """Tell that all work is done; items that were set aside make it a failure."""
        n_failed = self._last.n_set_aside if self._last is not None else 0
        if not n_failed:
            self._send("finished", f"study {self._study!r} is finished", lines)
            return
        failed = f"study {self._study!r} is finished, but {_items(n_failed)} failed"
        self._send("failed", failed, [*lines, "see `ecgopt status`, then `ecgopt study retry`"])

    @contextmanager
    def telling_failures(self) -> Iterator[None]:
        """Tell the error that ends the block; an interruption by the user is none."""
        try:
            yield
        except Exception as error:
            # The text of an unknown error may hold anything, secrets among it.
            text = str(error) if isinstance(error, EcgoptError) else type(error).__name__
            self._send("failed", f"study {self._study!r} stopped: an error ended it", [text])
            raise

    def _watch(self, progress: Progress) -> None:
        self._last = progress
        self._has_work |= not progress.is_finished
        if self._set_aside is None:
            self._set_aside = progress.n_set_aside
        n_failed = progress.n_set_aside - self._set_aside
        is_at_end = progress.is_finished or bool(progress.trouble)
        # Only the first: the message at the end counts them all.
        if n_failed > 0 and not is_at_end and not self._told_of_items:
            self._told_of_items = True
            self._send(
                "failed",
                f"study {self._study!r}: {_items(n_failed)} failed, the rest continues",
                ["see `ecgopt status`, then `ecgopt study retry`"],
            )
        is_paused = progress.is_paused and not progress.pause_reason
        if is_paused and not self._is_paused:
            self._send(
                "paused",
                f"study {self._study!r} is paused",
                [f"{progress.n_done:,} of {progress.n_total:,} items are done; nothing new begins "
                 "until `ecgopt study resume`"],
            )  # fmt: skip
        self._is_paused = is_paused

    def _send(self, event: NotifyEvent, title: str, lines: Sequence[str]) -> None:
        if event in self._table.on:
            message = Message(event=event, study=self._study, title=title, lines=lines)
            for failure in send(self._table, message):
                logger.warning("%s", failure)


def send(table: NotifyTable, message: Message) -> list[str]:
    """Send a message by every channel of the table; return why a channel failed, a text for each.

    The texts hold what the study file says, never the value of a variable.
    """
    failures = []
    if table.command is not None:
        name = f"command {table.command[0]!r}"
        failures += _failure(name, lambda: _run(table, message))
    if table.webhook is not None:
        written = table.webhook
        if not written.startswith("$"):
            written = f"{urlsplit(written).scheme}://{urlsplit(written).hostname}"
        failures += _failure(f"webhook {written}", lambda: _post(table, message))
    return failures


def _failure(name: str, deliver: Callable[[], None]) -> list[str]:
    try:
        deliver()
    except UserError as error:
        return [f"the message by {name} of [notify] was not sent: {error}"]
    return []


def _run(table: NotifyTable, message: Message) -> None:
    assert table.command is not None
    environment = {
        **os.environ,
        "ECGOPT_EVENT": message.event,
        "ECGOPT_STUDY": message.study,
        "ECGOPT_TITLE": message.title,
    }
    command = [expand_variables(part, "value", environment) for part in table.command]
    # A file, not a pipe: a command that does not read its input, or leaves a child that keeps it
    # open, blocks nothing.
    with tempfile.TemporaryFile() as text:
        text.write(message.text.encode() + b"\n")
        text.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=text,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it holds a null character"
            raise UserError(f"it cannot be started: {reason}") from None
    try:
        code = process.wait(table.limit_seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            limit = f"limit_seconds = {table.limit_seconds:g}"
            raise UserError(f"it took longer than {limit} and was killed") from None
        raise
    if code != 0:
        raise UserError(f"it ended with exit status {code}")


def _post(table: NotifyTable, message: Message) -> None:
    """Post the message; Slack and Mattermost show `text`, Discord shows `content`."""
    assert table.webhook is not None
    address = expand_variables(table.webhook, "web address")
    if not address.startswith(("http://", "https://")):
        raise UserError("the address must begin with http:// or https://")
    content = {
        "event": message.event,
        "study": message.study,
        "title": message.title,
        "text": message.text,
        "content": message.text[:2000],
    }
    outcome: list[str] = []
    # A thread, since the library limits each read and not the whole answer.
    thread = threading.Thread(
        target=lambda: outcome.append(_answer(address, content, table.limit_seconds)), daemon=True
    )
    thread.start()
    thread.join(table.limit_seconds)
    if problem := outcome[0] if outcome else "there was no answer in time":
        raise UserError(f"{problem} (limit_seconds = {table.limit_seconds:g})")


def _answer(address: str, content: dict[str, str], limit_seconds: float) -> str:
    """Return what is wrong with the answer to a POST, empty where nothing is."""
    import requests

    try:
        # A redirection would take the message to where the user did not send it.
        with requests.post(
            address, json=content, timeout=limit_seconds, allow_redirects=False, stream=True
        ) as response:
            ok = response.status_code < HTTPStatus.MULTIPLE_CHOICES
            return "" if ok else f"the server answered with status {response.status_code}"
    except requests.exceptions.Timeout:
        return "there was no answer in time"
    except (requests.exceptions.RequestException, ValueError) as error:
        # Its text holds the address.
        return f"the server cannot be reached ({type(error).__name__})"


def _items(count: int) -> str:
    return f"{count:,} item{'s' * (count != 1)}"
