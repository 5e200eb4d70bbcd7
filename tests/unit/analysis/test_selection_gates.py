"""Gates about the search and about what is missing, each on evidence with one fault."""

from dataclasses import replace

import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.report.paper_table import paper_table
from ecgopt.report.results import results
from ecgopt.report.tables import headline_table
from ecgopt.report.terminal import answer_lines, verdict_lines

WORLD = World(gain=1.5, run_spread=0.02, n_patients=400)


def gate_of(evidence, workspace, name):
    (found,) = [gate for gate in conclude(evidence, workspace).gates if name in gate.name]
    return found


def with_trials(evidence, change):
    return replace(
        evidence,
        studies=tuple(
            replace(study, trials=tuple(change(trial) for trial in study.trials))
            for study in evidence.studies
        ),
    )


def with_finals(evidence, change):
    return replace(evidence, finals=tuple(change(final) for final in evidence.finals))


def test_no_gate_fails_where_nothing_is_wrong(evidence, workspace):
    concluded = conclude(evidence, workspace)
    assert [gate.name for gate in concluded.gates if gate.state == "failed"] == []
    assert "fine-tune wins" in answer_lines(concluded)[0].lower()


def lost(final):
    return (final.regime, final.role, final.replicate, final.seed_index) == (
        "fine_tune", "tuned", 1, 1,
    )  # fmt: skip


@pytest.mark.parametrize("is_given_up", [False, True])
def test_a_missing_final_fit_leaves_every_output_without_a_verdict(
    evidence, workspace, is_given_up
):
    missing = next(final for final in evidence.finals if lost(final))
    item = {"item": f"final/{missing.study}/tuned/01", "cause": "diverged", "detail": ""}
    halfway = replace(
        evidence,
        finals=tuple(final for final in evidence.finals if not lost(final)),
        set_aside=(item,) if is_given_up else (),
    )
    concluded = conclude(halfway, workspace)
    (found,) = results(concluded)["cells"][0]["comparisons"]
    assert (found["verdict"], found["winner"]) == ("interim", None)
    assert (found["n_pairs"], found["n_pairs_planned"]) == (5, 6)
    assert answer_lines(concluded)[0].startswith("Not finished: 72 of 72 trials and 11 of 12")
    assert "Not finished: 5 of 6 planned pairs" in verdict_lines(concluded)[0]
    table = headline_table(concluded)
    assert dict(zip(table.columns, table.rows[0], strict=True))["verdict"] == "not finished"
    assert "not finished" in paper_table(concluded, "md")
    assert "not finished" in paper_table(concluded, "latex")
    gate = gate_of(halfway, workspace, "everything that was planned")
    assert gate.state == "failed"
    assert "1 of 6 tuned fits" in gate.finding


def test_a_cell_waits_for_the_work_of_other_cells_unless_that_was_given_up(workspace):
    world = replace(WORLD, name="two", train_sizes=(200, 400))
    whole = invent(world, workspace)
    missing = [final for final in whole.finals if lost(final) and final.n_train == 400]
    halfway = replace(whole, finals=tuple(f for f in whole.finals if f not in missing))
    assert verdicts_of(halfway, workspace) == ["interim", "interim"]
    item = {"item": f"final/{missing[0].study}/tuned/01", "cause": "diverged", "detail": ""}
    given_up = replace(halfway, set_aside=(item,))
    assert verdicts_of(given_up, workspace) == ["fine_tune wins", "interim"]


def verdicts_of(evidence, workspace):
    concluded = conclude(evidence, workspace)
    return [found.verdict for cell in concluded.cells for found in cell.comparisons]


def test_a_whole_missing_replicate_is_interim_and_not_a_smaller_study(evidence, workspace):
    halfway = replace(
        evidence,
        studies=tuple(study for study in evidence.studies if study.replicate != 2),
        finals=tuple(final for final in evidence.finals if final.replicate != 2),
    )
    assert verdicts_of(halfway, workspace) == ["interim"]
    assert gate_of(halfway, workspace, "everything that was planned").state == "failed"


