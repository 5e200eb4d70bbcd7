"""The GPUs of this host and what is free on them, as nvidia-smi tells without a CUDA context."""

import csv
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ecgopt.errors import UserError

_QUERY = "index,uuid,name,memory.free"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU."""

    index: int
    uuid: str
    """What CUDA_VISIBLE_DEVICES gets: an index means another card where the order differs."""
    name: str
    free_mib: int


def gpus_of_host() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, none where there is no driver.

    A batch system's CUDA_VISIBLE_DEVICES is respected.

    Raises:
        UserError: nvidia-smi is there but fails.
    """
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(
            f"nvidia-smi must list the GPUs, but failed ({error.__class__.__name__}): mend the "
            "driver, or use --gpus none"
        ) from error
    found = [
        Gpu(index=int(index), uuid=uuid, name=name, free_mib=int(free))
        for index, uuid, name, free in csv.reader(asked.stdout.splitlines(), skipinitialspace=True)
    ]
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(found) if granted is None else _only(found, granted.split(","))


def chosen_gpus(asked: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that `--gpus` names: `all`, `none`, or indexes such as `0,1`.

    Without it: all there are, which may be none.

    Raises:
        UserError: a GPU is asked for that is not there.
    """
    if asked == "none":
        return ()
    found = gpus_of_host()
    if asked is None:
        return found
    if asked == "all":
        if not found:
            raise UserError("--gpus all needs a GPU, but nvidia-smi shows none: use --gpus none")
        return found
    names = [name.strip() for name in asked.split(",")]
    chosen = _only(found, names)
    if len(chosen) != len(names):
        there = ", ".join(str(gpu.index) for gpu in found) or "none"
        raise UserError(f"--gpus must be all, none or some of {there}, but got {asked!r}")
    return chosen


def _only(gpus: Sequence[Gpu], names: Sequence[str]) -> tuple[Gpu, ...]:
    by_name = {str(gpu.index): gpu for gpu in gpus} | {gpu.uuid: gpu for gpu in gpus}
    return tuple(by_name[name.strip()] for name in names if name.strip() in by_name)
