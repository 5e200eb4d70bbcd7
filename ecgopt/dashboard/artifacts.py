"""Files of a study: curves, the winner's scores per label, and its ROC curves.

They are kept as Optuna's `FileSystemArtifactStore` keeps them: one file each, named by its id.
"""

import csv
import io
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from sklearn.metrics import roc_curve

from ecgopt.evidence.predictions import Predictions
from ecgopt.evidence.records import FinalEvidence, TrialEvidence
from ecgopt.files import write_whole
from ecgopt.report import words
from ecgopt.report.figures.drawing import ARM_COLOURS, FAINT, add_legend, draw

_NAMESPACE: Final = uuid.UUID("8f0a1c52-6d0f-4a36-9a2e-0c5f6f0e7b11")
_CURVES, _LABELS, _ROC = "curves.csv", "winner_per_label.csv", "winner_roc.svg"
_LINES: Final = ("-", "--", ":", "-.")
"""One colour returns after eight labels, with another line."""
FILE_NAMES: Final = (_CURVES, _LABELS, _ROC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFile:
    """One file of a study."""

    filename: str
    mimetype: str
    content: bytes


def artifact_id(study: str, filename: str) -> str:
    """Return the id of a study's file: always the same one, so writing it again replaces it."""
    return str(uuid.uuid5(_NAMESPACE, f"{study}/{filename}"))


def kept_files(folder: Path, studies: Iterable[str]) -> list[Path]:
    """Return the files of these studies, by their names in Optuna, that are in the store."""
    paths = [folder / artifact_id(study, name) for study in studies for name in FILE_NAMES]
    return [path for path in paths if path.exists()]


def keep(folder: Path, study: str, file: StudyFile) -> str:
    """Write the whole file into the store, or nothing, and return its id."""
    name = artifact_id(study, file.filename)
    write_whole(folder / name, file.content)
    return name


def study_files(
    study: str,
    trials: Iterable[TrialEvidence],
    finals: Sequence[FinalEvidence],
    predictions: Predictions | None,
) -> list[StudyFile]:
    """Return the files of a study; those of the winner once its final fits opened the test.

    Args:
        study: Its path.
        trials: Of the study.
        finals: Final fits of its winner.
        predictions: Sealed-test predictions of one of them, None where they are not at hand.
    """
    files = [StudyFile(filename=_CURVES, mimetype="text/csv", content=_curves(trials))]
    if finals:
        files.append(StudyFile(filename=_LABELS, mimetype="text/csv", content=_per_label(finals)))
    if predictions is not None:
        files.append(
            StudyFile(filename=_ROC, mimetype="image/svg+xml", content=_roc(study, predictions))
        )
    return files


def _curves(trials: Iterable[TrialEvidence]) -> bytes:
    rows = [
        (trial.number, trial.recipe, trial.state, step / 10, score)
        for trial in trials
        for step, score in sorted(trial.reports.items())
    ]
    return _csv(("trial", "recipe", "state", "share_of_schedule", "validation_macro_auroc"), rows)


def _per_label(finals: Sequence[FinalEvidence]) -> bytes:
    labels = list(dict.fromkeys(label for final in finals for label in final.thresholds))
    rows = [
        (
            label,
            final.seed_index,
            final.trial_number,
            final.per_label.get(label),
            final.thresholds[label],
        )
        for label in labels
        for final in finals
        if label in final.thresholds
    ]
    return _csv(("label", "seed_index", "trial", "test_auroc", "threshold"), rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue().encode()


def _roc(study: str, predictions: Predictions) -> bytes:
    def paint(panel: Axes) -> None:
        panel.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
        for index, label in enumerate(predictions.classes):
            truth = predictions.labels[:, index]
            if truth.all() or not truth.any():
                continue  # a label without both classes has no ROC curve
            false, true, _ = roc_curve(truth, predictions.scores[:, index])
            panel.plot(
                false,
                true,
                color=ARM_COLOURS[index % len(ARM_COLOURS)],
                linestyle=_LINES[index // len(ARM_COLOURS) % len(_LINES)],
                linewidth=1.2,
                label=words.with_minus(label),
            )
        panel.set_xlabel("1 − specificity, first final fit of the winner")
        panel.set_ylabel("sensitivity")
        add_legend(panel)

    alt = "ROC curves of the winner on the sealed test, one per label."
    return draw(name="winner-roc", title=study, alt=alt, paint=paint).svg.encode()
