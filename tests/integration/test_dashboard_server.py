"""The dashboard as a real process over a real database: what it refuses, shows and never breaks."""

import json
import multiprocessing
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

import optuna
import pytest
import scripted_worker
from dashboards import TOKEN, serve_dashboard
from processes import ecgopt
from scripted_worker import begin_scripted, scripted_study
from sqlalchemy import delete, func, select
from sqlalchemy.exc import OperationalError

from ecgopt.report.dashboard.artifacts import artifact_id
from ecgopt.report.dashboard.refresh import Refresher
from ecgopt.tuning.storage import open_database, open_for_reading
from ecgopt.tuning.tables import trade_point, work_item
from ecgopt.tuning.workspace import Workspace
from ecgopt.workers import items

N_TRIALS = 10


def begin_trials(folder, n_trials=N_TRIALS):
    """Begin a scripted study of trials alone; return its file, its spec and its database."""
    study = scripted_study(folder, trials=n_trials, lease=30)
    spec, database = begin_scripted(study, f"sqlite:///{folder}/ecgopt.sqlite3")
    with database.transaction() as connection:
        connection.execute(delete(work_item).where(work_item.c.kind != "trial"))
    return study, spec, database


def start_workers(study, folder, count):
    """Start scripted workers that keep pages; they share one import of everything heavy."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "ecgopt.cli.work", "ecgopt.report.dashboard.refresh"])
    url, log = f"sqlite:///{folder}/ecgopt.sqlite3", str(folder / "workers.log")
    arguments = (str(study), url, str(folder), log, {"upkeep": True})
    workers = [context.Process(target=scripted_worker.main, args=arguments) for _ in range(count)]
    for worker in workers:
        worker.start()
    return workers


def ended(worker, seconds=400):
    worker.join(seconds)
    return worker.exitcode


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the workspace of a study whose trials are done and whose pages are written."""
    folder = tmp_path_factory.mktemp("finished")
    study, _, database = begin_trials(folder)
    (worker,) = start_workers(study, folder, 1)
    assert ended(worker) == 0, (folder / "workers.log").read_text()
    optuna.create_study(storage=database.optuna, study_name="somebody else's")
    return folder, database


@pytest.fixture(scope="module")
def served(finished):
    with serve_dashboard(finished[0]) as found:
        yield found


@pytest.fixture(scope="module")
def writable(finished):
    with serve_dashboard(finished[0], "--write") as found:
        yield found


WRITES = [
    ("POST", "/api/studies"),
    ("POST", "/api/studies/1/rename"),
    ("DELETE", "/api/studies/1"),
    ("PUT", "/api/studies/1/note"),
    ("PATCH", "/api/studies/1"),
    ("POST", "/api/trials/1/tell"),
    ("POST", "/api/artifacts/1"),
    ("OPTIONS", "/api/studies"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_read_only_dashboard_changes_nothing(served, method, path):
    assert served.ask(method, path, body={}, Origin=served.origin)[0] == 405


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_strangers_are_refused(served, headers, expected):
    assert served.ask("GET", "/api/studies", **headers)[0] == expected


def test_a_cookie_of_the_right_name_without_its_value_is_worth_nothing(served):
    name = f"ecgopt_{served.port}"
    for value in ("", "1", TOKEN):
        status, _, _ = served.ask(
            "GET", "/api/studies", Authorization=None, Cookie=f"{name}={value}"
        )
        assert status == 401


def test_the_link_gives_a_cookie_that_opens_every_page(served):
    status, headers, _ = served.ask("GET", f"/?token={TOKEN}", Authorization=None)
    assert (status, headers["Location"]) == (303, "/")
    cookie = headers["Set-Cookie"].split(";")[0]
    assert served.ask("GET", "/api/studies", Authorization=None, Cookie=cookie)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/1/../../ecgopt.sqlite3",
        "/artifacts/1/..%2f..%2fecgopt.sqlite3",
        "/artifacts/1/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/static/..%2f_app.py",
        "/static/../../../ecgopt.sqlite3",
    ],
)
def test_no_path_leads_out_of_a_folder(served, path):
    status, _, body = served.ask("GET", path)
    assert status in (403, 404)
    assert b"SQLite" not in body
    assert b"root:" not in body


def test_a_file_of_another_study_is_not_found(served):
    ours, *_ = (name for name in served.studies() if name.endswith("/scratch"))
    other = served.studies()["somebody else's"]
    assert served.ask("GET", f"/artifacts/{other}/{artifact_id(ours, 'curves.csv')}")[0] == 404


