"""Every test score of an arm beside what trivial predictors get."""

from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.analysis.readings import Reading, Readings

TRIVIAL_OF = {
    "macro_auprc": "macro_auprc",
    "macro_f1": "macro_f1_all_on",
    "weighted_f1_at_half": "weighted_f1_all_on",
    "brier": "brier_prevalence",
}
"""Scores that depend on how common labels are, and the trivial score to print beside each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScores:
    """Mean test scores of an arm's winners over all final fits."""

    means: dict[str, float]
    trivial: dict[str, float]
    """By the same names; the trivial predictors know only how common the labels are."""
    left_out: tuple[str, ...]
    """Labels that the test set could not score."""
    n_records: int
    n_patients: int


def arm_scores(arm: Arm, readings: Readings) -> ArmScores | None:
    """Return the scores of the arm's tuned finals; None before any."""
    finals = list(arm.finals_by_pair("tuned").values())
    if not finals:
        return None
    read = [readings(final) for final in finals]
    known = [reading for reading in read if reading is not None]
    names = [name for name in finals[0].metrics if all(name in f.metrics for f in finals)]
    means = {name: float(np.mean([final.metrics[name] for final in finals])) for name in names}
    if "challenge" not in means:
        means |= _challenge(known, len(finals))
    return ArmScores(
        means=means,
        trivial=_trivial(known[0]) if known else {},
        left_out=tuple(dict.fromkeys(label for final in finals for label in final.left_out)),
        n_records=known[0].n_records if known else 0,
        n_patients=len(known[0].influence.patients) if known else 0,
    )


def _challenge(known: list[Reading], n_finals: int) -> dict[str, float]:
    scores = [reading.challenge for reading in known if reading.challenge is not None]
    return {"challenge": float(np.mean(scores))} if len(scores) == n_finals else {}


def _trivial(reading: Reading) -> dict[str, float]:
    trivial = {name: float(getattr(reading.trivial, of)) for name, of in TRIVIAL_OF.items()}
    best = max(reading.trivial.weighted_f1_all_on, reading.trivial.weighted_f1_top_class)
    return {**trivial, "weighted_f1_at_half": best, "macro_auroc": 0.5}
