"""The GPUs of this host and what is free on them, as nvidia-smi tells without a CUDA context."""

import csv
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ecgopt.errors import UserError

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30
_FOLDERS = ("/usr/local/nvidia/bin", "/usr/bin")
"""Where Kubernetes' device plugins and drivers put nvidia-smi, which PATH may lack."""
_CARD = re.compile(r"GPU (\d+): (.+) \(UUID: (GPU-[^)]+)\)")
_MIG_DEVICE = re.compile(r"\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
_NO_DEVICE = {"", "-1", "NoDevFiles", "none", "void"}
"""Values of CUDA_VISIBLE_DEVICES by which batch systems and container tools grant no GPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, or one MIG device of a GPU that is partitioned."""

    index: int
    """The number of its card as nvidia-smi counts."""
    uuid: str
    """Value for CUDA_VISIBLE_DEVICES: an index means another card where the order differs."""
    name: str


def gpus_of_host() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, none where there is no driver.

    A batch system's CUDA_VISIBLE_DEVICES is respected, in all of CUDA's forms: indexes, UUIDs,
    their unique beginnings, and names of MIG devices.

    Raises:
        UserError: nvidia-smi is there but fails, or CUDA_VISIBLE_DEVICES names none of its GPUs.
    """
    if _program() is None:
        return ()
    found = _listed(_ask("-L", keeps_part=True))
    granted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if granted is None:
        return found
    names = [name.strip() for name in granted.split(",")]
    if not _NO_DEVICE.isdisjoint(names):
        # CUDA ends the list at the first name of no device.
        names = names[: next(i for i, name in enumerate(names) if name in _NO_DEVICE)]
    visible = []
    for name in names:
        # By an index CUDA shows only the first MIG device of a card.
        devices = _named(found, name)[:1]
        if not devices:
            there = ", ".join(gpu.uuid for gpu in found) or "no GPU"
            raise UserError(
                f"CUDA_VISIBLE_DEVICES must name GPUs of this machine, but has {name!r}, and "
                f"nvidia-smi lists {there}: correct it, or use --gpus-per-worker 0"
            )
        visible += devices
    return tuple(dict.fromkeys(visible))


def chosen_gpus(indexes: str | None) -> tuple[Gpu, ...]:
    """Return the GPUs that `--gpus` names by indexes such as `0,1`; None means all, maybe none.

    Raises:
        UserError: a GPU is asked for that is not there.
    """
    found = gpus_of_host()
    if indexes is None:
        return found
    chosen: list[Gpu] = []
    for name in indexes.split(","):
        if not (devices := _named(found, name.strip())):
            there = ", ".join(dict.fromkeys(str(gpu.index) for gpu in found))
            raise UserError(
                f"--gpus must be some of {there or 'none, as nvidia-smi shows no GPU'}, but is "
                f"{indexes!r}"
            )
        chosen += devices
    return tuple(dict.fromkeys(chosen))


def free_mib(gpu: Gpu) -> int | None:
    """Return the free memory, None where nvidia-smi does not tell it (MIG, shared memory).

    Raises:
        UserError: nvidia-smi fails.
    """
    answer = _ask("--query-gpu=uuid,memory.free", "--format=csv,noheader,nounits")
    for fields in csv.reader(answer.splitlines(), skipinitialspace=True):
        if len(fields) == 2 and fields[0] == gpu.uuid and fields[1].isdecimal():
            return int(fields[1])
    return None


def _listed(answer: str) -> tuple[Gpu, ...]:
    """Return the devices of `nvidia-smi -L`; a partitioned card is replaced by its MIG devices."""
    cards: list[list[Gpu]] = []
    for line in answer.splitlines():
        if card := _CARD.match(line):
            cards.append([Gpu(index=int(card[1]), name=card[2], uuid=card[3])])
        elif (device := _MIG_DEVICE.match(line)) and cards:
            card_itself = cards[-1][0]
            name = f"{card_itself.name} MIG {device[1]}"
            cards[-1].append(Gpu(index=card_itself.index, name=name, uuid=device[2]))
    return tuple(gpu for devices in cards for gpu in devices[1:] or devices)


def _named(gpus: Sequence[Gpu], name: str) -> list[Gpu]:
    """Return the devices that a name stands for; a beginning of a UUID must be unique."""
    if name.isdecimal():
        return [gpu for gpu in gpus if gpu.index == int(name)]
    found = [gpu for gpu in gpus if gpu.uuid.startswith(name)] if name else []
    return found if len(found) == 1 else []


def _program() -> str | None:
    return shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path=":".join(_FOLDERS))


def _ask(*arguments: str, keeps_part: bool = False) -> str:
    """Return nvidia-smi's answer.

    Args:
        arguments: What to ask.
        keeps_part: Whether an answer counts that lists GPUs before a fault, as of a lost card.
    """
    try:
        asked = subprocess.run(
            [_program() or "nvidia-smi", *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(_fault(str(error))) from error
    said = f"{asked.stdout}\n{asked.stderr}".strip()
    if asked.returncode == 0 or "no devices" in said.lower():
        return asked.stdout
    if keeps_part and _CARD.search(asked.stdout):
        logger.warning("nvidia-smi reports a fault of a GPU, which is not used: %s", said)
        return asked.stdout
    raise UserError(_fault(f"exit code {asked.returncode}: {said}"))


def _fault(reason: str) -> str:
    return (
        f"nvidia-smi must list the GPUs, but failed ({reason}): repair the driver, or use "
        "--gpus-per-worker 0"
    )
