"""The tables of a study file: their keys, with types, limits and defaults."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_type_hints

from pydantic import Field, create_model

from ecgopt.data.labels import label_set
from ecgopt.data.sources import catalog
from ecgopt.errors import did_you_mean
from ecgopt.models.registry import ModelSpec, builder, freezable_stages
from ecgopt.models.weight_names import TABLES
from ecgopt.plugins import find
from ecgopt.regimes.hyperparameters import (
    PARAMETERS,
    PUBLISHED_EPOCHS,
    Choices,
    Range,
    SearchSpace,
    range_problem,
)
from ecgopt.toml_errors import (
    ADDRESS_FORM,
    FOLDER_FORM,
    NAME_FORM,
    PART_FORM,
    PREFIX_FORM,
    REFERENCE_FORM,
    BrokenRule,
    TomlTable,
    refusal,
)
from ecgopt.training.metrics import PRIMARY
from ecgopt.training.recipe import DECLARATIONS, Recipe

Name = Annotated[str, Field(pattern=NAME_FORM, max_length=80)]
PartName = Annotated[str, Field(pattern=PART_FORM, max_length=100)]
"""A built-in name, the name of an entry point, or `package.module:name`."""
Reference = Annotated[str, Field(pattern=REFERENCE_FORM, max_length=300)]
"""A name of the catalogue, the path of a TOML file that describes your own data, or, of a data
source, `package.module:name`."""
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Folder = Annotated[Text, Field(pattern=FOLDER_FORM)]
"""A path with environment variables such as $ECGOPT_DATA."""
Address = Annotated[Text, Field(pattern=ADDRESS_FORM)]
"""A web address, or an environment variable that holds it."""
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=1.0, le=604_800.0)]
"""At most a week."""
Seed = Annotated[int, Field(ge=0, le=4_294_967_295)]
Epochs = Annotated[int, Field(ge=1, le=int(PARAMETERS["epochs"].high))]
Records = Annotated[int, Field(ge=1, le=10_000_000)]
Size = Records | Literal["all"]
"""A number of labelled records, or all that are not sealed."""
Fold = Annotated[int, Field(ge=0, le=30_000)]
Trials = Annotated[int, Field(ge=1, le=100_000)]
Repeats = Annotated[int, Field(ge=1, le=1_000)]
Names = Annotated[tuple[Name, ...], Field(max_length=1_000)]
PretrainObjective = Literal["multi_label", "age", "masked_signal", "label_permuted"]


class SyntheticTable(TomlTable):
    """Synthetic records, written as WFDB files when they are missing."""

    records: Records
    """Records to make; a patient has 1.3 of them on average."""
    seed: Seed = 0
    """Seed of the generator; equal tables make equal files."""
    population: Annotated[str, Field(pattern=PREFIX_FORM)] = "S"
    """Prefix of record and patient names; two populations share no patient."""
    sampling_rate_hz: Annotated[int, Field(ge=50, le=10_000)] = 500
    """Rate of the files; preparation brings every set to 100 Hz."""
    noise: Annotated[float, Field(ge=0.0, le=20.0)] = 1.0
    """Strength of noise and baseline wander; 1 is the generator's usual strength."""
    severity: Annotated[float, Field(gt=0.0, le=5.0)] = 1.0
    """Size of the abnormalities; small ones are hard to diagnose."""


