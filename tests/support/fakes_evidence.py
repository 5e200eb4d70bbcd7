"""Invented evidence for tests of analysis and reports: no training, honest shapes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecgopt.causes import Cause
from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.evidence.predictions import Predictions, read_predictions, write_predictions
from ecgopt.evidence.records import (
    Budget,
    CellKey,
    Comparison,
    Evidence,
    FinalEvidence,
    Opening,
    PretrainEvidence,
    SanityCheck,
    StudyEvidence,
    TrialEvidence,
)
from ecgopt.evidence.rescore import scores_of
from ecgopt.evidence.selection import choose_learning_rate, choose_winner
from ecgopt.seeds import generator_for, seed_for
from ecgopt.training.metrics import best_thresholds, macro_auroc

SOFTWARE = "ecgopt 0.1, commit 0, torch 2.0, optuna 5.0"
CLASSES = ("NORM", "MI", "STTC", "CD")
PUBLISHED = {"learning_rate": 0.01, "epochs": 30, "frozen_stages": 0}
WITH_UPSTREAM = ("fine_tune", "linear_probe", "svm_probe", "lp_ft", "layer_decay", "moment_matched")


@dataclass(frozen=True, kw_only=True)
class World:
    """What is true in an invented comparison."""

    name: str = "invented"
    upstreams: tuple[str, ...] = ("georgia",)
    downstreams: tuple[str, ...] = ("ptbxl",)
    models: tuple[str, ...] = ("resnet1d18",)
    train_sizes: tuple[int, ...] = (200,)
    gain: float = 0.5
    """Shift of fine-tuned scores of positives, in standard deviations, at the smallest size."""
    replicates: int = 3
    final_seeds: int = 2
    trials: int = 12
    n_patients: int = 150
    run_spread: float = 0.1
    seed: int = 0
    regimes: tuple[str, ...] = ("scratch", "fine_tune")
    beside: bool = False
    """Whether audits and learning rates were run beside the budget."""
    has_subgroups: bool = False
    """Whether test predictions hold sex and age groups."""

    @property
    def cells(self) -> tuple[CellKey, ...]:
        return tuple(
            CellKey(upstream=upstream, downstream=downstream, model=model, n_train=n_train)
            for upstream in self.upstreams
            for downstream in self.downstreams
            for model in self.models
            for n_train in self.train_sizes
        )


def invent(world: World, workspace: Path) -> Evidence:
    """Return evidence of `world` and write its predictions under `workspace`."""
    places = dict.fromkeys(
        (regime, cell.upstream if regime in WITH_UPSTREAM else None, cell)
        for cell in world.cells
        for regime in world.regimes
    )
    unique = {}
    for regime, upstream, cell in places:
        for replicate in range(world.replicates):
            key = (regime, upstream, cell.downstream, cell.model, cell.n_train, replicate)
            unique[key] = cell
    studies, finals, openings = [], [], []
    for regime, upstream, downstream, model, n_train, replicate in unique:
        place = dict(
            study=f"{world.name}/{downstream}/{model}/n{n_train}/r{replicate}/{regime}"
            + (f"/from-{upstream}" if upstream else ""),
            regime=regime,
            upstream=upstream,
            downstream=downstream,
            model=model,
            n_train=n_train,
            replicate=replicate,
        )
        study = StudyEvidence(
            **place,
            trials=invent_trials(world, place["study"], regime),
            split={"train": n_train * 3 // 4, "validation": n_train // 4, "test": world.n_patients},
        )
        studies.append(study)
        for role in ("tuned", "published", *(("learning_rate",) if world.beside else ())):
            for seed_index in range(world.final_seeds):
                final = invent_final(world, study, role, seed_index, workspace)
                finals.append(final)
                openings.append(
                    Opening(
                        study=study.study,
                        role=role,
                        seed_index=seed_index,
                        opened_at="2026-01-02T03:04:05+00:00",
                        worker="host-1",
                    )
                )
    return Evidence(
        comparison=Comparison(
            name=world.name,
            question="Does transfer learning beat training from scratch once each is tuned fairly?",
            margin=0.01,
            confidence=0.95,
            regimes=world.regimes,
            budget=Budget(
                trials=world.trials, final_seeds=world.final_seeds, replicates=world.replicates
            ),
            cells=world.cells,
            spec={
                "name": world.name,
                "seed": world.seed,
                "regimes": list(world.regimes),
                "verdict": {
                    "margin": 0.01,
                    "confidence": 0.95,
                    "least_positives": 5,
                    "metric": "macro_auroc",
                },
                "budget": {
                    "trials": world.trials,
                    "final_seeds": world.final_seeds,
                    "replicates": world.replicates,
                },
            },
            space={
                "shared": {
                    "learning_rate": {"low": 1e-5, "high": 0.1, "log": True},
                    "epochs": {"low": 3, "high": 40, "log": False},
                },
                "fine_tune": {"frozen_stages": {"low": 0, "high": 5, "log": False}},
                "fingerprint": "0123456789abcdef",
            },
            provenance={"ecgopt": "0.1.0", "commit": "abc1234", "devices": ["cpu"]},
        ),
        studies=tuple(studies),
        finals=tuple(finals),
        openings=tuple(openings),
        pretrainings=tuple(
            PretrainEvidence(
                key=f"{upstream}-{model}",
                upstream=upstream,
                model=model,
                n_epochs=20,
                seconds=400.0,
                n_samples=20 * 4000,
                validation_macro_auroc=0.91,
                sha256="ab" * 32,
            )
            for upstream in world.upstreams
            for model in world.models
        ),
        checks=(
            SanityCheck(name="shuffled_labels", study=studies[0].study, values=(0.49, 0.52)),
            SanityCheck(name="rerun", study=studies[0].study, values=(0.8125, 0.8125)),
        ),
    )


def invent_trials(world: World, study: str, regime: str) -> tuple[TrialEvidence, ...]:
    """Return trials whose score has its optimum at a learning rate that differs by regime."""
    random = generator_for(world.seed, study, "trials")
    best = -3.0 if regime == "fine_tune" else -2.3
    trials = []
    for number in range(world.trials):
        parameters = (
            dict(PUBLISHED)
            if number == 0
            else {
                "learning_rate": float(10 ** random.uniform(-5, -1)),
                "epochs": int(random.integers(3, 31)),
                "frozen_stages": int(random.integers(0, 6)),
            }
        )
        if regime == "scratch":
            del parameters["frozen_stages"]
        loss = abs(np.log10(parameters["learning_rate"]) - best) * 0.08
        value = 0.88 - loss - 0.1 / parameters["epochs"] + random.normal(0, 0.004)
        reports = {
            step: float(value - 0.15 * np.exp(-step / 3) + random.normal(0, 0.003))
            for step in range(1, 11)
        }
        reports[10] = float(value)
        state, cause, kept = "complete", Cause.DONE, 10
        if number > 3 and value < 0.75:
            state, cause, kept = "pruned", Cause.PRUNED, int(random.integers(4, 8))
        if parameters["learning_rate"] > 0.07:
            state, cause, kept = "pruned", Cause.DIVERGED, 1
        n_epochs = max(1, round(parameters["epochs"] * kept / 10))
        trials.append(
            TrialEvidence(
                number=number,
                state=state,
                cause=cause,
                value=reports[kept],
                parameters=parameters,
                reports={step: score for step, score in reports.items() if step <= kept},
                n_epochs=n_epochs,
                seconds=2.5 * n_epochs,
                n_samples=150 * n_epochs,
                recipe="published" if number == 0 else "tuned",
                details={"software": SOFTWARE},
            )
        )
    return (*trials, *(invent_beside(trials, best) if world.beside else ()))


def invent_beside(trials: list[TrialEvidence], best: float) -> list[TrialEvidence]:
    """Return audits of the two best pruned trials, and three rates of the published recipe."""

    def whole(trial: TrialEvidence, value: float, **changes: object) -> TrialEvidence:
        epochs = int(trial.parameters["epochs"])
        return replace(
            trial,
            state="complete",
            cause=Cause.DONE,
            value=value,
            n_epochs=epochs,
            seconds=2.5 * epochs,
            n_samples=150 * epochs,
            **changes,
        )

    audits = [
        whole(trial, trial.value + 0.02, recipe="audit", details={"audit_of": trial.number})
        for trial in choose_for_audit(trials, 2)
    ]
    rates = [
        whole(
            trials[0],
            0.86 - 0.08 * abs(np.log10(rate) - best),
            recipe="extra",
            number=number,
            parameters={**trials[0].parameters, "learning_rate": rate},
        )
        for number, rate in enumerate((1e-4, 1e-3, 3e-2), start=1)
    ]
    return [*audits, *rates]


def invent_final(
    world: World, study: StudyEvidence, role: str, seed_index: int, workspace: Path
) -> FinalEvidence:
    """Return a final fit with real predictions, so that every score can be re-derived."""
    choose = {
        "tuned": choose_winner,
        "learning_rate": choose_learning_rate,
        "published": lambda trials: trials[0],
    }
    trial = choose[role](study.trials)
    predictions = invent_predictions(world, study, role, seed_index)
    folder = workspace / "predictions" / world.name
    path, digest = write_predictions(predictions, folder)
    validation = invent_predictions(world, study, role, seed_index, part="validation")
    validation_path, validation_digest = write_predictions(validation, folder)
    thresholds = dict(
        zip(
            CLASSES,
            map(float, best_thresholds(validation.labels, validation.scores.astype(np.float32))),
            strict=True,
        )
    )
    stored = read_predictions(path, digest)
    score = macro_auroc(stored.labels, stored.scores)
    epochs = int(trial.parameters["epochs"])
    curve = tuple(
        float(score.value - 0.2 * np.exp(-5 * epoch / epochs)) for epoch in range(1, epochs + 1)
    )
    return FinalEvidence(
        software=SOFTWARE,
        study=study.study,
        regime=study.regime,
        upstream=study.upstream,
        downstream=study.downstream,
        model=study.model,
        n_train=study.n_train,
        replicate=study.replicate,
        role=role,
        seed_index=seed_index,
        seed=seed_for(
            world.seed, "final", study.downstream, study.n_train, study.replicate, seed_index
        ),
        trial_number=trial.number,
        parameters=trial.parameters,
        metrics=scores_of(stored, thresholds),
        per_label=dict(zip(CLASSES, map(float, score.per_label), strict=True)),
        thresholds=thresholds,
        n_epochs=epochs,
        seconds=2.5 * epochs,
        n_samples=150 * epochs,
        predictions=str(path.relative_to(workspace)),
        predictions_sha256=digest,
        validation_predictions=str(validation_path.relative_to(workspace)),
        validation_predictions_sha256=validation_digest,
        curve=curve,
        test_curve=(*(v + 0.002 * np.sin(i) for i, v in enumerate(curve[:-1])), score.value)
        if role == "published"
        else (),
    )


def invent_predictions(
    world: World, study: StudyEvidence, role: str, seed_index: int, part: str = "test"
) -> Predictions:
    """Return scores that share the patients' difficulty, so that the arms are paired."""
    patients = generator_for(world.seed, study.downstream, "patients", part)
    labels = patients.random((world.n_patients, len(CLASSES))) < 0.3
    difficulty = patients.normal(size=labels.shape)
    replicate = generator_for(world.seed, study.study, role, "replicate")
    shift = 1.3 + world.run_spread * replicate.normal() - (0.4 if role == "published" else 0.0)
    if study.regime == "fine_tune":
        shift += world.gain * min(world.train_sizes) / study.n_train
    own = generator_for(world.seed, study.study, role, seed_index, part)
    # Mostly below one half, as three in ten records carry a label.
    scores = shift * labels - 1.2 + 0.9 * difficulty + 0.45 * own.normal(size=labels.shape)
    return Predictions(
        labels=labels,
        scores=1 / (1 + np.exp(-scores)),
        records=tuple(f"{part}{world.seed}-r{i:05d}" for i in range(world.n_patients)),
        patients=tuple(f"{part}{world.seed}-p{i:05d}" for i in range(world.n_patients)),
        classes=CLASSES,
        subgroups=invent_subgroups(world) if part == "test" and world.has_subgroups else {},
    )


def invent_subgroups(world: World) -> dict[str, tuple[str, ...]]:
    """Return sex and age groups; one age group is too small for a score."""
    ages = ("under 40", "40 to 59", "60 to 79")
    rows = range(world.n_patients)
    return {
        "sex": tuple(("female", "male")[row % 2] if row else "" for row in rows),
        "age": tuple("80 and over" if row < 3 else ages[row % 3] for row in rows),
    }


def with_identical_arms(evidence: Evidence) -> Evidence:
    """Return `evidence` with the scratch finals and studies copied into the fine-tune arm."""
    cell = evidence.comparison.cells[0]
    scratch = [f for f in evidence.finals if f.regime == "scratch"]
    return replace(
        evidence,
        finals=tuple(scratch)
        + tuple(replace(f, regime="fine_tune", upstream=cell.upstream) for f in scratch),
    )
