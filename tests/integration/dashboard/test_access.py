"""Whom a running dashboard lets in, and what it never gives or does."""

import pytest
from dashboards import TOKEN

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
