"""`ecgopt dashboard`: the studies of a database in the browser."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from ecgopt.cli.options import DEFAULT_PLACE, FLAT, PlaceOptions

if TYPE_CHECKING:
    from socket import socket

    from ecgopt.dashboard.access import AccessPolicy

TOKEN_VARIABLE = "ECGOPT_DASHBOARD_TOKEN"
_LEAST_TOKEN = 16
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the dashboard is reached."""

    host: str = "127.0.0.1"
    """Address to listen on; one that other machines reach needs --behind-proxy."""
    port: int = 8080
    """Port to listen on; 0 means any free port."""
    behind_proxy: str | None = None
    """The address of a proxy with TLS that serves it, such as https://ecg.example.org."""


_THIS_MACHINE = Address()


def dashboard(
    *,
    write: bool = False,
    refresh: bool = False,
    address: Annotated[Address, FLAT] = _THIS_MACHINE,
    place: PlaceOptions = DEFAULT_PLACE,
) -> None:
    """Show all studies of a database in the browser.

    It is optuna-dashboard, protected by a token, and read-only unless --write is given.
    The link with the token is printed once; Ctrl-C ends the server. Scripts send the token as
    `Authorization: Bearer`, and may set it with $ECGOPT_DASHBOARD_TOKEN.

    Example: `ecgopt dashboard --port 8080`

    Args:
        write: Allow notes, and changes to studies that ecgopt does not manage.
        refresh: Update notes, plots, files and trade-off studies at the start and every minute;
            workers also do this while they run.
        address: Where the dashboard is reached.
        place: Where the database and the files are.
    """
    place.check_database()
    from ecgopt.cli.output import print_lines
    from ecgopt.dashboard.publish import Publisher
    from ecgopt.dashboard.server import dashboard_app, serve
    from ecgopt.database.engine import open_database, open_existing, quiet_optuna
    from ecgopt.database.tables import create_tables
    from ecgopt.database.url import existing_url
    from ecgopt.workspace import chosen_workspace

    workspace = chosen_workspace(place.workspace)
    url = existing_url(place.storage, workspace.sqlite_file)
    listening = _listen(address)
    with listening:
        quiet_optuna()
        database = open_database(url)
        create_tables(database)
        policy = _policy(address, listening.getsockname()[1], may_write=write)
        if refresh:
            publisher = Publisher(database, workspace)
            publisher.publish_all()
            publisher.keep_publishing()
        shown = database if write else open_existing(url, reads_only=True)
        app = dashboard_app(shown, workspace, policy)
        print_lines(f"dashboard: {_link(address, policy)}")
        print_lines(
            "writable: notes, and studies that ecgopt does not manage" if write else "read-only"
        )
        serve(app, listening)


def _listen(address: Address) -> "socket":
    import socket

    from ecgopt.dashboard.access import is_loopback
    from ecgopt.errors import UserError

    if address.behind_proxy is None and not is_loopback(address.host):
        raise UserError(
            "without TLS only this machine may reach the dashboard, but there is "
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


def _policy(address: Address, port: int, *, may_write: bool) -> "AccessPolicy":
    import os
    import secrets

    from ecgopt.dashboard.access import AccessPolicy, loopback_origins, public_origin
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
    return AccessPolicy(token=token, origins=origins, may_write=may_write)


def _link(address: Address, policy: "AccessPolicy") -> str:
    from urllib.parse import quote

    origins = sorted(policy.origins)
    origin = next((o for o in origins if f"//{address.host}:" in o), origins[0])
    return f"{origin}/?token={quote(policy.token, safe='')}"