def test_a_file_comes_as_an_attachment_that_runs_nothing(served):
    name, study_id = next(found for found in served.studies().items() if "/scratch" in found[0])
    path = f"/artifacts/{study_id}/{artifact_id(name, 'curves.csv')}"
    status, headers, body = served.ask("GET", path)
    assert status == 200
    assert body.startswith(b"trial,recipe,state")
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Access-Control-Allow-Origin"] is None


def test_pages_hold_the_note_the_plots_and_the_trade_off(served):
    studies = served.studies()
    for name, study_id in studies.items():
        page = served.json(f"/api/studies/{study_id}")
        if name.endswith(("/scratch", "/scratch_twin")):
            assert "budget used | 10 of 10 trials" in page["note"]["body"]
            assert "/dashboard/compare-studies?ids=" in page["note"]["body"]
            plots = {plot["id"] for plot in page["plotly_graph_objects"]}
            assert plots == {"learning-curves", "budget"}
        elif name.endswith("/trade-off"):
            regimes = Counter(regime_of(trial) for trial in page["trials"])
            assert set(regimes) == {"scratch", "scratch_twin"}


def regime_of(trial):
    (found,) = (item["value"] for item in trial["user_attrs"] if item["key"] == "regime")
    return json.loads(found) if found.startswith('"') else found


def ours(found):
    return next(i for name, i in found.studies().items() if name.endswith("/scratch"))


def test_writing_allows_notes_and_keeps_them(writable, finished):
    folder, database = finished
    study_id = ours(writable)
    stored = writable.json(f"/api/studies/{study_id}")["note"]
    edited = {"version": stored["version"] + 1, "body": stored["body"] + "look at trial 3"}
    status, _, _ = writable.ask(
        "PUT", f"/api/studies/{study_id}/note", body=edited,
        Content_Type="application/json", Origin=writable.origin,
    )  # fmt: skip
    assert status == 204
    Refresher(database, Workspace(folder)).refresh("tiny")
    body = writable.json(f"/api/studies/{study_id}")["note"]["body"]
    assert body.endswith("look at trial 3")
    assert body.count("budget used") == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/api/studies/{ours}/rename", {"study_name": "x"}, 409),
        ("DELETE", "/api/studies/{ours}", {}, 409),
        ("POST", "/api/trials/1/tell", {"state": "fail"}, 409),
        ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"recipe": "extra"}}, 409),
        ("POST", "/api/studies", {"study_name": "tiny/x", "directions": ["maximize"]}, 409),
        ("POST", "/api/studies/{other}/rename", {"study_name": "tiny/x"}, 409),
        ("POST", "/api/artifacts/{ours}", {"file": "data:,x"}, 409),
        ("POST", "/incompatible-rdb-schema", {}, 405),
        ("POST", "/api/llm/generate_plotly_graph", {}, 405),
    ],
)
def test_writing_cannot_break_a_budget(writable, method, path, body, expected):
    other = writable.studies()["somebody else's"]
    status, _, _ = writable.ask(
        method, path.format(ours=ours(writable), other=other), body=body,
        Content_Type="application/json", Origin=writable.origin,
    )  # fmt: skip
    assert status == expected


def test_a_study_of_no_study_file_can_be_renamed_and_deleted(writable, finished):
    study = optuna.create_study(storage=finished[1].optuna, study_name="old")
    usual = {"Content_Type": "application/json", "Origin": writable.origin}
    renamed = writable.ask(
        "POST", f"/api/studies/{study._study_id}/rename", body={"study_name": "new"}, **usual
    )
    assert renamed[0] == 201
    deleted = writable.ask("DELETE", f"/api/studies/{writable.studies()['new']}", body={}, **usual)
    assert deleted[0] == 204
    assert not {"old", "new"} & set(writable.studies())


