"""A real Slurm cluster of one node, alone in its folder and on its own ports."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from servers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue", "scancel")

# A requeued job waits for cred_expire (120 s by default); linuxproc and task/none need no cgroups;
# config_overrides lets one machine offer more cores than it has.
CONFIGURATION = """
ClusterName=ecgopt-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=20
MinJobAge=300
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
NodeName=elsewhere NodeAddr=127.0.0.2 CPUs=1 State=DOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=wide Nodes=ALL MaxTime=INFINITE State=UP
"""


def missing():
    """Return why no cluster can be started here, or None."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian's slurm-wlm and munge)"
    return "Slurm's servers need root here" if os.geteuid() != 0 else None


class SlurmCluster:
    """The servers of one cluster; use as a context. `environment` leads Slurm's commands to it."""

    def __init__(self):
        # Sockets allow no long paths, and munge no folder that others may write to.
        self.folder = Path(tempfile.mkdtemp(prefix="ecgopt-slurm-", dir="/tmp"))
        self.host = socket.gethostname().split(".")[0]
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}
        self._servers = []

    def __enter__(self):
        folder = self.folder
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o400)
        controller_port, node_port = free_port(), free_port()
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=self.host,
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        try:
            self._start(
                "munged",
                "--foreground",
                f"--socket={folder}/munge.socket",
                f"--key-file={folder}/munge.key",
                f"--pid-file={folder}/munged.pid",
                f"--log-file={folder}/munged.log",
                f"--seed-file={folder}/munge.seed",
            )
            self._wait(lambda: (folder / "munge.socket").exists(), "munged's socket")
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D", "-N", self.host)
            self._wait(lambda: self._node_state() == "idle", "an idle node")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        if self._servers:
            # Jobs outlive slurmd, so they have to be gone before it.
            for job in self.jobs():
                self.run("scancel", job, check=False)
            self._wait(lambda: not self.jobs(), "the end of its jobs")
        self._stop()

    def _stop(self):
        for server in reversed(self._servers):
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command, check=True):
        """Run one of Slurm's commands and return its output."""
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=check,
        )
        return done.stdout.strip()

    def jobs(self):
        """Return the state of every job that has not ended, by its number (12_0 in an array)."""
        lines = self.run("squeue", "--noheader", "--array", "--format=%i %T", check=False)
        return dict(line.split() for line in lines.splitlines())

    def restarts(self, job):
        """Return how often a job was put back into the queue."""
        words = self.run("scontrol", "show", "job", job).split()
        return int(dict(word.split("=", 1) for word in words if "=" in word)["Restarts"])

    def scripts(self):
        """Return Slurm's copies of the batch scripts."""
        return [path for path in self.folder.rglob("script") if path.is_file()]

    def logs(self):
        """Return the ends of the servers' logs, for the message of a failed test."""
        return "\n".join(
            f"{log.name}: {log.read_text()[-2000:]}" for log in self.folder.glob("*.log")
        )

    def _node_state(self):
        return self.run("sinfo", "--noheader", "--partition=test", "--format=%T", check=False)

    def _start(self, *command):
        self._servers.append(
            subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def _wait(self, condition, what, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"Slurm never had {what}: {self.logs()}")
            time.sleep(0.1)
