"""The groups by sex and age for which test scores are shown apart.

Test predictions carry these groups and no age, so that a bundle tells little of a patient.
"""

import math
from collections.abc import Mapping
from typing import Final

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.splits import Rows

NOT_STATED: Final = ""
"""The group of a record whose sex, or age, is not known."""

AGE_GROUPS: Final = (
    (0.0, "under 40"),
    (40.0, "40 to 59"),
    (60.0, "60 to 79"),
    (80.0, "80 and over"),
)
"""The youngest age in years, and the name of the group from there."""


def subgroups_of(prepared: PreparedSet, rows: Rows) -> Mapping[str, tuple[str, ...]]:
    """Return `sex` and `age`, each with the group of every record of `rows`."""
    table = prepared.records.iloc[rows]
    return {
        "sex": tuple(sex if isinstance(sex, str) else NOT_STATED for sex in table["sex"]),
        "age": tuple(map(age_group, table["age_years"])),
    }


def age_group(years: float | None) -> str:
    """Return the group of an age in years; None and NaN are not stated."""
    if years is None or math.isnan(years):
        return NOT_STATED
    return next(name for youngest, name in reversed(AGE_GROUPS) if years >= youngest)
