"""The published study's grid as one study file."""

from collections import Counter
from pathlib import Path

import pytest

from ecgopt.jobs.registry import work_items
from ecgopt.study_file.cells import ALL_RECORDS, expand_cells, expand_studies
from ecgopt.study_file.reading import load_spec

STUDY = Path(__file__).parents[3] / "studies" / "paper_grid.toml"
SIZES = [2_000, 4_000, 6_000, 8_000, 10_000, 12_000]


@pytest.fixture(scope="module")
def spec():
    return load_spec(STUDY)


def test_it_holds_the_twelve_pairs_by_six_networks_and_the_thirty_runs_from_scratch(spec):
    studies = [key for key in expand_studies(spec) if key.n_train == ALL_RECORDS]
    counts = Counter(key.regime for key in studies)
    assert counts == {"fine_tune": 72, "scratch": 30}
    pairs = {(key.upstream, key.downstream) for key in studies if key.upstream}
    assert len(pairs) == 12
    assert all(upstream != downstream for upstream, downstream in pairs)


def test_it_holds_the_six_sizes_of_both_arms_beside_the_grid(spec):
    studies = [key for key in expand_studies(spec) if key.n_train != ALL_RECORDS]
    assert Counter((key.regime, key.n_train) for key in studies) == {
        (regime, size): 1 for regime in ("scratch", "fine_tune") for size in SIZES
    }
    assert {(key.downstream, key.model.label) for key in studies} == {("ptbxl", "resnet1d18")}
    assert {key.upstream for key in studies} == {None, "georgia"}


def test_a_second_replicate_doubles_every_study(spec):
    budget = spec.budget.model_copy(update={"replicates": 2})
    twice = spec.model_copy(update={"budget": budget})
    assert len(expand_studies(twice)) == 2 * len(expand_studies(spec)) == 2 * (72 + 30 + 6 + 6)


def test_each_network_is_pretrained_once_on_each_upstream(spec):
    items = work_items(spec, expand_studies(spec))
    assert sum(item.kind == "pretrain" for item in items) == 3 * 6
    assert sum(item.kind == "trial" for item in items) == (72 + 30 + 12) * spec.budget.trials


def test_cells_are_the_transfers(spec):
    assert len(expand_cells(spec)) == 72 + 6


def test_each_network_may_freeze_all_the_stages_it_has_and_no_more(spec):
    most = {
        model.label: spec.search_space("fine_tune", model).ranges["frozen_stages"].high
        for model in spec.models
    }
    resnets = ("resnet1d18", "resnet1d50", "resnet1d101")
    assert most == {name: 5 for name in resnets} | {name: 1 for name in ("gru", "lstm", "bilstm")}
