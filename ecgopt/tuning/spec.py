"""The study file: one comparison, written in TOML and validated before anything runs."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ecgopt.models.registry import ModelSpec, freezable_stages
from ecgopt.regimes.published import PUBLISHED_EPOCHS, published_parameters
from ecgopt.regimes.registry import regime
from ecgopt.regimes.space import Range, SearchSpace
from ecgopt.training.recipe import Recipe
from ecgopt.tuning.section import Name, PositiveInt, Section, Share, Size
from ecgopt.tuning.selection import CellsSection
from ecgopt.tuning.space_rules import (
    check_own_parameters,
    check_pretraining,
    check_published,
    check_ranges,
)
from ecgopt.tuning.upstreams import PretrainObjective, UpstreamSection

Reference = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*|.+\.toml)$", max_length=300)
]
"""A name of the catalogue, or the path of a TOML file that describes one's own data."""


class SyntheticSection(Section):
    """Synthetic records, written as WFDB files when they are missing."""

    records: PositiveInt
    """Records to make; a patient has 1.3 of them on average."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the generator; equal sections make equal files."""
    population: Annotated[str, Field(pattern="^[A-Za-z]{1,8}$")] = "S"
    """Prefix of record and patient names; two populations share no patient."""
    sampling_rate_hz: PositiveInt = 500
    """Rate of the files; preparation brings every set to 100 Hz."""
    noise: Annotated[float, Field(ge=0.0, le=20.0)] = 1.0
    """Strength of noise and baseline wander; 1 is the generator's usual strength."""
    severity: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0
    """How far an abnormality leaves the normal range; small is hard to diagnose."""


class DataSection(Section):
    """One data set or one patient-disjoint part of it."""

    source: Reference
    """A reader of the catalogue (`ecgopt data list`), `synthetic`, or one's own `data.toml`."""
    labels: Reference
    """The label set that turns a record's statements into classes, or one's own `data.toml`."""
    unlabelled: Literal["keep", "drop_unstated", "drop"] = "keep"
    """Records that carry no class of the label set: kept as all-negative, left out where no
    statement at all is published (as the published study did with PTB), or all left out."""
    folders: tuple[str, ...] = ()
    """Folders of raw records; environment variables such as $ECGOPT_DATA are filled in."""
    synthetic: SyntheticSection | None = None
    """What to generate, for `source = "synthetic"` only."""
    patients: tuple[float, float] = (0.0, 1.0)
    """Share of the patients, by a seeded hash of their ids, that belongs to this part."""
    test_folds: tuple[int, ...] | None = None
    """Published folds that form the sealed test set."""
    test_share: Share | None = None
    """Share of patients that form the sealed test set, where no folds are published."""
    broken: Literal["stop", "drop"] = "stop"
    """What `prepare` does with a damaged record."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.patients
        if not 0.0 <= low < high <= 1.0:
            raise ValueError(
                f"`0 <= low < high <= 1` must hold for patients, but got {[low, high]}"
            )
        if self.test_folds is not None and self.test_share is not None:
            raise ValueError("give test_folds or test_share, not both")
        if (self.source == "synthetic") != (self.synthetic is not None):
            raise ValueError("source = 'synthetic' and a `synthetic` table belong together")
        names_its_folder = self.source == "synthetic" or self.source.endswith(".toml")
        if not names_its_folder and not self.folders:
            raise ValueError("`folders` must name at least one folder of raw records")
        return self


class ModelSection(Section):
    """A network; see `ecgopt.models.registry`."""

    name: Name = "resnet1d18"
    """A network of the registry, such as `resnet1d18`, `lstm` or `xresnet1d101`."""
    width: PositiveInt | None = None
    """Channels of the first stage, branch or token, or hidden units; by default as published."""
    head: Literal["as_published", "flatten", "pooled"] = "as_published"
    """What lies before the last layer: as published, all states in a row, or pooling over time."""

    @property
    def label(self) -> str:
        """A short name that tells the variants apart."""
        width = f"-w{self.width}" if self.width is not None else ""
        head = f"-{self.head}" if self.head != "as_published" else ""
        return f"{self.name}{width}{head}"

    def spec(self, *, dropout: float = 0.0) -> ModelSpec:
        """Return the model specification of the registry."""
        return ModelSpec(name=self.name, width=self.width, head=self.head, dropout=dropout)


class RangeSection(Section):
    """The closed interval one parameter is searched in."""

    low: float
    """Least value, included."""
    high: float
    """Greatest value, included."""
    log: bool = False
    """Search evenly over orders of magnitude instead of over values."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low <= self.high:
            raise ValueError(f"`low <= high` must hold, but got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low > 0` must hold for a log range, but got low={self.low}")
        return self

    def range(self) -> Range:
        """Return the plain range."""
        return Range(low=self.low, high=self.high, log=self.log)