def test_a_held_lease_is_named_as_the_reason(tmp_path):
    _, spec, database = begin_trials(tmp_path)
    items.claim(database, spec.name, "test:1", lease_seconds=300)
    with serve_dashboard(tmp_path, "--write") as found:
        for method, action in (("POST", "/rename"), ("DELETE", "")):
            status, _, body = found.ask(
                method, f"/api/studies/{ours(found)}{action}", body={"study_name": "x"},
                Content_Type="application/json", Origin=found.origin,
            )  # fmt: skip
            assert status == 409
            assert b"holds a lease" in body


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--host", "0.0.0.0"), "without TLS only this machine"),
        (("--behind-proxy", "http://ecg.example.org"), "must look like https"),
        (("--behind-proxy", "https://ecg.example.org/ecg"), "must look like https"),
    ],
)
def test_an_unsafe_address_is_refused(tmp_path, arguments, reason):
    done = ecgopt("dashboard", "--port", 0, *arguments, "--workspace", tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr


def test_a_short_token_is_refused(tmp_path):
    environment = {"ECGOPT_DASHBOARD_TOKEN": "short"}
    done = ecgopt("dashboard", "--port", 0, "--workspace", tmp_path, **environment)
    assert done.returncode == 2
    assert "at least 16 characters" in done.stderr
    assert "short" not in done.stderr.replace("shorter", "")


def test_a_second_dashboard_on_a_taken_port_is_refused(served, finished):
    done = ecgopt("dashboard", "--port", served.port, "--workspace", finished[0])
    assert done.returncode == 2
    assert "choose another --port" in done.stderr


def test_racing_refreshers_copy_every_trial_once(tmp_path):
    study, spec, database = begin_trials(tmp_path)
    (worker,) = start_workers(study, tmp_path, 1)
    assert ended(worker) == 0
    with database.transaction() as connection:
        connection.execute(delete(trade_point))
    (copy,) = (s for s in database.optuna.get_all_studies() if "trade-off" in s.study_name)
    database.optuna.delete_study(copy._study_id)
    barrier, failures = threading.Barrier(4), []

    def refresh():
        own = open_database(f"sqlite:///{tmp_path}/ecgopt.sqlite3")
        mark_stale(own, spec.name)
        barrier.wait()
        try:
            Refresher(own, Workspace(tmp_path)).refresh(spec.name)
        except Exception as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert_every_trial_is_copied_once(tmp_path)


def mark_stale(database, name):
    for study in database.optuna.get_all_studies():
        if study.study_name.startswith(f"{name}/"):
            database.optuna.set_study_system_attr(study._study_id, "ecgopt:page", "old")


def assert_every_trial_is_copied_once(folder):
    database = open_database(f"sqlite:///{folder}/ecgopt.sqlite3")
    complete, copies = 0, []
    for study in database.optuna.get_all_studies():
        trials = database.optuna.get_all_trials(study._study_id)
        if study.study_name.endswith("/trade-off"):
            copies = [(t.user_attrs["study"], t.user_attrs["trial"]) for t in trials]
            assert [t.number for t in trials] == [*range(len(trials))]
        else:
            complete += sum(t.state.name == "COMPLETE" for t in trials)
    assert len(copies) == len(set(copies)) == complete
    with database.transaction() as connection:
        remembered = connection.execute(select(func.count()).select_from(trade_point)).scalar_one()
    assert remembered == complete


def test_a_polled_dashboard_and_eight_workers_share_one_sqlite_file(tmp_path):
    study, spec, _ = begin_trials(tmp_path, n_trials=16)
    with serve_dashboard(tmp_path) as found:
        workers = start_workers(study, tmp_path, 8)
        n_polls, worst = 0, []
        while any(worker.is_alive() for worker in workers):
            for study_id in found.studies().values():
                status, _, body = found.ask("GET", f"/api/studies/{study_id}")
                n_polls += 1
                if status != 200:
                    worst.append((status, body))
        assert worst == []
        assert n_polls > 20
    assert [ended(worker) for worker in workers] == [0] * 8
    log = (tmp_path / "workers.log").read_text()
    assert "locked" not in log
    assert "Traceback" not in log, log[-3000:]
    database = open_database(f"sqlite:///{tmp_path}/ecgopt.sqlite3")
    assert items.unfinished(database, spec.name) == 0
    for one in database.optuna.get_all_studies():
        if not one.study_name.endswith("/trade-off"):
            trials = database.optuna.get_all_trials(one._study_id)
            assert [trial.number for trial in trials] == [*range(16)]
            assert {trial.state.name for trial in trials} <= {"COMPLETE", "PRUNED"}
    assert_every_trial_is_copied_once(tmp_path)


def test_a_reader_takes_no_lock_and_cannot_write(tmp_path):
    url = f"sqlite:///{tmp_path}/ecgopt.sqlite3"
    begin_trials(tmp_path)
    reader, writer = open_for_reading(url), open_database(url)
    with writer.transaction() as held:
        held.execute(delete(trade_point))
        assert len(reader.optuna.get_all_studies()) == 2
    with reader.transaction() as open_read:
        open_read.execute(select(work_item)).all()
        with writer.transaction() as connection:
            connection.execute(delete(trade_point))
    with pytest.raises(OperationalError, match="readonly"), reader.transaction() as connection:
        connection.execute(delete(trade_point))


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
