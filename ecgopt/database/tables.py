"""Our own tables, which live beside Optuna's in the shared database."""

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.exc import IntegrityError

from ecgopt.database.engine import Database
from ecgopt.database.schema import create_missing_tables
from ecgopt.errors import StorageError

OTHER_VERSION = "another version of ecgopt made it: use that one, or begin in a new database"

_LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
_Seconds = Float(53)

metadata = MetaData()

comparison = Table(
    "ecgopt_comparison",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("content", _LongText, nullable=False, doc="the study file's scientific content, JSON"),
    Column("prepared", _LongText, nullable=False, doc="data name to prepared folder, JSON"),
    Column("provenance", _LongText, nullable=False, doc="versions and commit, JSON"),
    Column("folder", String(120), nullable=False, doc="of its files in the workspace, with an id"),
    Column("created_at", _Seconds, nullable=False),
)

work_item = Table(
    "ecgopt_work_item",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("key", String(300), nullable=False),
    Column("item_group", String(300), nullable=False, doc="what other items may wait for"),
    Column("needs", String(300), doc="the group that must be finished first"),
    Column("after", Integer, doc="items of its group up to this priority must have ended first"),
    Column("priority", Integer, nullable=False),
    Column("payload", _LongText, nullable=False, doc="what to do, JSON"),
    Column("state", String(12), nullable=False, doc="free, held, done or set_aside"),
    Column("owner", String(120)),
    Column("fence", Integer, nullable=False, doc="grows with each claim; voids older owners"),
    Column("lease_until", _Seconds, doc="on the database's clock"),
    Column("retry_at", _Seconds, doc="not claimed before, after a failure"),
    Column("failed_owner", String(120), doc="the last worker that failed; others come first"),
    Column("failures", Integer, nullable=False, doc="workers lost since the last progress"),
    Column("total_failures", Integer, nullable=False),
    Column("progress", Integer, nullable=False, doc="epochs done at the last renewal"),
    Column("bracket_first", Integer, doc="from this priority, items of its group wait for it"),
    Column("bracket_last", Integer, doc="up to this priority, where they have paused at a rung"),
    Column("rung", Integer, nullable=False, doc="the last rung at which it paused"),
    Column("cause", String(20), doc="why the item ended"),
    Column("detail", _LongText),
    Column("result", _LongText, doc="JSON"),
    Column("claimed_at", _Seconds),
    Column("finished_at", _Seconds),
    UniqueConstraint("comparison", "key"),
    Index("ecgopt_work_item_group", "comparison", "item_group", "state", "priority"),
)

IS_OPEN = work_item.c.state.in_([literal_column("'free'"), literal_column("'held'")])
"""SQL for whether an item is neither done nor set aside, in the very words of the next index:
with bound values, SQLite would not see that the index holds all such items."""

# A claim takes the first fitting item of this index, so it costs the same whatever has been done.
Index(
    "ecgopt_work_item_open",
    work_item.c.comparison,
    work_item.c.priority,
    work_item.c.id,
    postgresql_where=IS_OPEN,
    sqlite_where=IS_OPEN,
)

failure = Table(
    "ecgopt_failure",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("item_key", String(300), nullable=False),
    Column("owner", String(120), nullable=False, doc="the worker that was lost"),
    Column("cause", _LongText, nullable=False, doc="how, as far as it is known"),
    Column("is_error", Integer, nullable=False, doc="1: the worker lives and says what failed"),
    Column("failed_at", _Seconds, nullable=False),
    Index("ecgopt_failure_item", "comparison", "item_key"),
)

