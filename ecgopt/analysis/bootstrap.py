"""Bootstrap of macro AUROC over patients or records, exact and without a loop over replicates.

A resample is a row of counts: how often it drew each record. Per label the records are sorted
once; all replicates then share the sort, and only counts are summed. Sums of counts are whole
numbers below 2**24, so float32 holds them exactly.
"""

from collections.abc import Sequence

import numpy as np

from ecgopt.shapes import Bool, Float, Float32, Int, LabelMatrix, ScoreMatrix

Counts = Int[np.ndarray, "replicate record"]
MOST_RECORDS = 2**24
CACHE_BYTES = 2**22
"""Counts that are summed at once: larger blocks leave the processor's cache and halve the speed."""
LEAST_BLOCK = 64


def draw_counts(n_records: int, n_replicates: int, generator: np.random.Generator) -> Counts:
    """Return how often each of `n_records` was drawn in each resample of equal size."""
    drawn = generator.integers(0, n_records, size=(n_replicates, n_records))
    return count_draws(drawn, n_records)


def draw_patient_counts(
    patients: Sequence[str], n_replicates: int, generator: np.random.Generator
) -> Counts:
    """Return counts of records when whole patients are drawn with replacement.

    Resamples differ in their number of records, as a new sample of patients would.
    """
    unique, owner = np.unique(np.array(patients), return_inverse=True)
    return draw_counts(len(unique), n_replicates, generator)[:, owner]


def count_draws(drawn: Int[np.ndarray, "replicate record"], n_records: int) -> Counts:
    """Return the counts of resamples given as record positions, a row each."""
    offsets = np.arange(len(drawn))[:, None] * n_records
    flat = np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * n_records)
    return flat.reshape(len(drawn), n_records)


def bootstrap_macro_auroc(
    labels: LabelMatrix, scores: ScoreMatrix, counts: Counts
) -> Float[np.ndarray, " replicate"]:
    """Return the macro AUROC of each resample; labels that lose a class in it are left out of it.

    Args:
        labels: True where the record carries the label.
        scores: Anything that grows with the belief in a label; ties count one half.
        counts: How often each resample holds each record.
    """
    if counts.shape[1] >= MOST_RECORDS:
        raise ValueError(f"`n_records < {MOST_RECORDS}` must hold, but got {counts.shape[1]}")
    step = max(LEAST_BLOCK, CACHE_BYTES // (4 * counts.shape[1]))
    blocks = [counts[start : start + step] for start in range(0, max(len(counts), 1), step)]
    return np.concatenate([_bootstrap_block(labels, scores, block) for block in blocks])


def _bootstrap_block(
    labels: LabelMatrix, scores: ScoreMatrix, counts: Counts
) -> Float[np.ndarray, " replicate"]:
    by_record = np.ascontiguousarray(counts.T, dtype=np.float32)
    totals = by_record.sum(axis=0, dtype=np.float64)
    total = np.zeros(len(counts))
    n_scored = np.zeros(len(counts))
    for label in range(labels.shape[1]):
        auroc = _bootstrap_auroc(labels[:, label], scores[:, label], by_record, totals)
        is_scored = ~np.isnan(auroc)
        total[is_scored] += auroc[is_scored]
        n_scored += is_scored
    with np.errstate(invalid="ignore"):
        return np.asarray(total / n_scored)


def _bootstrap_auroc(
    is_positive: Bool[np.ndarray, " record"],
    scores: Float[np.ndarray, " record"],
    by_record: Float32[np.ndarray, "record replicate"],
    totals: Float[np.ndarray, " replicate"],
) -> Float[np.ndarray, " replicate"]:
    """Return one label's AUROC in each resample; NaN where it lacks a class."""
    positives, negatives = np.flatnonzero(is_positive), np.flatnonzero(~is_positive)
    n_replicates = by_record.shape[1]
    if not (len(positives) and len(negatives)):
        return np.full(n_replicates, np.nan)
    is_rare_positive = len(positives) <= len(negatives)
    rare, common = (positives, negatives) if is_rare_positive else (negatives, positives)
    common = common[np.argsort(scores[common], kind="stable")]
    left = np.searchsorted(scores[common], scores[rare], "left")
    right = np.searchsorted(scores[common], scores[rare], "right")
    cuts, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    below = _sums_below(by_record, common, cuts)
    rare_counts = by_record[rare]
    # Twice the pairs in which the common record scores below the rare one, a tie counting one.
    pairs = np.einsum("rb,rb->b", rare_counts, below[places[: len(rare)]], dtype=np.float64)
    pairs += np.einsum("rb,rb->b", rare_counts, below[places[len(rare) :]], dtype=np.float64)
    n_rare = rare_counts.sum(axis=0, dtype=np.float64)
    possible = n_rare * (totals - n_rare)
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = pairs / (2 * possible)
        return np.where(possible > 0, auroc if is_rare_positive else 1 - auroc, np.nan)


def _sums_below(
    by_record: Float32[np.ndarray, "record replicate"],
    ordered: Int[np.ndarray, " record"],
    cuts: Int[np.ndarray, " cut"],
) -> Float32[np.ndarray, "cut replicate"]:
    """Return, for each cut, the summed counts of the records in front of it."""
    sums = np.zeros((len(cuts), by_record.shape[1]), dtype=np.float32)
    if cuts[-1] > 0:
        counts = by_record[ordered[: cuts[-1]]]
        starts = cuts[:-1] if cuts[0] == 0 else np.concatenate([[0], cuts[:-1]])
        sums[len(cuts) - len(starts) :] = np.add.reduceat(counts, starts, axis=0)
        np.cumsum(sums, axis=0, out=sums)
    return sums
