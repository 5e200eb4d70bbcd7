"""How many records a part will hold, before any of its data are at hand."""

from ecgopt.data.sources.catalog import SOURCES, dataset_info
from ecgopt.errors import UserError
from ecgopt.study_file.cells import ALL_RECORDS
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import DataSection

PUBLISHED_FOLDS = 10


def expected_pool(spec: StudySpec, name: str) -> int:
    """Return about how many records of `[data.NAME]` lie outside the sealed test.

    The published number of records counts; records that lack a label are not known beforehand.

    Raises:
        UserError: nothing is published about the data.
    """
    section = spec.data[name]
    low, high = section.patients
    return max(1, round(_n_records(name, section) * (high - low) * (1.0 - _test_share(section))))


def expected_size(spec: StudySpec, downstream: str, n_train: int) -> int:
    """Return the number of labelled records of a cell, that of "all" as `expected_pool` has it."""
    return expected_pool(spec, downstream) if n_train == ALL_RECORDS else n_train


def _n_records(name: str, section: DataSection) -> int:
    if section.synthetic is not None:
        return section.synthetic.records
    n_records = dataset_info(section.source).records if section.source in SOURCES else None
    if n_records is None:
        raise UserError(
            f"[data.{name}]: how many records {section.source!r} has is not published, so the work "
            "on all of them cannot be estimated: give numbers in train_sizes"
        )
    return n_records


def _test_share(section: DataSection) -> float:
    if section.test_folds is not None:
        return len(section.test_folds) / PUBLISHED_FOLDS
    return section.test_share or 0.0
