"""The overview and the trade-off page, and what a read-only dashboard hides and says."""

import json
import re
import time

import pytest


@pytest.fixture(scope="module")
def overview(served):
    """Return the first page once the verdict is concluded."""
    for _ in range(600):
        status, _, body = served.ask("GET", "/")
        assert status == 200
        if "computing the verdict" not in (text := body.decode()):
            return text
        time.sleep(0.1)
    raise AssertionError("no verdict")


def test_the_first_page_shows_every_arm_with_budget_best_and_links(overview, served):
    rows = re.findall(r"<tr><td.*?</tr>", overview, re.DOTALL)
    assert ["scratch (twin)" in row for row in rows] == [False, True]
    for row, part in zip(rows, ("/scratch", "/scratch_twin"), strict=True):
        assert "10/10" in row
        assert re.search(r"<td>0\.\d{3}</td>", row)
        assert f'href="/dashboard/studies/{served.id_of(part)}"' in row
        assert "/dashboard/compare-studies?ids=" in row
    assert "reference" in rows[0]


def test_the_first_page_needs_the_token(served):
    assert served.ask("GET", "/", Authorization=None)[0] == 401
    assert served.ask("GET", "/trade-off?comparison=tiny", Authorization=None)[0] == 401


def test_a_verdict_that_cannot_be_read_here_is_said_and_never_awaited_for_ever(overview):
    assert "see `ecgopt report`" in overview  # the scripted study has no prepared data


@pytest.mark.parametrize("objective", ["samples", "epochs"])
def test_every_point_of_the_trade_off_leads_to_its_trial(served, objective):
    _, _, body = served.ask("GET", f"/trade-off?comparison=tiny&against={objective}")
    links = set(re.findall(r'xlink:href="(/dashboard/studies/\d+/trials\?numbers=\d+)"', str(body)))
    complete = {
        f"/dashboard/studies/{served.id_of(part)}/trials?numbers={trial['number']}"
        for part in ("/scratch", "/scratch_twin")
        for trial in served.json(f"/api/studies/{served.id_of(part)}")["trials"]
        if trial["state"] == "Complete"
    }
    assert links
    assert links == complete


@pytest.mark.parametrize("query", ["comparison=nothing", "comparison=tiny&against=love", ""])
def test_a_trade_off_of_nothing_is_not_found(served, query):
    assert served.ask("GET", f"/trade-off?{query}")[0] == 404


def test_a_refused_request_of_the_interface_gets_its_reason_as_json(served):
    status, headers, body = served.ask("DELETE", "/api/studies/1", Origin=served.origin)
    assert status == 405
    assert headers["Content-Type"].startswith("application/json")
    assert "--write" in json.loads(body)["reason"]


def test_only_a_read_only_dashboard_hides_the_buttons(served, writable):
    hidden = [b'aria-label="delete study"' in each.ask("GET", "/dashboard")[2]
              for each in (served, writable)]  # fmt: skip
    assert hidden == [True, False]
