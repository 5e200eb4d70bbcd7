"""What evidence must agree on with itself: records, patients, seeds, ranges, rules and counts.

This finds accidents, such as a wrong merge, and careless forgeries. Records that were left out of
every final fit, or labels that were changed in every one, agree with each other and are not found.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from ecgopt.evidence.predictions import Predictions, read_predictions
from ecgopt.evidence.records import (
    Comparison,
    Evidence,
    FinalEvidence,
    ParameterValue,
    StudyEvidence,
)
from ecgopt.evidence.selection import ELIGIBLE_RECIPES
from ecgopt.seeds import seed_for

_ROUNDING = 1e-9
_RETRAINED = 0.005
"""Between a report and the score of its epoch, which a second worker may have trained again."""
_PLACE = ("regime", "upstream", "downstream", "model", "n_train", "replicate")


def contradictions(evidence: Evidence, root: Path) -> dict[str, list[str]]:
    """Return by name of each check what contradicts; an empty list where nothing does.

    Args:
        evidence: Of one comparison.
        root: Folder that its paths are relative to.

    Raises:
        DataError: a file of predictions is missing or was altered.
    """
    return {
        "rules are those of the study file": list(_rules(evidence.comparison)),
        "nothing is there twice": list(_twice(evidence)),
        "final fits belong to their studies": list(_places(evidence)),
        "studies are named after their arms and replicates": list(_names(evidence)),
        "seeds follow from the study file": list(_seeds(evidence)),
        "parameters lie within the ranges": list(_ranges(evidence)),
        "trials are what they say": list(_trials(evidence)),
        "arms share their subsets and splits": list(_splits(evidence)),
        "records have one truth and one patient": list(_records(evidence, root)),
    }


def _rules(comparison: Comparison) -> Iterator[str]:
    spec = comparison.spec
    verdict, budget = spec.get("verdict", {}), spec.get("budget", {})
    stated: list[tuple[str, object, object]] = [
        ("name", spec.get("name"), comparison.name),
        ("margin", verdict.get("margin"), comparison.margin),
        ("confidence", verdict.get("confidence"), comparison.confidence),
        ("metric", verdict.get("metric"), comparison.metric),
        ("least_positives", verdict.get("least_positives"), comparison.least_positives),
        ("final_seeds", budget.get("final_seeds"), comparison.budget.final_seeds),
    ]
    if verdict and verdict.get("most") != comparison.most_replicates:
        yield f"most is {comparison.most_replicates}, but {verdict.get('most')} in the study file"
    if "regimes" in spec:
        stated.append(("regimes", list(spec["regimes"]), list(comparison.regimes)))
    if "pairs" in verdict:
        stated.append(
            (
                "pairs",
                [list(pair) for pair in verdict["pairs"]],
                [list(pair) for pair in comparison.pairs],
            )
        )
    if "arms" in spec:
        yield from _arms(comparison)
    for group, ranges in spec.get("space", {}).items():
        stated.append((f"space.{group}", ranges, comparison.space.get(group)))
    if not comparison.extensions:
        stated.append(("trials", budget.get("trials"), comparison.budget.trials))
        if "merged_from" not in comparison.provenance:
            stated.append(("replicates", budget.get("replicates"), comparison.budget.replicates))
    yield from (
        f"{name} is {found!r}, but {wanted!r} in the study file"
        for name, wanted, found in stated
        if wanted is not None and wanted != found
    )


def _arms(comparison: Comparison) -> Iterator[str]:
    stated, found = comparison.spec["arms"], comparison.arms
    for name in sorted({*stated, *found}):
        if name not in stated or name not in found or asdict(found[name]) != stated[name]:
            yield (f"the arm {name} is {found.get(name)}, but {stated.get(name)} in the study file")


def _twice(evidence: Evidence) -> Iterator[str]:
    keys: list[tuple[str, Iterable[Hashable]]] = [
        ("study", (study.study for study in evidence.studies)),
        ("final fit", ((f.study, f.role, f.seed_index) for f in evidence.finals)),
        ("cell", evidence.comparison.cells),
        (
            "trial",
            (
                (study.study, trial.number)
                for study in evidence.studies
                for trial in study.trials
                if trial.recipe in ELIGIBLE_RECIPES
            ),
        ),
        (
            "file of test predictions",
            ((f.study, f.role, f.predictions_sha256) for f in evidence.finals if f.predictions),
        ),
    ]
    for what, found in keys:
        for key, count in Counter(found).items():
            if count > 1:
                yield f"{what} {key} is there {count} times"


def _places(evidence: Evidence) -> Iterator[str]:
    studies = {study.study: study for study in evidence.studies}
    trained = {(found.upstream, found.model) for found in evidence.pretrainings}
    for final in evidence.finals:
        study = studies.get(final.study)
        if study is None:
            yield f"{_name(final)}: there is no such study"
        elif any(getattr(study, part) != getattr(final, part) for part in _PLACE):
            yield f"{_name(final)}: its place differs from its study's"
        if final.upstream is not None and (final.upstream, final.model) not in trained:
            yield f"{_name(final)}: starts from {final.upstream}, of which there is no pre-training"
        if final.seed_index >= evidence.comparison.budget.final_seeds:
            yield f"{_name(final)}: a seed beyond the planned ones"


def _names(evidence: Evidence) -> Iterator[str]:
    for study in evidence.studies:
        if study.regime not in study.study.split("+")[0].split("/"):
            yield f"{study.study}: its name is not that of an arm {study.regime!r}"
        if study.replicate >= evidence.comparison.budget.replicates:
            yield f"{study.study}: a replicate beyond the planned ones"


def _seeds(evidence: Evidence) -> Iterator[str]:
    comparison = evidence.comparison
    seeds = comparison.provenance.get("seeds") or [comparison.spec.get("seed")]
    known = [int(seed) for seed in seeds if seed is not None]
    for final in evidence.finals:
        place = re.search(r"/(all|n\d+)/r(\d+)/", final.study)
        if place is None or not known:
            continue
        n_train = 0 if place[1] == "all" else final.n_train
        expected = {
            seed_for(seed, "final", final.downstream, n_train, int(place[2]), final.seed_index)
            for seed in known
        }
        if final.seed not in expected:
            yield f"{_name(final)}: seed {final.seed} does not follow from the study file's"


def _ranges(evidence: Evidence) -> Iterator[str]:
    comparison = evidence.comparison
    for study in evidence.studies:
        for trial in study.trials:
            if trial.recipe in ELIGIBLE_RECIPES:
                where = f"{study.study} trial {trial.number}"
                yield from _outside(where, trial.parameters, comparison, study.regime)
    for final in evidence.finals:
        if final.role != "learning_rate":
            yield from _outside(_name(final), final.parameters, comparison, final.regime)


def _outside(
    where: str,
    parameters: Mapping[str, ParameterValue],
    comparison: Comparison,
    regime: str,
) -> Iterator[str]:
    ranges = comparison.ranges_of(regime)
    for name, value in parameters.items():
        span = ranges.get(name)
        if span is None:
            yield f"{where}: {name} is not searched in the arm {regime}"
        elif span.get("choices") is not None:
            if value not in span["choices"]:
                yield f"{where}: {name} = {value!r} is none of {span['choices']}"
        elif isinstance(value, str) or not (
            span["low"] * (1 - _ROUNDING) <= value <= span["high"] * (1 + _ROUNDING)
        ):
            yield f"{where}: {name} = {value} is outside {span['low']}..{span['high']}"


def _trials(evidence: Evidence) -> Iterator[str]:
    for study in evidence.studies:
        for trial in study.trials:
            last = trial.reports.get(10)
            is_scored = trial.state == "complete" and trial.recipe in ELIGIBLE_RECIPES
            if is_scored and last is not None and not _is_near(last, trial.value):
                yield f"{study.study} trial {trial.number}: its score is not its last report"


def _is_near(report: float, score: float | None) -> bool:
    return score is not None and abs(report - score) <= _RETRAINED


def _splits(evidence: Evidence) -> Iterator[str]:
    first: dict[tuple[object, ...], StudyEvidence] = {}
    for study in evidence.studies:
        # Merged parts of other seeds have replicates of their own.
        other = first.setdefault((study.downstream, study.n_train, study.replicate), study)
        if study.split.get("fingerprint") != other.split.get("fingerprint"):
            yield f"{study.study} and {other.study} are one replicate, but split differently"


def _records(evidence: Evidence, root: Path) -> Iterator[str]:
    """Compare all predictions of one downstream with each other, file by file."""
    truth: dict[tuple[str, str], tuple[str, bytes]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    drawn: dict[tuple[str, ...], frozenset[str]] = {}
    groups: dict[tuple[str, str, str], str] = {}
    for final in evidence.finals:
        patients: dict[str, set[str]] = {}
        # Replicates of another seed, in merged parts, seal other patients.
        seal = final.study.partition("+")[2]
        for part, path, sha256, draw in (
            ("test", final.predictions, final.predictions_sha256, (final.downstream, seal)),
            (
                "validation",
                final.validation_predictions,
                final.validation_predictions_sha256,
                (final.study,),
            ),
        ):
            if path is None:
                continue
            found = read_predictions(root / path, sha256)
            where = f"{_name(final)}, {part}"
            records = frozenset(found.records)
            patients[part] = set(found.patients)
            if len(records) < len(found.records):
                yield f"{where}: a record is there twice"
            if drawn.setdefault((part, *draw), records) != records:
                yield f"{where}: other records than in other fits"
            if classes.setdefault(final.downstream, found.classes) != found.classes:
                yield f"{where}: other labels than in other fits"
                continue
            yield from _truths(where, final.downstream, found, truth)
            yield from _subgroups(where, final.downstream, found, groups)
        if common := patients.get("test", set()) & patients.get("validation", set()):
            yield f"{_name(final)}: patient {min(common)} is in validation and in the test"


def _truths(
    where: str,
    downstream: str,
    found: Predictions,
    truth: dict[tuple[str, str], tuple[str, bytes]],
) -> Iterator[str]:
    for record, patient, labels in zip(found.records, found.patients, found.labels, strict=True):
        stated = (patient, labels.tobytes())
        if truth.setdefault((downstream, record), stated) != stated:
            yield f"{where}: record {record} has another truth or patient elsewhere"


def _subgroups(
    where: str, downstream: str, found: Predictions, known: dict[tuple[str, str, str], str]
) -> Iterator[str]:
    for name, groups in found.subgroups.items():
        for record, group in zip(found.records, groups, strict=True):
            if known.setdefault((downstream, name, record), group) != group:
                yield f"{where}: record {record} has another {name} elsewhere"


def _name(final: FinalEvidence) -> str:
    return f"{final.study} {final.role} seed {final.seed_index}"
