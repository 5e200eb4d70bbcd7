"""Coverage-guided fuzzing of the WFDB reader (needs `pip install atheris`).

    python -m benchmarks.fuzz_headers [-max_total_time=60] [-runs=1000000] [CORPUS ...]

Each input is a header beside one small signal file. The reader must give a signal or a
RecordError, open no file outside the record's folder, and stay within 2 GiB of memory. Headers of
real records make a good corpus: the fuzzer then begins where the format's difficulties are.
"""

import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ecgopt.data"]):
    from ecgopt.data.wfdb_files import read_wfdb
    from ecgopt.data.wfdb_header import read_header

from ecgopt.errors import RecordError

# Reading the fallback's own library is no escape: wfdb imports its parts when first used.
import wfdb  # isort: skip  # noqa: F401

SIGNAL_BYTES = 4096
SECRET = "secret.dat"


class OutsideError(Exception):
    """The reader opened a file outside the record's folder."""


def main() -> None:
    """Fuzz until the limits given on the command line are reached."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = root / "records"
        folder.mkdir()
        (root / SECRET).write_bytes(bytes(SIGNAL_BYTES))
        for signal in ("x.dat", "x.mat", "16"):
            (folder / signal).write_bytes(bytes(range(256)) * (SIGNAL_BYTES // 256))
        watch(root, folder)

        def one_input(data: bytes) -> None:
            (folder / "x.hea").write_bytes(data)
            try:
                header = read_header(folder / "x.hea")
                signal = read_wfdb(header, folder)
            except RecordError:
                return
            assert signal.microvolts.shape[0] == len(header.signals)
            assert signal.microvolts.nbytes < 2**30

        atheris.Setup([*sys.argv, "-rss_limit_mb=2048"], one_input)
        atheris.Fuzz()


def watch(root: Path, folder: Path) -> None:
    """Raise at any opening of a file below `root` but outside `folder`."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(str(root)) and not path.startswith(str(folder)):
                raise OutsideError(path)

    sys.addaudithook(hook)


if __name__ == "__main__":
    main()
