"""The tables of a study file: what each may hold, and within which limits."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_type_hints

from pydantic import Field, create_model, field_validator, model_validator

from ecgopt.models.registry import ModelSpec, builder
from ecgopt.plugins import find
from ecgopt.regimes.hyperparameters import PUBLISHED_EPOCHS, Choices, Range, SearchSpace
from ecgopt.study_file.section import PartName, PositiveInt, Section, Share
from ecgopt.study_file.space_rules import (
    check_pretraining,
)
from ecgopt.study_file.upstreams import PretrainObjective
from ecgopt.training.recipe import DECLARATIONS, Recipe

Reference = Annotated[
    str,
    Field(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.]*)?|.+\.toml)$",
        max_length=300,
    ),
]
"""A name of the catalogue, the path of a TOML file that describes one's own data, or, of a data
source, `package.module:name`."""


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
    """A reader of the catalogue (`ecgopt data list`), `synthetic`, one's own `data.toml`, or a
    reader from outside the package, as `package.module:name` or the name of an entry point."""
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

    name: PartName = "resnet1d18"
    """A network of the registry, such as `resnet1d18`, `lstm` or `xresnet1d101`, or one from
    outside the package, as `package.module:name` or the name of an entry point."""
    width: PositiveInt | None = None
    """Channels of the first stage, branch or token, or hidden units; by default as published."""
    head: Literal["as_published", "flatten", "pooled"] = "as_published"
    """What lies before the last layer: as published, all states in a row, or pooling over time."""

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        builder(name)
        return name

    @property
    def label(self) -> str:
        """A short name that tells the variants apart, in studies' and files' names too."""
        width = f"-w{self.width}" if self.width is not None else ""
        head = f"-{self.head}" if self.head != "as_published" else ""
        return f"{self.name.replace(':', '.')}{width}{head}"

    def spec(self, *, dropout: float = 0.0) -> ModelSpec:
        """Return the model specification of the registry."""
        return ModelSpec(name=self.name, width=self.width, head=self.head, dropout=dropout)


class RangeSection(Section):
    """The values one parameter is searched over: `{ low, high, log }`, or `{ choices }`."""

    low: float | None = None
    """Least value of a number, included."""
    high: float | None = None
    """Greatest value of a number, included."""
    log: bool = False
    """Search evenly over orders of magnitude instead of over values."""
    choices: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Values of a parameter that is not a number, such as `optimizer`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give either choices, or low and high, but not both")
            if len(set(self.choices)) < len(self.choices):
                raise ValueError(f"choices must differ, but got {list(self.choices)}")
            return self
        if self.low is None or self.high is None:
            raise ValueError("a range needs both low and high, or choices: add what is missing")
        if not self.low <= self.high:
            raise ValueError(f"`low <= high` must hold, but got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"`low > 0` must hold for a log range, but got low={self.low}")
        return self

    def range(self) -> Range | Choices:
        """Return the plain range or choices."""
        if self.choices is not None:
            return Choices(self.choices)
        assert self.low is not None
        assert self.high is not None
        return Range(low=self.low, high=self.high, log=self.log)


def _recipe_keys() -> dict[str, Any]:
    """Return type, limits, default and meaning of each hyperparameter of gradient training."""
    hints = get_type_hints(Recipe)
    keys = {}
    for field, declared in DECLARATIONS.items():
        if declared.scope == "training":
            is_number = declared.kind != "categorical"
            limits: dict[str, Any] = {"ge": declared.low, "le": declared.high} if is_number else {}
            about = Field(declared.default, description=declared.meaning, **limits)
            keys[declared.name] = (hints[field], about)
    return keys


if TYPE_CHECKING:
    _RecipeKeys = Section
else:
    _RecipeKeys = create_model("_RecipeKeys", __base__=Section, **_recipe_keys())


class RecipeSection(_RecipeKeys):
    """What is fixed and equal in all arms; tuned parameters replace their field."""

    def recipe(self) -> Recipe:
        """Return the recipe that the tuned parameters then change."""
        values = self.model_dump()
        return Recipe(
            **{
                field: values[declared.name]
                for field, declared in DECLARATIONS.items()
                if declared.scope == "training"
            }
        )


class PretrainTuningSection(Section):
    """A small random search for the pre-training's own recipe, judged on upstream validation.

    The first trial is the recipe of `[pretrain]` itself, and the best trial's checkpoint is the
    upstream. All of them are on the bill of the pre-training.
    """

    trials: Annotated[int, Field(ge=2)]
    """Pre-trainings of each model on each upstream."""
    space: dict[str, RangeSection]
    """Ranges of parameters that `[recipe]` may hold."""

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
    replicates: PositiveInt = 3
    """Independent subset + split + search, per cell; one alone is an estimate without a verdict."""
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


SAMPLERS: Final = ("tpe", "random")
"""The built-in samplers."""


class SamplerSection(Section):
    """How configurations are proposed, the same in every regime."""

    name: PartName = "tpe"
    """`tpe`, the tree-structured Parzen estimator, `random`, or a sampler from outside the package,
    as `package.module:name` or the name of an entry point."""
    startup_trials: PositiveInt = 8
    """Random proposals before the sampler learns from earlier trials."""

    @field_validator("name")
    @classmethod
    def _exists(cls, name: str) -> str:
        find("sampler", name, dict.fromkeys(SAMPLERS))
        return name


class VerdictSection(Section):
    """Fixed before the first trial."""

    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    """Macro AUROC difference below which the arms count as equivalent."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Level of every interval."""
    most: PositiveInt | None = None
    """Replicates of each cell at most, over all extensions. Each look at the results then spends a
    part of the level (O'Brien and Fleming's shape). Without it the first look spends everything,
    and a study that is extended afterwards decides nothing more."""
    least_positives: Annotated[int, Field(ge=2)] = 5
    """Test patients who must carry a label and who must lack it; a label with fewer is left out of
    the macro AUROC of final fits, and named."""


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
