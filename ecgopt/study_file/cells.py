"""The cells and studies that a comparison expands to, their names and their sizes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ecgopt.data.sources.catalog import SOURCES, dataset_info
from ecgopt.errors import UserError
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import CellsTable, DataTable, ModelTable

ALL_RECORDS: Final = 0
"""The `n_train` of cells that take every labelled record outside the sealed test."""

OWN_NETWORKS: Final = "own-networks"
"""Stands for the network of cells whose arms all state their own."""

OWN_UPSTREAMS: Final = "own-upstreams"
"""Stands for the upstream of cells whose arms all state their own, or need none."""

PUBLISHED_FOLDS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of upstream data, downstream data, model and training size."""

    upstream: str
    downstream: str
    model: ModelTable | None
    """None where every arm states its own network."""
    n_train: int

    @property
    def network(self) -> str:
        """The label of the network that the arms share."""
        return OWN_NETWORKS if self.model is None else self.model.label

    @property
    def path(self) -> str:
        """The cell's name inside its comparison."""
        return f"{self.downstream}/{self.network}/{size_in_path(self.n_train)}/{self.upstream}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyKey:
    """One Optuna study: one arm of one replicate of a cell.

    An arm without an upstream has `upstream=None`, and its study serves every cell that
    differs in the upstream alone: training from scratch knows no upstream.
    """

    downstream: str
    model: ModelTable
    n_train: int
    replicate: int
    regime: str
    upstream: str | None
    pretraining_run: int = 0
    """Which of the upstream's pre-training runs the study starts from."""

    @property
    def path(self) -> str:
        """The study's name inside its comparison."""
        source = f"/from-{self.upstream}" if self.upstream is not None else ""
        return (
            f"{self.downstream}/{self.model.label}/{size_in_path(self.n_train)}"
            f"/r{self.replicate}/{self.regime}{source}"
        )

    def coordinates(self) -> dict[str, Any]:
        """Return the study's place in the comparison, as evidence and Optuna's studies hold it."""
        return {
            "regime": self.regime,
            "upstream": self.upstream,
            "downstream": self.downstream,
            "model": self.model.label,
            "n_train": self.n_train,
            "replicate": self.replicate,
        }

    @property
    def pretraining(self) -> str | None:
        """The key of the pre-training that the study starts from."""
        if self.upstream is None:
            return None
        return pretraining_key(self.upstream, self.model, self.pretraining_run)


def size_in_path(n_train: int) -> str:
    """Return a training size as in the names of studies."""
    return "all" if n_train == ALL_RECORDS else f"n{n_train}"


def size_in_words(n_train: int) -> str:
    """Return a training size in words; the records of "all" are not counted yet."""
    return "all records" if n_train == ALL_RECORDS else f"n = {n_train:,}"


def pretraining_key(upstream: str, model: ModelTable, run: int = 0) -> str:
    """Return the key of a pre-training run of `model` on `upstream`."""
    return f"{upstream}-{model.label}" + (f"-run{run}" if run else "")


def study_name(comparison: str, key: StudyKey) -> str:
    """Return the name of the Optuna study."""
    return f"{comparison}/{key.path}"


def expand_cells(spec: StudySpec) -> Sequence[Cell]:
    """Return the comparison's cells; an upstream is never paired with itself."""
    return list(dict.fromkeys(cell for block in spec.blocks() for cell in _cells_of(spec, block)))


def _cells_of(spec: StudySpec, block: CellsTable) -> Iterator[Cell]:
    of_cells = spec.models_of_cells()
    models: Sequence[ModelTable | None] = of_cells or (None,)
    if block.models is not None:
        models = [model for model in spec.models if model.label in block.models]
    nothing = OWN_UPSTREAMS if any(map(spec.own_upstream, spec.regimes)) else "none"
    for downstream in block.downstreams or spec.downstreams:
        for model in models:
            for size in block.train_sizes or spec.train_sizes:
                for upstream in block.upstreams or spec.upstreams_of_cells() or (nothing,):
                    if spec.upstream_data(upstream) != downstream:
                        yield Cell(
                            upstream=upstream,
                            downstream=downstream,
                            model=model,
                            n_train=ALL_RECORDS if size == "all" else size,
                        )


