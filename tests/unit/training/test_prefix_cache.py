import fcntl
import logging
import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from wave_records import dataset, wave_data

from ecgopt.data.splits import TuningData
from ecgopt.models.registry import ModelSpec, build_model
from ecgopt.training.fit import TrainingRun
from ecgopt.training.prefix_cache import PrefixCache, cached_stages
from ecgopt.training.recipe import Recipe

CPU = torch.device("cpu")
RECIPE = Recipe(learning_rate=3e-3, n_epochs=3, batch_size=16, dropout=0.2, n_frozen_stages=5)
RESNET = ModelSpec(name="resnet1d18", width=8)


@pytest.fixture(scope="module")
def data():
    return wave_data()


def run_of(data, *, cache=None, spec=RESNET, recipe=RECIPE):
    model = build_model(spec, n_labels=2, seed=0)
    return TrainingRun(model, data, recipe, seed=0, device=CPU, prefix_cache=cache)


def losses(run):
    return [(r.train_loss, r.validation_loss, r.validation_macro_auroc) for r in run.epochs()]


def files(folder):
    return sorted(folder.glob("*.npy"))


def source(cache, data, *, seed=0, n_stages=5, precision="fp32"):
    model = build_model(RESNET, n_labels=2, seed=seed)
    return cache.source(model, data.train, n_stages=n_stages, precision=precision, device=CPU)


def build_in_process(folder, barrier, results):
    torch.set_num_threads(1)
    barrier.wait()
    kept = source(PrefixCache(folder), wave_data())
    results.put((os.getpid(), kept is not None))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("n_frozen_stages", [4, 5])
def test_kept_features_give_the_same_losses_as_computed_ones(
    data, tmp_path, n_frozen_stages, precision
):
    recipe = replace(RECIPE, n_frozen_stages=n_frozen_stages, precision=precision)
    expected = losses(run_of(data, recipe=recipe))
    assert losses(run_of(data, recipe=recipe, cache=PrefixCache(tmp_path))) == expected
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("name", ["gru", "bilstm", "xresnet1d101", "inception1d", "transformer1d"])
def test_kept_features_of_every_family_give_the_same_losses(data, tmp_path, name):
    spec = ModelSpec(name=name, width=4)
    n_freezable = build_model(spec, n_labels=2, seed=0).n_freezable_stages
    recipe = replace(RECIPE, n_epochs=1, n_frozen_stages=n_freezable)
    cached = losses(run_of(data, spec=spec, recipe=recipe, cache=PrefixCache(tmp_path)))
    np.testing.assert_allclose(cached, losses(run_of(data, spec=spec, recipe=recipe)), rtol=1e-6)


def test_a_second_run_computes_no_features(data, tmp_path, monkeypatch):
    cache = PrefixCache(tmp_path)
    expected = losses(run_of(data, cache=cache))

    def refuse(*_):
        raise AssertionError("features were computed again")

    monkeypatch.setattr("ecgopt.training.prefix_cache._features", refuse)
    assert losses(run_of(data, cache=PrefixCache(tmp_path))) == expected


def test_a_run_continued_with_the_cache_ends_with_the_same_bits(data, tmp_path):
    expected = losses(run_of(data))
    first = run_of(data)
    before = [next(first.epochs())]
    second = run_of(data, cache=PrefixCache(tmp_path))
    second.restore(*first.state())
    after = losses(second)
    assert [(r.train_loss, r.validation_loss, r.validation_macro_auroc) for r in before] + (
        after
    ) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"n_stages": 4},
        {"precision": "bf16"},
    ],
)
def test_other_weights_depth_or_precision_get_features_of_their_own(data, tmp_path, change):
    cache = PrefixCache(tmp_path)
    source(cache, data)
    source(cache, data, **change)
    assert len(files(tmp_path)) == 2


def test_other_records_get_features_of_their_own(data, tmp_path):
    cache = PrefixCache(tmp_path)
    source(cache, data)
    source(cache, TuningData(data.validation, data.train))
    assert len(files(tmp_path)) == 2


