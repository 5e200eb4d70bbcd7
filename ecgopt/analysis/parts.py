"""Each arm against the reference in parts of the test: label by label, or group by group.

The rule is that of the verdict on the macro AUROC, at the level of the present look: run variances
are moderated over all parts, and Holm's correction covers all parts, arms and cells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ecgopt.analysis.arms import Arm, Pair, sort_into_arms
from ecgopt.analysis.compare import rules_of, shared
from ecgopt.analysis.influence import PatientInfluence, influence_of_patients
from ecgopt.analysis.interval import Estimate, Interval, PairedDifference, estimate_mean, subtract
from ecgopt.analysis.moderation import moderated_errors
from ecgopt.analysis.verdict import Decision, decide_together
from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import CellKey, Evidence, FinalEvidence

PredictionsOf = Callable[[FinalEvidence], Predictions | None]

Name = tuple[str, ...]
"""Of a part: a label, or what divides the patients and the group."""

Divide = Callable[[Predictions], Iterator[tuple[Name, Predictions]]]
"""Gives the parts of a test by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of the test of one cell, before any arm is compared on it."""

    cell: CellKey
    name: Name
    tested: Predictions
    """Of one final fit; records, patients and truth are those of all."""
    left_out: tuple[str, ...]
    """Labels that too few patients of the part carry, or lack."""

    @property
    def n_patients(self) -> int:
        """Patients of the part."""
        return len(set(self.tested.patients))

    @property
    def is_scored(self) -> bool:
        """Whether any label is left."""
        return len(self.left_out) < len(self.tested.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartComparison:
    """The macro AUROC of a part of the test: an arm minus the reference, in one cell."""

    part: Part
    reference: str
    regime: str
    scores: tuple[Interval, Interval]
    """Of the reference and of the arm."""
    interval: Interval
    p_difference: float
    """After Holm's correction over all parts, arms and cells."""
    decision: Decision

    @property
    def winner(self) -> str | None:
        """The arm that wins, by name; None where no arm does."""
        return self.decision.winner(self.reference, self.regime)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsOfTest:
    """All parts of the tests of a comparison."""

    comparisons: tuple[PartComparison, ...] = ()
    too_small: tuple[Part, ...] = ()
    """Parts without a label that enough patients carry and lack."""
    tests: Mapping[CellKey, Predictions]
    """One whole test of each cell that could be compared, whether it has any part or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Estimates:
    part: Part
    reference: str
    regime: str
    scores: tuple[Estimate, Estimate]
    difference: Estimate


def compare_parts(evidence: Evidence, predictions_of: PredictionsOf, divide: Divide) -> PartsOfTest:
    """Return every pair of arms with a verdict in each part of the test.

    Cells whose predictions were not all kept, or whose planned pairs are not all there, are left
    out.
    """
    comparison = evidence.comparison
    found: list[_Estimates] = []
    too_small: dict[tuple[CellKey, Name], Part] = {}
    tests: dict[CellKey, Predictions] = {}
    for cell, arms in sort_into_arms(evidence).items():
        read = _Fits(predictions_of, divide, max(comparison.least_positives, 2))
        n_planned = comparison.fits_of(cell)
        for reference, name in comparison.contrasts:
            pairs = _read_pairs(arms[reference], arms[name], n_planned, read)
            if pairs is None:
                continue
            tests.setdefault(cell, next(iter(pairs.values()))[0].whole)
            for part, scored in _scored_parts(cell, pairs):
                if part.is_scored:
                    found.append(_estimates(part, arms[reference], arms[name], scored, evidence))
                else:
                    too_small[cell, part.name] = part
    return PartsOfTest(
        comparisons=tuple(_decided(found, evidence)),
        too_small=tuple(too_small.values()),
        tests=tests,
    )


def _decided(found: Sequence[_Estimates], evidence: Evidence) -> Iterator[PartComparison]:
    if not found:
        return
    comparison = evidence.comparison
    verdicts = decide_together([each.difference for each in found], rules_of(comparison))
    intervals = _score_intervals(found, comparison.confidence)
    for each, verdict in zip(found, verdicts, strict=True):
        cell, name = each.part.cell, each.part.name
        yield PartComparison(
            part=each.part,
            reference=each.reference,
            regime=each.regime,
            scores=(
                intervals[each.reference, cell, name],
                intervals[each.regime, cell, name],
            ),
            interval=verdict.interval,
            p_difference=verdict.corrected.difference,
            decision=verdict.decision,
        )


def _score_intervals(
    found: Sequence[_Estimates], confidence: float
) -> dict[tuple[str, CellKey, Name], Interval]:
    """Return the interval of each arm's own score; the parts and cells of one arm share a prior."""
    by_arm: dict[str, dict[tuple[CellKey, Name], Estimate]] = {}
    for each in found:
        for regime, score in zip((each.reference, each.regime), each.scores, strict=True):
            by_arm.setdefault(regime, {})[each.part.cell, each.part.name] = score
    return {
        (regime, *place): Interval.of(scores[place], error, confidence)
        for regime, scores in by_arm.items()
        for place, error in zip(scores, moderated_errors([*scores.values()]), strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """The test of one final fit: the whole, and each part with its score."""

    whole: Predictions
    parts: Mapping[Name, tuple[Predictions, PatientInfluence]]


class _Fits:
    """The final fits of one cell, each read and divided once: all arms share the reference's."""

    def __init__(self, predictions_of: PredictionsOf, divide: Divide, least: int) -> None:
        self._predictions_of, self._divide, self._least = predictions_of, divide, least
        self._known: dict[tuple[str, Pair], _Fit | None] = {}

    def __call__(self, arm: Arm, pair: Pair, final: FinalEvidence) -> _Fit | None:
        """Return a fit; None where its predictions were not kept."""
        place = arm.regime, pair
        if place not in self._known:
            self._known[place] = self._read(final)
        return self._known[place]

    def _read(self, final: FinalEvidence) -> _Fit | None:
        whole = self._predictions_of(final)
        if whole is None:
            return None
        parts = {
            name: (part, influence_of_patients(part, least_positives=self._least))
            for name, part in self._divide(whole)
        }
        return _Fit(whole=whole, parts=parts)


def _read_pairs(
    reference: Arm, arm: Arm, n_planned: int, read: _Fits
) -> dict[Pair, tuple[_Fit, _Fit]] | None:
    """Return the planned fits of reference and arm; None where some or their files are missing."""
    theirs, ours = reference.finals_by_pair("tuned"), arm.finals_by_pair("tuned")
    common = [pair for pair in ours if pair in theirs]
    if not common or len(common) != n_planned:
        return None
    pairs = {}
    for pair in common:
        first, second = read(reference, pair, theirs[pair]), read(arm, pair, ours[pair])
        if first is None or second is None:
            return None
        pairs[pair] = first, second
    return pairs


_Scored = dict[Pair, tuple[PairedDifference, PairedDifference]]


def _scored_parts(
    cell: CellKey, pairs: Mapping[Pair, tuple[_Fit, _Fit]]
) -> list[tuple[Part, _Scored]]:
    """Return each part that every run has, and its scores in the runs of reference and arm."""
    parts: dict[Name, tuple[Part, _Scored]] = {}
    for pair, (of_reference, of_arm) in pairs.items():
        for name, (tested, first) in of_reference.parts.items():
            if name not in of_arm.parts:
                continue
            _, second = of_arm.parts[name]
            left_out = tuple(tested.classes[label] for label in first.left_out)
            part = Part(cell=cell, name=name, tested=tested, left_out=left_out)
            _, scored = parts.setdefault(name, (part, {}))
            scored[pair] = (
                PairedDifference(value=first.score, influence=first),
                PairedDifference(value=second.score, influence=second),
            )
    return [(part, scored) for part, scored in parts.values() if len(scored) == len(pairs)]


def _estimates(
    part: Part, reference: Arm, arm: Arm, scored: _Scored, evidence: Evidence
) -> _Estimates:
    comparison = evidence.comparison
    theirs, ours = (
        estimate_mean(
            {pair: both[side] for pair, both in scored.items()},
            shared_by_all=shared(comparison, of_arm),
        )
        for side, of_arm in enumerate((reference, arm))
    )
    difference = estimate_mean(
        {pair: subtract(ours, theirs) for pair, (theirs, ours) in scored.items()},
        shared_by_all=shared(comparison, reference, arm),
    )
    return _Estimates(
        part=part,
        reference=reference.regime,
        regime=arm.regime,
        scores=(theirs, ours),
        difference=difference,
    )
