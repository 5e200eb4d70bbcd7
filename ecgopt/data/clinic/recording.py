"""A recording from a clinic in memory, and its form as a WFDB record."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16, Num

from ecgopt.data.records import Sex
from ecgopt.data.wfdb_files import MISSING_SAMPLE
from ecgopt.errors import RecordError, UserError
from ecgopt.files import write_whole

MAX_BYTES = 256 << 20
"""Largest binary or CSV file."""

MAX_VALUES = 1 << 26
"""Most samples of all leads together: twelve leads of three hours at 500 Hz."""

MICROVOLTS: Mapping[str, float] = {"nv": 1e-3, "uv": 1.0, "µv": 1.0, "μv": 1.0, "mv": 1e3, "v": 1e6}
"""Microvolts of each unit, in small letters."""

_LARGEST = 32767
_OLDEST = 89


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """What a file says about the patient."""

    patient_id: str = ""
    name: str = ""
    sex: Sex | None = None
    birth: date | None = None
    age_years: float | None = None
    """As the file states it; where it does not, `age` computes it from the dates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording: 16-bit samples as WFDB stores them, and what is known besides."""

    leads: tuple[str, ...]
    samples: Int16[np.ndarray, "lead time"]
    """`MISSING_SAMPLE` where a sample is missing."""
    gain: tuple[float, ...]
    """Sample units per millivolt, of each lead."""
    baseline: tuple[int, ...]
    """The sample value of 0 V, of each lead."""
    sampling_rate_hz: float
    person: Person = field(default_factory=Person)
    recorded: datetime | None = None
    statements: tuple[str, ...] = ()
    """Lines of the report, as the file has them."""

    @property
    def age(self) -> float | None:
        """Age in whole years; 90 for all who are older than 89, as the rules of privacy ask."""
        years = self.person.age_years
        if years is None and self.person.birth is not None and self.recorded is not None:
            born, then = self.person.birth, self.recorded.date()
            years = then.year - born.year - ((then.month, then.day) < (born.month, born.day))
        if years is None or not 0 <= years <= 130:
            return None
        return 90.0 if years > _OLDEST else float(int(years))


def from_integers(
    values: Num[np.ndarray, "lead time"],
    microvolts_per_step: Sequence[float],
    offset_microvolts: Sequence[float],
    *,
    record: str,
) -> tuple[Int16[np.ndarray, "lead time"], tuple[float, ...], tuple[int, ...]]:
    """Return samples, gain and baseline of sample values, which stay as they are if 16 bits do.

    Args:
        values: Sample values of the file.
        microvolts_per_step: Microvolts of one step, of each lead.
        offset_microvolts: Microvolts of the value 0, of each lead.
        record: Name for messages.
    """
    step = np.asarray(microvolts_per_step, dtype=np.float64)
    offset = np.asarray(offset_microvolts, dtype=np.float64)
    _refuse(record, values, step)
    baseline = np.rint(-offset / step)
    fits = np.abs(values).max() <= _LARGEST + 1 and (values == np.rint(values)).all()
    if not fits or np.abs(baseline).max() > 1e9:
        return from_microvolts(values * step[:, None] + offset[:, None], record=record)
    # The lowest value of 16 bits means "missing" in WFDB; as a sample it is a saturated one.
    samples = np.maximum(values, -_LARGEST).astype(np.int16)
    return samples, tuple((1000.0 / step).tolist()), tuple(int(each) for each in baseline)


def from_microvolts(
    values: Float64[np.ndarray, "lead time"], *, record: str
) -> tuple[Int16[np.ndarray, "lead time"], tuple[float, ...], tuple[int, ...]]:
    """Return samples, gain and baseline of fractional values; NaN and infinity are missing.

    A step is at most 1 uV, and finer where the range of the lead allows it; leads beyond 32 mV get
    a coarser one.
    """
    _refuse(record, values, np.ones(1))
    missing = ~(np.abs(values) < 1e12)
    known = np.where(missing, 0.0, values)
    largest = np.abs(known).max(axis=1)
    step = np.where(largest > _LARGEST, largest / _LARGEST, 1.0)
    whole = (known == np.rint(known)).all(axis=1)
    step = np.where(whole | (largest == 0) | (largest > _LARGEST), step, largest / _LARGEST)
    samples = np.rint(known / step[:, None]).clip(-_LARGEST, _LARGEST).astype(np.int16)
    samples[missing] = MISSING_SAMPLE
    return samples, tuple((1000.0 / step).tolist()), (0,) * len(samples)


def _refuse(
    record: str, values: Num[np.ndarray, "lead time"], step: Float64[np.ndarray, " lead"]
) -> None:
    if values.ndim != 2 or 0 in values.shape:
        raise RecordError(record, "it holds no samples", f"shape {values.shape}")
    if values.size > MAX_VALUES:
        raise RecordError(record, "it is too long: cut it first", f"{values.shape[1]} samples")
    if not (np.isfinite(step).all() and (np.abs(step) > 1e-9).all() and np.abs(step).max() < 1e9):
        raise RecordError(record, "the voltage of one step must be a number other than 0")


def microvolts_of(unit: str, *, record: str) -> float:
    """Return the microvolts of a unit such as `uV`.

    Raises:
        RecordError: it is no voltage.
    """
    found = MICROVOLTS.get(unit.strip().lower())
    if found is None:
        raise RecordError(record, "the unit of a lead is no voltage", unit[:40])
    return found


def checked_rate(rate_hz: float, *, record: str) -> float:
    """Return the sampling rate unchanged.

    Raises:
        RecordError: it is no rate that an ECG has.
    """
    if not 1 <= rate_hz <= 100_000:
        raise RecordError(record, "the sampling rate must lie in 1..100,000 Hz", f"{rate_hz}")
    return rate_hz


def moment(text: str, *forms: str) -> datetime | None:
    """Return the time that `text` states in one of the `forms` of strptime, None otherwise."""
    for form in forms:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def day(text: str, *forms: str) -> date | None:
    """Return the day that `text` states in one of the `forms`, None otherwise."""
    found = moment(text, *forms)
    return None if found is None else found.date()


def clinic_library(name: str) -> Any:  # noqa: ANN401 a module without types
    """Return a library of the extra `clinic`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"this needs {name.split('.')[0]}: run `pip install 'ecgopt[clinic]'`"
        ) from error


def write_wfdb(recording: Recording, header: Path, comments: Sequence[str]) -> None:
    """Write a recording as WFDB record of format 16: the header, and a `.dat` file next to it.

    Args:
        recording: The recording.
        header: Path of the header, ending in `.hea`.
        comments: Lines after `#`.
    """
    samples = recording.samples
    n_leads, n_samples = samples.shape
    header.parent.mkdir(parents=True, exist_ok=True)
    signal = header.with_suffix(".dat")
    write_whole(signal, np.ascontiguousarray(samples.T).astype("<i2").tobytes())
    sums = samples.sum(axis=1, dtype=np.int64).astype(np.int16)
    lines = [f"{header.stem} {n_leads} {recording.sampling_rate_hz:.12g} {n_samples}"]
    for row, lead in enumerate(recording.leads):
        gain, baseline = recording.gain[row], recording.baseline[row]
        lines.append(
            f"{signal.name} 16 {gain:.12g}({baseline})/mV 16 0 {samples[row, 0]} {sums[row]} 0 "
            f"{lead}"
        )
    lines += [f"# {' '.join(comment.split())}" for comment in comments]
    write_whole(header, ("\n".join(lines) + "\n").encode())
