"""Random changes of training signals: shifts in time, noise and missing leads.

The draws of an epoch follow from the run's seed and the epoch's number, in a generator of their
own: a resumed run ends with the same bits, and arms with equal seeds see equal changes,
even if other parts of an arm draw random numbers too.
"""

from dataclasses import dataclass
from typing import Self

import torch

from ecgopt.models.stages import SignalBatch
from ecgopt.seeds import seed_for
from ecgopt.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The changes that one recipe makes to the signals of a sampling rate."""

    lead_dropout: float
    noise_millivolts: float
    max_shift_samples: int

    @classmethod
    def of(cls, recipe: Recipe, sampling_rate_hz: float) -> Self | None:
        """Return the recipe's augmentation; None where it makes none."""
        found = cls(
            lead_dropout=recipe.lead_dropout,
            noise_millivolts=recipe.noise_millivolts,
            max_shift_samples=round(recipe.time_shift_seconds * sampling_rate_hz),
        )
        off = cls(lead_dropout=0.0, noise_millivolts=0.0, max_shift_samples=0)
        return None if found == off else found

    def __call__(self, signals: SignalBatch, generator: torch.Generator) -> SignalBatch:
        """Return changed copies of the signals.

        Each record is shifted in a circle by a whole number of samples, uniform up to the maximum
        in both directions: no sample is lost and no edge is filled in. Then each sample gets
        Gaussian noise, and each lead is zero with the given probability.
        """
        n_records, n_leads, n_samples = signals.shape
        device = signals.device
        if (most := self.max_shift_samples) > 0:
            shifts = torch.randint(
                -most, most + 1, (n_records, 1, 1), generator=generator, device=device
            )
            places = (torch.arange(n_samples, device=device) - shifts) % n_samples
            signals = signals.gather(2, places.expand(signals.shape))
        if self.noise_millivolts:
            noise = torch.randn(signals.shape, generator=generator, device=device)
            signals = signals + self.noise_millivolts * noise
        if self.lead_dropout:
            draws = torch.rand((n_records, n_leads, 1), generator=generator, device=device)
            signals = signals.masked_fill(draws < self.lead_dropout, 0.0)
        return signals


def epoch_generator(seed: int, epochs_done: int, device: torch.device) -> torch.Generator:
    """Return the generator of one epoch's changes.

    Args:
        seed: Seed of the run.
        epochs_done: Epochs of the run before this one.
        device: Where the draws are made.
    """
    generator = torch.Generator(device)
    return generator.manual_seed(seed_for("fit", "augmentation", seed, epochs_done))
