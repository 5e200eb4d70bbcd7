"""From a comparison's data tables to what tuning may see: training and validation records."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from ecgopt.data.folds import Folds, classes_never_scored, fold_rows, held_out
from ecgopt.data.inputs import prepare_set
from ecgopt.data.label_classes import LabelSet
from ecgopt.data.labels import label_set
from ecgopt.data.prepare import prepare
from ecgopt.data.prepared import PreparedSet, open_prepared
from ecgopt.data.same_patients import shared_patients, without_patients
from ecgopt.data.signals import PrepareSettings
from ecgopt.data.sources.synthetic import SyntheticSettings, write_synthetic
from ecgopt.data.splits import (
    EcgDataset,
    Rows,
    TuningData,
    dataset,
    labelled_rows,
    labelled_subset,
    labels_without_both_classes,
    patients_part,
    pool_rows,
    row_labels,
    split_fingerprint,
    stated_rows,
    train_and_validation,
)
from ecgopt.errors import DataError
from ecgopt.seeds import seed_for
from ecgopt.shapes import LabelMatrix
from ecgopt.study_file.cells import ALL_RECORDS, StudyKey, expand_cells, upstreams_of
from ecgopt.study_file.reading import expand_folder
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import DataTable, ModelTable
from ecgopt.workspace import Workspace

Progress = Callable[[str, int, int], None]
"""Called with what is done to which data (`preparing down`), the records done and their total."""


def prepare_data(
    spec: StudySpec,
    workspace: Workspace,
    *,
    n_processes: int,
    on_progress: Progress | None = None,
) -> dict[str, str]:
    """Prepare all data of the comparison where needed; return prepared folder names by data name.

    Raises:
        DataError: a folder is missing or empty, or a record is damaged.
    """
    folders = {
        name: _prepare_one(name, spec, workspace, n_processes, on_progress)
        for name in spec.data_names()
    }
    # Workers open what is here; they would all prepare the same inputs otherwise.
    forms = dict.fromkeys(filter(None, map(spec.input_form, spec.models)))
    for folder in dict.fromkeys(folders.values()) if forms else ():
        prepared = open_prepared(workspace.prepared_data / folder)
        for form in forms:
            prepare_set(prepared, form, workspace.inputs)
    return folders


def _prepare_one(
    name: str,
    spec: StudySpec,
    workspace: Workspace,
    n_processes: int,
    on_progress: Progress | None,
) -> str:
    section, stored = spec.data[name], spec.stored_form()
    folders = [expand_folder(folder) for folder in section.folders]
    if section.synthetic is not None:
        settings = SyntheticSettings(
            n_records=section.synthetic.records,
            **section.synthetic.model_dump(exclude={"records"}),
        )
        folders = [_synthetic_folder(section, workspace)]
        write_synthetic(folders[0], settings, on_progress=_telling(on_progress, f"writing {name}"))
    prepared = prepare(
        _filled_in(section.source),
        folders,
        workspace.prepared_data,
        PrepareSettings(
            sampling_rate_hz=stored.rate_hz,
            seconds=stored.seconds,
            longer=section.longer,
            shorter=section.shorter,
            flat_leads=section.flat_leads,
            broken=section.broken,
        ),
        n_processes=n_processes,
        on_progress=_telling(on_progress, f"preparing {name}"),
    )
    return prepared.folder.name


def _telling(on_progress: Progress | None, doing: str) -> Callable[[int, int], None] | None:
    return partial(on_progress, doing) if on_progress is not None else None


def _filled_in(reference: str) -> str:
    """Return a catalogue name as it is, and the path of a user's file with its variables."""
    return str(expand_folder(reference)) if reference.endswith(".toml") else reference


def _synthetic_folder(section: DataTable, workspace: Workspace) -> Path:
    assert section.synthetic is not None
    content = json.dumps(section.synthetic.model_dump(), sort_keys=True)
    return workspace.raw_data / f"synthetic-{seed_for(content):016x}"


