"""The heart behind a synthetic record: what it suffers from, when it beats, and what leads see."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from ecgopt.data.signals import LIMB_FROM_I_AND_II

# Columns: left, inferior, posterior. Source: Dower et al. 1980, J Electrocardiol 13:37.
_INDEPENDENT = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""What leads I, II and V1 to V6 see of a dipole in space."""

SNOMED = {
    "NORM": "426783006",
    "AF": "164889003",
    "IAVB": "270492004",
    "LBBB": "164909002",
    "RBBB": "59118001",
    "PVC": "427172004",
    "STD": "429622005",
    "SB": "426177001",
    "STach": "427084000",
}

_BEFORE_S, _AFTER_S = 0.36, 0.72
"""Time around a beat's R wave in which its waves live."""

Wave = tuple[float, float, float, float, float]
"""Centre and width in seconds, then the dipole in millivolts: left, inferior, posterior."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """One recording's state of the heart."""

    diagnoses: frozenset[str]
    heart_rate_bpm: float
    rr_variation: float
    """Standard deviation of the beat interval as a share of its mean."""
    pr_s: float
    qrs_width: float
    """Factor on the width of the ventricular waves."""
    st_depression_mv: float
    bundle: Literal["left", "right"]
    """Where conduction is slower, be it only a little."""
    bundle_severity: float
    """How complete a bundle branch block is, 0 to 1."""
    ectopic_share: float
    turn: Float64[np.ndarray, "3 3"]
    """Rotation of the heart in this body."""
    size: float
    age_years: int
    sex: Literal["Male", "Female"]

    @property
    def codes(self) -> tuple[str, ...]:
        """SNOMED CT codes of the diagnoses."""
        return tuple(SNOMED[name] for name in SNOMED if name in self.diagnoses)


def draw_rhythm(
    body: np.random.Generator,
    moment: np.random.Generator,
    *,
    abnormal_share: float,
    severity: float,
) -> Rhythm:
    """Return a rhythm whose lasting traits come from `body` and its passing ones from `moment`.

    The normal ranges reach into the abnormal ones, as if annotators disagreed about the limits, so
    that no diagnosis is trivial.
    """
    sex: Literal["Male", "Female"] = "Male" if body.random() < 0.5 else "Female"
    age = int(np.clip(body.normal(60, 16), 18, 89))
    turn = _rotation(body.normal(0, 0.45, size=3))
    size = float(body.lognormal(0.0, 0.35))
    found = _draw_diagnoses(body, moment, abnormal_share)
    bundle = {"LBBB", "RBBB"} & found
    return Rhythm(
        diagnoses=frozenset(found or {"NORM"}),
        heart_rate_bpm=_draw_heart_rate(moment, found, severity),
        rr_variation=_draw_rr_variation(moment, found, severity),
        pr_s=_beyond(moment, (0.11, 0.212), (0.192, 0.28), severity, "IAVB" in found),
        qrs_width=moment.uniform(0.8, 1.3) * (1.0 + 0.35 * severity * bool(bundle)),
        st_depression_mv=_beyond(moment, (0.0, 0.07), (0.05, 0.17), severity, "STD" in found),
        bundle=_bundle(moment, found),
        bundle_severity=_beyond(moment, (0.0, 0.3), (0.2, 0.9), severity, bool(bundle)),
        ectopic_share=float(moment.uniform(0.06, 0.25)) if "PVC" in found else 0.0,
        turn=turn,
        size=size,
        age_years=age,
        sex=sex,
    )


def _draw_diagnoses(
    body: np.random.Generator, moment: np.random.Generator, abnormal_share: float
) -> set[str]:
    prone = body.random() < abnormal_share
    lasting = {
        "AF": body.random() < 0.18,
        "IAVB": body.random() < 0.18,
        "LBBB": body.random() < 0.13,
        "RBBB": body.random() < 0.15,
        "STD": body.random() < 0.17,
    }
    passing = {
        "PVC": moment.random() < 0.20,
        "SB": moment.random() < 0.20,
        "STach": moment.random() < 0.18,
    }
    found = {name for name, has in (lasting | passing).items() if has and prone}
    if "AF" in found:
        found -= {"IAVB", "SB", "STach"}
    if "LBBB" in found:
        found -= {"RBBB", "STD"}
    if "SB" in found:
        found -= {"STach"}
    return found


