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


_PUBLISHED: tuple[HeadKind, ...] = ("as_published",)

Builder = Callable[[ModelSpec, InputShape], "StagedModel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a network cannot be built for; a public checkpoint's card narrows it further."""

    leads: tuple[int, ...] | None = None
    """The numbers of leads that it takes; None: any."""
    min_samples: int = 1
    """Samples per lead that it needs at least."""
    min_width: int = 1

    def check(self, name: str, shape: InputShape) -> None:
        """Refuse an input that the network cannot take.

        Raises:
            UserError: it has too few samples, or another number of leads.
        """
        if self.leads is not None and shape.n_leads not in self.leads:
            known = " or ".join(str(n) for n in self.leads)
            raise UserError(f"model {name!r} takes {known} leads, but got {shape.n_leads}")
        if shape.n_samples < self.min_samples:
            raise UserError(
                f"model {name!r} needs at least {self.min_samples} samples per lead, but got "
                f"{shape.n_samples}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network: its builder, and what is known of it without building it."""

    build: Builder
    n_freezable_stages: int
    heads: tuple[HeadKind, ...] = ("as_published", "pooled")
    limits: Limits = Limits()

    def __call__(self, spec: ModelSpec, shape: InputShape) -> "StagedModel":
        """Build the network; torch is not imported before.

        Raises:
            UserError: it has no such head or width, or cannot take such an input.
        """
        self.check(spec)
        self.limits.check(spec.name, shape)
        return self.build(spec, shape)

    def check(self, spec: ModelSpec) -> None:
        """Refuse a head or a width that the network does not have.

        Raises:
            UserError: it has no such head or width.
        """
        if spec.width is not None and spec.width < self.limits.min_width:
            raise UserError(
                f"model {spec.name!r} has a width of at least {self.limits.min_width}, but got "
                f"{spec.width}"
            )
        if spec.head not in self.heads:
            known = " and ".join(repr(head) for head in self.heads)
            raise UserError(
                f"model {spec.name!r} has heads {known}, but got head={spec.head!r}; 'flatten' is "
                "for recurrent networks only"
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


def _merl_resnet18(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import resnet1d

    return resnet1d.build_resnet1d(
        resnet1d.BasicBlock,
        (2, 2, 2, 2),
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or resnet1d.PUBLISHED_WIDTH,
        has_hidden_layer=False,
        pools_early=False,
    )


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


def _xresnet1d101(*, maximum_first: bool) -> Network:
    def build(spec: ModelSpec, shape: InputShape) -> "StagedModel":
        from ecgopt.models import convolution, xresnet1d

        return xresnet1d.build_xresnet1d(
            (3, 4, 23, 3),
            n_leads=shape.n_leads,
            n_labels=shape.n_labels,
            width=spec.width or xresnet1d.PUBLISHED_WIDTH,
            has_hidden_layer=spec.head == "as_published",
            pool=convolution.ConcatPool(maximum_first=maximum_first),
        )

    return Network(build=build, n_freezable_stages=5)


def _inception1d(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import inception1d

    return inception1d.build_inception1d(
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or inception1d.PUBLISHED_WIDTH,
        has_hidden_layer=spec.head == "as_published",
    )


def _ecgfounder(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import net1d

    return net1d.build_net1d(
        n_leads=shape.n_leads,
        n_labels=shape.n_labels,
        width=spec.width or net1d.PUBLISHED_WIDTH,
    )


def _st_mem(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import lead_transformer

    return lead_transformer.build_st_mem(
        n_leads=shape.n_leads,
        n_samples=shape.n_samples,
        n_labels=shape.n_labels,
        width=spec.width or lead_transformer.PUBLISHED_WIDTH,
    )


def _ecg_jepa(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import lead_transformer

    return lead_transformer.build_ecg_jepa(
        n_leads=shape.n_leads,
        n_samples=shape.n_samples,
        n_labels=shape.n_labels,
        width=spec.width or lead_transformer.PUBLISHED_WIDTH,
    )


def _s4(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import s4

    return s4.build_s4(
        n_leads=shape.n_leads,
        n_samples=shape.n_samples,
        n_labels=shape.n_labels,
        width=spec.width or s4.PUBLISHED_WIDTH,
    )


def _ecg_cpc(spec: ModelSpec, shape: InputShape) -> "StagedModel":
    from ecgopt.models import s4

    return s4.build_ecg_cpc(
        n_leads=shape.n_leads,
        n_samples=shape.n_samples,
        n_labels=shape.n_labels,
        width=spec.width or s4.PUBLISHED_WIDTH,
    )


def _wav2vec2(
    name: Literal["HUBERT_ECG_SMALL", "HUBERT_ECG_BASE", "ECG_FM"],
    *,
    n_freezable_stages: int,
    min_samples: int,
) -> Network:
    def build(spec: ModelSpec, shape: InputShape) -> "StagedModel":
        from ecgopt.models import wav2vec2

        layout: wav2vec2.Layout = getattr(wav2vec2, name)
        return wav2vec2.build_wav2vec2(
            layout, n_leads=shape.n_leads, n_labels=shape.n_labels, width=spec.width
        )

    return Network(
        build=build,
        n_freezable_stages=n_freezable_stages,
        heads=_PUBLISHED,
        # The convolutions have a third of the width, and are normalised over it.
        limits=Limits(min_samples=min_samples, min_width=16),
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
    "xresnet1d101": _xresnet1d101(maximum_first=False),
    "inception1d": Network(build=_inception1d, n_freezable_stages=2),
    "transformer1d": Network(build=_transformer1d, n_freezable_stages=5),
    "s4": Network(build=_s4, n_freezable_stages=5, heads=_PUBLISHED),
    # As their authors published them, so that their checkpoints fit.
    "merl_resnet18": Network(
        build=_merl_resnet18,
        n_freezable_stages=5,
        heads=_PUBLISHED,
        # PyTorch 2.13 corrupts memory in the backward pass of long, narrower feature maps.
        limits=Limits(min_width=8),
    ),
    "ptbxl_xresnet1d101": _xresnet1d101(maximum_first=True),
    "ecgfounder": Network(build=_ecgfounder, n_freezable_stages=8, heads=_PUBLISHED),
    "st_mem": Network(
        build=_st_mem, n_freezable_stages=13, heads=_PUBLISHED, limits=Limits(min_samples=75)
    ),
    "ecg_jepa": Network(
        build=_ecg_jepa, n_freezable_stages=13, heads=_PUBLISHED, limits=Limits(min_samples=50)
    ),
    "hubert_ecg_small": _wav2vec2("HUBERT_ECG_SMALL", n_freezable_stages=10, min_samples=82),
    "hubert_ecg_base": _wav2vec2("HUBERT_ECG_BASE", n_freezable_stages=14, min_samples=82),
    "ecg_fm": _wav2vec2("ECG_FM", n_freezable_stages=14, min_samples=16),
    "ecg_cpc": Network(build=_ecg_cpc, n_freezable_stages=5, heads=_PUBLISHED),
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
    # Not on the meta device: many networks read a number from a tensor while they are built.
    return build_model(spec, n_labels=1, seed=0).n_freezable_stages


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
