"""A study that adds replicates until every cell is decided, and pays for each look."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent
from pydantic import ValidationError
from tiny_study import tiny_study

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.conclude import conclude
from ecgopt.planning.continuation import next_look
from ecgopt.planning.plan import plan
from ecgopt.report.plan_table import plan_lines
from ecgopt.report.results import results
from ecgopt.report.terminal import answer_lines, verdict_lines
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.spec import StudySpec

WORLD = World(replicates=4, final_seeds=2, trials=4, train_sizes=(200, 400), n_patients=400)
SECONDS = {"resnet1d18-w2": 0.01}


def spec_of(verdict='until = "decided"\nmost = 8', sizes="[200, 400]", replicates=4):
    text = tiny_study(replicates=replicates).replace("train_sizes = [60]", f"train_sizes = {sizes}")
    return StudySpec.model_validate(tomllib.loads(f"{text}\n[verdict]\n{verdict}\n"))


def scored(evidence, gain_of):
    """Return the evidence with test scores that rise by a gain and differ a little by replicate."""
    finals = []
    for final in evidence.finals:
        shift = gain_of(final.n_train) if final.regime == "fine_tune" else 0.0
        wobble = 0.015 * np.sin(7 * final.replicate + 3 * final.seed_index + final.n_train)
        score = 0.7 + shift + (wobble if final.regime == "fine_tune" else 0.0)
        finals.append(replace(final, metrics={**final.metrics, "macro_auroc": float(score)}))
    return replace(evidence, finals=tuple(finals))


def planned(evidence, **changes):
    comparison = replace(evidence.comparison, most_replicates=8)
    return replace(evidence, comparison=replace(comparison, **changes))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def one_clear(workspace):
    """Return evidence of a clear gain at the small size and of none at the large one."""
    evidence = scored(invent(WORLD, workspace), lambda n_train: 0.2 if n_train == 200 else 0.0)
    return planned(evidence)


def without_influence(_):
    return None


def test_the_cell_that_is_decided_stops_and_the_other_gets_one_more(one_clear, workspace):
    found = next_look(spec_of(), one_clear, workspace)
    assert found is not None
    assert found.replicates == 5
    assert found.stopped == {"down/resnet1d18-w2/n200/up": 4}


def test_a_look_that_is_repeated_finds_the_same(one_clear, workspace):
    first, again = (next_look(spec_of(), one_clear, workspace) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    "spec", [spec_of("most = 8"), spec_of("", replicates=4), spec_of(replicates=4).with_stopped({})]
)
def test_only_a_study_that_runs_until_it_is_decided_looks_again(one_clear, workspace, spec):
    found = next_look(spec, one_clear, workspace)
    assert (found is not None) == (spec.verdict.until == "decided")


def test_all_decided_or_all_spent_needs_no_look(one_clear, workspace):
    clear = scored(one_clear, lambda _: 0.2)
    assert next_look(spec_of(), clear, workspace) is None
    spent = spec_of().model_copy(update={"budget": spec_of().budget.model_copy()})
    spent = spent.model_copy(update={"budget": spent.budget.model_copy(update={"replicates": 8})})
    assert next_look(spent, one_clear, workspace) is None


def test_work_that_was_given_up_is_repaired_before_another_look(one_clear, workspace):
    lost = one_clear.finals[-1]
    item = {"item": f"final/{lost.study}/tuned/01", "cause": "diverged", "detail": ""}
    halfway = replace(
        one_clear,
        finals=tuple(f for f in one_clear.finals if f.study != lost.study),
        set_aside=(item,) * 4,
    )
    assert next_look(spec_of(), halfway, workspace) is None


def test_stopped_cells_get_no_more_studies_and_keep_those_that_other_cells_need():
    spec = spec_of(replicates=5).with_stopped({"down/resnet1d18-w2/n200/up": 4})
    counts = {size: 0 for size in (200, 400)}
    for key in expand_studies(spec):
        counts[key.n_train] += 1
    assert counts == {200: 2 * 4, 400: 2 * 5}


def stop_at_four(one_clear, workspace, gain):
    """Return evidence of 6 replicates, of which the small cell has 4."""
    whole = scored(invent(replace(WORLD, replicates=6), workspace), gain)
    kept = planned(whole, looks=(4, 5), replicates=(4, 6))

    def is_kept(item):
        return item.n_train == 400 or item.replicate < 4

    return replace(
        kept,
        studies=tuple(filter(is_kept, kept.studies)),
        finals=tuple(filter(is_kept, kept.finals)),
    )


def test_a_decided_cell_stays_decided_and_says_by_which_look(one_clear, workspace):
    stopped = stop_at_four(one_clear, workspace, lambda n: 0.2 if n == 200 else 0.0)
    concluded = conclude(stopped, workspace)
    small, large = (cell.comparisons[0] for cell in concluded.cells)
    assert (small.verdict, small.judgement.decided_at, small.n_planned) == ("fine_tune wins", 4, 8)
    assert large.judgement.decided_at is None or large.judgement.decided_at > 4
    assert large.n_planned == 12
    gates = {gate.name: gate.state for gate in concluded.gates}
    assert gates["everything that was planned is there"] == "passed"
    assert gates["cells that got no more replicates were decided"] == "passed"
    printed = " ".join(verdict_lines(concluded))
    assert "decided at the look at 4 replicates" in printed
    third = answer_lines(concluded)[2]
    assert "4 to 6 replicates" in third
    assert "3 looks of a plan for at most 8 replicates, at 4, 5, 6" in third
    (entry,) = results(concluded)["cells"][0]["comparisons"]
    assert entry["decided_at"] == 4


def test_a_cell_that_was_stopped_without_a_decision_fails_a_gate(one_clear, workspace):
    stopped = stop_at_four(one_clear, workspace, lambda _: 0.0)
    concluded = conclude(stopped, workspace)
    gates = {gate.name: gate.state for gate in concluded.gates}
    assert gates["cells that got no more replicates were decided"] == "failed"


def test_while_more_replicates_run_a_decided_cell_keeps_its_verdict(one_clear, workspace):
    whole = stop_at_four(one_clear, workspace, lambda n: 0.2 if n == 200 else 0.0)
    running = replace(whole, finals=tuple(f for f in whole.finals if f.replicate < 5))
    found = compare_cells(running, without_influence)
    assert [each.verdict for each in found] == ["fine_tune wins", "interim"]


def test_a_plan_says_that_its_numbers_are_of_the_first_look():
    spec = spec_of('until = "decided"\nmost = 8')
    printed = " ".join(plan_lines(plan(spec, seconds_per_sample=SECONDS), spec, n_workers=1))
    assert "up to 8: the numbers above are of the first 4" in printed
    alone = spec_of("most = 8")
    printed = " ".join(plan_lines(plan(alone, seconds_per_sample=SECONDS), alone, n_workers=1))
    assert "is added to every cell" not in printed


@pytest.mark.parametrize(
    ("verdict", "sizes", "named"),
    [
        ('until = "decided"', "[200]", "must be greater than replicates = 4"),
        ('until = "decided"\nmost = 4', "[200]", "but is 4"),
        ('until = "decided"\nmost = 9', '["all"]', "never decided"),
    ],
)
def test_a_plan_that_cannot_look_again_is_refused(verdict, sizes, named):
    with pytest.raises(ValidationError, match=named):
        spec_of(verdict, sizes)
