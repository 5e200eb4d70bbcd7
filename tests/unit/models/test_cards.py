"""Cards and their networks, against the published forward passes written as formulas."""

import argparse
import hashlib
import shutil

import numpy as np
import published_networks as published
import pytest
import torch
from safetensors.torch import load_file, save_file

from ecgopt.data.sources.catalog import source_names
from ecgopt.errors import CheckpointError
from ecgopt.models.cards import GoldenTable, card_names, card_path, load_card
from ecgopt.models.foreign import check_golden, load_by_card
from ecgopt.models.registry import ModelSpec, build_model


def optimiser(_weights):
    return {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]}


MODELS = {
    "merl_resnet18": (published.merl_weights, published.merl_stages, lambda w: w, 8),
    "ptbxl_xresnet1d101": (
        published.xresnet_weights,
        published.xresnet_stages,
        lambda w: {"model": w, "opt": optimiser(w)},
        8,
    ),
    "ecgfounder": (
        published.ecgfounder_weights,
        published.ecgfounder_stages,
        lambda w: {"state_dict": w, "optimizer": optimiser(w), "val_auroc": np.float64(0.9)},
        64,
    ),
    "st_mem": (published.st_mem_weights, published.st_mem_stages, lambda w: {"model": w}, 128),
    "ecg_jepa": (
        published.ecg_jepa_weights,
        published.ecg_jepa_stages,
        lambda w: {"encoder": w, "epoch": 99},
        96,
    ),
    "hubert_ecg_small": (
        lambda width: published.hubert_weights(width, n_layers=8, conv_width=width),
        published.hubert_stages,
        lambda w: {"model_config": {}, "model_state_dict": w},
        128,
    ),
    "hubert_ecg_base": (
        lambda width: published.hubert_weights(width, n_layers=12, conv_width=512 * width // 768),
        published.hubert_stages,
        lambda w: w,
        192,
    ),
    "ecg_fm": (
        published.ecg_fm_weights,
        published.ecg_fm_stages,
        lambda w: {"cfg": argparse.Namespace(in_d=12), "model": w, "extra_state": {}},
        192,
    ),
    "ecg_cpc": (
        published.ecg_cpc_weights,
        published.ecg_cpc_stages,
        lambda w: {"state_dict": w, "pytorch-lightning_version": "2.1", "hyper_parameters": {}},
        16,
    ),
}
"""For each card: its tensors, its stages, the container they are published in, a small width."""

PARAMETERS = {
    "merl_resnet18": (3.8e6, 3.9e6),
    # 1,872,261 with the five classes of the benchmark; here the head has one.
    "ptbxl_xresnet1d101": (1_872_261 - 4 * 129,) * 2,
    "ecgfounder": (30.5e6, 30.8e6),
    "st_mem": (85e6, 85.5e6),
    "ecg_jepa": (85e6, 85.5e6),
    # 30.4 and 90.9 million with the projections that only pre-training needs.
    "hubert_ecg_small": (30.2e6, 30.4e6),
    "hubert_ecg_base": (92e6, 93.5e6),
    "ecg_fm": (90.3e6, 90.9e6),
    "ecg_cpc": (2e6, 4e6),
}
"""Bounds on the parameters at full width, by what the authors state."""


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def narrow(card, width):
    return card.model_copy(update={"network": card.network.model_copy(update={"width": width})})


@pytest.fixture
def card(name):
    return narrow(load_card(name), MODELS[name][3])


@pytest.fixture
def signals(card):
    """Return records of the card's own form, in the range that its scaling gives."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, len(card.input.leads), card.input.n_seen, generator=generator)


@pytest.fixture
def checkpoint(name, tmp_path):
    make, _, container, width = MODELS[name]
    torch.save(container(make(width)), tmp_path / "published.pth")
    return tmp_path / "published.pth"


@pytest.fixture
def pair(name, signals, tmp_path):
    """Return a golden pair that the published forward pass made."""
    make, stages, _, width = MODELS[name]
    save_file(
        {"input": signals, "features": stages(make(width), signals)[-1].contiguous()},
        tmp_path / "pair.safetensors",
    )
    return tmp_path / "pair.safetensors"


def test_every_card_has_a_published_network_to_compare_with():
    assert set(card_names()) == MODELS.keys()


def test_a_card_states_where_its_model_comes_from(card):
    assert card.source.startswith("https://")
    assert card.licence
    assert card.recipe.learning_rate > 0
    known = set(source_names())
    assert all(data in known or data[0].isupper() for data in card.pretraining_data)


def test_the_network_has_as_many_parameters_as_its_authors_state(name):
    card = load_card(name)
    with torch.device("meta"):
        model = build_model(
            ModelSpec(name=card.network.name),
            n_labels=1,
            n_leads=len(card.input.leads),
            n_samples=card.input.n_seen,
            seed=0,
        )
    low, high = PARAMETERS[name]
    assert low <= sum(p.numel() for p in model.parameters()) <= high


def test_a_published_checkpoint_gives_the_published_features(name, card, checkpoint, pair):
    public = load_by_card(checkpoint, card)
    assert check_golden(public, card, pair, weights=checkpoint) < 1e-5
    assert public.share > 0.97


def test_every_stage_computes_what_the_published_one_does(name, card, checkpoint, signals):
    make, stages, _, width = MODELS[name]
    expected = stages(make(width), signals)
    model = load_by_card(checkpoint, card).model.eval()
    assert len(expected) == model.n_freezable_stages
    with torch.no_grad():
        for n_stages, features in enumerate(expected[:-1], 1):
            found = model.features(signals, n_stages)
            size = features.abs().max().item()
            torch.testing.assert_close(
                found.flatten(1), features.flatten(1), rtol=0, atol=1e-5 * size
            )


def test_the_full_checkpoint_of_st_mem_is_read_without_its_decoder(tmp_path):
    weights = published.st_mem_weights(128)
    torch.save(published.st_mem_full_file(weights), tmp_path / "full.pth")
    public = load_by_card(tmp_path / "full.pth", narrow(load_card("st_mem"), 128))
    assert public.n_loaded == len(weights)
    assert "decoder_head.weight" in public.dropped


def test_hubert_ecg_is_read_from_safetensors_too(tmp_path):
    weights = published.hubert_weights(128, n_layers=8, conv_width=128)
    renamed = {f"hubert_ecg.{name}": tensor for name, tensor in weights.items()}
    save_file(renamed, tmp_path / "model.safetensors")
    card = narrow(load_card("hubert_ecg_small"), 128)
    public = load_by_card(tmp_path / "model.safetensors", card)
    assert (public.n_loaded, len(public.dropped)) == (len(weights) - 4, 4)


def test_no_golden_pair_is_a_refusal(card, checkpoint):
    public = load_by_card(checkpoint, card)
    with pytest.raises(CheckpointError, match="no golden pair shows"):
        check_golden(public, card, None, weights=checkpoint)


def test_one_wrong_tensor_does_not_reproduce_the_pair(name, card, tmp_path, pair):
    make, _, container, width = MODELS[name]
    weights = make(width)
    # Any tensor but those of the head, which the features do not depend on.
    spoilt = next(n for n in weights if not card.weights.dropped(n) and weights[n].ndim > 1)
    weights[spoilt] = weights[spoilt].flip(0)
    torch.save(container(weights), tmp_path / "spoilt.pth")
    public = load_by_card(tmp_path / "spoilt.pth", card)
    with pytest.raises(CheckpointError, match="loaded into a different network"):
        check_golden(public, card, pair, weights=tmp_path / "spoilt.pth")


def test_a_missing_tensor_is_named(name, card, tmp_path):
    make, _, container, width = MODELS[name]
    weights = make(width)
    lost = next(n for n in weights if not card.weights.dropped(n) and weights[n].ndim > 1)
    del weights[lost]
    torch.save(container(weights), tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match="1 tensors are missing"):
        load_by_card(tmp_path / "less.pth", card)


MERL = "merl_resnet18"


@pytest.fixture
def merl(tmp_path):
    weights = published.merl_weights(8)
    torch.save(weights, tmp_path / "merl.pt")
    signals = torch.rand(2, 12, 5000)
    features = published.merl_stages(weights, signals)[-1]
    save_file({"input": signals, "features": features}, tmp_path / "pair.safetensors")
    return tmp_path


def with_golden(card, folder, **changes):
    digest = hashlib.sha256((folder / "pair.safetensors").read_bytes()).hexdigest()
    golden = GoldenTable(**({"file": "pair.safetensors", "sha256": digest} | changes))
    return card.model_copy(update={"golden": golden})


def test_a_network_with_an_early_maximum_is_refused_by_the_golden_pair_alone(merl):
    """Names and shapes fit the published study's ResNet18, which pools after the stem."""
    card = narrow(load_card(MERL), 8)
    wrong = card.model_copy(
        update={"network": card.network.model_copy(update={"name": "resnet1d18", "head": "pooled"})}
    )
    public = load_by_card(merl / "merl.pt", wrong)
    assert public.share > 0.98
    with pytest.raises(CheckpointError, match="loaded into a different network"):
        check_golden(public, wrong, merl / "pair.safetensors", weights=merl / "merl.pt")


def test_the_pair_of_a_card_is_found_next_to_the_weights(merl):
    card = with_golden(narrow(load_card(MERL), 8), merl)
    public = load_by_card(merl / "merl.pt", card)
    assert check_golden(public, card, None, weights=merl / "merl.pt") < 1e-5


def test_another_pair_than_the_card_names_is_refused(merl):
    card = with_golden(narrow(load_card(MERL), 8), merl, sha256="0" * 64)
    public = load_by_card(merl / "merl.pt", card)
    with pytest.raises(CheckpointError, match=r"golden pair .* must have SHA-256 0000"):
        check_golden(public, card, None, weights=merl / "merl.pt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.rand(2, 9, 5000)}, "does not take the input of shape"),
        ({"features": torch.rand(2, 3)}, r"must have the shape \(2, 3\)"),
        ({"features": torch.full((2, 64), np.nan)}, "differ by nan"),
        ({"input": None}, "lacks the tensor 'input'"),
    ],
)
def test_a_pair_that_cannot_be_compared_is_refused_in_one_line(merl, change, message):
    card = narrow(load_card(MERL), 8)
    tensors = load_file(merl / "pair.safetensors") | change
    save_file({n: t for n, t in tensors.items() if t is not None}, merl / "other.safetensors")
    public = load_by_card(merl / "merl.pt", card)
    with pytest.raises(CheckpointError, match=message) as refused:
        check_golden(public, card, merl / "other.safetensors", weights=merl / "merl.pt")
    assert "\n" not in str(refused.value)


