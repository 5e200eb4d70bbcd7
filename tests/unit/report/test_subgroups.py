"""Sex and age groups in page, CSV and results.json."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.evidence.consistency import contradictions
from ecgopt.evidence.predictions import read_predictions, write_predictions
from ecgopt.report.page.scores import subgroup_section
from ecgopt.report.results import results
from ecgopt.report.tables import subgroups_table

WORLD = World(gain=1.5, trials=4, replicates=2, final_seeds=1, has_subgroups=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    return invent(WORLD, workspace), workspace


@pytest.fixture(scope="module")
def conclusions(made):
    return conclude(*made)


def test_page_csv_and_results_hold_the_same_groups_and_numbers(conclusions):
    section = subgroup_section(conclusions)
    table = subgroups_table(conclusions)
    frame = pd.DataFrame(table.rows, columns=table.columns)
    stored = json.loads(json.dumps(results(conclusions)))["subgroups"]
    assert [row[1].partition(" (")[0] for row in section.tables[0].rows] == [
        "female", "male", "age under 40", "age 40 to 59", "age 60 to 79",
    ]  # fmt: skip
    assert [each["group"] for each in stored["comparisons"]] == frame["group"].tolist()
    assert [each["difference"] for each in stored["comparisons"]] == frame["difference"].tolist()
    for row, difference in zip(section.tables[0].rows, frame["difference"], strict=True):
        assert row[4].startswith(f"{difference:+.3f}".replace("-", "−"))


def test_the_page_names_the_groups_that_are_left_out(conclusions):
    (_, left_out) = subgroup_section(conclusions).paragraphs
    assert "age 80 and over (3 patients of ptbxl)" in left_out
    assert "sex not stated (1 patient of ptbxl)" in left_out


def test_a_page_of_predictions_without_groups_says_not_recorded(tmp_path):
    evidence = invent(replace(WORLD, has_subgroups=False), tmp_path)
    section = subgroup_section(conclude(evidence, tmp_path))
    assert section.tables == ()
    (said,) = section.paragraphs
    assert "Not recorded: the test predictions of ptbxl do not hold sex and age." in said


def test_a_record_of_another_sex_in_one_fit_is_a_contradiction(made):
    evidence, workspace = made
    first, *others = evidence.finals
    found = read_predictions(workspace / first.predictions)
    groups = {**found.subgroups, "sex": ("male", *found.subgroups["sex"][1:])}
    path, digest = write_predictions(replace(found, subgroups=groups), workspace / "forged")
    forged = replace(first, predictions=str(path.relative_to(workspace)), predictions_sha256=digest)
    assert not any(contradictions(evidence, workspace).values())
    (said, *_) = contradictions(replace(evidence, finals=(forged, *others)), workspace)[
        "records have one truth and one patient"
    ]
    assert "has another sex elsewhere" in said
