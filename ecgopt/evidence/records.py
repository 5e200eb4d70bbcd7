"""What a comparison left behind, as plain data: the only thing analysis and reports read.

`comparison.evidence` fills these records from a database, `bundle` from a file; nothing else knows
where they came from. They hold what was measured and nothing that was concluded from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from ecgopt.causes import Cause
from ecgopt.errors import UserError
from ecgopt.evidence.predictions import Predictions, read_predictions, write_predictions

__all__ = [
    "DATA_SETS", "ArmStart", "Budget", "CellKey", "Comparison", "Evidence", "FinalEvidence",
    "FinalRole", "Opening", "ParameterValue", "Predictions", "PretrainEvidence", "SanityCheck",
    "StudyEvidence", "TrialEvidence", "TrialRecipe", "TrialState", "from_json", "load_predictions",
    "read_predictions", "to_json", "write_predictions",
]  # fmt: skip

DATA_SETS = "data sets"
"""Under this key, provenance describes the records of each data set: how many, of whom, which
labels, what was dropped, licence and citation."""

ParameterValue = bool | int | float | str
TrialState = Literal["complete", "pruned", "failed", "running", "paused", "waiting"]
TrialRecipe = Literal["tuned", "published", "extra", "audit", "enqueued"]
FinalRole = Literal["tuned", "published", "learning_rate"]

_stored = with_config(ConfigDict(ser_json_inf_nan="constants", extra="forbid"))


@_stored
@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class CellKey:
    """One combination of upstream data, downstream data, model and training size."""

    upstream: str
    downstream: str
    model: str
    n_train: int
    """Labelled downstream records, training and validation together."""

    def __str__(self) -> str:
        return f"{self.upstream} → {self.downstream}, {self.model}, n = {self.n_train:,}"


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEvidence:
    """One training run of a study."""

    number: int
    """Of the budget's trials as in Optuna; an audit bears the number of the trial it repeats, and
    `extra` runs count from 1."""
    state: TrialState
    cause: Cause | Literal[""] = ""
    """Why the work item ended; empty while it has not."""
    value: float | None = None
    """Validation macro AUROC at the end of the schedule; of a pruned trial, the last report."""
    parameters: Mapping[str, ParameterValue]
    reports: Mapping[int, float] = field(default_factory=dict)
    """Ladder step (1..10, tenths of the trial's own schedule) to validation macro AUROC."""
    n_epochs: int = 0
    """Epochs that were really trained."""
    seconds: float = 0.0
    n_samples: int = 0
    """Training samples seen, repetitions counted."""
    recipe: TrialRecipe = "tuned"
    """`published`: the published recipe. Beside the budget: `extra`, that recipe at another
    learning rate; `audit`, a pruned trial trained to its end, with the number of the pruned one as
    `details["audit_of"]`; `enqueued`, a user's own configuration, with `details["label"]`."""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether no worker will train it further."""
        return self.state in ("complete", "pruned", "failed")


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEvidence:
    """One regime of one replicate of a cell: the trials of one Optuna study."""

    study: str
    regime: str
    upstream: str | None
    """None where the regime does not depend on upstream data, as `scratch`."""
    downstream: str
    model: str
    n_train: int
    replicate: int
    trials: tuple[TrialEvidence, ...]
    split: Mapping[str, Any] = field(default_factory=dict)
    """Where the records came from: counts, hash of the split, labels left out."""
    workers_lost: int = 0
    """Workers that were lost in the middle of a trial; each trial went on with another."""


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class FinalEvidence:
    """A recipe trained again with a fresh seed and scored on the sealed test."""

    study: str
    regime: str
    upstream: str | None
    downstream: str
    model: str
    n_train: int
    replicate: int
    role: FinalRole
    """`tuned`: the study's winner; `published`: the published recipe; `learning_rate`: the
    published recipe with only the learning rate chosen on validation."""
    seed_index: int
    """Index of the seed; equal indices of two arms are paired."""
    seed: int
    trial_number: int
    parameters: Mapping[str, ParameterValue]
    metrics: Mapping[str, float]
    """Test scores: `macro_auroc`, `macro_auprc`, `macro_f1`, `weighted_f1_at_half`, `brier`..."""
    per_label: Mapping[str, float] = field(default_factory=dict)
    """Test AUROC of each label."""
    left_out: tuple[str, ...] = ()
    """Labels the test lacks one class of."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Threshold of each label, chosen on validation."""
    n_epochs: int = 0
    seconds: float = 0.0
    n_samples: int = 0
    predictions: str | None = None
    """Path of the test predictions, relative to the workspace."""
    predictions_sha256: str | None = None
    validation_predictions: str | None = None
    validation_predictions_sha256: str | None = None
    curve: tuple[float, ...] = ()
    """Validation macro AUROC after each epoch."""
    test_curve: tuple[float, ...] = ()
    """Test macro AUROC after each epoch; measured for the published recipe only, because the
    published study printed the best of these. It never chooses anything here."""
    software: str = ""
    """Versions that decided its numbers."""


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainEvidence:
    """One pre-training, paid once and used by every fine-tuning from it."""

    key: str
    upstream: str
    model: str
    n_epochs: int
    seconds: float
    n_samples: int
    validation_macro_auroc: float | None = None
    """Of objectives that predict labels."""
    sha256: str = ""
    """Of the checkpoint."""
    objective: str = "multi_label"
    """What it was trained for; `own checkpoint` where the user brought the weights."""
    validation_score: float | None = None
    """What the epoch was chosen by, higher is better; of ages and signals the share explained."""
    n_trials: int = 1
    """Pre-trainings of which it is the best; seconds, epochs and samples are those of all."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    """Its tuned parameters."""


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One look at a sealed test; `reused` when an earlier result was returned instead."""

    study: str
    role: FinalRole
    seed_index: int
    opened_at: str
    """ISO 8601, UTC."""
    worker: str
    reused: bool = False
    is_interrupted: bool = False
    """The worker was lost before it could store a result; a later opening gave the result."""
    winner: str = ""
    """Hash of what was scored, where it is known: a study that was extended may have a new one."""


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class SanityCheck:
    """A control that was run: shuffled labels, a repeated trial."""

    name: Literal["shuffled_labels", "rerun"]
    study: str
    values: tuple[float, ...]
    """`shuffled_labels`: macro AUROCs; `rerun`: the first score and the repeated one."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """`standard_error` of a macro AUROC on permuted labels; `devices` and `hosts` of both runs."""
    n_epochs: int = 0
    seconds: float = 0.0
    n_samples: int = 0


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What each arm of each replicate may spend."""

    trials: int
    final_seeds: int
    replicates: int


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStart:
    """What a study file says of an arm in `[arms.NAME]`."""

    start: str
    """The regime."""
    model: str | None = None
    """Label of its own network; None where it has the cell's."""
    upstream: str | None = None
    """Its own upstream; None where it has the cell's, or needs none."""


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was asked, and under which rules, fixed before the first trial."""

    name: str
    question: str
    margin: float
    """Differences inside plus or minus this count as equivalent."""
    confidence: float
    """Of intervals, for instance 0.95."""
    metric: str = "macro_auroc"
    """Of the test, that verdicts rest on; winners are chosen by validation macro AUROC."""
    pretraining_runs: Mapping[str, int] = field(default_factory=dict)
    """Per upstream; 1 where it is not named. Replicate r starts from run r modulo their number."""
    metrics: tuple[str, ...] = ()
    """Metrics from outside the package, which are shown next to the built-in ones."""
    least_positives: int = 5
    """Test patients who must carry a label and who must lack it, or the label is left out."""
    regimes: tuple[str, ...]
    """The reference arm first: `("scratch", "fine_tune")`, controls after them."""
    arms: Mapping[str, ArmStart] = field(default_factory=dict)
    """Of `regimes`, those with a start, a network or an upstream of their own."""
    pairs: tuple[tuple[str, str], ...] = ()
    """Further pairs of arms with a verdict, the reference of each first."""
    budget: Budget
    cells: tuple[CellKey, ...]
    looks: tuple[int, ...] = ()
    """Replicates of each cell when its test had been opened and more budget was then added."""
    most_replicates: int | None = None
    """Of each cell over all looks, fixed beforehand; None where one look was planned."""
    replicates: tuple[int, ...] = ()
    """Planned of each cell, in the order of `cells`, where some were decided and got no more."""
    extensions: tuple[str, ...] = ()
    """Each later raise of the budget in words: what it was, when, and what was known by then."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """The whole study file."""
    space: Mapping[str, Any] = field(default_factory=dict)
    """Ranges per regime, and their fingerprint under `fingerprint`."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Versions, commit, hashes of data, names of devices."""

    @property
    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """The pairs of arms that get a verdict: each against the reference, then `pairs`."""
        reference, *others = self.regimes
        return (*((reference, arm) for arm in others), *self.pairs)

    @property
    def n_verdicts(self) -> int:
        """Of the metric that decides, over all pairs and cells."""
        return len(self.cells) * len(self.contrasts)

    def arm(self, name: str) -> ArmStart:
        """Return what an arm is; one without a table is the start that it is named after."""
        return self.arms.get(name) or ArmStart(start=name)

    def ranges_of(self, arm: str) -> dict[str, Any]:
        """Return the ranges that an arm searches: the shared ones, its start's and its own."""
        groups = ("shared", self.arm(arm).start, arm)
        return {name: span for group in groups for name, span in self.space.get(group, {}).items()}

    def replicates_of(self, cell: CellKey) -> int:
        """Return the replicates that are planned of a cell."""
        if not self.replicates:
            return self.budget.replicates
        return self.replicates[self.cells.index(cell)]

    def fits_of(self, cell: CellKey) -> int:
        """Return the final fits of each arm and role that are planned of a cell."""
        return self.replicates_of(cell) * self.budget.final_seeds


@_stored
@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything measured for one comparison."""

    comparison: Comparison
    studies: tuple[StudyEvidence, ...] = ()
    finals: tuple[FinalEvidence, ...] = ()
    pretrainings: tuple[PretrainEvidence, ...] = ()
    openings: tuple[Opening, ...] = ()
    set_aside: tuple[Mapping[str, Any], ...] = ()
    """Work items given up after they stopped their worker too often."""
    checks: tuple[SanityCheck, ...] = ()


@cache
def _adapter() -> TypeAdapter[Evidence]:
    return TypeAdapter(Evidence)


def to_json(evidence: Evidence) -> str:
    """Return `evidence` as JSON text from which `from_json` restores an equal value."""
    return _adapter().dump_json(evidence, indent=1).decode()


def from_json(text: str | bytes) -> Evidence:
    """Return the evidence written by `to_json`.

    Raises:
        UserError: the text is not such a file.
    """
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"evidence: `{place or 'the file'}` {first['msg']}: the file is damaged or was written "
            "by another version of ecgopt"
        ) from error


def load_predictions(final: FinalEvidence, workspace: Path) -> Predictions | None:
    """Return the test predictions of `final`, checked against their hash; None if not kept."""
    if final.predictions is None:
        return None
    return read_predictions(workspace / final.predictions, final.predictions_sha256)
