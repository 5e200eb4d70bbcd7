"""A slot's trial under its lease: what Optuna reads of it, on every database."""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import select

from ecgopt.causes import Cause
from ecgopt.database.engine import Database, open_database
from ecgopt.database.optuna.trial_rows import FAILURES, RUN, add_slots
from ecgopt.database.tables import create_tables, failure, work_item
from ecgopt.errors import LeaseLost
from ecgopt.jobs.leased_trial import LeasedTrial
from ecgopt.queue import items
from ecgopt.queue.inspect import inspect_queue
from ecgopt.queue.items import NewItem
from ecgopt.queue.lease import Lease
from ecgopt.regimes.hyperparameters import Range, SearchSpace

SPACE = SearchSpace(
    {
        "learning_rate": Range(low=1e-4, high=1e-1, log=True),
        "epochs": Range(low=5, high=50),
        "frozen_stages": Range(low=0, high=5),
    }
)


@dataclass
class Slots:
    """A study whose first trials are slots, each with its work item."""

    database: Database
    study: optuna.Study

    def take(self, owner):
        """Return the first free slot's trial in the hands of `owner`."""
        claim = items.claim(self.database, "c", owner, lease_seconds=30)
        lease = Lease(self.database, claim, lease_seconds=30)
        return LeasedTrial.open(self.study, claim.payload["slot"], lease)

    def read(self, number=0):
        """Return a trial as a process finds it that has never looked before."""
        database = open_database(self.database.engine.url.render_as_string(hide_password=False))
        study = optuna.load_study(study_name=self.study.study_name, storage=database.optuna)
        trial = study.get_trials(deepcopy=False)[number]
        database.engine.dispose()
        return trial


@pytest.fixture
def slots(url):
    database = open_database(url)
    create_tables(database)
    study = optuna.create_study(
        storage=database.optuna,
        study_name="slots",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=1),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
    )
    new = [
        NewItem(
            kind="trial",
            key=f"trial/{number}",
            group="trials",
            needs=None,
            priority=number,
            payload={"slot": number},
        )
        for number in range(3)
    ]
    with database.transaction() as connection:
        items.add_missing(connection, "c", new)
        add_slots(connection, study._study_id, range(3), {})
    yield Slots(database, study)
    optuna.delete_study(study_name="slots", storage=database.optuna)
    with database.transaction() as connection:
        connection.execute(work_item.delete())
        connection.execute(failure.delete())
    database.engine.dispose()


def test_begin_and_end_are_on_the_clock_that_optuna_reads(slots, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        held = slots.take("me")
        held.begin(SPACE)
        held.close(TrialState.COMPLETE, 0.7, {})
        trial, now = slots.read(), datetime.now()
    time.tzset()
    assert now - timedelta(minutes=5) < trial.datetime_start <= trial.datetime_complete <= now


def test_a_trial_is_what_optuna_itself_would_have_stored(slots):
    parameters = (held := slots.take("me")).begin(SPACE)
    held.report(5, 0.6)
    held.report(10, 0.7)
    held.close(TrialState.COMPLETE, 0.7, {"seconds": 1.0})
    other = optuna.create_study()
    asked = other.ask(SPACE.distributions())
    trial = slots.read()
    assert trial.params == parameters
    assert trial.distributions == asked.distributions
    assert trial.intermediate_values == {5: 0.6, 10: 0.7}
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.7)
    assert trial.datetime_start <= trial.datetime_complete
    assert trial.user_attrs[RUN] == {"seconds": 1.0}
    trial._validate()


def test_a_running_trial_has_its_parameters(slots):
    parameters = slots.take("me").begin(SPACE)
    trial = slots.read()
    assert (trial.state, trial.params) == (TrialState.RUNNING, parameters)


def test_an_adopted_trial_keeps_parameters_and_reports_of_its_first_owner(slots):
    first = slots.take("first")
    parameters = first.begin(SPACE)
    first.report(1, 0.5)
    items.release_dead_workers(slots.database, ["first"], cause="worker killed")
    adopted = slots.take("second")
    assert adopted.begin(SPACE) == parameters
    assert adopted.values == {1: 0.5}


