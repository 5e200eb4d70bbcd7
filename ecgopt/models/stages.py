"""The base of all networks: an ordered chain of named stages; leading ones can be frozen."""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from ecgopt.errors import UserError
from ecgopt.models.weight_names import HEAD
from ecgopt.shapes import Float

SignalBatch = Float[Tensor, "batch lead time"]
"""Signals as networks see them, in millivolts."""

LogitBatch = Float[Tensor, "batch label"]


class LinearHead(nn.Module):
    """Dropout and one linear layer over the flattened output of the stage before."""

    def __init__(self, n_features: int, n_labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_features, n_labels)

    def forward(self, features: Tensor) -> LogitBatch:
        """Return one logit per label."""
        logits: Tensor = self.linear(self.dropout(features.flatten(start_dim=1)))
        return logits


class LastStage(nn.Module):
    """The last stage before the head: its own layers, pooling over time, and a hidden layer.

    Pooling and hidden layer belong to the stage, so they move with it on a transfer.
    """

    def __init__(self, body: nn.Module, pool: nn.Module, hidden: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.pool = pool
        self.hidden = nn.Identity() if hidden is None else hidden
        self.keeps_time = False
        """Whether pooling and hidden layer are passed by, for heads over the feature map."""

    def requires_grad_(self, requires_grad: bool = True) -> "LastStage":
        """Thaw or freeze all layers in use."""
        super().requires_grad_(requires_grad)
        if self.keeps_time:
            self.pool.requires_grad_(False)
            self.hidden.requires_grad_(False)
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Return what the head sees."""
        return self.finish(self.pooled(features))

    def pooled(self, features: Tensor) -> Tensor:
        """Return the output before the hidden layer, which is cheap to compute every time."""
        feature_map: Tensor = self.body(features)
        return feature_map if self.keeps_time else self.pool(feature_map)

    def finish(self, pooled: Tensor) -> Tensor:
        """Return what the head sees, given what `pooled` returned."""
        return pooled if self.keeps_time else self.hidden(pooled)


class StagedModel(nn.Module):
    """A network as an ordered chain of stages; leading stages can be frozen, the last is the head.

    The head is exactly what a transfer re-initialises. Everything before it, any shared hidden
    layer or pooling included, belongs to the last stage before the head, so that freezing all
    stages but the head leaves a linear probe whose input can be computed once and kept.
    """

    def __init__(
        self,
        stages: Mapping[str, nn.Module],
        head: LinearHead,
        *,
        bf16_devices: Collection[str] = ("cpu", "cuda"),
    ) -> None:
        super().__init__()
        self.bf16_devices = frozenset(bf16_devices)
        """Kinds of device where training in bf16 works and is not slower."""
        self.stage_names: tuple[str, ...] = (*stages, HEAD)
        self.n_frozen_stages = 0
        for name, stage in stages.items():
            self.add_module(name, stage)
        self.head = head

    @property
    def n_freezable_stages(self) -> int:
        """The number of stages before the head."""
        return len(self.stage_names) - 1

    @property
    def n_labels(self) -> int:
        """The number of logits."""
        return self.head.linear.out_features

    def stage(self, name: str) -> nn.Module:
        """Return the stage called `name`."""
        return self.get_submodule(name)

    def forward(self, signals: SignalBatch) -> LogitBatch:
        """Return one logit per label.

        Args:
            signals: in millivolts.
        """
        return self.forward_from(signals, 0)

    @property
    def last_stage(self) -> LastStage:
        """The stage before the head."""
        stage = self.stage(self.stage_names[-2])
        assert isinstance(stage, LastStage)
        return stage

    def features(self, signals: SignalBatch, n_stages: int) -> Tensor:
        """Return what the first `n_stages` stages make of `signals`, for `forward_from`.

        Of the last stage before the head the hidden layer is left to `forward_from`. It is a
        matrix product, whose last bits depend on the size of the batch: run on the same batch,
        it gives the same bits whether the features were kept or computed again.
        """
        features = signals
        for name in self.stage_names[: min(n_stages, self.n_freezable_stages - 1)]:
            features = self.stage(name)(features)
        return self.last_stage.pooled(features) if n_stages == self.n_freezable_stages else features

    def forward_from(self, features: Tensor, n_stages: int) -> Tensor:
        """Return what the head answers: logits, or the signals of a decoder.

        Args:
            features: what `features` returned for the same `n_stages`.
            n_stages: at most all stages but the head.
        """
        if n_stages == self.n_freezable_stages:
            features = self.last_stage.finish(features)
        for name in self.stage_names[n_stages:]:
            features = self.stage(name)(features)
        return features

    def freeze(self, n_frozen_stages: int) -> None:
        """Freeze the first `n_frozen_stages` stages and thaw all others.

        A frozen stage takes no gradient and stays in evaluation mode, so that its BatchNorm
        statistics keep still, also after `train()`.

        Raises:
            UserError: the model has fewer stages before its head.
        """
        if not 0 <= n_frozen_stages <= self.n_freezable_stages:
            raise UserError(
                f"n_frozen_stages must be from 0 to {self.n_freezable_stages} for a model with "
                f"stages {', '.join(self.stage_names)}, but is {n_frozen_stages}"
            )
        self.n_frozen_stages = n_frozen_stages
        for position, name in enumerate(self.stage_names):
            self.stage(name).requires_grad_(position >= n_frozen_stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> "StagedModel":
        """Set the mode of all stages but the frozen ones, which stay in evaluation mode."""
        super().train(mode)
        for name in self.stage_names[: self.n_frozen_stages]:
            self.stage(name).eval()
        return self

    def set_dropout(self, rate: float) -> None:
        """Drop this share of the head's inputs in training."""
        self.head.dropout.p = rate
