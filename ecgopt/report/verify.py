"""Re-deriving every number of a report from raw trials and predictions, without the database."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecgopt.analysis.arms import sort_into_arms
from ecgopt.analysis.bootstrap import bootstrap_macro_auroc
from ecgopt.analysis.conclude import Conclusions, conclude
from ecgopt.analysis.influence import align_influences, influence_of_patients
from ecgopt.errors import UserError
from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.evidence.bundle import Bundle, altered_files
from ecgopt.evidence.consistency import contradictions
from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import Evidence, FinalEvidence
from ecgopt.evidence.rescore import rescore, scores_of
from ecgopt.evidence.selection import choose_learning_rate, choose_winner
from ecgopt.report.results import results
from ecgopt.shapes import Float
from ecgopt.training.metrics import PRIMARY, Metric, chosen_metrics, decision_metric

EXACT = 1e-12
"""For numbers computed from the same stored values."""
STORED = 1e-6
"""For scores that were computed before the predictions were rounded to float32 for storage."""
MOST_PAIRS = 4
"""Pairs of final fits whose patients are left out one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One kind of number, re-derived."""

    name: str
    n_checked: int
    wrong: tuple[str, ...]
    """What differs, one line each."""
    largest: float = 0.0
    """Largest difference found."""


def verify_bundle(bundle: Bundle) -> tuple[Verified, ...]:
    """Return what was re-derived from `bundle`, and what differs from what it says."""
    altered = altered_files(bundle)
    files = Verified(
        name="files hash to what was recorded", n_checked=len(bundle.sums), wrong=tuple(altered)
    )
    if altered:
        return (files,)  # nothing further can be trusted
    concluded = conclude(bundle.evidence, bundle.root)
    return (
        files,
        *_contradictions(bundle),
        _winners(bundle.evidence),
        _beside(bundle.evidence),
        _scores(bundle),
        _results(bundle, concluded),
        _errors_without_one(bundle),
        _gates(concluded),
    )


def _contradictions(bundle: Bundle) -> Iterator[Verified]:
    n_checked = len(bundle.evidence.studies) + len(bundle.evidence.finals)
    for name, wrong in contradictions(bundle.evidence, bundle.root).items():
        yield Verified(name=name, n_checked=n_checked, wrong=tuple(wrong))


def _gates(concluded: Conclusions) -> Verified:
    gates = concluded.gates
    return Verified(
        name="no sanity gate fails",
        n_checked=len(gates),
        wrong=tuple(f"{gate.name}: {gate.finding}" for gate in gates if gate.state == "failed"),
    )


def _winners(evidence: Evidence) -> Verified:
    """Choose again what each final fit trained; the published recipe needs no choice."""
    studies = {study.study: study for study in evidence.studies}
    choose = {"tuned": choose_winner, "learning_rate": choose_learning_rate}
    wrong, n_checked = [], 0
    for final in evidence.finals:
        if final.role not in choose or final.study not in studies:
            continue
        n_checked += 1
        try:
            winner = choose[final.role](studies[final.study].trials)
        except UserError:
            wrong.append(f"{final.study}: a final fit, but no complete trial")
            continue
        if (final.trial_number, dict(final.parameters)) != (winner.number, dict(winner.parameters)):
            wrong.append(
                f"{final.study}: {final.role} final of trial {final.trial_number}, "
                f"winner {winner.number}"
            )
    return Verified(name="final fits are of the winners", n_checked=n_checked, wrong=tuple(wrong))


def _beside(evidence: Evidence) -> Verified:
    """Check that audits repeat pruned trials, and that a test curve ends at the test score."""
    wrong, n_checked = [], 0
    for study in evidence.studies:
        pruned = {trial.number: trial for trial in choose_for_audit(study.trials, None)}
        for audit in (trial for trial in study.trials if trial.recipe == "audit"):
            n_checked += 1
            repeated = pruned.get(int(audit.details["audit_of"]))
            if repeated is None or dict(repeated.parameters) != dict(audit.parameters):
                wrong.append(f"{study.study}: trial {audit.number} was audited, but not pruned so")
    for final in evidence.finals:
        if final.test_curve:
            n_checked += 1
            difference = abs(final.test_curve[-1] - final.metrics[PRIMARY])
            if not difference <= STORED:
                wrong.append(f"{final.study}: a test curve that does not end at the test score")
    return Verified(
        name="runs outside the budget are what they say", n_checked=n_checked, wrong=tuple(wrong)
    )


def _scores(bundle: Bundle) -> Verified:
    wrong, n_checked, largest = [], 0, 0.0
    metrics = chosen_metrics(bundle.evidence.comparison.metrics)
    for final in bundle.evidence.finals:
        for name, stored, found in rescore(final, bundle.root, metrics):
            n_checked += 1
            difference = abs(stored - found)
            if math.isnan(stored) and math.isnan(found):
                difference = 0.0
            largest = max(largest, difference)
            if not difference <= STORED:
                label = f"{final.study} {final.role} seed {final.seed_index}"
                wrong.append(f"{label}: {name} is {stored!r}, re-derived {found!r}")
    return Verified(
        name="test scores and thresholds follow from the predictions",
        n_checked=n_checked,
        wrong=tuple(wrong),
        largest=largest,
    )


def _results(bundle: Bundle, concluded: Conclusions) -> Verified:
    again = results(concluded)
    wrong, largest, n_checked = [], 0.0, 0
    for place, stored, found in _leaves(bundle.results, again, ""):
        n_checked += 1
        if isinstance(stored, float) and isinstance(found, float | int):
            largest = max(largest, abs(stored - found))
            if abs(stored - found) > EXACT * max(1.0, abs(stored)):
                wrong.append(f"{place}: is {stored!r}, re-derived {found!r}")
        elif stored != found:
            wrong.append(f"{place}: is {stored!r}, re-derived {found!r}")
    return Verified(
        name="results follow from trials, final fits and predictions",
        n_checked=n_checked,
        wrong=tuple(wrong),
        largest=largest,
    )


def _leaves(stored: Any, found: Any, place: str) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Yield every pair of values, also where one side lacks it (as None)."""
    if isinstance(stored, Mapping) and isinstance(found, Mapping):
        for name in dict.fromkeys([*stored, *found]):
            yield from _leaves(stored.get(name), found.get(name), f"{place}.{name}".lstrip("."))
    elif isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        for index, (ours, theirs) in enumerate(zip(stored, found, strict=True)):
            yield from _leaves(ours, theirs, f"{place}[{index}]")
    else:
        yield place, stored, found


