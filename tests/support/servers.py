"""Private database servers for tests: started, broken on purpose, and taken away again."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

_QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def own_address():
    """Return an address of this host that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def binaries_of_postgres():
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return Path(found).parent if found else (places[0] if places else None)


def _as_user(name):
    """Return the command prefix under which a server runs: none of them runs as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("runuser") is None:
        pytest.skip(f"database servers refuse to run as root and `runuser -u {name}` is missing")
    return ["runuser", "-u", name, "--"]


def _private_folder(user):
    folder = Path(tempfile.mkdtemp(prefix="ecgopt-server-", dir="/tmp"))
    folder.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(folder, user, user)
    return folder


def _wait_until(works, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not works():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)


class PostgresServer:
    """A PostgreSQL server with passwords; also with TLS where openssl is at hand.

    Users: `ecgopt` may connect either way, `tls_only` and `plain_only` as they say.
    """

    def __init__(self):
        self.binaries = binaries_of_postgres()
        if self.binaries is None:
            pytest.skip("PostgreSQL's server programs are not installed")
        self._prefix = _as_user("postgres")
        self._folder = _private_folder("postgres")
        self._data = self._folder / "data"
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._options = ""
        self._n_databases = 0
        self._create()

    def _run(self, *command):
        subprocess.run([*self._prefix, *map(str, command)], check=True, **_QUIET)

    def _create(self):
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        self._run(
            self.binaries / "initdb", "-A", "scram-sha-256", "-U", "ecgopt",
            f"--pwfile={secret}", "-D", self._data,
        )  # fmt: skip
        secret.unlink()
        self.has_tls = self._make_certificate()
        rules = [
            "local all all trust",
            "hostssl all tls_only all scram-sha-256",
            "host all tls_only all reject",
            "hostnossl all plain_only all scram-sha-256",
            "host all plain_only all reject",
            "host all all all scram-sha-256",
        ]
        (self._data / "pg_hba.conf").write_text("\n".join(rules) + "\n")

    def _make_certificate(self):
        if shutil.which("openssl") is None:
            return False
        self._run(
            "openssl", "req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "ec",
            "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost",
            "-keyout", self._data / "server.key", "-out", self._data / "server.crt",
        )  # fmt: skip
        self._run("chmod", "600", self._data / "server.key")
        return True

    def start(self, **settings):
        """Start with these settings on top, such as max_connections=10."""
        addresses = ",".join(filter(None, ("127.0.0.1", own_address())))
        fixed = {
            "listen_addresses": addresses,
            "fsync": "off",
            "ssl": "on" if self.has_tls else "off",
        }
        pairs = " ".join(f"-c {key}={value}" for key, value in {**fixed, **settings}.items())
        self._options = f"-p {self.port} -k {self._folder} {pairs}"
        self._control("start")
        return self

    def restart(self):
        """Restart at once, as after a crash: open transactions are lost."""
        self._control("restart", "-m", "immediate")

    def stop(self):
        self._control("stop", "-m", "immediate")

    def _control(self, *verb):
        self._run(self.binaries / "pg_ctl", "-D", self._data, "-w", "-o", self._options, *verb)

    def remove(self):
        subprocess.run(
            [*self._prefix, self.binaries / "pg_ctl", "-D", self._data, "-m", "immediate", "stop"],
            check=False,
            **_QUIET,
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    def execute(self, sql, database="postgres"):
        """Run SQL as the owner through the server's own socket and return the rows."""
        import psycopg

        options = {"host": str(self._folder), "port": self.port, "user": "ecgopt"}
        with psycopg.connect(dbname=database, autocommit=True, **options) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def new_database(self):
        """Create an empty database and return its name."""
        self._n_databases += 1
        name = f"study_{self._n_databases}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database, *, user="ecgopt", password=None, host="127.0.0.1", query=""):
        secret = self.password if password is None else password
        credentials = f"{user}:{secret}" if secret else user
        return f"postgresql+psycopg://{credentials}@{host}:{self.port}/{database}{query}"

    def add_user(self, name):
        exists = self.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'")
        if not exists:
            self.execute(f"CREATE USER {name} SUPERUSER PASSWORD '{self.password}'")

    def terminate_backends(self):
        """Drop every client connection."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def processes(self):
        """Return the process ids, the postmaster's first."""
        postmaster = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def pause(self):
        """Let the whole server stand still: it answers nothing, and its kernel goes on."""
        postmaster, *_ = self.processes()
        os.kill(postmaster, signal.SIGSTOP)  # first, or it would start further backends
        for pid in self.processes()[1:]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in reversed(self.processes()):
            os.kill(pid, signal.SIGCONT)