def test_another_file_than_the_card_names_is_refused(merl):
    card = narrow(load_card(MERL), 8)
    card = card.model_copy(update={"weights": card.weights.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(CheckpointError, match="get the file again from https://"):
        load_by_card(merl / "merl.pt", card)


def test_a_network_with_other_stages_is_refused(merl):
    card = narrow(load_card(MERL), 8)
    other = card.network.model_copy(update={"stages": ("stem", "stage1")})
    with pytest.raises(CheckpointError, match="must be stem, stage1, but are"):
        load_by_card(merl / "merl.pt", card.model_copy(update={"network": other}))


def test_two_names_that_become_one_are_both_named(merl):
    card = narrow(load_card(MERL), 8)
    rules = (*card.weights.renames, ("second", "first"))
    card = card.model_copy(update={"weights": card.weights.model_copy(update={"renames": rules})})
    with pytest.raises(CheckpointError, match=r"layer1\.0\.conv1\.weight and layer1\.0\.conv2"):
        load_by_card(merl / "merl.pt", card)


def test_a_card_of_ones_own_is_named_by_its_path(tmp_path):
    shutil.copy(card_path(MERL), tmp_path / "mine.toml")
    assert load_card(str(tmp_path / "mine.toml")) == load_card(MERL)


def test_an_unknown_card_is_answered_with_the_nearest():
    with pytest.raises(CheckpointError, match="did you mean 'merl_resnet18'"):
        load_card("merl_resnet")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("drop = ['(']", r"\[weights\] drop: '\(' is no regular expression"),
        ("prefix = 'x'", r"\[weights\] prefix: unknown key"),
        ("sha256 = 'abc'", r"\[weights\] sha256"),
    ],
)
def test_a_faulty_card_is_answered_with_file_key_and_remedy(tmp_path, line, message):
    text = card_path("ptbxl_xresnet1d101").read_text()
    text = text.replace("drop = ['\\.convpath\\.']", "", 1)
    (tmp_path / "mine.toml").write_text(text.replace("[weights]", f"[weights]\n{line}"))
    with pytest.raises(CheckpointError, match=message):
        load_card(str(tmp_path / "mine.toml"))
