"""The dashboard as a WSGI application behind our rules, and the server that runs it."""

import html
import io
import json
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
from ecgopt.dashboard.overview import OwnPages
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
_HIDDEN = (
    '[aria-label="delete study"],[aria-label="rename study"],[aria-label="delete artifact"],'
    '[aria-label="skip trial"],button:has([data-testid="EditIcon"]),'
    'button:has([data-testid="AddBoxIcon"]),.MuiCard-root:has(input[type="file"])'
    ":not(:has(.MuiCard-root)){display:none!important}"
)
"""Buttons of Optuna's pages that a read-only dashboard refuses, and cards to drop a file on; not
the cards around those, which list the files that are there."""
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
    own_pages = OwnPages.of(database, workspace)
    inner: Application = optuna_dashboard.wsgi(database.optuna, artifact_store=store)

    def app(environment: Environment, start: StartResponse) -> Iterable[bytes]:
        request = _request(environment)
        answer = access.authorize(policy, request)
        if answer is None and request.method in access.WRITING:
            answer = check_write(database, request.method, request.path, lambda: _body(environment))
        if isinstance(answer, Denied):
            return _deny(start, answer, is_api=request.path.startswith("/api/"))
        if isinstance(answer, Login):
            return _log_in(start, policy, answer)
        if (page := own_pages.page(request)) is not None:
            return _send(start, page)
        return _answer_of_optuna(inner, environment, start, hides_buttons=not policy.may_write)

    return app


def _answer_of_optuna(
    inner: Application, environment: Environment, start: StartResponse, *, hides_buttons: bool
) -> Iterable[bytes]:
    path = environment.get("PATH_INFO", "/")

    def start_guarded(
        status: str,
        headers: list[tuple[str, str]],
        *more: Any,  # noqa: ANN401 - PEP 3333
    ) -> Any:  # noqa: ANN401 - PEP 3333
        return start(status, access.guarded_headers(path, headers), *more)

    # optuna-dashboard takes it for given and answers 500 to a client that does not send it.
    environment.setdefault("HTTP_ACCEPT_ENCODING", "")
    if hides_buttons and _is_optunas_page(path):
        return _without_buttons(inner, environment, start_guarded)
    return inner(environment, start_guarded)


def _is_optunas_page(path: str) -> bool:
    return path == "/dashboard" or path.startswith("/dashboard/")


def _without_buttons(
    inner: Application, environment: Environment, start: StartResponse
) -> list[bytes]:
    """Return a page of Optuna's dashboard without the buttons that a read-only one refuses."""
    answer: list[Any] = []
    content = b"".join(inner(environment, lambda *parts: answer.append(parts)))
    status, headers = answer[0][:2]
    content = content.replace(b"</head>", f"<style>{_HIDDEN}</style></head>".encode(), 1)
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start(status, [*kept, ("Content-Length", str(len(content)))])
    return [content]


def _send(start: StartResponse, page: str) -> list[bytes]:
    content = page.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(content))),
    ]
    start("200 OK", access.guarded_headers("/", headers))
    return [content]


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


def _deny(start: StartResponse, denied: Denied, *, is_api: bool) -> list[bytes]:
    title = html.escape(_STATUS[denied.status])
    text = f"<!doctype html><title>{title}</title><p>{html.escape(denied.reason)}.</p>\n"
    if is_api:  # Optuna's pages show this reason
        text = json.dumps({"reason": denied.reason})
    content = text.encode()
    headers = [
        ("Content-Type", f"{'application/json' if is_api else 'text/html'}; charset=utf-8"),
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
