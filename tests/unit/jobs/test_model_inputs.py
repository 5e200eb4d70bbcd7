"""Each network of a comparison sees its own input, in tuning, pre-training and the sealed test."""

import numpy as np
import pytest
import torch

from ecgopt.data.inputs import prepare
from ecgopt.jobs.datasets import PreparedData, prepare_data
from ecgopt.study_file.cells import expand_studies
from ecgopt.study_file.reading import load_spec
from ecgopt.training.batches import signal_source
from ecgopt.workspace import Workspace

TWO_MODELS = """input = "eight"

[[models]]
name = "resnet1d18"
width = 4
"""
EIGHT = """
[inputs.eight]
rate_hz = 250
seconds = 4.0
leads = ["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]
filters = [{ kind = "band_pass", hz = [0.5, 40.0] }]
scaling = "z_score_record"
"""


@pytest.fixture
def data(study_file, tmp_path):
    study = study_file(downstream_records=80)
    text = study.read_text().replace("train_sizes = [60]", "train_sizes = [20]")
    study.write_text(text.replace("width = 2\n", f"width = 2\n{TWO_MODELS}", 1) + EIGHT)
    spec = load_spec(study)
    workspace = Workspace(tmp_path / "ws")
    folders = prepare_data(spec, workspace, n_processes=1)
    return PreparedData(spec=spec, workspace=workspace, folders=folders)


def test_a_study_trains_on_the_input_of_its_model(data):
    eight, twelve = data.spec.models
    folds = {key.model: data.downstream(key)[0][0] for key in expand_studies(data.spec)}
    assert folds[eight].train.signals.shape[1:] == (8, 1000)
    assert folds[eight].train.sampling_rate_hz == 250
    assert folds[twelve].train.signals.shape[1:] == (12, 1000)
    assert folds[twelve].train.sampling_rate_hz == 100
    # Both see the same records.
    assert folds[eight].train.records == folds[twelve].train.records
    assert folds[eight].validation.records == folds[twelve].validation.records


def test_what_is_trained_on_is_the_prepared_record(data):
    (eight, _) = data.spec.models
    rows = data.pool("down")[:3]
    stored = data.prepared("down").signals
    assert stored.shape[2] == 2500
    source = signal_source(data.dataset("down", rows, eight), torch.device("cpu"))
    (found, _), *_ = source.batches(np.arange(3), 3)
    form = data.spec.input_form(eight)
    expected = [prepare(stored[row], 250, form) for row in rows]
    np.testing.assert_array_equal(found.numpy(), np.stack(expected))


def test_a_pre_training_sees_the_input_of_its_model(data):
    assert data.upstream("up", data.spec.models[0]).train.signals.shape[1:] == (8, 1000)


def test_every_input_is_prepared_before_a_worker_begins(data):
    assert len(list(data.workspace.inputs.iterdir())) == 2 * 2
