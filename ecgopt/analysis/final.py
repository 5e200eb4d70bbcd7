"""Final fits: the winner trained again with fresh seeds, and scored on the sealed test."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ecgopt.analysis.evidence_store import trials_of
from ecgopt.analysis.predictions import Predictions, write_predictions
from ecgopt.analysis.rescore import scores_of
from ecgopt.analysis.sealed_test import SealedTest, winner_hash
from ecgopt.analysis.winner import choose_winner
from ecgopt.data.splits import EcgDataset
from ecgopt.errors import TrialDiverged
from ecgopt.regimes.space import Value
from ecgopt.training.metrics import best_thresholds, macro_auroc
from ecgopt.training.run import Run
from ecgopt.tuning.arm import ArmRuns, RecipeKind, arm_recipe
from ecgopt.tuning.cells import StudyKey
from ecgopt.tuning.storage import Database
from ecgopt.workers.items import Claim
from ecgopt.workers.jobs import guarded, study_key
from ecgopt.workers.lease import Lease
from ecgopt.workers.resume import ResumableEpochs
from ecgopt.workers.worker import ItemEnd


@dataclass(frozen=True, slots=True)
class FinalJob:
    """Trains the winner, or the published recipe, with a fresh seed and scores it once."""

    database: Database
    arms: ArmRuns

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Choose by validation, train, and open the sealed test after the last epoch.

        Where this very fit was scored before, by a worker that was lost before it could close the
        item, its stored result is returned: nothing is trained and the test stays sealed.
        """
        claim, spec = lease.claim, self.arms.spec
        payload, key = claim.payload, study_key(claim.payload)
        role: RecipeKind = payload["role"]
        number, parameters = self._configuration(key, role)
        recipe = arm_recipe(spec, key, _kind_of(role, number), parameters)
        winner = winner_hash(
            study=key.path,
            role=role,
            trial=number,
            parameters=parameters,
            recipe=asdict(recipe),
            seed=payload["seed"],
        )
        sealed = SealedTest(self.database, self.arms.data)
        if (stored := sealed.reuse(claim, winner)) is not None:
            return ItemEnd(cause="done", result=stored)
        run, share = self.arms.build(key, recipe, seed=int(payload["seed"]), evaluate_after=None)
        epochs = ResumableEpochs(
            run,
            self.arms.workspace.run_state(spec.name, claim.key),
            checkpoint_seconds=spec.workers.checkpoint_seconds,
        )
        try:
            for _ in guarded(epochs, lease, stop):
                pass
        except TrialDiverged as error:
            epochs.discard()
            return ItemEnd(cause="diverged", result={"cause": "diverged"}, detail=str(error))
        lease.assert_held()
        opened = sealed.open(key.downstream, claim)
        result = {
            "cause": "done",
            "role": role,
            "seed_index": payload["seed_index"],
            "seed": payload["seed"],
            "trial_number": number,
            "parameters": parameters,
            "n_epochs": epochs.epochs_done,
            "seconds": epochs.seconds,
            "n_samples": epochs.n_samples,
            "share_transferred": share,
            "curve": epochs.curve,
            "device": str(self.arms.device),
            **self._scores(run, key, claim, opened.records),
        }
        lease.retrying(lambda: sealed.store(claim, winner, opened, result))
        epochs.discard()
        return ItemEnd(cause="done", result=result)

    def give_up(self, claim: Claim, reason: str) -> None:
        """Leave nothing open: a final fit exists in no other table."""

    def _configuration(self, key: StudyKey, role: RecipeKind) -> tuple[int, dict[str, Value]]:
        if role == "published":
            return 0, self.arms.spec.published_values(key.regime)
        winner = choose_winner(trials_of(self.database, self.arms.spec, key))
        values = {name: winner.parameters[name] for name in sorted(winner.parameters)}
        return winner.number, {name: _number(value) for name, value in values.items()}

    def _scores(self, run: Run, key: StudyKey, claim: Claim, sealed: EcgDataset) -> dict[str, Any]:
        data, _ = self.arms.split(key)
        validation = _predictions(run, data.validation)
        thresholds = best_thresholds(validation.labels, validation.scores)
        by_label = dict(zip(validation.classes, map(float, thresholds), strict=True))
        test = _predictions(run, sealed)
        aurocs = macro_auroc(test.labels, test.scores)
        left_out = [test.classes[index] for index in aurocs.left_out]
        stored = {}
        for name, predictions in (("predictions", test), ("validation_predictions", validation)):
            item = claim.key if name == "predictions" else f"{claim.key}/validation"
            path = self.arms.workspace.predictions(claim.comparison, item)
            stored[f"{name}_sha256"] = write_predictions(predictions, path)
            stored[name] = str(path.relative_to(self.arms.workspace.root))
        return {
            "metrics": scores_of(test, by_label),
            "per_label": {
                label: float(value)
                for label, value in zip(test.classes, aurocs.per_label, strict=True)
                if label not in left_out
            },
            "left_out": left_out,
            "thresholds": by_label,
            **stored,
        }


def _predictions(run: Run, records: EcgDataset) -> Predictions:
    # float32, because that is what the file holds: scores must come out the same from it.
    scores = run.predict(records).astype(np.float32)
    return Predictions(
        labels=records.labels > 0,
        scores=scores.astype(np.float64),
        records=records.records,
        patients=records.patients,
        classes=records.classes,
    )


def _kind_of(role: RecipeKind, number: int) -> RecipeKind:
    # Trial 0 is the published recipe: where it wins the study, the winner is that recipe.
    return "published" if role == "published" or number == 0 else "tuned"


def _number(value: object) -> Value:
    assert isinstance(value, int | float), "tuned parameters are numbers"
    return value
