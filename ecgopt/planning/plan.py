"""What a comparison will take and what it can decide, before any compute is spent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.interval import Variances
from ecgopt.analysis.power import Design, chances, replicates_needed
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.spending import looks_so_far
from ecgopt.analysis.verdict import Rules
from ecgopt.errors import UserError
from ecgopt.evidence.records import Evidence
from ecgopt.jobs.job import StudyPayload, read
from ecgopt.jobs.rate import RateJob, learning_rates
from ecgopt.jobs.registry import DIAGNOSTICS, work_items
from ecgopt.regimes.hyperparameters import Range
from ecgopt.study_file.cells import (
    ALL_RECORDS,
    StudyKey,
    expand_cells,
    expand_studies,
    expected_pool,
    expected_size,
)
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What a difference varies by, and how well that is known."""

    variances: Variances
    n_patients: int
    """In the sealed test."""
    freedom: float = math.inf
    """Degrees of freedom between replicates; infinite where the spread is assumed."""


ASSUMED = Spread(
    variances=Variances(seeds=0.010, replicates=0.015, patients=0.006), n_patients=1_500
)
"""Spread of a difference of macro AUROC where no pilot says better: a few hundred training and
about two thousand test records."""
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
    wins_at_margin: float
    """Probability that a difference as large as the margin, and no larger, is called a win."""
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
    spread: Spread
    is_assumed: bool
    """Whether the spread is `ASSUMED`, for want of a pilot."""
    largest_overlap: float
    """Of the pool's records that a replicate draws, over all cells."""


def plan(
    spec: StudySpec,
    *,
    seconds_per_sample: Mapping[str, float],
    spread: Spread | None = None,
    difference: float | None = None,
) -> Plan:
    """Return what `spec` will take and can decide.

    Args:
        spec: The study file.
        seconds_per_sample: Training time per sample, by model label.
        spread: Of a pilot; None takes `ASSUMED`.
        difference: To be called a win; by default three times the margin.
    """
    studies = expand_studies(spec)
    cells = expand_cells(spec)
    known = spread or ASSUMED
    overlaps = [_overlap(spec, cell.downstream, cell.n_train) for cell in cells]
    design = Design(
        overlaps=overlaps * len(spec.contrasts()),
        n_seeds=spec.budget.final_seeds,
        n_patients=known.n_patients,
        variances=known.variances,
        freedom=known.freedom,
        pretraining_runs=min(map(spec.pretraining_runs, spec.upstreams), default=1),
    )
    rules = _rules(spec)
    wanted = difference if difference is not None else 3 * spec.verdict.margin
    return Plan(
        n_cells=len(cells),
        n_studies=len(studies),
        loads=loads(spec, studies, seconds_per_sample),
        power=_power(spec, design, rules, wanted),
        difference=wanted,
        replicates_to_win=replicates_needed(wanted, design, rules),
        replicates_for_equivalence=replicates_needed(0.0, design, rules),
        spread=known,
        is_assumed=spread is None,
        largest_overlap=max(overlaps),
    )


def _rules(spec: StudySpec) -> Rules:
    """Return the rules of the first look."""
    table = spec.verdict
    n_tests = len(expand_cells(spec)) * len(spec.contrasts())
    (look,) = looks_so_far(
        [spec.budget.replicates], table.most, alpha=1 - table.confidence, n_tests=n_tests
    )
    return Rules(margin=table.margin, confidence=table.confidence, look=look)


def loads(
    spec: StudySpec, studies: Sequence[StudyKey], seconds_per_sample: Mapping[str, float]
) -> tuple[Load, ...]:
    """Return the work of each model.

    Raises:
        UserError: the study takes all records of data about which nothing is published.
    """
    diagnostics = [
        (item.kind, read(StudyPayload, item.payload).study)
        for item in work_items(spec, studies, DIAGNOSTICS)
    ]
    found = []
    for model in spec.models:
        own = [study for study in studies if study.model == model]
        sources = {
            (study.upstream, study.pretraining_run) for study in own if study.upstream is not None
        }
        beside = [(kind, study) for kind, study in diagnostics if study.model == model]
        seeds = spec.budget.final_seeds * (2 if spec.published.final_fits else 1)
        n_own_rates = sum(bool(learning_rates(spec, study)) for study in own)
        found.append(
            Load(
                model=model.label,
                trials=len(own) * spec.budget.trials,
                final_fits=len(own) * seeds + n_own_rates * spec.budget.final_seeds,
                pretrainings=len(sources),
                diagnostics=len(beside),
                samples=sum(_samples(spec, study) for study in own)
                + sum(_diagnostic_samples(spec, *item) for item in beside),
                pretraining_samples=sum(_pretraining_samples(spec, name) for name, _ in sources),
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
    # With the network of all labelled records.
    per_final_epoch = per_epoch + expected_size(spec, study.downstream, study.n_train)
    return round(per_epoch * search + per_final_epoch * finals)


def _diagnostic_samples(spec: StudySpec, kind: str, study: StudyKey) -> int:
    is_rate = kind == RateJob.kind
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
    spec: StudySpec, design: Design, rules: Rules, difference: float
) -> tuple[PowerRow, ...]:
    return tuple(
        PowerRow(
            replicates=replicates,
            wins=chances(difference, design, rules, replicates).higher_wins,
            wins_at_margin=chances(rules.margin, design, rules, replicates).higher_wins,
            equivalent=chances(0.0, design, rules, replicates).equivalent,
        )
        for replicates in sorted({*REPLICATES_SHOWN, max(spec.budget.replicates, 2)})
    )


def _overlap(spec: StudySpec, downstream: str, n_train: int) -> float:
    """Return the share of the pool that a replicate draws; 0 where the pool's size is unknown."""
    try:
        n_pool = expected_pool(spec, downstream)
    except UserError:
        return 1.0 if n_train == ALL_RECORDS else 0.0
    return min(expected_size(spec, downstream, n_train) / n_pool, 1.0)


def measured_seconds(evidence: Evidence) -> dict[str, float]:
    """Return the measured training time per sample of each model that has trials."""
    seconds: dict[str, float] = {}
    samples: dict[str, int] = {}
    for study in evidence.studies:
        for trial in study.trials:
            seconds[study.model] = seconds.get(study.model, 0.0) + trial.seconds
            samples[study.model] = samples.get(study.model, 0) + trial.n_samples
    return {model: seconds[model] / count for model, count in samples.items() if count}


def measured_spread(
    evidence: Evidence, workspace: Path, *, metric: str | None = None
) -> Spread | None:
    """Return the spread of differences in a pilot, the mean over its cells.

    None where the pilot has no cell with two replicates or more.

    Args:
        evidence: Of the pilot.
        workspace: Folder that the paths of its predictions are relative to.
        metric: That the planned verdict rests on; that of the pilot by default.
    """
    if metric is not None:
        evidence = replace(evidence, comparison=replace(evidence.comparison, metric=metric))
    readings = Readings(workspace, evidence.comparison)
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
    return Spread(
        variances=Variances(seeds=seeds, replicates=replicates, patients=patients),
        n_patients=min(interval.error.n_patients for interval in intervals),
        freedom=sum(interval.n_replicates - 1 for interval in intervals),
    )


def _mean_square(deviations: Sequence[float | None]) -> float | None:
    known = [deviation for deviation in deviations if deviation is not None]
    return math.sqrt(sum(d**2 for d in known) / len(known)) if known else None
