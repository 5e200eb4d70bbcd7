"""The examples of the how-to pages that extend ecgopt do what the pages say."""

import re
from pathlib import Path

import torch

from ecgopt.models.registry import InputShape, ModelSpec
from ecgopt.models.stages import StagedModel
from ecgopt.training.recipe import Recipe

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def first_example(page):
    (code, *_) = re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)
    names = {"__name__": page}
    exec(compile(code, page, "exec"), names)
    return names


def test_the_example_network_is_a_staged_model_for_any_leads_and_labels():
    build = first_example("own-network.md")["build"]
    shape = InputShape(n_leads=8, n_samples=500, n_labels=3)
    model = build(ModelSpec(name="tiny_network:build", width=16), shape)
    assert isinstance(model, StagedModel)
    assert model(torch.zeros(2, 8, 500)).shape == (2, 3)
    assert model.stage_names == ("stem", "stage1", "head")


def test_the_example_regime_freezes_the_stem():
    arm = first_example("own-regime.md")["FIXED_STEM"]
    recipe = arm.constrain(Recipe(learning_rate=1e-3, n_epochs=3), n_freezable_stages=5)
    assert (arm.name, arm.needs_upstream, recipe.n_frozen_stages) == ("fixed_stem", True, 1)
