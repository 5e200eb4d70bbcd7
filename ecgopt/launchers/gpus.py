"""The GPUs of this host and their free memory, from nvidia-smi, which needs no CUDA context."""

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
    """The value for CUDA_VISIBLE_DEVICES; CUDA and nvidia-smi may order indexes differently."""
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
            f"nvidia-smi must list the GPUs, but failed ({error.__class__.__name__}): fix the "
            "driver, or use --gpus-per-worker 0"
        ) from error
    found = [
        Gpu(index=int(index), uuid=uuid, name=name, free_mib=int(free))
        for index, uuid, name, free in csv.reader(asked.stdout.splitlines(), skipinitialspace=True)
    ]
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    return tuple(found) if granted is None else _only(found, granted.split(","))


def chosen_gpus(indexes: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that `--gpus` names by indexes such as `0,1`; None means all, maybe none.

    Raises:
        UserError: a GPU is asked for that is not there.
    """
    found = gpus_of_host()
    if indexes is None:
        return found
    names = [name.strip() for name in indexes.split(",")]
    chosen = _only(found, names)
    if len(chosen) != len(names):
        there = ", ".join(str(gpu.index) for gpu in found) or "none, as nvidia-smi shows no GPU"
        raise UserError(f"--gpus must be some of {there}, but is {indexes!r}")
    return chosen


def _only(gpus: Sequence[Gpu], names: Sequence[str]) -> tuple[Gpu, ...]:
    by_name = {str(gpu.index): gpu for gpu in gpus} | {gpu.uuid: gpu for gpu in gpus}
    return tuple(by_name[name.strip()] for name in names if name.strip() in by_name)
