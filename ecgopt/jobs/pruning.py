"""Pruning on a ladder of schedule fractions, so that short and long schedules compare.

Step k (1..10) of a trial is the end of the epoch that completes k tenths of the trial's own
schedule. Trials of different length are then compared at the same point of their cosine.
"""

from collections.abc import Mapping

LADDER_STEPS = 10


def ladder(n_epochs: int) -> Mapping[int, int]:
    """Return the ladder step that ends with each epoch (counted from 1), where one does.

    A schedule of fewer than ten epochs skips steps; the last epoch is always step 10.
    """
    steps = {epoch: LADDER_STEPS * epoch // n_epochs for epoch in range(1, n_epochs + 1)}
    return {epoch: step for epoch, step in steps.items() if step > steps.get(epoch - 1, 0)}
