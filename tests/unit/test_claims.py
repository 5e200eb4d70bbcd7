from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.evidence.records import CellKey


def claims_of(world, workspace, change=lambda evidence: evidence):
    found = conclude(change(invent(world, workspace)), workspace).claims
    return {claim.name: claim for claim in found}


PRECISE = World(replicates=6, final_seeds=2, run_spread=0.02, trials=10, n_patients=600)


def with_scores(difference):
    """Return a change that sets every test score and drops the predictions."""

    def change(evidence):
        finals = []
        for index, final in enumerate(evidence.finals):
            gain = difference(final) if final.regime == "fine_tune" else 0.0
            score = 0.8 + gain + 0.0005 * ((index * 7) % 5 - 2)
            finals.append(
                replace(final, metrics={"macro_auroc": score}, predictions=None, test_curve=())
            )
        return replace(evidence, finals=tuple(finals))

    return change


def test_all_ten_claims_are_listed_in_order(tmp_path):
    found = claims_of(World(replicates=1, trials=4, final_seeds=1), tmp_path)
    assert list(found) == [f"C{number}" for number in range(1, 11)]


@pytest.mark.parametrize("claim", ["C3", "C4", "C7", "C8", "C9"])
def test_a_claim_without_cells_says_so(tmp_path, claim):
    found = claims_of(World(replicates=1, trials=4, final_seeds=1), tmp_path)
    assert found[claim].outcome == "no cell for it"


@pytest.mark.parametrize(
    ("gain", "c1", "c2"),
    [
        (0.05, "supported", "refuted"),
        (-0.05, "refuted", "supported"),
        (0.0, "refuted", "supported"),
    ],
)
def test_small_targets(tmp_path, gain, c1, c2):
    found = claims_of(PRECISE, tmp_path, with_scores(lambda final: gain))
    assert (found["C1"].outcome, found["C2"].outcome) == (c1, c2)


def test_a_gain_that_falls_with_size_and_ends_equal(tmp_path):
    world = replace(PRECISE, train_sizes=(200, 1000, 6000))
    gain = {200: 0.06, 1000: 0.03, 6000: 0.0}
    found = claims_of(world, tmp_path, with_scores(lambda final: gain[final.n_train]))
    assert (found["C3"].outcome, found["C4"].outcome) == ("supported", "supported")


def test_a_gain_that_grows_with_size(tmp_path):
    world = replace(PRECISE, train_sizes=(200, 1000, 6000))
    gain = {200: 0.0, 1000: 0.03, 6000: 0.06}
    found = claims_of(world, tmp_path, with_scores(lambda final: gain[final.n_train]))
    assert (found["C3"].outcome, found["C4"].outcome) == ("refuted", "refuted")


def test_cnns_that_gain_more_than_recurrent_networks(tmp_path):
    world = replace(PRECISE, models=("resnet1d18", "gru"))
    found = claims_of(
        world, tmp_path, with_scores(lambda final: 0.06 if final.model == "resnet1d18" else 0.0)
    )
    assert found["C7"].outcome == "supported"
    assert "flatten head" in found["C7"].grounds


@pytest.mark.parametrize(("other", "outcome"), [(0.06, "supported"), (0.0, "refuted")])
def test_upstreams(tmp_path, other, outcome):
    world = replace(PRECISE, upstreams=("georgia", "cpsc"))
    found = claims_of(
        world, tmp_path, with_scores(lambda final: other if final.upstream == "cpsc" else 0.0)
    )
    assert found["C8"].outcome == outcome


@pytest.mark.parametrize(("other", "outcome"), [(0.06, "refuted"), (0.0, "supported")])
def test_depths(tmp_path, other, outcome):
    world = replace(PRECISE, models=("resnet1d18", "resnet1d50"))
    found = claims_of(
        world, tmp_path, with_scores(lambda final: other if final.model == "resnet1d50" else 0.0)
    )
    assert found["C9"].outcome == outcome


@pytest.mark.parametrize(("published", "outcome"), [(-0.06, "supported"), (0.03, "refuted")])
def test_tuning_and_the_gap(tmp_path, published, outcome):
    found = claims_of(
        PRECISE,
        tmp_path,
        with_scores(lambda final: published if final.role == "published" else 0.03),
    )
    assert found["C10"].outcome == outcome


def test_scratch_that_needs_twice_the_epochs(tmp_path):
    def change(evidence):
        finals = []
        for index, final in enumerate(evidence.finals):
            pace = 2.0 if final.regime == "scratch" else 1.0
            steps = np.arange(1, 41)
            curve = 0.5 + 0.4 * (1 - np.exp(-steps / (4 * pace + 0.1 * (index % 3))))
            finals.append(replace(final, curve=tuple(curve.tolist()), n_epochs=40))
        return replace(evidence, finals=tuple(finals))

    world = World(replicates=2, trials=4, final_seeds=1, train_sizes=(200, 300, 400))
    found = claims_of(world, tmp_path, change)["C5"]
    assert found.outcome == "supported"


def test_contrasts_need_the_same_target(tmp_path):
    world = World(upstreams=("georgia",), downstreams=("ptbxl", "ptb"), replicates=2, trials=4)
    assert claims_of(world, tmp_path)["C8"].outcome == "no cell for it"


def test_cells_are_named_for_people():
    key = CellKey(upstream="georgia", downstream="ptbxl", model="resnet1d18", n_train=2000)
    assert str(key) == "georgia → ptbxl, resnet1d18, n = 2,000"