def test_looking_again_without_a_plan_decides_nothing(evidence, workspace):
    comparison = replace(evidence.comparison, looks=(2,))
    extended = replace(evidence, comparison=comparison)
    assert verdicts_of(extended, workspace) == ["undecided"]
    (found,) = results(conclude(extended, workspace))["cells"][0]["comparisons"]
    assert (found["level"], found["level_left"]) == (0.0, 0.0)


def test_a_planned_look_spends_a_part_and_says_what_is_left(evidence, workspace):
    comparison = replace(evidence.comparison, looks=(1,), most_replicates=6)
    concluded = conclude(replace(evidence, comparison=comparison), workspace)
    (found,) = results(concluded)["cells"][0]["comparisons"]
    # O'Brien and Fleming's bound at half of the information, 2.963 standard errors.
    assert found["level"] == pytest.approx(0.00305, abs=1e-4)
    assert found["level_left"] == pytest.approx(0.05 - found["level"], abs=1e-4)
    assert "is left for later ones" in " ".join(verdict_lines(concluded))


def test_trials_that_score_alike_are_more_alike_than_validation_can_tell(evidence, workspace):
    alike = with_trials(
        evidence, lambda t: t if t.value is None else replace(t, value=0.8 + t.number * 1e-4)
    )
    gate = gate_of(alike, workspace, "validation can tell")
    assert gate.state == "failed"
    assert "validation_folds" in gate.finding


def test_a_winner_that_promised_far_more_than_it_holds_is_named(evidence, workspace):
    lucky = with_trials(evidence, lambda t: t if t.number != 3 else replace(t, value=0.999))
    weak = with_finals(lucky, lambda f: replace(f, metrics={**f.metrics, "macro_auroc": 0.7}))
    assert gate_of(weak, workspace, "does not promise").state == "failed"


def test_a_tuned_arm_that_its_reference_recipe_beats_is_named(evidence, workspace):
    other = {"tuned": "published", "published": "tuned", "learning_rate": "learning_rate"}
    exchanged = with_finals(evidence, lambda f: replace(f, role=other[f.role]))
    gate = gate_of(exchanged, workspace, "own reference recipe")
    assert gate.state == "failed"
    assert "scratch" in gate.finding


def test_an_arm_that_a_predictor_without_knowledge_beats_is_named(evidence, workspace):
    weak = with_finals(evidence, lambda f: replace(f, metrics={**f.metrics, "brier": 0.4}))
    gate = gate_of(weak, workspace, "knows nothing of the record")
    assert gate.state == "failed"
    assert "Brier score 0.400" in gate.finding


def test_a_slightly_overconfident_arm_is_not_worse_than_a_trivial_predictor(evidence, workspace):
    trivial = conclude(evidence, workspace).cells[0].arms["scratch"].scores.trivial["brier"]

    def with_brier(score):
        return with_finals(evidence, lambda f: replace(f, metrics={**f.metrics, "brier": score}))

    states = [
        gate_of(with_brier(factor * trivial), workspace, "knows nothing of the record").state
        for factor in (1.03, 1.08)
    ]
    assert states == ["passed", "failed"]


@pytest.mark.parametrize(
    ("name", "value", "gate"),
    [
        ("learning_rate", 0.099, "learning rate is not on the edge"),
        ("epochs", 40, "gather at an end"),
        ("epochs", 3, "gather at an end"),
    ],
)
def test_winners_at_an_end_of_a_range_are_named(evidence, workspace, name, value, gate):
    at_end = with_trials(evidence, lambda t: replace(t, parameters={**t.parameters, name: value}))
    assert gate_of(at_end, workspace, gate).state == "failed"


@pytest.mark.parametrize("stages", [0, 5])
def test_nothing_frozen_and_all_below_the_head_frozen_are_natural_ends(evidence, workspace, stages):
    at_end = with_trials(
        evidence,
        lambda t: (
            replace(t, parameters={**t.parameters, "frozen_stages": stages})
            if "frozen_stages" in t.parameters
            else t
        ),
    )
    assert gate_of(at_end, workspace, "gather at an end").state == "passed"