def _draw_heart_rate(rng: np.random.Generator, found: set[str], severity: float) -> float:
    if "SB" in found:
        return float(62.0 - severity * rng.uniform(0, 18))
    if "STach" in found:
        return float(97.0 + severity * rng.uniform(0, 42))
    return float(rng.uniform(61, 130) if "AF" in found else rng.uniform(57, 104))


def _draw_rr_variation(rng: np.random.Generator, found: set[str], severity: float) -> float:
    if "AF" in found:
        return float(0.06 + severity * rng.uniform(0.02, 0.14))
    return float(rng.choice([0.02, 0.05, 0.12], p=[0.5, 0.35, 0.15]))


def _bundle(rng: np.random.Generator, found: set[str]) -> Literal["left", "right"]:
    if "LBBB" in found:
        return "left"
    return "right" if "RBBB" in found or rng.random() < 0.5 else "left"


def _beyond(
    rng: np.random.Generator,
    normal: tuple[float, float],
    abnormal: tuple[float, float],
    severity: float,
    ill: bool,
) -> float:
    if not ill:
        return float(rng.uniform(*normal))
    low, high = abnormal
    return float(low + severity * rng.uniform(0, high - low))


def _rotation(angles: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "3 3"]:
    cosine, sine = np.cos(angles), np.sin(angles)
    x = np.array([[1, 0, 0], [0, cosine[0], -sine[0]], [0, sine[0], cosine[0]]])
    y = np.array([[cosine[1], 0, sine[1]], [0, 1, 0], [-sine[1], 0, cosine[1]]])
    z = np.array([[cosine[2], -sine[2], 0], [sine[2], cosine[2], 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


def render(
    rhythm: Rhythm,
    rng: np.random.Generator,
    *,
    n_samples: int,
    sampling_rate_hz: int,
    noise: float,
) -> Float64[np.ndarray, "lead time"]:
    """Return twelve leads in millivolts."""
    dipole = np.zeros((3, n_samples))
    for beat_s, ectopic in _beat_times(rhythm, rng, n_samples / sampling_rate_hz):
        waves = _ectopic_waves(rng) if ectopic else _waves(rhythm, rng)
        _add_beat(dipole, waves, beat_s, sampling_rate_hz)
    if "AF" in rhythm.diagnoses:
        dipole += _fibrillation(rng, n_samples, sampling_rate_hz)
    dipole = rhythm.size * (rhythm.turn @ dipole)
    seen = _INDEPENDENT @ dipole
    seen += noise * _noise(rng, n_samples, sampling_rate_hz)
    return np.concatenate([LIMB_FROM_I_AND_II @ seen[:2], seen[2:]])


def _beat_times(
    rhythm: Rhythm, rng: np.random.Generator, seconds: float
) -> list[tuple[float, bool]]:
    mean_s = 60.0 / rhythm.heart_rate_bpm
    beats: list[tuple[float, bool]] = []
    time_s = float(rng.uniform(-_AFTER_S, mean_s - _AFTER_S))
    phase = rng.uniform(0, 2 * np.pi)
    while time_s < seconds + _BEFORE_S:
        # A record called PVC shows at least one: the first chance in the middle is taken.
        forced = rhythm.ectopic_share > 0 and not any(ectopic for _, ectopic in beats)
        late = time_s > 0.4 * seconds
        if rhythm.ectopic_share > rng.random() or (forced and late and time_s < 0.8 * seconds):
            beats.append((time_s - 0.35 * mean_s, True))
            time_s += 0.65 * mean_s
        else:
            beats.append((time_s, False))
        breath = 1 + 0.03 * np.sin(2 * np.pi * 0.25 * time_s + phase)
        step = breath * max(0.4, rng.normal(1.0, rhythm.rr_variation))
        time_s += max(0.26, mean_s * step)
    return beats


def _waves(rhythm: Rhythm, rng: np.random.Generator) -> list[Wave]:
    """Return the waves of one sinus or conducted beat, each a little unlike the last."""
    width, block = rhythm.qrs_width, rhythm.bundle_severity
    vary = rng.normal(1.0, 0.05, size=5)
    interval_s = 60.0 / rhythm.heart_rate_bpm
    t_s = 0.30 * np.sqrt(interval_s) + 0.03 * (width - 1)
    waves: list[Wave] = []
    if "AF" not in rhythm.diagnoses:
        waves.append((0.05 - rhythm.pr_s, 0.022, 0.07 * vary[0], 0.11 * vary[0], -0.01))
    left = block if rhythm.bundle == "left" else 0.0
    right = block if rhythm.bundle == "right" else 0.0
    strength = vary[1] * (1 - 0.25 * max(left, right))
    waves += [
        (-0.026, 0.010 * width, -0.16 * (1 - left) * vary[2], -0.05, -0.18 * (1 - left)),
        (0.0, 0.012 * width, 0.80 * strength, 0.62 * strength, 0.22 + 0.35 * left),
        (0.030 * width, 0.013 * width, -0.18 + 0.2 * left, -0.20, 0.34 * (1 - right)),
    ]
    if left:
        waves.append((0.055, 0.024, 0.65 * left, 0.05 * left, 0.60 * left))
    if right:
        waves.append((0.062, 0.020, -0.50 * right, 0.02, -0.42 * right))
    depression = rhythm.st_depression_mv * vary[3]
    waves.append((0.5 * t_s, 0.05, -depression, -0.6 * depression, 0.3 * depression))
    discordant = 1 - 1.9 * left - 0.9 * right
    t_mv = 0.26 * vary[4]
    waves += [
        (t_s, 0.048, t_mv * discordant, 0.75 * t_mv, -0.45 * t_mv * discordant),
        (t_s + 0.035, 0.026, 0.4 * t_mv * discordant, 0.3 * t_mv, -0.15 * t_mv * discordant),
    ]
    return waves


def _ectopic_waves(rng: np.random.Generator) -> list[Wave]:
    """Return the waves of a ventricular beat: wide, without P, with an opposite T."""
    left, inferior, posterior = rng.normal((-0.4, 0.7, 0.5), 0.35)
    return [
        (-0.01, 0.030, 0.6 * left, 0.6 * inferior, 0.6 * posterior),
        (0.045, 0.034, left, inferior, posterior),
        (0.34, 0.070, -0.45 * left, -0.45 * inferior, -0.45 * posterior),
    ]


def _add_beat(
    dipole: Float64[np.ndarray, "3 time"],
    waves: list[Wave],
    beat_s: float,
    sampling_rate_hz: int,
) -> None:
    first = max(0, int((beat_s - _BEFORE_S) * sampling_rate_hz))
    last = min(dipole.shape[1], int((beat_s + _AFTER_S) * sampling_rate_hz))
    if first >= last:
        return
    table = np.array(waves)
    time_s = np.arange(first, last) / sampling_rate_hz - beat_s
    shapes = np.exp(-0.5 * ((time_s - table[:, :1]) / table[:, 1:2]) ** 2)
    dipole[:, first:last] += table[:, 2:].T @ shapes


def _fibrillation(
    rng: np.random.Generator, n_samples: int, sampling_rate_hz: int
) -> Float64[np.ndarray, "3 time"]:
    time_s = np.arange(n_samples) / sampling_rate_hz
    waves = np.zeros((3, n_samples))
    for _ in range(3):
        frequency = rng.uniform(4.5, 8.5)
        drift = rng.uniform(0.5, 1.5) * np.sin(2 * np.pi * rng.uniform(0.1, 0.4) * time_s)
        direction = rng.normal(0, 0.015, size=(3, 1))
        waves += direction * np.sin(2 * np.pi * frequency * time_s + drift)
    return waves


def _noise(
    rng: np.random.Generator, n_samples: int, sampling_rate_hz: int
) -> Float64[np.ndarray, "channel time"]:
    """Return muscle noise, mains hum and baseline wander for the eight independent leads."""
    time_s = np.arange(n_samples) / sampling_rate_hz
    level = 0.03 * rng.lognormal(0.0, 0.6)
    noise = level * rng.standard_normal((8, n_samples), dtype=np.float32).astype(np.float64)
    hum = 0.006 * rng.lognormal(0.0, 0.7, size=(8, 1))
    noise += hum * np.sin(2 * np.pi * 50 * time_s + rng.uniform(0, 2 * np.pi))
    for _ in range(2):
        wander = 0.09 * rng.lognormal(0.0, 0.6) * rng.normal(size=(8, 1))
        frequency = rng.uniform(0.08, 0.45)
        noise += wander * np.sin(2 * np.pi * frequency * time_s + rng.uniform(0, 2 * np.pi))
    return noise
