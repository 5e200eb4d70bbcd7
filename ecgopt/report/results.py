"""results.json: every number of the report, for programs and for `ecgopt verify`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ecgopt.analysis.arms import budget_trials, count_trials
from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import ArmConclusion, CellConclusion, Conclusions
from ecgopt.analysis.per_label import LabelComparison
from ecgopt.analysis.sizes import SizeLadder
from ecgopt.analysis.subgroups import SubgroupComparison
from ecgopt.evidence.records import FinalEvidence, StudyEvidence
from ecgopt.training.metrics import PRIMARY

FORMAT = 2
"""Grows when a key of results.json changes its meaning."""


def results(conclusions: Conclusions) -> dict[str, Any]:
    """Return the conclusions as plain JSON data; numbers that do not exist are null."""
    comparison = conclusions.evidence.comparison
    content: dict[str, Any] = _plain(
        {
            "format": FORMAT,
            "comparison": {
                "name": comparison.name,
                "question": comparison.question,
                "metric": comparison.metric,
                "winners_chosen_by": f"validation {PRIMARY}",
                "margin": comparison.margin,
                "confidence": comparison.confidence,
                "least_positives": comparison.least_positives,
                "looks": comparison.looks,
                "most_replicates": comparison.most_replicates,
                "replicates": comparison.replicates,
                "regimes": comparison.regimes,
                "pairs": comparison.pairs,
                **({"arms": comparison.arms} if comparison.arms else {}),
                "budget": comparison.budget,
                "space": comparison.space,
            },
            "cells": [_cell(cell) for cell in conclusions.cells],
            "pooled": conclusions.pooled,
            "ranking": conclusions.ranking,
            "size_ladders": [_ladder(ladder) for ladder in conclusions.ladders],
            "equal_scores": conclusions.equal_scores,
            "labels": [_label(found) for found in conclusions.labels],
            "subgroups": {
                "comparisons": [_subgroup(each) for each in conclusions.subgroups.comparisons],
                "left_out": conclusions.subgroups.left_out,
                "not_recorded": conclusions.subgroups.not_recorded,
            },
            "other_margins": [
                _other_margin(margin, found)
                for margin, every in conclusions.at_margins.items()
                for found in every
            ],
            "findings": conclusions.findings,
            "gates": conclusions.gates,
            "provenance": comparison.provenance,
        }
    )
    return content


def _cell(cell: CellConclusion) -> dict[str, Any]:
    return {
        "cell": cell.cell,
        "regimes": {regime: _arm(arm) for regime, arm in cell.arms.items()},
        "comparisons": [_comparison(found) for found in cell.comparisons],
        "published_comparisons": [_comparison(found) for found in cell.published],
        "budget_crossover": cell.crossovers,
        "break_even_targets": cell.break_even,
        "equal_spend": cell.equal_spend,
        "waterfall": cell.waterfalls,
        "score_against_cost": cell.trades,
    }


def _arm(arm: ArmConclusion) -> dict[str, Any]:
    response = arm.response
    return {
        "counts": arm.counts,
        "test_score": arm.test_score(),
        "test_score_published": arm.test_score("published"),
        "test_interval": {role: [each.low, each.high] for role, each in arm.intervals.items()},
        "scores": arm.scores,
        "calibration": [
            {
                "predicted": point.predicted,
                "observed": point.observed.estimate,
                "interval": [point.observed.low, point.observed.high],
            }
            for point in arm.calibration
        ],
        "replicates": [_replicate(arm, study) for study in arm.arm.studies],
        "budget_curve": arm.curve,
        "learning_rate": response
        and {
            "best": response.best_rate,
            "basin": response.basin,
            "basin_decades": response.basin_decades,
            "share_good": response.share_good,
        },
        "convergence": arm.convergence,
        "importance": arm.importance,
        "pruning": arm.pruning,
        "cost": arm.cost,
    }


def _replicate(arm: ArmConclusion, study: StudyEvidence) -> dict[str, Any]:
    winner = arm.winners.get(study.replicate)
    finals = [final for final in arm.arm.finals if final.replicate == study.replicate]
    return {
        "replicate": study.replicate,
        "study": study.study,
        "counts": count_trials(budget_trials(study.trials)),
        "winner": winner
        and {
            "trial": winner.number,
            "recipe": winner.recipe,
            "parameters": winner.parameters,
            "validation_macro_auroc": winner.value,
        },
        "finals": [_final(f) for f in sorted(finals, key=lambda f: (f.role, f.seed_index))],
    }


def _final(final: FinalEvidence) -> dict[str, Any]:
    return {
        "role": final.role,
        "seed_index": final.seed_index,
        "seed": final.seed,
        "trial": final.trial_number,
        "test_macro_auroc": final.metrics[PRIMARY],
        "metrics": final.metrics,
        "left_out_labels": final.left_out,
        "predictions_sha256": final.predictions_sha256,
    }


def _comparison(found: CellComparison) -> dict[str, Any]:
    interval = found.interval
    return {
        "regime": found.regime,
        "reference": found.reference,
        "role": found.role,
        "difference": interval and interval.estimate,
        "interval": interval and [interval.low, interval.high],
        "confidence": interval and interval.confidence,
        "standard_error": interval and interval.error.standard_error,
        "standard_deviations": interval and interval.variances,
        "n_replicates": found.n_replicates,
        "n_pairs": len(found.differences),
        "n_pairs_planned": found.n_planned,
        "overlap": interval and interval.overlap,
        "pretraining_runs": interval and interval.pretraining_runs,
        "degrees_of_freedom": interval and interval.error.freedom,
        "n_patients": interval and interval.error.n_patients,
        "share_won": found.share_won,
        "p_difference": found.judgement.tests and found.judgement.tests.difference,
        "p_difference_holm": found.judgement.corrected and found.judgement.corrected.difference,
        "p_equivalence": found.judgement.tests and found.judgement.tests.equivalence,
        "p_equivalence_holm": found.judgement.corrected and found.judgement.corrected.equivalence,
        "margin": found.margin,
        "level": found.judgement.level,
        "level_left": found.judgement.level_left,
        "decided_at": found.judgement.decided_at,
        "winner": found.winner,
        "verdict": found.verdict,
        "further_replicates": found.judgement.further_replicates,
        "caveats": found.judgement.caveats,
    }


def _label(found: LabelComparison) -> dict[str, Any]:
    interval = found.interval
    return {
        "cell": found.cell,
        "reference": found.reference,
        "regime": found.regime,
        "label": found.label,
        "n_positives": found.n_positives,
        "auroc_reference": found.scores[0],
        "auroc": found.scores[1],
        "difference": interval.estimate,
        "interval": [interval.low, interval.high],
        "p_difference_holm": found.p_difference,
        **_verdict(found),
    }


def _subgroup(found: SubgroupComparison) -> dict[str, Any]:
    reference, arm = found.scores
    return {
        "cell": found.cell,
        "reference": found.reference,
        "regime": found.regime,
        "by": found.by,
        "group": found.group,
        "n_patients": found.n_patients,
        "n_labels": found.n_labels,
        "left_out_labels": found.left_out,
        "macro_auroc_reference": reference.estimate,
        "interval_reference": [reference.low, reference.high],
        "macro_auroc": arm.estimate,
        "interval_arm": [arm.low, arm.high],
        "difference": found.interval.estimate,
        "interval": [found.interval.low, found.interval.high],
        "p_difference_holm": found.p_difference,
        **_verdict(found),
    }


def _verdict(found: LabelComparison | SubgroupComparison) -> dict[str, Any]:
    verdict = str(found.decision) if found.winner is None else f"{found.winner} wins"
    return {"winner": found.winner, "verdict": verdict}


def _other_margin(margin: float, found: CellComparison) -> dict[str, Any]:
    return {
        "margin": margin,
        "cell": found.cell,
        "reference": found.reference,
        "regime": found.regime,
        "verdict": found.verdict,
    }


def _ladder(ladder: SizeLadder) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(ladder) if field.name != "points"]
    return {"sizes": ladder.sizes, **{name: getattr(ladder, name) for name in names}}


def _plain(value: Any) -> Any:  # noqa: ANN401 - conclusions of any shape become JSON data
    """Return `value` with records as objects, arrays as lists, and no NaN or infinity."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