class DataTable(TomlTable):
    """One data set or one patient-disjoint part of it."""

    source: Reference
    """A reader of the catalogue (`ecgopt data list`), `synthetic`, your own `data.toml`, or a
    reader from outside the package, as `package.module:name` or the name of an entry point."""
    labels: Reference
    """The label set that turns a record's statements into classes, or your own `data.toml`."""
    unlabelled: Literal["keep", "drop_unstated", "drop"] = "drop_unstated"
    """Records that carry no class of the label set. `drop_unstated` leaves out those about which
    nothing at all is stated, because unknown is not negative (as the published study did with
    PTB); `keep` counts those as negative too; `drop` leaves out all."""
    folders: Annotated[tuple[Folder, ...], Field(max_length=100)] = ()
    """Folders of raw records; environment variables such as $ECGOPT_DATA are filled in."""
    synthetic: SyntheticTable | None = None
    """What to generate, for `source = "synthetic"` only."""
    patients: tuple[Fraction, Fraction] = (0.0, 1.0)
    """Share of the patients, by a seeded hash of their ids, that belongs to this part."""
    test_folds: Annotated[tuple[Fold, ...], Field(min_length=1, max_length=100)] | None = None
    """Published folds that form the sealed test set."""
    test_share: Share | None = None
    """Share of patients that form the sealed test set, where no folds are published."""
    longer: Literal["first", "centre"] = "first"
    """Which part of records longer than 10 s stays."""
    shorter: Literal["drop", "pad"] = "drop"
    """Leave records shorter than 10 s out, or append zeros."""
    flat_leads: Annotated[int, Field(ge=0, le=11)] = 11
    """Leave out records with more leads that never change; 5 leaves out records without limb or
    precordial leads."""
    broken: Literal["stop", "drop"] = "stop"
    """What `prepare` does with a damaged record."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        low, high = self.patients
        if not low < high:
            yield (
                ("patients",),
                f"the first must be less than the second, but they are {low}, {high}",
            )
        if self.test_folds is not None and self.test_share is not None:
            yield ("test_share",), "give test_folds or test_share, not both: delete one"
        is_file = self.source.endswith(".toml")
        if not is_file and (problem := refusal(catalog.source, self.source)):
            yield ("source",), problem
        if not self.labels.endswith(".toml") and (problem := refusal(label_set, self.labels)):
            yield ("labels",), problem
        if self.source == "synthetic" and self.synthetic is None:
            yield ("synthetic",), "source = 'synthetic' needs this table: add it"
        if self.source != "synthetic" and self.synthetic is not None:
            yield ("synthetic",), f"source is {self.source!r}, not 'synthetic': delete this table"
        if self.source != "synthetic" and not is_file and not self.folders:
            yield ("folders",), "must name at least one folder of raw records: add it"


class UpstreamTable(TomlTable):
    """An upstream that is more than the data of its name."""

    data: Name | None = None
    """Table of `[data]` to pre-train on; by default the one of the same name. With a checkpoint:
    the records it was trained on, if they are here, so that shared patients are found."""
    objective: PretrainObjective | None = None
    """Replaces that of `[pretrain]`, so that two upstreams may differ in the objective alone."""
    checkpoint: Folder | None = None
    """Weights of your own or of a public model instead of a pre-training: a `.safetensors` file, or
    one of `torch.save`. Environment variables are filled in."""
    card: Text | None = None
    """Card of a public model, by its name in `ecgopt models list` or its path; instead of names."""
    golden: Folder | None = None
    """With a card: the golden pair, if the card names none."""
    names: Literal["ecgopt", "torchvision"] | dict[str, Text] | None = None
    """How the checkpoint's tensor names map to ours: a known scheme, or a table from dotted
    beginnings to ours, where `*` matches one part."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if self.checkpoint is None and self.names is not None:
            yield ("names",), "belongs to a checkpoint, but none is given: add it or delete names"
        if self.checkpoint is None and self.card is not None:
            yield ("card",), "belongs to a checkpoint, but none is given: add it or delete card"
        if self.card is None and self.golden is not None:
            yield ("golden",), "belongs to a card, but none is given: add it or delete golden"
        if self.card is not None and self.names is not None:
            yield ("names",), "the card names the tensors: delete one of the two"
        if self.checkpoint is not None and self.objective is not None:
            yield ("objective",), "a checkpoint is already trained: delete one of the two"

    @property
    def name_table(self) -> Mapping[str, str]:
        """The checkpoint's names to ours."""
        if self.names is None or isinstance(self.names, str):
            return TABLES[self.names or "ecgopt"]
        return self.names


