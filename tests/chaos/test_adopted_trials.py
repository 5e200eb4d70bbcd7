"""Real training by four workers, killed in the middle of trials: nothing comes out differently."""

import json
import random
from contextlib import contextmanager

import pytest
import training_worker
from tiny_study import begin, tiny_study
from worker_crowd import Crowd

from ecgopt.analysis.conclude import conclude
from ecgopt.comparison.evidence import load_evidence
from ecgopt.evidence.selection import choose_winner
from ecgopt.report.results import results

pytestmark = pytest.mark.chaos

N_WORKERS = 4
N_KILLS = 8
SEED = 11
N_TRIALS = 7
EPOCHS = (10, 12)
LAST_EPOCH_TO_KILL_AT = 8


@contextmanager
def training(folder, url=None, *, n_workers=N_WORKERS):
    """Begin a comparison in a folder of its own, and yield it with its future workers."""
    study = folder / "study.toml"
    low, high = EPOCHS
    study.write_text(
        tiny_study(
            sampler="tpe", pruning="true", trials=N_TRIALS, lag=2, lease=2,
            epochs_low=low, epochs_high=high, published_epochs=high,
        )
    )  # fmt: skip
    url = url or f"sqlite:///{folder}/ws/ecgopt.sqlite3"
    opened = begin(study, folder / "ws", url)
    try:
        with Crowd(study, url, folder, opened.database, main=training_worker.main) as workers:
            workers.add(n_workers)
            yield opened, workers
    finally:
        opened.database.engine.dispose()


def outcome(evidence):
    """Return everything that must not depend on who trained, and in how many pieces."""
    return {
        "winners": {study.study: choose_winner(study.trials).number for study in evidence.studies},
        "trials": {
            (study.study, trial.number): {
                name: getattr(trial, name)
                for name in (
                    "state", "value", "reports", "parameters", "n_epochs", "n_samples", "cause"
                )
            }
            for study in evidence.studies
            for trial in study.trials
        },
        "predictions": {
            (final.study, final.role, final.seed_index): final.predictions_sha256
            for final in evidence.finals
        },
    }  # fmt: skip


TIMES = ("seconds", "cost", "created", "break_even", "equal_spend", "lost")
"""Parts of names in results.json that hold times, or that follow from them."""


def printed(evidence, folder):
    """Return results.json without times."""

    def timeless(part):
        if isinstance(part, dict):
            return {
                name: timeless(inner)
                for name, inner in part.items()
                if not any(word in name for word in TIMES)
            }
        return [timeless(inner) for inner in part] if isinstance(part, list) else part

    return json.dumps(timeless(results(conclude(evidence, folder))), indent=1)


def differences(expected, found):
    """Return each entry that differs, by its names, with both values."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            (name, *difference)
            for name in sorted({*expected, *found}, key=str)
            for difference in differences(expected.get(name), found.get(name))
        ]
    return [] if expected == found else [(expected, found)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the evidence of the comparison by one worker that is not killed, and its folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with training(folder, n_workers=1) as (opened, workers):
        workers.finish(1000)
    url = opened.database.engine.url.render_as_string(hide_password=False)
    return load_evidence(opened.spec, opened.workspace, url), opened.workspace.root


def kill_in_mid_training(workers):
    """Kill workers at random epochs of the trial they hold, and replace them."""
    draw = random.Random(SEED)
    n_kills, killed_at = 0, {}
    while n_kills < N_KILLS:
        epoch = draw.randint(1, LAST_EPOCH_TO_KILL_AT)

        def is_in_the_middle(item, epoch=epoch):
            # Further than where its last owner died: nobody is killed at adoption alone.
            return item.progress >= max(epoch, killed_at.get(item.id, 0) + 1)

        member, item = workers.wait_until(lambda fits=is_in_the_middle: workers.holder(fits))
        workers.kill(member)
        killed_at[item.id] = item.progress
        # It may have closed the trial between the look and the signal.
        n_kills += workers.holder_of(item.id) == item.owner


@pytest.mark.parametrize("back_end", ["sqlite", "postgresql"])
def test_kills_in_mid_training_change_no_winner_no_value_and_no_prediction(
    back_end, undisturbed, memory_folder, request
):
    """The same file gives the same study, whatever the number of workers and of those lost."""
    url = request.getfixturevalue(f"{back_end}_url")
    with training(memory_folder, url) as (opened, workers):
        kill_in_mid_training(workers)
        workers.finish()
    evidence = load_evidence(opened.spec, opened.workspace, url)
    assert sum(study.workers_lost for study in evidence.studies) >= N_KILLS
    expected, its_folder = undisturbed
    assert differences(outcome(expected), outcome(evidence)) == []
    assert printed(expected, its_folder) == printed(evidence, opened.workspace.root)
    states = [trial.state for study in evidence.studies for trial in study.trials]
    assert "pruned" in states
    assert list(opened.workspace.root.glob("running/**/*.safetensors")) == []
