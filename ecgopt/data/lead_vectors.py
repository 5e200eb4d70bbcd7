"""What the twelve leads see of a dipole in space."""

import numpy as np
from jaxtyping import Float64

# Columns: left, inferior, posterior. Source: Dower et al. 1980, J Electrocardiol 13:37.
_I_AND_II = np.array([[0.632, -0.235, 0.059], [0.235, 1.066, -0.132]])
_PRECORDIAL = np.array(
    [
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
# III, aVR, aVL, aVF from I and II (Einthoven, Goldberger).
_LIMB = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])


def seen_by_independent_leads(
    dipole: Float64[np.ndarray, "3 time"],
) -> Float64[np.ndarray, "independent time"]:
    """Return leads I, II and V1 to V6; the four others follow from I and II."""
    return np.asarray(np.concatenate([_I_AND_II, _PRECORDIAL]) @ dipole)


def twelve_leads(
    independent: Float64[np.ndarray, "independent time"],
) -> Float64[np.ndarray, "lead time"]:
    """Return all leads in the order of `LEADS` from I, II and V1 to V6."""
    return np.concatenate([_LIMB @ independent[:2], independent[2:]])
