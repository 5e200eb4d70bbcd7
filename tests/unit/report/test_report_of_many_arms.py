"""A comparison of more than two regimes: the reference first, every other arm against it."""

import csv
import io
import re

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.report.page.sections import build_page
from ecgopt.report.paper_table import paper_table
from ecgopt.report.tables import headline_table
from ecgopt.report.terminal import verdict_lines, verdict_table

ARMS = ("scratch", "fine_tune", "linear_probe", "frozen_random")
WORLD = World(
    replicates=2, final_seeds=2, trials=10, train_sizes=(200, 800), regimes=ARMS, beside=True
)


@pytest.fixture(scope="module")
def conclusions(tmp_path_factory):
    workspace = tmp_path_factory.mktemp("workspace")
    return conclude(invent(WORLD, workspace), workspace)


@pytest.fixture(scope="module")
def sections(conclusions):
    return {section.name: section for section in build_page(conclusions).all_sections()}


def test_every_other_arm_of_every_cell_is_compared_with_the_reference(conclusions):
    pairs = [
        (found.reference, found.regime) for cell in conclusions.cells for found in cell.comparisons
    ]
    assert pairs == [("scratch", arm) for _ in WORLD.train_sizes for arm in ARMS[1:]]


def test_the_verdicts_name_the_arm_in_a_column_of_its_own(sections):
    table = sections["verdicts"].tables[0]
    assert table.columns[:3] == ("cell", "arm", "verdict")
    assert [row[1] for row in table.rows] == ["fine-tune", "linear probe", "frozen random"] * 2
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_only_arms_that_were_pre_trained_have_a_break_even(sections):
    (table,) = [t for t in sections["cost"].tables if t.title.startswith("Targets")]
    assert not any("frozen random" in row[0] for row in table.rows)
    assert any("linear probe" in row[0] for row in table.rows)


def test_the_waterfall_is_drawn_for_fine_tuning_and_tabled_for_every_arm(sections):
    section = sections["published"]
    assert len(section.all_drawings()) == len(WORLD.train_sizes)
    assert {row[0].rsplit(", ", 1)[1] for row in section.tables[0].rows} == {
        "fine-tune", "linear probe", "frozen random",
    }  # fmt: skip


def test_the_scores_of_all_arms_stand_side_by_side(sections):
    table = sections["scores"].tables[0]
    assert table.columns == (
        "cell", "score", "scratch", "fine-tune", "linear probe", "frozen random", "trivial",
    )  # fmt: skip


def test_every_arm_has_a_look_of_its_own(sections):
    (drawing, *_) = sections["budget"].all_drawings()
    colours = set(re.findall(r"stroke: var\(--arm-(\d)\)", drawing.inline_svg))
    assert {"0", "1", "2", "3"} <= colours


def test_terminal_paper_and_csv_name_the_arm(conclusions):
    assert verdict_table(conclusions).row_count == 6
    assert sum("linear probe minus scratch" in line for line in verdict_lines(conclusions)) == 2
    assert paper_table(conclusions, "md").splitlines()[0].split("|")[5].strip() == "arm"
    rows = list(csv.DictReader(io.StringIO(headline_table(conclusions).to_csv())))
    assert {row["regime"] for row in rows} == set(ARMS[1:])


def test_each_arm_is_set_against_the_cost_of_one_target(sections):
    table = sections["cost"].tables[0]
    assert table.title.startswith("What one target costs")
    assert len(table.rows) == len(ARMS) * len(WORLD.train_sizes)
    assert {row[1] for row in table.rows} == {
        "scratch", "fine-tune", "linear probe", "frozen random",
    }  # fmt: skip
    first, *_ = sections["cost"].galleries
    assert first.title == "Arms by score and cost"
    assert len(first.drawings) == len(WORLD.train_sizes)
    assert first.drawings[0].alt.startswith("Front: ")
