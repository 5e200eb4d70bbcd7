"""How one model is trained: every number that a trial may tune or a study may fix."""

from dataclasses import dataclass
from typing import Literal

from ecgopt.errors import UserError

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run's settings; data, model and seed are not part of it."""

    learning_rate: float
    """Peak rate of the backbone's last stage."""
    n_epochs: int
    """Passes over the training records; the schedule ends with the last."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    batch_size: int = 64
    weight_decay: float = 0.01
    """Applies to weight matrices and kernels, not to biases, norms or other vectors."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: down to zero at the run's own end, or level."""
    warmup_share: float = 0.1
    """Share of all optimiser steps in which the rate climbs linearly."""
    clip_norm: float | None = 1.0
    """Largest norm of the whole gradient; None lets it be."""
    n_frozen_stages: int = 0
    """Leading stages of the network that keep their first weights; the head is never among them."""
    precision: Precision = "fp32"
    """Arithmetic of training passes; weights and evaluation are always fp32."""
    dropout: float = 0.0
    """Share of the head's inputs dropped; 0 leaves the model's own rate."""
    head_rate_ratio: float = 1.0
    """Learning rate of the head divided by that of the stage before it."""
    layer_decay: float = 1.0
    """Factor on the learning rate from each stage before the head to the one below it."""
    head_first_share: float = 0.0
    """Share of the epochs in which the head alone is trained before all else joins in (LP-FT,
    Kumar et al. 2022, arXiv:2202.10054); each part has a warm-up and schedule of its own."""
    svm_c: float = 1.0
    """Inverse strength of an SVM's regularisation; networks do not read it."""

    def __post_init__(self) -> None:
        rules = {
            "learning_rate > 0": self.learning_rate > 0,
            "n_epochs >= 1": self.n_epochs >= 1,
            "batch_size >= 1": self.batch_size >= 1,
            "weight_decay >= 0": self.weight_decay >= 0,
            "0 <= warmup_share < 1": 0 <= self.warmup_share < 1,
            "clip_norm > 0": self.clip_norm is None or self.clip_norm > 0,
            "n_frozen_stages >= 0": self.n_frozen_stages >= 0,
            "0 <= dropout < 1": 0 <= self.dropout < 1,
            "head_rate_ratio > 0": self.head_rate_ratio > 0,
            "0 < layer_decay <= 1": 0 < self.layer_decay <= 1,
            "0 <= head_first_share < 1": 0 <= self.head_first_share < 1,
            "svm_c > 0": self.svm_c > 0,
        }
        for rule, holds in rules.items():
            if not holds:
                name = next(word for word in rule.split() if word.isidentifier())
                raise UserError(f"recipe: `{rule}` must hold, but got {name}={getattr(self, name)}")
