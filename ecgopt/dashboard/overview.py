"""The dashboard's first page: every comparison by cell and arm; and the trade-off of its arms."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from statistics import fmean
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, quote

from ecgopt.comparison.evidence import load_evidence
from ecgopt.comparison.progress import Progress, StudyProgress, read_progress
from ecgopt.dashboard.access import READING, Request
from ecgopt.dashboard.page_state import PageState, read_page_state
from ecgopt.database.comparisons import comparison_names
from ecgopt.database.engine import Database
from ecgopt.database.optuna.studies import COORDINATES
from ecgopt.evidence.records import TrialEvidence
from ecgopt.jobs.leased_trial import trials_of
from ecgopt.report import words
from ecgopt.study_file.cells import StudyKey, network_of_cell, size_in_words
from ecgopt.study_file.spec import StudySpec
from ecgopt.workspace import Workspace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

OBJECTIVES: Mapping[str, tuple[str, Callable[[TrialEvidence], float]]] = {
    "seconds": ("training time, s", lambda trial: trial.seconds),
    "samples": ("training samples", lambda trial: float(trial.n_samples)),
    "epochs": ("epochs", lambda trial: float(trial.n_epochs)),
}
"""What a trial's score can be set against: its axis, and its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm of one cell, over its replicates."""

    cell: str
    arm: str
    colour: int
    """Position of the arm's colour, as in the report."""
    state: str
    used: int
    planned: int
    best: str
    """Mean over replicates of the best validation score."""
    studies: tuple[tuple[str, int], ...]
    """Label and id of each replicate's study."""
    compare: str
    """Ids of all arms of the first replicate."""
    verdict: str
    """Of the arm against the reference; empty for the reference itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """What the page shows of one comparison."""

    name: str
    question: str
    progress: str
    is_finished: bool
    rows: tuple[ArmRow, ...]


CONCLUDING = "computing the verdict"
Found = Mapping[tuple[str, str], str]
"""Verdicts in words, by cell and regime."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Verdicts of finished comparisons, concluded once in a thread: that takes some seconds."""

    database: Database
    workspace: Workspace
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(max_workers=1))
    _known: dict[tuple[str, int], Future[Found]] = field(default_factory=dict)

    def of(self, pages: PageState, n_items: int) -> Found | str:
        """Return the verdict of each arm in each cell, or why there is none to show."""
        key = pages.spec.name, n_items
        if key not in self._known:
            self._known[key] = self._thread.submit(self._conclude, pages)
        concluding = self._known[key]
        if not concluding.done():
            return CONCLUDING
        if (error := concluding.exception()) is not None:
            logger.warning("no verdict of %s on the overview", pages.spec.name, exc_info=error)
            return "not readable here: see `ecgopt report`"
        return concluding.result()

    def _conclude(self, pages: PageState) -> Found:
        from ecgopt.analysis.conclude import conclude

        url = self.database.engine.url.render_as_string(hide_password=False)
        evidence = load_evidence(pages.spec, self.workspace, url)
        reference = pages.spec.regimes[0]
        return {
            (f"{each.cell.downstream}/{each.cell.model}/{each.cell.n_train}", each.regime): (
                f"{words.verdict_of(each)}, {words.difference(each.interval)}"
                if each.interval
                else words.verdict_of(each)
            )
            for cell in conclude(evidence, self.workspace.root).cells
            for each in cell.comparisons
            if each.reference == reference
        }


@dataclass(frozen=True, slots=True)
class OwnPages:
    """The pages that ecgopt adds to Optuna's dashboard."""

    database: Database
    verdicts: Verdicts

    @classmethod
    def of(cls, database: Database, workspace: Workspace) -> Self:
        """Return the pages of the comparisons in `database`."""
        return cls(database, Verdicts(database, workspace))

    def page(self, request: Request) -> str | None:
        """Return the page at the request's path; None where the path is Optuna's."""
        if request.method not in READING:
            return None
        if request.path == "/":
            return overview(self.database, self.verdicts)
        if request.path == "/trade-off":
            asked = dict(parse_qsl(request.query))
            objective = asked.get("against", "seconds")
            if objective in OBJECTIVES:
                return trade_off_page(self.database, asked.get("comparison", ""), objective)
        return None


