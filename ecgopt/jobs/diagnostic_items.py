"""Work items beside the comparison: audits of pruned trials, sanity checks, learning rates.

They are paid outside the fair budget, have no say in any winner, and store their results in
themselves: Optuna knows nothing of them, so no sampler sees them and a study holds its budget.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ecgopt.queue.items import Kind, NewItem
from ecgopt.study_file.cells import ALL_RECORDS, StudyKey
from ecgopt.study_file.spec import StudySpec

CHECKS: Final = ("shuffled_labels", "rerun")

DIAGNOSTIC_KINDS: Final[tuple[Kind, ...]] = ("rate", "check", "audit")

_RATE: Final = 1_900_000
"""Before the final fits, which wait for them."""
_CHECK: Final = 3_000_000
_AUDIT: Final = 3_100_000


def diagnostic_items(spec: StudySpec, keys: Sequence[StudyKey]) -> Iterator[NewItem]:
    """Yield the diagnostic work items that the study file asks for; all wait for the trials."""
    for key in keys:
        yield from _rate_items(spec, key)
        yield from _audit_items(spec, key)
    for key in _largest_of_each_regime(keys):
        yield from _check_items(spec, key)


def rate_group(key: StudyKey) -> str:
    """Return the group of a study's learning-rate items."""
    return f"rates/{key.path}"


def learning_rates(spec: StudySpec, key: StudyKey) -> list[float]:
    """Return the rates that the published recipe is tried with: mid-points of equal log steps.

    The recipe's own rate is not among them, because trial 0 has tried it.
    """
    n_rates = spec.diagnostics.learning_rates
    span = spec.search_space(key.regime).numeric("learning_rate")
    if span is None:
        return []  # a probe without gradient descent
    decades = math.log10(span.high / span.low)
    return [
        float(f"{span.low * 10 ** (decades * (index + 0.5) / n_rates):.3g}")
        for index in range(n_rates)
    ]


def _rate_items(spec: StudySpec, key: StudyKey) -> Iterator[NewItem]:
    for index, rate in enumerate(learning_rates(spec, key)):
        yield NewItem(
            kind="rate",
            key=f"rate/{key.path}/{index:02d}",
            group=rate_group(key),
            needs=key.trial_group,
            priority=_RATE + index,
            payload={"study": key.payload(), "index": index, "learning_rate": rate},
        )


def _audit_items(spec: StudySpec, key: StudyKey) -> Iterator[NewItem]:
    for rank in range(spec.diagnostics.audit):
        yield NewItem(
            kind="audit",
            key=f"audit/{key.path}/{rank:02d}",
            group=f"audit/{key.path}",
            needs=key.trial_group,
            priority=_AUDIT + rank,
            payload={"study": key.payload(), "rank": rank},
        )


def _check_items(spec: StudySpec, key: StudyKey) -> Iterator[NewItem]:
    for name in CHECKS:
        if getattr(spec.diagnostics, name):
            yield NewItem(
                kind="check",
                key=f"check/{key.path}/{name}",
                group=f"check/{key.path}",
                needs=key.trial_group,
                priority=_CHECK,
                payload={"study": key.payload(), "check": name},
            )


def _largest_of_each_regime(keys: Iterable[StudyKey]) -> list[StudyKey]:
    """Return each regime's study with the most records, where chance scatters least."""
    largest: dict[str, StudyKey] = {}
    for key in keys:
        if key.regime not in largest or _n_records(key) > _n_records(largest[key.regime]):
            largest[key.regime] = key
    return list(largest.values())


def _n_records(key: StudyKey) -> float:
    return math.inf if key.n_train == ALL_RECORDS else key.n_train
