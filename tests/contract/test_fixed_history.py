"""Which slots can begin, and which trials they learn from: the same on every database."""

import pytest
from optuna.trial import TrialState
from scripted_worker import begin_scripted, scripted_study

from ecgopt.causes import Cause
from ecgopt.comparison.evidence import load_studies
from ecgopt.comparison.progress import read_progress
from ecgopt.database.optuna.studies import open_study, propose, slot_trial
from ecgopt.database.optuna.trial_rows import add_report, begin_trial, close_trial
from ecgopt.database.tables import comparison, work_item
from ecgopt.queue import items
from ecgopt.queue.inspect import paused_items
from ecgopt.study_file.cells import expand_studies

N_STARTUP, N_TRIALS = 3, 9


class Opened:
    """A comparison of two studies whose slots end by hand."""

    def __init__(self, folder, url, **replacements):
        study = scripted_study(folder, trials=N_TRIALS, **replacements)
        self.spec, self.database = begin_scripted(study, url)
        self.key, self.other = expand_studies(self.spec)

    def claimable(self, regime="scratch"):
        """Return the slots of an arm that workers can take now, and give them back."""
        claims = []
        while claim := items.claim(self.database, "tiny", f"w{len(claims)}", lease_seconds=60):
            claims.append(claim)
        for claim in claims:
            items.release(self.database, claim)
        return [c.payload["slot"] for c in claims if f"/{regime}/" in c.key]

    def end(self, slot, cause=Cause.DONE, *, reports=(0.6, 0.7)):
        """End a slot of the first arm, whichever others are free."""
        with self.database.transaction() as connection:
            connection.execute(
                work_item.update()
                .where(work_item.c.key == f"trial/{self.key.path}/{slot:04d}")
                .values(state="set_aside" if cause.sets_aside else "done", cause=cause.value)
            )
        study = open_study(self.database, self.spec, self.key, slot)
        trial = slot_trial(study, slot)
        space = self.spec.search_space(self.key.regime, self.key.model)
        state = TrialState.FAIL if cause.sets_aside else TrialState.COMPLETE
        proposal = propose(study, trial, space)
        with self.database.transaction() as connection:
            begin_trial(connection, trial._trial_id, proposal, space)
            for step, value in enumerate(reports, start=5):
                add_report(connection, trial._trial_id, step, value)
            value = None if cause.sets_aside else reports[-1]
            close_trial(connection, trial._trial_id, state, value, {"cause": cause.value})

    def begin(self, slot):
        """Begin a slot of the first arm with what is proposed for it."""
        study = open_study(self.database, self.spec, self.key, slot)
        trial = slot_trial(study, slot)
        space = self.spec.search_space(self.key.regime, self.key.model)
        proposal = propose(study, trial, space)
        with self.database.transaction() as connection:
            begin_trial(connection, trial._trial_id, proposal, space)

    def seen(self, slot):
        study = open_study(self.database, self.spec, self.key, slot)
        return [trial.number for trial in study.get_trials(deepcopy=False)]

    def proposal(self, slot):
        study = open_study(self.database, self.spec, self.key, slot)
        space = self.spec.search_space(self.key.regime, self.key.model)
        return propose(study, slot_trial(study, slot), space)

    def is_pruned(self, slot, value):
        """Return whether a trial would be pruned after one weak report at step 5."""
        study = open_study(self.database, self.spec, self.key, slot)
        trial = slot_trial(study, slot)
        trial.intermediate_values[5] = value
        return bool(study.pruner.prune(study, trial))


@pytest.fixture
def opened(url, tmp_path):
    begun = []

    def begin(**replacements):
        begun.append(Opened(tmp_path, url, **replacements))
        return begun[-1]

    yield begin
    for each in begun:
        with each.database.transaction() as connection:
            connection.execute(work_item.delete())
            connection.execute(comparison.delete())
        each.database.engine.dispose()


def test_a_slot_can_begin_when_those_that_it_learns_from_have_ended(opened):
    study = opened(lag=2)
    assert study.claimable() == [0, 1, 2]  # they draw at random, and nothing prunes them
    study.end(2)
    study.end(0)
    assert study.claimable() == [1]
    study.end(1)
    assert study.claimable() == [3, 4]
    assert study.claimable("scratch_twin") == [0, 1, 2]
    study.end(4)
    assert study.claimable() == [3]
    study.end(3, Cause.SET_ASIDE)
    assert study.claimable() == [5, 6]