class RecipeSection(Section):
    """What is fixed and equal in all arms; tuned parameters replace their field."""

    batch_size: PositiveInt = 64
    """Records per optimiser step."""
    optimizer: Literal["adamw", "adam"] = "adamw"
    """AdamW decays weights apart from the gradient; Adam is the published one."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    """Peak rate of the schedule."""
    epochs: PositiveInt = 30
    """Passes over the training records."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.01
    """Decay of weight matrices and kernels; biases and norms are spared."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: down to zero at the run's own end, or level."""
    warmup_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of all steps in which the rate climbs linearly."""
    clip_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    """Largest norm of the whole gradient."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the head's inputs dropped; 0 leaves the model's own rate."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of training passes; networks slower in bf16 keep fp32, as all evaluation does."""

    def recipe(self) -> Recipe:
        """Return the recipe that the tuned parameters then change."""
        fields = self.model_dump(include=set(RecipeSection.model_fields))
        return Recipe(n_epochs=fields.pop("epochs"), **fields)


class PretrainTuningSection(Section):
    """A small random search for the pre-training's own recipe, judged on upstream validation.

    The first trial is the recipe of `[pretrain]` itself, and the best trial's checkpoint is the
    upstream. All of them are on the bill of the pre-training.
    """

    trials: Annotated[int, Field(ge=2)]
    """Pre-trainings of each model on each upstream."""
    space: dict[str, RangeSection]
    """Ranges of learning_rate, epochs, weight_decay and dropout."""

    def search_space(self) -> SearchSpace:
        """Return the ranges."""
        return SearchSpace({name: section.range() for name, section in self.space.items()})

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_pretraining(self.search_space())
        return self


class PretrainSection(RecipeSection):
    """How models are pre-trained, one run per upstream and model unless it is tuned."""

    objective: PretrainObjective = "multi_label"
    """`multi_label` predicts the labels, `age` the age in years, `masked_signal` fills in hidden
    segments; `label_permuted` is the control that predicts labels of other records."""
    epochs: PositiveInt = 20
    """Passes over the upstream records."""
    validation_share: Share = 0.15
    """Share of the upstream records, by patient, that chooses the epoch to keep."""
    tuning: PretrainTuningSection | None = None
    """Tunes the recipe above before anything starts from it."""


class PublishedSection(Section):
    """The published recipe, run as trial 0 of each arm."""

    epochs: PositiveInt = PUBLISHED_EPOCHS
    """The paper's 100; a smaller number belongs in demonstrations only."""
    final_fits: bool = True
    """Whether the published recipe is also trained with the final seeds and tested."""


class BudgetSection(Section):
    """What each arm may spend; equal for all by construction."""

    trials: PositiveInt
    """Trials of each study, the published one, pruned and diverged ones included."""
    final_seeds: PositiveInt = 5
    """Fresh trainings of each winner, each scored once on the sealed test."""
    replicates: PositiveInt = 1
    """Independent subset + split + search, per cell."""
    trial_seconds: Annotated[float, Field(gt=0.0)] | None = None
    """Time limit of one trial; a trial beyond it counts as pruned."""


class PruningSection(Section):
    """Median pruning on the ladder of schedule fractions, the same in every regime."""

    enabled: bool = True
    """Whether weak trials are stopped early."""
    warmup_steps: Annotated[int, Field(ge=0, le=10)] = 3
    """Tenths of the schedule during which nothing is pruned."""
    startup_trials: PositiveInt = 4
    """Trials that must have finished before any is pruned."""
    min_trials: Annotated[int, Field(ge=4)] = 4
    """Trials that must have reached the step; fewer than 4 lets one survivor prune all."""


