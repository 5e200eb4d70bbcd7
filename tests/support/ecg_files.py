"""Real and made records for tests of the data layer."""

import os
from pathlib import Path

import numpy as np
import pytest

from ecgopt.data.signals import LEADS

ROOT = Path(os.environ.get("ECGOPT_DATA", Path(__file__).parents[2] / "../shared/data"))


def real(*parts: str) -> Path:
    """Return a path among the real records; the test is skipped where they are not there."""
    path = ROOT.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real records are missing: {'/'.join(parts)} (set ECGOPT_DATA)")
    return path.resolve()


def adc(n_samples: int = 5000, *, seed: int = 0, n_leads: int = 12) -> np.ndarray:
    """Return random-walk samples, one column per lead."""
    steps = np.random.default_rng(seed).normal(size=(n_samples, n_leads))
    return np.clip(np.cumsum(steps * 20, axis=0), -30000, 30000).astype("<i2")


def write_record(
    folder: Path,
    name: str,
    samples: np.ndarray,
    *,
    rate: float = 500,
    suffix: str = ".dat",
    gain: str = "1000/mV",
    leads: tuple[str, ...] = LEADS,
    comments: str = "#Age: 60\n#Sex: Male\n#Dx: 426783006\n",
    file_name: str | None = None,
) -> Path:
    """Write one record as header and signal file, and return the header's path."""
    folder.mkdir(parents=True, exist_ok=True)
    offset = b"" if suffix == ".dat" else b"\0" * 24
    (folder / f"{name}{suffix}").write_bytes(offset + samples.tobytes())
    storage = "16" if suffix == ".dat" else "16+24"
    sums = samples.sum(axis=0, dtype=np.int64).astype(np.int16)
    lines = [f"{name} {samples.shape[1]} {rate:g} {samples.shape[0]}"]
    lines += [
        f"{file_name or name + suffix} {storage} {gain} 16 0 {samples[0, i]} {sums[i]} 0 {lead}"
        for i, lead in enumerate(leads)
    ]
    path = folder / f"{name}.hea"
    path.write_text("\n".join(lines) + "\n" + comments, encoding="utf-8")
    return path


class as_nobody:
    """Give up root for a while: root may write anywhere."""

    def __enter__(self) -> None:
        self._user = os.geteuid()
        if self._user == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if self._user == 0:
            os.seteuid(0)