def test_a_rewritten_memory_map_gets_features_of_its_own(data, tmp_path):
    cache = PrefixCache(tmp_path / "cache")
    path = tmp_path / "signals.npy"
    rows, labels = np.arange(8), data.train.labels[:8]
    for factor in (1, 2):
        np.save(path, data.train.signals[:8] * np.int16(factor))
        os.utime(path, ns=(factor, factor))
        mapped = dataset(np.load(path, mmap_mode="r"), rows, labels, ("slow", "fast"))
        source(cache, TuningData(mapped, mapped))
    assert len(files(tmp_path / "cache")) == 2


def test_few_frozen_stages_are_not_worth_keeping(data, tmp_path):
    cache = PrefixCache(tmp_path)
    losses(run_of(data, recipe=replace(RECIPE, n_epochs=1, n_frozen_stages=3), cache=cache))
    assert files(tmp_path) == []
    model = build_model(RESNET, n_labels=2, seed=0)
    assert [cached_stages(model, n) for n in range(6)] == [0, 0, 0, 0, 4, 5]


def test_an_unfrozen_network_of_one_stage_keeps_nothing():
    model = build_model(ModelSpec(name="gru", width=4), n_labels=2, seed=0)
    assert [cached_stages(model, n) for n in range(2)] == [0, 1]


def test_features_larger_than_the_bound_are_not_kept(data, tmp_path):
    assert source(PrefixCache(tmp_path, max_bytes=1000), data) is None
    assert files(tmp_path) == []


def test_the_oldest_features_give_way_within_the_bound(data, tmp_path):
    source(PrefixCache(tmp_path), data)
    size = files(tmp_path)[0].stat().st_size
    cache = PrefixCache(tmp_path, max_bytes=2 * (size + 4096))
    (first,) = files(tmp_path)
    os.utime(first, (1, 1))
    for seed in (1, 2):
        source(cache, data, seed=seed)
    assert len(files(tmp_path)) == 2
    assert first not in files(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2 * (size + 4096)


def test_evicted_features_can_still_be_read_by_who_has_them(data, tmp_path):
    kept = source(PrefixCache(tmp_path), data)
    before = next(kept.batches(np.arange(4), 4))[0].clone()
    files(tmp_path)[0].unlink()
    assert torch.equal(next(kept.batches(np.arange(4), 4))[0], before)


def test_damaged_features_are_made_again(data, tmp_path, caplog):
    kept = source(PrefixCache(tmp_path), data)
    before = next(kept.batches(np.arange(4), 4))[0].clone()
    files(tmp_path)[0].write_bytes(b"\0" * 300)
    with caplog.at_level(logging.WARNING):
        again = source(PrefixCache(tmp_path), data)
    assert "damaged" in caplog.text
    assert torch.equal(next(again.batches(np.arange(4), 4))[0], before)


def test_a_full_disk_costs_the_cache_and_not_the_run(data, tmp_path, monkeypatch, caplog):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full_disk)
    assert source(PrefixCache(tmp_path), data) is None
    assert "No space left" in caplog.text
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_what_a_killed_builder_left_is_removed(data, tmp_path):
    abandoned = tmp_path / "aaaa.123.tmp"
    abandoned.write_bytes(b"half")
    source(PrefixCache(tmp_path), data)
    assert not abandoned.exists()


def test_what_another_process_is_building_is_left_alone(data, tmp_path):
    building = tmp_path / "aaaa.123.tmp"
    building.write_bytes(b"half")
    with (tmp_path / "aa.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        source(PrefixCache(tmp_path), data, seed=1)
    assert building.exists()


def test_who_waits_too_long_goes_on_without_features(data, tmp_path):
    source(PrefixCache(tmp_path), data)
    (made,) = files(tmp_path)
    made.unlink()
    with (tmp_path / f"{made.name[:2]}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert source(PrefixCache(tmp_path, max_wait_seconds=0.1), data) is None


def test_processes_that_start_at_once_build_the_features_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=build_in_process, args=(tmp_path, barrier, results))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert all(kept for _, kept in outcomes)
    assert len(files(tmp_path)) == 1
    assert list(tmp_path.glob("*.tmp")) == []
