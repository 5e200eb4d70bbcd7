"""What a network sees of a record: rate, length, leads, filters, scaling and crops.

`prepare` is a pure function from a record to an input. `prepare_set` applies it to a prepared data
set once; every network with the same input and every worker then maps the same file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32, Float64, Num
from pydantic import Field

from ecgopt.data.prepared import PreparedSet
from ecgopt.data.resample import rational_ratio, resample, resampled_length
from ecgopt.data.signals import LEADS
from ecgopt.errors import DataError
from ecgopt.files import replacing
from ecgopt.toml_errors import BrokenRule, TomlTable

INPUT_VERSION = 1
"""Rises whenever the same record would be prepared otherwise."""

Scaling = Literal[
    "none", "z_score_record", "z_score_lead", "min_max_record", "min_max_lead",
    "zero_one_record", "zero_one_lead",
]  # fmt: skip
"""Millivolts, mean 0 and deviation 1, from -1 to 1, or from 0 to 1."""

_BUTTERWORTH: Mapping[str, Literal["highpass", "lowpass", "bandpass"]] = {
    "high_pass": "highpass",
    "low_pass": "lowpass",
    "band_pass": "bandpass",
}

_BATCH = 64
"""Records that are filtered together."""


Hertz = Annotated[float, Field(gt=0, le=5_000)]


class Filter(TomlTable):
    """One filter; all are zero-phase, run forwards and backwards over each lead."""

    kind: Literal["high_pass", "low_pass", "band_pass", "notch", "median_baseline"]
    """Butterworth filters, a notch, or subtraction of a running median."""
    hz: Hertz | tuple[Hertz, Hertz] | None = None
    """The cut-off, two for a band, or the centre of a notch."""
    order: int = Field(default=4, ge=1, le=10)
    """Order of a Butterworth filter in one direction."""
    quality: float = Field(default=30.0, gt=0, le=1_000)
    """Quality of a notch: its centre divided by its width."""
    seconds: Annotated[tuple[Annotated[float, Field(gt=0, le=10)], ...], Field(max_length=5)] = ()
    """Widths of the medians that make the baseline, each taken of the one before."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        if self.kind == "median_baseline":
            if not self.seconds:
                yield ("seconds",), "a median needs one or more widths, such as [0.2, 0.6]"
            return
        n_wanted = 2 if self.kind == "band_pass" else 1
        if len(self.corners) != n_wanted:
            text = "two frequencies, such as [0.67, 40]" if n_wanted == 2 else "one frequency"
            yield ("hz",), f"a {self.kind} filter needs {text}, but has {self.hz}"
        elif sorted(self.corners) != list(self.corners):
            yield ("hz",), f"the lower frequency must come first, but hz is {self.hz}"

    @property
    def corners(self) -> tuple[float, ...]:
        """The frequencies, in hertz."""
        if self.hz is None:
            return ()
        return self.hz if isinstance(self.hz, tuple) else (self.hz,)