def _errors_without_one(bundle: Bundle) -> Verified:
    """Check the patients' part of intervals by the jackknife: each patient left out once.

    It needs none of the formulas that it checks, and is larger by m / (m - 1) for a label that m
    patients carry, hence the wide tolerance; an error of the method would show as a factor.
    """
    wrong, n_checked = [], 0
    comparison = bundle.evidence.comparison
    metric = decision_metric(comparison.metric, comparison.metrics)
    for label, pair in _some_pairs(bundle.evidence):
        tests = [
            read_predictions(bundle.root / final.predictions, final.predictions_sha256)
            for final in pair
            if final.predictions
        ]
        if len(tests) < 2 or tests[0].patients != tests[1].patients:
            continue
        n_checked += 1
        expected, left_out = _two_errors(tests, pair, comparison.least_positives, metric)
        if not abs(expected - left_out) <= 0.25 * max(expected, left_out) + 1e-4:
            wrong.append(f"{label}: {expected:.5f} by influence, {left_out:.5f} by leaving out")
    return Verified(
        name="patient errors agree with leaving out each patient",
        n_checked=n_checked,
        wrong=tuple(wrong),
    )


def _two_errors(
    tests: Sequence[Predictions],
    pair: Sequence[FinalEvidence],
    least_positives: int,
    metric: Metric,
) -> tuple[float, float]:
    influences = [
        influence_of_patients(
            test, least_positives=least_positives, metric=metric, thresholds=final.thresholds
        )
        for test, final in zip(tests, pair, strict=True)
    ]
    _, rows = align_influences(influences)
    rare = {label for influence in influences for label in influence.left_out}
    kept = [label for label in range(tests[0].labels.shape[1]) if label not in rare]
    first, second = (
        _scores_without_each(test, final.thresholds, kept, metric)
        for test, final in zip(tests, pair, strict=True)
    )
    without = first - second
    spread = float(np.sqrt((len(without) - 1) * without.var()))
    return float(np.sqrt(((rows[0] - rows[1]) ** 2).sum())), spread


def _scores_without_each(
    test: Predictions, thresholds: Mapping[str, float], kept: Sequence[int], metric: Metric
) -> Float[np.ndarray, " patient"]:
    """Return the score without each patient in turn."""
    patients, owner = np.unique(np.array(test.patients), return_inverse=True)
    if metric.name == PRIMARY:
        labels, scores = test.labels[:, kept], test.scores[:, kept]
        blocks = np.array_split(np.arange(len(patients)), math.ceil(len(patients) / 256))
        return np.concatenate(
            [
                bootstrap_macro_auroc(labels, scores, (owner != some[:, None]).astype(np.int64))
                for some in blocks
            ]
        )
    found = []
    for patient in range(len(patients)):
        rows = owner != patient
        part = replace(
            test,
            labels=test.labels[rows][:, kept],
            scores=test.scores[rows][:, kept],
            classes=tuple(test.classes[label] for label in kept),
        )
        found.append(
            metric.oriented(scores_of(part, thresholds, {metric.name: metric})[metric.name])
        )
    return np.array(found)


def _some_pairs(evidence: Evidence) -> list[tuple[str, tuple[FinalEvidence, FinalEvidence]]]:
    found = []
    for cell, arms in sort_into_arms(evidence).items():
        reference, *others = arms.values()
        theirs = reference.finals_by_pair("tuned")
        for arm in others:
            ours = arm.finals_by_pair("tuned")
            common = [pair for pair in ours if pair in theirs][:1]
            found += [(str(cell), (ours[pair], theirs[pair])) for pair in common]
    return found[:MOST_PAIRS]
