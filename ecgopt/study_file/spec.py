"""The study file: one comparison, written in TOML and validated before anything runs."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ecgopt.data.sources.catalog import SOURCES
from ecgopt.models.registry import MODELS, ModelSpec, freezable_stages
from ecgopt.plugins import outside_code
from ecgopt.regimes.hyperparameters import (
    PARAMETERS,
    SearchSpace,
    published_parameters,
    range_problem,
)
from ecgopt.regimes.regimes import REGIMES, Regime, regime
from ecgopt.study_file.tables import (
    SAMPLERS,
    BudgetTable,
    CellsTable,
    DataTable,
    DiagnosticsTable,
    ModelTable,
    Name,
    PartName,
    PretrainObjective,
    PretrainTable,
    PruningTable,
    PublishedTable,
    RangeTable,
    RecipeTable,
    SamplerTable,
    Share,
    Size,
    Table,
    UpstreamTable,
    VerdictTable,
    WorkersTable,
)
from ecgopt.training.recipe import Value


class StudySpec(Table):
    """One comparison: all regimes get the same data, models, shared ranges and budget."""

    name: Name
    """Names the studies in the database and the folders of results."""
    question: str = "Does transfer learning beat training from scratch once each is tuned fairly?"
    """Heads the report; may change at any time."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Every random number follows from it."""
    regimes: Annotated[tuple[PartName, ...], Field(min_length=2)] = ("scratch", "fine_tune")
    """The reference arm first; a difference is another arm minus the reference. One from outside
    the package is named `package.module:name` or by an entry point."""
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
    data: dict[Name, DataTable]
    """`[data.NAME]`: a data set or a part of one; upstreams and downstreams name it."""
    upstream: dict[Name, UpstreamTable] = Field(default_factory=dict)
    """`[upstream.NAME]`: an upstream with an objective or a checkpoint of its own."""
    models: Annotated[tuple[ModelTable, ...], Field(min_length=1)] = (ModelTable(),)
    """`[[models]]`, once per network."""
    cells: tuple[CellsTable, ...] = ()
    """`[[cells]]`: blocks of the grid of the lists above; without any, the whole grid."""
    space: dict[str, dict[str, RangeTable]]
    """`[space.shared]` for all regimes, `[space.<regime>]` for a regime's own parameters."""
    recipe: RecipeTable = RecipeTable()
    published: PublishedTable = PublishedTable()
    pretrain: PretrainTable = PretrainTable()
    budget: BudgetTable
    pruning: PruningTable = PruningTable()
    sampler: SamplerTable = SamplerTable()
    verdict: VerdictTable = VerdictTable()
    diagnostics: DiagnosticsTable = DiagnosticsTable()
    workers: WorkersTable = WorkersTable()

    def search_space(self, regime_name: str, model: ModelTable | None = None) -> SearchSpace:
        """Return the ranges of one regime: the shared ones it has a use for, and its own.

        Those of a given model freeze no more stages than it has.
        """
        shared, own = (
            {name: table.range() for name, table in self.space.get(key, {}).items()}
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

    def published_values(self, regime_name: str) -> dict[str, Value]:
        """Return the published recipe as values of the regime's tuned parameters."""
        names = list(self.search_space(regime_name))
        return published_parameters(names, n_epochs=self.published.epochs)

    def upstream_data(self, name: str) -> str | None:
        """Return the table of `[data]` of an upstream; None for a checkpoint of unknown records."""
        table = self.upstream.get(name)
        if table is None or (table.data is None and table.checkpoint is None):
            return name
        return table.data

    def upstream_objective(self, name: str) -> PretrainObjective:
        """Return what is pre-trained for on an upstream."""
        table = self.upstream.get(name)
        return (table.objective if table else None) or self.pretrain.objective

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
        content = self.model_dump(mode="json", exclude={"workers", "diagnostics", "question"})
        code = self._outside_code()
        return content | ({"code": code} if code else {})

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Self:
        """Return the comparison of a stored `scientific_content`, with today's defaults.

        Raises:
            ValidationError: it is of a version that knew other keys.
            UserError: code from outside the package that it names is not here.
        """
        return cls.model_validate({key: part for key, part in content.items() if key != "code"})

    def _outside_code(self) -> dict[str, str]:
        """Return which code the parts from outside the package are."""
        sources = [self.data[name].source for name in self.data_names()]
        readers = [source for source in sources if not source.endswith(".toml")]
        return {
            **outside_code("start", self.regimes, REGIMES),
            **outside_code("network", [model.name for model in self.models], MODELS),
            **outside_code("data source", readers, SOURCES),
            **outside_code("sampler", [self.sampler.name], dict.fromkeys(SAMPLERS)),
        }

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
            table = self.data[name]
            if table.test_folds is None and table.test_share is None:
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
            _check_own_parameters(regime(name), self.space.get(name, {}))
            space = self.search_space(name)
            _check_ranges(space, models)
            _check_published(space, self.published_values(name))
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


def _check_own_parameters(regime: Regime, given: Collection[str]) -> None:
    """Check the parameters of `[space.<regime>]`.

    Raises:
        ValueError: one belongs into `[space.shared]`, or one that the regime needs is missing.
    """
    own = regime.own_parameters
    for name in given:
        if name in PARAMETERS and name not in own:
            raise ValueError(
                f"[space.{regime.name}] may hold {sorted(own) or 'nothing'}, but got {name!r}: "
                "write it once in [space.shared]"
            )
    for name in sorted(regime.needed_parameters):
        if name not in given:
            raise ValueError(f"[space.{regime.name}] must give a range for {name!r}: add one")


def _check_ranges(space: SearchSpace, models: Mapping[str, ModelSpec]) -> None:
    """Check that every parameter is known and its range has a meaning for the models.

    Raises:
        ValueError: a parameter is unknown or its range is out of bounds.
    """
    for name, span in space.ranges.items():
        if problem := range_problem(name, span):
            raise ValueError(problem)
    if (frozen := space.numeric("frozen_stages")) is None:
        return
    # Of several models the one with most stages decides; the others' ranges end where theirs do.
    label, most = max(
        ((label, freezable_stages(model)) for label, model in models.items()),
        key=lambda found: found[1],
    )
    if frozen.high > most:
        raise ValueError(
            f"`frozen_stages <= {most}` must hold for {label}, but got high={frozen.high:g}"
        )


def _check_published(space: SearchSpace, values: Mapping[str, Value]) -> None:
    """Check that the published recipe is a point of the space.

    Raises:
        ValueError: it is not.
    """
    for name in space.outside(values):
        shorter = ", or for a first look set `epochs` in [published]" if name == "epochs" else ""
        raise ValueError(
            f"the published recipe must lie in the searched space, but its {name} = "
            f"{values[name]} is outside {space.ranges[name]}: widen the range{shorter}"
        )