class InputForm(TomlTable):
    """What a network sees of a record, as a card or a table `[inputs.NAME]` declares it."""

    rate_hz: int = Field(default=100, ge=1, le=10_000)
    """Samples per second."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """Length of the prepared record."""
    leads: Annotated[tuple[str, ...], Field(max_length=len(LEADS))] = LEADS
    """The leads, in the network's order."""
    filters: Annotated[tuple[Filter, ...], Field(max_length=10)] = ()
    """Applied in this order."""
    filters_at: Literal["source", "target"] = "target"
    """Whether the filters see the rate of the records or that of the input."""
    scaling: Scaling = "none"
    """Over the whole prepared record, of all leads together or of each; `none` keeps millivolts."""
    longer: Literal["first", "centre"] = "first"
    """Which part of a longer record stays."""
    shorter: Literal["pad", "refuse"] = "pad"
    """Whether zeros follow a shorter record, after scaling, or it is refused."""
    crop_seconds: float | None = Field(default=None, gt=0, le=3600)
    """Length that the network sees at once; None: the whole record."""
    n_crops: int = Field(default=1, ge=1, le=1_000)
    """Equally spaced crops whose predictions are averaged; training takes a random one."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the values together."""
        unknown = [lead for lead in self.leads if lead not in LEADS]
        if unknown or not self.leads or len(set(self.leads)) < len(self.leads):
            yield ("leads",), f"must be different ones of {', '.join(LEADS)}"
        if self.crop_seconds is not None and self.crop_seconds > self.seconds:
            yield ("crop_seconds",), f"must be at most seconds = {self.seconds:g}"
        if self.crop_seconds is None and self.n_crops > 1:
            yield ("n_crops",), "several crops need crop_seconds"
        if self.filters_at == "target":
            for each in self.filters:
                if too_high := _too_high(each, self.rate_hz):
                    yield ("filters",), too_high

    @property
    def n_samples(self) -> int:
        """Samples per lead of a prepared record."""
        return round(self.rate_hz * self.seconds)

    @property
    def n_seen(self) -> int:
        """Samples per lead that the network sees at once."""
        return round(self.rate_hz * (self.crop_seconds or self.seconds))

    def seen(self) -> "InputForm":
        """Return the input without crops, of the length that the network sees at once."""
        return self.model_copy(
            update={
                "seconds": self.crop_seconds or self.seconds,
                "crop_seconds": None,
                "n_crops": 1,
            }
        )

    @property
    def crop_starts(self) -> tuple[int, ...]:
        """First samples of the crops whose predictions are averaged."""
        if self.n_crops == 1:
            return ((self.n_samples - self.n_seen) // 2,)
        step = (self.n_samples - self.n_seen) // (self.n_crops - 1)
        return tuple(step * position for position in range(self.n_crops))

    def random_start(self, generator: np.random.Generator) -> int:
        """Return the first sample of a crop for training; every place is equally likely."""
        return int(generator.integers(self.n_samples - self.n_seen + 1))

    @property
    def key(self) -> str:
        """Hash of all that decides the prepared samples; crops are cut from them later."""
        what = self.model_dump(mode="json", exclude={"crop_seconds", "n_crops"})
        return hashlib.sha256(json.dumps([INPUT_VERSION, what]).encode()).hexdigest()[:16]


def prepare(
    microvolts: Num[np.ndarray, "lead time"], sampling_rate_hz: float, form: InputForm
) -> Float32[np.ndarray, "kept sample"]:
    """Return the input that a network sees of one record.

    Leads are chosen first. Then come filters and resampling in the order that the form declares,
    the length, and scaling, which does not see padding. Values are in millivolts unless scaled.

    Args:
        microvolts: The twelve leads in the order of `LEADS`, without gaps.
        sampling_rate_hz: Their rate.
        form: The input.

    Raises:
        DataError: the rate cannot be resampled or is too low for a filter, or the record is too
            short.
    """
    inputs: Float32[np.ndarray, "kept sample"] = _prepared(
        np.asarray(microvolts)[None], sampling_rate_hz, form
    )[0]
    return inputs


def crops(
    inputs: Float32[np.ndarray, "record kept sample"], form: InputForm
) -> Float32[np.ndarray, "record crop kept seen"]:
    """Return the crops of prepared records whose predictions are averaged."""
    return np.stack(
        [inputs[:, :, start : start + form.n_seen] for start in form.crop_starts], axis=1
    )


def prepare_set(
    prepared: PreparedSet, form: InputForm, folder: Path
) -> Float32[np.ndarray, "record kept sample"]:
    """Return the inputs of a whole set, memory-mapped; the same input is prepared once.

    Args:
        prepared: The set, stored at least at the rate of the input.
        form: The input.
        folder: Where inputs are kept.

    Raises:
        DataError: the set's rate is below that of the input, or a record cannot be prepared.
    """
    path = folder / f"{prepared.fingerprint[:16]}-{form.key}.npy"
    if not path.exists():
        if prepared.sampling_rate_hz < form.rate_hz:
            raise DataError(
                f"an input of {form.rate_hz} Hz needs records of at least that rate, but "
                f"{prepared.folder} has {prepared.sampling_rate_hz} Hz: prepare the set again with "
                f"--rate {form.rate_hz}"
            )
        shape = (len(prepared), len(form.leads), form.n_samples)
        with replacing(path) as temporary:
            stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            for first in range(0, len(prepared), _BATCH):
                rows = slice(first, first + _BATCH)
                stored[rows] = _prepared(prepared.signals[rows], prepared.sampling_rate_hz, form)
            stored.flush()
    inputs: Float32[np.ndarray, "record kept sample"] = np.load(
        path, mmap_mode="r", allow_pickle=False
    )
    return inputs


def _prepared(
    microvolts: Num[np.ndarray, "record lead time"], sampling_rate_hz: float, form: InputForm
) -> Float32[np.ndarray, "record kept sample"]:
    chosen = [LEADS.index(lead) for lead in form.leads]
    signals = microvolts[:, chosen].astype(np.float64) / 1000.0
    if form.filters_at == "source":
        signals = _filtered(signals, sampling_rate_hz, form)
    signals = _at_rate(signals, sampling_rate_hz, form)
    if form.filters_at == "target":
        signals = _filtered(signals, form.rate_hz, form)
    n_missing = form.n_samples - signals.shape[2]
    if n_missing > 0 and form.shorter == "refuse":
        raise DataError(
            f"a record of {signals.shape[2] / form.rate_hz:g} s is shorter than the input of "
            f'{form.seconds:g} s: use shorter = "pad", or leave it out'
        )
    start = max(0, -n_missing) // 2 if form.longer == "centre" else 0
    scaled = _scaled(signals[:, :, start : start + form.n_samples], form.scaling)
    return np.pad(scaled, ((0, 0), (0, 0), (0, max(0, n_missing)))).astype(np.float32)


def _at_rate(
    signals: Float64[np.ndarray, "record lead time"], from_hz: float, form: InputForm
) -> Float64[np.ndarray, "record lead resampled"]:
    ratio = rational_ratio(form.rate_hz, from_hz)
    if ratio is None:
        raise DataError(f"a record of {from_hz:g} Hz cannot be resampled to {form.rate_hz} Hz")
    n_records, n_leads, n_time = signals.shape
    length = resampled_length(n_time, *ratio)
    rows = resample(signals.reshape(-1, n_time), *ratio, start=0, n=length)
    return rows.reshape(n_records, n_leads, length)


def _filtered(
    signals: Float64[np.ndarray, "record lead time"], rate_hz: float, form: InputForm
) -> Float64[np.ndarray, "record lead time"]:
    for each in form.filters:
        if too_high := _too_high(each, rate_hz):
            raise DataError(too_high)
        if each.kind == "median_baseline":
            signals = signals - _baseline(signals, rate_hz, each.seconds)
        else:
            from scipy.signal import sosfiltfilt

            sections = _sections(each, rate_hz)
            signals = np.asarray(sosfiltfilt(sections, signals, axis=-1))
    return signals


@cache
def _sections(wanted: Filter, rate_hz: float) -> Float64[np.ndarray, "section 6"]:
    """Return the filter as second-order sections, which stay exact at low cut-offs."""
    from scipy.signal import butter, iirnotch, tf2sos

    if wanted.kind == "notch":
        return np.asarray(tf2sos(*iirnotch(wanted.corners[0], wanted.quality, fs=rate_hz)))
    corners = np.array(wanted.corners if wanted.kind == "band_pass" else wanted.corners[0])
    kind = _BUTTERWORTH[wanted.kind]
    return np.asarray(butter(wanted.order, corners, btype=kind, fs=rate_hz, output="sos"))


def _baseline(
    signals: Float64[np.ndarray, "record lead time"], rate_hz: float, widths_s: tuple[float, ...]
) -> Float64[np.ndarray, "record lead time"]:
    """Return the running median of an odd number of samples; beyond the ends the signal is zero."""
    from scipy.ndimage import median_filter

    baseline = signals
    for width in widths_s:
        size = int(width * rate_hz) // 2 * 2 + 1
        rows = [
            # One-dimensional, since SciPy has a much faster algorithm for that.
            median_filter(row, size=size, mode="constant")
            for row in baseline.reshape(-1, signals.shape[2])
        ]
        baseline = np.stack(rows).reshape(signals.shape)
    return baseline


def _scaled(
    signals: Float64[np.ndarray, "record lead sample"], scaling: Scaling
) -> Float64[np.ndarray, "record lead sample"]:
    """Return scaled signals; what never changes becomes zero."""
    if scaling == "none":
        return signals
    axes = (2,) if scaling.endswith("lead") else (1, 2)
    if scaling.startswith("z_score"):
        centre, size = signals.mean(axes, keepdims=True), signals.std(axes, keepdims=True)
    else:
        low, high = signals.min(axes, keepdims=True), signals.max(axes, keepdims=True)
        is_signed = scaling.startswith("min_max")
        centre, size = ((low + high) / 2, (high - low) / 2) if is_signed else (low, high - low)
    return np.asarray((signals - centre) / np.where(size > 0, size, 1.0))


def _too_high(each: Filter, rate_hz: float) -> str:
    if each.kind != "median_baseline" and max(each.corners) >= rate_hz / 2:
        return (
            f"a {each.kind} filter at {max(each.corners):g} Hz needs a rate above "
            f"{2 * max(each.corners):g} Hz, but has {rate_hz:g} Hz"
        )
    return ""
