"""The label sets that ecgopt knows by name."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from ecgopt.data.csv_tables import table_rows
from ecgopt.data.label_classes import LabelSet
from ecgopt.data.sources.own_files import own_label_set
from ecgopt.errors import UserError, did_you_mean

__all__ = ["LABEL_SETS", "LabelSet", "label_set"]


def label_set(name: str) -> LabelSet:
    """Return the label set called `name`, or the one that the file `name` (`own.toml`) describes.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name.endswith(".toml"):
        return own_label_set(Path(name))
    if name not in LABEL_SETS:
        # A data set's name alone, such as ptbxl, may mean any of its label sets.
        of_set = [known for known in LABEL_SETS if known.startswith(f"{name}_")]
        hint = f"did you mean {' or '.join(of_set)}?" if of_set else did_you_mean(name, LABEL_SETS)
        raise UserError(f"label set {name!r} is not known: {hint}")
    return _build(name)


@cache
def _build(name: str) -> LabelSet:
    return LABEL_SETS[name](name)


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

LABEL_SETS: Mapping[str, _Builder] = {
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
    "samitrop": _from_codes({"NORM": "normal_ecg", "death": "death"}),
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
