"""What ended a worker process, said so that a person knows what to mend."""

import signal
from pathlib import Path

_MEMORY_EVENTS = Path("/sys/fs/cgroup/memory.events")
_LOG_TAIL_BYTES = 4000


def cause_of_death(code: int, *, oom_kills: int) -> str:
    """Return in words why a process ended.

    Args:
        code: As `subprocess` gives it: negative for a signal.
        oom_kills: Processes that the kernel's out-of-memory killer took meanwhile.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    if name == "SIGKILL" and oom_kills > 0:
        return "killed by the kernel: out of memory"
    if name == "SIGKILL":
        return "killed by SIGKILL: by hand, by the batch system, or out of memory"
    return f"killed by {name}"


def oom_kills_so_far() -> int:
    """Return how many processes of this container the out-of-memory killer has taken."""
    try:
        lines = _MEMORY_EVENTS.read_text().splitlines()
    except OSError:
        return 0  # no such count outside a version 2 control group
    counts = dict(line.split() for line in lines)
    return int(counts.get("oom_kill", 0))


def last_line(log: Path) -> str:
    """Return the last line of a worker's log, where its own error stands."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
