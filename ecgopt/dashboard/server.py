"""The dashboard as a WSGI application behind our rules, and the server that runs it."""

import html
import io
import signal
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

import optuna_dashboard
import waitress
from optuna.artifacts import FileSystemArtifactStore

from ecgopt.dashboard import access
from ecgopt.dashboard.access import AccessPolicy, Denied, Login, Request
from ecgopt.dashboard.write_guard import check_write
from ecgopt.database.engine import Database
from ecgopt.workspace import Workspace

Environment = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environment, StartResponse], Iterable[bytes]]

_STATUS = {
    401: "401 Unauthorized",
    403: "403 Forbidden",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
}
_LARGEST_BODY = 1_000_000
"""Bytes; notes are text."""
_THREADS = 8


def dashboard_app(database: Database, workspace: Workspace, policy: AccessPolicy) -> Application:
    """Return optuna-dashboard over `database`, behind `policy`.

    It reads through the same patched storage as workers do, so that a reader never meets, or
    causes, a locked database; read-only, give it one of `open_existing`.
    """
    workspace.artifacts.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(workspace.artifacts)
    inner: Application = optuna_dashboard.wsgi(database.optuna, artifact_store=store)

    def app(environment: Environment, start: StartResponse) -> Iterable[bytes]:
        request = _request(environment)
        answer = access.authorize(policy, request)
        if answer is None and request.method in access.WRITING:
            answer = check_write(database, request.method, request.path, lambda: _body(environment))
        if isinstance(answer, Denied):
            return _deny(start, answer)
        if isinstance(answer, Login):
            return _log_in(start, policy, answer)

        def start_guarded(
            status: str,
            headers: list[tuple[str, str]],
            *more: Any,  # noqa: ANN401 - PEP 3333
        ) -> Any:  # noqa: ANN401 - PEP 3333
            return start(status, access.guarded_headers(request.path, headers), *more)

        # optuna-dashboard takes it for given and answers 500 to a client that does not send it.
        environment.setdefault("HTTP_ACCEPT_ENCODING", "")
        return inner(environment, start_guarded)

    return app


def serve(app: Application, listening: socket.socket) -> None:
    """Answer requests on a listening socket until SIGINT or SIGTERM, and leave cleanly."""
    server = waitress.create_server(
        app,
        sockets=[listening],
        threads=_THREADS,
        ident=None,
        max_request_body_size=_LARGEST_BODY,
    )

    def leave(_signal: int, _frame: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    # `run` catches SystemExit, lets the requests in progress end, and returns.
    server.run()
    server.close()


def _request(environment: Environment) -> Request:
    return Request(
        method=environment["REQUEST_METHOD"],
        path=environment.get("PATH_INFO", "/"),
        query=environment.get("QUERY_STRING", ""),
        host=environment.get("HTTP_HOST", ""),
        origin=environment.get("HTTP_ORIGIN"),
        cookies=environment.get("HTTP_COOKIE", ""),
        authorization=environment.get("HTTP_AUTHORIZATION", ""),
    )


def _body(environment: Environment) -> bytes:
    content: bytes = environment["wsgi.input"].read()
    environment["wsgi.input"] = io.BytesIO(content)
    return content


def _deny(start: StartResponse, denied: Denied) -> list[bytes]:
    title = html.escape(_STATUS[denied.status])
    text = f"<!doctype html><title>{title}</title><p>{html.escape(denied.reason)}.</p>\n"
    content = text.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(content))),
    ]
    if denied.status == 401:
        headers.append(("WWW-Authenticate", "Bearer"))
    if denied.status == 405:
        headers.append(("Allow", ", ".join(sorted(access.READING))))
    start(_STATUS[denied.status], access.guarded_headers("/refused", headers))
    return [content]


def _log_in(start: StartResponse, policy: AccessPolicy, login: Login) -> list[bytes]:
    headers = [
        ("Location", quote(login.location, safe="/?&=%+-._~,")),
        ("Content-Length", "0"),
        ("Set-Cookie", access.set_cookie(policy)),
    ]
    start("303 See Other", access.guarded_headers("/entered", headers))
    return []
