"""The difference between two differences: between models, upstreams, recipes."""

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.interval import Interval, paired_interval, subtract


def contrast(
    first: CellComparison, second: CellComparison, *, confidence: float
) -> Interval | None:
    """Return `first` minus `second` over the pairs that both have; None without any.

    Replicate r of both cells is one subset and split, so the runs are paired, and patients that
    both tests share count once.
    """
    common = first.differences.keys() & second.differences.keys()
    if not common:
        return None
    differences = {
        pair: subtract(first.differences[pair], second.differences[pair]) for pair in sorted(common)
    }
    return paired_interval(differences, confidence=confidence)
