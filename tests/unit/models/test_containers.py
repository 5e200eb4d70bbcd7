import argparse
import collections
import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ecgopt.errors import CheckpointError
from ecgopt.models.containers import read_tensors


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {"stem.weight": torch.randn(3, 2), "norm.bias": torch.randn(4)}


@pytest.fixture
def foreign(monkeypatch):
    """Return a maker of objects whose package exists while the file is written, and not after."""

    def make(reference, **attributes):
        module, _, name = reference.rpartition(".")
        for depth in range(1, module.count(".") + 2):
            parent = ".".join(module.split(".")[:depth])
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        kind = type(name, (), {"__module__": module, "__qualname__": name})
        setattr(sys.modules[module], name, kind)
        made = kind()
        made.__dict__.update(attributes)
        return made

    return make


def optimiser_state(weights):
    parameters = [nn.Parameter(tensor.clone()) for tensor in weights.values()]
    optimiser = torch.optim.Adam(parameters, lr=1e-4)
    sum(p.square().sum() for p in parameters).backward()
    optimiser.step()
    return optimiser.state_dict()


def ecgfounder(weights, _foreign):
    return {
        "epoch": 4,
        "state_dict": weights,
        "optimizer": optimiser_state(weights),
        "val_auroc": np.float64(0.93),
    }


def st_mem(weights, _foreign):
    return {
        "model": weights,
        "optimizer": optimiser_state(weights),
        "args": argparse.Namespace(lr=1e-3, output_dir=Path("out")),
    }


def ecg_jepa(weights, _foreign):
    return {"encoder": collections.OrderedDict(weights), "epoch": 99}


def hubert_ecg(weights, foreign):
    return {
        "global_step": 70_000,
        "model_config": foreign(
            "transformers.models.hubert.configuration_hubert.HubertConfig", hidden_size=512
        ),
        "model_state_dict": weights,
        "optimizer_state_dict": optimiser_state(weights),
    }


def ecg_fm(weights, foreign):
    return {
        "args": None,
        "cfg": foreign("omegaconf.dictconfig.DictConfig", _content={"model": {"in_d": 12}}),
        "model": weights,
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "Adam", "num_updates": np.int64(3)}],
        "extra_state": {"metrics": collections.defaultdict(list, {"train": [1.0]})},
        "last_optimizer_state": None,
    }


def lightning(weights, foreign):
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": weights,
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [optimiser_state(weights)],
        "hyper_parameters": foreign("lightning.fabric.utilities.data.AttributeDict", lr=1e-3),
    }


def fastai(weights, _foreign):
    return {"model": weights, "opt": optimiser_state(weights)}


def plain(weights, _foreign):
    return weights


FORMS = [ecgfounder, st_mem, ecg_jepa, hubert_ecg, ecg_fm, lightning, fastai, plain]


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_each_published_form_is_read_as_it_was_saved(weights, foreign, tmp_path, form, is_zip):
    content = form(weights, foreign)
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    for name in ("transformers", "omegaconf", "lightning"):
        sys.modules.pop(name, None)  # the reader must not need the packages
    found = read_tensors(tmp_path / "w.pth")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert not {"transformers", "omegaconf", "lightning"} & sys.modules.keys()


def test_safetensors_are_read(weights, tmp_path):
    save_file(weights, tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors").keys() == weights.keys()


def test_a_dotted_key_leads_to_the_tensors(weights, tmp_path):
    torch.save({"nets": {"student": weights, "teacher": {}}}, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt", key="nets.student").keys() == weights.keys()


def test_a_key_that_is_not_there_is_answered_with_the_nearest(weights, tmp_path):
    torch.save({"student": weights}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"no key 'studnt'.*nearest is 'student'"):
        read_tensors(tmp_path / "w.pt", key="studnt")


def test_an_unlisted_class_is_refused_by_name_and_read_when_it_is_listed(
    weights, foreign, tmp_path
):
    torch.save({"model": weights, "cfg": foreign("labcode.config.Config")}, tmp_path / "w.pt")
    sys.modules.pop("labcode")
    with pytest.raises(CheckpointError, match=r"objects of labcode\.config\.Config"):
        read_tensors(tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt", shells=("labcode.",)).keys() == weights.keys()
    assert "labcode" not in sys.modules


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(function, *arguments):
    return Call(function, *arguments)


HOSTILE = {
    "a command": lambda mark: hostile(os.system, f"touch {mark}"),
    "evaluated text": lambda mark: hostile(eval, f"open({str(mark)!r}, 'w')"),
    "an attribute": lambda mark: hostile(getattr, "", "join"),
    "an import": lambda mark: hostile(__import__, "antigravity"),
    "a nested file": lambda mark: hostile(
        torch.storage._load_from_bytes, pickle.dumps(hostile(os.system, f"touch {mark}"))
    ),
    "an open file": lambda mark: hostile(open, str(mark), "w"),
}


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_line_and_never_runs(weights, tmp_path, kind, is_zip):
    mark = tmp_path / "it_ran"
    content = {"model": weights, "config": HOSTILE[kind](mark)}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(CheckpointError, match="could run any code") as refused:
        read_tensors(tmp_path / "w.pt")
    assert "\n" not in str(refused.value)
    assert not mark.exists()
    assert "antigravity" not in sys.modules


def test_a_call_of_a_listed_package_does_nothing(weights, tmp_path):
    """A shell takes the place of the function, whatever its package could do."""
    mark = tmp_path / "it_ran"
    content = {"model": weights, "x": hostile(np.save, str(mark), 1)}
    torch.save(content, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt").keys() == weights.keys()
    assert not list(tmp_path.glob("it_ran*"))


def test_an_attribute_cannot_hide_what_a_table_does(weights, tmp_path):
    hidden = {"items": argparse.Namespace(), "get": argparse.Namespace(), "keys": None}
    table = Call(collections.OrderedDict)
    table.call = (collections.OrderedDict, (), hidden, None, iter(weights.items()))
    torch.save({"model": table}, tmp_path / "w.pt")
    assert read_tensors(tmp_path / "w.pt").keys() == weights.keys()


def test_a_table_without_tensors_is_refused_with_what_it_holds(tmp_path):
    torch.save({"state_dict": {"lr": 0.1}}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="hold a dict with lr"):
        read_tensors(tmp_path / "w.pt")


def test_every_cut_of_a_file_is_one_line(weights, foreign, tmp_path):
    whole = io.BytesIO()
    torch.save(ecg_fm(weights, foreign), whole, _use_new_zipfile_serialization=False)
    content = whole.getvalue()
    for length in range(0, len(content), 97):
        (tmp_path / "w.pt").write_bytes(content[:length])
        with pytest.raises(CheckpointError) as refused:
            read_tensors(tmp_path / "w.pt")
        assert "\n" not in str(refused.value)
