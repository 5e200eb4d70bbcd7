"""Which workers count as being at work: the same on every database."""

import pytest
from sqlalchemy import update

from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables, worker
from ecgopt.queue import heartbeats


@pytest.fixture
def database(url):
    opened = open_database(url)
    create_tables(opened)
    heartbeats.enter(opened, "me", "c", "cpu")
    yield opened
    with opened.transaction() as connection:
        connection.execute(worker.delete())
    opened.engine.dispose()


def at_work(database, comparison="c"):
    return heartbeats.count_at_work(database, comparison, within_seconds=60.0)


def test_a_worker_counts_from_its_first_item_until_it_finds_none(database):
    seen = [at_work(database)]
    for item in ("trial/1", "trial/2", None):
        heartbeats.note(database, "me", item=item, epoch=0)
        seen.append(at_work(database))
    assert seen == [0, 1, 1, 0]


def test_a_worker_that_left_does_not_count(database):
    heartbeats.note(database, "me", item="trial/1", epoch=0)
    heartbeats.leave(database, ["me"])
    assert at_work(database) == 0


def test_a_worker_that_fell_silent_does_not_count(database):
    heartbeats.note(database, "me", item="trial/1", epoch=0)
    with database.transaction() as connection:
        connection.execute(update(worker).values(seen_at=worker.c.seen_at - 61.0))
    assert at_work(database) == 0


def test_a_worker_counts_for_its_own_comparison_only(database):
    heartbeats.note(database, "me", item="trial/1", epoch=0)
    assert at_work(database, "another") == 0
