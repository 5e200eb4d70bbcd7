"""The PhysioNet/CinC Challenge 2020 score, for label sets that its weights cover."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ecgopt.errors import DataError
from ecgopt.shapes import Bool, Float, LabelMatrix

SINUS_RHYTHM = "426783006"
EQUIVALENT = {"59118001": "713427006", "63593006": "284470004", "17338001": "427172004"}
"""Codes that the challenge scores as one class: complete RBBB as RBBB, supraventricular as atrial
premature beats, ventricular premature beats as contractions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChallengeWeights:
    """How much of a point each confusion of two classes earns."""

    classes: tuple[str, ...]
    """SNOMED CT codes, equivalent ones merged."""
    weights: Float[np.ndarray, "label other"]


def read_weights(path: Path) -> ChallengeWeights:
    """Return the weights of a challenge's `weights.csv`, equivalent classes merged.

    Raises:
        DataError: the file is missing or is not a square table.
    """
    try:
        rows = list(csv.reader(path.read_text("utf-8").splitlines()))
        codes = rows[0][1:]
        table = np.array([[float(value) for value in row[1:]] for row in rows[1:]])
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"challenge weights {path}: not readable as a table ({error})") from error
    if table.shape != (len(codes), len(codes)):
        raise DataError(f"challenge weights {path}: rows and columns must be the same classes")
    kept = [index for index, code in enumerate(codes) if code not in EQUIVALENT]
    return ChallengeWeights(
        classes=tuple(codes[index] for index in kept), weights=table[np.ix_(kept, kept)]
    )


def challenge_score(
    labels: LabelMatrix, predicted: Bool[np.ndarray, "record label"], weights: ChallengeWeights
) -> float:
    """Return the challenge metric: 1 for the right labels, 0 for always sinus rhythm.

    Every record hands out one point, divided over the classes that are true or predicted; a
    confusion earns its weight. NaN where the right labels earn no more than sinus rhythm does.

    Args:
        labels: True where the record carries the label.
        predicted: True where the label is predicted.
        weights: The points of each confusion, in the order of the labels.

    Source: Perez Alday et al. 2020, Physiol. Meas. 41:124003.
    """
    sinus = np.zeros_like(labels)
    sinus[:, weights.classes.index(SINUS_RHYTHM)] = True
    earned, best, idle = (_earned(labels, each, weights) for each in (predicted, labels, sinus))
    return (earned - idle) / (best - idle) if best != idle else float("nan")


def _earned(
    labels: LabelMatrix, predicted: Bool[np.ndarray, "record label"], weights: ChallengeWeights
) -> float:
    shares = 1 / np.maximum((labels | predicted).sum(axis=1), 1)
    confusion = (labels * shares[:, None]).T @ predicted
    return float((weights.weights * confusion).sum())


SNOMED_CODES = {
    "IAVB": "270492004", "1dAVb": "270492004", "AF": "164889003", "AFL": "164890007",
    "Brady": "426627000", "CRBBB": "713427006", "IRBBB": "713426002", "LAnFB": "445118002",
    "LAD": "39732003", "LBBB": "164909002", "LQRSV": "251146004", "NSIVCB": "698252002",
    "PR": "10370003", "PAC": "284470004", "SVPB": "284470004", "PVC": "427172004",
    "VPB": "427172004", "VEB": "427172004", "LPR": "164947007", "LQT": "111975006",
    "QAb": "164917005", "RAD": "47665007", "RBBB": "713427006", "SA": "427393009",
    "SB": "426177001", "NSR": "426783006", "NORM": "426783006", "STach": "427084000",
    "TAb": "164934002", "TInv": "59931005", "CRBBB|RBBB": "713427006",
    "PAC|SVPB": "284470004", "PVC|VPB": "427172004",
}  # fmt: skip
"""Scored classes by the abbreviations that label sets use; equivalent ones share a code."""


def weights_for(labels: Sequence[str]) -> ChallengeWeights | None:
    """Return the shipped weights of `labels` in their order; None where they do not apply.

    They apply where every label is a scored class, none twice, and sinus rhythm is among them.
    """
    codes = [EQUIVALENT.get(code, code) for label in labels if (code := _code(label))]
    if len(codes) < len(labels) or len(set(codes)) < len(codes) or SINUS_RHYTHM not in codes:
        return None
    weights = _shipped_weights()
    places = [weights.classes.index(code) for code in codes]
    return ChallengeWeights(classes=tuple(codes), weights=weights.weights[np.ix_(places, places)])


def _code(label: str) -> str | None:
    return label if label in _shipped_weights().classes else SNOMED_CODES.get(label)


@cache
def _shipped_weights() -> ChallengeWeights:
    return read_weights(Path(__file__).parent / "tables" / "challenge2020_weights.csv")
