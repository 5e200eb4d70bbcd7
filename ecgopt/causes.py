"""Why a work item ends."""

from enum import StrEnum


class Cause(StrEnum):
    """Why a work item ends, and the trial with it; the value is what databases and bundles hold."""

    DONE = "done"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    LOST = "lost"
    ERROR = "error"
    MACHINE = "machine"
    """Machines failed with it, so that a trial of the budget is not spent."""
    SET_ASIDE = "set_aside"

    @property
    def sets_aside(self) -> bool:
        """Whether the item has no result, and no worker takes it again."""
        return self in {
            Cause.OUT_OF_MEMORY,
            Cause.LOST,
            Cause.ERROR,
            Cause.MACHINE,
            Cause.SET_ASIDE,
        }
