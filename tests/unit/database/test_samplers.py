"""What each sampler proposes, and from which trials."""

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc

from ecgopt.database.optuna.samplers import SeenStudy, slot_sampler
from ecgopt.regimes.hyperparameters import PARAMETERS
from ecgopt.study_file.tables import SAMPLERS, SamplerTable

RATE = FloatDistribution(1e-4, 1e-1, log=True)
SPACE = {
    "batch_size": IntDistribution(8, 64, log=True),
    "learning_rate": RATE,
    "optimizer": CategoricalDistribution(["adam", "sgd", "adamw"]),
}
SEED = 5


def trial(number, *, rate=1e-2, value=None, state=TrialState.COMPLETE, space=SPACE):
    own = {"batch_size": 16 + number, "learning_rate": rate, "optimizer": "adam"}
    made = create_trial(
        state=state,
        params={name: own[name] for name in space},
        distributions=space,
        value=value,
    )
    made.number = number
    return made


def proposal(name, slot, seen=(), space=SPACE):
    """Return the parameters that a sampler proposes for a slot."""
    table = SamplerTable(name=name)
    sampler = slot_sampler(table, SEED, slot, table.last_seen(slot))
    study = optuna.create_study(direction="maximize")
    study._storage.set_trial_system_attr = lambda *_: None
    shown = SeenStudy(study, seen)
    waiting = create_trial(state=TrialState.WAITING)
    waiting.number = slot
    relative = sampler.infer_relative_search_space(shown, waiting)
    found = dict(sampler.sample_relative(shown, waiting, relative))
    for name, distribution in space.items():
        if name not in found:
            found[name] = sampler.sample_independent(shown, waiting, name, distribution)
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_proposals_lie_in_the_space_and_repeat(name):
    seen = [trial(k, rate=10 ** (-1 - k / 2), value=0.6 + k / 100) for k in range(5)]
    for slot in (9, 10):
        found = proposal(name, slot, seen)
        assert found == proposal(name, slot, seen)
        for parameter, distribution in SPACE.items():
            assert distribution._contains(distribution.to_internal_repr(found[parameter]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_slots_draw_differently(name):
    drawn = [proposal(name, slot)["learning_rate"] for slot in range(8)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("name", SAMPLERS)
def test_without_a_history_arms_draw_shared_parameters_alike(name):
    alone = {"learning_rate": RATE}
    for slot in range(4):
        found = proposal(name, slot)
        assert proposal(name, slot, space=alone) == {"learning_rate": found["learning_rate"]}


def test_quasi_random_points_cover_a_range_more_evenly_than_random_ones():
    def discrepancy(name):
        rates = [proposal(name, slot, space={"learning_rate": RATE}) for slot in range(16)]
        shares = [(math.log10(found["learning_rate"]) + 4) / 3 for found in rates]
        return qmc.discrepancy(np.array(shares)[:, None])

    assert discrepancy("qmc") < discrepancy("random") / 4


def test_quasi_random_points_give_each_sixteenth_of_a_range_one_point():
    # A property of every scrambled Sobol sequence, for each of its dimensions.
    space = dict.fromkeys(PARAMETERS, FloatDistribution(0.0, 1.0))
    points = [proposal("qmc", slot, space=space) for slot in range(16)]
    for name in space:
        assert sorted(int(16 * point[name]) for point in points) == list(range(16))


def test_quasi_random_choices_are_equally_frequent():
    space = {"optimizer": CategoricalDistribution(["adam", "sgd"])}
    drawn = [proposal("qmc", slot, space=space)["optimizer"] for slot in range(16)]
    assert drawn.count("adam") == 8


def test_the_gaussian_process_proposes_near_the_best_it_has_seen():
    space = {"learning_rate": RATE}
    seen = [
        trial(k, rate=10**power, value=0.9 - 0.1 * (power + 2) ** 2, space=space)
        for k, power in enumerate(np.linspace(-4, -1, 9))
    ]
    rates = [proposal("gp", slot, seen, space)["learning_rate"] for slot in (20, 21, 22)]
    assert all(abs(math.log10(rate) + 2) < 0.6 for rate in rates)


def test_the_gaussian_process_avoids_where_trials_were_pruned_or_diverged():
    space = {"learning_rate": RATE}
    complete = [
        trial(k, rate=10**power, value=0.80 + 0.03 * k, space=space)
        for k, power in enumerate((-4.0, -3.5, -3.0, -2.5))
    ]
    pruned = [
        trial(4, rate=10**-2.0, value=0.6, state=TrialState.PRUNED, space=space),
        trial(5, rate=10**-1.5, state=TrialState.PRUNED, space=space),  # before its first report
        trial(6, rate=10**-1.0, state=TrialState.PRUNED, space=space),
    ]
    higher = [proposal("gp", slot, complete, space)["learning_rate"] for slot in (20, 21, 22)]
    found = [
        proposal("gp", slot, complete + pruned, space)["learning_rate"] for slot in (20, 21, 22)
    ]
    assert max(higher) > 10**-2.0  # the trend leads there
    assert max(found) < 10**-2.0
