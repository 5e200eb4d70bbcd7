"""HuBERT-ECG and ECG-FM against the networks of transformers, where that is installed."""

import pytest
import torch

from ecgopt.models.cards import load_card
from ecgopt.models.registry import ModelSpec, build_model

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed; its networks are compared where it is"
)

COMMON = {
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "num_feat_extract_layers": 5,
    "conv_kernel": (10, 3, 3, 2, 2),
    "conv_stride": (4, 2, 2, 2, 2),
}
CASES = {
    "hubert_ecg_small": ("Hubert", 128, COMMON | {"num_hidden_layers": 8, "conv_dim": (128,) * 5}),
    "hubert_ecg_base": ("Hubert", 192, COMMON | {"num_hidden_layers": 12, "conv_dim": (128,) * 5}),
    "ecg_fm": (
        "Wav2Vec2",
        192,
        COMMON
        | {
            "num_hidden_layers": 12,
            "num_feat_extract_layers": 4,
            "conv_dim": (64,) * 4,
            "conv_kernel": (2,) * 4,
            "conv_stride": (2,) * 4,
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_features_equal_those_of_transformers(name):
    family, width, options = CASES[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        **options,
    )
    theirs = getattr(transformers, f"{family}Model")(config).eval()
    # The first convolution of transformers has one channel, so there is one lead.
    ours = build_model(
        ModelSpec(name=name, width=width), n_labels=1, n_leads=1, n_samples=2000, seed=0
    )
    card = load_card("hubert_ecg_small" if options["num_hidden_layers"] == 8 else "hubert_ecg_base")
    renamed = {
        card.weights.renamed(n): tensor
        for n, tensor in theirs.state_dict().items()
        if not card.weights.dropped(n)
    }
    missing, unknown = ours.load_state_dict(renamed, strict=False)
    assert (set(missing), unknown) == ({"head.linear.weight", "head.linear.bias"}, [])
    ours.eval()
    signals = torch.randn(2, 1, 2000)
    with torch.no_grad():
        expected = theirs(signals[:, 0]).last_hidden_state.mean(dim=1)
        found = ours.last_stage.finish(ours.features(signals, ours.n_freezable_stages))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
