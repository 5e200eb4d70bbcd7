"""Every error that ecgopt raises on purpose.

The tree::

    EcgoptError
    ├── UserError            the user must fix something: one line, exit code 2
    │   ├── StudyFileError   a study file breaks a rule
    │   ├── StudyMismatch    a study file changed after its studies began
    │   ├── DataError        a record, a table or a folder of data breaks a rule
    │   │   └── RecordError  one record does, so it may be left out instead
    │   ├── CheckpointError  a checkpoint does not fit or is damaged
    │   ├── StorageError     the database cannot be used as asked
    │   │   ├── DatabaseUnavailable  it does not answer now, so the same may work later
    │   │   └── DatabaseMissing      there is no such SQLite file
    │   └── LaunchError      workers cannot be placed where they were asked for
    ├── MachineError         this machine, or its files, cannot work: exit code 3
    ├── TrialDiverged        training left the finite numbers: the trial is pruned
    └── LeaseLost            another worker owns the work item now: write nothing more

A message names the broken rule, the value received, and the remedy.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MOST_NAMES: Final = 20
"""Names that a message lists at most."""


def printable(text: str) -> str:
    """Return `text` with escapes in place of control characters other than line ends.

    Names and values in messages come from files, and a terminal obeys what it is sent.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


class EcgoptError(Exception):
    """Base of all errors that ecgopt raises on purpose."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UserError(EcgoptError):
    """The user must fix something; the command line prints one line and exits with 2."""


class StudyFileError(UserError):
    """A study file breaks a rule; the message names file, key, value and remedy."""


class StudyMismatch(UserError):
    """A study file changed after its studies began, so their trials no longer compare."""


class DataError(UserError):
    """A record, a label table or a data folder breaks a rule."""


class RecordError(DataError):
    """One record breaks a rule; the set can be used without it if the user asks for that."""

    def __init__(self, record: str, reason: str, detail: str = "") -> None:
        super().__init__(f"record {record}: {reason}" + (f" ({detail})" if detail else ""))
        self.record = record
        self.reason = reason
        """What is wrong, without file and numbers, so that equal faults count as one."""
        self.detail = detail

    def __reduce__(self) -> tuple[type["RecordError"], tuple[str, str, str]]:
        # Without this the error cannot leave a worker process: it is made from three arguments.
        return type(self), (self.record, self.reason, self.detail)


class CheckpointError(UserError):
    """A checkpoint is damaged or does not fit the model it is loaded into."""


class StorageError(UserError):
    """The database cannot be reached or used as asked."""


class DatabaseUnavailable(StorageError):
    """The database does not answer now; the same operation may succeed later."""


class DatabaseMissing(StorageError):
    """There is no SQLite file where one should be read; reading commands create none."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"no database at {file.resolve()}: run `ecgopt run STUDY` first, or name the folder of "
            f"an earlier run with --workspace (this command looks from {Path.cwd()})"
        )


class LaunchError(UserError):
    """A cluster cannot place or start the workers as asked."""


class MachineError(EcgoptError):
    """This machine, or the files that it sees, cannot work; the command exits with 3."""


class TrialDiverged(EcgoptError):
    """Training left the finite numbers; the caller prunes the trial so that the sampler learns."""


class LeaseLost(EcgoptError):
    """The work item belongs to another worker now; the caller must write nothing more."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message: the name of `known` nearest to `name`, or which there are."""
    names = list(known)
    if close := nearest(name, names):
        return f"did you mean {close!r}?"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"choose one of {', '.join(names[:MOST_NAMES])}{more}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the name of `known` that `name` is probably a misspelling of, if there is one."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)
