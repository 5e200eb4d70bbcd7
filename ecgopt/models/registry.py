"""The networks by name, and the one way to build them.

A network from outside the package is a `Builder`, named `package.module:name` or by an entry point
of the group `ecgopt.networks`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from ecgopt.errors import UserError
from ecgopt.plugins import find, wrong_type
from ecgopt.seeds import seed_torch

if TYPE_CHECKING:
    from ecgopt.models.rnn import LayerType
    from ecgopt.models.stages import StagedModel

HeadKind = Literal["as_published", "flatten", "pooled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The name of a network, its size and its head."""

    name: str = "resnet1d18"
    width: int | None = None
    """Channels of the first stage, of a branch or token, or hidden units; None: as published."""
    head: HeadKind = "as_published"
    """The layers before the last linear one: those that the network was published with, all
    states in a row (recurrent networks, whose published head it is), or pooling over time alone."""
    dropout: float = 0.0
    """Share of the head's inputs dropped in training, in [0, 1)."""

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise UserError(f"model {self.name!r}: width must be at least 1, but is {self.width}")
        if not 0 <= self.dropout < 1:
            raise UserError(
                f"model {self.name!r}: dropout must be in [0, 1), but is {self.dropout}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class InputShape:
    """The shape of inputs and outputs of a network."""

    n_leads: int
    n_samples: int
    n_labels: int


Builder = Callable[[ModelSpec, InputShape], "StagedModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A built-in network: its builder, and what is known of it without building it."""

    build: Builder
    n_freezable_stages: int
    heads: tuple[HeadKind, ...] = ("as_published", "pooled")

    def __call__(self, spec: ModelSpec, shape: InputShape) -> "StagedModel":
        """Build the network; torch is not imported before.

        Raises:
            UserError: it has no such head.
        """
        self.check(spec)
        return self.build(spec, shape)

    def check(self, spec: ModelSpec) -> None:
        """Refuse a head that the network does not have.

        Raises:
            UserError: it has no such head.
        """
        if spec.head not in self.heads:
            known = " and ".join(repr(head) for head in self.heads)
            raise UserError(
                f"model {spec.name!r} has heads {known}, but got head={spec.head!r}, "
                "which only recurrent networks have"
            )


def _resnet1d(
    block: Literal["BasicBlock", "Bottleneck"], depths: tuple[int, int, int, int]
) -> Network:
    def build(spec: ModelSpec, shape: InputShape) -> "StagedModel":
        from ecgopt.models import resnet1d

        return resnet1d.build_resnet1d(
            resnet1d.BasicBlock if block == "BasicBlock" else resnet1d.Bottleneck,
            depths,
            n_leads=shape.n_leads,
            n_labels=shape.n_labels,
            width=spec.width or resnet1d.PUBLISHED_WIDTH,
            has_hidden_layer=spec.head == "as_published",
        )

    return Network(build=build, n_freezable_stages=5)


def _rnn(layer_type: "LayerType") -> Network:
    def build(spec: ModelSpec, shape: InputShape) -> "StagedModel":
        from ecgopt.models import rnn

        return rnn.build_rnn(
            layer_type,
            n_leads=shape.n_leads,
            n_samples=shape.n_samples,
            n_labels=shape.n_labels,
            width=spec.width or rnn.PUBLISHED_WIDTH,
            pools=spec.head == "pooled",
        )

    return Network(build=build, n_freezable_stages=1, heads=("as_published", "flatten", "pooled"))


def _xresnet1d101(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import xresnet1d

    return xresnet1d.build_xresnet1d(
        (3, 4, 23, 3),
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or xresnet1d.PUBLISHED_WIDTH,
        has_hidden_layer=spec.head == "as_published",
    )


def _inception1d(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import inception1d

    return inception1d.build_inception1d(
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or inception1d.PUBLISHED_WIDTH,
        has_hidden_layer=spec.head == "as_published",
    )


def _transformer1d(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import transformer1d

    return transformer1d.build_transformer1d(
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or transformer1d.DEFAULT_WIDTH,
    )


MODELS: Mapping[str, Network] = {
    "resnet1d18": _resnet1d("BasicBlock", (2, 2, 2, 2)),
    "resnet1d50": _resnet1d("Bottleneck", (3, 4, 6, 3)),
    "resnet1d101": _resnet1d("Bottleneck", (3, 4, 23, 3)),
    "gru": _rnn("gru"),
    "lstm": _rnn("lstm"),
    "bilstm": _rnn("bilstm"),
    "xresnet1d101": Network(build=_xresnet1d101, n_freezable_stages=5),
    "inception1d": Network(build=_inception1d, n_freezable_stages=2),
    "transformer1d": Network(build=_transformer1d, n_freezable_stages=5),
}


def build_model(
    spec: ModelSpec, *, n_labels: int, n_leads: int = 12, n_samples: int = 1000, seed: int
) -> "StagedModel":
    """Build a network with fresh weights, the same for the same `seed`.

    Args:
        spec: which network.
        n_labels: logits.
        n_leads: input leads.
        n_samples: input samples per lead; networks that pool over time take any other length too.
        seed: the only source of the weights.

    Raises:
        UserError: no network has this name, or it has no such head, or it is no `StagedModel`.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        seed_torch("model", seed)
        model = _built(spec, InputShape(n_leads=n_leads, n_samples=n_samples, n_labels=n_labels))
    model.set_dropout(spec.dropout)
    return model


@cache
def freezable_stages(spec: ModelSpec) -> int:
    """Return how many leading stages can be frozen; all of them leaves the head alone to train.

    Raises:
        UserError: the network has no such head.
    """
    network = builder(spec.name)
    if isinstance(network, Network):
        network.check(spec)
        return network.n_freezable_stages
    import torch

    with torch.device("meta"):
        shape = InputShape(n_leads=12, n_samples=1000, n_labels=1)
        return _built(spec, shape).n_freezable_stages


def builder(name: str) -> Builder:
    """Return the function that builds the network called `name`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    found = find("network", name, MODELS)
    if not callable(found):
        raise wrong_type("network", name, "a function of a ModelSpec and an InputShape", found)
    return found


def _built(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models.stages import StagedModel

    model: object = builder(spec.name)(spec, shape)
    if not isinstance(model, StagedModel):
        raise wrong_type("network", spec.name, "a function that returns a StagedModel", model)
    return model
