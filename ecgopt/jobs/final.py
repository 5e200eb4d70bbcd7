"""Final fits: the winner trained again with fresh seeds, and scored on the sealed test."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from ecgopt.data.folds import held_out
from ecgopt.data.splits import EcgDataset
from ecgopt.database.engine import Database
from ecgopt.evidence.predictions import Predictions, write_predictions
from ecgopt.evidence.records import FinalRole
from ecgopt.evidence.rescore import scores_of
from ecgopt.jobs.configuration import choose_configuration
from ecgopt.jobs.results import all_trials_of
from ecgopt.jobs.run_to_end import train_whole
from ecgopt.jobs.runs import ArmRuns
from ecgopt.jobs.sealed_test import SealedTest, winner_hash
from ecgopt.jobs.trial import OnItsOwn
from ecgopt.jobs.worker import ItemEnd
from ecgopt.queue.items import Claim
from ecgopt.queue.lease import Lease
from ecgopt.shapes import ScoreMatrix
from ecgopt.study_file.cells import StudyKey, study_key
from ecgopt.training.metrics import best_thresholds, macro_auroc
from ecgopt.training.run import Run


@dataclass(frozen=True, slots=True)
class FinalJob(OnItsOwn):
    """Trains the winner, or the published recipe, with a fresh seed and scores it once."""

    database: Database
    arms: ArmRuns

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Choose by validation, train, and open the sealed test after the last epoch.

        Where the study file asks for a test curve, the published recipe's fits open it before the
        first epoch instead: nothing is chosen in them, and one opening serves the whole curve.

        Where this very fit was scored before, by a worker that was lost before it could close the
        item, its stored result is returned: nothing is trained and the test stays sealed.
        """
        claim, spec = lease.claim, self.arms.spec
        payload, key = claim.payload, study_key(claim.payload)
        role: FinalRole = payload["role"]
        trials = lease.retrying(lambda: all_trials_of(self.database, spec, key))
        chosen = choose_configuration(spec, key, role, trials)
        winner = winner_hash(study=key.path, role=role, seed=payload["seed"], **asdict(chosen))
        sealed = SealedTest(self.database, self.arms.data)
        if (stored := lease.retrying(lambda: sealed.reuse(claim, winner))) is not None:
            return ItemEnd(cause="done", result=stored)
        run, share = self.arms.build(
            key, chosen.recipe, seed=int(payload["seed"]), evaluate_after=None, is_final=True
        )
        opened = None
        measure = None
        if role == "published" and spec.diagnostics.test_curve:
            opened = sealed.open(key.downstream, claim)
            measure = partial(_test_score, run, opened.records)
        whole = train_whole(self.arms, lease, stop, run, measure=measure)
        if whole.divergence:
            whole.epochs.discard()
            return ItemEnd(cause="diverged", result={"cause": "diverged"}, detail=whole.divergence)
        if opened is None:
            opened = sealed.open(key.downstream, claim)
        result = {
            **whole.account(self.arms, lease),
            "role": role,
            "seed_index": payload["seed_index"],
            "seed": payload["seed"],
            "trial_number": chosen.trial_number,
            "parameters": dict(chosen.parameters),
            "share_transferred": share,
            "curve": whole.epochs.curve,
            "test_curve": whole.epochs.measured,
            **self._scores(run, key, claim, opened.records),
        }
        lease.retrying(partial(sealed.store, claim, winner, opened, result))
        whole.epochs.discard()
        return ItemEnd(cause="done", result=result)

    def _scores(self, run: Run, key: StudyKey, claim: Claim, sealed: EcgDataset) -> dict[str, Any]:
        folds, _ = self.arms.split(key)
        validation = _predictions(held_out(folds), run.predict_validation())
        thresholds = best_thresholds(validation.labels, validation.scores)
        by_label = dict(zip(validation.classes, map(float, thresholds), strict=True))
        test = _predictions(sealed, run.predict(sealed))
        aurocs = macro_auroc(test.labels, test.scores)
        left_out = [test.classes[index] for index in aurocs.left_out]
        folder = self.arms.workspace.predictions(claim.comparison)
        stored = {}
        for name, predictions in (("predictions", test), ("validation_predictions", validation)):
            path, stored[f"{name}_sha256"] = write_predictions(predictions, folder)
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


def _test_score(run: Run, records: EcgDataset) -> float:
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
