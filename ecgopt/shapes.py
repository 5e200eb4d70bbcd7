"""Array types without torch; axes are `record batch lead time width label patient replicate`."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int16, Shaped

Microvolts = Int16[np.ndarray, "record lead time"]
"""Signals as stored: one unit is one microvolt."""

LabelMatrix = Bool[np.ndarray, "record label"]
"""True where the record carries the label."""

ScoreMatrix = Float[np.ndarray, "record label"]
"""Predicted probabilities."""

RowIndex = Int[np.ndarray, " record"]
"""Rows of a prepared set."""

__all__ = [
    "Bool",
    "Float",
    "Float32",
    "Int",
    "Int16",
    "LabelMatrix",
    "Microvolts",
    "RowIndex",
    "ScoreMatrix",
    "Shaped",
]
