import pytest
import torch

from ecgopt.errors import CheckpointError
from ecgopt.models.checkpoint import Checkpoint, match_moments, model_tensors
from ecgopt.models.registry import ModelSpec, build_model

SPEC = ModelSpec(width=16)


@pytest.fixture(scope="module")
def upstream():
    model = build_model(SPEC, n_labels=3, seed=0)
    with torch.no_grad():
        for position, parameter in enumerate(model.parameters()):
            parameter.mul_(1 + position).add_(0.1 * position)
    return Checkpoint(tensors=model_tensors(model), metadata={}, sha256="")


def matched(upstream, seed=1):
    model = build_model(SPEC, n_labels=5, seed=7)
    match_moments(model, upstream, seed=seed)
    return model


def test_each_kernel_has_the_mean_and_spread_of_its_upstream_twin(upstream):
    for name, parameter in matched(upstream).named_parameters():
        if parameter.numel() > 5000 and not name.startswith("head."):
            twin = upstream.tensors[f"model.{name}"]
            spread = twin.std().item()
            assert parameter.mean().item() == pytest.approx(twin.mean().item(), abs=0.06 * spread)
            assert parameter.std().item() == pytest.approx(spread, rel=0.06)


def test_no_weight_is_taken_over_itself(upstream):
    for name, parameter in matched(upstream).named_parameters():
        if parameter.numel() > 5000 and not name.startswith("head."):
            twin = upstream.tensors[f"model.{name}"]
            together = torch.corrcoef(torch.stack([parameter.flatten(), twin.flatten()]))
            assert abs(together[0, 1].item()) < 0.06


def test_head_and_running_statistics_stay_fresh(upstream):
    fresh = build_model(SPEC, n_labels=5, seed=7).state_dict()
    for name, tensor in matched(upstream).state_dict().items():
        if name.startswith("head.") or "running" in name:
            assert torch.equal(tensor, fresh[name])


def test_equal_seeds_give_equal_weights_and_others_do_not(upstream):
    first, second, other = (
        torch.cat([p.detach().flatten() for p in matched(upstream, seed).parameters()])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_checkpoint_that_does_not_fit_is_refused(upstream):
    model = build_model(ModelSpec(width=8), n_labels=5, seed=0)
    with pytest.raises(CheckpointError, match="does not fit"):
        match_moments(model, upstream, seed=0)
