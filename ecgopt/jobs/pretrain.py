"""Pre-trainings as work items: one run, the best of a small search, or the user's own weights."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from sqlalchemy import select

from ecgopt.database.engine import Database
from ecgopt.database.tables import work_item
from ecgopt.errors import CheckpointError, TrialDiverged
from ecgopt.jobs.own_weights import OBJECTIVE, own_weights
from ecgopt.jobs.resumption import ResumableEpochs
from ecgopt.jobs.runs import ArmRuns
from ecgopt.jobs.trial import OnItsOwn, end_of, guarded
from ecgopt.jobs.worker import ItemEnd
from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint
from ecgopt.queue.items import Claim, NewItem
from ecgopt.queue.lease import Lease
from ecgopt.regimes.hyperparameters import with_parameters
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import pretraining_key
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import ModelTable
from ecgopt.training.pretrain import Pretrained, build_pretraining
from ecgopt.training.recipe import Value

_PRIORITY = 0
"""Before all trials, most of which wait for them."""
_LABEL_OBJECTIVES = ("multi_label", "label_permuted")


def pretraining_items(spec: StudySpec, upstream: str, model: ModelTable) -> Iterator[NewItem]:
    """Yield the item that every fine-tuning from `upstream` waits for, after those it waits for."""
    name = pretraining_key(upstream, model)
    payload = {"upstream": upstream, "model": model.model_dump()}
    n_trials = _n_trials(spec, upstream)
    for number in range(n_trials):
        yield NewItem(
            kind="pretrain_trial",
            key=f"pretrain_trial/{name}/{number:03d}",
            group=_trial_group(name),
            needs=None,
            priority=_PRIORITY,
            payload=payload | {"number": number},
        )
    yield NewItem(
        kind="pretrain",
        key=f"pretrain/{name}",
        group=f"pretrain/{name}",
        needs=_trial_group(name) if n_trials else None,
        priority=_PRIORITY,
        payload=payload,
    )


def pretraining_parameters(spec: StudySpec, name: str, number: int) -> dict[str, Value]:
    """Return what trial `number` changes in the recipe of `[pretrain]`: nothing, if it is 0.

    The draws are independent of each other, so that trials need not wait for each other.
    """
    tuning = spec.pretrain.tuning
    if tuning is None or number == 0:
        return {}
    seed = seed_for(spec.seed, "pretrain", name, "trial", number) % 2**32
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return study.ask(tuning.search_space().distributions()).params


@dataclass(frozen=True, slots=True)
class PretrainTrialJob(OnItsOwn):
    """Pre-trains one model on one upstream with one recipe of the search."""

    arms: ArmRuns

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Train, and store the epoch best on upstream validation under the trial's own name."""
        return _trained(self.arms, lease, stop, number=int(lease.claim.payload["number"]))


@dataclass(frozen=True, slots=True)
class PretrainJob(OnItsOwn):
    """Puts the upstream checkpoint in its place; every fine-tuning from it waits for this item."""

    database: Database
    arms: ArmRuns

    def run(self, lease: Lease, stop: Callable[[], bool]) -> ItemEnd:
        """Train, choose among the trials of the search, or take over the user's weights.

        Raises:
            CheckpointError: the user's weights changed since the study began, or no trial of the
                search ended with a checkpoint.
        """
        upstream, model, name = _place(lease.claim)
        spec = self.arms.spec
        own = own_weights(spec, upstream, model)
        if own is not None:
            metadata = {**own.metadata, "objective": OBJECTIVE, "source_sha256": own.sha256}
            path = self.arms.workspace.pretrained(spec.name, name)
            sha256 = save_checkpoint(path, own.tensors, metadata)
            return end_of(_account(upstream, model, objective=OBJECTIVE, sha256=sha256))
        if _n_trials(spec, upstream):
            return self._best_of_search(lease)
        return _trained(self.arms, lease, stop, number=None)

    def _best_of_search(self, lease: Lease) -> ItemEnd:
        """Copy the best trial's checkpoint, and put all trials on the bill."""
        upstream, _, name = _place(lease.claim)
        spec, workspace = self.arms.spec, self.arms.workspace
        trials = self._trials(name)
        ended = {n: found for n, found in trials.items() if found["validation_score"] is not None}
        if not ended:
            raise CheckpointError(
                f"none of the {len(trials)} pre-trainings on {upstream!r} ended with a score: "
                "lower the learning rates of [pretrain.tuning.space]"
            )
        number = max(ended, key=lambda n: (ended[n]["validation_score"], -n))
        best = load_checkpoint(
            workspace.pretrained(spec.name, _trial_name(name, number)),
            sha256=ended[number]["sha256"],
        )
        lease.assert_held()
        sha256 = save_checkpoint(
            workspace.pretrained(spec.name, name),
            best.tensors,
            {**best.metadata, "trial": number},
        )
        spent = {
            unit: sum(found[unit] for found in trials.values())
            for unit in ("n_epochs", "seconds", "n_samples")
        }
        more = {"sha256": sha256, "n_trials": len(trials), "trial": number}
        return end_of({**ended[number], **spent, **more})

    def _trials(self, name: str) -> dict[int, dict[str, Any]]:
        query = select(work_item.c.payload, work_item.c.result).where(
            work_item.c.comparison == self.arms.spec.name,
            work_item.c.item_group == _trial_group(name),
            work_item.c.result.is_not(None),
        )
        with self.database.transaction() as connection:
            rows = connection.execute(query).all()
        results = {json.loads(row.payload)["number"]: json.loads(row.result) for row in rows}
        return {number: found for number, found in sorted(results.items()) if found}