class SamplerSection(Section):
    """How configurations are proposed, the same in every regime."""

    name: Literal["tpe", "random"] = "tpe"
    """Tree-structured Parzen estimator, or random search."""
    startup_trials: PositiveInt = 8
    """Random proposals before TPE begins."""


class VerdictSection(Section):
    """Fixed before the first trial."""

    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    """Macro AUROC difference below which the arms count as equivalent."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Level of every interval."""


class DiagnosticsSection(Section):
    """What is run beside the comparison: outside the budget, and without a say in any winner.

    It may be changed at any time; what is missing is then added.
    """

    shuffled_labels: bool = True
    """Train the winner of one study per regime on permuted labels; it must learn nothing."""
    rerun: bool = True
    """Train one complete trial per regime again; its score must be the same."""
    audit: Annotated[int, Field(ge=0)] = 0
    """Best pruned trials of each study that are trained to their end."""
    learning_rates: Annotated[int, Field(ge=0)] = 0
    """Learning rates that the published recipe is tried with; the best on validation gets final
    fits, so that the way from the published to the tuned recipe has all its steps."""
    test_curve: bool = False
    """Score the published recipe's final fits on the test after every epoch: the published study
    printed the best of these. It costs one pass over the test set per epoch."""


class WorkersSection(Section):
    """How work is shared out; may change at any time, unlike everything above."""

    lease_seconds: Annotated[float, Field(ge=1.0)] = 60.0
    """Silence after which a worker counts as lost and another takes over its item."""
    stall_seconds: Annotated[float, Field(ge=1.0)] = 1800.0
    """Time without a finished epoch after which a worker counts as hung; longer than any epoch,
    which under cross-validation is one of all folds' networks."""
    checkpoint_seconds: Annotated[float, Field(ge=0.0)] = 10.0
    """Least time between two checkpoints of a running trial."""
    max_losses: PositiveInt = 3
    """Workers that an item may lose without progress before it is set aside."""


