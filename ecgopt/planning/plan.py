"""What a comparison will take and what it can decide, before any compute is spent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.interval import Variances
from ecgopt.analysis.power import (
    Rules,
    chance_to_exclude_zero,
    chances,
    planned_error,
    replicates_needed,
)
from ecgopt.analysis.readings import Readings
from ecgopt.evidence.records import Evidence
from ecgopt.jobs.diagnostic_items import diagnostic_items, learning_rates
from ecgopt.queue.items import NewItem
from ecgopt.regimes.hyperparameters import Range
from ecgopt.study_file.cells import StudyKey, expand_cells, expand_studies, study_key
from ecgopt.study_file.pool_size import expected_pool, expected_size
from ecgopt.study_file.spec import StudySpec

ASSUMED = Variances(seeds=0.010, replicates=0.015, patients=0.006)
"""Spread of a difference of macro AUROC where no pilot says better: a few hundred training and
about two thousand test records."""
ASSUMED_PATIENTS = 1_500
REPLICATES_SHOWN = (2, 3, 5, 8, 12, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The work of one model."""

    model: str
    trials: int
    final_fits: int
    pretrainings: int
    diagnostics: int
    """Audits, learning rates and sanity checks, beside the budget."""
    samples: int
    """Training samples of all but pre-trainings if nothing is pruned, at mean epochs."""
    pretraining_samples: int
    seconds_per_sample: float

    @property
    def hours(self) -> float:
        """On one worker, without pruning and without pre-training."""
        return self.samples * self.seconds_per_sample / 3600

    @property
    def pretraining_hours(self) -> float:
        """On one worker."""
        return self.pretraining_samples * self.seconds_per_sample / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What one number of replicates can decide in one cell."""

    replicates: int
    wins: float
    """Probability that the planned difference is called a win."""
    sees_margin: float
    """Probability that the interval excludes zero when the truth is the margin."""
    equivalent: float
    """Probability that no difference is called equivalent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Cells, work and power of a comparison."""

    n_cells: int
    n_studies: int
    loads: tuple[Load, ...]
    power: tuple[PowerRow, ...]
    difference: float
    replicates_to_win: int | None
    replicates_for_equivalence: int | None
    variances: Variances
    is_assumed: bool
    """Whether the variances are `ASSUMED`, for want of a pilot."""
    n_patients: int


def plan(
    spec: StudySpec,
    *,
    seconds_per_sample: Mapping[str, float],
    variances: Variances | None = None,
    n_patients: int = ASSUMED_PATIENTS,
    difference: float | None = None,
) -> Plan:
    """Return what `spec` will take and can decide.

    Args:
        spec: The study file.
        seconds_per_sample: Training time per sample, by model label.
        variances: Of a pilot; None takes `ASSUMED`.
        n_patients: In the sealed test.
        difference: To be called a win; by default three times the margin.
    """
    studies = expand_studies(spec)
    rules = Rules(
        margin=spec.verdict.margin,
        confidence=spec.verdict.confidence,
        n_verdicts=len(expand_cells(spec)) * (len(spec.regimes) - 1),
    )
    known = variances or ASSUMED
    wanted = difference if difference is not None else 3 * spec.verdict.margin
    seeds = spec.budget.final_seeds
    return Plan(
        n_cells=len(expand_cells(spec)),
        n_studies=len(studies),
        loads=loads(spec, studies, seconds_per_sample),
        power=_power(spec, known, rules, wanted, n_patients=n_patients),
        difference=wanted,
        replicates_to_win=replicates_needed(
            wanted, known, rules, n_seeds=seeds, n_patients=n_patients
        ),
        replicates_for_equivalence=replicates_needed(
            0.0, known, rules, n_seeds=seeds, n_patients=n_patients
        ),
        variances=known,
        is_assumed=variances is None,
        n_patients=n_patients,
    )


def loads(
    spec: StudySpec, studies: Sequence[StudyKey], seconds_per_sample: Mapping[str, float]
) -> tuple[Load, ...]:
    """Return the work of each model.

    Raises:
        UserError: the study takes all records of data about which nothing is published.
    """
    diagnostics = list(diagnostic_items(spec, studies))
    found = []
    for model in spec.models:
        own = [study for study in studies if study.model == model]
        upstreams = {study.upstream for study in own if study.upstream is not None}
        beside = [
            item for item in diagnostics if item.payload["study"]["model"] == model.model_dump()
        ]
        seeds = spec.budget.final_seeds * (2 if spec.published.final_fits else 1)
        n_own_rates = sum(bool(learning_rates(spec, study)) for study in own)
        found.append(
            Load(
                model=model.label,
                trials=len(own) * spec.budget.trials,
                final_fits=len(own) * seeds + n_own_rates * spec.budget.final_seeds,
                pretrainings=len(upstreams),
                diagnostics=len(beside),
                samples=sum(_samples(spec, study) for study in own)
                + sum(_diagnostic_samples(spec, item) for item in beside),
                pretraining_samples=sum(_pretraining_samples(spec, name) for name in upstreams),
                seconds_per_sample=seconds_per_sample[model.label],
            )
        )
    return tuple(found)


def _samples(spec: StudySpec, study: StudyKey) -> int:
    """Return the training samples of one study with its final fits, if nothing is pruned."""
    tuned, published = mean_epochs(spec, study.regime), spec.published.epochs
    seeds = spec.budget.final_seeds
    search = (spec.budget.trials - 1) * tuned + published
    finals = seeds * tuned
    if spec.published.final_fits:
        finals += seeds * published
    if learning_rates(spec, study):
        finals += seeds * published
    per_epoch = _per_epoch(spec, study)
    per_final_epoch = per_epoch
    if spec.validation_folds > 1:  # with the network of all labelled records
        per_final_epoch += expected_size(spec, study.downstream, study.n_train)
    return round(per_epoch * search + per_final_epoch * finals)


def _diagnostic_samples(spec: StudySpec, item: NewItem) -> int:
    study = study_key(item.payload)
    is_rate = item.kind == "rate"
    epochs = spec.published.epochs if is_rate else mean_epochs(spec, study.regime)
    return round(_per_epoch(spec, study) * epochs)


def _per_epoch(spec: StudySpec, study: StudyKey) -> int:
    n_records = expected_size(spec, study.downstream, study.n_train)
    if spec.validation_folds > 1:
        return n_records * (spec.validation_folds - 1)
    return max(1, round(n_records * (1 - spec.validation_share)))


def _pretraining_samples(spec: StudySpec, upstream: str) -> int:
    section, part = spec.upstream.get(upstream), spec.upstream_data(upstream)
    if part is None or (section is not None and section.checkpoint is not None):
        return 0
    fixed = float(spec.pretrain.recipe().n_epochs)
    epochs = fixed
    if (tuning := spec.pretrain.tuning) is not None:
        span = tuning.search_space().numeric("epochs")
        epochs += (tuning.trials - 1) * (_mean_of(span) if span else fixed)
    return round(expected_pool(spec, part) * (1.0 - spec.pretrain.validation_share) * epochs)


def mean_epochs(spec: StudySpec, regime: str) -> float:
    """Return the mean of the tuned number of epochs, or the fixed one."""
    span = spec.search_space(regime).numeric("epochs")
    if span is None:
        return float(spec.recipe.recipe().n_epochs)
    return _mean_of(span)


def _mean_of(span: Range) -> float:
    if span.log and span.high > span.low:
        return (span.high - span.low) / math.log(span.high / span.low)
    return (span.low + span.high) / 2


def _power(
    spec: StudySpec, variances: Variances, rules: Rules, difference: float, *, n_patients: int
) -> tuple[PowerRow, ...]:
    rows = []
    for replicates in sorted({*REPLICATES_SHOWN, max(spec.budget.replicates, 2)}):
        error = planned_error(
            variances,
            n_replicates=replicates,
            n_seeds=spec.budget.final_seeds,
            n_patients=n_patients,
        )
        rows.append(
            PowerRow(
                replicates=replicates,
                wins=chances(difference, error, rules).higher_wins,
                sees_margin=chance_to_exclude_zero(rules.margin, error, rules.cell_confidence),
                equivalent=chances(0.0, error, rules).equivalent,
            )
        )
    return tuple(rows)


def measured_seconds(evidence: Evidence) -> dict[str, float]:
    """Return the measured training time per sample of each model that has trials."""
    seconds: dict[str, float] = {}
    samples: dict[str, int] = {}
    for study in evidence.studies:
        for trial in study.trials:
            seconds[study.model] = seconds.get(study.model, 0.0) + trial.seconds
            samples[study.model] = samples.get(study.model, 0) + trial.n_samples
    return {model: seconds[model] / count for model, count in samples.items() if count}


def measured_variances(evidence: Evidence, workspace: Path) -> tuple[Variances, int] | None:
    """Return the spread of differences in a pilot, the mean over its cells, and its test patients.

    None where the pilot has no cell with two replicates or more.
    """
    readings = Readings(workspace, evidence.comparison.least_positives)
    evidence = readings.without_rare_labels(evidence)
    intervals = [
        found.interval
        for found in compare_cells(evidence, readings.influence)
        if found.interval is not None and found.n_replicates > 1
    ]
    if not intervals:
        return None
    seeds, replicates, patients = (
        _mean_square([getattr(interval.variances, part) for interval in intervals])
        for part in ("seeds", "replicates", "patients")
    )
    if replicates is None:  # one seed each: the spread between replicates holds that of seeds
        replicates = _mean_square([math.sqrt(i.error.run_variance) for i in intervals])
    n_patients = min(interval.error.n_patients for interval in intervals)
    return Variances(seeds=seeds, replicates=replicates, patients=patients), n_patients


def _mean_square(deviations: Sequence[float | None]) -> float | None:
    known = [deviation for deviation in deviations if deviation is not None]
    return math.sqrt(sum(d**2 for d in known) / len(known)) if known else None
