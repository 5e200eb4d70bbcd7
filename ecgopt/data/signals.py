"""The signal of one record as its file holds it, and the form in which it is stored."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float64, Num

from ecgopt.data.resample import filter_half, rational_ratio, resampled_length
from ecgopt.errors import DataError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve leads in the order of every prepared set."""

_LEAD_BY_LOWER = {lead.lower(): lead for lead in LEADS}
_SPELLED = re.compile(
    r"(?:(?:mdc_ecg_lead|ecg|ekg|lead)[ _:-]*)?"
    r"(?:d?(i{1,3})|d([123])|av[ _-]?([rlf])|[vc][ _-]?([1-6]))"
    r"(?: ?[(\[][^)\]]*[)\]])?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class RawSignal:
    """One record before resampling; missing samples are NaN."""

    microvolts: Float64[np.ndarray, "lead time"]
    leads: tuple[str, ...]
    """Names as in `LEADS` where they mean one of those, otherwise as the file spells them."""
    sampling_rate_hz: float
    first: int = 0
    """Position in the record of the first sample here; a reader may leave out those before."""
    whole_length: int | None = None
    """Samples of each lead in the record; None where all are here."""
    other_signals: tuple[str, ...] = ()
    """Names of the record's signals that are none of the twelve leads, and were not read."""
    is_calibrated: bool = True
    """False where the file states no gain for a lead, so that the usual one is assumed."""

    @property
    def n_samples(self) -> int:
        """Samples of each lead in the whole record."""
        return self.microvolts.shape[1] if self.whole_length is None else self.whole_length


LIMB_FROM_I_AND_II = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
"""The six limb leads, in the order of `LEADS`, from I and II (Einthoven, Goldberger)."""

DERIVED_LEADS = LEADS[2:6]
"""Leads that follow exactly from I and II."""


def from_millivolts(values: Num[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Return microvolts; what is too large for a number becomes infinite, and so missing."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.asarray(values, dtype=np.float64) * 1000.0)


@lru_cache(maxsize=512)
def lead_name(text: str) -> str:
    """Return the name in `LEADS` that `text` spells, else `text`.

    Known are any case (`AVR`), the prefixes of EDF, HL7 and others (`ECG I`, `Lead I`,
    `MDC_ECG_LEAD_I`), `DI` or `D1` for I, `C1` or `V-1` for V1, and a unit in brackets.
    """
    stripped = text.strip()
    match = _SPELLED.fullmatch(stripped)
    if match is None:
        return stripped
    roman, digit, augmented, chest = match.groups()
    name = roman or (digit and "I" * int(digit)) or (augmented and f"av{augmented}") or f"V{chest}"
    return _LEAD_BY_LOWER[name.lower()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Which samples of a record are stored, and which ones they are computed from."""

    up: int
    down: int
    """The rate changes by the factor `up / down`."""
    length: int
    """Samples of the whole record at the new rate."""
    first: int
    end: int
    """Samples `first` to `end` of the record decide all that are stored."""
    start: int
    """First stored sample at the new rate, counted from `first`."""
    n_kept: int
    """Samples of the record that are stored, at the new rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """What a prepared record looks like, and what happens to records that are not like it."""

    sampling_rate_hz: int = 100
    seconds: float = 10.0
    longer: Literal["first", "centre"] = "first"
    """Which part of a longer record stays; the published study keeps the first."""
    shorter: Literal["drop", "pad"] = "drop"
    """What happens to shorter records: left out, or zeros appended."""
    flat_leads: int = 11
    """Most leads of a kept record that never change; with 5 a record without limb or precordial
    leads is left out."""
    broken: Literal["stop", "drop"] = "stop"
    """What a damaged record does: end the preparation with an error, or be left out and counted."""

    def __post_init__(self) -> None:
        if not 1 <= self.sampling_rate_hz <= 10_000:
            raise DataError(
                "`1 <= sampling_rate_hz <= 10000` must hold, but got "
                f"sampling_rate_hz={self.sampling_rate_hz}"
            )
        if not 0 < self.seconds <= 3600 or self.n_samples < 1:
            raise DataError(
                "`0 < seconds <= 3600` and at least one sample must hold, but got "
                f"seconds={self.seconds}"
            )
        if not 0 <= self.flat_leads < len(LEADS):
            raise DataError(
                f"`0 <= flat_leads <= 11` must hold, but got flat_leads={self.flat_leads}"
            )

    @property
    def n_samples(self) -> int:
        """Samples per lead of a prepared record."""
        return round(self.sampling_rate_hz * self.seconds)

    def part(self, n_samples: int, sampling_rate_hz: float) -> Part | None:
        """Return which samples of a record are needed, None if its rate cannot be resampled.

        Args:
            n_samples: Samples of the record per lead.
            sampling_rate_hz: Its sampling rate.
        """
        ratio = rational_ratio(self.sampling_rate_hz, sampling_rate_hz)
        if ratio is None:
            return None
        up, down = ratio
        length = resampled_length(n_samples, up, down)
        n_kept = min(length, self.n_samples)
        start = (length - n_kept) // 2 if self.longer == "centre" else 0
        half = filter_half(up, down)
        # The first sample of the part must fall on a sample at the new rate.
        first = max(0, start * down - half) // (up * down) * down
        end = min(n_samples, ((start + n_kept - 1) * down + half) // up + 1)
        return Part(
            up=up,
            down=down,
            length=length,
            first=first,
            end=end,
            start=start - first // down * up,
            n_kept=n_kept,
        )
