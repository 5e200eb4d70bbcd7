"""The verdict names its winner by the arm's name, whatever the order of the arms."""

import json
from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.conclude import conclude
from ecgopt.report.figures.forest import draw_forest
from ecgopt.report.results import results
from ecgopt.report.tables import headline_table
from ecgopt.report.terminal import answer_lines, verdict_lines

CLEAR = World(replicates=6, final_seeds=2, trials=4, gain=0.8, run_spread=0.02, n_patients=400)


@pytest.fixture(scope="module", params=[("scratch", "fine_tune"), ("fine_tune", "scratch")])
def conclusions(request, workspace):
    return conclude(invent(replace(CLEAR, regimes=request.param), workspace), workspace)


def test_every_output_names_fine_tuning_as_the_winner(conclusions):
    (cell,) = results(conclusions)["cells"]
    (found,) = cell["comparisons"]
    assert (found["winner"], found["verdict"]) == ("fine_tune", "fine_tune wins")
    table = headline_table(conclusions)
    assert dict(zip(table.columns, table.rows[0], strict=True))["verdict"] == "fine-tune wins"
    assert "Fine-tune wins" in answer_lines(conclusions)[0]
    assert "Fine-tune wins" in verdict_lines(conclusions)[0]


def test_the_legend_of_the_forest_plot_names_the_winner(conclusions):
    assert ">fine-tune wins</text>" in draw_forest(conclusions).svg


@pytest.mark.parametrize("regimes", [("scratch", "fine_tune"), ("fine_tune", "scratch")])
def test_findings_about_scratch_do_not_depend_on_the_order_of_the_arms(workspace, regimes):
    world = replace(CLEAR, name="targets", regimes=regimes, downstreams=("ptbxl", "cpsc"))
    findings = conclude(invent(world, workspace), workspace).findings
    outcomes = {finding.name: finding.outcome for finding in findings}
    assert (outcomes["C1"], outcomes["C5"]) == ("supported", "supported")


def test_findings_are_not_judged_without_the_arms_that_they_are_about(workspace):
    world = replace(CLEAR, name="probe", regimes=("linear_probe", "fine_tune"))
    assert conclude(invent(world, workspace), workspace).findings == ()


@pytest.mark.parametrize("final_seeds", [1, 2, 5])
def test_one_replicate_is_undecided_however_large_the_difference(workspace, final_seeds):
    world = replace(CLEAR, name=f"one{final_seeds}", replicates=1, final_seeds=final_seeds)
    concluded = conclude(invent(world, workspace), workspace)
    (found,) = results(concluded)["cells"][0]["comparisons"]
    assert found["difference"] > 0.05
    assert (found["verdict"], found["further_replicates"]) == ("undecided", None)
    assert "one replicate is always undecided" in json.dumps(found["caveats"])
    assert "One replicate never decides: use at least 3." in answer_lines(concluded)[0]


def test_holm_runs_over_all_arms_and_cells(workspace):
    world = replace(CLEAR, name="arms", regimes=("scratch", "fine_tune", "lp_ft", "layer_decay"))
    found = compare_cells(invent(world, workspace), lambda _: None)
    alone = sorted(item.judgement.tests.difference for item in found)
    corrected = sorted(item.judgement.corrected.difference for item in found)
    assert len(found) == 3
    assert corrected[0] == pytest.approx(3 * alone[0])
