"""The rules of the dashboard's policy, one request at a time."""

import pytest

from ecgopt.dashboard.access import (
    AccessPolicy,
    Login,
    Request,
    authorize,
    guarded_headers,
    loopback_origins,
    public_origin,
    set_cookie,
)
from ecgopt.errors import UserError

TOKEN = "t" * 43
POLICY = AccessPolicy(token=TOKEN, origins=loopback_origins(8080))
WRITABLE = AccessPolicy(token=TOKEN, origins=loopback_origins(8080), may_write=True)
PROXIED = AccessPolicy(token=TOKEN, origins=frozenset({"https://ecg.example.org"}))
COOKIE = f"{POLICY.cookie}={POLICY.session}"


def asked(policy=POLICY, **fields):
    usual = {"method": "GET", "path": "/api/studies", "host": "127.0.0.1:8080", "cookies": COOKIE}
    return authorize(policy, Request(**{**usual, **fields}))


def status(found):
    return None if found is None else found.status


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"cookies": ""}, 401),
        ({"cookies": f"{POLICY.cookie}="}, 401),
        ({"cookies": POLICY.cookie}, 401),
        ({"cookies": f"{POLICY.cookie}={TOKEN}"}, 401),
        ({"cookies": f"ecgopt_9090={POLICY.session}"}, 401),
        ({"cookies": "a=\x00;" + COOKIE[:-1]}, 401),
        ({"cookies": "", "authorization": f"Bearer {TOKEN}"}, None),
        ({"cookies": "", "authorization": f"Bearer {POLICY.session}"}, 401),
        ({"cookies": "", "authorization": f"Basic {TOKEN}"}, 401),
        ({"cookies": COOKIE, "authorization": "Bearer wrong"}, 401),
        ({"host": "evil.example:8080"}, 403),
        ({"host": "127.0.0.1:9090"}, 403),
        ({"host": ""}, 403),
        ({"host": "localhost:8080"}, None),
        ({"origin": "http://127.0.0.1:8080"}, None),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"query": "token=wrong"}, 401),
        ({"query": f"token={'t' * 42}é"}, 401),
        ({"method": "HEAD"}, None),
        *(({"method": m}, 405) for m in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")),
    ],
)
def test_a_read_only_door(fields, expected):
    assert status(asked(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"method": "PUT", "origin": "http://127.0.0.1:8080"}, None),
        ({"method": "PUT", "origin": None}, 403),
        ({"method": "PUT", "origin": "http://evil.example"}, 403),
        ({"method": "PUT", "authorization": f"Bearer {TOKEN}"}, None),
        ({"method": "PUT", "query": f"token={TOKEN}", "cookies": ""}, 401),
        ({"method": "CONNECT", "origin": "http://127.0.0.1:8080"}, 405),
    ],
)
def test_a_door_that_lets_write(fields, expected):
    assert status(asked(WRITABLE, **fields)) == expected


@pytest.mark.parametrize(
    ("path", "query", "location"),
    [
        ("/", f"token={TOKEN}", "/"),
        ("/dashboard/studies/1", f"a=1&token={TOKEN}&b=2", "/dashboard/studies/1?a=1&b=2"),
        ("//evil.example/x", f"token={TOKEN}", "/evil.example/x"),
        ("/\\evil.example", f"token={TOKEN}", "/evil.example"),
    ],
)
def test_the_token_leads_to_the_same_page_without_it(path, query, location):
    assert asked(path=path, query=query, cookies="") == Login(location=location)


def test_neither_cookie_nor_repr_tells_the_token():
    assert TOKEN not in set_cookie(POLICY)
    assert TOKEN not in repr(POLICY)


def test_the_cookie_is_secure_behind_tls_and_strict_everywhere():
    for policy in (POLICY, PROXIED):
        assert "HttpOnly" in set_cookie(policy)
        assert "SameSite=Strict" in set_cookie(policy)
    assert "; Secure" in set_cookie(PROXIED)
    assert set_cookie(PROXIED).startswith("__Host-")
    assert "Secure" not in set_cookie(POLICY)


def test_a_proxied_door_knows_its_public_name_only():
    request = {"method": "GET", "path": "/", "authorization": f"Bearer {TOKEN}"}
    assert authorize(PROXIED, Request(**request, host="ecg.example.org")) is None
    assert status(authorize(PROXIED, Request(**request, host="127.0.0.1:8080"))) == 403


@pytest.mark.parametrize("url", ["http://a.org", "a.org", "https://a.org/ecg", "https://", "x:y"])
def test_a_proxy_without_tls_or_below_a_path_is_refused(url):
    with pytest.raises(UserError, match="must look like https"):
        public_origin(url)


def test_files_are_attachments_that_run_nothing():
    sent = [("Content-Type", "text/html"), ("Access-Control-Allow-Origin", "*")]
    headers = dict(guarded_headers("/artifacts/1/ab", sent))
    assert headers["Content-Disposition"] == "attachment"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; sandbox")
    assert "Access-Control-Allow-Origin" not in headers


def test_pages_may_talk_to_their_own_server_only():
    headers = dict(guarded_headers("/dashboard", [("Content-Security-Policy", "default-src *")]))
    policy = headers["Content-Security-Policy"]
    assert "connect-src 'self'" in policy
    assert "*" not in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
