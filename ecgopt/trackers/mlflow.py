"""MLflow: an experiment for the comparison, with a run for each trial and final fit."""

import os
import re
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager

from ecgopt.plugins import optional_library
from ecgopt.trackers.contract import TrackedRun, TrackerError

_NAME = "ecgopt.run"
_PAGE = 1000
_LONGEST_VALUE = 500


class MlflowTracker:
    """Writes to an MLflow server, or to the database of one (`sqlite:///mlflow.db`)."""

    def __init__(self, uri: str, comparison: str) -> None:
        """Find or make the experiment.

        Raises:
            TrackerError: MLflow is not installed, or does not answer.
        """
        # By its own defaults it waits minutes for a server that is gone.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        library = optional_library("mlflow", "mlflow", TrackerError)
        self._entities = optional_library("mlflow.entities", "mlflow", TrackerError)
        self._error = library.exceptions.MlflowException
        with self._explained():
            self._client = library.MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(comparison)
            self._experiment = (
                self._client.create_experiment(comparison) if found is None else found.experiment_id
            )

    def names(self) -> Set[str]:
        """Return the names of the runs in the experiment that are whole."""
        names: set[str] = set()
        token = None
        with self._explained():
            while True:
                page = self._client.search_runs(
                    [self._experiment], "attributes.status != 'RUNNING'",
                    max_results=_PAGE, page_token=token,
                )  # fmt: skip
                names |= {run.data.tags.get(_NAME, "") for run in page}
                token = page.token
                if not token:
                    return names - {""}

    def add(self, run: TrackedRun) -> None:
        """Add a run; one that is not written to its end stays `RUNNING` and does not count."""
        now = int(time.time() * 1000)
        metric, parameter = self._entities.Metric, self._entities.Param
        values = [metric(name, value, now, 0) for name, value in run.metrics.items()]
        values += [metric(run.curve_name, value, now, rung) for rung, value in run.curve.items()]
        texts = {name: str(value)[:_LONGEST_VALUE] for name, value in run.parameters.items()}
        with self._explained():
            made = self._client.create_run(
                self._experiment, run_name=run.name, tags={_NAME: run.name, **run.tags}
            )
            self._client.log_batch(
                made.info.run_id,
                metrics=values,
                params=[parameter(name, text) for name, text in texts.items()],
            )
            self._client.set_terminated(made.info.run_id, "FAILED" if run.is_failed else "FINISHED")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self._error as error:
            # The first line says what is wrong; the address in it may hold a password.
            text = re.sub(r"//[^/@\s]*@", "//", str(error).splitlines()[0])
            raise TrackerError(f"MLflow: {text[:300]}") from None
