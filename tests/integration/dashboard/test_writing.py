"""What a dashboard with --write changes, and what it still refuses."""

import optuna
import pytest
from sqlalchemy import update

from ecgopt.causes import Cause
from ecgopt.dashboard.publish import Publisher
from ecgopt.database.tables import work_item
from ecgopt.queue import items
from ecgopt.workspace import Workspace


def write(dashboard, method, path, body):
    """Ask as the dashboard's own page does; return the answer's status and body."""
    status, _, answer = dashboard.ask(
        method, path, body=body, Content_Type="application/json", Origin=dashboard.origin
    )
    return status, answer


def test_a_note_can_be_written_and_is_kept(writable, finished):
    folder, database = finished
    page = f"/api/studies/{writable.id_of('/scratch')}"
    stored = writable.json(page)["note"]
    edited = {"version": stored["version"] + 1, "body": stored["body"] + "look at trial 3"}
    assert write(writable, "PUT", f"{page}/note", edited)[0] == 204
    Publisher(database, Workspace(folder)).publish("tiny")
    body = writable.json(page)["note"]["body"]
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
    ids = {"ours": writable.id_of("/scratch"), "other": writable.id_of("somebody else's")}
    assert write(writable, method, path.format(**ids), body)[0] == expected


def test_a_study_of_no_study_file_can_be_renamed_and_deleted(writable, finished):
    study = optuna.create_study(storage=finished[1].optuna, study_name="old")
    path = f"/api/studies/{study._study_id}"
    assert write(writable, "POST", f"{path}/rename", {"study_name": "new"})[0] == 201
    assert write(writable, "DELETE", f"/api/studies/{writable.id_of('new')}", {})[0] == 204
    assert not {"old", "new"} & set(writable.studies())


@pytest.fixture
def held(finished):
    """Have a worker hold one item of the finished study."""
    _, database = finished
    one = work_item.c.key.like("trial/%/scratch/0000")
    with database.transaction() as connection:
        connection.execute(update(work_item).where(one).values(state="free"))
    claim = items.claim(database, "tiny", "test:1", lease_seconds=300)
    yield claim
    items.finish(database, claim, cause=Cause.DONE, result={})


@pytest.mark.usefixtures("held")
def test_a_held_lease_is_named_as_the_reason(writable):
    path = f"/api/studies/{writable.id_of('/scratch')}"
    for method, action in (("POST", "/rename"), ("DELETE", "")):
        status, body = write(writable, method, path + action, {"study_name": "x"})
        assert status == 409
        assert b"are leased" in body
