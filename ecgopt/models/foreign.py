"""Reads foreign weights: a user's own as an upstream, and public models by their cards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from ecgopt.errors import CheckpointError, UserError, nearest
from ecgopt.files import sha256_of
from ecgopt.models.cards import Card
from ecgopt.models.checkpoint import LEFT_OUT_KEY, MODEL_PREFIX, Checkpoint, transfer
from ecgopt.models.containers import read_tensors
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.models.stages import StagedModel
from ecgopt.models.weight_names import HEAD, TABLES, NameTable, renamed

TOLERANCE: Final = 1e-3
"""Largest relative difference to a golden pair whose card states none."""

_WRAPPERS: Final = ("module.", "_orig_mod.", MODEL_PREFIX)
"""Prefixes that DataParallel, torch.compile and ecgopt give to every name."""


def load_foreign(path: Path, model: StagedModel, names: NameTable) -> Checkpoint:
    """Read a user's weights and return them under the names that `transfer` expects.

    One-dimensional convolutions are accepted where ours are of height 1. The head may have any
    shape or be missing, since a transfer does not use it; everything else must be there.

    Args:
        path: a `.safetensors` file, or one of `torch.save` (see `containers`).
        model: the network that the weights are for; it is not changed.
        names: how their names map to ours; `{}` if they are equal.

    Raises:
        CheckpointError: the file cannot be read, holds other code than listed, or does not fit.
    """
    known = ", ".join(repr(name) for name in TABLES)
    remedy = f"Give a table of names (known ones: {known}) or choose the model they were made for"
    sha256 = _hash_of(path)
    theirs = _unwrapped(read_tensors(path))
    ours = _named(path, theirs, lambda name: renamed(name, names))
    return Checkpoint(
        tensors=_placed(path, ours, model, remedy),
        metadata={"source": path.name, LEFT_OUT_KEY: []},
        sha256=sha256,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """A network with the weights of a public checkpoint, and what became of the file's tensors."""

    model: StagedModel
    checkpoint: Checkpoint
    share: float
    """Share of the network's weights that came from the file."""
    n_loaded: int
    dropped: tuple[str, ...]
    """The file's tensors that the card leaves out."""


def load_by_card(path: Path, card: Card, *, n_labels: int = 1) -> PublicModel:
    """Build the network of `card` and load the public checkpoint at `path` into it.

    That names and shapes fit does not show that the network is the right one: reproduce the golden
    pair by `check_golden` before you train.

    Raises:
        CheckpointError: the file is another one than the card's, cannot be read, or does not fit.
    """
    sha256 = _hash_of(path)
    if card.weights.sha256 and card.weights.sha256 != sha256:
        raise CheckpointError(
            f"weights {path} must have SHA-256 {card.weights.sha256}, but have {sha256}: get the "
            f"file again from {card.source}"
        )
    model = _build(card, n_labels)
    found = read_tensors(path, key=card.weights.key, shells=card.weights.shells)
    theirs = {name: tensor for name, tensor in found.items() if not card.weights.dropped(name)}
    ours = _named(path, theirs, card.weights.renamed)
    remedy = f"The card {card.title!r} is for another form of this file, or for another file"
    checkpoint = Checkpoint(
        tensors=_placed(path, ours, model, remedy),
        metadata={"source": path.name, LEFT_OUT_KEY: []},
        sha256=sha256,
    )
    share = transfer(model, checkpoint)
    return PublicModel(
        model=model,
        checkpoint=checkpoint,
        share=share,
        n_loaded=len(theirs),
        dropped=tuple(sorted(found.keys() - theirs.keys())),
    )


def check_golden(public: PublicModel, card: Card, path: Path | None, *, weights: Path) -> float:
    """Return how far the network is from its authors' own features; small, or it is refused.

    Args:
        public: The network with its weights.
        card: Its card.
        path: The golden pair; None: the card's, next to the weights.
        weights: The file of the weights.

    Raises:
        CheckpointError: there is no pair, it is not the card's, or the features differ.
    """
    pair = card.golden
    if path is None and pair is not None:
        path = weights.with_name(pair.file)
    if path is None:
        raise CheckpointError(
            f"no golden pair shows that {weights} computes what its authors' code computes: run "
            "their code on a few records, and save the tensors `input` and `features` with "
            "safetensors (see the page on foundation models)"
        )
    if pair is not None and pair.sha256 != (found := _hash_of(path)):
        raise CheckpointError(
            f"golden pair {path} must have SHA-256 {pair.sha256}, but has {found}"
        )
    tensors = read_tensors(path, key="")
    if missing := {"input", "features"} - tensors.keys():
        raise CheckpointError(f"golden pair {path} lacks the tensor {min(missing)!r}")
    return _difference(path, public.model, tensors, pair.tolerance if pair else TOLERANCE)


