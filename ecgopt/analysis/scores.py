"""Every test score of an arm beside what trivial predictors get."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecgopt.analysis.arms import Arm
from ecgopt.analysis.readings import Readings


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmScores:
    """Mean test scores of an arm's winners over all final fits."""

    means: dict[str, float]
    trivial: Mapping[str, float]
    """By the same names; the trivial predictors know only how common the labels are."""
    left_out: tuple[str, ...]
    """Labels that the test set could not score."""
    n_records: int
    n_patients: int
    positives: Mapping[str, int]
    """Test records that carry each label; empty where predictions were not kept."""


def arm_scores(arm: Arm, readings: Readings) -> ArmScores | None:
    """Return the scores of the arm's tuned finals; None before any."""
    finals = list(arm.finals_by_pair("tuned").values())
    if not finals:
        return None
    read = [readings(final) for final in finals]
    known = [reading for reading in read if reading is not None]
    # Finals of an older version lack a newer metric: it follows from their predictions.
    found = [
        {**(reading.scores if reading else {}), **final.metrics}
        for reading, final in zip(read, finals, strict=True)
    ]
    names = [name for name in readings.metrics if all(name in scores for scores in found)]
    means = {name: float(np.mean([scores[name] for scores in found])) for name in names}
    return ArmScores(
        means=means,
        trivial=known[0].trivial if known else {},
        left_out=tuple(dict.fromkeys(label for final in finals for label in final.left_out)),
        n_records=known[0].n_records if known else 0,
        n_patients=len(known[0].influence.patients) if known else 0,
        positives=known[0].positives if known else {},
    )
