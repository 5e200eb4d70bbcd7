"""The objectives of training: the loss of a batch, and the score that epochs are chosen by."""

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from ecgopt.training.metrics import MacroAuroc, macro_auroc

NOT_A_NUMBER: Final = float("nan")

OLD_AGE_CODE: Final = 300.0
OLD_AGE_YEARS: Final = 90.0
MAX_AGE_YEARS: Final = 120.0
CENTRE_YEARS: Final = 60.0
SCALE_YEARS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Score and loss on the validation records."""

    score: float
    """Higher is better; NaN if the records allow no score."""
    loss: float
    macro_auroc: MacroAuroc | None = None
    """Only of objectives that predict labels."""


@runtime_checkable
class Objective(Protocol):
    """A task that a network is trained for."""

    @property
    def keeps_inputs(self) -> bool:
        """Whether `example` leaves inputs alone, so that features of them can be kept."""

    def example(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the network sees and what it is to answer.

        Random draws come from torch's global generator, which the caller has seeded.
        """

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""

    def training_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch that training minimises."""

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Return the score of all validation records, on the CPU."""


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """One yes-or-no question per label: binary cross-entropy, macro AUROC."""

    label_smoothing: float = 0.0
    """Share s of each training target that is replaced by one half: y (1 - s) + s / 2."""
    keeps_inputs: bool = True

    def example(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return both unchanged."""
        return inputs, targets

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean binary cross-entropy over records and labels."""
        return binary_cross_entropy_with_logits(outputs, targets)

    def training_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the same against smoothed targets."""
        if self.label_smoothing:
            targets = targets * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        return self.loss(outputs, targets)

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Return the macro AUROC.

        It is computed from logits, because the sigmoid rounds distinct large logits to a tie.
        """
        auroc = macro_auroc(targets.numpy(), outputs.numpy())
        loss = self.loss(outputs, targets).item()
        return Evaluation(score=auroc.value, loss=loss, macro_auroc=auroc)


@dataclass(frozen=True, slots=True)
class AgeRegression:
    """The patient's age in years from the signals; records without an age teach nothing.

    The targets have one column. NaN and impossible ages count as missing. PTB-XL writes 300 for
    every patient of 90 or more; that is read as 90.
    """

    keeps_inputs: bool = True

    def example(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs and ages in units of 20 years around 60, NaN where unknown."""
        ages = torch.where(targets == OLD_AGE_CODE, OLD_AGE_YEARS, targets)
        is_possible = (ages >= 0) & (ages <= MAX_AGE_YEARS)
        ages = torch.where(is_possible, ages, NOT_A_NUMBER)
        return inputs, (ages - CENTRE_YEARS) / SCALE_YEARS

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean smooth absolute error over records of known age; 0 if there is none."""
        is_known = targets.isfinite()
        # Zeros instead of a selection: its size would have to be asked from the device.
        errors = smooth_l1_loss(
            outputs.where(is_known, 0.0), targets.where(is_known, 0.0), reduction="sum"
        )
        return errors / is_known.sum().clamp(min=1)

    training_loss = loss

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Return the share of the ages' variance that is explained (R squared)."""
        is_known = targets.isfinite()
        known, predicted = targets[is_known].double(), outputs[is_known].double()
        spread = (known - known.mean()).square().sum().item() if known.numel() else 0.0
        loss = self.loss(outputs, targets).item()
        if not spread:
            return Evaluation(score=NOT_A_NUMBER, loss=loss)
        unexplained = (known - predicted).square().sum().item()
        return Evaluation(score=1.0 - unexplained / spread, loss=loss)


@dataclass(frozen=True, slots=True)
class MaskedSignal:
    """The signal in hidden half-seconds from what surrounds them (masked reconstruction).

    A segment is hidden in all leads together: the limb leads are sums of each other, so that one
    visible lead would give the others away.
    """

    segment_samples: int = 50
    hidden_share: float = 0.5
    keeps_inputs: bool = False

    def example(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - labels play no part
        """Return signals with segments set to zero, and the signals with NaN where visible."""
        n_records, _, n_samples = inputs.shape
        n_segments = -(-n_samples // self.segment_samples)
        draws = torch.rand(n_records, 1, n_segments, device=inputs.device)
        is_hidden = (draws < self.hidden_share).repeat_interleave(self.segment_samples, dim=2)
        is_hidden = is_hidden[:, :, :n_samples]
        return (
            inputs.masked_fill(is_hidden, 0.0),
            inputs.masked_fill(~is_hidden, NOT_A_NUMBER),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error over hidden samples, in square millivolts."""
        is_hidden = targets.isfinite()
        errors = outputs.where(is_hidden, 0.0) - targets.where(is_hidden, 0.0)
        return errors.square().sum() / is_hidden.sum().clamp(min=1)

    training_loss = loss

    def evaluate(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Return the share of the hidden samples' power that is explained."""
        is_hidden = targets.isfinite()
        power = targets[is_hidden].double().square().sum().item()
        loss = self.loss(outputs, targets).item()
        if not power:
            return Evaluation(score=NOT_A_NUMBER, loss=loss)
        return Evaluation(score=1.0 - loss * int(is_hidden.sum()) / power, loss=loss)
