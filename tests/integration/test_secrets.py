"""The database's password is nowhere to be found while a study runs and after it."""

import time
from pathlib import Path

import pytest
from processes import ecgopt, start

pytestmark = pytest.mark.server


def commands_of_all_processes():
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                yield (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue  # it has ended meanwhile


def texts_below(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_no_process_log_table_export_or_report_holds_the_password(
    postgres, postgresql_url, study_file, tmp_path
):
    secret, study = postgres.password, study_file(trials=3)
    workspace, out = tmp_path / "ws", tmp_path / "out"
    places = ("--workspace", workspace)
    run = start("run", study, "--workers", 2, *places, "--out", out, ECGOPT_STORAGE=postgresql_url)
    n_looks = 0
    while run.poll() is None:
        assert not any(secret in command for command in commands_of_all_processes())
        n_looks += 1
        time.sleep(0.5)
    output = "".join(run.communicate())
    assert run.returncode == 0, output
    assert n_looks > 3
    assert secret not in output
    said = [
        ecgopt(*command, *places, ECGOPT_STORAGE=postgresql_url)
        for command in (
            ("status", study, "--json"),
            ("answer", study),
            ("export", study, tmp_path / "bundle.zip"),
        )
    ]
    said.append(ecgopt("storage", "check", ECGOPT_STORAGE=postgresql_url))
    assert [done.returncode for done in said] == [0] * len(said), [done.stderr for done in said]
    assert not any(secret in done.stdout + done.stderr for done in said)
    found = {
        path: content
        for folder in (workspace, out, tmp_path)
        for path, content in texts_below(folder).items()
    }
    assert len(found) > 10
    assert [path for path, content in found.items() if secret.encode() in content] == []
    database = postgresql_url.rsplit("/", 1)[1]
    assert not any(secret in text for text in all_texts(postgres, database))


def test_a_traceback_of_a_bug_holds_no_password(postgres, postgresql_url):
    import traceback

    from sqlalchemy.exc import ProgrammingError

    from ecgopt.database.engine import open_database

    database = open_database(postgresql_url)
    try:
        with pytest.raises(ProgrammingError) as bug, database.transaction() as connection:
            connection.exec_driver_sql("SELECT no_such_function()")
        lines = traceback.TracebackException.from_exception(bug.value, capture_locals=True).format()
        shown = "".join(lines)
    finally:
        database.engine.dispose()
    own_frames = repr(database) + repr(database.optuna) + repr(database.engine)
    assert postgres.password not in own_frames
    assert "no_such_function" in shown


def all_texts(server, database):
    tables = server.execute(
        "SELECT quote_ident(table_name) FROM information_schema.tables "
        "WHERE table_schema = 'public'",
        database=database,
    )
    for (table,) in tables:
        for row in server.execute(f"SELECT t::text FROM {table} t", database=database):
            yield row[0]
