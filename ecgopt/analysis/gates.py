"""Checks that must hold before any number of a report is believed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from ecgopt.analysis.arms import Arm, Pair
from ecgopt.analysis.compare import InfluenceOf, pair_finals
from ecgopt.analysis.interval import PairedDifference, estimate_mean
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.spending import Look
from ecgopt.analysis.verdict import MIN_REPLICATES_TO_DECIDE, Decision, Rules, decide_together
from ecgopt.evidence.records import CellKey, Evidence, FinalEvidence, FinalRole, SanityCheck
from ecgopt.training.metrics import PRIMARY

State = Literal["passed", "failed", "not run"]

SHUFFLED_LEVEL = 0.001
"""Chance that any run on shuffled labels fails its gate although all is right."""
SHUFFLED_TOLERANCE = 0.05
"""Where no standard error is known."""
RERUN_TOLERANCE = 0.005
"""Between two devices or hosts, whose sums may round otherwise."""
FALSE_ALARMS = 0.001
"""Level at which seeds of one arm win against its other seeds, over all arms together."""
SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check."""

    name: str
    state: State
    finding: str
    arms: tuple[tuple[CellKey, str], ...] = ()
    """Cell and regime of the arms that it fails for; empty where it concerns all."""


def check_gates(evidence: Evidence, arms: Sequence[Arm], readings: Readings) -> tuple[Gate, ...]:
    """Return every gate's state.

    Args:
        evidence: Of the comparison, as it was stored.
        arms: All arms of all cells, one that several cells share once.
        readings: Of the final fits' predictions.
    """
    return (
        _all_present(arms, evidence),
        _shuffled_labels(evidence),
        _identical_arms(arms, evidence, readings.influence),
        _half_against_half(arms, evidence),
        _rerun(evidence),
        _equal_budget(arms, evidence),
        _scores_again(evidence.finals, readings),
        _enough_positives(evidence, readings),
        _opened_once(evidence),
    )


def _all_present(arms: Sequence[Arm], evidence: Evidence) -> Gate:
    """Compare planned with present replicates and seeds of every arm."""
    budget = evidence.comparison.budget
    roles: list[FinalRole] = ["tuned"]
    if any(final.role == "published" for final in evidence.finals):
        roles.append("published")
    missing: list[str] = []
    concerned: list[tuple[CellKey, str]] = []
    for arm in arms:
        n_replicates = evidence.comparison.replicates_of(arm.cell)
        planned = {(r, s) for r in range(n_replicates) for s in range(budget.final_seeds)}
        lacking_here = [
            f"{arm.regime}, {arm.cell.downstream}, {arm.network}, n = {arm.cell.n_train}: "
            f"{len(lacking)} of {len(planned)} {role} fits"
            for role in roles
            if (lacking := planned - arm.finals_by_pair(role).keys())
        ]
        missing += lacking_here
        concerned += [(arm.cell, arm.regime)] if lacking_here else []
    finding = f"{len(arms)} arms of {budget.replicates} replicates and {budget.final_seeds} seeds"
    if missing:
        finding += f"; missing: {'; '.join(missing[:3])}"
        finding += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return Gate(
        name="everything that was planned is there",
        state="failed" if missing else "passed",
        finding=finding,
        arms=tuple(concerned),
    )


def _shuffled_labels(evidence: Evidence) -> Gate:
    """Compare each run with 0.5, in units of its own sampling error where that is known."""
    name = "shuffled labels give 0.5"
    checks = [check for check in evidence.checks if check.name == "shuffled_labels"]
    n_runs = sum(len(check.values) for check in checks)
    runs = [(value, _allowed(check, n_runs)) for check in checks for value in check.values]
    if not runs:
        return Gate(name=name, state="not run", finding="no run on shuffled labels")
    worst, allowed = max(runs, key=lambda run: abs(run[0] - 0.5) / run[1])
    passed = abs(worst - 0.5) <= allowed
    return Gate(
        name=name,
        state="passed" if passed else "failed",
        finding=f"{len(runs)} runs, farthest from 0.5 on validation: {worst:.3f}, where chance "
        f"allows 0.5 ± {allowed:.3f}",
    )


