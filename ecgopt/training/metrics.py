"""Scores of multi-label predictions, and the registry of those that a report shows.

They are in plain NumPy, so that workers need no scikit-learn. A label that the records cannot score
is left out of a mean and named, never counted as 0 or 0.5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ecgopt.errors import UserError, did_you_mean
from ecgopt.plugins import find, wrong_type
from ecgopt.shapes import Bool, Float, Int, ScoreMatrix, Shaped
from ecgopt.training.challenge import challenge_score, weights_for

Labels = Shaped[np.ndarray, "record label"]
"""True or 1 where the record carries the label, of any type of number."""

LabelScores = Float[np.ndarray, " label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MacroAuroc:
    """The unweighted mean of the labels' AUROCs, and what it was made of."""

    value: float
    """NaN if no label could be scored."""
    per_label: LabelScores
    """NaN for labels left out."""
    left_out: tuple[int, ...]
    """Positions of the labels that lack positives or negatives among the records."""


def macro_auroc(labels: Labels, scores: ScoreMatrix) -> MacroAuroc:
    """Return the area under the ROC curve of each label and their mean.

    Tied scores count one half, as in the Mann-Whitney statistic.

    Args:
        labels: which record carries which label.
        scores: anything that grows with the belief in a label.

    Raises:
        ValueError: shapes differ, or a score is not a number.
    """
    truth = _checked(labels, scores)
    per_label = np.array([_auroc(truth[:, k], scores[:, k]) for k in range(scores.shape[1])])
    value, left_out = _mean_of_scored(per_label)
    return MacroAuroc(value=value, per_label=per_label, left_out=left_out)


def comparable_pairs(labels: Labels) -> LabelScores:
    """Return each label's number of pairs of a positive and a negative record."""
    n_positives = labels.astype(bool).sum(axis=0)
    pairs: LabelScores = (n_positives * (len(labels) - n_positives)).astype(np.float64)
    return pairs


def auroc_within(parts: Sequence[MacroAuroc], pairs: Float[np.ndarray, "part label"]) -> MacroAuroc:
    """Return the AUROC over all pairs of a positive and a negative record within one part.

    It asks nothing of the scores of records in different parts, which different networks may have
    scored. A label is left out only if no part has both its positives and its negatives.

    Args:
        parts: The AUROCs of the parts.
        pairs: `comparable_pairs` of each of them.
    """
    per_part = np.nan_to_num(np.stack([part.per_label for part in parts]))
    total = pairs.sum(axis=0)
    per_label = np.where(total > 0, (per_part * pairs).sum(axis=0) / np.maximum(total, 1.0), np.nan)
    value, left_out = _mean_of_scored(per_label)
    return MacroAuroc(value=value, per_label=per_label, left_out=left_out)


