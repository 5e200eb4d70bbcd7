import numpy as np
import pytest

from ecgopt.analysis.compare import CellComparison, Judgement
from ecgopt.analysis.influence import PatientInfluence
from ecgopt.analysis.interval import PairedDifference, estimate_mean
from ecgopt.analysis.pooled import pool
from ecgopt.analysis.sizes import joint_covariance, size_ladders
from ecgopt.analysis.verdict import Decision, Rules, decide_together
from ecgopt.evidence.records import CellKey

SIZES = (200, 600, 2000, 6000)


def cell_with(values, *, n_train=200, upstream="u", downstream="d", influence=None):
    """Return a cell whose replicates differ by `values`."""
    differences = {
        (replicate, 0): PairedDifference(value=float(value), influence=influence)
        for replicate, value in enumerate(values)
    }
    rules = Rules.of_one_look(margin=0.01, confidence=0.95)
    (verdict,) = decide_together([estimate_mean(differences)], rules)
    return CellComparison(
        cell=CellKey(upstream=upstream, downstream=downstream, model="m", n_train=n_train),
        reference="scratch",
        regime="fine_tune",
        role="tuned",
        differences=differences,
        n_planned=len(differences),
        interval=verdict.interval,
        margin=0.01,
        judgement=Judgement(
            decision=Decision.UNDECIDED,
            tests=None,
            corrected=None,
            level=0.05,
            level_left=0.0,
            decided_at=None,
            further_replicates=None,
            caveats=(),
        ),
    )


def ladder_with(difference, *, spread=0.005, replicates=5, seed=0):
    random = np.random.default_rng(seed)
    return [
        cell_with(difference(size) + spread * random.normal(size=replicates), n_train=size)
        for size in SIZES
    ]


def falling(size):
    return 0.06 * (np.log10(2000) - np.log10(size))


def test_the_crossover_lies_where_the_difference_was_made_zero():
    (ladder,) = size_ladders(ladder_with(falling), confidence=0.95)
    assert ladder.slope == pytest.approx(-0.06, abs=0.01)
    assert ladder.to_zero.low < 2000 < ladder.to_zero.high
    assert ladder.to_margin.n_train < ladder.to_zero.n_train


def test_a_flat_difference_has_no_crossover():
    (ladder,) = size_ladders(ladder_with(lambda size: 0.03), confidence=0.95)
    assert ladder.to_zero.n_train is None
    assert ladder.slope_low < 0 < ladder.slope_high


def test_two_sizes_make_no_ladder():
    assert size_ladders(ladder_with(falling)[:2], confidence=0.95) == ()


def test_the_crossover_interval_covers_the_truth_as_often_as_it_claims():
    covered = 0
    for seed in range(200):
        (ladder,) = size_ladders(ladder_with(falling, spread=0.01, seed=seed), confidence=0.95)
        low, high = ladder.to_zero.low or 0, ladder.to_zero.high or np.inf
        covered += ladder.to_zero.n_train is not None and low <= 2000 <= high
    assert covered >= 0.9 * 200


def test_cells_that_share_patients_have_correlated_errors():
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.001, 300)
    influence = PatientInfluence(score=0.0, patients=tuple(map(str, range(300))), values=shared)
    cells = [cell_with([0.01, 0.02], influence=influence, n_train=size) for size in (200, 600)]
    _, covariance = joint_covariance(cells)
    assert covariance[0, 1] == pytest.approx((shared**2).sum())


def test_cells_of_other_data_sets_do_not_share_patients_of_equal_names():
    influence = PatientInfluence(score=0.0, patients=("1", "2"), values=np.ones(2))
    cells = [cell_with([0.0, 0.1], influence=influence, downstream=name) for name in "de"]
    _, covariance = joint_covariance(cells)
    assert covariance[0, 1] == 0.0


def targets(true, between, seed, *, n_targets=8, replicates=4):
    random = np.random.default_rng(seed)
    return [
        cell_with(
            true + between * random.normal() + 0.01 * random.normal(size=replicates),
            downstream=f"d{index}",
        )
        for index in range(n_targets)
    ]


def test_the_pooled_difference_needs_three_targets():
    assert pool(targets(0.02, 0.0, 0, n_targets=2), confidence=0.95) is None


@pytest.mark.parametrize("between", [0.0, 0.02])
def test_the_pooled_interval_covers_the_truth_as_often_as_it_claims(between):
    found = [pool(targets(0.02, between, seed), confidence=0.95) for seed in range(100)]
    assert sum(each.low <= 0.02 <= each.high for each in found) >= 90


def test_the_pooled_spread_finds_targets_that_differ():
    found = [pool(targets(0.02, 0.03, seed), confidence=0.95) for seed in range(20)]
    assert np.mean([each.between_targets for each in found]) == pytest.approx(0.03, rel=0.25)


def test_upstreams_of_one_target_count_once():
    cells = [
        cell_with([0.01, 0.02, 0.03], upstream=upstream, downstream=f"d{index}")
        for index in range(4)
        for upstream in ("a", "b", "c")
    ]
    found = pool(cells, confidence=0.95)
    assert (found.n_targets, found.n_observations) == (4, 12)


def test_one_replicate_per_target_still_gives_a_pooled_interval():
    found = pool(targets(0.02, 0.01, 0, replicates=1), confidence=0.95)
    assert found.method == "t over cells"
    assert found.low < 0.02 < found.high
