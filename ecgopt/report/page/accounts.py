"""The page's last part: what was spent, checked, opened, and where it all comes from."""

import json
from collections import Counter

from ecgopt.analysis.arms import TrialCounts
from ecgopt.analysis.conclude import ArmConclusion, Conclusions
from ecgopt.analysis.findings import LARGE, SMALL
from ecgopt.evidence.records import Opening
from ecgopt.report import words
from ecgopt.report.figures.pruning import draw_agreement, draw_audit
from ecgopt.report.page.html import PageTable, Section
from ecgopt.report.page.provenance import provenance_section

OUTCOMES = tuple(TrialCounts.__dataclass_fields__)
ALWAYS_SHOWN = ("complete", "pruned")
"""Outcomes that have a column even where no trial ended so."""
MOST_ROWS_SHOWN = 16
NEW, STORED, BROKE_OFF = "new", "stored", "broke off"


def account_sections(conclusions: Conclusions) -> list[Section]:
    """Return findings, trials, gates, openings and provenance."""
    build = (
        _findings(conclusions),
        _trials(conclusions),
        _gates(conclusions),
        _openings(conclusions),
        provenance_section(conclusions),
    )
    return [section for section in build if section is not None]


def _findings(conclusions: Conclusions) -> Section | None:
    if not conclusions.findings:
        return None
    return Section(
        name="findings",
        title="The published study's findings",
        paragraphs=(
            f"Findings of {words.PAPER}, each judged only where this comparison has what it needs: "
            f"a small target has up to {SMALL:,} labelled records, a large one at least "
            f"{LARGE:,}.",
        ),
        tables=(
            PageTable(
                title="",
                columns=("finding", "", "outcome", "grounds"),
                rows=tuple(
                    (finding.name, finding.text, finding.outcome, words.with_minus(finding.grounds))
                    for finding in conclusions.findings
                ),
                text_columns=frozenset({0, 1, 2, 3}),
            ),
        ),
    )


def _trials(conclusions: Conclusions) -> Section:
    arms = [
        (words.cell_label(cell.cell, conclusions), words.regime_name(regime), arm)
        for cell in conclusions.cells
        for regime, arm in cell.arms.items()
    ]
    outcomes = [
        name
        for name in OUTCOMES
        if name in ALWAYS_SHOWN or any(getattr(arm.counts, name) for _, _, arm in arms)
    ]
    counts = tuple(
        (
            label,
            regime,
            *(str(getattr(arm.counts, name)) for name in outcomes),
            str(sum(study.workers_lost for study in arm.arm.studies)),
        )
        for label, regime, arm in arms
    )
    ledger = tuple((label, regime, *_ledger(arm)) for label, regime, arm in arms)
    pruning = tuple((label, regime, *_pruning(arm)) for label, regime, arm in arms)
    is_folded = len(arms) > MOST_ROWS_SHOWN
    drawings = (draw_agreement(conclusions.cells), draw_audit(conclusions.cells))
    set_aside = tuple(
        json.dumps(dict(item), default=str) for item in conclusions.evidence.set_aside
    )
    return Section(
        name="trials",
        title="Trials, pruning and compute",
        paragraphs=(
            "Pruned and diverged trials are paid from the budget; winners come from complete "
            "trials only. A trial whose worker was lost continues on another, from its last epoch. "
            "Outside the budget are audits, learning rates, sanity checks and final fits of "
            "recipes other than the winner's. Pre-training is counted in full, though many "
            "targets may share it.",
        ),
        points=tuple(f"Set aside: {item}" for item in set_aside),
        tables=(
            PageTable(
                title="How the budget's trials ended",
                columns=(
                    "cell",
                    "arm",
                    *(name.replace("_", " ") for name in outcomes),
                    "workers lost",
                ),
                rows=counts,
                text_columns=frozenset({0, 1}),
                is_folded=is_folded,
            ),
            PageTable(
                title="Compute: time; for tuning also epochs and thousands of samples",
                columns=(
                    "cell",
                    "arm",
                    "tuning",
                    "epochs",
                    "samples, k",
                    "final fits",
                    "outside the budget",
                    "pre-training",
                ),
                rows=ledger,
                text_columns=frozenset({0, 1}),
                is_folded=is_folded,
            ),
            PageTable(
                title="Pruning, and pruned trials that an audit trained to their end",
                columns=("cell", "arm", "pruned", "epochs saved", "audited", "false prunes"),
                rows=pruning,
                text_columns=frozenset({0, 1}),
                is_folded=is_folded,
            ),
        ),
        drawings=tuple(drawing for drawing in drawings if drawing is not None),
    )


def _ledger(arm: ArmConclusion) -> tuple[str, ...]:
    cost = arm.cost
    tuning, *others = (
        words.duration(line.seconds) if line.epochs else words.MISSING
        for line in (cost.tuning, cost.finals, cost.beside_budget, cost.pretraining)
    )
    return (tuning, f"{cost.tuning.epochs:,}", f"{cost.tuning.samples / 1000:,.0f}", *others)


def _pruning(arm: ArmConclusion) -> tuple[str, ...]:
    audit = arm.pruning
    planned = audit.epochs_trained + audit.epochs_saved
    return (
        str(audit.n_pruned),
        f"{audit.epochs_saved:,} of {planned:,}",
        str(len(audit.audited)) if audit.audited else "none",
        str(audit.n_false) if audit.audited else words.MISSING,
    )


def _gates(conclusions: Conclusions) -> Section:
    return Section(
        name="gates",
        title="Sanity gates",
        tables=(
            PageTable(
                title="",
                columns=("gate", "state", "finding"),
                rows=tuple((gate.name, gate.state, gate.finding) for gate in conclusions.gates),
                text_columns=frozenset({0, 1, 2}),
            ),
        ),
    )


def _openings(conclusions: Conclusions) -> Section:
    openings = sorted(conclusions.evidence.openings, key=lambda opening: opening.opened_at)
    kinds = Counter(_result_of(opening) for opening in openings)
    broken = (
        f" {kinds[BROKE_OFF]} broke off with their worker before a score was stored."
        if kinds[BROKE_OFF]
        else ""
    )
    return Section(
        name="sealed-test",
        title="Sealed test",
        paragraphs=(
            f"{kinds[NEW]} final networks were scored on the sealed test, each exactly once; "
            f"{kinds[STORED]} further requests returned the stored result.{broken} No search has "
            "access to it.",
        ),
        tables=(
            PageTable(
                title="Openings",
                columns=("opened", "study", "recipe", "seed", "worker", "result"),
                rows=tuple(
                    (
                        opening.opened_at,
                        opening.study,
                        opening.role,
                        str(opening.seed_index),
                        opening.worker,
                        _result_of(opening),
                    )
                    for opening in openings
                ),
                text_columns=frozenset({0, 1, 2, 4, 5}),
                is_folded=True,
            ),
        )
        if openings
        else (),
    )


def _result_of(opening: Opening) -> str:
    if opening.is_interrupted:
        return BROKE_OFF
    return STORED if opening.reused else NEW