def overview(database: Database, verdicts: Verdicts) -> str:
    """Return the page of all comparisons."""
    found = (read_page_state(database, name) for name in comparison_names(database))
    views = [_view(database, pages, verdicts) for pages in found if pages is not None]
    return _render("overview", title="Comparisons", views=views, is_waiting=_is_waiting(views))


def _is_waiting(views: Sequence[ComparisonView]) -> bool:
    return any(not view.is_finished or CONCLUDING in str(view.rows) for view in views)


def _view(database: Database, pages: PageState, verdicts: Verdicts) -> ComparisonView:
    progress = read_progress(database, pages.spec)
    return ComparisonView(
        name=pages.spec.name,
        question=_question(database, pages),
        progress=_said(progress),
        is_finished=progress.is_finished,
        rows=tuple(_rows(pages, progress, verdicts)),
    )


def _question(database: Database, pages: PageState) -> str:
    """Return the question that the study file asked when the studies were made."""
    first = min(pages.keys, default=None)
    if first is None:
        return pages.spec.question
    attributes = database.optuna.get_study_user_attrs(first)
    return str(attributes.get(COORDINATES, {}).get("question", pages.spec.question))


def _said(progress: Progress) -> str:
    stages = ", ".join(f"{stage.title} {stage.done}/{stage.total}" for stage in progress.stages)
    if progress.is_finished:
        return f"{stages}; all done"
    if progress.trouble:
        return f"{stages}; {progress.trouble}"
    if progress.is_paused:
        return f"{stages}; paused"
    count = progress.n_workers
    left = progress.seconds_left
    time_left = f", about {words.duration(left)} left" if left is not None else ""
    return f"{stages}; {count or 'no'} worker{'s' * (count != 1)} running{time_left}"


def _rows(pages: PageState, progress: Progress, verdicts: Verdicts) -> Iterator[ArmRow]:
    spec, by_path = pages.spec, {study.study: study for study in progress.studies}
    concluded = verdicts.of(pages, progress.n_total) if progress.is_finished else words.NOT_FINISHED
    arms: dict[tuple[str, str, str | None], list[tuple[int, StudyKey]]] = {}
    for study_id, key in pages.keys.items():
        arms.setdefault((_cell(spec, key), key.regime, key.upstream), []).append((study_id, key))
    order = {regime: place for place, regime in enumerate(spec.regimes)}
    for (cell, regime, upstream), keys in sorted(
        arms.items(), key=lambda arm: (arm[0][0], order.get(arm[0][1], 0), arm[0][2] or "")
    ):
        studies = [by_path[key.path] for _, key in keys if key.path in by_path]
        best = [study.best for study in studies if study.best is not None]
        first = keys[0][1]
        used = sum(study.complete + study.pruned + study.failed for study in studies)
        planned = spec.budget.trials * len(keys)
        rivals = pages.rivals(keys[0][0])
        place = f"{first.downstream}/{network_of_cell(spec, first)}/{first.n_train}"
        yield ArmRow(
            cell=cell,
            arm=words.regime_name(regime) + (f" from {upstream}" if upstream else ""),
            colour=order.get(regime, 0),
            state=_state(studies, used, planned),
            used=used,
            planned=planned,
            best=f"{fmean(best):.3f}" if best else words.MISSING,
            studies=tuple((f"r{key.replicate}", study_id) for study_id, key in keys),
            compare=",".join(map(str, (keys[0][0], *rivals))) if rivals else "",
            verdict=_verdict(concluded, place, regime, is_reference=not order[regime]),
        )


