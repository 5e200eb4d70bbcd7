"""Scores of yes-or-no predictions, and what predictors score that know nothing of the record."""

from dataclasses import dataclass

import numpy as np

from ecgopt.shapes import Bool, Float, LabelMatrix

LabelScores = Float[np.ndarray, " label"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassificationScores:
    """Scores per label; NaN where a denominator is zero."""

    precision: LabelScores
    recall: LabelScores
    specificity: LabelScores
    f1: LabelScores
    """Zero where a label is never right, also if it is never predicted."""


def score_predictions(
    labels: LabelMatrix, predicted: Bool[np.ndarray, "record label"]
) -> ClassificationScores:
    """Return precision, recall, specificity and F1 of each label."""
    hits = (labels & predicted).sum(axis=0)
    silent = (~labels & ~predicted).sum(axis=0)
    alarms = (~labels & predicted).sum(axis=0)
    misses = (labels & ~predicted).sum(axis=0)
    return ClassificationScores(
        precision=_share(hits, hits + alarms),
        recall=_share(hits, hits + misses),
        specificity=_share(silent, silent + alarms),
        f1=2 * hits / np.maximum(2 * hits + alarms + misses, 1),
    )


def _share(part: Float[np.ndarray, " label"], whole: Float[np.ndarray, " label"]) -> LabelScores:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrivialScores:
    """What a predictor scores that says the same about every record."""

    weighted_f1_top_class: float
    """Prevalence-weighted F1 of always and only naming the commonest label."""
    weighted_f1_all_on: float
    """Prevalence-weighted F1 of always naming every label."""
    macro_f1_all_on: float
    """Mean F1 of always naming every label, over labels that occur."""
    macro_auprc: float
    """Mean average precision of random scores: the mean prevalence of labels that occur."""
    brier_prevalence: float
    """Brier score of always giving each label its prevalence."""


def trivial_scores(labels: LabelMatrix) -> TrivialScores:
    """Return the scores of the trivial predictors on these records; NaN without any positive.

    F1 depends on how common a label is, so no F1 says anything without these beside it.
    """
    prevalence = labels.mean(axis=0)
    always_on = 2 * prevalence / (1 + prevalence)
    if not prevalence.any():
        return TrivialScores(
            weighted_f1_top_class=float("nan"),
            weighted_f1_all_on=float("nan"),
            macro_f1_all_on=float("nan"),
            macro_auprc=float("nan"),
            brier_prevalence=0.0,
        )
    weights = prevalence / prevalence.sum()
    top = int(prevalence.argmax())
    return TrivialScores(
        weighted_f1_top_class=float(weights[top] * always_on[top]),
        weighted_f1_all_on=float((weights * always_on).sum()),
        macro_f1_all_on=float(always_on[prevalence > 0].mean()),
        macro_auprc=float(prevalence[prevalence > 0].mean()),
        brier_prevalence=float((prevalence * (1 - prevalence)).mean()),
    )
