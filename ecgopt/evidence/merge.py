"""Joining the evidence of one comparison from clusters that could not share a database."""

import shutil
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

from ecgopt.errors import UserError
from ecgopt.evidence.bundle import Bundle, prediction_files
from ecgopt.evidence.predictions import read_predictions
from ecgopt.evidence.records import Comparison, Evidence, FinalEvidence, StudyEvidence

T = TypeVar("T")

MAY_DIFFER = ("seed", "workers", "upstreams", "downstreams", "train_sizes", "models", "data")
"""Top-level tables of the study file that parts of one comparison may differ in: which cells they
hold, where their data lie, and the seed of their replicates."""


def merge_evidence(parts: Sequence[Evidence]) -> Evidence:
    """Return the union of `parts`.

    Parts of equal seed hold different studies, or the same ones word for word. Parts of another
    seed drew their own subsets, splits and searches, so their replicates are numbered on.

    Raises:
        UserError: the parts do not belong to one comparison, or contradict each other.
    """
    if len(parts) < 2:
        raise UserError(f"merging needs at least two bundles, but got {len(parts)}")
    for other in parts[1:]:
        _check_same(parts[0].comparison, other.comparison)
    numbered = _number_replicates(parts)
    return Evidence(
        comparison=_merge_comparisons([part.comparison for part in numbered]),
        studies=_union("study", (p.studies for p in numbered), lambda study: study.study),
        finals=_union(
            "final fit",
            (p.finals for p in numbered),
            lambda final: (final.study, final.role, final.seed_index),
        ),
        pretrainings=_union(
            "pre-training",
            (p.pretrainings for p in numbered),
            lambda found: (found.key, found.sha256),
        ),
        openings=tuple(dict.fromkeys(o for part in numbered for o in part.openings)),
        set_aside=_distinct(item for part in numbered for item in part.set_aside),
        checks=_distinct(check for part in numbered for check in part.checks),
    )


def _distinct(items: Iterable[T]) -> tuple[T, ...]:
    kept: list[T] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return tuple(kept)


def _check_same(first: Comparison, other: Comparison) -> None:
    rules: Mapping[str, Callable[[Comparison], Any]] = {
        "name": lambda c: c.name,
        "margin": lambda c: c.margin,
        "confidence": lambda c: c.confidence,
        "metric of the verdict": lambda c: c.metric,
        "labels left out": lambda c: c.least_positives,
        "most replicates": lambda c: c.most_replicates,
        "regimes": lambda c: c.regimes,
        "pairs": lambda c: c.pairs,
        "budget": lambda c: (c.budget.trials, c.budget.final_seeds),
        "search space": lambda c: c.space,
        "study file": _essentials,
    }
    for name, read in rules.items():
        if read(first) != read(other):
            raise UserError(
                f"bundles must belong to one comparison, but their {name} differs: "
                f"{read(first)!r} and {read(other)!r}"[:600]
            )


def _essentials(comparison: Comparison) -> dict[str, Any]:
    spec = {name: part for name, part in comparison.spec.items() if name not in MAY_DIFFER}
    budget = spec.get("budget")
    if isinstance(budget, Mapping):
        spec["budget"] = {name: part for name, part in budget.items() if name != "replicates"}
    return spec


def _number_replicates(parts: Sequence[Evidence]) -> list[Evidence]:
    """Return the parts with replicates of a new seed numbered after those of earlier seeds."""
    offsets: dict[object, int] = {}
    next_free = 0
    numbered = []
    for part in parts:
        seed = part.comparison.spec.get("seed")
        if seed not in offsets:
            offsets[seed] = next_free
            of_seed = [p for p in parts if p.comparison.spec.get("seed") == seed]
            next_free += 1 + max((s.replicate for p in of_seed for s in p.studies), default=-1)
        numbered.append(_renumber(part, offsets[seed]))
    return numbered


def _renumber(part: Evidence, offset: int) -> Evidence:
    if offset == 0:
        return part

    def rename(study: str) -> str:
        return f"{study}+{offset}"

    studies = tuple(_shift(study, offset, rename) for study in part.studies)
    finals = tuple(_shift(final, offset, rename) for final in part.finals)
    openings = tuple(replace(opening, study=rename(opening.study)) for opening in part.openings)
    checks = tuple(replace(check, study=rename(check.study)) for check in part.checks)
    return replace(part, studies=studies, finals=finals, openings=openings, checks=checks)


Placed = TypeVar("Placed", StudyEvidence, FinalEvidence)


def _shift(item: Placed, offset: int, rename: Callable[[str], str]) -> Placed:
    return replace(item, study=rename(item.study), replicate=item.replicate + offset)


def _union(what: str, groups: Iterable[Sequence[T]], key: Callable[[T], Hashable]) -> tuple[T, ...]:
    found: dict[Hashable, T] = {}
    for group in groups:
        for item in group:
            known = found.setdefault(key(item), item)
            if known != item:
                raise UserError(
                    f"two bundles hold {what} {key(item)!r} with different content: they were run "
                    "twice under one seed; export the finished one only, or give the second "
                    "cluster its own `seed`"
                )
    return tuple(found.values())


def _merge_comparisons(comparisons: Sequence[Comparison]) -> Comparison:
    """Return the rules of all parts together; another seed is a later look at more replicates."""
    first = comparisons[0]
    planned: dict[object, int] = {}
    for each in comparisons:
        seed = each.spec.get("seed")
        planned[seed] = max(planned.get(seed, 0), each.budget.replicates)
    totals = tuple(accumulate(planned.values()))
    cells = tuple(dict.fromkeys(cell for each in comparisons for cell in each.cells))
    replicates: tuple[int, ...] = ()
    if any(each.replicates for each in comparisons):
        if len(planned) > 1:
            raise UserError(
                "bundles of different seeds have replicates of every cell to join, but in one of "
                "them cells were decided and stopped: report each by itself"
            )
        of_cell = {cell: each.replicates_of(cell) for each in comparisons for cell in each.cells}
        replicates = tuple(of_cell[cell] for cell in cells)
    return replace(
        first,
        cells=cells,
        replicates=replicates,
        budget=replace(first.budget, replicates=totals[-1]),
        looks=(*first.looks, *totals[:-1]),
        extensions=tuple(dict.fromkeys(text for each in comparisons for text in each.extensions)),
        provenance={
            "merged_from": [dict(each.provenance) for each in comparisons],
            "seeds": list(dict.fromkeys(each.spec.get("seed") for each in comparisons)),
        },
    )


def gather(bundles: Sequence[Bundle], workspace: Path) -> Evidence:
    """Copy the bundles' predictions into `workspace` and return their merged evidence.

    Files are named by their hash, so that equal ones meet and different ones never clash.

    Raises:
        UserError: the bundles do not belong to one comparison, or contradict each other.
        DataError: a file is missing or was altered.
    """
    for bundle in bundles:
        for relative, sha256 in prediction_files(bundle.evidence).items():
            read_predictions(bundle.root / relative, sha256)
            copy = workspace / _address(relative, sha256)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.root / relative, copy)
    return merge_evidence([_by_content(bundle.evidence) for bundle in bundles])


def _address(path: str, sha256: str | None) -> str:
    return f"predictions/{sha256}.npz" if sha256 else path


def _by_content(part: Evidence) -> Evidence:
    finals = tuple(
        replace(
            final,
            predictions=final.predictions and _address(final.predictions, final.predictions_sha256),
            validation_predictions=final.validation_predictions
            and _address(final.validation_predictions, final.validation_predictions_sha256),
        )
        for final in part.finals
    )
    return replace(part, finals=finals)
