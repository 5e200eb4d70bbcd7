"""Reads a user's own weights as an upstream: other names, from safetensors or torch files."""

from pathlib import Path
from typing import Final

from torch import Tensor

from ecgopt.errors import CheckpointError, nearest
from ecgopt.files import sha256_of
from ecgopt.models.checkpoint import LEFT_OUT_KEY, MODEL_PREFIX, Checkpoint
from ecgopt.models.containers import read_tensors
from ecgopt.models.stages import StagedModel
from ecgopt.models.weight_names import HEAD, TABLES, NameTable, renamed

_WRAPPERS: Final = ("module.", "_orig_mod.", MODEL_PREFIX)
"""Prefixes that DataParallel, torch.compile and ecgopt give to every name."""


def load_foreign(path: Path, model: StagedModel, names: NameTable) -> Checkpoint:
    """Read a user's weights and return them under the names that `transfer` expects.

    One-dimensional convolutions are accepted where ours are of height 1. The head may have any
    shape or be missing, since a transfer does not use it; everything else must be there.

    Args:
        path: a `.safetensors` file, or one of `torch.save` with nothing but tensors
            (a state dict, alone or under the key `state_dict` or `model`).
        model: the network that the weights are for; it is not changed.
        names: how their names map to ours; `{}` if they are equal.

    Raises:
        CheckpointError: the file cannot be read, has other content than tensors, or does not fit.
    """
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"weights {path} cannot be read: {error.strerror}") from error
    theirs = _unwrapped(read_tensors(path))
    expected = model.state_dict()
    ours = {renamed(name, names): tensor for name, tensor in theirs.items()}
    if len(ours) < len(theirs):
        raise CheckpointError(f"{path}: the name table sends two tensors to the same name")
    is_needed = {name for name in expected if not name.startswith(f"{HEAD}.")}
    # Counters of batches are bookkeeping that older files lack and evaluation never reads.
    missing = sorted(n for n in is_needed - ours.keys() if not n.endswith("batches_tracked"))
    unknown = sorted(n for n in ours if n not in expected and not n.startswith(f"{HEAD}."))
    if missing or unknown:
        raise CheckpointError(_mismatch(path, missing, unknown))
    tensors = {name: ours.get(name, expected[name]) for name in is_needed}
    fitted = {name: _fitted(tensor, expected[name]) for name, tensor in tensors.items()}
    return Checkpoint(
        tensors={MODEL_PREFIX + name: tensor for name, tensor in fitted.items()},
        metadata={"source": path.name, LEFT_OUT_KEY: []},
        sha256=sha256,
    )


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        inside = {n.removeprefix(wrapper): t for n, t in tensors.items() if n.startswith(wrapper)}
        # Other names, without the prefix, belong to an optimiser or a wrapper.
        tensors = inside or tensors
    return tensors


def _mismatch(path: Path, missing: list[str], unknown: list[str]) -> str:
    lines = []
    if missing:
        near = nearest(missing[0], unknown)
        hint = f" (the nearest that the file has is {near})" if near else ""
        lines.append(f"{len(missing)} tensors are missing, among them {missing[0]}{hint}")
    if unknown:
        lines.append(f"{len(unknown)} have no place in the model, among them {unknown[0]}")
    known = ", ".join(repr(name) for name in TABLES)
    return (
        f"weights {path} do not fit the model: {'; '.join(lines)}. Give a table of names "
        f"(known ones: {known}) or choose the model they were made for"
    )


def _fitted(tensor: Tensor, expected: Tensor) -> Tensor:
    """Return a one-dimensional kernel as one of height 1; shapes are checked by the transfer."""
    is_flat_kernel = tensor.ndim == 3 and expected.ndim == 4 and expected.shape[2] == 1
    fitted = tensor.unsqueeze(2) if is_flat_kernel else tensor
    return fitted.to(expected.dtype)
