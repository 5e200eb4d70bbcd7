import pytest
from network_cost import macs_by_stage, training_macs

from ecgopt.models.registry import ModelSpec


@pytest.mark.parametrize(
    ("name", "millions"),
    [("resnet1d18", 175), ("resnet1d50", 793), ("resnet1d101", 1565)],
)
def test_published_networks_cost_what_was_published(name, millions):
    macs = sum(macs_by_stage(ModelSpec(name=name), n_labels=5).values())
    assert macs // 1_000_000 == millions


def test_the_work_doubles_from_stage_to_stage():
    macs = macs_by_stage(ModelSpec(), n_labels=5)
    millions = [round(value / 1e6, 1) for value in macs.values()]
    assert millions == [2.7, 12.3, 22.5, 45.4, 92.5, 0.0]


def test_a_recurrence_costs_its_weights_once_per_sample():
    macs = macs_by_stage(ModelSpec(name="lstm", head="pooled"), n_labels=5, n_samples=500)
    assert macs == {"recurrent": 500 * 4 * 100 * (12 + 100), "head": 500}


def test_attention_is_counted():
    macs = macs_by_stage(ModelSpec(name="transformer1d", width=16), n_labels=5)
    tokens, width = 50, 16
    projections_and_feed_forward = tokens * width * width * (4 + 8)
    assert macs["stage1"] == projections_and_feed_forward + 2 * tokens**2 * width


def test_frozen_stages_run_forward_only_and_kept_features_not_at_all():
    macs = {"stem": 1, "stage1": 10, "head": 100}
    assert training_macs(macs, n_frozen_stages=0) == 333
    assert training_macs(macs, n_frozen_stages=2) == 11 + 300
    assert training_macs(macs, n_frozen_stages=2, keeps_features=True) == 300
