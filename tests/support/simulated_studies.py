"""Simulated comparisons whose truth is known, judged by the real pipeline.

Scores of a label's positives are shifted; the rest is noise that a patient shares with every run,
with the runs of one arm, or with nobody. With shift ~ N(m, t^2) and unit noise, the expected AUROC
over runs and patients is Phi(m / sqrt(2 + t^2)), so the true difference is exact.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ecgopt.analysis.influence import PatientInfluence, influence_of_patients
from ecgopt.analysis.interval import PairedDifference, estimate_mean
from ecgopt.analysis.verdict import Rules, Verdict, decide_together
from ecgopt.evidence.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What generates the simulated studies."""

    difference: float = 0.0
    base: float = 0.85
    n_replicates: int = 5
    n_seeds: int = 2
    n_patients: int = 300
    prevalences: tuple[float, ...] = (0.4, 0.25)
    replicate_spread: float = 0.10
    """Of the shift between searches, in standard deviations of the scores."""
    seed_spread: float = 0.05
    shared: float = 0.7
    """Share of the noise variance that a patient has in all runs."""
    of_arm: float = 0.1
    """Share that a patient has in all runs of one arm."""
    margin: float = 0.01
    confidence: float = 0.95


def simulate(truth: Truth, random: np.random.Generator) -> Verdict:
    """Return what the report's rule says of one simulated cell."""
    labels = random.random((truth.n_patients, len(truth.prevalences))) < truth.prevalences
    labels[0], labels[1] = True, False
    names = tuple(f"p{index:05d}" for index in range(truth.n_patients))
    common = math.sqrt(truth.shared) * random.normal(size=labels.shape)
    spread = truth.replicate_spread**2 + truth.seed_spread**2
    runs: list[dict[tuple[int, int], PatientInfluence]] = []
    for auroc in (truth.base, truth.base + truth.difference):
        mean = stats.norm.ppf(auroc) * math.sqrt(2 + spread)
        arm = common + math.sqrt(truth.of_arm) * random.normal(size=labels.shape)
        found = {}
        for replicate in range(truth.n_replicates):
            shift = mean + truth.replicate_spread * random.normal()
            for seed in range(truth.n_seeds):
                own = math.sqrt(1 - truth.shared - truth.of_arm) * random.normal(size=labels.shape)
                scores = arm + own + (shift + truth.seed_spread * random.normal()) * labels
                found[replicate, seed] = influence_of_patients(
                    Predictions(
                        labels=labels, scores=scores, records=names, patients=names, classes=()
                    )
                )
        runs.append(found)
    reference, arm_runs = runs
    differences = {
        pair: PairedDifference(
            value=arm_runs[pair].score - reference[pair].score,
            influence=PatientInfluence(
                score=0.0,
                patients=names,
                values=arm_runs[pair].values - reference[pair].values,
            ),
        )
        for pair in reference
    }
    rules = Rules.of_one_look(margin=truth.margin, confidence=truth.confidence)
    (found,) = decide_together([estimate_mean(differences)], rules)
    return found


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What many simulated studies showed."""

    verdicts: Counter
    coverage: float
    mean_width: float
    n_studies: int

    def share(self, *verdicts: str) -> float:
        return sum(self.verdicts[verdict] for verdict in verdicts) / self.n_studies


def calibrate(truth: Truth, n_studies: int, seed: int) -> Calibration:
    """Return verdicts and coverage over `n_studies` simulated cells."""
    random = np.random.default_rng(seed)
    verdicts, covered, widths = Counter(), 0, []
    for _ in range(n_studies):
        found = simulate(truth, random)
        interval = found.interval
        verdicts[found.decision] += 1
        covered += interval.low <= truth.difference <= interval.high
        widths.append(interval.high - interval.low)
    return Calibration(
        verdicts=verdicts,
        coverage=covered / n_studies,
        mean_width=float(np.mean(widths)),
        n_studies=n_studies,
    )
