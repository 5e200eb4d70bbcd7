"""A database whose tables another version of ecgopt made: the same on every back end."""

import pytest
from sqlalchemy import text

from ecgopt.database.engine import open_database
from ecgopt.database.tables import create_tables, extension, missing_columns
from ecgopt.errors import StorageError


@pytest.fixture
def older(url):
    """Return a database in which one table lacks a column."""
    database = open_database(url)
    create_tables(database)
    with database.transaction() as connection:
        connection.execute(text("ALTER TABLE ecgopt_extension DROP COLUMN openings"))
    yield database
    extension.drop(database.engine)
    database.engine.dispose()


def test_tables_of_another_version_are_refused_by_what_they_lack(older):
    with pytest.raises(StorageError, match=r"lacks ecgopt_extension\.openings: another version"):
        create_tables(older)


def test_a_database_that_counts_losses_instead_of_failures_is_refused_in_one_line(url):
    database = open_database(url)
    create_tables(database)
    with database.transaction() as connection:
        connection.execute(text("ALTER TABLE ecgopt_work_item RENAME COLUMN failures TO losses"))
    with pytest.raises(StorageError, match=r"lacks ecgopt_work_item\.failures: another") as refused:
        create_tables(database)
    assert "\n" not in str(refused.value)
    database.engine.dispose()


def test_a_table_that_is_not_there_lacks_nothing(older):
    extension.drop(older.engine)
    with older.transaction() as connection:
        assert missing_columns(connection) == []
    create_tables(older)
