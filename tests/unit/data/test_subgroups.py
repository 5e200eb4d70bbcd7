"""Groups by sex and age."""

import math

import pandas as pd
import pytest

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.subgroups import age_group, subgroups_of


@pytest.mark.parametrize(
    ("years", "group"),
    [
        (0.0, "under 40"),
        (39.99, "under 40"),
        (40.0, "40 to 59"),
        (59.5, "40 to 59"),
        (60.0, "60 to 79"),
        (80.0, "80 and over"),
        (300.0, "80 and over"),
        (math.nan, ""),
        (None, ""),
    ],
)
def test_each_age_is_in_one_group_and_an_unknown_one_in_none(years, group):
    assert age_group(years) == group


def test_the_groups_are_those_of_the_rows_asked_for_in_their_order(tmp_path):
    records = pd.DataFrame({"sex": ["male", None, "female"], "age_years": [81.0, 50.0, math.nan]})
    prepared = PreparedSet(
        folder=tmp_path, fingerprint="", signals=None, records=records, manifest={}
    )
    assert subgroups_of(prepared, [2, 0, 1]) == {
        "sex": ("female", "male", ""),
        "age": ("", "80 and over", "40 to 59"),
    }