@dataclass(frozen=True)
class PreparedData:
    """The prepared sets of one comparison, and the rows each of its parts may use."""

    spec: StudySpec
    workspace: Workspace
    folders: Mapping[str, str]

    @cached_property
    def _sets(self) -> dict[str, PreparedSet]:
        return {}

    def prepared(self, name: str) -> PreparedSet:
        """Return the opened prepared set of the data called `name`."""
        if name not in self._sets:
            self._sets[name] = open_prepared(self.workspace.prepared_data / self.folders[name])
        return self._sets[name]

    def labels(self, name: str) -> LabelSet:
        """Return the label set of the data called `name`."""
        return label_set(_filled_in(self.spec.data[name].labels))

    def rows(self, name: str) -> Rows:
        """Return all rows of the part: the right patients, with known labels."""
        section, prepared = self.spec.data[name], self.prepared(name)
        low, high = section.patients
        part = patients_part(prepared, low, high, seed=self.spec.seed)
        match section.unlabelled:
            case "keep":
                return part
            case "drop_unstated":
                return np.intersect1d(part, stated_rows(prepared))
            case "drop":
                return np.intersect1d(part, labelled_rows(prepared, self.labels(name)))

    def pool(self, name: str) -> Rows:
        """Return the rows that may be trained on; the sealed test rows are not among them."""
        section = self.spec.data[name]
        if section.test_folds is None and section.test_share is None:
            return self.rows(name)
        return pool_rows(
            self.prepared(name),
            self.rows(name),
            test_folds=section.test_folds,
            test_share=section.test_share,
            seed=seed_for(self.spec.seed, "test", name),
        )

    def dataset(self, name: str, rows: Rows, model: ModelTable | None) -> EcgDataset:
        """Return records of the data called `name` as `model` sees them; None: as prepared."""
        prepared = self.prepared(name)
        records = dataset(prepared, rows, self.labels(name))
        form = self.spec.input_form(model) if model is not None else None
        if form is None:
            return records
        inputs = prepare_set(prepared, form, self.workspace.inputs)
        return replace(records, signals=inputs, sampling_rate_hz=form.rate_hz)

    def check(self) -> None:
        """Check sizes, labels and the separation of patients before any work begins.

        Raises:
            DataError: the pool is too small, a label has no positive record or no negative one,
                or an upstream holds patients of a downstream.
        """
        cells = expand_cells(self.spec)
        for name in dict.fromkeys(cell.downstream for cell in cells):
            self._check_downstream(name, max(c.n_train for c in cells if c.downstream == name))
        pairs = [
            (name, cell.downstream) for cell in cells for name in upstreams_of(self.spec, cell)
        ]
        for upstream, name in dict.fromkeys(pairs):
            if (part := self.spec.upstream_data(upstream)) is not None:
                self._check_apart(part, name)
        for upstream in self.spec.upstreams:
            if self.spec.upstream_objective(upstream) == "age":
                self._check_ages(upstream)

    def downstream(self, key: StudyKey) -> tuple[Folds, dict[str, object]]:
        """Return training and validation records of a study, and the provenance of the split.

        Validation records come out of the `n_train` labelled ones: a share of them, or all of
        them by turns. Both regimes of a replicate get the same records: the regime has no part in
        any draw.
        """
        prepared, labels = self.prepared(key.downstream), self.labels(key.downstream)
        pool = self.pool(key.downstream)
        seed = seed_for(self.spec.seed, "subset", key.downstream)
        n_train = len(pool) if key.n_train == ALL_RECORDS else key.n_train
        subset = labelled_subset(prepared, pool, n_train, seed=seed, replicate=key.replicate)
        divided = self._divided(
            prepared,
            subset,
            row_labels(prepared, subset, labels),
            seed=seed_for(seed, "validation", key.replicate, key.n_train),
        )
        data = tuple(
            TuningData(*(self.dataset(key.downstream, rows, key.model) for rows in parts))
            for parts in divided
        )
        counts: dict[str, object]
        if len(data) > 1:
            parts = [validation for _, validation in divided]
            counts = {"n_folds": len(data), "n_labelled": len(subset)}
        else:
            parts = [*divided[0]]
            counts = {"n_train": len(data[0].train), "n_validation": len(data[0].validation)}
        left_out = list(classes_never_scored(data))
        split = {
            "n_pool": len(pool),
            **counts,
            "fingerprint": split_fingerprint(prepared, *parts),
            "left_out_of_validation": left_out,
            # Kept records that count as negative for every class: all, and those never examined.
            "n_without_class": int((~row_labels(prepared, subset, labels).any(axis=1)).sum()),
            "n_without_statement": int((~np.isin(subset, stated_rows(prepared))).sum()),
            "prepared": prepared.fingerprint,
        }
        if len(left_out) == len(labels.classes):
            raise DataError(
                f"{key.path}: no label has both positives and negatives among the "
                f"{len(held_out(data))} validation records: raise train_sizes, or hold out a "
                "larger share (validation_share, or fewer validation_folds)"
            )
        return data, split

    def _divided(
        self, prepared: PreparedSet, rows: Rows, labels: LabelMatrix, *, seed: int
    ) -> list[tuple[Rows, Rows]]:
        """Return training and validation rows: one division, or one per fold."""
        if (n_folds := self.spec.validation_folds) > 1:
            folds = fold_rows(prepared, rows, labels, n_folds=n_folds, seed=seed)
            return [(np.setdiff1d(rows, fold), fold) for fold in folds]
        share = self.spec.validation_share
        return [train_and_validation(prepared, rows, labels, validation_share=share, seed=seed)]

    def upstream(self, name: str, model: ModelTable | None = None) -> TuningData:
        """Return training and validation records of a pre-training; its test rows stay out.

        Their labels are what the upstream's objective predicts: ages, or the label set's classes.

        Args:
            name: The upstream.
            model: What is pre-trained; None: the records as they were prepared.
        """
        part = self.spec.upstream_data(name)
        assert part is not None, "a checkpoint is not pre-trained"
        prepared, labels = self.prepared(part), self.labels(part)
        rows = self.pool(part)
        parts = train_and_validation(
            prepared,
            rows,
            row_labels(prepared, rows, labels),
            validation_share=self.spec.pretrain.validation_share,
            seed=seed_for(self.spec.seed, "upstream", part),
        )
        if self.spec.upstream_objective(name) == "age":
            from ecgopt.training.pretrain import with_ages

            ages = prepared.records["age_years"].to_numpy(dtype=np.float64)
            train, validation = (
                with_ages(self.dataset(part, chosen, model), ages[chosen]) for chosen in parts
            )
        else:
            train, validation = (self.dataset(part, chosen, model) for chosen in parts)
        return TuningData(train, validation)

    def _check_ages(self, upstream: str) -> None:
        data = self.upstream(upstream)
        for part, records in {"train": data.train, "validation": data.validation}.items():
            ages = records.labels[np.isfinite(records.labels)]
            if len(np.unique(ages)) < 2:
                raise DataError(
                    f"upstream {upstream!r}: pre-training by age needs two different ages, but "
                    f"the {part} records state {len(ages)} ages: choose another objective"
                )

    def _check_downstream(self, name: str, largest: int) -> None:
        prepared, labels, pool = self.prepared(name), self.labels(name), self.pool(name)
        if largest > len(pool):
            raise DataError(
                f"data {name!r}: `train_sizes <= {len(pool)}` must hold (its records outside the "
                f"sealed test), but got {largest}"
            )
        lacking = labels_without_both_classes(row_labels(prepared, pool, labels), labels.classes)
        if lacking:
            raise DataError(
                f"data {name!r}: every label needs positive and negative records, but among the "
                f"{len(pool)} that may be trained on, {', '.join(lacking)} has only one kind: "
                "choose another label set or more records"
            )

    def _check_apart(self, upstream: str, downstream: str) -> None:
        first, second = self.prepared(upstream), self.prepared(downstream)
        if first.folder == second.folder:
            shared = frozenset(second.records["patient"].to_numpy()[self.rows(downstream)])
        else:
            shared = shared_patients(first, second)
        rows = self.pool(upstream)
        left = without_patients(first, rows, shared)
        if len(left) < len(rows):
            raise DataError(
                f"upstream {upstream!r} holds {len(rows) - len(left)} records of patients of "
                f"downstream {downstream!r}: give them disjoint `patients` intervals"
            )
