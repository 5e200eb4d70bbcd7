"""The difference between two differences: between models, upstreams, recipes."""

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.interval import Estimate, estimate_mean, subtract


def contrast(first: CellComparison, second: CellComparison) -> Estimate | None:
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
    overlaps = [found.interval.overlap for found in (first, second) if found.interval is not None]
    return estimate_mean(differences, overlap=max(overlaps))
