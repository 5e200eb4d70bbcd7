"""Fuzzing of all readers: headers, signals, tables, MATLAB and HDF5 files, own descriptions.

    python -m benchmarks.fuzz_files [--seconds 600] [--seed 0] [--kind "MATLAB files"]

Damages the files of small sets at random and prepares them, as a test in tests/unit/data does
for some seconds. Ends at the first exception that is no error for people, with its seed.
"""

import argparse
import itertools
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from hostile_files import SETS, made_set, prepare_damaged


def main() -> None:
    """Fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=SETS, help="one kind of file; by default all in turn")
    options = parser.parse_args()
    warnings.simplefilter("error", RuntimeWarning)
    kinds = [options.kind] if options.kind else list(SETS)
    with tempfile.TemporaryDirectory() as name:
        made = {kind: made_set(kind, Path(name) / kind / "in") for kind in kinds}
        end = time.monotonic() + options.seconds
        for seed in itertools.count(options.seed):
            for kind in kinds:
                try:
                    prepare_damaged(kind, made[kind], Path(name) / "work", seed)
                except BaseException:
                    print(f"--kind {kind!r} --seed {seed}", flush=True)
                    raise
            if time.monotonic() > end:
                print(f"{seed + 1 - options.seed} damages of each of {len(kinds)} kinds")
                return


if __name__ == "__main__":
    main()
