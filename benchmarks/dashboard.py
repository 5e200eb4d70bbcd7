"""200 studies of 60 trials: how long the list takes to answer, and a study page to be drawn.

Needs Chromium. Example: `python -m benchmarks.dashboard`
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import optuna
import plotly.graph_objects as go
from dashboards import Served, serve_dashboard
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages._rdb import models as optuna_tables
from playwright.sync_api import sync_playwright
from sqlalchemy import Connection, insert, literal, select

from ecgopt.dashboard import plots
from ecgopt.database.engine import Database, open_database, quiet_optuna
from ecgopt.database.optuna.study_attrs import StudyAttributes
from ecgopt.evidence.records import TrialEvidence
from ecgopt.seeds import generator_for

_PARTS = (
    optuna_tables.TrialValueModel,
    optuna_tables.TrialParamModel,
    optuna_tables.TrialIntermediateValueModel,
    optuna_tables.TrialUserAttributeModel,
)

LIST_SECONDS, PAGE_SECONDS = 2.0, 5.0


def fill(database: Database, n_studies: int, n_trials: int) -> None:
    """Add studies as a paper grid has them, each with a note and both plots."""
    random = generator_for(1, "dashboard", "benchmark")
    trials = [invented(random) for _ in range(n_trials)]
    evidence = [
        TrialEvidence(
            number=number,
            state="complete",
            value=trial.value,
            parameters=trial.params,
            reports=trial.intermediate_values,
        )
        for number, trial in enumerate(trials)
    ]
    ids = [
        optuna.create_study(
            storage=database.optuna, study_name=f"grid/cell{number:03d}", direction="maximize"
        )._study_id
        for number in range(n_studies)
    ]
    optuna.load_study(study_name="grid/cell000", storage=database.optuna).add_trials(trials)
    with database.transaction() as connection:
        for study_id in ids[1:]:
            copy_trials(connection, ids[0], study_id)
    for study_id in ids:
        put_page(database, study_id, evidence)


def copy_trials(connection: Connection, source: int, target: int) -> None:
    """Give one study the trials of another; Optuna itself needs 20 ms for each of them."""
    trials = optuna_tables.TrialModel.__table__
    old, new = trials.alias("old"), trials.alias("new")
    columns = [c for c in trials.c if c.name not in ("trial_id", "study_id")]
    copied = select(literal(target), *columns).where(trials.c.study_id == source)
    names = ["study_id", *(c.name for c in columns)]
    connection.execute(insert(trials).from_select(names, copied))
    for model in _PARTS:
        table = model.__table__
        columns = [c for c in table.c if not c.primary_key and c.name != "trial_id"]
        copied = (
            select(new.c.trial_id, *columns)
            .join(old, old.c.trial_id == table.c.trial_id)
            .join(new, new.c.number == old.c.number)
            .where(old.c.study_id == source, new.c.study_id == target)
        )
        names = ["trial_id", *(c.name for c in columns)]
        connection.execute(insert(table).from_select(names, copied))


def put_page(database: Database, study_id: int, evidence: Sequence[TrialEvidence]) -> None:
    """Give a study a note and both plots."""
    figures: dict[str, go.Figure] = {
        "learning-curves": plots.learning_curves(evidence, 0),
        "budget": plots.budget_curves({"scratch": evidence, "fine_tune": evidence}),
    }
    with database.transaction() as connection:
        page = StudyAttributes(connection, study_id)
        page.note = "a note of usual length, with a table and links\n" * 20
        for name, figure in figures.items():
            page.set_plot(name, figure)
        page.write()


def invented(random: np.random.Generator) -> optuna.trial.FrozenTrial:
    """Return a complete trial with ten reports."""
    scores = {step: float(random.uniform(0.6, 0.9)) for step in range(1, 11)}
    return optuna.trial.create_trial(
        params={
            "learning_rate": 10 ** random.uniform(-5, -1),
            "epochs": int(random.integers(5, 50)),
        },
        distributions={
            "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
            "epochs": IntDistribution(5, 50),
        },
        intermediate_values=scores,
        value=scores[10],
        user_attrs={"recipe": "tuned", "run": {"cause": "done", "seconds": 12.5}},
    )


def measure(served: Served) -> dict[str, float]:
    """Return seconds of the API's list, of the drawn list, and of a drawn study page."""
    seconds = {}
    started = time.monotonic()
    served.json("/api/studies")
    seconds["list, answered"] = time.monotonic() - started
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(served.link)
        page.get_by_text("grid/cell000").first.wait_for()
        started = time.monotonic()
        page.goto(f"{served.origin}/dashboard")
        page.get_by_text("grid/cell000").first.wait_for()
        seconds["list, drawn"] = time.monotonic() - started
        started = time.monotonic()
        page.goto(f"{served.origin}/dashboard/studies/7")
        page.locator(".js-plotly-plot .point").first.wait_for()
        page.get_by_text("What a budget buys").first.wait_for()
        seconds["study page, drawn"] = time.monotonic() - started
        browser.close()
    return seconds


def main() -> None:
    """Fill a database, serve it, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--trials", type=int, default=60)
    options = parser.parse_args()
    quiet_optuna()
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{folder}/ecgopt.sqlite3")
        fill(database, options.studies, options.trials)
        with serve_dashboard(folder) as served:
            seconds = measure(served)
    print(f"{options.studies} studies of {options.trials} trials")
    for name, value in seconds.items():
        limit = PAGE_SECONDS if name.startswith("study") else LIST_SECONDS
        print(f"{name}: {value:.2f} s (at most {limit:g} s: {'yes' if value <= limit else 'NO'})")


if __name__ == "__main__":
    main()
