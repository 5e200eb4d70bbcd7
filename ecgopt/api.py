"""The Python API: a comparison, or an exported bundle of one, in a notebook or a script.

Heavy imports wait until a method needs them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ecgopt.analysis.conclude import Conclusions
    from ecgopt.comparison.open_study import Begun
    from ecgopt.comparison.progress import Progress
    from ecgopt.evidence.records import Evidence
    from ecgopt.launchers.contract import Launcher, Resources
    from ecgopt.report.tables import Table
    from ecgopt.report.write import ReportPaths
    from ecgopt.study_file.spec import StudySpec
    from ecgopt.workspace import Workspace


class Results(ABC):
    """What a comparison found; a running one gives what it has found so far."""

    @abstractmethod
    def evidence(self) -> AbstractContextManager[tuple["Evidence", Path]]:
        """Give everything measured, and the folder that its paths of files are relative to."""

    @contextmanager
    def concluded(self) -> Iterator[tuple["Conclusions", Path]]:
        """Give everything a report prints, and the folder that its paths are relative to."""
        from ecgopt.analysis.conclude import conclude

        with self.evidence() as (evidence, root):
            yield conclude(evidence, root), root

    def trials(self) -> "pd.DataFrame":
        """Return one row per trial: parameters, validation score, cost and why it ended."""
        from ecgopt.report.tables import trials_table

        with self.evidence() as (evidence, _):
            return _frame(trials_table(evidence.studies))

    def finals(self) -> "pd.DataFrame":
        """Return one row per final fit: its seed and its scores on the sealed test."""
        from ecgopt.report.tables import finals_table

        with self.evidence() as (evidence, _):
            return _frame(finals_table(evidence.finals))

    def verdicts(self) -> "pd.DataFrame":
        """Return one row per cell and arm: difference to the reference, interval, verdict."""
        from ecgopt.report.tables import headline_table

        with self.concluded() as (conclusions, _):
            return _frame(headline_table(conclusions))

    def report(self, out: str | PathLike[str], *, pdf: bool = False) -> "ReportPaths":
        """Write the report into the folder `out` and return its files.

        Args:
            out: Folder, made when missing; files of an earlier report are replaced.
            pdf: Whether to write the figures as PDF too.

        Raises:
            UserError: `out` cannot be written.
        """
        from ecgopt.report.write import write_report

        with self.concluded() as (conclusions, _):
            return write_report(conclusions, Path(out), with_pdf=pdf)

    def export(self, bundle: str | PathLike[str]) -> Path:
        """Write everything that the report rests on into one bundle and return its path.

        Args:
            bundle: A name that ends in .zip, or a folder that does not exist yet.

        Raises:
            UserError: `bundle` exists or cannot be written.
        """
        from ecgopt.analysis.conclude import conclude
        from ecgopt.evidence.bundle import write_bundle
        from ecgopt.report.results import results

        with self.evidence() as (evidence, root):
            content = results(conclude(evidence, root))
            return write_bundle(evidence, root, Path(bundle), results=content)


@dataclass(frozen=True, slots=True)
class Comparison(Results):
    """The comparison of a study file, in its database and workspace."""

    study_file: Path
    spec: "StudySpec"
    """What the study file says."""
    workspace: "Workspace"
    _storage: str | None = field(repr=False)

    def run(  # noqa: PLR0913 - the whole of a run
        self,
        workers: int | None = None,
        *,
        resources: "Resources | None" = None,
        launcher: "Launcher | None" = None,
        audit: int = 0,
        on_prepare: Callable[[str, int, int], None] | None = None,
        on_progress: Callable[["Progress"], None] | None = None,
        on_look: Callable[[str], None] | None = None,
    ) -> None:
        """Do everything that the study file asks for and is not done yet.

        With `until = "decided"`, replicates are added until every cell is decided. Messages are
        sent as `[notify]` says, and runs are copied to the trackers of `[track]`.

        Args:
            workers: Number of workers; by default one for each GPU or core of this machine.
            resources: What each worker gets, and the number of workers if `workers` is not given.
            launcher: Places the workers; by default processes on this machine.
            audit: Pruned trials of each study to train to their end, outside the budget.
            on_prepare: Called with what is prepared, the records done, and their total.
            on_progress: Called about twice a second with the progress.
            on_look: Called with what a look at the results added.

        Raises:
            UserError: the data, the workspace or the database cannot be used, a number is out of
                range, or the workers were asked to stop before the end.
        """
        from ecgopt.errors import UserError
        from ecgopt.launchers.contract import Resources
        from ecgopt.launchers.launch import launch_study
        from ecgopt.launchers.local import LocalLauncher
        from ecgopt.launchers.notify import Notifier
        from ecgopt.trackers.follow import Follower

        asked = resources or Resources()
        if workers is not None:
            asked = replace(asked, workers=workers)
        placed = launcher or LocalLauncher()
        notifier = Notifier(self.spec)
        follower = Follower(self.study_file, self.spec, self._storage, self.workspace)
        with follower.to_the_end(), notifier.telling_failures():
            is_left = True
            while is_left:
                finished = launch_study(
                    self.study_file,
                    self.workspace,
                    self._storage,
                    placed,
                    asked,
                    audit=audit,
                    on_prepare=on_prepare,
                    on_progress=follower.watching(notifier.watching(on_progress)),
                )
                if not finished:
                    raise UserError(
                        f"study {self.spec.name!r} is unfinished: its workers were stopped. Run "
                        "the same again to resume"
                    )
                is_left = self.spec.verdict.until == "decided" and self._look_again(on_look)
            if notifier.tells_the_end:
                notifier.finished(self._verdict_lines())

    def _verdict_lines(self) -> list[str]:
        from ecgopt.report.terminal import verdict_lines

        with self.concluded() as (conclusions, _):
            has_finals = bool(conclusions.evidence.finals)
            return verdict_lines(conclusions) if has_finals else ["no final fit is done"]

    def _look_again(self, on_look: Callable[[str], None] | None) -> bool:
        """Look at the results and return whether there is more to do: replicates were added."""
        from ecgopt.comparison.extension import ExtendedMeanwhile, extend
        from ecgopt.database.comparisons import spend_of
        from ecgopt.planning.continuation import next_look

        with self._begun() as begun, self.evidence() as (evidence, root):
            needed = next_look(begun.spec, evidence, root)
            if needed is None:
                return False
            try:
                made = extend(
                    begun.database,
                    begun.spec,
                    replicates=needed.replicates,
                    stopped=needed.stopped,
                    seen=spend_of(begun.spec),
                )
            except ExtendedMeanwhile:
                return True  # what the other process added is to be done first
        if on_look is not None:
            on_look(f"not every cell is decided: {made}")
        return True

    def status(self) -> "Progress":
        """Return the progress: counts by stage and study, workers, time left.

        Raises:
            UserError: the comparison has not begun in this database.
        """
        from ecgopt.comparison.progress import read_progress

        with self._begun() as begun:
            return read_progress(begun.database, begun.spec)

    def trials(self) -> "pd.DataFrame":
        """Return one row per trial, also of a comparison whose data are not on this machine."""
        from ecgopt.comparison.evidence import load_studies
        from ecgopt.report.tables import trials_table

        with self._begun() as begun:
            return _frame(trials_table(load_studies(begun.database, begun.spec, self.spec.regimes)))

    @contextmanager
    def evidence(self) -> Iterator[tuple["Evidence", Path]]:
        """Give everything measured so far, and the workspace's folder.

        Raises:
            UserError: the comparison has not begun in this database.
        """
        from ecgopt.comparison.evidence import load_evidence
        from ecgopt.database.url import existing_url

        url = existing_url(self._storage, self.workspace.sqlite_file)
        yield load_evidence(self.spec, self.workspace, url), self.workspace.root

    @contextmanager
    def _begun(self) -> Iterator["Begun"]:
        from ecgopt.comparison.open_study import open_begun

        begun = open_begun(self.study_file, self._storage, self.workspace.root)
        try:
            yield begun
        finally:
            begun.database.engine.dispose()


@dataclass(frozen=True, slots=True)
class Bundle(Results):
    """An exported comparison, which needs no database; a zip file is unpacked for each call."""

    path: Path

    @contextmanager
    def evidence(self) -> Iterator[tuple["Evidence", Path]]:
        """Give everything measured, and the bundle's folder.

        Raises:
            UserError: `path` is not a bundle.
        """
        from ecgopt.evidence import bundle

        with bundle.open_bundle(self.path) as opened:
            yield opened.evidence, opened.root


def open(
    study_file: str | PathLike[str],
    storage: str | None = None,
    workspace: str | PathLike[str] | None = None,
) -> Comparison:
    """Return the comparison of a study file; nothing is created before it runs.

    Args:
        study_file: Path of the TOML file.
        storage: Database URL without a password; by default $ECGOPT_STORAGE, or SQLite in the
            workspace.
        workspace: Folder of data, checkpoints and predictions; by default $ECGOPT_WORKSPACE, or
            `storage` in the current folder.

    Raises:
        StudyFileError: the study file breaks a rule.
    """
    from ecgopt.study_file.reading import load_spec
    from ecgopt.workspace import chosen_workspace

    path = Path(study_file)
    place = chosen_workspace(Path(workspace) if workspace is not None else None)
    return Comparison(path, load_spec(path), place, storage)


def open_bundle(path: str | PathLike[str]) -> Bundle:
    """Return the comparison that was exported to `path`.

    Raises:
        UserError: `path` is not a bundle.
    """
    bundle = Bundle(Path(path))
    with bundle.evidence():
        return bundle


def _frame(table: "Table") -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(list(table.rows), columns=list(table.columns))
