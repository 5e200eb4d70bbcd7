"""PostgreSQL with the certificate and the rules that storage/ ships for containers."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from servers import PostgresServer

SHIPPED = Path(__file__).resolve().parents[2] / "storage" / "postgres"

pytestmark = pytest.mark.server


class Shipped:
    """A server started as the manifests start it; `public` holds what clients get."""

    def __init__(self):
        self.server = PostgresServer()
        # The server's own user has to reach it, which it cannot in pytest's folders.
        self.folder = Path(tempfile.mkdtemp(prefix="ecgopt-shipped-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.keys, self.public = self.folder / "keys", self.folder / "public"
        self.keys.mkdir()
        self.public.mkdir()
        shutil.copy(SHIPPED / "pg_hba.conf", self.folder)

    def make_certificate(self):
        script = SHIPPED / "certificate.sh"
        subprocess.run(
            ["sh", script, self.keys, self.public, "localhost", "127.0.0.1"],
            check=True,
            capture_output=True,
        )
        return (self.public / "server.crt").read_text()

    def start(self):
        self.make_certificate()
        self.server.start(
            hba_file=self.folder / "pg_hba.conf",
            ssl_cert_file=self.keys / "server.crt",
            ssl_key_file=self.keys / "server.key",
        )

    def connect(self, **changes):
        settings = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "user": "ecgopt",
            "dbname": "postgres",
            "password": self.server.password,
            "sslmode": "verify-full",
            "sslrootcert": str(self.public / "server.crt"),
            "connect_timeout": 30,
        }
        return psycopg.connect(**{**settings, **changes})

    def remove(self):
        self.server.remove()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def shipped():
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made = Shipped()
    try:
        made.start()
        yield made
    finally:
        made.remove()


def test_a_client_with_the_public_half_proves_the_server_by_name(shipped):
    with shipped.connect() as connection:
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.execute(query).fetchone() == (True,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sslmode": "disable"}, "no encryption"),
        ({"password": "wrong"}, "password authentication failed"),
        ({"hostaddr": "127.0.0.1", "host": "elsewhere"}, "does not match host name"),
    ],
)
def test_nobody_comes_in_without_tls_password_and_the_right_name(shipped, changes, reason):
    with pytest.raises(psycopg.OperationalError, match=reason):
        shipped.connect(**changes)


def test_the_key_is_the_servers_alone_and_a_second_start_keeps_the_certificate(shipped):
    first = (shipped.public / "server.crt").read_text()
    assert shipped.make_certificate() == first
    assert (shipped.keys / "server.key").stat().st_mode & 0o077 == 0
    assert [path.name for path in shipped.public.iterdir()] == ["server.crt"]
