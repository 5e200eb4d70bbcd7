"""Pre-training: one run, the best of a small search, or the user's own weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from ecgopt.causes import Cause
from ecgopt.data.inputs import InputForm
from ecgopt.database.engine import Database
from ecgopt.errors import CheckpointError
from ecgopt.evidence.records import PretrainEvidence
from ecgopt.files import sha256_of
from ecgopt.jobs.job import (
    ItemEnd,
    Job,
    RunAccount,
    Stop,
    account_of,
    read,
    to_json,
    train_to_end,
)
from ecgopt.models.cards import Card, load_card
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.queue.results import EndedItem, ended_items, result_of
from ecgopt.regimes.hyperparameters import with_parameters
from ecgopt.seeds import seed_for
from ecgopt.study_file.cells import StudyKey, expand_studies, pretraining_key
from ecgopt.study_file.reading import expand_folder
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import ModelTable
from ecgopt.training.recipe import Value
from ecgopt.workspace import Workspace

if TYPE_CHECKING:
    from ecgopt.jobs.runs import ArmRuns
    from ecgopt.models.checkpoint import Checkpoint

_OWN = "own checkpoint"
_LABEL_OBJECTIVES = ("multi_label", "label_permuted")


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainPayload:
    """Which model is pre-trained on which upstream."""

    upstream: str
    model: ModelTable
    run: int = 0

    @property
    def name(self) -> str:
        """The name of the pre-training, which is that of its checkpoint."""
        return pretraining_key(self.upstream, self.model, self.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainResult(RunAccount):
    """A pre-training that has ended."""

    key: str
    upstream: str
    model: str
    objective: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """What the search changed in the recipe."""
    n_trials: int = 1
    """Pre-trainings of which it is the best; seconds, epochs and samples are those of all."""
    trial: int | None = None
    """The best trial of the search."""
    sha256: str = ""
    """Of the checkpoint; empty where there is none."""
    validation_score: float | None = None
    validation_macro_auroc: float | None = None


def pretrain_group(name: str) -> str:
    """Return the group of a pre-training, which all trials that start from it wait for."""
    return f"pretrain/{name}"


def pretrained_sha256(database: Database, comparison: str, name: str) -> str:
    """Return the SHA-256 of a checkpoint when it was made; empty where its item is not done."""
    ended = ended_items(database, comparison, group=pretrain_group(name))
    found = [read(PretrainResult, item.result) for item in ended if item.cause is Cause.DONE]
    return found[0].sha256 if found else ""


def check_pretrained(
    database: Database, comparison: str, workspace: Workspace, folder: str
) -> None:
    """Check that a workspace holds the weights of every pre-training that is done.

    Args:
        database: Of the comparison.
        comparison: Its name.
        workspace: The workspace.
        folder: Of the comparison's files in it.

    Raises:
        CheckpointError: a file is missing or differs.
    """
    from ecgopt.models.checkpoint import load_checkpoint

    for item in ended_items(database, comparison, kinds=[PretrainJob.kind]):
        if item.cause is Cause.DONE:
            result = read(PretrainResult, item.result)
            load_checkpoint(workspace.pretrained(folder, result.key), sha256=result.sha256)


def search_group(name: str) -> str:
    """Return the group of the trials of a pre-training's search."""
    return f"pretrain_trials/{name}"


def trial_name(name: str, number: int) -> str:
    """Return the name of a checkpoint of the search."""
    return f"{name}.trial-{number:03d}"


def n_search_trials(spec: StudySpec, upstream: str) -> int:
    """Return the trials of the upstream's search; 0 without a search."""
    section, tuning = spec.upstream.get(upstream), spec.pretrain.tuning
    is_given = section is not None and section.checkpoint is not None
    return 0 if tuning is None or is_given else tuning.trials


def pretrainings(keys: Sequence[StudyKey]) -> Iterator[PretrainPayload]:
    """Yield the pre-trainings that studies start from, each once."""
    yield from dict.fromkeys(
        PretrainPayload(upstream=key.upstream, model=key.model, run=key.pretraining_run)
        for key in keys
        if key.upstream is not None
    )


