"""results.json: every number of the report, for programs."""

import math
from typing import Any

from ecgopt.analysis.arms import count_trials
from ecgopt.analysis.compare import CellComparison
from ecgopt.analysis.conclude import ArmConclusion, CellConclusion, Conclusions
from ecgopt.analysis.cost import ArmCost, Cost
from ecgopt.analysis.evidence import FinalEvidence, StudyEvidence

FORMAT = 1
"""Grows when a key of results.json changes its meaning."""


def results(conclusions: Conclusions) -> dict[str, Any]:
    """Return the conclusions as plain JSON data; numbers that do not exist are null."""
    comparison = conclusions.evidence.comparison
    content = {
        "format": FORMAT,
        "comparison": {
            "name": comparison.name,
            "question": comparison.question,
            "margin": comparison.margin,
            "confidence": comparison.confidence,
            "regimes": list(comparison.regimes),
            "budget": {
                "trials": comparison.budget.trials,
                "final_seeds": comparison.budget.final_seeds,
                "replicates": comparison.budget.replicates,
            },
            "space": dict(comparison.space),
        },
        "cells": [_cell(cell) for cell in conclusions.cells],
        "provenance": dict(comparison.provenance),
    }
    finite: dict[str, Any] = _without_nan(content)
    return finite


def _cell(cell: CellConclusion) -> dict[str, Any]:
    return {
        "cell": {
            "upstream": cell.cell.upstream,
            "downstream": cell.cell.downstream,
            "model": cell.cell.model,
            "n_train": cell.cell.n_train,
        },
        "regimes": {regime: _arm(arm) for regime, arm in cell.arms.items()},
        "comparisons": [_comparison(found) for found in cell.comparisons],
        "published_comparisons": [_comparison(found) for found in cell.published],
        "budget_crossover": {
            regime: {"leader": crossover.leader, "since_trials": crossover.since_trials}
            for regime, crossover in cell.crossovers.items()
        },
        "break_even_targets": {
            regime: {"seconds": even.seconds, "epochs": even.epochs, "samples": even.samples}
            for regime, even in cell.break_even.items()
        },
    }


def _arm(arm: ArmConclusion) -> dict[str, Any]:
    counts = arm.counts
    return {
        "counts": {name: getattr(counts, name) for name in counts.__dataclass_fields__},
        "test_macro_auroc": arm.test_score(),
        "test_macro_auroc_published": arm.test_score("published"),
        "replicates": [_replicate(arm, study) for study in arm.arm.studies],
        "cost": _arm_cost(arm.cost),
    }


def _replicate(arm: ArmConclusion, study: StudyEvidence) -> dict[str, Any]:
    winner = arm.winners.get(study.replicate)
    counts = count_trials(trial for trial in study.trials if trial.recipe in ("tuned", "published"))
    finals = [final for final in arm.arm.finals if final.replicate == study.replicate]
    return {
        "replicate": study.replicate,
        "study": study.study,
        "counts": {name: getattr(counts, name) for name in counts.__dataclass_fields__},
        "winner": winner
        and {
            "trial": winner.number,
            "recipe": winner.recipe,
            "parameters": dict(winner.parameters),
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
        "test_macro_auroc": final.metrics["macro_auroc"],
        "metrics": dict(final.metrics),
        "left_out_labels": list(final.left_out),
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
        "standard_deviations": interval
        and {
            "seeds": interval.variances.seeds,
            "replicates": interval.variances.replicates,
            "patients": interval.variances.patients,
        },
        "n_replicates": found.n_replicates,
        "n_pairs": len(found.differences),
        "n_patients": interval and interval.error.n_patients,
        "share_won": found.share_won,
        "p_difference": found.tests and found.tests.difference,
        "p_difference_holm": found.corrected and found.corrected.difference,
        "p_equivalence": found.tests and found.tests.equivalence,
        "p_equivalence_holm": found.corrected and found.corrected.equivalence,
        "margin": found.margin,
        "verdict": found.verdict,
        "further_replicates": found.further_replicates,
        "caveats": list(found.caveats),
    }


def _arm_cost(cost: ArmCost) -> dict[str, Any]:
    return {
        "tuning": _cost(cost.tuning),
        "finals": _cost(cost.finals),
        "beside_budget": _cost(cost.beside_budget),
        "pretraining": _cost(cost.pretraining),
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {"seconds": cost.seconds, "epochs": cost.epochs, "samples": cost.samples}


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - JSON data of any shape
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return value
