"""Faults of machines in real studies: the budget is not spent on them, and a retry ends equal."""

import json
import shutil
import time

import optuna
import pytest
from processes import ecgopt, start

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SETTINGS = {"sampler": "random", "pruning": "false", "trials": 3}
STUDIES = [f"tiny/down/resnet1d18-w2/n60/r0/{arm}" for arm in ("scratch", "fine_tune/from-up")]


class Study:
    """A study file with a workspace of its own."""

    def __init__(self, file, folder):
        self.file, self.workspace, self.out = file, folder / "ws", folder / "out"

    def arguments(self, verb, *more):
        return (*verb.split(), self.file, "--workspace", self.workspace, *more)

    def run(self):
        return ecgopt(*self.arguments("run", "--workers", 2, "--out", self.out))

    def start(self):
        return start(*self.arguments("run", "--workers", 2, "--out", self.out))

    def retry(self):
        return ecgopt(*self.arguments("study retry"))

    @property
    def weights(self):
        return self.workspace / "pretrained"

    def wait_for_weights(self):
        end = time.monotonic() + 120
        while not list(self.weights.glob("tiny/*.safetensors")):
            assert time.monotonic() < end, "no weights came"
            time.sleep(0.02)

    def outcome(self):
        """Return every trial as plain Optuna finds it, and the scores of the final fits."""
        url = f"sqlite:///{self.workspace}/ecgopt.sqlite3"
        trials = [
            (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values)
            for name in STUDIES
            for trial in optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
        ]
        finals = (self.out / "tables" / "finals.csv").read_text().splitlines()
        columns = finals[0].split(",")
        wanted = [columns.index(name) for name in ("study", "role", "macro_auroc")]
        return trials, [[line.split(",")[i] for i in wanted] for line in finals[1:]]


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture
def undisturbed(study_file, module_folder):
    """Return the outcome of a run that nothing disturbs; it is run once."""
    study = Study(study_file(**SETTINGS), module_folder)
    if not study.out.exists():
        assert study.run().returncode == 0
    return study.outcome()


@pytest.fixture
def study(study_file, tmp_path):
    return Study(study_file(**SETTINGS), tmp_path)


def test_weights_that_are_away_for_seconds_cost_no_trial(undisturbed, study, tmp_path):
    with study.start() as process:
        study.wait_for_weights()
        study.weights.rename(tmp_path / "away")
        time.sleep(3.0)
        shutil.copytree(tmp_path / "away", study.weights, dirs_exist_ok=True)
        process.communicate(timeout=240)
    study.retry()
    last = study.run()
    assert last.returncode == 0, last.stderr
    assert study.outcome() == undisturbed


def test_weights_that_stay_away_end_the_run_with_the_reason_and_a_retry_ends_equal(
    undisturbed, study, tmp_path
):
    with study.start() as process:
        study.wait_for_weights()
        study.weights.rename(tmp_path / "away")
        _, errors = process.communicate(timeout=240)
        assert process.returncode in (2, 3)
    assert "safetensors" in errors.strip().splitlines()[-1]
    shutil.copytree(tmp_path / "away", study.weights, dirs_exist_ok=True)
    assert study.retry().returncode == 0
    last = study.run()
    assert last.returncode == 0, last.stderr
    assert study.outcome() == undisturbed


def test_weights_that_were_replaced_are_not_used(undisturbed, study, module_folder):
    other = study.file.with_name("other.toml")
    other.write_text(study.file.read_text().replace("epochs = 2\n", "epochs = 3\n"))
    replaced = Study(other, module_folder / "other")
    if not replaced.out.exists():
        assert replaced.run().returncode == 0
    with study.start() as process:
        study.wait_for_weights()
        (mine,) = study.weights.glob("tiny/*.safetensors")
        right = mine.read_bytes()
        (wrong,) = replaced.weights.glob("tiny/*.safetensors")
        shutil.copy(wrong, mine)
        _, errors = process.communicate(timeout=240)
        assert process.returncode in (2, 3)
    assert "SHA-256" in errors
    mine.write_bytes(right)
    assert study.retry().returncode == 0
    assert study.run().returncode == 0
    assert study.outcome() == undisturbed


def test_a_pre_training_that_failed_blocks_what_needs_it_and_the_run_says_so(study_file, tmp_path):
    study = Study(study_file(**SETTINGS), tmp_path)
    text = study.file.read_text()
    study.file.write_text(text.replace("[pretrain]\n", "[pretrain]\nlearning_rate = 1e30\n"))
    ended = study.run()
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert "blocked" in last
    assert "pretrain/up-resnet1d18-w2" in last
    states = [state for _, state, *_ in trials_of(study)]
    assert states.count("WAITING") == 3
    assert "FAIL" not in states


def trials_of(study):
    url = f"sqlite:///{study.workspace}/ecgopt.sqlite3"
    return [
        (trial.number, trial.state.name)
        for name in STUDIES
        for trial in optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    ]


def test_another_workspace_is_refused_with_both_paths(study, tmp_path, postgresql_url):
    first = {"ECGOPT_STORAGE": postgresql_url}
    assert (
        ecgopt(*study.arguments("run", "--workers", 2, "--out", study.out), **first).returncode == 0
    )
    other = ecgopt("worker", study.file, "--workspace", tmp_path / "elsewhere", **first)
    assert other.returncode == 2
    assert str(study.workspace) in other.stderr
    assert str(tmp_path / "elsewhere") in other.stderr


def test_a_copy_of_the_workspace_may_join_and_an_untrue_one_may_not(
    study, tmp_path, postgresql_url
):
    first = {"ECGOPT_STORAGE": postgresql_url}
    assert (
        ecgopt(*study.arguments("run", "--workers", 2, "--out", study.out), **first).returncode == 0
    )
    copy = tmp_path / "copy"
    shutil.copytree(study.workspace, copy)
    (copy / "workspace.id").unlink()
    command = ("worker", study.file, "--workspace", copy, "--join-workspace")
    (weights,) = (copy / "pretrained" / "tiny").glob("*.safetensors")
    right = weights.read_bytes()
    weights.write_bytes(right[:-8])
    refused = ecgopt(*command, **first)
    assert refused.returncode == 2
    assert "SHA-256" in refused.stderr
    weights.write_bytes(right)
    assert ecgopt(*command, **first).returncode == 0


def test_deleting_a_study_leaves_another_whose_name_differs_in_case(study_file, tmp_path):
    """Databases of earlier versions may hold both; new ones refuse the second."""
    study = Study(study_file(**SETTINGS), tmp_path)
    study.run()
    other = study.file.with_name("upper.toml")
    other.write_text(study.file.read_text().replace('name = "tiny"', 'name = "Tiny"'))
    refused = ecgopt("run", other, "--workspace", study.workspace)
    assert refused.returncode == 2
    assert "upper and lower case" in refused.stderr
    url = f"sqlite:///{study.workspace}/ecgopt.sqlite3"
    optuna.create_study(study_name="TINY/kept", storage=url)
    assert ecgopt(*study.arguments("study delete", "--yes")).returncode == 0
    assert optuna.get_all_study_names(url) == ["TINY/kept"]


def test_status_tells_why_a_worker_stopped(study, tmp_path):
    with study.start() as process:
        study.wait_for_weights()
        study.weights.rename(tmp_path / "away")
        process.communicate(timeout=240)
    status = ecgopt(*study.arguments("status", "--json"))
    workers = json.loads(status.stdout)["workers"]
    assert any("safetensors" in worker["reason"] for worker in workers)
