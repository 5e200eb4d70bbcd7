"""Any number of workers makes the same study, however many of them are killed.

`python -m benchmarks.fixed_history same` does this with more trials, kills and numbers of workers.
"""

from functools import cache

import pytest

from benchmarks.fixed_history import run_killing, study_file

pytestmark = pytest.mark.chaos

N_TRIALS = 9
N_KILLS = 4


def study_of(folder, url, pruning, *, n_workers, n_kills):
    """Return what is recorded of a small study without its times, and how many workers died."""
    folder.mkdir()
    study = study_file(folder, trials=N_TRIALS, epochs=10, pruning=pruning)
    return run_killing(study, url, n_workers=n_workers, n_kills=n_kills, epoch_seconds=0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Return a function that returns the study by one worker that no one disturbs."""

    @cache
    def done(pruning):
        folder = tmp_path_factory.mktemp("alone")
        url = f"sqlite:///{folder}/ecgopt.sqlite3"
        text, lost = study_of(folder / "study", url, pruning, n_workers=1, n_kills=0)
        assert lost == 0
        assert text.count('"number"') == 2 * N_TRIALS
        return text

    return done


@pytest.mark.parametrize(
    ("back_end", "n_workers", "pruning"),
    [("sqlite", 3, "percentile"), ("postgresql", 6, "percentile"), ("postgresql", 4, "halving")],
)
def test_killed_workers_of_any_number_make_the_study_of_one(
    back_end, n_workers, pruning, alone, memory_folder, request
):
    url = request.getfixturevalue(f"{back_end}_url")
    folder = memory_folder / "study"
    text, lost = study_of(folder, url, pruning, n_workers=n_workers, n_kills=N_KILLS)
    assert lost >= 1
    assert text == alone(pruning)


def test_halving_completes_one_trial_of_each_bracket_of_four_and_the_published_recipe(alone):
    text = alone("halving")
    # Two arms; slots 1 to 4 and 5 to 8: of four trials two pass rung 3, and of those one rung 6.
    assert text.count('"state": "complete"') == 2 * (1 + 2)
    assert text.count('"detail": "at step 3 of 10"') == 2 * 2 * 2
    assert text.count('"detail": "at step 6 of 10"') == 2 * 2 * 1
