"""Checks of the search itself: whether validation could choose, and whether tuning helped."""

import math
from collections.abc import Sequence

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.analysis.compare import pair_finals
from ecgopt.analysis.gates import Gate
from ecgopt.analysis.interval import estimate_mean
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.scores import arm_scores
from ecgopt.analysis.verdict import Rules, decide_together
from ecgopt.evidence.records import Comparison
from ecgopt.training.metrics import PRIMARY

EDGE_SHARE = 0.03
"""Share of a range, on its own scale, that counts as its edge."""
MOST_OPTIMISM = 0.10
"""Macro AUROC that the winners' validation may promise more than their test gives, on average."""
BRIER_TOLERANCE = 0.05
"""Share of the trivial predictor's Brier score by which an arm may be worse: networks that rank
well are often overconfident, which a verdict on macro AUROC does not feel."""
NATURAL_ENDS = ("frozen_stages",)
"""Parameters whose ends cannot be widened: nothing frozen, and everything below the head."""
MOST_NAMED = 3
_RANKING = (PRIMARY, "macro_auprc", "brier")
"""Metrics without a threshold, which a predictor that knows nothing of the record should not win.
"""


def check_selection(
    arms: Sequence[Arm], readings: Readings, comparison: Comparison
) -> tuple[Gate, ...]:
    """Return the state of every gate about the search.

    Args:
        arms: Each once.
        readings: Of the final fits' predictions.
        comparison: With the ranges, the margin and the confidence.
    """
    return (
        _validation_can_tell(arms, readings),
        _optimism(arms),
        _not_worse_than_reference(arms, readings, comparison),
        _not_worse_than_trivial(arms, readings),
        _best_rate_inside(arms, comparison),
        _values_inside(arms, comparison),
    )


_Wrong = Sequence[tuple[Arm, str]]
"""Arms that a gate fails for, and what is wrong with each."""


def _gate(name: str, n_checked: int, wrong: _Wrong, finding: str, advice: str) -> Gate:
    if not n_checked:
        return Gate(name=name, state="not run", finding="nothing to judge yet")
    if wrong:
        more = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        named = "; ".join(f"{_label(arm)}{what}" for arm, what in wrong[:MOST_NAMED])
        finding += f"; not so: {named}{more}: {advice}"
    return Gate(
        name=name,
        state="failed" if wrong else "passed",
        finding=finding,
        arms=tuple(dict.fromkeys((arm.cell, arm.regime) for arm, _ in wrong)),
    )


def _label(arm: Arm) -> str:
    return f"{arm.regime}, {arm.cell.downstream}, {arm.network}, n = {arm.cell.n_train}"


def _validation_can_tell(arms: Sequence[Arm], readings: Readings) -> Gate:
    """Compare the spread of the trials' scores with the error that validation patients leave."""
    wrong: list[tuple[Arm, str]] = []
    ratios = []
    for arm in arms:
        errors = [
            error
            for final in arm.finals_by_pair("tuned").values()
            if (error := readings.validation_error(final)) is not None
        ]
        spreads = [
            float(np.std(scores, ddof=1))
            for study in arm.studies
            if len(
                scores := [
                    trial.value
                    for trial in study.trials
                    if trial.recipe == "tuned"
                    and trial.state == "complete"
                    and trial.value is not None
                ]
            )
            > 1
        ]
        if not errors or not spreads:
            continue
        error, spread = float(np.mean(errors)), float(np.mean(spreads))
        ratios.append(spread / error if error else math.inf)
        if spread < error:
            wrong.append((arm, f": trials spread by {spread:.3f}, error {error:.3f}"))
    least = min(ratios, default=math.nan)
    finding = f"trials spread by {least:.1f} errors of a validation score or more"
    return _gate(
        "validation can tell configurations apart",
        len(ratios),
        wrong,
        finding,
        "select by cross-validation (validation_folds), or label more records",
    )


def _optimism(arms: Sequence[Arm]) -> Gate:
    """Compare the winners' validation scores with what they score on the test."""
    wrong: list[tuple[Arm, str]] = []
    found = []
    for arm in arms:
        winners = arm.winners()
        differences = [
            value - final.metrics[PRIMARY]
            for (replicate, _), final in arm.finals_by_pair("tuned").items()
            if replicate in winners and (value := winners[replicate].value) is not None
        ]
        if not differences:
            continue
        found.append(float(np.mean(differences)))
        if found[-1] > MOST_OPTIMISM:
            wrong.append((arm, f": {found[-1]:+.3f}"))
    largest = max(found, default=math.nan)
    finding = f"validation minus test of the winners is {largest:+.3f} or less"
    return _gate(
        "validation does not promise far more than the test gives",
        len(found),
        wrong,
        finding,
        f"more than {MOST_OPTIMISM:g} says that the winner was chosen by luck",
    )