def _difference(
    path: Path, model: StagedModel, pair: Mapping[str, Tensor], tolerance: float
) -> float:
    model.eval()
    expected = pair["features"].float()
    with torch.no_grad():
        try:
            found = model.last_stage.finish(
                model.features(pair["input"].float(), model.n_freezable_stages)
            )
        except (RuntimeError, UserError) as error:
            reason = str(error).partition("\n")[0]
            raise CheckpointError(
                f"golden pair {path}: the network does not take the input of shape "
                f"{tuple(pair['input'].shape)} ({reason})"
            ) from error
    if found.shape != expected.shape:
        raise CheckpointError(
            f"golden pair {path}: features must have the shape {tuple(expected.shape)}, but have "
            f"{tuple(found.shape)}: the network is not the one of the pair"
        )
    difference = ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)).item()
    # Written so that a difference that is no number is refused too.
    if not difference <= tolerance:
        raise CheckpointError(
            f"golden pair {path}: features must differ by at most {tolerance:g} of the largest, "
            f"but differ by {difference:.3g}: the weights were loaded into a different network, or "
            "under wrong names"
        )
    return difference


def _build(card: Card, n_labels: int) -> StagedModel:
    wanted = card.network
    model = build_model(
        ModelSpec(name=wanted.name, width=wanted.width, head=wanted.head),
        n_labels=n_labels,
        n_leads=len(card.input.leads),
        n_samples=card.input.n_seen,
        seed=0,
    )
    stages = model.stage_names[:-1]
    if stages != wanted.stages:
        raise CheckpointError(
            f"card {card.title!r}: the stages of {wanted.name!r} must be "
            f"{', '.join(wanted.stages)}, but are {', '.join(stages)}"
        )
    return model


def _hash_of(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"weights {path} cannot be read: {error.strerror}") from error


def _named(
    path: Path, theirs: Mapping[str, Tensor], rename: Callable[[str], str]
) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    sources: dict[str, str] = {}
    for name, tensor in theirs.items():
        new = rename(name)
        if new in ours:
            raise CheckpointError(
                f"{path}: the name table sends two tensors to the same name: {sources[new]} and "
                f"{name} become {new}"
            )
        ours[new], sources[new] = tensor, name
    return ours


def _placed(
    path: Path, ours: Mapping[str, Tensor], model: StagedModel, remedy: str
) -> dict[str, Tensor]:
    """Return the tensors by their names in a checkpoint; every one of the body must be there."""
    expected = model.state_dict()
    is_needed = {name for name in expected if not name.startswith(f"{HEAD}.")}
    # Counters of batches are bookkeeping that older files lack and evaluation never reads.
    missing = sorted(n for n in is_needed - ours.keys() if not n.endswith("batches_tracked"))
    unknown = sorted(n for n in ours if n not in expected and not n.startswith(f"{HEAD}."))
    if missing or unknown:
        raise CheckpointError(_mismatch(path, missing, unknown, remedy))
    tensors = {name: ours.get(name, expected[name]) for name in is_needed}
    return {
        MODEL_PREFIX + name: _fitted(tensor, expected[name]) for name, tensor in tensors.items()
    }


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for wrapper in _WRAPPERS:
        inside = {n.removeprefix(wrapper): t for n, t in tensors.items() if n.startswith(wrapper)}
        # Other names, without the prefix, belong to an optimiser or a wrapper.
        tensors = inside or tensors
    return tensors


def _mismatch(path: Path, missing: list[str], unknown: list[str], remedy: str) -> str:
    lines = []
    if missing:
        near = nearest(missing[0], unknown)
        hint = f" (the nearest that the file has is {near})" if near else ""
        lines.append(f"{len(missing)} tensors are missing, among them {missing[0]}{hint}")
    if unknown:
        lines.append(f"{len(unknown)} have no place in the model, among them {unknown[0]}")
    return f"weights {path} do not fit the model: {'; '.join(lines)}. {remedy}"


def _fitted(tensor: Tensor, expected: Tensor) -> Tensor:
    """Return a one-dimensional kernel as one of height 1; shapes are checked by the transfer."""
    is_flat_kernel = tensor.ndim == 3 and expected.ndim == 4 and expected.shape[2] == 1
    fitted = tensor.unsqueeze(2) if is_flat_kernel else tensor
    return fitted.to(expected.dtype)
