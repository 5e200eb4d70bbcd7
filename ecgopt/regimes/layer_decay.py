"""Fine-tuning with smaller learning rates towards the input, by a factor that is tuned.

The smooth relative of freezing: early stages move little instead of not at all.
"""

from dataclasses import dataclass

from ecgopt.regimes.fine_tune import FineTune


@dataclass(frozen=True, slots=True)
class LayerDecay(FineTune):
    """The transfer arm whose layer-wise decay of the learning rate is always searched."""

    name: str = "layer_decay"
    needed_parameters: frozenset[str] = frozenset({"layer_decay"})
