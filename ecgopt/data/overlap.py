"""Label overlap: which classes of a downstream set an upstream set has already taught."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ecgopt.data.csv_tables import table_rows
from ecgopt.data.label_classes import LabelSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOverlap:
    """How the classes of two label sets relate, by the findings they stand for."""

    same: tuple[tuple[str, str], ...]
    """Pairs (upstream class, downstream class) that stand for the same findings."""
    related: tuple[tuple[str, str], ...]
    """Pairs that share some findings, such as MI and inferior MI."""
    only_downstream: tuple[str, ...]
    """Downstream classes that share no finding with any upstream class."""

    @property
    def share(self) -> float:
        """Share of the downstream classes that the upstream set has, wholly or in part."""
        covered = {downstream for _, downstream in self.same + self.related}
        return len(covered) / (len(covered) + len(self.only_downstream))


def label_overlap(upstream: LabelSet, downstream: LabelSet) -> LabelOverlap:
    """Return which classes the two label sets have in common.

    Codes of different systems (SNOMED CT, SCP-ECG, AHA, CPSC, CODE) are compared through the
    findings in `tables/concepts.csv`; a code that is not there stands for itself.
    """
    taught = {name: _findings(upstream, name) for name in upstream.classes}
    asked = {name: _findings(downstream, name) for name in downstream.classes}
    pairs = [
        (source, target)
        for target in downstream.classes
        for source in upstream.classes
        if taught[source] & asked[target]
    ]
    same = tuple(pair for pair in pairs if taught[pair[0]] == asked[pair[1]])
    covered = {target for _, target in pairs}
    return LabelOverlap(
        same=same,
        related=tuple(pair for pair in pairs if pair not in same),
        only_downstream=tuple(name for name in downstream.classes if name not in covered),
    )


def _findings(labels: LabelSet, name: str) -> frozenset[str]:
    return frozenset(finding_of(code) for code in labels.codes_of(name))


def finding_of(code: str) -> str:
    """Return the short name of the finding that `code` states in any system, else `code`."""
    return _concept_of_code().get(code, code)


@cache
def _concept_of_code() -> Mapping[str, str]:
    return {
        code: row["concept"]
        for row in table_rows("concepts.csv")
        for code in row["codes"].split("|")
    }