class ArmTable(TomlTable):
    """An arm with a start, a network or an upstream of its own.

    A start that `regimes` names by itself is an arm too: it takes the network and the upstream of
    the cell. All arms have the same records, shared ranges and budget.
    """

    start: PartName = "scratch"
    """The regime: `scratch`, `fine_tune`, `linear_probe` and so on. Two arms may have the same."""
    model: Text | None = None
    """Label of one of `[[models]]`, as in `[[cells]]`. That network forms no cells; by default the
    arm takes the network of the cell."""
    upstream: Name | None = None
    """One of the study's `upstreams`. It forms no cells; by default the arm takes the upstream of
    the cell."""

    def __str__(self) -> str:
        source = f", from {self.upstream}" if self.upstream is not None else ""
        return f"{self.model or 'network of the cell'}, {self.start}{source}"


class CellsTable(TomlTable):
    """One block of cells: every combination of what its lists name.

    A list that is left out is the study's own, so an empty block is the whole grid.
    """

    upstreams: Names | None = None
    """Of the study's `upstreams`."""
    downstreams: Names | None = None
    """Of the study's `downstreams`."""
    models: Annotated[tuple[Text, ...], Field(max_length=1_000)] | None = None
    """Labels of `[[models]]`: names, with `-w16` for a width of 16 and `-pooled` for that head."""
    train_sizes: Annotated[tuple[Size, ...], Field(max_length=1_000)] | None = None
    """Of the study's `train_sizes`."""


class ModelTable(TomlTable):
    """A network; see `ecgopt.models.registry`."""

    name: PartName = "resnet1d18"
    """A network of the registry, such as `resnet1d18`, `lstm` or `xresnet1d101`, or one from
    outside the package, as `package.module:name` or the name of an entry point."""
    width: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Channels of the first stage, branch or token, or hidden units; by default as published."""
    head: Literal["as_published", "flatten", "pooled"] = "as_published"
    """Layers before the last: as published, all states in a row, or pooling over time."""
    input: Name | None = None
    """Table of `[inputs]`; by default the prepared record, twelve leads of 10 s at 100 Hz."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if problem := refusal(builder, self.name):
            yield ("name",), problem
        elif problem := refusal(freezable_stages, self.spec()):
            yield ("head",), problem

    @property
    def label(self) -> str:
        """A short name that tells the variants apart, in studies' and files' names too."""
        width = f"-w{self.width}" if self.width is not None else ""
        head = f"-{self.head}" if self.head != "as_published" else ""
        seen = f"-{self.input}" if self.input is not None else ""
        return f"{self.name.replace(':', '.')}{width}{head}{seen}"

    def spec(self, *, dropout: float = 0.0) -> ModelSpec:
        """Return the model specification of the registry."""
        return ModelSpec(name=self.name, width=self.width, head=self.head, dropout=dropout)


