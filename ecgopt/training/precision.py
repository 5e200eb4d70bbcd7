"""The arithmetic of training: fp32, TF32 or bf16, and equal bits in every run if free."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ecgopt.models.stages import StagedModel
from ecgopt.training.recipe import Precision


def precision_in_use(wanted: Precision, model: StagedModel, device: torch.device) -> Precision:
    """Return what a recipe's precision means for a network on a device.

    bf16 is read as TF32 where the network cannot use it or is slower; a CPU has no TF32, so there
    TF32 is read as fp32.
    """
    if wanted == "bf16" and device.type not in model.bf16_devices:
        wanted = "tf32"
    return "fp32" if wanted == "tf32" and device.type != "cuda" else wanted


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Compute within as `precision` says; set it around a whole epoch, backward passes included.

    In fp32, all 24 bits of the mantissa count, in convolutions too: cuDNN's default since Ampere is
    TF32, which has 11. In TF32 and bf16, cuDNN uses algorithms that give equal bits in every run.
    Measured on an H200, they cost nothing in bf16; in fp32 they make training up to eight times
    slower, so fp32 keeps the others (docs/performance.md).
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32 = matmul.allow_tf32 = precision != "fp32"
    cudnn.deterministic = precision != "fp32"
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic = before


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which the forward pass of a network computes in `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
