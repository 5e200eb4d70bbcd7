from dataclasses import replace

import numpy as np
import pytest
from fakes_evidence import World, invent

from ecgopt.analysis.conclude import conclude
from ecgopt.evidence.records import CellKey


def claims_of(world, workspace, change=lambda evidence: evidence):
    found = conclude(change(invent(world, workspace)), workspace).findings
    return {finding.name: finding for finding in found}


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


@pytest.mark.parametrize("finding", ["C3", "C4", "C7", "C8", "C9"])
def test_a_claim_without_cells_says_so(tmp_path, finding):
    found = claims_of(World(replicates=1, trials=4, final_seeds=1), tmp_path)
    assert found[finding].outcome == "no cell for it"


TWO_TARGETS = replace(PRECISE, downstreams=("ptbxl", "cpsc"))


@pytest.mark.parametrize(
    ("gain", "c1", "c2"),
    [
        # No number of cells with a gain refutes that there is one without.
        (0.05, "supported", "undecided"),
        (-0.05, "refuted", "supported"),
        (0.0, "refuted", "supported"),
    ],
)
def test_small_targets(tmp_path, gain, c1, c2):
    found = claims_of(TWO_TARGETS, tmp_path, with_scores(lambda final: gain))
    assert (found["C1"].outcome, found["C2"].outcome) == (c1, c2)
    assert "2 targets, 1 source, 1 network" in found["C1"].grounds


def test_one_target_carries_no_general_statement(tmp_path):
    found = claims_of(PRECISE, tmp_path, with_scores(lambda final: 0.05))
    assert found["C1"].outcome == "undecided"
    assert "one target does not carry" in found["C1"].grounds


def test_interim_cells_support_no_finding(tmp_path):
    def change(evidence):
        return replace(with_scores(lambda final: 0.05)(evidence), finals=evidence.finals[1:])

    assert claims_of(TWO_TARGETS, tmp_path, change)["C1"].outcome == "no cell for it"


def test_a_gain_that_falls_with_size_and_ends_equal(tmp_path):
    world = replace(TWO_TARGETS, train_sizes=(200, 1000, 6000))
    gain = {200: 0.06, 1000: 0.03, 6000: 0.0}
    found = claims_of(world, tmp_path, with_scores(lambda final: gain[final.n_train]))
    assert (found["C3"].outcome, found["C4"].outcome) == ("supported", "supported")


def test_a_gain_that_grows_with_size(tmp_path):
    world = replace(TWO_TARGETS, train_sizes=(200, 1000, 6000))
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


def test_harm_that_grows_with_size_is_no_gain_that_falls(tmp_path):
    world = replace(TWO_TARGETS, train_sizes=(200, 1000, 6000))
    gain = {200: -0.02, 1000: -0.05, 6000: -0.08}
    found = claims_of(world, tmp_path, with_scores(lambda final: gain[final.n_train]))
    assert found["C3"].outcome == "undecided"


@pytest.mark.parametrize(
    ("other", "n_checkpoints", "outcome"),
    [(0.06, 2, "supported"), (0.0, 2, "refuted"), (0.06, 1, "undecided")],
)
def test_upstreams(tmp_path, other, n_checkpoints, outcome):
    def change(evidence):
        scored = with_scores(lambda final: other if final.upstream == "cpsc" else 0.0)(evidence)
        runs = [
            replace(found, key=f"{found.key}/{run}", sha256=f"{run}" * 64)
            for found in evidence.pretrainings
            for run in range(n_checkpoints)
        ]
        return replace(scored, pretrainings=tuple(runs))

    world = replace(PRECISE, upstreams=("georgia", "cpsc"))
    found = claims_of(world, tmp_path, change)
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


LADDER = World(replicates=2, trials=4, final_seeds=1, train_sizes=(200, 300, 400))


def with_curves(curve_of):
    """Return a change that sets every curve by its index and final."""

    def change(evidence):
        finals = []
        for index, final in enumerate(evidence.finals):
            curve = tuple(np.asarray(curve_of(index, final), float).tolist())
            finals.append(replace(final, curve=curve, n_epochs=len(curve)))
        return replace(evidence, finals=tuple(finals))

    return change


def test_scratch_that_needs_twice_the_epochs(tmp_path):
    def curve(index, final):
        """Rise in a straight line to 0.9; the common score, 0.88, is reached at the last step."""
        n_rising = 12 if final.regime == "scratch" else 6
        return 0.5 + 0.4 * np.minimum(np.arange(1, 21) / n_rising, 1)

    found = claims_of(LADDER, tmp_path, with_curves(curve))["C5"]
    assert found.outcome == "supported"
    assert "takes 2.0 times the epochs" in found.grounds


def test_scratch_fits_that_never_reach_the_score_count_as_longer(tmp_path):
    """Of those that reach it, scratch is quicker; most never do, which must not be left out."""

    def curve(index, final):
        if final.regime == "fine_tune":
            return [0.6, 0.7, 0.8, 0.9]
        if (final.n_train, final.replicate) == (200, 0):
            return [0.6, 0.9, 0.99, 0.99]
        return [0.6, 0.7, 0.7, 0.7]

    found = claims_of(LADDER, tmp_path, with_curves(curve))["C5"]
    assert found.outcome != "refuted"
    assert "scratch fits never reach it" in found.grounds


def with_costs(factor, pretraining):
    """Return a change that makes every run of fine-tuning cost so many times as many samples."""

    def change(evidence):
        def cost(run, index):
            return round(1000 * (1 + 0.01 * (index % 5)) * factor), 1.0 + index % 7

        studies = tuple(
            replace(
                study,
                trials=tuple(
                    replace(trial, n_samples=samples, seconds=seconds)
                    for index, trial in enumerate(study.trials)
                    for samples, seconds in [
                        cost(trial, index) if study.regime == "fine_tune" else (1000, 5.0)
                    ]
                ),
            )
            for study in evidence.studies
        )
        finals = tuple(replace(final, n_samples=1000) for final in evidence.finals)
        runs = tuple(replace(run, n_samples=pretraining) for run in evidence.pretrainings)
        return replace(evidence, studies=studies, finals=finals, pretrainings=runs)

    return change


@pytest.mark.parametrize(
    ("factor", "pretraining", "outcome"),
    [(0.3, 10, "supported"), (3.0, 10, "refuted"), (0.3, 100_000, "mixed")],
)
def test_cost_is_judged_by_samples_and_no_clock_turns_it(tmp_path, factor, pretraining, outcome):
    found = claims_of(LADDER, tmp_path, with_costs(factor, pretraining))["C6"]
    assert found.outcome == outcome


def test_contrasts_need_the_same_target(tmp_path):
    world = World(upstreams=("georgia",), downstreams=("ptbxl", "ptb"), replicates=2, trials=4)
    assert claims_of(world, tmp_path)["C8"].outcome == "no cell for it"


def test_cells_are_named_for_people():
    key = CellKey(upstream="georgia", downstream="ptbxl", model="resnet1d18", n_train=2000)
    assert str(key) == "georgia → ptbxl, resnet1d18, n = 2,000"
