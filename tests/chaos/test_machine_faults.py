"""Faults of machines in real studies: the budget is not spent on them, and a retry ends equal."""

import json
import shutil
import signal
import time

import optuna
import pytest
from processes import ecgopt, start
from tiny_study import begin, tiny_study

from ecgopt.models.checkpoint import load_checkpoint, save_checkpoint

pytestmark = [pytest.mark.chaos, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SETTINGS = {
    "sampler": "random",
    "pruning": "false",
    "trials": 2,
    "epochs_high": 3,
    "published_epochs": 3,
    "downstream_records": 120,
}
STUDIES = [f"tiny/down/resnet1d18-w2/n60/r0/{arm}" for arm in ("scratch", "fine_tune/from-up")]


class Study:
    """A study file with a workspace of its own."""

    def __init__(self, folder, storage=None):
        self.file, self.workspace, self.out = folder / "study.toml", folder / "ws", folder / "out"
        self.environment = {"ECGOPT_STORAGE": storage} if storage else {}
        self.file.write_text(tiny_study(**SETTINGS))

    def ecgopt(self, verb, *more):
        place = (self.file, "--workspace", self.workspace)
        return ecgopt(*verb.split(), *place, *more, **self.environment)

    def run(self):
        return self.ecgopt("run", "--workers", 2, "--out", self.out)

    def start(self):
        place = (self.file, "--workspace", self.workspace, "--workers", 2, "--out", self.out)
        return start("run", *place, **self.environment)

    @property
    def weights(self):
        return self.workspace / "pretrained"

    def wait_for_weights(self):
        end = time.monotonic() + 120
        while not (found := list(self.weights.glob("*/*.safetensors"))):
            assert time.monotonic() < end, "no weights came"
            time.sleep(0.02)
        return found[0]

    def trials(self):
        url = f"sqlite:///{self.workspace}/ecgopt.sqlite3"
        return [
            trial
            for name in STUDIES
            for trial in optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
        ]

    def outcome(self):
        """Return every trial as plain Optuna finds it, and the scores of the final fits."""
        trials = [
            (trial.number, trial.state.name, trial.value, trial.params, trial.intermediate_values)
            for trial in self.trials()
        ]
        finals = (self.out / "tables" / "finals.csv").read_text().splitlines()
        columns = finals[0].split(",")
        wanted = [columns.index(name) for name in ("study", "role", "macro_auroc")]
        return trials, [[line.split(",")[i] for i in wanted] for line in finals[1:]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the outcome of a run that nothing disturbs."""
    study = Study(tmp_path_factory.mktemp("undisturbed"))
    assert study.run().returncode == 0
    return study.outcome()


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


def test_weights_that_are_away_for_seconds_cost_no_trial(undisturbed, study, tmp_path):
    with study.start() as process:
        study.wait_for_weights()
        study.weights.rename(tmp_path / "away")
        time.sleep(3.0)
        shutil.copytree(tmp_path / "away", study.weights, dirs_exist_ok=True)
        process.communicate(timeout=240)
    study.ecgopt("study retry")
    last = study.run()
    assert last.returncode == 0, last.stderr
    assert study.outcome() == undisturbed


def test_weights_that_stay_away_end_the_run_with_the_reason_and_a_retry_ends_equal(
    undisturbed, study, tmp_path
):
    with study.start() as process:
        study.wait_for_weights()
        study.weights.rename(tmp_path / "away")
        study.weights.write_text("no folder can be made here")
        _, errors = process.communicate(timeout=240)
        assert process.returncode in (2, 3)
    assert "pretrained" in errors.strip().splitlines()[-1]
    status = json.loads(study.ecgopt("status", "--json").stdout)
    failures = [failure["cause"] for failure in status["failures"]]
    assert any("safetensors" in cause for cause in failures)
    study.weights.unlink()
    shutil.copytree(tmp_path / "away", study.weights)
    assert study.ecgopt("study retry").returncode == 0
    last = study.run()
    assert last.returncode == 0, last.stderr
    assert study.outcome() == undisturbed


def test_weights_that_were_replaced_are_not_used(undisturbed, study):
    # Workers that have read the right weights keep those, so the next processes must meet others.
    with study.start() as process:
        path = study.wait_for_weights()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=240)
    right, found = path.read_bytes(), load_checkpoint(path)
    others = {name: tensor + 1 for name, tensor in found.tensors.items()}
    save_checkpoint(path, others, found.metadata)
    refused = study.run()
    assert refused.returncode in (2, 3)
    assert "SHA-256" in refused.stderr.strip().splitlines()[-1]
    path.write_bytes(right)
    assert study.ecgopt("study retry").returncode == 0
    last = study.run()
    assert last.returncode == 0, last.stderr
    assert study.outcome() == undisturbed


def test_a_pre_training_that_failed_blocks_what_needs_it_and_the_run_says_so(undisturbed, study):
    study.workspace.mkdir()
    study.weights.write_text("a file where a folder must be")
    ended = study.run()
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert "blocked" in last
    assert "pretrain/up-resnet1d18-w2" in last
    assert "File exists" in last or "Not a directory" in last
    states = [trial.state.name for trial in study.trials()]
    assert states.count("WAITING") == 2
    assert "FAIL" not in states
    study.weights.unlink()
    assert study.ecgopt("study retry").returncode == 0
    again = study.run()
    assert again.returncode == 0, again.stderr
    assert study.outcome() == undisturbed


def test_another_workspace_is_refused_and_a_copy_may_join_unless_its_weights_differ(
    tmp_path, postgresql_url
):
    study = Study(tmp_path, postgresql_url)
    assert study.run().returncode == 0
    mine = study.workspace
    copy = study.workspace = tmp_path / "copy"
    refused = study.ecgopt("worker")
    assert refused.returncode == 2
    assert str(mine) in refused.stderr
    assert str(copy) in refused.stderr
    shutil.copytree(mine, copy, dirs_exist_ok=True)
    (copy / "workspace.id").unlink()
    weights = study.wait_for_weights()
    right = weights.read_bytes()
    weights.write_bytes(right[:-8])
    refused = study.ecgopt("worker", "--join-workspace")
    assert refused.returncode == 2
    assert "SHA-256" in refused.stderr
    weights.write_bytes(right)
    assert study.ecgopt("worker", "--join-workspace").returncode == 0


def test_deleting_a_study_leaves_another_whose_name_differs_in_case(study):
    """Databases of earlier versions may hold both; new ones refuse the second."""
    begin(study.file, study.workspace).database.engine.dispose()
    other = study.file.with_name("upper.toml")
    other.write_text(study.file.read_text().replace('name = "tiny"', 'name = "Tiny"'))
    refused = ecgopt("run", other, "--workspace", study.workspace)
    assert refused.returncode == 2
    assert "upper and lower case" in refused.stderr
    url = f"sqlite:///{study.workspace}/ecgopt.sqlite3"
    optuna.create_study(study_name="TINY/kept", storage=url)
    assert study.ecgopt("study delete", "--yes").returncode == 0
    assert optuna.get_all_study_names(url) == ["TINY/kept"]
