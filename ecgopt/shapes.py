"""Array types of the package; axes are `record batch lead time width label patient replicate`."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int16
from torch import Tensor

Microvolts = Int16[np.ndarray, "record lead time"]
"""Signals as stored: one unit is one microvolt."""

SignalBatch = Float[Tensor, "batch lead time"]
"""Signals as networks see them, in millivolts."""

LogitBatch = Float[Tensor, "batch label"]

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
    "LogitBatch",
    "Microvolts",
    "RowIndex",
    "ScoreMatrix",
    "SignalBatch",
]