class RangeTable(TomlTable):
    """The values one parameter is searched over: `{ low, high, log }`, or `{ choices }`."""

    low: float | None = None
    """Lower end, included."""
    high: float | None = None
    """Upper end, included."""
    log: bool = False
    """Search evenly over orders of magnitude instead of over values."""
    choices: Annotated[tuple[Text, ...], Field(min_length=2, max_length=100)] | None = None
    """Values of a parameter that is not a number, such as `optimizer`."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                yield ("choices",), "give either choices, or low and high: delete the others"
            if len(set(self.choices)) < len(self.choices):
                yield ("choices",), f"must differ, but are {list(self.choices)}: delete one"
            return
        for key in ("low", "high"):
            if getattr(self, key) is None:
                yield (key,), "a range needs low and high, or choices: add what is missing"
        if self.low is not None and self.high is not None and self.low > self.high:
            yield ("low",), f"must be at most high = {self.high:g}, but is {self.low:g}"
        if self.log and self.low is not None and self.low <= 0:
            yield ("low",), f"must be greater than 0 where log = true, but is {self.low:g}"

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
    _RecipeKeys = TomlTable
else:
    _RecipeKeys = create_model("_RecipeKeys", __base__=TomlTable, **_recipe_keys())


class RecipeTable(_RecipeKeys):
    """Settings that are equal in all arms; a tuned parameter replaces its key."""

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


class PretrainTuningTable(TomlTable):
    """A small random search for the pre-training's own recipe, judged on upstream validation.

    The first trial is the recipe of `[pretrain]` itself, and the best trial's checkpoint is the
    upstream. All of them are charged to the pre-training.
    """

    trials: Annotated[int, Field(ge=2, le=1_000)]
    """Pre-trainings of each model on each upstream."""
    space: dict[str, RangeTable]
    """Ranges of keys of `[recipe]`."""

    def search_space(self) -> SearchSpace:
        """Return the ranges."""
        return SearchSpace({name: table.range() for name, table in self.space.items()})

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        known = [name for name, declared in PARAMETERS.items() if declared.scope == "training"]
        for name, span in self.search_space().ranges.items():
            if name not in known:
                yield ("space", name), f"must be a key of [recipe]: {did_you_mean(name, known)}"
            elif problem := range_problem(name, span):
                yield ("space", name), problem


class PretrainTable(RecipeTable):
    """How models are pre-trained, one run per upstream and model unless it is tuned."""

    objective: PretrainObjective = "multi_label"
    """`multi_label` predicts the labels, `age` the age in years, `masked_signal` fills in hidden
    segments; `label_permuted` is the control that predicts labels of other records."""
    epochs: Epochs = 20
    """Passes over the upstream records."""
    runs: Annotated[int, Field(ge=1, le=100)] = 1
    """Independent pre-training runs per upstream and model. Replicate r starts from run r modulo
    this number, so the intervals hold what other runs would give. With one run a verdict is about
    this checkpoint, not about transfer from the upstream."""
    validation_share: Share = 0.15
    """Share of the upstream records, by patient, that chooses the epoch to keep."""
    tuning: PretrainTuningTable | None = None
    """Tunes the recipe above before any arm starts from the result."""


class PublishedTable(TomlTable):
    """The published recipe, run as trial 0 of each arm."""

    epochs: Epochs = PUBLISHED_EPOCHS
    """The paper's 100; a smaller number belongs in demonstrations only."""
    final_fits: bool = True
    """Whether the published recipe is also trained with the final seeds and tested."""


class BudgetTable(TomlTable):
    """The budget of each arm; it is the same for all."""

    trials: Trials
    """Trials of each study, the published one, pruned and diverged ones included."""
    final_seeds: Repeats = 5
    """Fresh trainings of each winner, each scored once on the sealed test."""
    replicates: Repeats = 3
    """Independent subset + split + search, per cell; one alone is an estimate without a verdict."""
    trial_seconds: Annotated[float, Field(gt=0.0, le=31_536_000.0)] | None = None
    """Time limit of one trial; a trial beyond it counts as pruned."""


class PruningTable(TomlTable):
    """Pruning at the rungs, which are tenths of each trial's schedule; equal in all arms.

    `percentile` prunes a trial where its best report is below a percentile of what the complete
    trials reported at the same rung. Early reports say less about the end, so the percentile rises.

    `halving` pauses trials at the rungs `pause_at`, and their workers do other work. When all
    trials of a bracket are there, the best of them continue from their checkpoints, on any worker;
    the others are pruned.
    """

    enabled: bool = True
    """Whether weak trials are stopped early."""
    kind: Literal["percentile", "halving"] = "percentile"
    """How it is decided which trials are weak."""
    bracket: Annotated[int, Field(ge=2, le=1_000)] = 8
    """Of `halving`: slots that are compared with each other, from slot 1 on. Proposals learn from
    whole brackets, which end at least `lag` slots before their own bracket begins."""
    pause_at: Annotated[tuple[Annotated[int, Field(ge=1, le=9)], ...], Field(min_length=1)] = (3, 6)
    """Of `halving`: the rungs at which trials pause; a short schedule pauses at the next rung that
    it has."""
    promoted: Share = 0.5
    """Of `halving`: the share of a bracket's trials at a rung that continue, rounded up."""
    percentile: Annotated[float, Field(gt=0.0, le=90.0)] = 50.0
    """Trials below it are pruned; 50 is the median."""
    warmup_steps: Annotated[int, Field(ge=0, le=10)] = 3
    """The rung from which the percentile rises; before it nothing is pruned."""
    rise_steps: Annotated[int, Field(ge=0, le=10)] = 5
    """Rungs over which it rises from 0; 0 prunes below the whole percentile from `warmup_steps`
    on, as Optuna's own pruner does."""
    startup_trials: Trials = 4
    """Trials that must have finished before any is pruned."""
    min_trials: Annotated[int, Field(ge=4, le=100_000)] = 4
    """Trials that must have reached the rung; with fewer than 4, one survivor could prune all."""

    @property
    def pauses(self) -> Sequence[int]:
        """The rungs at which trials pause, none where they never do."""
        return self.pause_at if self.enabled and self.kind == "halving" else ()

    def bracket_of(self, slot: int) -> int | None:
        """Return the bracket of a slot; the published recipe, slot 0, never pauses and has none."""
        return (slot - 1) // self.bracket if self.pauses and slot else None

    def bracket_slots(self, number: int) -> range:
        """Return the slots of a bracket."""
        return range(1 + number * self.bracket, 1 + (number + 1) * self.bracket)

    def first_of_bracket(self, slot: int) -> int:
        """Return the first slot of a slot's bracket; without brackets, the slot itself."""
        number = self.bracket_of(slot)
        return slot if number is None else self.bracket_slots(number)[0]

    def last_decided(self, last: int) -> int | None:
        """Return the end of the last whole bracket up to a slot; without brackets, that slot."""
        return last // self.bracket * self.bracket or None if self.pauses else last

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if list(self.pause_at) != sorted(set(self.pause_at)):
            yield ("pause_at",), f"must rise from rung to rung, but is {list(self.pause_at)}"


