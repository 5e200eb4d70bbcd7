"""Synthetic 12-lead records: a moving dipole seen by twelve leads, with nine diagnoses.

Each wave of a beat is a Gaussian in time along a direction in space; the leads are projections
(Dower's lead vectors), so Einthoven's relations hold as in a real recording.
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from ecgopt.data.heartbeats import draw_rhythm, render
from ecgopt.data.signals import LEADS
from ecgopt.errors import DataError
from ecgopt.seeds import generator_for

MARKER = "synthetic.json"
_VERSION = 1
_PER_FOLDER = 1000
_MAT_TYPE_INT16 = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """A population of synthetic records; two populations differ by name, seed and the factors."""

    n_records: int
    seed: int
    population: str = "S"
    """Prefix of record and patient names, so that two populations never share one."""
    sampling_rate_hz: int = 500
    seconds: float = 10.0
    records_per_patient: float = 1.3
    """Mean number of records of a patient."""
    noise: float = 1.0
    """Factor on muscle noise, mains hum and baseline wander."""
    amplitude: float = 1.0
    """Factor on all waves, as from another amplifier or another body build."""
    severity: float = 1.0
    """Factor on how far an abnormality leaves the normal range; small is hard to diagnose."""
    abnormal_share: float = 0.7
    """Share of patients that are prone to any abnormality."""
    label_noise: float = 0.04
    """Share of statements that are missed by the annotator."""

    def __post_init__(self) -> None:
        if self.n_records < 1:
            raise DataError(f"`n_records >= 1` must hold, but got n_records={self.n_records}")
        if not (self.population.isascii() and self.population.isalpha()):
            raise DataError(f"population must be ASCII letters, but is {self.population!r}")
        if not 50 <= self.sampling_rate_hz <= 5000:
            raise DataError(
                "`50 <= sampling_rate_hz <= 5000` must hold, but got "
                f"sampling_rate_hz={self.sampling_rate_hz}"
            )

        if not 1 <= self.records_per_patient <= 100:
            raise DataError(
                "`1 <= records_per_patient <= 100` must hold, but got "
                f"records_per_patient={self.records_per_patient}"
            )

    @property
    def fingerprint(self) -> str:
        """Hash of all settings and of the generator's version."""
        text = json.dumps([_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def write_synthetic(
    folder: Path,
    settings: SyntheticSettings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the records of `settings` to `folder` as WFDB `.hea` and `.mat` files.

    The folder appears only once it is complete. If it holds the same records already, nothing is
    done. A record depends on its number and the settings, not on how many records there are.

    Args:
        folder: The folder to make.
        settings: What to write.
        on_progress: Called with the records done and their total.

    Raises:
        DataError: `folder` holds something else, or cannot be written.
    """
    if folder.exists():
        _require_same(folder, settings)
        return
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        part.mkdir(parents=True)
        _write_records(part, settings, on_progress)
        marker = {"fingerprint": settings.fingerprint, "settings": asdict(settings)}
        (part / MARKER).write_text(json.dumps(marker, indent=1), encoding="utf-8")
        _publish(part, folder, settings)
    except OSError as error:
        raise DataError(f"cannot write to {folder.parent}: {error.strerror}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, folder: Path, settings: SyntheticSettings) -> None:
    try:
        part.rename(folder)
    except OSError:
        # Another process may have finished the same folder first.
        if not folder.exists():
            raise
        _require_same(folder, settings)


def _require_same(folder: Path, settings: SyntheticSettings) -> None:
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        found = marker["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} exists and holds no synthetic records; give another folder"
        ) from error
    if found != settings.fingerprint:
        raise DataError(
            f"{folder} holds synthetic records of other settings; remove it or give another folder"
        )


def _write_records(
    part: Path,
    settings: SyntheticSettings,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    for number in range(settings.n_records):
        folder = part / f"g{number // _PER_FOLDER + 1}"
        if number % _PER_FOLDER == 0:
            folder.mkdir()
        write_record(folder, settings, number)
        if on_progress is not None:
            on_progress(number + 1, settings.n_records)


def write_record(folder: Path, settings: SyntheticSettings, number: int) -> None:
    """Write record `number` of the population as one `.hea` and one `.mat` file."""
    rng = generator_for("synthetic record", settings.population, settings.seed, number)
    patient = _patient_of(settings, number)
    patient_name = f"{settings.population}{settings.seed}P{patient:05d}"
    body = generator_for("synthetic patient", settings.population, settings.seed, patient)
    rhythm = draw_rhythm(
        body, rng, abnormal_share=settings.abnormal_share, severity=settings.severity
    )
    signal = render(
        rhythm,
        rng,
        n_samples=round(settings.seconds * settings.sampling_rate_hz),
        sampling_rate_hz=settings.sampling_rate_hz,
        noise=settings.noise,
    )
    adc = np.clip(np.rint(signal * (settings.amplitude * 1000)), -32767, 32767).astype(np.int16)
    name = f"{settings.population}{number + 1:05d}"
    stated = [code for code in rhythm.codes if rng.random() >= settings.label_noise]
    (folder / f"{name}.mat").write_bytes(_mat_header(*adc.shape) + adc.T.tobytes())
    text = _header_text(name, adc, settings.sampling_rate_hz)
    text += f"#Patient: {patient_name}\n#Age: {rhythm.age_years}\n#Sex: {rhythm.sex}\n"
    text += f"#Dx: {','.join(stated)}\n#Rx: Unknown\n#Hx: Unknown\n#Sx: Unknown\n"
    (folder / f"{name}.hea").write_text(text, encoding="ascii")


def _patient_of(settings: SyntheticSettings, number: int) -> int:
    """Return the patient of a record: some patients have several, as in real data."""
    return int(number / settings.records_per_patient)


def _mat_header(n_leads: int, n_samples: int) -> bytes:
    """Return the 24 bytes that make interleaved samples a MATLAB v4 matrix called `val`."""
    fields = np.array([_MAT_TYPE_INT16, n_leads, n_samples, 0, 4], dtype="<u4")
    return fields.tobytes() + b"val\0"


def _header_text(name: str, adc: Int16[np.ndarray, "lead time"], sampling_rate_hz: int) -> str:
    lines = [f"{name} {len(LEADS)} {sampling_rate_hz} {adc.shape[1]}"]
    checksums = adc.sum(axis=1, dtype=np.int64).astype(np.int16).tolist()
    lines += [
        f"{name}.mat 16+24 1000/mV 16 0 {first} {checksum} 0 {lead}"
        for lead, first, checksum in zip(LEADS, adc[:, 0].tolist(), checksums, strict=True)
    ]
    return "\n".join(lines) + "\n"
