"""Each arm against the reference, label by label."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.compare import rules_of, shared
from ecgopt.analysis.influence import influence_of_patients
from ecgopt.analysis.interval import Estimate, Interval, PairedDifference, estimate_mean, subtract
from ecgopt.analysis.verdict import Decision, decide_together
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import CellKey, Evidence, FinalEvidence

PredictionsOf = Callable[[FinalEvidence], Predictions | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelComparison:
    """The AUROC of one label: an arm minus the reference, in one cell."""

    cell: CellKey
    reference: str
    regime: str
    label: str
    n_positives: int
    """Test patients who carry the label."""
    scores: tuple[float, float]
    """Mean AUROC of the reference and of the arm."""
    interval: Interval
    p_difference: float
    """After Holm's correction over all labels, arms and cells."""
    decision: Decision

    @property
    def winner(self) -> str | None:
        """The arm that wins, by name; None where no arm does."""
        return {Decision.HIGHER: self.regime, Decision.LOWER: self.reference}.get(self.decision)


def compare_labels(evidence: Evidence, predictions_of: PredictionsOf) -> list[LabelComparison]:
    """Return every arm against the reference for each label that enough test patients carry.

    The rule is that of the verdict on the macro AUROC, at the level of the present look: run
    variances are moderated over all labels, and Holm's correction covers all labels, arms and
    cells. Cells whose predictions were not all kept, or whose planned pairs are not all there, are
    left out.
    """
    found: list[_LabelEstimate] = []
    reference, *others = evidence.comparison.regimes
    for cell, arms in sort_into_arms(evidence).items():
        n_planned = evidence.comparison.replicates_of(cell) * evidence.comparison.budget.final_seeds
        for name in others:
            pairs = _read_pairs(arms[reference], arms[name], predictions_of)
            if pairs is not None and len(pairs) == n_planned:
                found += _estimates(arms[reference], arms[name], pairs, evidence)
    if not found:
        return []
    verdicts = decide_together([each.estimate for each in found], rules_of(evidence.comparison))
    return [
        LabelComparison(
            cell=each.arm.cell,
            reference=reference,
            regime=each.arm.regime,
            label=each.label,
            n_positives=each.n_positives,
            scores=each.scores,
            interval=verdict.interval,
            p_difference=verdict.corrected.difference,
            decision=verdict.decision,
        )
        for each, verdict in zip(found, verdicts, strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LabelEstimate:
    arm: Arm
    label: str
    n_positives: int
    scores: tuple[float, float]
    estimate: Estimate


def _read_pairs(
    reference: Arm, arm: Arm, predictions_of: PredictionsOf
) -> dict[Pair, tuple[Predictions, Predictions]] | None:
    """Return the predictions of reference and arm; None where some were not kept."""
    theirs, ours = reference.finals_by_pair("tuned"), arm.finals_by_pair("tuned")
    pairs = {}
    for pair in ours:
        if pair not in theirs:
            continue
        first, second = predictions_of(theirs[pair]), predictions_of(ours[pair])
        if first is None or second is None:
            return None
        pairs[pair] = first, second
    return pairs


def _estimates(
    reference: Arm,
    arm: Arm,
    pairs: Mapping[Pair, tuple[Predictions, Predictions]],
    evidence: Evidence,
) -> list[_LabelEstimate]:
    least = max(evidence.comparison.least_positives, 2)
    (first, _), *_ = pairs.values()
    found = []
    for index, label in enumerate(first.classes):
        n_positives, n_others = _patients(first, index)
        if min(n_positives, n_others) < least:
            continue
        scored = {
            pair: [_of_label(each, index) for each in predictions]
            for pair, predictions in pairs.items()
        }
        differences = {pair: subtract(ours, theirs) for pair, (theirs, ours) in scored.items()}
        found.append(
            _LabelEstimate(
                arm=arm,
                label=label,
                n_positives=n_positives,
                scores=(_mean(scored, 0), _mean(scored, 1)),
                estimate=estimate_mean(
                    differences, shared_by_all=shared(evidence.comparison, reference, arm)
                ),
            )
        )
    return found


def _patients(predictions: Predictions, label: int) -> tuple[int, int]:
    """Return how many patients carry the label in a record, and how many lack it in one."""
    patients, truth = np.array(predictions.patients), predictions.labels[:, label]
    return len(np.unique(patients[truth])), len(np.unique(patients[~truth]))


def _of_label(predictions: Predictions, label: int) -> PairedDifference:
    influence = influence_of_patients(
        Predictions(
            labels=predictions.labels[:, [label]],
            scores=predictions.scores[:, [label]],
            records=predictions.records,
            patients=predictions.patients,
            classes=(predictions.classes[label],),
        )
    )
    return PairedDifference(value=influence.macro_auroc, influence=influence)


def _mean(scored: Mapping[Pair, Sequence[PairedDifference]], side: int) -> float:
    """Return the mean over replicates of the means over seeds."""
    by_replicate: dict[int, list[float]] = {}
    for (replicate, _), each in scored.items():
        by_replicate.setdefault(replicate, []).append(each[side].value)
    return float(np.mean([np.mean(values) for values in by_replicate.values()]))
