"""Any number of workers makes the same study, however many of them are killed."""

import random

import optuna
import pytest

from ecgopt.database.engine import open_database
from ecgopt.study_file.cells import expand_studies, study_name

pytestmark = pytest.mark.chaos

N_KILLS = 10
N_TRIALS = 12


def study_of(crowd, url, n_workers, n_kills):
    """Return every trial of a small study, made by workers of which some are killed."""
    spec, workers = crowd(
        url,
        trials=N_TRIALS,
        lag=2,
        pruning="true\npercentile = 80\nwarmup_steps = 1\nrise_steps = 0",
        lease=2,
        epochs_high=10,
        options={"epoch_seconds": 0.03, "max_failures": 1000},
    )
    draw = random.Random(n_workers)
    with workers:
        workers.add(n_workers)
        for _ in range(n_kills):
            until = workers.n_done() + draw.randint(0, 1)
            workers.wait_until(lambda until=until: workers.n_done() >= until)
            member, _ = workers.wait_until(workers.holder)
            workers.kill(member)
        workers.finish()
    database = open_database(url)
    found = {}
    for key in expand_studies(spec):
        study = optuna.load_study(study_name=study_name(spec.name, key), storage=database.optuna)
        found |= {
            (key.path, trial.number): (
                trial.state, trial.params, trial.value, trial.intermediate_values
            )
            for trial in study.get_trials(deepcopy=False)
        }  # fmt: skip
    database.engine.dispose()
    return found


@pytest.mark.parametrize(("back_end", "n_workers"), [("sqlite", 2), ("postgresql", 4)])
def test_two_or_four_workers_with_kills_make_the_study_of_one(back_end, n_workers, crowd, request):
    url = request.getfixturevalue(f"{back_end}_url")
    disturbed = study_of(crowd, url, n_workers, N_KILLS)
    alone = study_of(crowd, f"{url}.alone" if back_end == "sqlite" else other(request), 1, 0)
    assert disturbed == alone
    assert len(alone) == 2 * N_TRIALS
    assert {state.name for state, *_ in alone.values()} == {"COMPLETE", "PRUNED"}


def other(request):
    """Return another empty database of the same server."""
    server = request.getfixturevalue("postgres")
    return server.url(server.new_database())