class PgBouncer:
    """PgBouncer in transaction mode before a PostgreSQL server."""

    def __init__(self, server, database, **settings):
        self.program = shutil.which("pgbouncer")
        if self.program is None:
            pytest.skip("pgbouncer is not installed")
        self._folder = _private_folder("postgres")
        self.port = free_port()
        users = self._folder / "users"
        users.write_text(f'"ecgopt" "{server.password}"\n')
        fixed = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": users,
            "pool_mode": "transaction",
            "default_pool_size": 3,
            "logfile": self._folder / "log",
        }
        lines = [f"{key} = {value}" for key, value in {**fixed, **settings}.items()]
        place = f"{database} = host=127.0.0.1 port={server.port} dbname={database}"
        (self._folder / "ini").write_text(
            "\n".join(["[databases]", place, "[pgbouncer]", *lines]) + "\n"
        )
        self._process = subprocess.Popen(
            [*_as_user("postgres"), self.program, "-q", self._folder / "ini"], **_QUIET
        )
        _wait_until(self._answers, "PgBouncer's first answer")
        self.url = f"postgresql+psycopg://ecgopt:{server.password}@127.0.0.1:{self.port}/{database}"

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def remove(self):
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class MariaServer:
    """A MariaDB server on a private socket and port."""

    def __init__(self):
        if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
            pytest.skip("MariaDB's server programs are not installed")
        pytest.importorskip("pymysql", reason="pymysql is not installed")
        self._prefix = _as_user("mysql")
        self._folder = _private_folder("mysql")
        self.socket = self._folder / "socket"
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._n_databases = 0
        self._process = None
        subprocess.run(
            [
                *self._prefix, "mariadb-install-db", "--no-defaults", "--skip-test-db",
                f"--datadir={self._folder}/data", "--auth-root-authentication-method=normal",
            ],
            check=True,
            **_QUIET,
        )  # fmt: skip

    def start(self):
        command = [
            "mariadbd", "--no-defaults", f"--datadir={self._folder}/data",
            f"--socket={self.socket}", f"--port={self.port}", "--bind-address=127.0.0.1",
            f"--pid-file={self._folder}/pid", "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=32M", "--skip-name-resolve",
        ]  # fmt: skip
        self._process = subprocess.Popen([*self._prefix, *command], **_QUIET)
        _wait_until(self.socket.exists, "MariaDB's start")
        _wait_until(self._answers, "MariaDB's first answer")
        self.execute(
            f"CREATE USER IF NOT EXISTS ecgopt@127.0.0.1 IDENTIFIED BY '{self.password}'; "
            "GRANT ALL ON *.* TO ecgopt@127.0.0.1"
        )
        return self

    def _client(self, sql):
        return subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "-u", "root", "-e", sql],
            check=False,
            **_QUIET,
        )

    def _answers(self):
        return self._client("SELECT 1").returncode == 0

    def execute(self, sql):
        assert self._client(sql).returncode == 0, sql

    def new_database(self):
        self._n_databases += 1
        name = f"study_{self._n_databases}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database):
        return f"mysql+pymysql://ecgopt:{self.password}@127.0.0.1:{self.port}/{database}"

    def remove(self):
        if self._process is not None:
            pid = int((self._folder / "pid").read_text())
            os.kill(pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
