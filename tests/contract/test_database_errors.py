"""Database errors by how long they last: the same on every back end."""

from contextlib import ExitStack

import optuna
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from ecgopt.database.engine import open_database
from ecgopt.database.retry import retrying
from ecgopt.database.tables import create_tables, worker
from ecgopt.errors import DatabaseUnavailable, StorageError
from ecgopt.jobs.worker import Worker, WorkerSettings


@pytest.fixture
def database(url):
    opened = open_database(url)
    create_tables(opened)
    yield opened
    opened.engine.dispose()


def test_a_worker_ends_when_a_table_is_missing_and_says_which(database):
    worker.drop(database.engine)
    own = Worker(database=database, jobs={}, settings=WorkerSettings(comparison="c"))
    with pytest.raises(StorageError, match="ecgopt_worker"):
        own.work()


@pytest.mark.parametrize("name", ["SELECT absent FROM ecgopt_worker", "SELECT 1 FROM absent"])
def test_a_missing_table_or_column_is_the_users_to_fix(database, name):
    with pytest.raises(StorageError, match="absent") as raised, database.transaction() as found:
        found.execute(text(name))
    assert not isinstance(raised.value, DatabaseUnavailable)
    assert "\n" not in str(raised.value)


def test_the_password_is_not_in_the_message(database):
    with pytest.raises(StorageError) as raised, database.transaction() as connection:
        connection.execute(text("SELECT 1 FROM absent"))
    password = database.engine.url.password
    assert password is None or password not in str(raised.value)


def test_a_faulty_statement_stays_what_it_is(database):
    with pytest.raises(SQLAlchemyError), database.transaction() as connection:
        connection.execute(text("SELEKT 1"))


def test_optunas_own_statements_are_classified_alike(database):
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE study_user_attributes"))
    with pytest.raises(StorageError, match="study_user_attributes"):
        optuna.create_study(storage=database.optuna, study_name="s").set_user_attr("a", 1)


def test_a_lack_of_connections_may_pass(database, monkeypatch):
    monkeypatch.setattr(database.engine.pool, "_timeout", 0.01)
    with ExitStack() as held, pytest.raises(DatabaseUnavailable, match="QueuePool limit"):
        [held.enter_context(database.engine.connect()) for _ in range(20)]


def test_what_may_pass_is_repeated_and_logged_in_the_databases_words(caplog):
    answers = [DatabaseUnavailable("database sqlite:///x: database is locked"), None]

    def operation():
        if (answer := answers.pop(0)) is not None:
            raise answer
        return "done"

    assert retrying(operation, wait=lambda _: True) == "done"
    assert "database is locked; trying again" in caplog.text


def test_what_stays_is_not_repeated():
    attempts = []

    def operation():
        attempts.append(1)
        raise StorageError("no such table: x")

    with pytest.raises(StorageError, match="no such table"):
        retrying(operation, wait=lambda _: True)
    assert attempts == [1]
