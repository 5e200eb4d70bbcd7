"""The difference between two differences: between models, upstreams, recipes."""

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.interval import Estimate, Shared, estimate_mean, subtract


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
    intervals = [found.interval for found in (first, second) if found.interval is not None]
    runs = [each.pretraining_runs for each in intervals if each.pretraining_runs is not None]
    in_common = Shared(
        overlap=max(each.overlap for each in intervals), pretraining_runs=min(runs, default=None)
    )
    return estimate_mean(differences, shared_by_all=in_common)