worker = Table(
    "ecgopt_worker",
    metadata,
    Column("owner", String(120), primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("host", String(120), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("device", String(120), nullable=False),
    Column("item", String(300)),
    Column("epoch", Integer, nullable=False),
    Column("started_at", _Seconds, nullable=False),
    Column("seen_at", _Seconds, nullable=False),
    Column("state", String(12), nullable=False, doc="running, stopping, gone or failed"),
    Column("reason", _LongText, doc="why a failed worker stopped"),
)

sealed_opening = Table(
    "ecgopt_sealed_opening",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("item_key", String(300), nullable=False),
    Column("worker", String(120), nullable=False),
    Column("opened_at", _Seconds, nullable=False),
    Column(
        "reused", Integer, nullable=False, doc="1: a stored result was returned, no signals read"
    ),
)

sealed_result = Table(
    "ecgopt_sealed_result",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("item_key", String(300), nullable=False),
    Column(
        "winner", String(64), nullable=False, doc="hash of what was trained and with which seed"
    ),
    Column("opening_id", Integer, nullable=False),
    Column("result", _LongText, nullable=False, doc="JSON, as the work item's result"),
    Column("stored_at", _Seconds, nullable=False),
    UniqueConstraint("comparison", "item_key", "winner"),
)


pause = Table(
    "ecgopt_pause",
    metadata,
    Column("comparison", String(80), primary_key=True),
    Column("paused_at", _Seconds, nullable=False),
    Column("reason", _LongText, doc="why the comparison paused itself; none: a user paused it"),
    Column("resumed_at", _Seconds, doc="none while it is paused"),
)

extension = Table(
    "ecgopt_extension",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("trials_before", Integer, nullable=False),
    Column("trials_after", Integer, nullable=False),
    Column("replicates_before", Integer, nullable=False),
    Column("replicates_after", Integer, nullable=False),
    Column("stopped", _LongText, nullable=False, doc="replicates of each cell that got no more"),
    Column("openings", Integer, nullable=False, doc="openings of the sealed test until then"),
    Column("extended_at", _Seconds, nullable=False),
    UniqueConstraint("comparison", "trials_before", "replicates_before"),
)


workspace = Table(
    "ecgopt_workspace",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("identity", String(32), nullable=False, doc="of a folder that its workers may use"),
    Column("path", _LongText, nullable=False, doc="where the folder was seen, for people"),
    Column("joined_at", _Seconds, nullable=False),
    UniqueConstraint("comparison", "identity"),
)

retry = Table(
    "ecgopt_retry",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("item_key", String(300), nullable=False),
    Column("cause", String(20), nullable=False, doc="why the item had been set aside"),
    Column("retried_at", _Seconds, nullable=False),
    Index("ecgopt_retry_item", "comparison", "item_key"),
)

trade_point = Table(
    "ecgopt_trade_point",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("comparison", String(80), nullable=False),
    Column("study_id", Integer, nullable=False, doc="the trade-off study, in Optuna"),
    Column("source_trial", Integer, nullable=False, doc="the trial that was copied, in Optuna"),
    Column("number", Integer, nullable=False),
    UniqueConstraint("study_id", "source_trial"),
    UniqueConstraint("study_id", "number"),
)

page_refresh = Table(
    "ecgopt_page_refresh",
    metadata,
    Column("comparison", String(80), primary_key=True),
    Column("due_at", _Seconds, nullable=False, doc="no one refreshes the dashboard before"),
)


def create_tables(database: Database) -> None:
    """Create our tables where they are missing; safe when several processes do it at once.

    Raises:
        StorageError: a table that is there lacks a column.
    """
    add_tables(database)
    check_tables(database)


def check_tables(database: Database) -> None:
    """Check that our tables are those of this version; no table is created.

    Raises:
        StorageError: a table or a column is missing.
    """
    with database.transaction() as connection:
        lacking = missing_columns(connection, tables_too=True)
    if lacking:
        raise StorageError(
            f"the tables must be those of this version, but {database.describe()} lacks "
            f"{', '.join(lacking)}: {OTHER_VERSION}"
        )


def add_tables(database: Database) -> None:
    """Create our tables where they are missing, whichever version made the others."""
    create_missing_tables(database.engine, metadata)


def has_tables(database: Database) -> bool:
    """Tell whether any comparison can have begun in this database."""
    with database.transaction() as connection:
        return inspect(connection).has_table(comparison.name)


def missing_columns(connection: Connection, *, tables_too: bool = False) -> list[str]:
    """Return the columns that our tables lack, each as `table.column`.

    Args:
        connection: To the database.
        tables_too: Whether all columns of a table that is missing count as well.
    """
    names = [table.name for table in metadata.sorted_tables]
    found = inspect(connection).get_multi_columns(filter_names=names)
    present = {name: {column["name"] for column in columns} for (_, name), columns in found.items()}
    return [
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        if tables_too or table.name in present
        for column in table.columns
        if column.name not in present.get(table.name, ())
    ]


def take_turn(database: Database, name: str, *, seconds: float) -> bool:
    """Return whether the caller must refresh the pages now; one caller in `seconds` must.

    Args:
        database: Whose clock is used.
        name: Of the comparison.
        seconds: Between two refreshes.
    """
    due = database.now + seconds
    try:
        with database.transaction() as connection:
            taken = connection.execute(
                update(page_refresh)
                .where(
                    page_refresh.c.comparison == name,
                    page_refresh.c.due_at <= database.now,
                )
                .values(due_at=due)
            )
            known = select(page_refresh.c.comparison).where(page_refresh.c.comparison == name)
            if taken.rowcount == 0 and connection.execute(known).first() is None:
                connection.execute(insert(page_refresh).values(comparison=name, due_at=due))
                return True
    except IntegrityError:
        return False  # another worker has just taken the first turn
    return taken.rowcount == 1
