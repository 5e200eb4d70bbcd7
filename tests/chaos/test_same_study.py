"""Any number of workers makes the same study, however many of them are killed.

`python -m benchmarks.fixed_history same` does this with more trials, kills and numbers of workers.
"""

import pytest

from benchmarks.fixed_history import run_killing, study_file

pytestmark = pytest.mark.chaos

N_TRIALS = 9
N_KILLS = 4


def study_of(folder, url, *, n_workers, n_kills):
    """Return what is recorded of a small study without its times, and how many workers died."""
    folder.mkdir()
    study = study_file(folder, trials=N_TRIALS, epochs=10)
    return run_killing(study, url, n_workers=n_workers, n_kills=n_kills, epoch_seconds=0.02)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The study by one worker that no one disturbs."""
    folder = tmp_path_factory.mktemp("alone")
    url = f"sqlite:///{folder}/ecgopt.sqlite3"
    text, lost = study_of(folder / "study", url, n_workers=1, n_kills=0)
    assert lost == 0
    assert text.count('"number"') == 2 * N_TRIALS
    return text


@pytest.mark.parametrize(("back_end", "n_workers"), [("sqlite", 3), ("postgresql", 6)])
def test_killed_workers_of_any_number_make_the_study_of_one(
    back_end, n_workers, alone, memory_folder, request
):
    url = request.getfixturevalue(f"{back_end}_url")
    text, lost = study_of(memory_folder / "study", url, n_workers=n_workers, n_kills=N_KILLS)
    assert lost >= 1
    assert text == alone
