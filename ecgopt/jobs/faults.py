"""Whose fault an error is: the item's, the machine's, or the program's."""

from enum import Enum

from ecgopt.errors import CheckpointError, DataError, UserError


class Fault(Enum):
    """What must change before the same work can succeed."""

    ITEM = "item"
    """Nothing about the machine: another worker meets the same error."""
    MACHINE = "machine"
    """The machine, its device, or the files that it sees."""
    MEMORY = "memory"
    """The item's own size, or what else is in the memory."""
    PROGRAM = "program"
    """The code, or a state of the machine that shows as an error of the code."""


def fault_of(error: BaseException) -> Fault:
    """Return whose fault an error of a job is.

    Errors of the database and of the lease are not for this function: they say nothing of the item.
    """
    import torch

    match error:
        case torch.OutOfMemoryError() | MemoryError():
            return Fault.MEMORY
        # A file that is missing, damaged or replaced: another machine may see the right one.
        case OSError() | ImportError() | DataError() | CheckpointError():
            return Fault.MACHINE
        case UserError():
            return Fault.ITEM
        case RuntimeError() if is_sticky(error):
            return Fault.MACHINE
    return Fault.PROGRAM


def is_sticky(error: BaseException) -> bool:
    """Return whether the error leaves the process unable to use its device (CUDA, cuDNN)."""
    words = ("CUDA error", "CUDA driver", "cuDNN error", "CUBLAS_STATUS", "NVML", "no kernel image")
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "AcceleratorError" or any(word in str(error) for word in words)
    )
