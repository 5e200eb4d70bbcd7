"""Where the database is: the URL's source, and the rules that keep its password and traffic safe.

A password in argv is seen by every user of the machine, and a server without TLS is heard by every
host on the way; both are refused here, before any connection is tried.
"""

import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ecgopt.errors import DatabaseMissing, StorageError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

STORAGE_VARIABLE = "ECGOPT_STORAGE"
STORAGE_FILE_VARIABLE = "ECGOPT_STORAGE_FILE"

INSECURE_VARIABLE = "ECGOPT_INSECURE"
"""Set to 1 by `--insecure`: servers beyond this host may be spoken to without TLS."""

Family = Literal["sqlite", "postgresql", "mysql"]

_FAMILIES: dict[str, Family] = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_DRIVERS: dict[Family, str] = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
}
_ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")
_SECRET_KEYS = ("password", "passwd", "sslpassword", "ssl_key_password")


def storage_url(option: str | None, sqlite_file: Path) -> str:
    """Return the database URL from the option, the environment, a file, or the embedded default.

    Order: `option`, then ECGOPT_STORAGE, then the first line of the file that ECGOPT_STORAGE_FILE
    names, then SQLite in the workspace.

    Raises:
        StorageError: the option holds a password, or the file cannot be read.
    """
    if option:
        if _has_secret(parsed_url(option)):
            raise StorageError(
                "--storage must hold no password, because `ps` shows it to every user: put the "
                f"whole URL into {STORAGE_VARIABLE}, or into the first line of a private file that "
                f"{STORAGE_FILE_VARIABLE} names; for PostgreSQL, ~/.pgpass can hold the password"
            )
        return option
    if from_environment := os.environ.get(STORAGE_VARIABLE):
        return from_environment
    if file_name := os.environ.get(STORAGE_FILE_VARIABLE):
        try:
            return Path(file_name).read_text().splitlines()[0].strip()
        except (OSError, IndexError) as error:
            raise StorageError(
                f"{STORAGE_FILE_VARIABLE}={file_name} must name a readable file whose first line "
                f"is the database URL: {error.__class__.__name__}"
            ) from error
    return f"sqlite:///{sqlite_file.resolve()}"


def existing_url(option: str | None, sqlite_file: Path) -> str:
    """Return the database URL as `storage_url` does, for a command that creates nothing.

    Raises:
        StorageError: as `storage_url`, or the URL names an SQLite file that does not exist.
    """
    url = storage_url(option, sqlite_file)
    if url == f"sqlite:///{sqlite_file.resolve()}":
        file = sqlite_file  # without SQLAlchemy, whose import takes longer than this answer
    elif family(parsed := parsed_url(url)) == "sqlite":
        file = Path(parsed.database or "")
    else:
        return url
    if not file.is_file():
        raise DatabaseMissing(file)
    return url


def parsed_url(url: str) -> "URL":
    """Return the URL with its driver filled in.

    Raises:
        StorageError: it is malformed, or names a back end or driver that is not supported. The
            text never quotes the URL, which may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageError(
            "the database URL must look like postgresql+psycopg://user@host/name, "
            "mysql+pymysql://user@host/name or sqlite:////path/file, but could not be read"
        ) from None
    if parsed.get_backend_name() not in _FAMILIES:
        raise StorageError(
            f"the database must be SQLite, PostgreSQL, MySQL or MariaDB, "
            f"but got {parsed.get_backend_name()!r}"
        )
    if "+" not in parsed.drivername and (driver := _DRIVERS.get(family(parsed))):
        parsed = parsed.set(drivername=driver)
    try:
        parsed.get_dialect()
    except NoSuchModuleError:
        raise StorageError(f"SQLAlchemy knows no driver {parsed.drivername!r}") from None
    return parsed


def family(url: "URL") -> Family:
    """Return the back end; MariaDB counts as MySQL."""
    return _FAMILIES[url.get_backend_name()]


def shown(url: "URL") -> str:
    """Return the URL as it may be printed: without any password."""
    return url.difference_update_query(_SECRET_KEYS).render_as_string(hide_password=True)


def without_secrets(text: str, url: "URL") -> str:
    """Return `text`, such as a driver's message, with the URL's passwords blotted out."""
    secrets = [url.password, *(url.query[key] for key in _SECRET_KEYS if key in url.query)]
    for secret in secrets:
        if secret:
            text = text.replace(str(secret), "***")
    return text


def transport_options(url: "URL") -> dict[str, Any]:
    """Return the driver's connect arguments that make a server beyond this host use TLS.

    Loopback addresses, Unix sockets and files need none. `--insecure` waives the rule.

    Raises:
        StorageError: the URL itself turns TLS off.
    """
    if family(url) == "sqlite" or is_local(url) or os.environ.get(INSECURE_VARIABLE) == "1":
        return {}
    if family(url) == "mysql":
        return {} if _asks_for_mysql_tls(url) else {"ssl": _unverified_tls()}
    mode = url.query.get("sslmode") or os.environ.get("PGSSLMODE")
    if mode is None:
        return {"sslmode": "require"}
    if mode not in _ENCRYPTED_MODES:
        raise StorageError(
            f"the way to {shown(url)} leaves this host, so its sslmode must be one of "
            f"{', '.join(_ENCRYPTED_MODES)}, but got {mode!r}: fix it, or accept that password "
            "and data can be read on the way with --insecure"
        )
    return {}


def is_local(url: "URL") -> bool:
    """Tell whether every address of the server is a file, a Unix socket or a loopback address."""
    asked = url.query.get("host", url.host) or ""
    if not asked and family(url) == "postgresql":
        asked = os.environ.get("PGHOST", "")
    if "unix_socket" in url.query or family(url) == "sqlite":
        return True
    hosts = asked.split(",") if isinstance(asked, str) else list(asked)
    return all(_is_loopback(host.rsplit(":", 1)[0] if "." in host else host) for host in hosts)


def _is_loopback(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _has_secret(url: "URL") -> bool:
    return bool(url.password) or any(key in url.query for key in _SECRET_KEYS)


def _asks_for_mysql_tls(url: "URL") -> bool:
    return any(key.startswith("ssl_") and key != "ssl_disabled" for key in url.query)


def _unverified_tls() -> ssl.SSLContext:
    # As PostgreSQL's sslmode=require: private, but the server's name is not proved.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