def replicates_of(spec: StudySpec, cell: Cell) -> int:
    """Return the number of a cell's replicates: the budget's, or fewer where it is stopped."""
    return spec.stopped.get(cell.path, spec.budget.replicates)


def studies_of_cell(spec: StudySpec, cell: Cell, replicate: int) -> tuple[StudyKey, ...]:
    """Return the studies, reference arm first, of one replicate of a cell.

    Args:
        spec: The comparison.
        cell: One of its cells.
        replicate: Number of the replicate, from 0.
    """
    return tuple(_study_of_arm(spec, cell, replicate, arm) for arm in spec.regimes)


def _study_of_arm(spec: StudySpec, cell: Cell, replicate: int, arm: str) -> StudyKey:
    model = spec.own_model(arm) or cell.model
    assert model is not None, f"no network of the arm {arm} or of its cell"
    needs_upstream = spec.start(arm).needs_upstream
    upstream = spec.own_upstream(arm) or cell.upstream if needs_upstream else None
    return StudyKey(
        downstream=cell.downstream,
        model=model,
        n_train=cell.n_train,
        replicate=replicate,
        regime=arm,
        upstream=upstream,
        pretraining_run=replicate % spec.pretraining_runs(upstream) if upstream else 0,
    )


def upstreams_of(spec: StudySpec, cell: Cell) -> tuple[str, ...]:
    """Return the upstreams that a cell and its arms name, each once."""
    named = (cell.upstream, *map(spec.own_upstream, spec.regimes))
    return tuple(dict.fromkeys(name for name in named if name in spec.upstreams))


def are_rivals(spec: StudySpec, one: StudyKey, other: StudyKey) -> bool:
    """Tell whether two studies are arms of one cell and replicate."""
    keys = (one, other)
    own_model = any(spec.own_model(key.regime) for key in keys)
    own_upstream = any(key.upstream is None or spec.own_upstream(key.regime) for key in keys)
    return (
        one.regime != other.regime
        and (one.downstream, one.n_train, one.replicate)
        == (other.downstream, other.n_train, other.replicate)
        and (own_model or one.model == other.model)
        and (own_upstream or one.upstream == other.upstream)
    )


def network_of_cell(spec: StudySpec, key: StudyKey) -> str:
    """Return the label of the network of a study's cell, which an arm's own does not name."""
    if spec.own_model(key.regime) is None:
        return key.model.label
    of_cells = spec.models_of_cells()
    return of_cells[0].label if len(of_cells) == 1 else OWN_NETWORKS


def expand_studies(spec: StudySpec) -> Sequence[StudyKey]:
    """Return every study of the comparison once, in the order in which workers begin."""
    cells = expand_cells(spec)
    keys = (
        key
        for replicate in range(spec.budget.replicates)
        for cell in cells
        if replicate < replicates_of(spec, cell)
        for key in studies_of_cell(spec, cell, replicate)
    )
    return list(dict.fromkeys(keys))


def expected_pool(spec: StudySpec, name: str) -> int:
    """Return the approximate number of records of `[data.NAME]` outside the sealed test.

    It follows from the published number of records, which includes records without a label.

    Raises:
        UserError: nothing is published about the data.
    """
    table = spec.data[name]
    low, high = table.patients
    return max(1, round(_n_records(name, table) * (high - low) * (1.0 - _test_share(table))))


def expected_size(spec: StudySpec, downstream: str, n_train: int) -> int:
    """Return the number of labelled records of a cell, that of "all" as `expected_pool` has it.

    Args:
        spec: The comparison.
        downstream: Name of its table of `[data]`.
        n_train: A training size, or `ALL_RECORDS`.
    """
    return expected_pool(spec, downstream) if n_train == ALL_RECORDS else n_train


def _n_records(name: str, table: DataTable) -> int:
    if table.synthetic is not None:
        return table.synthetic.records
    n_records = dataset_info(table.source).records if table.source in SOURCES else None
    if n_records is None:
        raise UserError(
            f"[data.{name}]: how many records {table.source!r} has is not published, so the work "
            "on all of them cannot be estimated: give numbers in train_sizes"
        )
    return n_records


def _test_share(table: DataTable) -> float:
    if table.test_folds is not None:
        return len(table.test_folds) / PUBLISHED_FOLDS
    return table.test_share or 0.0
