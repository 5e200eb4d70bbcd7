import math

import numpy as np
import pytest
import torch
from fakes_evidence import World, invent

from ecgopt.analysis.interval import Variances
from ecgopt.analysis.power import Design, chances, replicates_needed
from ecgopt.analysis.verdict import Rules
from ecgopt.planning.plan import ASSUMED, mean_epochs, measured_seconds, measured_spread, plan
from ecgopt.planning.training_speed import measure_seconds_per_sample
from ecgopt.study_file.spec import StudySpec
from ecgopt.study_file.tables import (
    BudgetTable,
    DataTable,
    DiagnosticsTable,
    ModelTable,
    PublishedTable,
    RangeTable,
    RecipeTable,
)
from ecgopt.training.recipe import Recipe

RULES = Rules.of_one_look(margin=0.01, confidence=0.95)


def design_of(variances=ASSUMED.variances, *, n_verdicts=1, **more):
    overlaps = more.pop("overlaps", [0.0] * n_verdicts)
    fields = {"n_seeds": 3, "n_patients": 1500, "variances": variances, "overlaps": overlaps}
    return Design(**(fields | more))


def spec_with(**changes):
    source = {"source": "ptbxl", "labels": "ptbxl_superclass", "folders": ("raw",)}
    fields = {
        "name": "planned",
        "upstreams": ("up",),
        "downstreams": ("down",),
        "train_sizes": (100,),
        "validation_share": 0.2,
        "data": {"up": DataTable(**source), "down": DataTable(**source, test_share=0.2)},
        "space": {
            "shared": {
                "learning_rate": RangeTable(low=1e-5, high=0.1, log=True),
                "epochs": RangeTable(low=10, high=30),
            }
        },
        "published": PublishedTable(epochs=30),
        "budget": BudgetTable(trials=11, final_seeds=2, replicates=3),
    }
    return StudySpec(**(fields | changes))


def test_work_is_counted_by_hand():
    found = plan(spec_with(), seconds_per_sample={"resnet1d18": 0.01})
    (load,) = found.loads
    # Per study: 10 trials of 20 epochs on average, the published one and 2 + 2 final fits of 20
    # and 30 epochs, on 80 records each, and final fits on all 100 besides; two arms, three
    # replicates. In one study per arm, two checks of 20 epochs.
    trials, finals = 6 * 80 * (10 * 20 + 30), 6 * 180 * (2 * 20 + 2 * 30)
    assert load.samples == trials + finals + 2 * 2 * 80 * 20
    assert (load.trials, load.final_fits, load.pretrainings) == (66, 24, 1)
    assert load.diagnostics == 4
    assert load.hours == pytest.approx(load.samples * 0.01 / 3600)


def test_under_cross_validation_the_networks_of_all_folds_are_counted():
    (load,) = plan(spec_with(validation_folds=4), seconds_per_sample={"resnet1d18": 0.01}).loads
    # An epoch is one of four networks on 75 of the 100 records each, and in final fits one more
    # on all 100; trials, final fits and checks are those of the test above.
    trials, finals = 6 * 300 * (10 * 20 + 30), 6 * 400 * (2 * 20 + 2 * 30)
    assert load.samples == trials + finals + 2 * 2 * 300 * 20


def test_audits_and_learning_rates_are_planned_for():
    plain, more = (
        plan(spec_with(diagnostics=diagnostics), seconds_per_sample={"resnet1d18": 0.01}).loads[0]
        for diagnostics in (DiagnosticsTable(), DiagnosticsTable(audit=2, learning_rates=3))
    )
    assert more.diagnostics - plain.diagnostics == 6 * (2 + 3)
    assert more.final_fits - plain.final_fits == 6 * 2
    # Audits at the mean of the tuned epochs; rates and their two final fits at the published ones.
    assert more.samples - plain.samples == 6 * (80 * (2 * 20 + 3 * 30) + 180 * 2 * 30)


def test_a_logarithmic_range_of_epochs_has_its_logarithmic_mean():
    space = {"shared": {"epochs": RangeTable(low=10, high=100, log=True)}}
    spec = spec_with(space=space)
    assert mean_epochs(spec, "scratch") == pytest.approx(90 / math.log(10))