class StudySpec(Section):
    """One comparison: all regimes get the same data, models, shared ranges and budget."""

    name: Name
    """Names the studies in the database and the folders of results."""
    question: str = "Does transfer learning beat training from scratch once each is tuned fairly?"
    """Heads the report; may change at any time."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random number follows from it."""
    regimes: Annotated[tuple[Name, ...], Field(min_length=2)] = ("scratch", "fine_tune")
    """The reference arm first; a difference is another arm minus the reference."""
    upstreams: tuple[Name, ...] = ()
    """Tables of `[data]` to pre-train on, or of `[upstream]`."""
    downstreams: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Tables of `[data]` on which the arms are compared."""
    train_sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    """Numbers of labelled records, or "all"; validation records come out of them."""
    validation_share: Share = 0.25
    """Share of the labelled records that selects the winner and is not trained on."""
    validation_folds: Annotated[int, Field(ge=1, le=20)] = 1
    """2 or more: select by cross-validation of the labelled records over so many folds instead of
    by `validation_share`. A trial then trains a network per fold; its cost is theirs together."""
    data: dict[Name, DataSection]
    """`[data.NAME]`: a data set or a part of one; upstreams and downstreams name it."""
    upstream: dict[Name, UpstreamSection] = Field(default_factory=dict)
    """`[upstream.NAME]`: an upstream with an objective or a checkpoint of its own."""
    models: Annotated[tuple[ModelSection, ...], Field(min_length=1)] = (ModelSection(),)
    """`[[models]]`, once per network."""
    cells: tuple[CellsSection, ...] = ()
    """`[[cells]]`: blocks of the grid of the lists above; without any, the whole grid."""
    space: dict[str, dict[str, RangeSection]]
    """`[space.shared]` for all regimes, `[space.<regime>]` for a regime's own parameters."""
    recipe: RecipeSection = RecipeSection()
    published: PublishedSection = PublishedSection()
    pretrain: PretrainSection = PretrainSection()
    budget: BudgetSection
    pruning: PruningSection = PruningSection()
    sampler: SamplerSection = SamplerSection()
    verdict: VerdictSection = VerdictSection()
    diagnostics: DiagnosticsSection = DiagnosticsSection()
    workers: WorkersSection = WorkersSection()

    def search_space(self, regime_name: str, model: ModelSection | None = None) -> SearchSpace:
        """Return the ranges of one regime: the shared ones it has a use for, and its own.

        Those of a given model freeze no more stages than it has.
        """
        shared, own = (
            {name: section.range() for name, section in self.space.get(key, {}).items()}
            for key in ("shared", regime_name)
        )
        unused = regime(regime_name).unused_parameters
        used = {name: span for name, span in shared.items() if name not in unused}
        space = SearchSpace(used) | SearchSpace(own)
        if model is None:
            return space
        return space.capped("frozen_stages", freezable_stages(model.spec()))

    def space_fingerprint(self) -> str:
        """Return a hash over all regimes' spaces."""
        return "-".join(self.search_space(name).fingerprint() for name in self.regimes)

    def published_values(self, regime_name: str) -> dict[str, float | int]:
        """Return the published recipe as values of the regime's tuned parameters."""
        names = frozenset(self.search_space(regime_name))
        return published_parameters(names, n_epochs=self.published.epochs)

    def upstream_data(self, name: str) -> str | None:
        """Return the table of `[data]` of an upstream; None for a checkpoint of unknown records."""
        section = self.upstream.get(name)
        if section is None or (section.data is None and section.checkpoint is None):
            return name
        return section.data

    def upstream_objective(self, name: str) -> PretrainObjective:
        """Return what is pre-trained for on an upstream."""
        section = self.upstream.get(name)
        return (section.objective if section else None) or self.pretrain.objective

    def data_names(self) -> tuple[str, ...]:
        """Return the tables of `[data]` in use, each once."""
        upstreams = (self.upstream_data(name) for name in self.upstreams)
        return tuple(dict.fromkeys(name for name in (*upstreams, *self.downstreams) if name))

    def with_audit(self, n_audited: int) -> Self:
        """Return the comparison with at least this many audits of each study."""
        most = max(n_audited, self.diagnostics.audit)
        diagnostics = self.diagnostics.model_copy(update={"audit": most})
        return self.model_copy(update={"diagnostics": diagnostics})

    def scientific_content(self) -> dict[str, Any]:
        """Return everything that must not change once a study has begun, as plain JSON."""
        return self.model_dump(mode="json", exclude={"workers", "diagnostics", "question"})

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for name in self.upstream:
            if name not in self.upstreams:
                raise ValueError(f"[upstream.{name}] must be listed in `upstreams`, but is not")
        for name in self.data_names():
            if name not in self.data:
                raise ValueError(
                    f"upstreams or downstreams name {name!r}, but there is no table [data.{name}]"
                )
        for name in self.downstreams:
            section = self.data[name]
            if section.test_folds is None and section.test_share is None:
                raise ValueError(
                    f"[data.{name}] needs test_folds or test_share: it is a downstream"
                )
        return self

    @model_validator(mode="after")
    def _check_regimes(self) -> Self:
        twice = [name for name in self.regimes if self.regimes.count(name) > 1]
        if twice:
            raise ValueError(
                f"different regimes must be compared, but got {twice[0]!r} twice; 'scratch_twin' "
                "is the A/A control of 'scratch'"
            )
        if any(regime(name).needs_upstream for name in self.regimes) and not self.upstreams:
            raise ValueError("a regime needs an upstream, but `upstreams` is empty")
        return self

    @model_validator(mode="after")
    def _check_cells(self) -> Self:
        known = {
            "upstreams": self.upstreams,
            "downstreams": self.downstreams,
            "models": [model.label for model in self.models],
            "train_sizes": self.train_sizes,
        }
        for block in self.cells:
            block.check(known)
        return self

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        for group in self.space:
            if group not in ("shared", *self.regimes):
                raise ValueError(
                    f"[space.{group}] must be 'shared' or one of the regimes {self.regimes}"
                )
        models = {model.label: model.spec() for model in self.models}
        for name in self.regimes:
            check_own_parameters(regime(name), self.space.get(name, {}))
            space = self.search_space(name)
            check_ranges(space, models)
            check_published(space, self.published_values(name))
        return self

    @model_validator(mode="after")
    def _check_diagnostics(self) -> Self:
        searched = [name for name in self.regimes if "learning_rate" in self.search_space(name)]
        if self.diagnostics.learning_rates and not searched:
            raise ValueError(
                "diagnostics.learning_rates spread over the searched range, but no learning_rate "
                "is searched: set it to 0 or add learning_rate to [space.shared]"
            )
        return self
