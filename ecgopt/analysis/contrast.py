"""The difference between two differences: between models, upstreams, recipes."""

from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.influence import PatientInfluence, align_influences
from ecgopt.analysis.interval import Interval, PairedDifference, paired_interval


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


def subtract(first: PairedDifference, second: PairedDifference) -> PairedDifference:
    """Return `first` minus `second`, influences included where both are known."""
    value = first.value - second.value
    if first.influence is None or second.influence is None:
        return PairedDifference(value=value, influence=None)
    patients, (ours, theirs) = align_influences((first.influence, second.influence))
    influence = PatientInfluence(macro_auroc=value, patients=patients, values=ours - theirs)
    return PairedDifference(value=value, influence=influence)
