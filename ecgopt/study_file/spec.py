"""The whole study file, which describes one comparison, and the rules that tie its tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Self

from pydantic import Field, PrivateAttr, ValidationError

from ecgopt.data.inputs import InputForm
from ecgopt.data.labels import LABEL_SETS, label_set
from ecgopt.data.sources.catalog import SOURCES
from ecgopt.errors import StudyFileError, did_you_mean
from ecgopt.models.registry import MODELS, InputShape, Network, builder, freezable_stages
from ecgopt.plugins import outside_code
from ecgopt.regimes.hyperparameters import (
    Choices,
    Range,
    SearchSpace,
    published_parameters,
    range_problem,
)
from ecgopt.regimes.regimes import REGIMES, Regime, regime
from ecgopt.study_file.tables import (
    SAMPLERS,
    ArmTable,
    BudgetTable,
    CellsTable,
    DataTable,
    DiagnosticsTable,
    ModelTable,
    Name,
    Names,
    NotifyTable,
    PartName,
    PretrainObjective,
    PretrainTable,
    PruningTable,
    PublishedTable,
    RangeTable,
    RecipeTable,
    SamplerTable,
    Seed,
    Share,
    Size,
    Text,
    TrackTable,
    UpstreamTable,
    VerdictTable,
    WorkersTable,
)
from ecgopt.toml_errors import BrokenRule, TomlTable, explained, refusal
from ecgopt.training.challenge import weights_for
from ecgopt.training.metrics import METRICS, chosen_metrics, decision_metric
from ecgopt.training.recipe import Value

MOST_TRIALS: Final = 10_000_000
"""Of one comparison; their work items must fit a database."""


class StudySpec(TomlTable):
    """One comparison: all arms get the same data, networks, shared ranges and budget."""

    name: Name
    """Names the studies in the database and the folders of results."""
    question: Text = "Does transfer learning beat training from scratch once each is tuned fairly?"
    """Heads the report; may change at any time."""
    seed: Seed = 0
    """Every random number follows from it."""
    regimes: Annotated[tuple[PartName, ...], Field(min_length=2, max_length=100)] = (
        "scratch",
        "fine_tune",
    )
    """The arms, the reference first; a difference is another arm minus the reference. Each is a
    start, or the name of a table of `[arms]`. A start from outside the package is named
    `package.module:name` or by an entry point."""
    arms: dict[Name, ArmTable] = Field(default_factory=dict)
    """`[arms.NAME]`: an arm with a start, a network or an upstream of its own."""
    upstreams: Names = ()
    """Tables of `[data]` to pre-train on, or of `[upstream]`."""
    downstreams: Annotated[tuple[Name, ...], Field(min_length=1, max_length=1_000)]
    """Tables of `[data]` on which the arms are compared."""
    train_sizes: Annotated[tuple[Size, ...], Field(min_length=1, max_length=1_000)]
    """Numbers of labelled records, or "all"; validation records come out of them."""
    validation_share: Share = 0.25
    """Share of the labelled records that selects the winner and is not trained on."""
    validation_folds: Annotated[int, Field(ge=1, le=20)] = 1
    """2 or more: select by cross-validation of the labelled records over so many folds instead of
    by `validation_share`. A trial then trains a network per fold; its cost is theirs together."""
    metrics: Annotated[tuple[PartName, ...], Field(max_length=100)] = ()
    """Metrics from outside the package, shown next to the built-in ones: `package.module:name` or
    the name of an entry point."""
    data: dict[Name, DataTable]
    """`[data.NAME]`: a data set or a part of one; upstreams and downstreams name it."""
    upstream: dict[Name, UpstreamTable] = Field(default_factory=dict)
    """`[upstream.NAME]`: an upstream with another objective, or one that is your own checkpoint."""
    inputs: dict[Name, InputForm] = Field(default_factory=dict)
    """`[inputs.NAME]`: what a network sees of a record; a table of `[[models]]` names it. With any,
    records are prepared at the highest rate and greatest length that a network sees."""
    models: Annotated[tuple[ModelTable, ...], Field(min_length=1, max_length=1_000)] = (
        ModelTable(),
    )
    """`[[models]]`, once per network."""
    cells: Annotated[tuple[CellsTable, ...], Field(max_length=1_000)] = ()
    """`[[cells]]`: blocks of the grid of the lists above; without any, the whole grid."""
    space: dict[str, dict[str, RangeTable]]
    """`[space.shared]` for all arms, `[space.<start>]` for the parameters of the arms with that
    start, `[space.<arm>]` for those of one arm alone."""
    recipe: RecipeTable = RecipeTable()
    published: PublishedTable = PublishedTable()
    pretrain: PretrainTable = PretrainTable()
    budget: BudgetTable
    pruning: PruningTable = PruningTable()
    sampler: SamplerTable = SamplerTable()
    verdict: VerdictTable = VerdictTable()
    diagnostics: DiagnosticsTable = DiagnosticsTable()
    workers: WorkersTable = WorkersTable()
    notify: NotifyTable = NotifyTable()
    track: TrackTable = TrackTable()
    _stopped: Mapping[str, int] = PrivateAttr(default_factory=dict)

    @property
    def stopped(self) -> Mapping[str, int]:
        """Replicates of the cells that are decided and get no more, by the cell's path.

        The study file cannot say it: it comes from the extensions of a study that has begun.
        """
        return self._stopped

    def with_stopped(self, stopped: Mapping[str, int]) -> Self:
        """Return the comparison with these cells stopped."""
        changed = self.model_copy()
        changed._stopped = dict(stopped)
        return changed

    def start(self, arm: str) -> Regime:
        """Return the start of an arm.

        Raises:
            UserError: there is none of that name.
        """
        return regime(self.start_name(arm))

    def start_name(self, arm: str) -> str:
        """Return the name of an arm's start, which is the arm's where no table describes it."""
        return self.arms[arm].start if arm in self.arms else arm

    def own_model(self, arm: str) -> ModelTable | None:
        """Return the network that an arm states; None where it takes the cell's."""
        label = self.arms[arm].model if arm in self.arms else None
        return next((model for model in self.models if model.label == label), None)

    def own_upstream(self, arm: str) -> str | None:
        """Return the upstream that an arm states; None where it takes the cell's, or none."""
        return self.arms[arm].upstream if arm in self.arms else None

    def models_of_cells(self) -> tuple[ModelTable, ...]:
        """Return the networks that form cells; none where every arm states its own."""
        owned = {self.own_model(arm) for arm in self.regimes}
        return tuple(model for model in self.models if model not in owned) if None in owned else ()

    def upstreams_of_cells(self) -> tuple[str, ...]:
        """Return the upstreams that form cells; none where no arm takes one from its cell."""
        owned = {self.own_upstream(arm) for arm in self.regimes} - {None}
        if owned and not any(self._takes_upstream(arm) for arm in self.regimes):
            return ()
        return tuple(name for name in self.upstreams if name not in owned)

    def _takes_upstream(self, arm: str) -> bool:
        if self.own_upstream(arm) is not None or refusal(self.start, arm):
            return False
        return self.start(arm).needs_upstream

    def search_space(self, arm: str, model: ModelTable | None = None) -> SearchSpace:
        """Return the ranges of one arm: the shared ones that it uses, its start's and its own.

        With a model, the range of frozen stages ends at the number of its stages.
        """
        shared, of_start, own = (
            {name: table.range() for name, table in self.space.get(key, {}).items()}
            for key in ("shared", self.start_name(arm), arm)
        )
        unused = self.start(arm).unused_parameters
        used = {name: span for name, span in shared.items() if name not in unused}
        space = SearchSpace({**used, **of_start, **own})
        if model is None:
            return space
        return space.capped("frozen_stages", freezable_stages(model.spec()))

    def input_form(self, model: ModelTable) -> InputForm | None:
        """Return what `model` sees of a record; None is the prepared record as it is."""
        if not self.inputs:
            return None
        return self.inputs[model.input] if model.input is not None else InputForm()

    def stored_form(self) -> InputForm:
        """Return the rate and the length at which records are prepared, for all networks."""
        forms = [self.input_form(model) or InputForm() for model in self.models]
        return InputForm(
            rate_hz=max(form.rate_hz for form in forms),
            seconds=max(form.seconds for form in forms),
        )

    def last_seen(self, slot: int) -> int | None:
        """Return the last slot whose trial a slot's sampler and pruner see, with all before it.

        None is no slot at all, or, where lag is "free", whatever has begun by then.
        """
        if not (self.pruning.enabled or self.sampler.learns):
            return None
        last = self.sampler.last_seen(self.pruning.first_of_bracket(slot))
        return None if last is None else self.pruning.last_decided(last)

    def space_fingerprint(self) -> str:
        """Return a hash over the spaces of all arms."""
        return "-".join(self.search_space(name).fingerprint() for name in self.regimes)

    def published_values(self, arm: str) -> dict[str, Value]:
        """Return the published recipe as values of the arm's tuned parameters."""
        names = list(self.search_space(arm))
        return published_parameters(names, n_epochs=self.published.epochs)

    def pretraining_runs(self, upstream: str) -> int:
        """Return the pre-training runs on an upstream; your own checkpoint is a single one."""
        table = self.upstream.get(upstream)
        is_given = table is not None and table.checkpoint is not None
        return 1 if is_given else self.pretrain.runs

    def contrasts(self) -> tuple[tuple[str, str], ...]:
        """Return the pairs of arms that get a verdict, the reference of each first."""
        reference, *others = self.regimes
        return (*((reference, arm) for arm in others), *self.verdict.pairs)

    def upstream_data(self, name: str) -> str | None:
        """Return the table of `[data]` of an upstream; None for a checkpoint of unknown records."""
        table = self.upstream.get(name)
        if table is None or (table.data is None and table.checkpoint is None):
            return name
        return table.data

    def upstream_objective(self, name: str) -> PretrainObjective:
        """Return the objective of the pre-training on an upstream."""
        table = self.upstream.get(name)
        return (table.objective if table else None) or self.pretrain.objective

    def blocks(self) -> Sequence[CellsTable]:
        """Return the blocks of cells; one for the whole grid where the file has none."""
        return self.cells or (CellsTable(),)

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
        free = {"question", "diagnostics", "workers", "notify", "track"}
        content = self.model_dump(mode="json", exclude=free)
        code = self._outside_code()
        return content | ({"code": code} if code else {})

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """Return the comparison of a stored `scientific_content`, with today's defaults.

        Raises:
            StudyFileError: it is of a version that knew other keys, or code from outside the
                package that it names is not here.
        """
        try:
            return cls.model_validate({key: part for key, part in content.items() if key != "code"})
        except ValidationError as error:
            raise StudyFileError("; ".join(explained(error, cls))) from error

    def _outside_code(self) -> dict[str, str]:
        """Return the identity of the code from outside the package."""
        sources = [self.data[name].source for name in self.data_names()]
        readers = [source for source in sources if not source.endswith(".toml")]
        return {
            **outside_code("start", [*map(self.start_name, self.regimes)], REGIMES),
            **outside_code("network", [model.name for model in self.models], MODELS),
            **outside_code("data source", readers, SOURCES),
            **outside_code("metric", self.metrics, METRICS),
            **outside_code("sampler", [self.sampler.name], dict.fromkeys(SAMPLERS)),
        }

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the tables together."""
        yield from self._rules_of_data()
        yield from self._rules_of_inputs()
        yield from self._rules_of_cells()
        if problem := refusal(chosen_metrics, self.metrics):
            yield ("metrics",), problem
        else:
            yield from self._rules_of_metric()
        unsound = [*self._rules_of_arms(), *self._rules_of_regimes()]
        if self.arms and not unsound:
            yield from self._rules_of_own_networks()
            yield from self._rules_of_collapsed_lists()
        yield from self._rules_of_pairs()
        yield from unsound or self._rules_of_space()

    def _rules_of_data(self) -> Iterator[BrokenRule]:
        for name in self.upstream:
            if name not in self.upstreams:
                yield ("upstream", name), f"{name!r} is not listed in upstreams: add it there"
        for key in ("upstreams", "downstreams"):
            for place, name in enumerate(getattr(self, key)):
                data = self.upstream_data(name) if key == "upstreams" else name
                if data is not None and data not in self.data:
                    hint = did_you_mean(data, self.data)
                    yield (key, place), f"there is no table [data.{data}]: {hint}"
        for name in self.downstreams:
            table = self.data.get(name)
            if table is not None and table.test_folds is None and table.test_share is None:
                yield ("data", name), "a downstream needs test_folds or test_share: add one"

    def _rules_of_inputs(self) -> Iterator[BrokenRule]:
        used = {model.input for model in self.models}
        for name, form in self.inputs.items():
            if name not in used:
                yield ("inputs", name), f"no [[models]] has input = {name!r}: add it there"
            if form.crop_seconds is not None:
                yield (
                    ("inputs", name, "crop_seconds"),
                    "crops are not trained on yet: give their length in seconds instead",
                )
        for place, model in enumerate(self.models):
            if model.input is not None and model.input not in self.inputs:
                hint = did_you_mean(model.input, self.inputs)
                yield ("models", place, "input"), f"there is no [inputs.{model.input}]: {hint}"
                continue
            form, network = self.input_form(model) or InputForm(), builder(model.name)
            shape = InputShape(
                n_leads=len(form.leads), n_samples=form.n_samples, n_labels=len(form.leads)
            )
            if isinstance(network, Network) and (
                problem := refusal(network.limits.check, model.name, shape)
            ):
                yield ("models", place, "input"), problem

    def _rules_of_cells(self) -> Iterator[BrokenRule]:
        lists: Mapping[str, Sequence[object]] = {
            "upstreams": self.upstreams,
            "downstreams": self.downstreams,
            "models": [model.label for model in self.models],
            "train_sizes": self.train_sizes,
        }
        for number, block in enumerate(self.cells):
            for key, allowed in lists.items():
                for place, name in enumerate(getattr(block, key) or ()):
                    if name not in allowed:
                        hint = did_you_mean(str(name), map(str, allowed))
                        yield ("cells", number, key, place), f"{name!r} is not in {key}: {hint}"
        for number, block in enumerate(self.blocks()):
            of_cells = block.upstreams or self.upstreams_of_cells()
            upstreams = [self.upstream_data(name) for name in of_cells]
            downstreams = set(block.downstreams or self.downstreams)
            if upstreams and downstreams == set(upstreams) and len(downstreams) == 1:
                yield (
                    ("cells", number) if self.cells else ("upstreams",),
                    "no upstream has other data than its downstream: name another",
                )
        yield from self._rules_of_looks()
        if (n_trials := self._most_trials()) > MOST_TRIALS:
            yield (
                ("budget", "trials"),
                f"the comparison would have {n_trials:,} trials; at most {MOST_TRIALS:,} are "
                "possible: choose fewer trials, replicates or cells",
            )

    def _rules_of_metric(self) -> Iterator[BrokenRule]:
        name = self.verdict.metric
        if problem := refusal(decision_metric, name, self.metrics):
            yield ("verdict", "metric"), problem
        elif name == "challenge":
            for data in self.downstreams:
                labels = self.data[data].labels if data in self.data else ""
                if labels in LABEL_SETS and weights_for(label_set(labels).classes) is None:
                    yield (
                        ("verdict", "metric"),
                        f"the labels {labels!r} of {data!r} have no challenge score: choose "
                        "another metric",
                    )

    def _rules_of_looks(self) -> Iterator[BrokenRule]:
        if self.verdict.until != "decided":
            return
        most, now = self.verdict.most, self.budget.replicates
        if most is None or most <= now:
            yield (
                ("verdict", "most"),
                f"must be greater than replicates = {now} where until = 'decided', but is "
                f"{'not given' if most is None else most}: name the replicates at most",
            )
        if "all" in self.train_sizes:
            yield (
                ("verdict", "until"),
                "a cell that trains on all records is never decided: name sizes in train_sizes, or "
                "set until = 'planned'",
            )

    def _rules_of_pairs(self) -> Iterator[BrokenRule]:
        known = {frozenset((self.regimes[0], arm)) for arm in self.regimes[1:]}
        for place, pair in enumerate(self.verdict.pairs):
            key = ("verdict", "pairs", place)
            unknown = [name for name in pair if name not in self.regimes]
            if unknown:
                hint = did_you_mean(unknown[0], self.regimes)
                yield key, f"{unknown[0]!r} is not listed in regimes: {hint}"
            elif pair[0] == pair[1]:
                yield key, f"{pair[0]!r} and {pair[1]!r} are one arm: name two"
            elif frozenset(pair) in known:
                yield key, f"{pair[0]!r} and {pair[1]!r} have a verdict already: delete the pair"
            known.add(frozenset(pair))

    def _rules_of_arms(self) -> Iterator[BrokenRule]:
        labels = [model.label for model in self.models]
        for name, table in self.arms.items():
            if name in ("shared", "published", *REGIMES):
                yield ("arms", name), f"{name!r} has a meaning of its own: choose another name"
            elif name not in self.regimes:
                yield ("arms", name), f"{name!r} is not listed in regimes: add it there"
            if table.model is not None and table.model not in labels:
                hint = did_you_mean(table.model, labels)
                yield ("arms", name, "model"), f"{table.model!r} is no label of [[models]]: {hint}"
            if problem := refusal(regime, table.start):
                yield ("arms", name, "start"), problem
            elif table.upstream is not None:
                yield from self._rules_of_own_upstream(name, table.start, table.upstream)

    def _rules_of_own_upstream(self, arm: str, start: str, upstream: str) -> Iterator[BrokenRule]:
        key = ("arms", arm, "upstream")
        if not regime(start).needs_upstream:
            yield key, f"{start!r} needs no upstream: delete it"
        elif upstream not in self.upstreams:
            hint = did_you_mean(upstream, self.upstreams)
            yield key, f"{upstream!r} is not listed in upstreams: {hint}"
        elif self.upstream_data(upstream) in self.downstreams:
            yield key, f"{upstream!r} has the data of a downstream: name another"

    def _rules_of_own_networks(self) -> Iterator[BrokenRule]:
        owned = {arm: self.own_model(arm) for arm in self.regimes}
        for arm, own in owned.items():
            if own is None and not self.models_of_cells():
                yield (
                    ("models",),
                    f"each network is that of an arm, and none is left for {arm!r}: add one",
                )
        for place, model in enumerate(self.models):
            if None not in owned.values() and model not in owned.values():
                yield ("models", place), "no arm has this network: name it in one, or delete it"

    def _rules_of_collapsed_lists(self) -> Iterator[BrokenRule]:
        lists = {"models": self.models_of_cells(), "upstreams": self.upstreams_of_cells()}
        for number, block in enumerate(self.cells):
            for key, of_cells in lists.items():
                if getattr(block, key) is not None and not of_cells:
                    yield ("cells", number, key), "every arm states its own: delete the list"

    def _rules_of_regimes(self) -> Iterator[BrokenRule]:
        for place, name in enumerate(self.regimes):
            if name in self.arms:
                if refusal(self.start, name):
                    continue  # told with the arm's table
            elif problem := refusal(regime, name):
                yield ("regimes", place), f"{problem}, or describe it in a table of [arms]"
                continue
            needs_upstream = self.start(name).needs_upstream and self.own_upstream(name) is None
            if name in self.regimes[:place]:
                yield (
                    ("regimes", place),
                    f"{name!r} is there twice: delete one; 'scratch_twin' is the A/A control of "
                    "'scratch'",
                )
            elif needs_upstream and not self.upstreams_of_cells():
                yield ("upstreams",), f"{name!r} starts from an upstream: name at least one"

    def _rules_of_space(self) -> Iterator[BrokenRule]:
        groups = dict.fromkeys(("shared", *self.regimes, *map(self.start_name, self.regimes)))
        for group, tables in self.space.items():
            if group not in groups:
                hint = did_you_mean(group, groups)
                yield ("space", group), f"must be 'shared' or one of the regimes: {hint}"
                continue
            for name, table in tables.items():
                if problem := self._range_problem(group, name, table.range()):
                    yield ("space", group, name), problem
        for name in self.regimes:
            needed_here = self.start(name).needed_parameters
            for needed in sorted(needed_here - self.search_space(name).ranges.keys()):
                yield ("space", name, needed), f"{name!r} needs a range for it: add one"
        has_rates = "learning_rate" in self.space.get("shared", {}) and any(
            "learning_rate" not in self.start(name).unused_parameters for name in self.regimes
        )
        if self.diagnostics.learning_rates and not has_rates:
            yield (
                ("diagnostics", "learning_rates"),
                "no learning_rate is searched, whose range it spreads over: set it to 0, or add "
                "learning_rate to [space.shared]",
            )

    def _range_problem(self, group: str, name: str, span: Range | Choices) -> str:
        """Return what is wrong with one range, or an empty text."""
        if problem := range_problem(name, span):
            return problem
        if group != "shared":
            own = self.start(group).own_parameters
            if name not in own:
                holds = ", ".join(sorted(own)) or "nothing"
                return f"this table may hold {holds}: move {name} to [space.shared]"
            if name in self.space.get("shared", {}):
                return "is in [space.shared] too, and its range must be one: delete one of the two"
        if name == "frozen_stages" and isinstance(span, Range):
            of_arm = self.own_model(group)
            models = self.models if of_arm is None else [of_arm]
            most = max(freezable_stages(model.spec()) for model in models)
            if span.high > most:
                return f"high must be at most {most}, the network's stages, but is {span.high:g}"
        value = published_parameters([name], n_epochs=self.published.epochs)[name]
        if not span.contains(value):
            or_else = ", or for a first look set epochs in [published]" if name == "epochs" else ""
            return (
                f"must hold the published recipe, but {name} = {value} is outside {span}: widen "
                f"the range{or_else}"
            )
        return ""

    def _most_trials(self) -> int:
        """Return the number of trials, those counted repeatedly that several cells share."""
        n_cells = sum(
            len(block.downstreams or self.downstreams)
            * len(block.upstreams or self.upstreams_of_cells() or ("none",))
            * len(block.models or self.models_of_cells() or ("own",))
            * len(block.train_sizes or self.train_sizes)
            for block in self.blocks()
        )
        n_replicates = max(self.budget.replicates, self.verdict.most or 0)
        return n_cells * len(self.regimes) * n_replicates * self.budget.trials