def _cell(spec: StudySpec, key: StudyKey) -> str:
    return f"{key.downstream}, {network_of_cell(spec, key)}, {size_in_words(key.n_train)}"


def _verdict(
    concluded: Found | str,
    place: str,
    regime: str,
    *,
    is_reference: bool,
) -> str:
    if is_reference:
        return "reference"
    return concluded if isinstance(concluded, str) else concluded.get((place, regime), "")


def _state(studies: Sequence[StudyProgress], used: int, planned: int) -> str:
    if any(study.running for study in studies):
        return "running"
    if used >= planned:
        return "searched"
    return "begun" if used else "waiting"


def trade_off_page(database: Database, name: str, objective: str) -> str | None:
    """Return every complete trial of a comparison by score and cost; None where it is unknown.

    Args:
        database: With the comparison.
        name: Of the comparison.
        objective: One of `OBJECTIVES`.
    """
    pages = read_page_state(database, name) if name in comparison_names(database) else None
    if pages is None:
        return None
    cells: dict[str, list[tuple[int, StudyKey]]] = {}
    for study_id, key in pages.keys.items():
        cells.setdefault(_cell(pages.spec, key), []).append((study_id, key))
    drawings = [
        (cell, drawing.inline_svg)
        for cell, keys in cells.items()
        if (drawing := _draw(database, pages, cell, keys, objective)) is not None
    ]
    return _render(
        "trade_off",
        title=f"{name}: score against cost",
        name=name,
        drawings=drawings,
        objective=objective,
        objectives={key: label for key, (label, _) in OBJECTIVES.items()},
        is_waiting=False,
    )


def _draw(
    database: Database,
    pages: PageState,
    cell: str,
    keys: Sequence[tuple[int, StudyKey]],
    objective: str,
) -> Any:  # noqa: ANN401 - drawing is imported late
    from ecgopt.report.figures.drawing import (
        ARM_COLOURS,
        ARM_MARKERS,
        FAINT,
        add_legend,
        draw,
        slug,
        use_plain_log_ticks,
    )

    label, cost = OBJECTIVES[objective]
    points = [
        (
            cost(trial),
            trial.value,
            key.regime,
            f"/dashboard/studies/{i}/trials?numbers={trial.number}",
        )
        for i, key in keys
        for trial in trials_of(database, pages.spec, key)
        if trial.state == "complete" and trial.value is not None and cost(trial) > 0
    ]
    if not points:
        return None
    best: list[tuple[float, float]] = []
    for x, y, *_ in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))

    def paint(panel: "Axes") -> None:
        panel.step(*zip(*best, strict=True), where="post", color=FAINT, linewidth=1.0)
        for index, regime in enumerate(pages.spec.regimes):
            own = [point for point in points if point[2] == regime]
            if own:
                dots = panel.scatter(
                    [point[0] for point in own],
                    [point[1] for point in own],
                    s=22,
                    marker=ARM_MARKERS[index % len(ARM_MARKERS)],
                    color=ARM_COLOURS[index % len(ARM_COLOURS)],
                    label=words.regime_name(regime),
                )
                dots.set_urls([point[3] for point in own])
        use_plain_log_ticks(panel)
        panel.set_xlabel(label)
        panel.set_ylabel("validation macro AUROC")
        add_legend(panel)

    said = "; ".join(f"{y:.3f} at {x:,.3g}" for x, y in best)
    return draw(
        name=slug("trade-off", cell, objective),
        title=cell,
        alt=f"Trials that no other beats in both, {label}: {said}.",
        paint=paint,
    )


def _render(page: str, **content: object) -> str:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["quoted"] = lambda text: quote(str(text), safe="")
    template = environment.from_string((files(__package__) / "pages.html.j2").read_text("utf-8"))
    css = (files("ecgopt.report.page") / "page.css").read_text("utf-8")
    return template.render(page=page, css=css, **content)
