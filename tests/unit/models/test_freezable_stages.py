import subprocess
import sys
import types

import torch
from torch import nn

from ecgopt.models.registry import MODELS, ModelSpec, freezable_stages
from ecgopt.models.stages import LastStage, LinearHead, StagedModel

COUNT = """
import sys
from ecgopt.models.registry import ModelSpec, freezable_stages
freezable_stages(ModelSpec(name={name!r}))
assert "torch._dynamo" not in sys.modules
"""


def test_counting_the_stages_of_any_network_does_not_import_the_compiler():
    """Every command that reads a study file counts them; the import alone takes over a second."""
    program = "".join(COUNT.format(name=name) for name in MODELS)
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_network_that_reads_numbers_from_tensors_while_it_is_built_is_counted(monkeypatch):
    """Most vision transformers do so for their rates of stochastic depth."""

    def build(_spec, shape):
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        stages = {f"stage{n}": nn.Dropout(rate) for n, rate in enumerate(rates)}
        stages["last"] = LastStage(nn.Identity(), nn.AdaptiveAvgPool1d(1))
        return StagedModel(stages, LinearHead(shape.n_leads, shape.n_labels))

    module = types.ModuleType("reads_numbers")
    module.build = build
    monkeypatch.setitem(sys.modules, "reads_numbers", module)
    assert freezable_stages(ModelSpec(name="reads_numbers:build")) == 4