def test_a_slot_sees_no_trial_that_could_have_ended_later(opened):
    study = opened(lag=2)
    for slot in (0, 1, 2, 3, 4):
        study.end(slot)
    assert [study.seen(slot) for slot in (2, 3, 4, 5)] == [[], [0, 1], [0, 1, 2], [0, 1, 2, 3]]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_what_else_has_ended_changes_neither_proposal_nor_pruning(opened, sampler):
    study = opened(lag=3, sampler=sampler)
    for slot in (0, 1, 2, 3):
        study.end(slot, reports=(0.6 + slot / 100, 0.7))
    before = [study.proposal(6), study.is_pruned(6, 0.1), study.is_pruned(6, 0.8)]
    assert before[1:] == [True, False]
    study.end(5, reports=(0.01, 0.99))
    study.end(4, reports=(0.02, 0.98))
    assert [study.proposal(6), study.is_pruned(6, 0.1), study.is_pruned(6, 0.8)] == before


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_proposal_is_the_same_whether_earlier_slots_have_begun_or_not(opened, sampler):
    study = opened(lag=4, sampler=sampler)
    for slot in (0, 1, 2, 3):
        study.end(slot, reports=(0.6, 0.7 + slot / 100))
    alone = study.proposal(7)
    assert study.proposal(6) != alone  # it knows what the others try
    for slot in (5, 4):
        study.begin(slot)
    assert study.proposal(7) == alone
    study.begin(6)
    assert study.proposal(7) == alone


def test_slots_that_learn_nothing_wait_for_nothing(opened):
    study = opened(lag=1, sampler="random", pruning="false")
    assert study.claimable() == list(range(N_TRIALS))


def test_a_free_study_waits_for_nothing_and_learns_from_whatever_has_ended(opened):
    study = opened(lag='"free"')
    assert study.claimable() == list(range(N_TRIALS))
    study.end(7)
    assert 7 in study.seen(3)
    assert study.proposal(3) == study.proposal(3)


HALVING = 'true\nkind = "halving"\nbracket = 2\npause_at = [3, 6]'


def pause(study, slot, rung):
    """Let a worker claim whatever it can, pause this slot of the first arm and return the rest."""
    claims = []
    while claim := items.claim(study.database, "tiny", f"w{len(claims)}", lease_seconds=60):
        claims.append(claim)
    for claim in claims:
        is_it = claim.key == f"trial/{study.key.path}/{slot:04d}"
        items.release(study.database, claim, rung=rung if is_it else None)


def test_a_paused_slot_waits_until_its_whole_bracket_has_paused_there_or_ended(opened):
    study = opened(lag='"free"', pruning=HALVING)
    pause(study, 1, 3)
    assert 1 not in study.claimable()
    assert {0, 2, 3, 4} < set(study.claimable())
    pause(study, 2, 3)
    assert {1, 2} < set(study.claimable())
    pause(study, 2, 6)
    assert 1 in study.claimable()
    assert 2 not in study.claimable()
    study.end(1)
    assert 2 in study.claimable()
    # The published recipe is in no bracket, and nothing waits for it.
    assert 0 in study.claimable()


def test_paused_trials_are_listed_as_such_with_how_many_they_wait_for(opened):
    study = opened(lag='"free"', pruning=HALVING)
    study.begin(1)
    study.begin(3)

    def listed():
        with study.database.transaction() as connection:
            found = paused_items(connection, "tiny")
        return {int(item.item[-4:]): (item.rung, item.n_behind) for item in found}

    def states():
        (seen,) = load_studies(study.database, study.spec, ["scratch"])
        return [trial.state for trial in seen.trials][1:4]

    def counts():
        (one, _) = read_progress(study.database, study.spec).studies
        return one.running, one.paused

    assert (listed(), states(), counts()) == ({}, ["running", "waiting", "running"], (2, 0))
    pause(study, 1, 3)
    assert listed() == {1: (3, 1)}
    assert (states(), counts()) == (["paused", "waiting", "running"], (1, 1))
    study.begin(2)
    pause(study, 2, 3)
    assert listed() == {1: (3, 0), 2: (3, 0)}
    assert (states(), counts()) == (["paused", "paused", "running"], (1, 2))
    for number in range(2 * N_TRIALS):
        items.claim(study.database, "tiny", f"w{number}", lease_seconds=60)
    assert (listed(), states()) == ({}, ["running"] * 3)


def test_a_claim_says_where_its_item_paused_also_after_a_worker_was_lost(opened):
    study = opened(lag='"free"', pruning=HALVING)
    pause(study, 1, 3)
    pause(study, 2, 3)
    for owner in ("first", "second"):
        claims = [items.claim(study.database, "tiny", f"{owner}{k}", lease_seconds=60)
                  for k in range(2 * N_TRIALS)]  # fmt: skip
        rungs = {claim.key: claim.rung for claim in claims}
        assert [rungs[f"trial/{study.key.path}/{slot:04d}"] for slot in (0, 1, 2, 3)] == [
            0,
            3,
            3,
            0,
        ]
        names = [claim.owner for claim in claims]
        items.release_dead_workers(study.database, names, cause="killed")


def test_a_bracket_learns_from_whole_brackets_alone(opened):
    study = opened(lag=1, pruning=HALVING)  # brackets: 1-2, 3-4, 5-6, 7-8
    assert [study.spec.last_seen(slot) for slot in range(N_TRIALS)] == [
        None, None, None, 2, 2, 4, 4, 6, 6
    ]  # fmt: skip
    assert study.claimable() == [0, 1, 2]
    for slot in (0, 1):
        study.end(slot)
    pause(study, 2, 3)
    assert study.claimable() == [2]
    study.end(2)
    assert study.claimable() == [3, 4]