def _not_worse_than_reference(
    arms: Sequence[Arm], readings: Readings, comparison: Comparison
) -> Gate:
    """Compare each arm's winners with its own reference recipe, paired by replicate and seed."""
    compared = []
    for arm in arms:
        differences = pair_finals(arm, arm, readings.influence, role="tuned", against="published")
        if differences:
            compared.append((arm, differences))
    rules = Rules.of_one_look(margin=comparison.margin, confidence=comparison.confidence)
    verdicts = decide_together([estimate_mean(found) for _, found in compared], rules)
    wrong = [
        (arm, f": {interval.estimate:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]")
        for (arm, _), interval in zip(compared, (v.interval for v in verdicts), strict=True)
        if interval.estimate < -comparison.margin or interval.high < 0
    ]
    return _gate(
        "no tuned arm is worse than its own reference recipe",
        len(compared),
        wrong,
        f"{len(compared)} arms, tuned minus reference on the test",
        "the search chose badly, so differences between arms are differences of searches",
    )


def _not_worse_than_trivial(arms: Sequence[Arm], readings: Readings) -> Gate:
    wrong: list[tuple[Arm, str]] = []
    n_checked, metrics = 0, readings.metrics
    for arm in arms:
        scores = arm_scores(arm, readings)
        for name in dict.fromkeys((*_RANKING, arm.metric.name)) if scores else ():
            assert scores is not None
            if name not in scores.means or name not in scores.trivial:
                continue
            n_checked += 1
            allowed = BRIER_TOLERANCE * scores.trivial[name] if name == "brier" else 0.0
            gain = scores.means[name] - scores.trivial[name]
            if (gain if metrics[name].higher_is_better else -gain) < -allowed:
                wrong.append(
                    (
                        arm,
                        f": {metrics[name].title} {scores.means[name]:.3f}, trivial "
                        f"{scores.trivial[name]:.3f}",
                    )
                )
    return _gate(
        "no tuned arm is worse than a predictor that knows nothing of the record",
        n_checked,
        wrong,
        f"{n_checked} scores",
        "such an arm has learnt too little to be compared",
    )


def _best_rate_inside(arms: Sequence[Arm], comparison: Comparison) -> Gate:
    edges: list[tuple[Arm, str]] = []
    n_winners = 0
    for arm in arms:
        for replicate, place in _places(arm, comparison, "learning_rate").items():
            n_winners += 1
            if not EDGE_SHARE <= place <= 1 - EDGE_SHARE:
                end = "lower" if place < 0.5 else "upper"
                edges.append((arm, f", replicate {replicate}: at the {end} end"))
    return _gate(
        "the best learning rate is not on the edge of its range",
        n_winners,
        edges,
        f"{len(edges)} of {n_winners} winners on an edge",
        "widen the range",
    )


def _values_inside(arms: Sequence[Arm], comparison: Comparison) -> Gate:
    """Look for parameters whose winners gather at one end that could be moved; zero could not."""
    wrong: list[tuple[Arm, str]] = []
    n_checked = 0
    for arm in arms:
        names = {name for winner in arm.winners().values() for name in winner.parameters}
        for name in sorted(names - {"learning_rate", *NATURAL_ENDS}):
            places = list(_places(arm, comparison, name).values())
            if len(places) < 2:
                continue
            n_checked += 1
            span = _span(comparison, arm.regime, name)
            at_low = sum(place < EDGE_SHARE for place in places) if span and span[0] else 0
            at_high = sum(place > 1 - EDGE_SHARE for place in places)
            if max(at_low, at_high) * 3 > len(places) * 2:
                end = "lower" if at_low > at_high else "upper"
                wrong.append((arm, f": {name} at the {end} end of its range"))
    return _gate(
        "the best values of no other parameter gather at an end of its range",
        n_checked,
        wrong,
        f"{n_checked} parameters of arms with two winners or more",
        "widen the range",
    )


def _places(arm: Arm, comparison: Comparison, parameter: str) -> dict[int, float]:
    """Return where each replicate's winner lies within the range, from 0 to 1 on its own scale."""
    span = _span(comparison, arm.regime, parameter)
    found = {}
    for replicate, winner in arm.winners().items():
        value = winner.parameters.get(parameter)
        if span is None or isinstance(value, bool | str | None):
            continue
        low, high, is_log = span
        if is_log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        found[replicate] = (value - low) / (high - low)
    return found


def _span(comparison: Comparison, regime: str, parameter: str) -> tuple[float, float, bool] | None:
    span = comparison.ranges_of(regime).get(parameter)
    if span is None or span.get("low") is None or span["low"] >= span["high"]:
        return None
    return float(span["low"]), float(span["high"]), bool(span.get("log"))