def average_precision(labels: Labels, scores: ScoreMatrix) -> LabelScores:
    """Return each label's area under the precision-recall steps; NaN without positives."""
    truth = _checked(labels, scores)
    return np.array([_average_precision(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])


def f1_scores(labels: Labels, scores: ScoreMatrix, thresholds: LabelScores) -> LabelScores:
    """Return each label's F1 when scores at or above its threshold are read as positive.

    A label with neither positives nor predictions scores 0, as in scikit-learn.

    Args:
        labels: True where the record carries the label.
        scores: Probabilities, or anything that grows with them.
        thresholds: One per label.
    """
    truth = _checked(labels, scores)
    predicted = scores >= thresholds
    true_positives = (truth & predicted).sum(axis=0)
    errors = (truth ^ predicted).sum(axis=0)
    f1: LabelScores = 2 * true_positives / np.maximum(2 * true_positives + errors, 1)
    return f1


def best_thresholds(labels: Labels, scores: ScoreMatrix) -> LabelScores:
    """Return for each label the threshold with the highest F1 on these records (validation ones).

    The threshold is midway between neighbouring scores; of equally good ones the highest is
    taken. A label without positives gets infinity: it is never predicted.
    """
    truth = _checked(labels, scores)
    return np.array([_best_threshold(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])


def prevalence_weighted_f1(labels: Labels, scores: ScoreMatrix, threshold: float) -> float:
    """Return the mean F1 at one threshold, weighted by each label's share of all positives.

    The published study's metric (at 0.5), for continuity with it; NaN without any positive.

    Args:
        labels: True where the record carries the label.
        scores: Probabilities.
        threshold: The same for all labels.

    Source: arXiv:2402.02021.
    """
    truth = _checked(labels, scores)
    n_positives = truth.sum(axis=0)
    if not n_positives.any():
        return float("nan")
    f1 = f1_scores(truth, scores, np.full(truth.shape[1], threshold))
    return float((f1 * n_positives).sum() / n_positives.sum())


def brier_scores(labels: Labels, scores: ScoreMatrix) -> LabelScores:
    """Return each label's mean squared distance between probability and truth."""
    truth = _checked(labels, scores)
    squared: LabelScores = ((scores.astype(np.float64) - truth) ** 2).mean(axis=0)
    return squared


def calibration_errors(labels: Labels, scores: ScoreMatrix) -> LabelScores:
    """Return each label's expected calibration error, over ten groups of equally many records.

    That is the mean distance between the probabilities of a group and the share of its records that
    carry the label.

    Source: Naeini, Cooper & Hauskrecht 2015, AAAI, with groups of equal size.
    """
    truth = _checked(labels, scores)
    return np.array([_calibration_error(truth[:, k], scores[:, k]) for k in range(truth.shape[1])])


def reliability(
    truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Return the mean probability, the share of positives and the size of each of ten groups.

    Records are put into groups of equal size by their probability.
    """
    groups = equal_groups(scores)
    return (
        np.array([scores[part].mean() for part in groups]),
        np.array([truth[part].mean() for part in groups]),
        np.array([float(part.size) for part in groups]),
    )


def equal_groups(scores: Float[np.ndarray, " record"]) -> list[Int[np.ndarray, " member"]]:
    """Return the places of scores in ten groups of equal size, from low to high; none is empty."""
    order = np.argsort(scores, kind="stable")
    return [part for part in np.array_split(order, N_RELIABILITY_GROUPS) if part.size]


def macro(per_label: LabelScores) -> float:
    """Return the mean of the labels that have a score; NaN if none has."""
    return _mean_of_scored(per_label)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tested:
    """Predictions of sealed records, next to the truth."""

    classes: tuple[str, ...]
    labels: Bool[np.ndarray, "record label"]
    scores: ScoreMatrix
    thresholds: LabelScores | None
    """From validation; None where one of the labels has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One test score; evidence, tables and page read it from `chosen_metrics`."""

    name: str
    """Key in the evidence, in results.json and in tables."""
    title: str
    score: Callable[[Tested], float | None]
    """None where the metric does not apply to the labels."""
    trivial: Callable[[Bool[np.ndarray, "record label"]], float]
    """The best score of a predictor that answers the same for every record."""
    higher_is_better: bool = True
    needs_thresholds: bool = False
    joins_labels: bool = False
    """Whether it scores all labels of a record together, so that none can be left out."""
    can_decide: bool = True
    """Whether a verdict may rest on it."""

    @property
    def heading(self) -> str:
        """The title with what a reader must know about the numbers."""
        source = ", thresholds from validation" if self.needs_thresholds else ""
        return f"{self.title}{source}{'' if self.higher_is_better else ' (lower is better)'}"

    @property
    def oriented_title(self) -> str:
        """What `oriented` gives, in words."""
        return self.title if self.higher_is_better else f"negative {self.title}"

    def oriented(self, score: float) -> float:
        """Return a score of which higher is better: it is negative where lower is."""
        return score if self.higher_is_better else -score


N_RELIABILITY_GROUPS: Final = 10


def _calibration_error(
    truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> float:
    predicted, observed, sizes = reliability(truth, scores)
    return float(np.average(np.abs(predicted - observed), weights=sizes))


def _macro_f1(tested: Tested) -> float:
    assert tested.thresholds is not None
    f1 = f1_scores(tested.labels, tested.scores, tested.thresholds)
    return macro(np.where(tested.labels.any(axis=0), f1, np.nan))


def _challenge(tested: Tested) -> float | None:
    weights = weights_for(tested.classes)
    if weights is None:
        return None
    return challenge_score(tested.labels, tested.scores >= tested.thresholds, weights)


def _f1_of_naming_all(labels: Bool[np.ndarray, "record label"]) -> LabelScores:
    prevalence = labels.mean(axis=0)
    return np.where(prevalence > 0, 2 * prevalence / (1 + prevalence), np.nan)


def _trivial_weighted_f1(labels: Bool[np.ndarray, "record label"]) -> float:
    """Return the better of naming every label, and of naming the commonest label alone."""
    if not labels.any():
        return float("nan")
    prevalence = labels.mean(axis=0)
    parts = prevalence / prevalence.sum() * np.nan_to_num(_f1_of_naming_all(labels))
    return float(max(parts[prevalence.argmax()], parts.sum()))


def _mean_prevalence(labels: Bool[np.ndarray, "record label"]) -> float:
    return macro(np.where(labels.any(axis=0), labels.mean(axis=0), np.nan))


PRIMARY: Final = "macro_auroc"
"""The metric that chooses winners on validation, and by which verdicts are judged by default."""

METRICS: Final[dict[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric(
            name=PRIMARY,
            title="macro AUROC",
            score=lambda tested: macro_auroc(tested.labels, tested.scores).value,
            trivial=lambda _: 0.5,
        ),
        Metric(
            name="macro_auprc",
            title="macro AUPRC",
            score=lambda tested: macro(average_precision(tested.labels, tested.scores)),
            # Of random scores, over labels that occur.
            trivial=_mean_prevalence,
        ),
        Metric(
            name="macro_f1",
            title="macro F1",
            score=_macro_f1,
            trivial=lambda labels: macro(_f1_of_naming_all(labels)),
            needs_thresholds=True,
        ),
        Metric(
            name="weighted_f1_at_half",
            title="prevalence-weighted F1 at 0.5",
            score=lambda tested: prevalence_weighted_f1(tested.labels, tested.scores, 0.5),
            trivial=_trivial_weighted_f1,
        ),
        Metric(
            name="brier",
            title="Brier score",
            score=lambda tested: float(brier_scores(tested.labels, tested.scores).mean()),
            # Of giving each label its prevalence.
            trivial=lambda labels: float((labels.mean(axis=0) * (1 - labels.mean(axis=0))).mean()),
            higher_is_better=False,
        ),
        Metric(
            name="calibration_error",
            title="expected calibration error",
            score=lambda tested: float(calibration_errors(tested.labels, tested.scores).mean()),
            # Of giving each label its prevalence.
            trivial=lambda _: 0.0,
            higher_is_better=False,
            # A predictor that knows nothing of the record has none.
            can_decide=False,
        ),
        Metric(
            name="challenge",
            title="CinC 2020 challenge score",
            score=_challenge,
            # Of naming sinus rhythm in every record, by definition.
            trivial=lambda _: 0.0,
            needs_thresholds=True,
            joins_labels=True,
        ),
    )
}
"""The metrics by name, in the order in which they are shown."""


def chosen_metrics(more: Sequence[str] = ()) -> Mapping[str, Metric]:
    """Return the built-in metrics, and after them those from outside the package, by name.

    Args:
        more: `package.module:name` or names of entry points; each is a `Metric`.

    Raises:
        UserError: there is no such metric, or it has the name of another one.
    """
    chosen = dict(METRICS)
    for reference in more:
        found: object = find("metric", reference, METRICS)
        if not isinstance(found, Metric):
            raise wrong_type("metric", reference, "a Metric object", found)
        if found.name in chosen:
            raise UserError(
                f"the metric {reference!r} is called {found.name!r}, as another one is: give it a "
                "name of its own"
            )
        chosen[found.name] = found
    return chosen


def decision_metric(name: str, more: Sequence[str] = ()) -> Metric:
    """Return the metric that a verdict rests on.

    Args:
        name: Of a built-in metric or one of `more`.
        more: As in `chosen_metrics`.

    Raises:
        UserError: there is no such metric, or no verdict may rest on it.
    """
    known = chosen_metrics(more)
    if name not in known:
        raise UserError(f"the metric {name!r} is not known: {did_you_mean(name, known)}")
    if not known[name].can_decide:
        allowed = ", ".join(each.name for each in known.values() if each.can_decide)
        raise UserError(
            f"{name!r} cannot decide, because a predictor that knows nothing of the record has the "
            f"best of it: choose one of {allowed}"
        )
    return known[name]


def all_scores(tested: Tested, metrics: Mapping[str, Metric] = METRICS) -> dict[str, float]:
    """Return every metric that the predictions determine, by name."""
    found = {
        name: metric.score(tested)
        for name, metric in metrics.items()
        if tested.thresholds is not None or not metric.needs_thresholds
    }
    return {name: score for name, score in found.items() if score is not None}


def trivial_scores(
    labels: Bool[np.ndarray, "record label"], metrics: Mapping[str, Metric] = METRICS
) -> Mapping[str, float]:
    """Return for every metric what the best trivial predictor scores on these records."""
    return {name: metric.trivial(labels) for name, metric in metrics.items()}


def _checked(labels: Labels, scores: ScoreMatrix) -> Bool[np.ndarray, "record label"]:
    if labels.shape != scores.shape or labels.ndim != 2:
        raise ValueError(
            f"labels and scores must have one shape (record, label), but have {labels.shape} and "
            f"{scores.shape}"
        )
    if np.isnan(scores).any():
        raise ValueError("scores must be numbers, but some are NaN")
    return labels.astype(bool)


def _mean_of_scored(per_label: LabelScores) -> tuple[float, tuple[int, ...]]:
    is_scored = ~np.isnan(per_label)
    left_out = tuple(int(position) for position in np.flatnonzero(~is_scored))
    value = float(per_label[is_scored].mean()) if is_scored.any() else float("nan")
    return value, left_out


def _auroc(truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]) -> float:
    positives, negatives = scores[truth], np.sort(scores[~truth])
    if not (positives.size and negatives.size):
        return float("nan")
    # Positives in order make the two searches walk memory forwards.
    positives = np.sort(positives)
    below = np.searchsorted(negatives, positives, side="left").sum(dtype=np.int64)
    not_above = np.searchsorted(negatives, positives, side="right").sum(dtype=np.int64)
    return float(below + not_above) / (2 * positives.size * negatives.size)


def _average_precision(
    truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> float:
    if not truth.any():
        return float("nan")
    true_positives, n_predicted, _ = _operating_points(truth, scores)
    recall_gains = np.diff(true_positives, prepend=0) / true_positives[-1]
    return float((recall_gains * true_positives / n_predicted).sum())


def _best_threshold(
    truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> float:
    if not truth.any():
        return float("inf")
    true_positives, n_predicted, cuts = _operating_points(truth, scores)
    f1 = 2 * true_positives / (n_predicted + true_positives[-1])
    best = int(f1.argmax())
    lower = cuts[best + 1] if best + 1 < cuts.size else cuts[best]
    middle = float(lower + (cuts[best] - lower) / 2)
    # Between two neighbouring floats the middle may round down onto the lower one.
    return middle if middle > lower or best + 1 == cuts.size else float(cuts[best])


def _operating_points(
    truth: Bool[np.ndarray, " record"], scores: Float[np.ndarray, " record"]
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    """Return true positives and predictions at each distinct score, from the highest score down."""
    order = np.argsort(-scores, kind="stable")
    cuts = scores[order]
    is_last_of_ties = np.append(np.diff(cuts) != 0, True)
    true_positives = np.cumsum(truth[order], dtype=np.float64)[is_last_of_ties]
    n_predicted = (np.flatnonzero(is_last_of_ties) + 1).astype(np.float64)
    return true_positives, n_predicted, cuts[is_last_of_ties].astype(np.float64)
