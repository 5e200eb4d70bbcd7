"""Iterative stratification of groups: both sides get their share of every label."""

import numpy as np
from jaxtyping import Bool, Float64, Int


def stratified_share(
    group: Int[np.ndarray, " record"],
    labels: Bool[np.ndarray, "record label"],
    share: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " group"]:
    """Return True for the groups that go to the smaller side.

    The rarest label is dealt first, each of its groups to the side that lacks it most; groups
    without labels fill up the sizes. Both sides get at least one group.

    Source: Sechidis, Tsoumakas and Vlahavas 2011, "On the stratification of multi-label data",
        extended from records to groups of records (patients).

    Args:
        group: Number of each record's group, 0 to the number of groups - 1; at least two groups.
        labels: Labels of each record.
        share: Share of the records and of each label that goes to the smaller side.
        rng: Breaks ties and orders the groups.
    """
    n_groups = int(group.max()) + 1
    # The size of a group counts as one more label, the commonest, which every record carries.
    counts = np.zeros((n_groups, labels.shape[1] + 1))
    np.add.at(counts, group, np.column_stack([labels, np.ones(len(labels), dtype=np.bool_)]))
    wanted = np.stack([_wanted(counts, 1 - share), _wanted(counts, share)])
    side = np.full(n_groups, -1)
    order = rng.permutation(n_groups)
    while (undealt := order[side[order] < 0]).size:
        left = counts[undealt].sum(axis=0)
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        carriers = undealt[counts[undealt, label] > 0]
        # Large groups first: the small ones then level out what these upset.
        for index in carriers[np.argsort(-counts[carriers, label], kind="stable")]:
            chosen = _needier_side(wanted, label, rng)
            side[index] = chosen
            wanted[chosen] -= counts[index]
    _mend(side, counts)
    return np.asarray(side == 1)


def _wanted(
    counts: Float64[np.ndarray, "group label"], share: float
) -> Float64[np.ndarray, " label"]:
    """Return how much of each label a side wants: its share, at least one carrier if two exist."""
    total = counts.sum(axis=0)
    divisible = (counts > 0).sum(axis=0) >= 2
    at_least_one = np.clip(share * total, 1, np.maximum(total - 1, 1))
    return np.asarray(np.where(divisible, at_least_one, share * total))


def _needier_side(
    wanted: Float64[np.ndarray, "2 label"], label: int, rng: np.random.Generator
) -> int:
    for column in (label, -1):
        if wanted[0, column] != wanted[1, column]:
            return int(wanted[1, column] > wanted[0, column])
    return int(rng.integers(2))


def _mend(side: Int[np.ndarray, " group"], counts: Float64[np.ndarray, "group label"]) -> None:
    """Move groups so that no divisible label is missing on a side, where one move can do it."""
    for label in np.argsort((counts > 0).sum(axis=0)):
        carriers = np.flatnonzero(counts[:, label] > 0)
        if len(carriers) < 2 or len(set(side[carriers])) == 2:
            continue
        for index in carriers[np.argsort(counts[carriers, -1], kind="stable")]:
            others = (side == side[index]) & (np.arange(len(side)) != index)
            if (counts[others].sum(axis=0) >= np.minimum(counts[index], 1)).all():
                side[index] = 1 - side[index]
                break