SAMPLERS: Final = ("tpe", "gp", "qmc", "random")
"""The built-in samplers."""


class SamplerTable(TomlTable):
    """The sampler, which proposes configurations; it is the same in all arms."""

    name: PartName = "tpe"
    """`gp`, a Gaussian process; `tpe`, the tree-structured Parzen estimator; `qmc`, Sobol points;
    `random`; or a sampler from outside the package, as `package.module:name` or the name of an
    entry point."""
    startup_trials: Trials = 8
    """Trials before the sampler learns from earlier ones, spread evenly as Sobol points (at random
    where `lag` is "free", or for a sampler from outside the package). These trials wait for no
    other, and nothing prunes them where `lag` is a number."""
    lag: Trials | Literal["free"] = 4
    """Trial k learns from trials 0 to k - lag alone, and is pruned against them alone; it begins
    when they have ended. So the same file gives the same study for any number of workers, order
    and interruption. At most `lag` trials of a study run at the same time after its first trials:
    with W workers for N studies, 2 W / N is enough. "free" learns from whatever has finished."""

    @property
    def learns(self) -> bool:
        """Whether proposals depend on earlier trials."""
        return self.name not in ("random", "qmc")

    def last_seen(self, slot: int) -> int | None:
        """Return the last slot that a slot learns from; None for none, or where lag is "free"."""
        if self.lag == "free" or slot < max(self.startup_trials, self.lag):
            return None
        return slot - self.lag

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if problem := refusal(find, "sampler", self.name, dict.fromkeys(SAMPLERS)):
            yield ("name",), problem


class VerdictTable(TomlTable):
    """Fixed before the first trial."""

    metric: PartName = PRIMARY
    """Test score that verdicts rest on: a built-in metric such as `macro_auprc` or `macro_f1`, or
    the name of one of `metrics`. One of which lower is better, as `brier`, counts with its sign
    turned. Searches choose winners by validation macro AUROC, whichever it is."""
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.01
    """Difference of the metric below which the arms count as equivalent."""
    confidence: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.95
    """Level of every interval."""
    pairs: Annotated[tuple[tuple[PartName, PartName], ...], Field(max_length=1_000)] = ()
    """Further pairs of arms with a verdict, such as `[["resnet", "founder"]]`: the difference is
    the second minus the first. Every arm has one against the first of `regimes` already. Holm's
    correction is over all of them."""
    until: Literal["planned", "decided"] = "planned"
    """`planned` ends after `replicates` of `[budget]`. `decided` begins with them and looks; then
    `ecgopt run` adds a replicate to every cell that is undecided, and looks again, until every cell
    is decided or has `most` replicates."""
    most: Repeats | None = None
    """Replicates of each cell at most, over all extensions. Each look at the results then spends a
    part of the level (O'Brien and Fleming's shape), and what it decides stands. Without it the
    first look spends everything, and a study that is extended afterwards decides nothing more."""
    least_positives: Annotated[int, Field(ge=2, le=1_000_000)] = 5
    """Test patients who must carry a label and who must lack it; a label with fewer is left out of
    the score of final fits, and named."""