def test_repeating_a_write_whose_answer_was_lost_changes_nothing(slots):
    held = slots.take("me")
    parameters = held.begin(SPACE)
    held.begin(SPACE)
    for _ in range(2):
        held.report(10, 0.7)
        held.close(TrialState.COMPLETE, 0.7, {"seconds": 1.0})
    held.close(TrialState.FAIL, None, {})
    trial = slots.read()
    assert (trial.params, trial.value) == (parameters, 0.7)
    assert trial.user_attrs[RUN] == {"seconds": 1.0}


@pytest.mark.parametrize(
    "write",
    [
        lambda held: held.begin(SPACE),
        lambda held: held.report(1, 0.5),
        lambda held: held.note(FAILURES, {}),
        lambda held: held.close(TrialState.COMPLETE, 0.7, {}),
    ],
    ids=["begin", "report", "note", "close"],
)
def test_a_former_owner_writes_nothing(slots, write):
    former = slots.take("former")
    items.release_dead_workers(slots.database, ["former"], cause="worker killed")
    slots.take("new")
    before = slots.read()
    with pytest.raises(LeaseLost):
        write(former)
    assert slots.read() == before


def test_the_pruner_decides_as_it_does_for_optunas_own_trial(slots):
    good, weak = slots.take("good"), slots.take("weak")
    for held, values in ((good, (0.7, 0.8)), (weak, (0.6, 0.9))):
        held.begin(SPACE)
        for step, value in enumerate(values, start=1):
            held.report(step, value)
        if held is good:
            held.close(TrialState.COMPLETE, 0.8, {})
    own = optuna.trial.Trial(slots.study, weak.stored._trial_id)
    assert (weak.should_prune(), bool(own.should_prune())) == (False, False)
    third = slots.take("third")
    third.begin(SPACE)
    third.report(1, 0.1)
    own = optuna.trial.Trial(slots.study, third.stored._trial_id)
    assert (third.should_prune(), bool(own.should_prune())) == (True, True)


def test_a_slot_that_never_began_can_be_closed_as_failed(slots):
    slots.take("me").close(TrialState.FAIL, None, {"cause": "set_aside"})
    trial = slots.read()
    assert trial.state is TrialState.FAIL
    trial._validate()


def test_every_loss_of_an_item_is_kept_with_its_cause(slots):
    claims = []
    for owner, cause in (("a", "worker killed by SIGSEGV"), ("b", "worker hung")):
        claims.append(items.claim(slots.database, "c", owner, lease_seconds=30))
        items.release_dead_workers(slots.database, [owner], cause=cause)
    items.claim(slots.database, "c", "c", lease_seconds=0.05)
    time.sleep(0.2)
    claims.append(items.claim(slots.database, "c", "d", lease_seconds=30))
    assert claims[-1].total_failures == 3
    assert claims[-1].causes == (
        "worker killed by SIGSEGV",
        "worker hung",
        "worker c was not heard of until its lease ended",
    )


def test_custody_tells_who_holds_what_was_lost_and_what_was_set_aside(slots):
    database = slots.database
    items.claim(database, "c", "gone", lease_seconds=30)
    items.release_dead_workers(database, ["gone"], cause="worker killed")
    aside = items.claim(database, "c", "me", lease_seconds=30)
    items.finish(database, aside, cause=Cause.SET_ASIDE, detail="lost 3 workers")
    slots.take("holder")
    queue = inspect_queue(database, "c")
    assert [(lease.item, lease.owner) for lease in queue.leases] == [("trial/1", "holder")]
    assert 0 < queue.leases[0].seconds_left <= 30
    assert [(lost.item, lost.owner, lost.cause) for lost in queue.failures] == [
        ("trial/0", "gone", "worker killed")
    ]
    assert [(item.item, item.detail) for item in queue.set_aside] == [("trial/0", "lost 3 workers")]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_asking_the_pruner_waits_for_no_writer_of_sqlites_only_lock(slots):
    held = slots.take("me")
    held.begin(SPACE)
    held.report(1, 0.5)
    with slots.database.transaction() as writing:
        writing.execute(select(work_item))
        assert held.should_prune() is False


def test_what_tpe_proposes_is_written_with_the_beginning_of_the_trial_alone(slots):
    slots.study.sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=1, constant_liar=True)
    first = slots.take("me")
    first.begin(SPACE)
    first.close(TrialState.COMPLETE, 0.7, {})
    items.finish(slots.database, first.lease.claim, cause=Cause.DONE, result={})
    parameters = slots.take("me").begin(SPACE)
    assert slots.read(1).params == parameters
    assert slots.read(1).system_attrs == {}
