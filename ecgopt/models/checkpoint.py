"""Checkpoints: safetensors with JSON metadata, checked when read, and the starts made from them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ecgopt.errors import CheckpointError
from ecgopt.files import sha256_of, write_whole
from ecgopt.models.stages import StagedModel
from ecgopt.models.weight_names import HEAD
from ecgopt.seeds import seed_for

MODEL_PREFIX = "model."
"""Names of model tensors in a checkpoint begin with it; other prefixes hold optimiser state."""

LEFT_OUT_KEY = "left_out"
"""Metadata key: name prefixes of model tensors that the checkpoint lacks on purpose."""

_METADATA_KEY = "ecgopt"
"""Its value is the SHA-256 of the content, a blank, and the metadata as JSON. One key, because
safetensors writes several in random order, and equal content must give equal files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Tensors by name, what was known about them, and the hash of the file they came from."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, JsonValue]
    sha256: str


def save_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, JsonValue]
) -> str:
    """Write a checkpoint under a temporary name, rename it to `path`, and return its SHA-256.

    A crash at any moment leaves either the old file or the new one.

    Args:
        path: The file.
        tensors: Tensors by name.
        metadata: Plain JSON, stored with the tensors.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(metadata), allow_nan=True)
    header = {_METADATA_KEY: f"{_content_digest(plain, text)} {text}"}
    content = save(plain, metadata=header)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def load_checkpoint(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read a checkpoint that `save_checkpoint` wrote.

    Args:
        path: the file.
        sha256: the hash the file must have; None accepts any that is whole in itself.

    Raises:
        CheckpointError: the file is missing, cut short, altered, or not of this kind.
    """
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if sha256 is not None and found != sha256:
        raise CheckpointError(
            f"checkpoint {path} must have SHA-256 {sha256}, but has {found}: it was replaced or "
            "damaged; delete it, and it is made again"
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        expected, _, text = header[_METADATA_KEY].partition(" ")
        metadata = json.loads(text)
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole ecgopt checkpoint ({error}); delete it, and it is made again"
        ) from error
    if _content_digest(tensors, text) != expected:
        raise CheckpointError(
            f"checkpoint {path} holds other values than were written: it is damaged; delete it, "
            "and it is made again"
        )
    return Checkpoint(tensors=tensors, metadata=metadata, sha256=found)


def model_tensors(model: StagedModel) -> dict[str, Tensor]:
    """Return the model's parameters and statistics under the names they have in a checkpoint."""
    return {f"{MODEL_PREFIX}{name}": tensor for name, tensor in model.state_dict().items()}


def transfer(model: StagedModel, checkpoint: Checkpoint) -> float:
    """Load all but the head from `checkpoint` and return the share of weights that came from it.

    Statistics of BatchNorm are loaded too, but not counted as weights. Parts that the checkpoint's
    metadata names under `left_out` (name prefixes; no upstream task trained them) stay fresh.

    Raises:
        CheckpointError: a tensor is missing or has another shape; the model is left as it was.
    """
    stored = body_tensors(model, checkpoint)
    current = model.state_dict()
    with torch.no_grad():
        for name, tensor in stored.items():
            current[name].copy_(tensor)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return sum(size for name, size in sizes.items() if name in stored) / sum(sizes.values())


def body_tensors(model: StagedModel, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the checkpoint's tensors for all of `model` but its head, by the model's names.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
    """
    left_out = checkpoint.metadata.get(LEFT_OUT_KEY) or []
    assert isinstance(left_out, list)
    skipped = (f"{HEAD}.", *(str(prefix) for prefix in left_out))
    expected = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith(skipped)
    }
    faults = []
    for name, tensor in expected.items():
        stored = checkpoint.tensors.get(MODEL_PREFIX + name)
        if stored is None:
            faults.append(f"{name} is missing")
        elif stored.shape != tensor.shape:
            faults.append(f"{name} is {tuple(stored.shape)} instead of {tuple(tensor.shape)}")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise CheckpointError(
            f"the checkpoint does not fit the model: {'; '.join(faults[:3])}{more}. Pre-train with "
            "the same model name, width and head"
        )
    return {name: checkpoint.tensors[MODEL_PREFIX + name] for name in expected}


def match_moments(model: StagedModel, checkpoint: Checkpoint, *, seed: int) -> None:
    """Redraw all weights of `model` but the head's with the mean and spread they have upstream.

    Each parameter tensor of the body becomes independent normal draws with the mean and standard
    deviation of the checkpoint's tensor of that name. So the model takes over how large the
    pre-trained weights are, layer by layer, but nothing of what they compute. The running
    statistics of BatchNorm describe upstream features and stay as they are in a fresh model.

    Args:
        model: fresh, changed in place.
        checkpoint: the upstream one.
        seed: the source of the draws.

    Raises:
        CheckpointError: the checkpoint does not fit the model.

    Source: the Mean Var initialisation of Raghu et al. 2019 (Transfusion), arXiv:1902.07208.
    """
    stored = body_tensors(model, checkpoint)
    parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(stored.keys() & parameters.keys()):
            upstream = stored[name].double()
            # Each tensor hashes its own name, so a further layer changes no other's draws.
            generator = torch.Generator().manual_seed(seed_for("moments", seed, name))
            draws = torch.randn(upstream.shape, generator=generator, dtype=torch.float64)
            matched = upstream.mean() + upstream.std(correction=0) * draws
            parameters[name].copy_(matched)


def _content_digest(tensors: Mapping[str, Tensor], metadata: str) -> str:
    digest = hashlib.sha256(metadata.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