def _allowed(check: SanityCheck, n_runs: int) -> float:
    """Return how far chance may go if all runs together keep `SHUFFLED_LEVEL` (Bonferroni)."""
    error = check.details.get("standard_error")
    n_errors = -NormalDist().inv_cdf(SHUFFLED_LEVEL / (2 * n_runs))
    return n_errors * float(error) if error else SHUFFLED_TOLERANCE


def _identical_arms(arms: Sequence[Arm], evidence: Evidence, influence_of: InfluenceOf) -> Gate:
    name = "an arm compared with itself gives exactly zero and never wins"
    differences = [
        pair_finals(arm, arm, influence_of, role="tuned")
        for arm in arms
        if arm.finals_by_pair("tuned")
    ]
    if not differences:
        return Gate(name=name, state="not run", finding="no final fits yet")
    verdicts = _decisions(differences, evidence)
    n_wrong = sum(verdict in (Decision.HIGHER, Decision.LOWER) for verdict in verdicts)
    return Gate(
        name=name,
        state="failed" if n_wrong else "passed",
        finding=f"{len(verdicts)} arms, {n_wrong} false wins",
    )


def _half_against_half(arms: Sequence[Arm], evidence: Evidence) -> Gate:
    """Compare even with odd seeds of the same winners: any win is false."""
    name = "seeds of one arm do not win against its other seeds"
    found = []
    for arm in arms:
        finals = arm.finals_by_pair("tuned")
        pairs = {
            (replicate, index // 2): (finals[replicate, index + 1], finals[replicate, index])
            for replicate, index in finals
            if index % 2 == 0 and (replicate, index + 1) in finals
        }
        if pairs:
            differences = {
                key: PairedDifference(
                    value=arm.score(second) - arm.score(first),
                    influence=None,
                )
                for key, (second, first) in pairs.items()
            }
            if len({replicate for replicate, _ in differences}) >= MIN_REPLICATES_TO_DECIDE:
                found.append(differences)
    if not found:
        return Gate(name=name, state="not run", finding="fewer than two replicates with two seeds")
    verdicts = _decisions(found, evidence)
    n_wrong = sum(verdict in (Decision.HIGHER, Decision.LOWER) for verdict in verdicts)
    return Gate(
        name=name,
        state="failed" if n_wrong else "passed",
        finding=f"{len(verdicts)} arms, {n_wrong} false wins",
    )


def _decisions(
    found: Sequence[Mapping[Pair, PairedDifference]], evidence: Evidence
) -> list[Decision]:
    comparison = evidence.comparison
    look = Look(replicates=0, level=FALSE_ALARMS, spent=FALSE_ALARMS)
    rules = Rules(margin=comparison.margin, confidence=comparison.confidence, look=look)
    return [each.decision for each in decide_together(list(map(estimate_mean, found)), rules)]


def _rerun(evidence: Evidence) -> Gate:
    """Demand equal bits on one host's CPU, and a small difference elsewhere."""
    name = "a repeated trial gives the same score"
    checks = [check for check in evidence.checks if check.name == "rerun"]
    if not checks:
        return Gate(name=name, state="not run", finding="no trial was repeated")
    # Not max minus min: those leave out a NaN, which a run that diverged stands for.
    differences = [abs(check.values[-1] - check.values[0]) for check in checks]
    wrong = [
        difference
        for check, difference in zip(checks, differences, strict=True)
        if not difference <= (0.0 if _is_repeatable(check) else RERUN_TOLERANCE)
    ]
    finding = f"{len(checks)} repeated, largest difference {max(differences):.2g}"
    if not all(map(_is_repeatable, checks)):
        finding += f" (up to {RERUN_TOLERANCE:g} is allowed on a GPU or another host)"
    return Gate(name=name, state="failed" if wrong else "passed", finding=finding)


def _is_repeatable(check: SanityCheck) -> bool:
    """Tell whether both runs were on the CPU of one host, where equal bits are promised."""
    devices, hosts = check.details.get("devices", []), check.details.get("hosts", [])
    return all(device == "cpu" for device in devices) and len(set(hosts)) <= 1


def _equal_budget(arms: Sequence[Arm], evidence: Evidence) -> Gate:
    name = "every study spent exactly its budget"
    budget = evidence.comparison.budget.trials
    spent = {
        study.study: sum(
            trial.recipe in ("tuned", "published")
            and trial.state in ("complete", "pruned", "failed")
            for trial in study.trials
        )
        for arm in arms
        for study in arm.studies
    }
    if not spent:
        return Gate(name=name, state="not run", finding="no study yet")
    wrong = {study: count for study, count in spent.items() if count != budget}
    finding = f"{len(spent) - len(wrong)} of {len(spent)} studies have {budget} trials"
    if wrong:
        finding += f"; not {', '.join(f'{study} ({n})' for study, n in list(wrong.items())[:3])}"
    return Gate(
        name=name,
        state="failed" if wrong else "passed",
        finding=finding,
        arms=tuple(
            (arm.cell, arm.regime)
            for arm in arms
            if any(study.study in wrong for study in arm.studies)
        ),
    )


def _scores_again(finals: Sequence[FinalEvidence], readings: Readings) -> Gate:
    name = "test scores follow from the stored predictions"
    differences = [
        abs(found.scores[name] - final.metrics[name])
        for final in finals
        if (found := readings(final)) is not None
        for name in {PRIMARY, readings.decided_by.name}
    ]
    if not differences:
        return Gate(name=name, state="not run", finding="no predictions were kept")
    return Gate(
        name=name,
        state="passed" if max(differences) <= SCORE_TOLERANCE else "failed",
        finding=f"{len(differences)} final fits, largest difference {max(differences):.1g}",
    )


def _enough_positives(evidence: Evidence, readings: Readings) -> Gate:
    """Name the labels left out, and say how many patients carry the rarest of the others."""
    name = "enough test patients carry each label"
    rare: dict[str, set[str]] = {}
    fewest = []
    for final in evidence.finals:
        if (found := readings(final)) is not None:
            rare.setdefault(final.downstream, set()).update(found.rare)
            fewest.append(found.influence.fewest)
    if not fewest:
        return Gate(name=name, state="not run", finding="no predictions were kept")
    least = evidence.comparison.least_positives
    finding = f"the rarest label of a mean has {min(fewest)} test patients"
    if named := [f"{test}: {', '.join(sorted(some))}" for test, some in rare.items() if some]:
        finding += f"; left out, with fewer than {least}: {'; '.join(named)}"
    return Gate(name=name, state="passed" if min(fewest) >= least else "failed", finding=finding)


def _opened_once(evidence: Evidence) -> Gate:
    name = "the sealed test was scored once per winner"
    scored = Counter(
        (opening.study, opening.role, opening.seed_index, opening.winner)
        for opening in evidence.openings
        if not opening.reused and not opening.is_interrupted
    )
    if not evidence.finals:
        return Gate(name=name, state="not run", finding="the test is still sealed")
    known = {(study, role, index) for study, role, index, _ in scored}
    unseen = [
        final
        for final in evidence.finals
        if (final.study, final.role, final.seed_index) not in known
    ]
    twice = [fit for fit, count in scored.items() if count > 1]
    n_reused = sum(opening.reused for opening in evidence.openings)
    n_interrupted = sum(opening.is_interrupted for opening in evidence.openings)
    finding = f"{sum(scored.values())} openings for {len(evidence.finals)} final fits"
    if n_interrupted:
        finding += f", {n_interrupted} broke off before a result was stored"
    if n_reused:
        finding += f", {n_reused} more returned the stored result"
    return Gate(name=name, state="failed" if unseen or twice else "passed", finding=finding)
