"""Every error that ecgopt raises on purpose.

The tree::

    EcgoptError
    ├── UserError            the user must mend something: one line, exit code 2
    │   ├── StudyFileError   a study file breaks a rule
    │   ├── StudyMismatch    a study file changed after its studies began
    │   ├── DataError        a record, a table or a folder of data breaks a rule
    │   │   └── RecordError  one record does, so it may be left out instead
    │   ├── CheckpointError  a checkpoint does not fit or is damaged
    │   ├── StorageError     the database cannot be used as asked
    │   │   └── DatabaseUnavailable  it does not answer now, so the same may work later
    │   └── LaunchError      workers cannot be placed where they were asked for
    ├── TrialDiverged        training left the finite numbers: the trial is pruned
    └── LeaseLost            another worker owns the work item now: write nothing more

A message names the broken rule, the value received, and the remedy.
"""


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
    """The user must mend something; the command line prints one line and exits with 2."""


class StudyFileError(UserError):
    """A study file breaks a rule; the message names file, key, value and remedy."""


class StudyMismatch(UserError):
    """A study file changed after its studies began, so their trials no longer compare."""


class DataError(UserError):
    """A record, a label table or a data folder breaks a rule."""


class RecordError(DataError):
    """One record breaks a rule; the set can go on without it when the user says so."""

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


class LaunchError(UserError):
    """A cluster cannot place or start the workers as asked."""


class TrialDiverged(EcgoptError):
    """Training left the finite numbers; the caller prunes the trial so that the sampler learns."""


class LeaseLost(EcgoptError):
    """The work item belongs to another worker now; the caller must write nothing more."""
