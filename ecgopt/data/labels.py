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

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Classes in a fixed order, and the statement codes that stand for each."""

    name: str
    classes: tuple[str, ...]
    members: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Statement code to the classes it belongs to."""

    def encode(self, statements: Sequence[Mapping[str, float]]) -> Bool[np.ndarray, "record label"]:
        """Return True where a record carries a class.

        A statement counts whatever its likelihood, 0 included, as in the PTB-XL benchmark of
        Strodthoff et al.: there a likelihood of 0 means "not stated".

        Args:
            statements: One mapping per record, statement code to likelihood in percent.
        """
        labels = np.zeros((len(statements), len(self.classes)), dtype=np.bool_)
        column = {name: index for index, name in enumerate(self.classes)}
        columns = {code: [column[name] for name in names] for code, names in self.members.items()}
        for row, codes in enumerate(statements):
            for code in codes:
                if code in columns:
                    labels[row, columns[code]] = True
        return labels

    def codes_of(self, name: str) -> frozenset[str]:
        """Return the statement codes that stand for the class `name`."""
        return frozenset(code for code, names in self.members.items() if name in names)


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
    return _BUILDERS[name](name)


def table_rows(table: str) -> list[dict[str, str]]:
    """Return the rows of one of the package's own tables."""
    with (TABLES / table).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


_Builder = Callable[[str], LabelSet]


def _from_table(table: str, column: str, order: Sequence[str] = ()) -> _Builder:
    """Build from a table with a column of codes and one of classes; empty means none."""

    def build(name: str) -> LabelSet:
        rows = [row for row in table_rows(table) if row[column]]
        members = {row["code"]: (row[column],) for row in rows}
        # The order of first appearance, which for the challenges is that of their weights.
        classes = tuple(order) or tuple(dict.fromkeys(row[column] for row in rows))
        return LabelSet(name=name, classes=classes, members=members)

    return build


def _from_codes(codes: Mapping[str, str]) -> _Builder:
    """Build from class names and their codes, separated by `|`."""

    def build(name: str) -> LabelSet:
        members = {code: (label,) for label, listed in codes.items() for code in listed.split("|")}
        return LabelSet(name=name, classes=tuple(codes), members=members)

    return build


_CODE_SIX = {
    "1dAVb": "1dAVb",
    "RBBB": "RBBB",
    "LBBB": "LBBB",
    "SB": "SB",
    "AF": "AF",
    "ST": "ST",
}

_BUILDERS: Mapping[str, _Builder] = {
    "ptbxl_superclass": _from_table("ptbxl.csv", "superclass", ("NORM", "MI", "STTC", "CD", "HYP")),
    "ptbxl_subclass": _from_table("ptbxl.csv", "subclass"),
    "ptbxl_diagnostic": _from_table("ptbxl.csv", "diagnostic"),
    "ptbxl_form": _from_table("ptbxl.csv", "form"),
    "ptbxl_rhythm": _from_table("ptbxl.csv", "rhythm"),
    "ptbxl_all": _from_table("ptbxl.csv", "all"),
    "cinc2020": _from_table("cinc2020.csv", "class"),
    "cinc2021": _from_table("cinc2021.csv", "class"),
    # SNOMED code of the challenges, then the text of their first issue (REFERENCE.csv counts
    # the classes in this order).
    "cpsc2018": _from_codes(
        {
            "NORM": "426783006|Normal",
            "AF": "164889003|AF",
            "IAVB": "270492004|I-AVB",
            "LBBB": "164909002|LBBB",
            "RBBB": "59118001|RBBB",
            "PAC": "284470004|PAC",
            "VEB": "164884008|PVC",
            "STD": "429622005|STD",
            "STE": "164931005|STE",
        }
    ),
    # The ten classes of the published study.
    "georgia": _from_codes(
        {
            "NORM": "426783006",
            "AF": "164889003",
            "IAVB": "270492004",
            "SB": "426177001",
            "LAD": "39732003",
            "STach": "427084000",
            "TAb": "164934002",
            "TInv": "59931005",
            "LQT": "111975006",
            "PAC": "284470004",
        }
    ),
    "ptb": _from_codes(
        {
            "NORM": "healthy control|426783006",
            "MI": "myocardial infarction|164865005|22298006",
        }
    ),
    "code_test": _from_codes({"NORM": "normal_ecg"} | _CODE_SIX),
    "code_test_six": _from_codes(_CODE_SIX),
    "chagas": _from_codes({"Chagas": "chagas"}),
    "sph": _from_table("sph.csv", "class"),
    "synthetic": _from_codes(
        {
            "NORM": "426783006",
            "AF": "164889003",
            "IAVB": "270492004",
            "LBBB": "164909002",
            "RBBB": "59118001",
            "PVC": "427172004",
            "STD": "429622005",
            "SB": "426177001",
            "STach": "427084000",
        }
    ),
}
