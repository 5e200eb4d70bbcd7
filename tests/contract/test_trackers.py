"""Every tracker holds each run once, with its parameters, scores and curve, as others read it."""

import json
import sqlite3
from dataclasses import replace

import pytest

from ecgopt.trackers.contract import TrackedRun

RUN = TrackedRun(
    name="tiny/scratch/georgia/resnet1d18/n40/r0/trial 0007",
    tags={"regime": "scratch", "state": "pruned", "cause": "pruned"},
    parameters={"learning_rate": 0.003, "n_epochs": 12, "augmented": True, "optimiser": "adam"},
    metrics={"seconds": 1.5, "epochs": 6.0},
    curve={3: 0.61, 5: 0.58, 8: 0.7},
)


class TensorBoard:
    def __init__(self, folder):
        self._folder = folder / "boards"

    def open(self, comparison):
        pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
        pytest.importorskip("tensorboard", reason="tensorboard is not installed")
        from ecgopt.trackers.tensorboard import TensorBoardTracker

        return TensorBoardTracker(self._folder, comparison)

    def read(self, run):
        """Read a run with TensorBoard's own reader."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.plugins.hparams import plugin_data_pb2

        events = EventAccumulator(str(self._folder / "tiny" / run.name)).Reload()
        curve = {each.step: each.value for each in events.Scalars(run.curve_name)}
        metrics = {name: events.Scalars(name)[0].value for name in run.metrics}
        start = events.SummaryMetadata("_hparams_/session_start_info")
        data = plugin_data_pb2.HParamsPluginData.FromString(start.plugin_data.content)
        found = {
            name: getattr(value, value.WhichOneof("kind"))
            for name, value in data.session_start_info.hparams.items()
        }
        return {name: str(found[name]) for name in run.parameters}, metrics, curve


class Mlflow:
    def __init__(self, folder):
        self._file = folder / "mlflow.db"

    def open(self, comparison):
        pytest.importorskip("mlflow", reason="MLflow is not installed")
        from ecgopt.trackers.mlflow import MlflowTracker

        return MlflowTracker(f"sqlite:///{self._file}", comparison)

    def read(self, run):
        """Read a run from the tables of MLflow's database."""
        with sqlite3.connect(self._file) as base:
            ask = "select run_uuid from tags where key = 'mlflow.runName' and value = ?"
            ((number,),) = base.execute(ask, [run.name])
            ask = "select key, value from params where run_uuid = ?"
            parameters = dict(base.execute(ask, [number]))
            ask = "select key, step, value from metrics where run_uuid = ?"
            values = list(base.execute(ask, [number]))
        base.close()
        curve = {step: value for key, step, value in values if key == run.curve_name}
        return parameters, {key: v for key, _, v in values if key != run.curve_name}, curve


@pytest.fixture(params=[TensorBoard, Mlflow], scope="module")
def kind(request, tmp_path_factory):
    # MLflow takes 10 s to make the tables of its database.
    return request.param(tmp_path_factory.mktemp("trackers"))


def as_numbers(parameters):
    """Return texts as numbers where they are some: one reader gives 12.0 for 12."""
    plain = {}
    for name, text in parameters.items():
        try:
            plain[name] = float(json.loads(text.lower()))
        except ValueError:
            plain[name] = text
    return plain


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_run_is_read_back_by_the_trackers_own_means(kind):
    tracker = kind.open("tiny")
    assert tracker.names() == set()
    tracker.add(RUN)
    parameters, metrics, curve = kind.read(RUN)
    expected = {"learning_rate": 0.003, "n_epochs": 12.0, "augmented": 1.0, "optimiser": "adam"}
    assert as_numbers(parameters) == expected
    assert metrics == pytest.approx({"seconds": 1.5, "epochs": 6.0})
    assert curve == pytest.approx({3: 0.61, 5: 0.58, 8: 0.7})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_tracker_that_is_opened_again_names_what_it_holds(kind):
    failed = replace(RUN, name="tiny/scratch/trial 0008", curve={}, is_failed=True)
    for run in (RUN, failed):
        kind.open("other").add(run)
    assert kind.open("other").names() == {RUN.name, failed.name}