def test_epochs_that_are_not_tuned_are_the_recipes():
    space = {"shared": {"learning_rate": RangeTable(low=1e-5, high=0.1, log=True)}}
    spec = spec_with(space=space, recipe=RecipeTable(epochs=7))
    assert mean_epochs(spec, "scratch") == 7


def test_without_a_pilot_the_spread_is_said_to_be_assumed():
    found = plan(spec_with(), seconds_per_sample={"resnet1d18": 0.01})
    assert found.is_assumed
    assert found.spread == ASSUMED


def test_more_replicates_win_more_often():
    found = plan(spec_with(), seconds_per_sample={"resnet1d18": 0.01})
    wins = [row.wins for row in found.power]
    assert wins == sorted(wins)


def test_needed_replicates_reach_the_power_and_one_less_does_not():
    needed = replicates_needed(0.03, design_of(), RULES)
    wins = [chances(0.03, design_of(), RULES, n).higher_wins for n in (needed - 1, needed)]
    assert wins[0] < 0.8 <= wins[1]


def test_a_small_test_set_cannot_be_replaced_by_replicates():
    small = Variances(seeds=0.01, replicates=0.01, patients=0.02)
    assert replicates_needed(0.03, design_of(small, n_patients=100), RULES) is None


def test_many_cells_win_less_often():
    alone, among = (
        chances(0.03, design_of(n_verdicts=n_cells), RULES, 10).higher_wins for n_cells in (1, 40)
    )
    assert alone > among


def test_the_power_from_a_small_pilot_is_the_mean_over_what_it_leaves_open():
    known, pilot = (
        chances(0.03, design_of(freedom=freedom), RULES, 6).higher_wins for freedom in (math.inf, 2)
    )
    assert pilot < known - 0.05
    sure, unsure = (
        replicates_needed(0.03, design_of(freedom=freedom), RULES) for freedom in (math.inf, 3)
    )
    assert unsure > sure


@pytest.mark.parametrize("overlap", [0.7, 1.0])
def test_records_that_replicates_share_cannot_be_replaced_by_replicates(overlap):
    assert replicates_needed(0.03, design_of(overlaps=[overlap]), RULES) is None


def test_a_plan_says_how_much_of_the_pool_a_replicate_draws():
    found = plan(spec_with(train_sizes=("all",)), seconds_per_sample={"resnet1d18": 0.01})
    assert found.largest_overlap == 1
    assert [row.wins for row in found.power] == [0.0] * len(found.power)


def test_chances_add_up_to_at_most_one():
    for true in (-0.05, 0.0, 0.005, 0.03):
        found = chances(true, design_of(), RULES, 5)
        assert 0 <= found.higher_wins + found.lower_wins + found.equivalent <= 1 + 1e-12


def test_a_pilot_gives_time_and_spread(tmp_path):
    evidence = invent(World(replicates=3), tmp_path)
    assert measured_seconds(evidence) == {"resnet1d18": pytest.approx(2.5 / 150)}
    found = measured_spread(evidence, tmp_path)
    assert (found.n_patients, found.freedom) == (150, 2)
    assert found.variances.replicates > 0


def test_a_pilot_is_read_by_the_metric_of_the_planned_verdict(tmp_path):
    evidence = invent(World(replicates=3, final_seeds=1), tmp_path)
    found = measured_spread(evidence, tmp_path, metric="macro_auprc")
    scores = {
        regime: np.array(
            [
                final.metrics["macro_auprc"]
                for final in sorted(evidence.finals, key=lambda final: final.replicate)
                if (final.regime, final.role) == (regime, "tuned")
            ]
        )
        for regime in ("scratch", "fine_tune")
    }
    expected = np.std(scores["fine_tune"] - scores["scratch"], ddof=1)
    assert found.variances.replicates == pytest.approx(expected)


def test_a_pilot_of_one_replicate_gives_no_spread(tmp_path):
    evidence = invent(World(replicates=1), tmp_path)
    assert measured_spread(evidence, tmp_path) is None


def test_training_speed_is_measured_on_the_real_training_code():
    seconds = measure_seconds_per_sample(
        ModelTable(width=2), Recipe(batch_size=8), torch.device("cpu")
    )
    assert 0 < seconds < 1
