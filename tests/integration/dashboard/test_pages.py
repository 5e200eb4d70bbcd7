"""What is on a study's page: the note, the plots, the files, the copies in the trade-off study."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from optuna.storages._rdb import models as optuna_tables
from sqlalchemy import delete

from ecgopt.dashboard.artifacts import artifact_id
from ecgopt.dashboard.page_state import STAMP
from ecgopt.dashboard.publish import Publisher
from ecgopt.workspace import Workspace

SYSTEM = optuna_tables.StudySystemAttributeModel.__table__


def test_pages_hold_the_note_the_plots_and_the_trade_off(served):
    for part in ("/scratch", "/scratch_twin"):
        page = served.json(f"/api/studies/{served.id_of(part)}")
        assert "budget used | 10 of 10 trials" in page["note"]["body"]
        assert "/dashboard/compare-studies?ids=" in page["note"]["body"]
        plots = {plot["id"] for plot in page["plotly_graph_objects"]}
        assert plots == {"learning-curves", "budget"}
    copies = served.json(f"/api/studies/{served.id_of('/trade-off')}")["trials"]
    assert {regime_of(trial) for trial in copies} == {"scratch", "scratch_twin"}


def test_a_trade_off_page_that_a_dead_writer_left_empty_is_written(finished, served):
    folder, database = finished
    trade_off, source = served.id_of("/trade-off"), served.id_of("/scratch")
    with database.transaction() as connection:
        connection.execute(delete(SYSTEM).where(SYSTEM.c.study_id == trade_off))
    database.optuna.set_study_system_attr(source, STAMP, "of an earlier moment")
    Publisher(database, Workspace(folder)).publish("tiny")
    page = served.json(f"/api/studies/{trade_off}")
    assert "no sampler ever asks it" in page["note"]["body"]
    assert [plot["id"] for plot in page["plotly_graph_objects"]] == ["score-against-time"]


def regime_of(trial):
    (found,) = (item["value"] for item in trial["user_attrs"] if item["key"] == "regime")
    return json.loads(found) if found.startswith('"') else found


def test_a_file_comes_as_an_attachment_that_runs_nothing(served):
    name = next(name for name in served.studies() if name.endswith("/scratch"))
    path = f"/artifacts/{served.id_of('/scratch')}/{artifact_id(name, 'curves.csv')}"
    status, headers, body = served.ask("GET", path)
    assert status == 200
    assert body.startswith(b"trial,recipe,state")
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None


def test_a_file_of_another_study_is_not_found(served):
    name = next(name for name in served.studies() if name.endswith("/scratch"))
    other = served.id_of("somebody else's")
    assert served.ask("GET", f"/artifacts/{other}/{artifact_id(name, 'curves.csv')}")[0] == 404


def test_the_plain_optuna_dashboard_works_on_the_same_database(finished):
    url = f"sqlite:///{finished[0]}/ecgopt.sqlite3"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = "from optuna_dashboard._cli import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref"]
    plain = subprocess.Popen(
        [sys.executable, "-c", script, *options, url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        names = {study["study_name"] for study in asked_until_it_answers(plain, port)}
        assert any(name.endswith("/trade-off") for name in names)
        assert any(name.endswith("/scratch") for name in names)
    finally:
        plain.kill()
        plain.wait()


def asked_until_it_answers(process, port):
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies") as answer:
                return json.load(answer)["study_summaries"]
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError(f"optuna-dashboard ended with {process.returncode}")
