"""The signal of one record as its file holds it: microvolts, lead names and sampling rate."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
"""The twelve leads in the order of every prepared set."""

_LEAD_BY_LOWER = {lead.lower(): lead for lead in LEADS}


@dataclass(frozen=True, slots=True)
class RawSignal:
    """One record before resampling; missing samples are NaN."""

    microvolts: Float64[np.ndarray, "lead time"]
    leads: tuple[str, ...]
    """Names as in `LEADS` where they mean one of those, otherwise as the file spells them."""
    sampling_rate_hz: float


def lead_name(text: str) -> str:
    """Return the name in `LEADS` that `text` spells in any case (`AVR`, `avr`), else `text`."""
    stripped = text.strip()
    return _LEAD_BY_LOWER.get(stripped.lower(), stripped)
