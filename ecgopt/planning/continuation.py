"""Which cells need another replicate in a study that runs until it is decided."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecgopt.analysis.compare import compare_cells
from ecgopt.analysis.readings import Readings
from ecgopt.analysis.verdict import Decision
from ecgopt.evidence.records import Evidence
from ecgopt.study_file.cells import expand_cells, replicates_of
from ecgopt.study_file.spec import StudySpec


@dataclass(frozen=True, slots=True, kw_only=True)
class NextLook:
    """What is needed to look again."""

    replicates: int
    """Of each cell that is not stopped."""
    stopped: Mapping[str, int]
    """Replicates of the cells that are decided, by the cell's path."""


def next_look(spec: StudySpec, evidence: Evidence, workspace: Path) -> NextLook | None:
    """Look at the results and return what another look needs; None where there is none.

    There is none where the study file does not ask for it, every cell is decided or has its most
    replicates, or planned work was given up, which must be repaired first. To look twice at the
    same replicates gives the same answer, so a look is taken only when the extension is recorded.

    Args:
        spec: The comparison, with its extensions.
        evidence: Of all that is planned so far.
        workspace: Folder that the paths of the predictions are relative to.

    Raises:
        DataError: a file of predictions is missing or was altered.
    """
    most = spec.verdict.most
    if spec.verdict.until != "decided" or most is None or spec.budget.replicates >= most:
        return None
    readings = Readings(workspace, evidence.comparison)
    found = compare_cells(readings.without_rare_labels(evidence), readings.influence)
    if any(each.decision is Decision.INTERIM for each in found):
        return None
    cells = expand_cells(spec)
    stopped = {
        cell.path: replicates_of(spec, cell)
        for cell, key in zip(cells, evidence.comparison.cells, strict=True)
        if all(each.judgement.decided_at for each in found if each.cell == key)
    }
    if len(stopped) == len(cells):
        return None
    return NextLook(replicates=spec.budget.replicates + 1, stopped=stopped)
