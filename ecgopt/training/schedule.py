"""The learning rate over a run, as a pure function of the optimiser step."""

import math
from typing import Literal


def rate_factor(
    step: int, n_steps: int, *, warmup_share: float, schedule: Literal["cosine", "constant"]
) -> float:
    """Return the factor on the peak learning rate for one optimiser step.

    The rate climbs linearly over the first `round(warmup_share * n_steps)` steps, reaching its
    peak on the last of them, and then follows a half cosine to zero, or stays. The last step's
    factor is above zero, so no step is spent for nothing.

    Args:
        step: steps done so far, in [0, n_steps).
        n_steps: steps of the whole run.
        warmup_share: share of the steps in which the rate climbs, in [0, 1).
        schedule: what follows the climb.

    Source: cosine annealing, Loshchilov & Hutter 2017, arXiv:1608.03983.
    """
    n_warmup = round(warmup_share * n_steps)
    if step < n_warmup:
        return (step + 1) / n_warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
