"""The note of a study: its facts, its progress, and links to its rivals."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from ecgopt.analysis.arms import budget_trials, count_trials
from ecgopt.evidence.records import FinalEvidence, TrialEvidence
from ecgopt.report import words
from ecgopt.study_file.cells import StudyKey, size_in_words
from ecgopt.study_file.spec import StudySpec
from ecgopt.training.metrics import chosen_metrics

OWN_NOTES = "## Your notes"
"""Text that people write below this heading is kept; all above it is replaced."""


def study_note(
    spec: StudySpec,
    key: StudyKey,
    question: str,
    trials: Sequence[TrialEvidence],
    finals: Sequence[FinalEvidence],
) -> str:
    """Return the facts of one study as a Markdown table."""
    counts = count_trials(budget_trials(trials))
    facts = {
        "cell": _cell(key),
        "replicate": f"{key.replicate + 1} of {spec.budget.replicates}",
        "regime": words.regime_name(key.regime),
        "searched": _space(spec, key.regime),
        "budget used": (
            f"{counts.total - counts.unfinished} of {spec.budget.trials} trials: "
            f"{counts.complete} complete, {counts.pruned} pruned, {counts.diverged} diverged, "
            f"{counts.failed + counts.lost + counts.set_aside} failed; "
            f"{words.duration(sum(t.seconds for t in budget_trials(trials)))} of training"
        ),
        "sealed test": _finals(spec, finals),
    }
    rows = "\n".join(f"| {name} | {_cell_text(value)} |" for name, value in facts.items())
    return f"**{_cell_text(question)}**\n\n| | |\n|---|---|\n{rows}\n"


def rival_links(
    study_id: int, rivals: Mapping[int, StudyKey], trade_offs: Mapping[int, str]
) -> str:
    """Return links to the rivals, to each comparison with one, and to the trade-off studies.

    Args:
        study_id: Of the study whose note it is.
        rivals: The other arms of the same cell and replicate, by their ids.
        trade_offs: The upstream of each trade-off study with its trials, by their ids.
    """
    lines = [
        f"- rival: {_study_link(_arm(key), rival)}, "
        f"[compare](/dashboard/compare-studies?ids={study_id},{rival})"
        for rival, key in rivals.items()
    ]
    lines += [
        f"- score against time: {_study_link(f'all arms, upstream {upstream}', other)}"
        for other, upstream in trade_offs.items()
    ]
    return "\n".join(lines) + "\n"


def trade_off_note(studies: Mapping[int, StudyKey]) -> str:
    """Return the note of a trade-off study that is filled from `studies`, given by their ids."""
    links = "\n".join(f"- {_study_link(_arm(key), i)}" for i, key in studies.items())
    return (
        "Every complete trial of these studies, by validation macro AUROC and training seconds, "
        f"pre-training left out:\n\n{links}\n\n"
        "It is filled from them; no sampler ever asks it for a trial.\n"
    )


def _study_link(text: str, study_id: int) -> str:
    return f"[{_link_text(text)}](/dashboard/studies/{study_id})"


def _arm(key: StudyKey) -> str:
    regime = words.regime_name(key.regime)
    return f"{regime} from {key.upstream}" if key.upstream is not None else regime


def with_own_notes(written: str, stored: str) -> str:
    """Return the note as written now, followed by what people added to the stored one."""
    _, heading, own = stored.partition(OWN_NOTES)
    return f"{written}\n{OWN_NOTES}{own}" if heading else f"{written}\n{OWN_NOTES}\n"


def _cell(key: StudyKey) -> str:
    source = f"{key.upstream} → " if key.upstream is not None else ""
    # A number on the next line belongs to nothing.
    size = size_in_words(key.n_train).replace(" ", "\u00a0")
    return f"{source}{key.downstream}, {key.model.label}, {size}"


def _space(spec: StudySpec, regime: str) -> str:
    return str(spec.search_space(regime))


def _finals(spec: StudySpec, finals: Sequence[FinalEvidence]) -> str:
    tuned = [final.metrics for final in finals if final.role == "tuned"]
    if not tuned:
        return "not opened for this study's winner yet"
    means = [
        f"{metric.title} {words.score(fmean(scores[name] for scores in tuned))}"
        for name, metric in chosen_metrics(spec.metrics).items()
        if all(name in scores for scores in tuned)
    ]
    return f"{', '.join(means)}; mean of {len(tuned)} final fits"


def _cell_text(text: str) -> str:
    return re.sub(r"[ \t\r\n]+", " ", text.replace("|", "\\|")).strip()


def _link_text(text: str) -> str:
    return _cell_text(text).replace("[", "\\[").replace("]", "\\]")
