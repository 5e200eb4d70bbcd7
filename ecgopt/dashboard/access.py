"""The access rules of the dashboard: pure functions of one request."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from ecgopt.errors import UserError

READING = frozenset({"GET", "HEAD"})
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessPolicy:
    """The token and the origins that the server was started with."""

    token: str = field(repr=False)
    origins: frozenset[str]
    """The origins of its own pages, as browsers write them: `http://127.0.0.1:8080`."""
    may_write: bool = False

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it through TLS alone."""
        return all(origin.startswith("https://") for origin in self.origins)

    @property
    def hosts(self) -> frozenset[str]:
        """The values of the Host header that mean this server."""
        return frozenset(urlsplit(origin).netloc for origin in self.origins)

    @property
    def cookie(self) -> str:
        """The cookie's name; it names the port, because cookies of one host share all ports."""
        port = min(urlsplit(origin).port or 0 for origin in self.origins)
        return f"{'__Host-' if self.is_secure else ''}ecgopt_{port}"

    @property
    def session(self) -> str:
        """The cookie's value: it follows from the token, but the token does not follow from it."""
        return hmac.new(self.token.encode(), b"ecgopt dashboard", hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The parts of a request that the rules depend on."""

    method: str
    path: str
    query: str = ""
    host: str = ""
    origin: str | None = None
    cookies: str = ""
    authorization: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A refused request, and the reason."""

    status: Literal[401, 403, 405, 409]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A request with the right token: set the cookie and redirect to the address without it."""

    location: str


def loopback_origins(port: int) -> frozenset[str]:
    """Return the origins of a server on this machine's loopback address."""
    return frozenset(f"http://{host}:{port}" for host in _LOOPBACK)


def public_origin(url: str) -> str:
    """Return the origin of the address that a proxy serves the dashboard under.

    Raises:
        UserError: it is not the https address of a host, without a path.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise UserError(
            f"--behind-proxy must look like https://ecg.example.org, but got {url!r}: a proxy with "
            "TLS, and the dashboard at the root of its host"
        )
    return f"https://{parts.netloc.lower()}"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a server bound to `host`."""
    return host in ("127.0.0.1", "localhost", "::1")


def authorize(policy: AccessPolicy, request: Request) -> Denied | Login | None:
    """Return why `request` is denied, or its login, or None if it may pass.

    The Host is checked first: a name that an attacker points at this machine gets no page at all.
    """
    if request.host not in policy.hosts:
        return Denied(
            status=403, reason="Host must be the address that the dashboard was started for"
        )
    if (token := _token_of(request)) is not None and request.method in READING:
        return _login(policy, request, token)
    if not _is_known(policy, request):
        return Denied(status=401, reason="open the link that `ecgopt dashboard` printed")
    if request.origin is not None and request.origin not in policy.origins:
        return Denied(status=403, reason="Origin must be the dashboard's own")
    return _check_method(policy, request)


def _check_method(policy: AccessPolicy, request: Request) -> Denied | None:
    if request.method in READING:
        return None
    if request.method not in WRITING or not policy.may_write:
        return Denied(
            status=405, reason="read-only: start the dashboard with --write to change anything"
        )
    if request.origin is None and not request.authorization:
        # Browsers send an Origin with every request that writes; a script has its Bearer token.
        return Denied(status=403, reason="a request that writes needs an Origin or a Bearer token")
    return None


def _login(policy: AccessPolicy, request: Request, token: str) -> Denied | Login:
    if not _equal(token, policy.token):
        return Denied(status=401, reason="open the link that `ecgopt dashboard` printed")
    rest = [(name, value) for name, value in parse_qsl(request.query) if name != "token"]
    # One leading slash only: "//host/" would lead to another host.
    path = "/" + request.path.lstrip("/\\")
    return Login(location=f"{path}?{urlencode(rest)}" if rest else path)


def _token_of(request: Request) -> str | None:
    return next((value for name, value in parse_qsl(request.query) if name == "token"), None)


def _is_known(policy: AccessPolicy, request: Request) -> bool:
    scheme, _, credentials = request.authorization.partition(" ")
    if scheme.lower() == "bearer":
        return _equal(credentials.strip(), policy.token)
    return _equal(_cookie_of(policy, request), policy.session)


def _cookie_of(policy: AccessPolicy, request: Request) -> str:
    try:
        found = SimpleCookie(request.cookies).get(policy.cookie)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def set_cookie(policy: AccessPolicy) -> str:
    """Return the header of the session cookie, which ends when the browser is closed."""
    secure = "; Secure" if policy.is_secure else ""
    return f"{policy.cookie}={policy.session}; Path=/; HttpOnly; SameSite=Strict{secure}"


_PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        # Optuna's dashboard compiles WebGL plots at run time and styles its elements in place.
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"

_REPLACED = frozenset({"content-security-policy", "access-control-allow-origin"})


def guarded_headers(path: str, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of an answer, with a policy that only runs the dashboard's own code."""
    is_artifact = path.startswith("/artifacts/")
    replaced = _REPLACED | ({"content-disposition"} if is_artifact else set())
    kept = [(name, value) for name, value in headers if name.lower() not in replaced]
    added = [
        ("Content-Security-Policy", _FILE_POLICY if is_artifact else _PAGE_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]
    if is_artifact:
        added.append(("Content-Disposition", "attachment"))
    if not re.match(r"/(static/|favicon)", path):
        added.append(("Cache-Control", "no-store"))
    return [*kept, *added]