class DiagnosticsTable(TomlTable):
    """Checks of the comparison: outside the budget, and without influence on any winner.

    The table may change at any time; runs that it adds are then made.
    """

    shuffled_labels: bool = True
    """Train the winner of one study per arm on permuted labels; it must learn nothing."""
    rerun: bool = True
    """Train one complete trial per arm again; its score must be the same."""
    audit: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Best pruned trials of each study that are trained to their end."""
    learning_rates: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Learning rates that the published recipe is tried with; the best on validation gets final
    fits, so that the way from the published to the tuned recipe has all its steps."""
    test_curve: bool = False
    """Score the published recipe's final fits on the test after every epoch: the published study
    printed the best of these. It costs one pass over the test set per epoch."""


class WorkersTable(TomlTable):
    """Limits for workers; they may change at any time, unlike everything above."""

    lease_seconds: Seconds = 60.0
    """Time without a renewal after which a worker counts as lost and another takes its item."""
    stall_seconds: Seconds = 1800.0
    """Time without a finished epoch after which a worker counts as hung; longer than any epoch,
    which under cross-validation is one of all folds' networks."""
    checkpoint_seconds: Annotated[float, Field(ge=0.0, le=604_800.0)] = 10.0
    """Minimum time between two checkpoints of a running trial."""
    cuda_graphs: bool = True
    """On GPUs, launch each training step as one recorded graph: several times faster for small
    networks, equal up to rounding. It needs more memory on the card."""
    max_failures: Repeats = 3
    """Failures (workers lost, without progress) after which an item is set aside."""
    retry_seconds: Annotated[float, Field(gt=0.0)] = 20.0
    """Time from an item's first failure to its next attempt; each further pause is six times the
    one before."""


NotifyEvent = Literal["finished", "failed", "paused"]


class NotifyTable(TomlTable):
    """Messages to you, sent by the command that waits for the study: `ecgopt run` or `launch`.

    The table may change at any time. A message that cannot be sent is one warning.
    """

    command: Annotated[tuple[Folder, ...], Field(min_length=1, max_length=100)] | None = None
    """Program and its arguments, started without a shell. It gets the message on its standard
    input, and ECGOPT_EVENT, ECGOPT_STUDY and ECGOPT_TITLE in its environment. Variables such as
    $ECGOPT_TITLE are filled in, each within its argument; `$$` is a dollar sign."""
    webhook: Address | None = None
    """Address that gets an HTTP POST with the message as JSON. Name a variable that holds it, such
    as `$ECGOPT_WEBHOOK`, where the address is a secret."""
    on: Annotated[tuple[NotifyEvent, ...], Field(min_length=1)] = ("finished", "failed", "paused")
    """`finished`: all is done. `failed`: an item was set aside, the study paused itself, or the
    command ends with an error. `paused`: a user paused the study."""
    limit_seconds: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    """Time limit of one message."""

    @property
    def is_set(self) -> bool:
        """Whether there is any way to send a message."""
        return self.command is not None or self.webhook is not None


class TrackTable(TomlTable):
    """Trackers that get a copy of each trial and final fit that ends; none by default.

    The command that waits for the study writes them: `ecgopt run`, or `ecgopt launch` with
    `--wait`. `ecgopt study track` adds what is missing. The table may change at any time.
    """

    tensorboard: Folder | None = None
    """Folder of event files, below the workspace unless it begins with `/`; needs
    `pip install 'ecgopt[tensorboard]'`."""
    mlflow: Folder | None = None
    """Address of an MLflow server, or its database such as `sqlite:///mlflow.db`; needs
    `pip install 'ecgopt[mlflow]'`. MLflow reads its password from $MLFLOW_TRACKING_PASSWORD."""

    @property
    def is_set(self) -> bool:
        """Whether there is any tracker."""
        return self.tensorboard is not None or self.mlflow is not None
