"""Final fits: the winner trained again with fresh seeds, and scored once on the sealed test."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ecgopt.causes import Cause
from ecgopt.data.folds import held_out
from ecgopt.data.sealed import sealed_rows
from ecgopt.data.splits import EcgDataset
from ecgopt.data.subgroups import subgroups_of
from ecgopt.database.engine import Database
from ecgopt.evidence.predictions import Predictions, write_predictions
from ecgopt.evidence.records import FinalEvidence, FinalRole
from ecgopt.evidence.rescore import scores_of
from ecgopt.jobs.configuration import Configuration, choose_configuration
from ecgopt.jobs.datasets import PreparedData
from ecgopt.jobs.job import (
    ItemEnd,
    Job,
    RunAccount,
    Stop,
    StudyPayload,
    account_of,
    read,
    to_json,
    train_to_end,
)
from ecgopt.jobs.rate import learning_rates, rate_group, rate_trials
from ecgopt.jobs.trial import trial_group
from ecgopt.queue.items import Claim, NewItem
from ecgopt.queue.lease import Lease
from ecgopt.queue.openings import keep_result, note_opening, reuse_result
from ecgopt.queue.results import EndedItem
from ecgopt.seeds import seed_for
from ecgopt.shapes import ScoreMatrix
from ecgopt.study_file.cells import StudyKey
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import ModelTable
from ecgopt.training.metrics import best_thresholds, chosen_metrics, macro_auroc
from ecgopt.training.recipe import Value

if TYPE_CHECKING:
    from ecgopt.training.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalPayload(StudyPayload):
    """Which final fit of a study."""

    role: FinalRole
    seed_index: int
    seed: int


@dataclass(frozen=True, kw_only=True)  # no slots: two bases of FinalResult cannot both have them
class FinalScores:
    """What a fit scored, and where its predictions are, relative to the workspace."""

    metrics: Mapping[str, float]
    per_label: Mapping[str, float]
    left_out: tuple[str, ...]
    thresholds: Mapping[str, float]
    predictions: str
    predictions_sha256: str
    validation_predictions: str
    validation_predictions_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalResult(RunAccount, FinalScores):
    """A final fit that reached its end."""

    role: FinalRole
    seed_index: int
    seed: int
    trial_number: int
    parameters: Mapping[str, Value]
    share_transferred: float
    curve: tuple[float | None, ...]
    """Validation macro AUROC after each epoch; None where it was not scored."""
    test_curve: tuple[float, ...]
    """Test macro AUROC after each epoch, where the study file asks for it."""


class FinalJob(Job):
    """Trains the winner, or the published recipe, with a fresh seed and scores it once."""

    kind = "final"
    title = "final fits"
    priority = 2_000_000

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield the final fits of each study: one for each role and seed."""
        for key in keys:
            for role, needs in _roles(spec, key).items():
                for index in range(spec.budget.final_seeds):
                    # Neither regime nor role: equal indices of two arms are paired.
                    seed = seed_for(
                        spec.seed, "final", key.downstream, key.n_train, key.replicate, index
                    )
                    yield cls.item(
                        f"{key.path}/{role}/{index:02d}",
                        FinalPayload(study=key, role=role, seed_index=index, seed=seed),
                        group=f"final/{key.path}",
                        needs=needs,
                        rank=index,
                    )

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Choose by validation, train, and open the sealed test after the last epoch.

        Where the study file asks for a test curve, the published recipe's fits open it before the
        first epoch instead: nothing is chosen in them, and one opening serves the whole curve.

        Where this very fit was scored before, by a worker that was lost before it could close the
        item, its kept result is returned: nothing is trained and the test stays sealed.
        """
        claim, spec = lease.claim, self.arms.spec
        payload = read(FinalPayload, claim.payload)
        key, role = payload.study, payload.role
        chosen = lease.retrying(lambda: self._chosen(key, role))
        winner = winner_hash(study=key.path, role=role, seed=payload.seed, **asdict(chosen))
        kept = lease.retrying(lambda: reuse_result(self.database, claim, winner))
        if kept is not None:
            return ItemEnd(cause=Cause.DONE, result=kept)
        run, share = self.arms.build(
            key, chosen.recipe, seed=payload.seed, evaluate_after=None, is_final=True
        )
        sealed = SealedTest(self.database, self.arms.data)
        opened = measure = None
        if role == "published" and spec.diagnostics.test_curve:
            opened = sealed.open(key.downstream, claim, key.model)
            measure = partial(_test_score, run, opened.records)
        epochs = self.arms.epochs(run, claim.key, measure=measure)
        divergence = train_to_end(epochs, lease, stop)
        account = account_of(epochs, self.arms, lease, divergence=divergence)
        if divergence:
            epochs.discard()
            return ItemEnd(cause=Cause.DIVERGED, result=to_json(account), detail=divergence)
        if opened is None:
            opened = sealed.open(key.downstream, claim, key.model)
        result = to_json(
            FinalResult(
                **to_json(account),
                **to_json(self._scores(run, key, opened)),
                role=role,
                seed_index=payload.seed_index,
                seed=payload.seed,
                trial_number=chosen.trial_number,
                parameters=dict(chosen.parameters),
                share_transferred=share,
                curve=tuple(epochs.curve),
                test_curve=tuple(epochs.measured),
            )
        )
        keep = partial(keep_result, self.database, claim, winner, opened.opening_id, result)
        lease.retrying(keep)
        epochs.discard()
        return ItemEnd(cause=Cause.DONE, result=result)

    @classmethod
    def record(cls, item: EndedItem) -> FinalEvidence | None:
        """Return the fit that is done."""
        if item.cause is not Cause.DONE:
            return None
        key, result = read(StudyPayload, item.payload).study, read(FinalResult, item.result)
        return FinalEvidence(
            study=key.path,
            **key.coordinates(),
            role=result.role,
            seed_index=result.seed_index,
            seed=result.seed,
            trial_number=result.trial_number,
            parameters=result.parameters,
            **{name: getattr(result, name) for name in FinalScores.__dataclass_fields__},
            n_epochs=result.n_epochs,
            seconds=result.seconds,
            n_samples=result.n_samples,
            curve=tuple(value for value in result.curve if value is not None),
            test_curve=result.test_curve,
            software=result.software,
        )

    def _chosen(self, key: StudyKey, role: FinalRole) -> Configuration:
        from ecgopt.jobs.leased_trial import trials_of

        trials = trials_of(self.database, self.arms.spec, key)
        others = rate_trials(self.database, self.arms.spec, key)
        return choose_configuration(self.arms.spec, key, role, [*trials, *others])

    def _scores(self, run: "Run", key: StudyKey, sealed: "Opened") -> FinalScores:
        folds, _ = self.arms.split(key)
        validation = _predictions(held_out(folds), run.predict_validation())
        thresholds = best_thresholds(validation.labels, validation.scores)
        by_label = dict(zip(validation.classes, map(float, thresholds), strict=True))
        test = replace(
            _predictions(sealed.records, run.predict(sealed.records)), subgroups=sealed.subgroups
        )
        aurocs = macro_auroc(test.labels, test.scores)
        left_out = tuple(test.classes[index] for index in aurocs.left_out)
        workspace = self.arms.workspace
        folder = workspace.predictions(self.arms.folder)
        test_path, test_sha256 = write_predictions(test, folder)
        path, sha256 = write_predictions(validation, folder)
        return FinalScores(
            metrics=scores_of(test, by_label, chosen_metrics(self.arms.spec.metrics)),
            per_label={
                label: float(value)
                for label, value in zip(test.classes, aurocs.per_label, strict=True)
                if label not in left_out
            },
            left_out=left_out,
            thresholds=by_label,
            predictions=str(test_path.relative_to(workspace.root)),
            predictions_sha256=test_sha256,
            validation_predictions=str(path.relative_to(workspace.root)),
            validation_predictions_sha256=sha256,
        )


def _roles(spec: StudySpec, key: StudyKey) -> Mapping[FinalRole, str]:
    """Return the roles of a study's final fits, each with the group that it waits for."""
    roles: dict[FinalRole, str] = {"tuned": trial_group(key)}
    if spec.published.final_fits:
        roles["published"] = trial_group(key)
    if learning_rates(spec, key):
        roles["learning_rate"] = rate_group(key)
    return roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The test records, and the row that says who took them."""

    records: EcgDataset
    subgroups: Mapping[str, tuple[str, ...]]
    """By `sex` and by `age`, the group of each record."""
    opening_id: int


@dataclass(frozen=True, slots=True)
class SealedTest:
    """The held-out patients, which only a final fit can open."""

    database: Database
    data: PreparedData

    def open(self, downstream: str, claim: Claim, model: ModelTable | None = None) -> Opened:
        """Record the opening for this final fit, then return the test records.

        Args:
            downstream: Name of the data.
            claim: Of the final fit.
            model: Whose input the records are; None: as they were prepared.

        Raises:
            LeaseLost: another worker owns the final fit.
        """
        opening_id = note_opening(self.database, claim)
        section, prepared = self.data.spec.data[downstream], self.data.prepared(downstream)
        rows = sealed_rows(
            prepared,
            self.data.rows(downstream),
            test_folds=section.test_folds,
            test_share=section.test_share,
            seed=seed_for(self.data.spec.seed, "test", downstream),
        )
        records = self.data.dataset(downstream, rows, model)
        groups = subgroups_of(prepared, rows)
        return Opened(records=records, subgroups=groups, opening_id=opening_id)


def winner_hash(**identity: object) -> str:
    """Return a hash of all that determines a final fit: study, role, recipe, parameters, seed."""
    text = json.dumps(identity, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _test_score(run: "Run", records: EcgDataset) -> float:
    predictions = _predictions(records, run.predict(records))
    return macro_auroc(predictions.labels, predictions.scores).value


def _predictions(records: EcgDataset, scores: ScoreMatrix) -> Predictions:
    return Predictions(
        labels=records.labels > 0,
        # float32, because that is what the file holds: scores must come out the same from it.
        scores=scores.astype(np.float32).astype(np.float64),
        records=records.records,
        patients=records.patients,
        classes=records.classes,
    )
