"""The examples of the how-to pages that extend ecgopt do what the pages say."""

import re
import tomllib
from pathlib import Path

import torch
from tiny_study import tiny_study

from ecgopt.models.registry import InputShape, ModelSpec
from ecgopt.models.stages import StagedModel
from ecgopt.study_file.spec import StudySpec
from ecgopt.toml_errors import checked
from ecgopt.training.recipe import Recipe

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def first_example(page):
    (code, *_) = re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)
    names = {"__name__": page}
    exec(compile(code, page, "exec"), names)
    return names


def toml_examples(page):
    texts = re.findall(r"```toml\n(.*?)```", (HOW_TO / page).read_text(), re.DOTALL)
    return [tomllib.loads(text) for text in texts]


def test_the_example_arms_meet_in_one_cell_with_their_own_networks():
    study = tomllib.loads(tiny_study(own=""))
    public = next(each for each in toml_examples("foundation-models.md") if "upstreams" in each)
    example, further, twin = toml_examples("arms.md")
    space = {**study["space"], **example["space"]}
    arms = {**example["arms"], **twin["arms"]}
    regimes = [*example["regimes"], *twin["arms"]]
    changes = {"space": space, "arms": arms, "regimes": regimes, **further}
    spec, faults = checked({**study, **public, **example, **changes}, StudySpec)
    assert spec is not None, faults
    assert spec.models_of_cells() == ()
    assert spec.contrasts()[-1] == ("founder_probe", "founder")
    networks = [str(spec.own_model(arm).name) for arm in spec.regimes]
    assert networks == ["xresnet1d101", "ecgfounder", "ecgfounder", "xresnet1d101"]


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
