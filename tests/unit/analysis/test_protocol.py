"""What the protocol asks of an analysis, each on evidence whose answer is plain."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent, with_identical_arms

from ecgopt.analysis.arms import sort_into_arms
from ecgopt.analysis.conclude import conclude
from ecgopt.analysis.convergence import common_target, converge, reach
from ecgopt.analysis.cost import ArmCost, Cost
from ecgopt.analysis.importance import parameter_importance
from ecgopt.analysis.pareto import TradePoint, arm_trades, front
from ecgopt.analysis.pruning_audit import audit_pruning
from ecgopt.analysis.response import learning_rate_response
from ecgopt.analysis.waterfall import waterfall
from ecgopt.causes import Cause
from ecgopt.evidence.audit_choice import choose_for_audit
from ecgopt.evidence.records import SanityCheck, TrialEvidence
from ecgopt.training.metrics import trivial_scores


@pytest.fixture(scope="module")
def evidence(workspace):
    return invent(World(replicates=2), workspace)


@pytest.fixture(scope="module")
def arms(evidence):
    (of_cell,) = sort_into_arms(evidence).values()
    return of_cell


def gates_of(evidence, workspace):
    return {gate.name: gate for gate in conclude(evidence, workspace).gates}


def test_learning_rate_response_finds_the_optimum_that_was_built_in(arms):
    scratch = learning_rate_response(arms["scratch"], margin=0.01)
    fine_tune = learning_rate_response(arms["fine_tune"], margin=0.01)
    assert scratch.best_rate > fine_tune.best_rate
    assert scratch.basin[0] <= scratch.best_rate <= scratch.basin[1]


def test_a_wider_margin_never_narrows_the_basin(arms):
    widths = [learning_rate_response(arms["scratch"], m).basin_decades for m in (0.0, 0.01, 0.1)]
    assert widths == sorted(widths)


def test_learning_rate_matters_most_where_it_was_built_to(arms):
    importance = parameter_importance(arms["scratch"])
    assert max(importance, key=importance.get) == "learning_rate"


def test_importance_needs_enough_complete_trials(arms):
    few = replace(
        arms["scratch"],
        studies=tuple(replace(s, trials=s.trials[:4]) for s in arms["scratch"].studies),
    )
    assert parameter_importance(few) == {}


def test_the_first_epoch_at_or_above_the_target_counts(arms):
    final = replace(next(iter(arms["scratch"].finals)), curve=(0.5, 0.7, 0.8), seconds=30.0)
    assert (reach(final, 0.7).epochs, reach(final, 0.7).seconds) == (2, 20.0)
    assert reach(final, 0.9) is None


def test_the_common_target_is_reached_by_both_arms(arms):
    target = common_target(list(arms.values()))
    for arm in arms.values():
        assert any(reached is not None for reached in converge(arm, target).common_target)


@pytest.mark.parametrize(
    ("beside", "own_rate"), [(False, []), (True, ["own learning rate"])], ids=["plain", "rates"]
)
def test_the_waterfall_starts_at_the_best_test_epoch_and_ends_tuned(tmp_path, beside, own_rate):
    (arms,) = sort_into_arms(invent(World(replicates=2, beside=beside), tmp_path)).values()
    steps = waterfall(arms["scratch"], arms["fine_tune"], confidence=0.95)
    assert [step.name for step in steps] == [
        "published recipe, best test epoch",
        "published recipe, last epoch",
        "epoch chosen on validation",
        *own_rate,
        "all tuned",
    ]
    assert sum(step.change for step in steps[1:]) == pytest.approx(
        steps[-1].difference - steps[0].difference
    )


def test_the_best_test_epoch_is_never_below_the_last(arms):
    best, last, *_ = waterfall(arms["scratch"], arms["fine_tune"], confidence=0.95)
    assert best.reference >= last.reference - 1e-12
    assert best.arm >= last.arm - 1e-12


def test_the_front_holds_the_points_that_no_other_beats():
    def point(seconds, value):
        return TradePoint(seconds=seconds, value=value, regime="scratch", number=0)

    found = front([point(1, 0.5), point(2, 0.4), point(2, 0.7), point(3, 0.7), point(4, 0.8)])
    assert [(p.seconds, p.value) for p in found] == [(1, 0.5), (2, 0.7), (4, 0.8)]


def audited(study, value):
    pruned = choose_for_audit(study.trials, 1)[0]
    audit = TrialEvidence(
        number=99,
        state="complete",
        cause=Cause.DONE,
        value=value,
        parameters=pruned.parameters,
        recipe="audit",
        details={"audit_of": pruned.number},
    )
    return replace(study, trials=(*study.trials, audit))


@pytest.mark.parametrize(("value", "n_false"), [(0.999, 1), (0.1, 0)])
def test_an_audited_trial_that_beats_the_winner_is_a_false_prune(arms, value, n_false):
    arm = arms["scratch"]
    changed = replace(arm, studies=(audited(arm.studies[0], value), *arm.studies[1:]))
    found = audit_pruning(changed)
    assert (len(found.audited), found.n_false) == (1, n_false)


def test_audited_trials_do_not_win(arms):
    arm = arms["scratch"]
    changed = replace(arm, studies=(audited(arm.studies[0], 0.999), *arm.studies[1:]))
    assert changed.winners() == arm.winners()


def test_the_best_pruned_trials_are_audited_first_and_diverged_ones_never():
    trials = [
        TrialEvidence(number=n, state="pruned", cause=cause, value=value, parameters={})
        for n, (cause, value) in enumerate(
            [("pruned", 0.6), ("diverged", 0.9), ("pruned", 0.8), ("pruned", 0.7)]
        )
    ]
    assert [trial.number for trial in choose_for_audit(trials, 2)] == [2, 3]


def test_epochs_saved_are_those_that_pruned_trials_did_not_train(arms):
    found = audit_pruning(arms["scratch"])
    pruned = [
        trial
        for study in arms["scratch"].studies
        for trial in study.trials
        if trial.state == "pruned" and trial.cause == "pruned"
    ]
    assert found.n_pruned == len(pruned)
    expected = sum(trial.parameters["epochs"] - trial.n_epochs for trial in pruned)
    assert found.epochs_saved == expected


def test_identical_arms_read_exactly_zero_and_never_win(evidence, workspace):
    (found,) = conclude(with_identical_arms(evidence), workspace).cells[0].comparisons
    assert (found.interval.low, found.interval.estimate, found.interval.high) == (0.0, 0.0, 0.0)
    assert found.verdict == "equivalent"


def test_sound_evidence_fails_no_gate(evidence, workspace):
    assert {gate.state for gate in gates_of(evidence, workspace).values()} == {"passed"}


@pytest.mark.parametrize(
    ("gate", "change"),
    [
        (
            "shuffled labels give 0.5",
            lambda e: replace(
                e, checks=(SanityCheck(name="shuffled_labels", study="s", values=(0.7,)),)
            ),
        ),
        (
            "a repeated trial gives the same score",
            lambda e: replace(
                e, checks=(SanityCheck(name="rerun", study="s", values=(0.7, 0.7000001)),)
            ),
        ),
        (
            "every study spent exactly its budget",
            lambda e: replace(
                e, studies=(replace(e.studies[0], trials=e.studies[0].trials[:-1]), *e.studies[1:])
            ),
        ),
        (
            "test scores follow from the stored predictions",
            lambda e: replace(
                e, finals=(replace(e.finals[0], metrics={"macro_auroc": 0.99}), *e.finals[1:])
            ),
        ),
        (
            "no work item failed",
            lambda e: replace(
                e, set_aside=({"item": "final/a", "cause": "machine", "detail": "no disk"},)
            ),
        ),
        (
            "all trials and final fits were trained with the same versions",
            lambda e: replace(
                e, finals=(replace(e.finals[0], software="torch 1.0"), *e.finals[1:])
            ),
        ),
        (
            "the sealed test was scored once per winner",
            lambda e: replace(e, openings=(*e.openings, e.openings[0])),
        ),
        (
            "the best learning rate is not on the edge of its range",
            lambda e: replace(
                e,
                comparison=replace(
                    e.comparison,
                    space={"shared": {"learning_rate": {"low": 0.9, "high": 1.0, "log": True}}},
                ),
            ),
        ),
    ],
)
def test_a_gate_fails_when_its_rule_is_broken(evidence, workspace, gate, change):
    assert gates_of(change(evidence), workspace)[gate].state == "failed"


def test_a_reused_result_is_not_a_second_opening(evidence, workspace):
    again = replace(evidence.openings[0], reused=True)
    changed = replace(evidence, openings=(*evidence.openings, again))
    gate = gates_of(changed, workspace)["the sealed test was scored once per winner"]
    assert gate.state == "passed"
    assert "1 more returned the stored result" in gate.finding


def shuffled(value, **details):
    return (SanityCheck(name="shuffled_labels", study="s", values=(value,), details=details),)


@pytest.mark.parametrize(
    ("value", "details", "state"),
    [
        (0.60, {"standard_error": 0.05}, "passed"),  # few validation records
        (0.60, {"standard_error": 0.01}, "failed"),
        (0.40, {"standard_error": 0.01}, "failed"),
        (0.53, {}, "passed"),
    ],
)
def test_shuffled_labels_are_judged_by_the_sampling_error_of_the_validation_records(
    evidence, workspace, value, details, state
):
    changed = replace(evidence, checks=shuffled(value, **details))
    assert gates_of(changed, workspace)["shuffled labels give 0.5"].state == state


@pytest.mark.parametrize(
    ("devices", "hosts", "again", "state"),
    [
        (["cpu", "cpu"], ["a", "a"], 0.80001, "failed"),
        (["cpu", "cpu"], ["a", "b"], 0.80001, "passed"),
        (["cuda", "cuda"], ["a", "a"], 0.80001, "passed"),
        (["cuda", "cuda"], ["a", "a"], 0.82, "failed"),
        (["cpu", "cpu"], ["a", "a"], float("nan"), "failed"),
    ],
)
def test_a_repeated_trial_must_be_equal_on_one_hosts_cpu_and_near_elsewhere(
    evidence, workspace, devices, hosts, again, state
):
    details = {"devices": devices, "hosts": hosts}
    check = SanityCheck(name="rerun", study="s", values=(0.8, again), details=details)
    gates = gates_of(replace(evidence, checks=(check,)), workspace)
    assert gates["a repeated trial gives the same score"].state == state


def test_checks_that_were_not_run_say_so(evidence, workspace):
    gates = gates_of(replace(evidence, checks=()), workspace)
    assert gates["shuffled labels give 0.5"].state == "not run"


def test_trivial_predictors_of_labels_that_never_occur_have_no_score():
    assert math.isnan(trivial_scores(np.zeros((5, 2), dtype=bool))["weighted_f1_at_half"])


def ledger(regime, tuning, finals, pretraining, replicates):
    nothing = Cost()
    return ArmCost(
        regime=regime,
        tuning=Cost(seconds=tuning, samples=10),
        finals=Cost(seconds=finals, samples=6),
        beside_budget=nothing,
        pretraining=Cost(seconds=pretraining, samples=100),
        n_replicates=replicates,
    )


def test_an_arm_costs_one_replicate_and_its_whole_pretraining():
    found = arm_trades(
        {
            "big": (0.9, ledger("big", 80.0, 20.0, 50.0, 2)),
            "small": (0.8, ledger("small", 8.0, 2.0, 0.0, 2)),
            "slow": (0.7, ledger("slow", 20.0, 0.0, 0.0, 2)),
            "waiting": (None, ledger("waiting", 1.0, 0.0, 0.0, 2)),
        }
    )
    assert [(each.regime, each.seconds, each.score, each.is_on_front) for each in found] == [
        ("small", 5.0, 0.8, True),
        ("slow", 10.0, 0.7, False),
        ("big", 100.0, 0.9, True),
    ]
    assert {each.samples for each in found} == {108}
