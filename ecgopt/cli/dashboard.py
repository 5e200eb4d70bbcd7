"""`ecgopt dashboard`: the studies of a database in the browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from socket import socket

    from ecgopt.dashboard.access import Door

TOKEN_VARIABLE = "ECGOPT_DASHBOARD_TOKEN"
_LEAST_TOKEN = 16
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the dashboard is reached."""

    host: str = "127.0.0.1"
    """Address to listen on; another than this machine's own needs --behind-proxy."""
    port: int = 8080
    """Port to listen on; 0 takes any free one."""
    behind_proxy: str | None = None
    """The address that a proxy with TLS serves it under, such as https://ecg.example.org."""


_THIS_MACHINE = Address()


def dashboard(
    *,
    write: bool = False,
    refresh: bool = False,
    address: Annotated[Address, Parameter(name="*")] = _THIS_MACHINE,
    storage: str | None = None,
    workspace: Path | None = None,
) -> None:
    """Show all studies of a database in the browser.

    It is optuna-dashboard behind a token, read-only unless --write is given.
    The link with the token is printed once; Ctrl-C ends the server. Scripts send the token as
    `Authorization: Bearer`, and may choose it with $ECGOPT_DASHBOARD_TOKEN.

    Example: `ecgopt dashboard --port 8080`

    Args:
        write: Allow notes, and changes to studies that belong to no study file.
        refresh: Bring notes, plots, files and trade-off studies up to date before, and every
            minute; workers do so too while they are at work.
        address: Where the dashboard is reached.
        storage: Database URL; by default $ECGOPT_STORAGE or SQLite in the workspace.
        workspace: Folder of the embedded database and of the files; by default $ECGOPT_WORKSPACE
            or storage.
    """
    from ecgopt.dashboard.refresh import Refresher
    from ecgopt.dashboard.server import dashboard_app, serve
    from ecgopt.database.engine import open_database, open_for_reading, quiet_optuna
    from ecgopt.database.tables import create_tables
    from ecgopt.database.url import existing_url
    from ecgopt.workspace import chosen_workspace

    place = chosen_workspace(workspace)
    url = existing_url(storage, place.sqlite_file)
    listening = _listen(address)
    with listening:
        quiet_optuna()
        database = open_database(url)
        create_tables(database)
        door = _door(address, listening.getsockname()[1], may_write=write)
        if refresh:
            refresher = Refresher(database, place)
            refresher.refresh_all()
            refresher.keep_refreshing()
        app = dashboard_app(database if write else open_for_reading(url), place, door)
        _say(f"dashboard: {_link(address, door)}")
        _say("read-only" if not write else "notes and studies of no study file may be changed")
        serve(app, listening)


def _listen(address: Address) -> "socket":
    import socket

    from ecgopt.dashboard.access import is_loopback
    from ecgopt.errors import UserError

    if address.behind_proxy is None and not is_loopback(address.host):
        raise UserError(
            "without TLS only this machine may reach the dashboard, but got "
            f"--host {address.host}: put a proxy with TLS before it and name its address with "
            "--behind-proxy, or reach it through `ssh -L`"
        )
    kind = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=kind)
    except OSError as error:
        raise UserError(
            f"--host {address.host} --port {address.port} must be free to listen on, but: "
            f"{error.strerror}: choose another --port"
        ) from error


def _door(address: Address, port: int, *, may_write: bool) -> "Door":
    import os
    import secrets

    from ecgopt.dashboard.access import Door, loopback_origins, public_origin
    from ecgopt.errors import UserError

    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(_TOKEN_BYTES)
    if len(token) < _LEAST_TOKEN:
        raise UserError(
            f"{TOKEN_VARIABLE} must have at least {_LEAST_TOKEN} characters, but has {len(token)}"
        )
    if address.behind_proxy is None:
        origins = loopback_origins(port)
    else:
        origins = frozenset({public_origin(address.behind_proxy)})
    return Door(token=token, origins=origins, may_write=may_write)


def _link(address: Address, door: "Door") -> str:
    from urllib.parse import quote

    origins = sorted(door.origins)
    origin = next((o for o in origins if f"//{address.host}:" in o), origins[0])
    return f"{origin}/?token={quote(door.token, safe='')}"


def _say(line: str) -> None:
    import sys

    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
