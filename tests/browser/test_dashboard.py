"""The dashboard in a real browser: locked without the token, drawn with it, and silent outside."""

import threading

import optuna
import pytest
from dashboards import TOKEN, serve_dashboard
from tiny_study import begin, tiny_study

from ecgopt.cli.worker_process import work
from ecgopt.database.engine import open_database
from ecgopt.database.optuna.study_attrs import StudyAttributes

pytestmark = pytest.mark.browser

PATIENCE = 120_000
"""Milliseconds; a busy machine draws slowly."""
SCRIPT = "<img src=x onerror=\"document.title='broken in'\"><script>document.title='in'</script>"
FOREIGN = f"foreign {SCRIPT}"


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    study, workspace = folder / "study.toml", folder / "ws"
    study.write_text(tiny_study(trials=8, epochs_high=6, published_epochs=6))
    begin(study, workspace)
    work(study, workspace, stop=threading.Event())
    add_hostile_study(workspace)
    with serve_dashboard(workspace) as found:
        yield found


def add_hostile_study(workspace):
    """Add a study of somebody else's, with markup wherever text can be."""
    database = open_database(f"sqlite:///{workspace}/ecgopt.sqlite3")
    study = optuna.create_study(storage=database.optuna, study_name=FOREIGN)
    trial = optuna.trial.create_trial(
        params={SCRIPT: 0.5},
        distributions={SCRIPT: optuna.distributions.FloatDistribution(0, 1)},
        user_attrs={SCRIPT: SCRIPT},
        value=0.5,
    )
    study.add_trials([trial] * 3)
    with database.transaction() as connection:
        page = StudyAttributes(connection, study._study_id)
        page.note = f"{SCRIPT}\n[link](javascript:alert(1))\n![out](http://198.51.100.7/x.png)"
        page.write()


@pytest.fixture
def page(open_page, served):
    page = open_page(1400, 1000)
    page.set_default_timeout(PATIENCE)
    yield page
    outside = [
        url for url in page.requests if not url.startswith((served.origin, "data:", "blob:"))
    ]
    page.context.close()
    assert outside == [] or getattr(page, "may_try_outside", False)


def enter(page, served, path="/dashboard"):
    page.goto(served.link)
    page.goto(served.origin + path)


def plot(page, name):
    """Return one of our own plots."""
    return page.locator(f'[id="user-defined-plot:{name}"]')


def test_without_the_token_there_is_nothing(page, served):
    answer = page.goto(served.origin)
    assert answer.status == 401
    assert "optuna" not in page.content().lower()


def test_the_link_lets_in_and_leaves_no_token_in_the_address_or_the_cookie(page, served):
    page.goto(served.link)
    page.get_by_role("heading", name="tiny").wait_for()
    assert page.url.startswith(f"{served.origin}/")
    assert TOKEN not in page.url
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    assert page.errors == []


def test_a_study_page_draws_its_note_and_plots(page, served):
    enter(page, served, f"/dashboard/studies/{served.id_of('/fine_tune/from-up')}")
    for name in ("learning-curves", "budget"):
        plot(page, name).locator(".point").first.wait_for()
    page.get_by_text("winner_roc.svg").first.wait_for()
    assert page.errors == []
    enter(page, served, f"/dashboard/studies/{served.id_of('/fine_tune/from-up')}/note")
    page.get_by_text("budget used").wait_for()
    page.get_by_role("link", name="compare").wait_for()
    assert page.errors == []


def test_the_trade_off_page_draws_both_regimes(page, served):
    enter(page, served, f"/dashboard/studies/{served.id_of('/trade-off')}")
    page.locator("#graph-pareto-front .plotly").first.wait_for()
    ours = plot(page, "score-against-time")
    ours.locator(".point").first.wait_for()
    for regime in ("fine-tune", "scratch"):
        ours.locator(".legendtext", has_text=regime).first.wait_for()
    assert page.errors == []


def test_the_compare_page_draws_both_arms(page, served):
    ids = f"{served.id_of('/scratch')},{served.id_of('/fine_tune/from-up')}"
    enter(page, served, f"/dashboard/compare-studies?ids={ids}")
    page.locator(".js-plotly-plot .point").first.wait_for()
    for regime in ("scratch", "fine_tune"):
        page.locator(".js-plotly-plot .legendtext", has_text=regime).first.wait_for()
    assert page.errors == []


@pytest.mark.parametrize("place", ["", "/trials", "/note", "/analytics"])
def test_markup_in_names_notes_and_values_stays_text(page, served, place):
    page.may_try_outside = True  # the policy stops it before it leaves
    refused = []
    page.on("requestfailed", lambda request: refused.append(request.url))
    enter(page, served, f"/dashboard/studies/{served.id_of(FOREIGN)}{place}")
    page.get_by_text("foreign").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.title() not in ("in", "broken in")
    outside = [url for url in page.requests if "198.51.100.7" in url]
    assert set(outside) <= set(refused)
