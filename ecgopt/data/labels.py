"""Label sets: which statements of a data set make which classes."""

import csv
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from ecgopt.errors import UserError

_TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Classes in a fixed order, and the statement codes that stand for each."""

    name: str
    classes: tuple[str, ...]
    members: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Statement code to the classes it belongs to."""
    otherwise: str | None = None
    """Class of the records that belong to no other class."""

    def encode(self, statements: Sequence[Mapping[str, float]]) -> Bool[np.ndarray, "record label"]:
        """Return True where a record carries a class.

        A statement counts whatever its likelihood, 0 included, as in the PTB-XL benchmark: there
        a likelihood of 0 means "not stated".

        Args:
            statements: One mapping per record, statement code to likelihood in percent.
        """
        labels = np.zeros((len(statements), len(self.classes)), dtype=np.bool_)
        column = {name: index for index, name in enumerate(self.classes)}
        columns = {code: [column[name] for name in names] for code, names in self.members.items()}
        for row, codes in enumerate(statements):
            for code in codes:
                labels[row, columns.get(code, [])] = True
        if self.otherwise is not None:
            labels[:, column[self.otherwise]] = ~labels.any(axis=1)
        return labels


def label_set(name: str) -> LabelSet:
    """Return the label set called `name`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in _BUILDERS:
        close = difflib.get_close_matches(name, _BUILDERS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_BUILDERS)}"
        raise UserError(f"label set {name!r} is not known; {hint}")
    return _build(name)


def label_set_names() -> tuple[str, ...]:
    """Return the names of all label sets."""
    return tuple(_BUILDERS)


@cache
def _build(name: str) -> LabelSet:
    return _BUILDERS[name]()


def _rows(table: str) -> list[dict[str, str]]:
    with (_TABLES / table).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _ptbxl(column: str, order: Sequence[str] = ()) -> Callable[[], LabelSet]:
    def build() -> LabelSet:
        members = {row["code"]: (row[column],) for row in _rows("ptbxl.csv") if row[column]}
        found = sorted({names[0] for names in members.values()})
        return LabelSet(name=f"ptbxl_{column}", classes=tuple(order or found), members=members)

    return build


def _from_codes(name: str, codes: Mapping[str, Sequence[str]]) -> Callable[[], LabelSet]:
    def build() -> LabelSet:
        members = {code: (label,) for label, listed in codes.items() for code in listed}
        return LabelSet(name=name, classes=tuple(codes), members=members)

    return build


_BUILDERS: Mapping[str, Callable[[], LabelSet]] = {
    "ptbxl_superclass": _ptbxl("superclass", ("NORM", "MI", "STTC", "CD", "HYP")),
    "synthetic": _from_codes(
        "synthetic",
        {
            "NORM": ("426783006",),
            "AF": ("164889003",),
            "IAVB": ("270492004",),
            "LBBB": ("164909002",),
            "RBBB": ("59118001",),
            "PVC": ("427172004",),
            "STD": ("429622005",),
            "SB": ("426177001",),
            "STach": ("427084000",),
        },
    ),
}
