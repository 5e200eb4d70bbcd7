"""What workers ask of a cluster: the options of `ecgopt launch`, one dataclass an engine."""

from dataclasses import dataclass, field
from pathlib import Path

from ecgopt.errors import LaunchError


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmPlacement:
    """What each job of the array asks Slurm for."""

    partition: str | None = None
    """Partition; by default the cluster's own default."""
    gpus_per_node: int | None = None
    """GPUs of each job, which is one worker on one node; a worker uses one."""
    gres: str | None = None
    """Generic resources of each job instead, such as gpu:a100:1."""
    cpus: int = 1
    """Cores of each job; a worker computes with one thread on a CPU."""
    memory_gb: int | None = None
    """Memory of each job in GB; by default the partition's."""
    time_minutes: int = 240
    """Time limit; before it is reached, a job saves, gives its item back and queues again."""
    grace_seconds: int = 120
    """How long before the limit a job is warned; let it be longer than the longest epoch."""
    array_parallelism: int | None = None
    """How many jobs of the array may run at once; by default all."""
    account: str | None = None
    """Account that is charged."""
    qos: str | None = None
    """Quality of service."""
    log_folder: Path | None = None
    """Logs and job files, seen by all nodes; by default logs/NAME in the workspace."""
    sbatch: dict[str, str] = field(default_factory=dict)
    """Any other option of sbatch, such as --sbatch.constraint a100."""

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise LaunchError(f"--cpus must be at least 1, but is {self.cpus}")
        if not 0 < self.grace_seconds < 60 * self.time_minutes:
            raise LaunchError(
                f"--grace-seconds must be above 0 and below the time limit of {self.time_minutes} "
                f"minutes, but is {self.grace_seconds}"
            )

    @property
    def has_gpu(self) -> bool:
        """Whether a worker gets a GPU."""
        return bool(self.gpus_per_node) or "gpu" in (self.gres or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RayPlacement:
    """What each actor asks Ray for."""

    address: str | None = None
    """A running cluster, as HOST:PORT or auto; by default Ray is started on this machine."""
    cpus_per_worker: float = 1.0
    """Cores that Ray sets aside for each worker."""
    gpus_per_worker: float = 0.0
    """GPUs of each worker; 0.5 lets two workers share one."""

    def __post_init__(self) -> None:
        if self.cpus_per_worker < 0 or self.gpus_per_worker < 0:
            raise LaunchError(
                "--cpus-per-worker and --gpus-per-worker must be at least 0, but are "
                f"{self.cpus_per_worker:g} and {self.gpus_per_worker:g}"
            )
        if self.gpus_per_worker > 1:
            raise LaunchError(
                "--gpus-per-worker must be at most 1, since a worker uses one GPU, but is "
                f"{self.gpus_per_worker:g}"
            )