def _trained(
    arms: ArmRuns, lease: Lease, stop: Callable[[], bool], *, number: int | None
) -> ItemEnd:
    """Pre-train and store the best epoch; `number` is that of a trial of the search."""
    upstream, model, name = _place(lease.claim)
    spec = arms.spec
    parameters = pretraining_parameters(spec, name, number) if number is not None else {}
    recipe = with_parameters(spec.pretrain.recipe(), parameters)
    objective = spec.upstream_objective(upstream)
    pretraining = build_pretraining(
        objective,
        model.spec(dropout=recipe.dropout),
        arms.data.upstream(upstream),
        recipe,
        seed=seed_for(spec.seed, "pretrain", name),
        device=arms.device,
    )
    epochs = ResumableEpochs(
        pretraining,
        arms.workspace.run_state(spec.name, lease.claim.key),
        checkpoint_seconds=spec.workers.checkpoint_seconds,
    )
    detail, found = "", None
    try:
        for _ in guarded(epochs, lease, stop):
            pass
        found = pretraining.finish()
    except TrialDiverged as error:
        detail = f"pre-training diverged: {error}"
        if number is None:
            return ItemEnd(cause="error", result={}, detail=detail)
    account = _account(
        upstream,
        model,
        objective=objective,
        n_epochs=epochs.epochs_done,
        seconds=epochs.seconds,
        n_samples=epochs.n_samples,
        parameters=parameters,
        device=str(arms.device),
    )
    if found is None:
        epochs.discard()
        return ItemEnd(cause="diverged", result=account, detail=detail)
    lease.assert_held()
    stored_name = name if number is None else _trial_name(name, number)
    path = arms.workspace.pretrained(spec.name, stored_name)
    sha256 = save_checkpoint(path, found.tensors, {**found.metadata, "recipe": asdict(recipe)})
    epochs.discard()
    return end_of({**account, **_scores(found, objective), "sha256": sha256})


def _account(upstream: str, model: ModelTable, *, objective: str, **more: object) -> dict[str, Any]:
    nothing = {"n_epochs": 0, "seconds": 0.0, "n_samples": 0, "parameters": {}, "n_trials": 1}
    scores = {"validation_macro_auroc": None, "validation_score": None}
    return {
        "cause": "done",
        "upstream": upstream,
        "model": model.label,
        "key": pretraining_key(upstream, model),
        "objective": objective,
        **nothing,
        **scores,
        **more,
    }


def _scores(found: Pretrained, objective: str) -> dict[str, Any]:
    score = found.metadata["best_score"]
    auroc = score if objective in _LABEL_OBJECTIVES else None
    return {"validation_score": score, "validation_macro_auroc": auroc}


def _n_trials(spec: StudySpec, upstream: str) -> int:
    section, tuning = spec.upstream.get(upstream), spec.pretrain.tuning
    is_given = section is not None and section.checkpoint is not None
    return 0 if tuning is None or is_given else tuning.trials


def _place(claim: Claim) -> tuple[str, ModelTable, str]:
    payload: Mapping[str, Any] = claim.payload
    model = ModelTable.model_validate(payload["model"])
    return payload["upstream"], model, pretraining_key(payload["upstream"], model)


def _trial_group(name: str) -> str:
    return f"pretrain_trials/{name}"


def _trial_name(name: str, number: int) -> str:
    return f"{name}.trial-{number:03d}"
