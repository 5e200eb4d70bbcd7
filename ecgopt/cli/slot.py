"""One worker process of a host, as the supervisor starts it: `python -m ecgopt.cli.slot`.

Not a command for people: `ecgopt worker` starts, watches and replaces these.
"""

import logging
import os
import sys
import threading
from pathlib import Path

from ecgopt.cli.work import stop_on_signals, work
from ecgopt.errors import UserError
from ecgopt.launchers.worker_process import OWNER_VARIABLE

_EXIT_USER_ERROR = 2


def main(arguments: list[str]) -> int:
    """Work until nothing is left, and return the exit code.

    Args:
        arguments: Study file, workspace, and `supervised` where standard input is a pipe from the
            supervisor: its end says that the supervisor is gone.
    """
    study, workspace, *supervised = arguments
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    stop = threading.Event()
    stop_on_signals(stop)
    if supervised:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    try:
        work(Path(study), Path(workspace), stop=stop, owner=os.environ.get(OWNER_VARIABLE))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return _EXIT_USER_ERROR
    return 0


def _stop_at_end_of_input(stop: threading.Event) -> None:
    # The descriptor itself: a buffered stream may not be read while the interpreter ends.
    while os.read(0, 1):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