class PretrainJob(Job):
    """Puts the upstream checkpoint in its place; every fine-tuning from it waits for this item."""

    kind = "pretrain"
    title = "pre-training"
    priority = 0

    @classmethod
    def items(cls, spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
        """Yield one item for each upstream and model, after the trials of its search."""
        for payload in pretrainings(keys):
            needs = search_group(payload.name) if n_search_trials(spec, payload.upstream) else None
            group = pretrain_group(payload.name)
            yield cls.item(payload.name, payload, group=group, needs=needs)

    def run(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train, choose among the trials of the search, or take over the user's weights.

        A checkpoint that was lost and is made again must have the SHA-256 that it had.

        Raises:
            CheckpointError: the user's weights changed since the study began, or no trial of the
                search ended with a checkpoint.
        """
        claim = lease.claim
        earlier = lease.retrying(lambda: result_of(self.database, claim.comparison, claim.key))
        first = read(PretrainResult, earlier).sha256 if earlier else ""
        name = read(PretrainPayload, claim.payload).name
        path = self.arms.workspace.pretrained(self.arms.folder, name)
        if first and path.exists() and sha256_of(path) == first:
            return ItemEnd(cause=Cause.DONE, result=earlier)  # restored from a copy
        end = self._made(lease, stop)
        if end.cause is not Cause.DONE or not first:
            return end
        if (again := read(PretrainResult, end.result).sha256) == first:
            return ItemEnd(cause=Cause.DONE, result=earlier)
        # What was trained from the first checkpoint would not compare with what follows.
        path.unlink(missing_ok=True)
        detail = (
            f"checkpoint {name} was lost, and made again it has SHA-256 {again} instead of "
            f"{first}: restore the file from a copy, then `ecgopt study retry`"
        )
        return ItemEnd(cause=Cause.ERROR, result=earlier, detail=detail)

    def _made(self, lease: Lease, stop: Stop) -> ItemEnd:
        """Train, choose among the trials of the search, or take over the user's weights."""
        payload, spec = read(PretrainPayload, lease.claim.payload), self.arms.spec
        own = own_weights(spec, payload.upstream, payload.model)
        if own is not None:
            return self._taken_over(payload, own)
        if n_search_trials(spec, payload.upstream):
            return self._best_of_search(payload, lease)
        return pretrain(self.arms, lease, stop, payload)

    @classmethod
    def record(cls, item: EndedItem) -> PretrainEvidence | None:
        """Return the pre-training that is done."""
        if item.cause is not Cause.DONE:
            return None
        result = read(PretrainResult, item.result)
        return PretrainEvidence(
            key=result.key,
            upstream=result.upstream,
            model=result.model,
            n_epochs=result.n_epochs,
            seconds=result.seconds,
            n_samples=result.n_samples,
            validation_macro_auroc=result.validation_macro_auroc,
            sha256=result.sha256,
            objective=result.objective,
            validation_score=result.validation_score,
            n_trials=result.n_trials,
            parameters=result.parameters,
        )

    def _taken_over(self, payload: PretrainPayload, own: "Checkpoint") -> ItemEnd:
        from ecgopt.models.checkpoint import save_checkpoint

        metadata = {**own.metadata, "objective": _OWN, "source_sha256": own.sha256}
        path = self.arms.workspace.pretrained(self.arms.folder, payload.name)
        return _end(
            PretrainResult(
                cause=Cause.DONE,
                key=payload.name,
                upstream=payload.upstream,
                model=payload.model.label,
                objective=_OWN,
                sha256=save_checkpoint(path, own.tensors, metadata),
            )
        )

    def _best_of_search(self, payload: PretrainPayload, lease: Lease) -> ItemEnd:
        """Copy the best trial's checkpoint, and charge for all trials."""
        from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint

        name, spec, workspace = payload.name, self.arms.spec, self.arms.workspace
        trials = [
            read(PretrainResult, item.result)
            for item in ended_items(self.database, spec.name, group=search_group(name))
            if item.result
        ]
        scored = [(trial.validation_score, trial) for trial in trials]
        ended = [(score, trial) for score, trial in scored if score is not None]
        if not ended:
            raise CheckpointError(
                f"none of the {len(trials)} pre-trainings on {payload.upstream!r} ended with a "
                "score: lower the learning rates of [pretrain.tuning.space]"
            )
        _, best = max(ended, key=lambda pair: (pair[0], -_number(pair[1])))
        found = load_checkpoint(
            workspace.pretrained(self.arms.folder, trial_name(name, _number(best))),
            sha256=best.sha256,
        )
        lease.assert_held()
        sha256 = save_checkpoint(
            workspace.pretrained(self.arms.folder, name),
            found.tensors,
            {**found.metadata, "trial": _number(best)},
        )
        return _end(
            replace(
                best,
                sha256=sha256,
                n_trials=len(trials),
                n_epochs=sum(trial.n_epochs for trial in trials),
                seconds=sum(trial.seconds for trial in trials),
                n_samples=sum(trial.n_samples for trial in trials),
            )
        )


def pretrain(
    arms: "ArmRuns",
    lease: Lease,
    stop: Stop,
    payload: PretrainPayload,
    *,
    trial: int | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> ItemEnd:
    """Pre-train and store the epoch that is best on upstream validation.

    Args:
        arms: Of the comparison.
        lease: Of the work item.
        stop: Whether the worker was asked to stop.
        payload: What to pre-train.
        trial: Number of a trial of the search, which may diverge; None for the one run.
        parameters: What the trial changes in the recipe.

    Raises:
        LeaseLost: another worker owns the item now.
        StopRequested: after saving the state.
    """
    from ecgopt.models.checkpoint import save_checkpoint
    from ecgopt.training.pretrain import build_pretraining

    spec, name = arms.spec, payload.name
    recipe = with_parameters(spec.pretrain.recipe(), parameters or {})
    objective = spec.upstream_objective(payload.upstream)
    pretraining = build_pretraining(
        objective,
        payload.model.spec(dropout=recipe.dropout),
        arms.data.upstream(payload.upstream, payload.model),
        recipe,
        seed=seed_for(spec.seed, "pretrain", name),
        device=arms.device,
        is_captured=spec.workers.cuda_graphs,
    )
    epochs = arms.epochs(pretraining, lease.claim.key)
    divergence = train_to_end(epochs, lease, stop)
    if divergence:
        divergence = f"pre-training diverged: {divergence}"
        if trial is None:
            return ItemEnd(cause=Cause.ERROR, result={}, detail=divergence)
    result = PretrainResult(
        **to_json(account_of(epochs, arms, lease, divergence=divergence)),
        key=name,
        upstream=payload.upstream,
        model=payload.model.label,
        objective=objective,
        parameters=parameters or {},
        trial=trial,
    )
    if not divergence:
        found = pretraining.finish()
        score = found.metadata["best_score"]
        assert isinstance(score, float)
        stored = name if trial is None else trial_name(name, trial)
        path = arms.workspace.pretrained(arms.folder, stored)
        metadata = {**_without_seconds(found.metadata), "recipe": asdict(recipe)}
        result = replace(
            result,
            sha256=save_checkpoint(path, found.tensors, metadata),
            validation_score=score,
            validation_macro_auroc=score if objective in _LABEL_OBJECTIVES else None,
        )
    epochs.discard()
    return _end(result)


def _without_seconds(metadata: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the metadata without times, so that equal training gives equal files."""
    history = metadata["history"]
    assert isinstance(history, list)
    epochs: list[JsonValue] = [
        {name: value for name, value in epoch.items() if name != "seconds"}
        for epoch in history
        if isinstance(epoch, dict)
    ]
    rest = {name: value for name, value in metadata.items() if name != "seconds"}
    return {**rest, "history": epochs}


def own_weights(spec: StudySpec, upstream: str, model: ModelTable) -> "Checkpoint | None":
    """Return the weights that `[upstream.NAME]` names, fitted to `model`; None if it names none.

    Raises:
        CheckpointError: they cannot be read or do not fit the model.
    """
    from ecgopt.models.checkpoint import body_tensors
    from ecgopt.models.foreign import load_foreign
    from ecgopt.models.registry import build_model

    section = spec.upstream.get(upstream)
    if section is None or section.checkpoint is None:
        return None
    form = spec.input_form(model) or InputForm()
    # The head alone depends on labels, and with a flattened head on samples; it is not read.
    network = build_model(
        model.spec(), n_labels=1, n_leads=len(form.leads), n_samples=form.n_samples, seed=0
    )
    path = expand_folder(section.checkpoint)
    try:
        if section.card is not None:
            pair = expand_folder(section.golden) if section.golden is not None else None
            found = _public_weights(path, load_card(section.card), form, pair)
        else:
            found = load_foreign(path, network, section.name_table)
        body_tensors(network, found)
    except CheckpointError as error:
        raise CheckpointError(f"[upstream.{upstream}] for {model.label}: {error}") from error
    return found


def _public_weights(path: Path, card: Card, form: InputForm, pair: Path | None) -> "Checkpoint":
    """Return the weights of a public model, whose golden pair has been reproduced.

    Raises:
        CheckpointError: they do not fit, the pair differs, or the network sees another input.
    """
    from ecgopt.models.foreign import check_golden, load_by_card

    wanted = card.input.seen()
    others = [key for key in InputForm.model_fields if getattr(wanted, key) != getattr(form, key)]
    if others:
        raise CheckpointError(
            f"the card {card.title!r} is for another input: {others[0]} must be "
            f"{getattr(wanted, others[0])!r}, but is {getattr(form, others[0])!r}: declare it in "
            "[inputs.NAME], and name that as the input of the model"
        )
    public = load_by_card(path, card)
    check_golden(public, card, pair, weights=path)
    return public.checkpoint


def check_own_weights(spec: StudySpec) -> None:
    """Read every checkpoint for every model that would start from it.

    Raises:
        CheckpointError: one cannot be read or does not fit.
    """
    for each in dict.fromkeys(replace(e, run=0) for e in pretrainings(expand_studies(spec))):
        own_weights(spec, each.upstream, each.model)


def _number(trial: PretrainResult) -> int:
    assert trial.trial is not None
    return trial.trial


def _end(result: PretrainResult) -> ItemEnd:
    return ItemEnd(cause=result.cause, result=to_json(result), detail=result.detail)
