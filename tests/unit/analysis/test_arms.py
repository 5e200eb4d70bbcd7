from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.arms import Arm, count_trials, sort_into_arms
from ecgopt.analysis.cost import ArmCost, Cost, arm_cost, break_even
from ecgopt.analysis.equal_spend import equal_spend
from ecgopt.causes import Cause
from ecgopt.evidence.consistency import contradictions
from ecgopt.evidence.records import ArmStart, CellKey, StudyEvidence, TrialEvidence


def trial(
    number=0, state="complete", cause=Cause.DONE, value=0.8, epochs=5, recipe="tuned", **more
):
    return TrialEvidence(
        number=number,
        state=state,
        cause=cause,
        value=value,
        parameters={"epochs": epochs},
        n_epochs=epochs,
        seconds=2.0 * epochs,
        n_samples=100 * epochs,
        recipe=recipe,
        **more,
    )


@pytest.mark.parametrize(
    ("state", "cause", "counted"),
    [
        ("complete", "done", "complete"),
        ("pruned", "pruned", "pruned"),
        ("pruned", "timed_out", "timed_out"),
        ("pruned", "diverged", "diverged"),
        ("failed", "out_of_memory", "out_of_memory"),
        ("failed", "error", "failed"),
        ("failed", "lost", "lost"),
        ("failed", "set_aside", "set_aside"),
        ("running", "", "unfinished"),
        ("waiting", "", "unfinished"),
    ],
)
def test_every_trial_is_counted_once_under_its_outcome(state, cause, counted):
    counts = count_trials([trial(state=state, cause=cause)])
    assert counts.total == 1
    assert getattr(counts, counted) == 1


def test_a_study_without_upstream_serves_every_cell_that_differs_in_the_upstream(tmp_path):
    world = World(upstreams=("georgia", "cpsc"), replicates=2, trials=6, final_seeds=1)
    arms = sort_into_arms(invent(world, tmp_path))
    first, second = (arms[cell]["scratch"] for cell in world.cells)
    assert first.studies == second.studies
    assert first.finals == second.finals


def test_fine_tuning_belongs_to_the_cell_of_its_upstream(tmp_path):
    world = World(upstreams=("georgia", "cpsc"), replicates=2, trials=6, final_seeds=1)
    arms = sort_into_arms(invent(world, tmp_path))
    for cell in world.cells:
        assert {study.upstream for study in arms[cell]["fine_tune"].studies} == {cell.upstream}


def test_pretraining_stands_on_its_own_line(tmp_path):
    world = World(replicates=1, trials=6)
    evidence = invent(world, tmp_path)
    (arms,) = sort_into_arms(evidence).values()
    assert arm_cost(arms["scratch"], evidence).pretraining == Cost()
    assert arm_cost(arms["fine_tune"], evidence).pretraining.epochs == 20


def test_audits_are_paid_beside_the_budget(tmp_path):
    evidence = invent(World(replicates=1, trials=6, final_seeds=1), tmp_path)
    (arms,) = sort_into_arms(evidence).values()
    cost = arm_cost(arms["scratch"], evidence)
    paid = sum(t.n_epochs for s in arms["scratch"].studies for t in s.trials)
    assert cost.tuning.epochs == paid
    assert cost.beside_budget.epochs == 30  # the published recipe's final fit


@pytest.mark.parametrize(
    ("pretraining", "reference", "arm", "expected"),
    [
        (100.0, 30.0, 10.0, 5),
        (100.0, 30.0, 20.0, 10),
        (101.0, 30.0, 20.0, 11),
        (0.0, 30.0, 20.0, 1),
        (100.0, 20.0, 20.0, None),
        (100.0, 10.0, 20.0, None),
    ],
)
def test_break_even_is_the_first_target_at_which_transfer_is_not_dearer(
    pretraining, reference, arm, expected
):
    found = break_even(cost_of(reference, 0.0), cost_of(arm, pretraining))
    assert found.seconds == expected


def cost_of(seconds, once):
    return ArmCost(
        regime="",
        tuning=Cost(seconds=seconds),
        finals=Cost(),
        beside_budget=Cost(),
        pretraining=Cost(seconds=once),
        n_replicates=1,
    )


def arm_with(*values):
    study = StudyEvidence(
        study="s", regime="scratch", upstream=None, downstream="d", model="m", n_train=10,
        replicate=0, trials=tuple(trial(n, value=value) for n, value in enumerate(values)),
    )  # fmt: skip
    cell = CellKey(upstream="u", downstream="d", model="m", n_train=10)
    return Arm(cell=cell, regime="scratch", studies=(study,), finals=())


def test_at_equal_epochs_the_dearer_arm_loses_its_last_trials():
    arms = {"scratch": arm_with(0.7, 0.75), "fine_tune": arm_with(0.6, 0.65, 0.9)}
    found = equal_spend(arms, "epochs")
    assert found.limit == 10
    assert found.best == {"scratch": 0.75, "fine_tune": 0.65}


def own_networks(tmp_path):
    """Return evidence whose fine-tuned arm has another network and upstream than its cells."""
    world = World(upstreams=("georgia", "cpsc"), replicates=2, trials=6, final_seeds=1)
    found = invent(world, tmp_path)

    def moved(items):
        kept = [each for each in items if each.upstream != "cpsc"]
        own = {"regime": "founder", "model": "net1d", "upstream": "harvard"}
        return tuple(
            replace(each, **own, study=each.study.replace("fine_tune", "founder"))
            if each.regime == "fine_tune"
            else each
            for each in kept
        )

    arm = ArmStart(start="fine_tune", model="net1d", upstream="harvard")
    table = {"start": "fine_tune", "model": "net1d", "upstream": "harvard"}
    regimes = ("scratch", "founder")
    comparison = replace(
        found.comparison,
        regimes=regimes,
        arms={"founder": arm},
        spec={**found.comparison.spec, "regimes": list(regimes), "arms": {"founder": table}},
    )
    return replace(
        found, comparison=comparison, studies=moved(found.studies), finals=moved(found.finals)
    )


def test_an_arm_of_its_own_network_and_upstream_belongs_to_every_cell(tmp_path):
    evidence = own_networks(tmp_path)
    for arms in sort_into_arms(evidence).values():
        assert [len(arms[name].studies) for name in ("scratch", "founder")] == [2, 2]
        assert {study.model for study in arms["founder"].studies} == {"net1d"}
        assert arms["founder"].network == "net1d"
        assert arms["scratch"].network == arms["scratch"].cell.model != "net1d"


def test_an_arm_searches_the_shared_ranges_its_starts_and_its_own(tmp_path):
    space = {"shared": {"a": 1}, "fine_tune": {"b": 2, "c": 2}, "founder": {"c": 3}}
    comparison = replace(own_networks(tmp_path).comparison, space=space)
    assert comparison.ranges_of("founder") == {"a": 1, "b": 2, "c": 3}
    assert comparison.ranges_of("scratch") == {"a": 1}


def test_an_arm_that_differs_from_its_table_is_told(tmp_path):
    evidence = own_networks(tmp_path)
    name = "rules are those of the study file"
    assert contradictions(evidence, tmp_path)[name] == []
    other = {"founder": ArmStart(start="lp_ft", model="net1d", upstream="harvard")}
    changed = replace(evidence, comparison=replace(evidence.comparison, arms=other))
    (told,) = contradictions(changed, tmp_path)[name]
    assert told.startswith("the arm founder is ")
