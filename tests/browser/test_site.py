"""The documentation site in a real browser: whole, readable on a phone, and asking nobody else."""

import re

import pytest
from documents import ROOT

SITE = ROOT / "site"
PAGES = sorted(SITE.rglob("*.html"))
OURS = [page for page in PAGES if not page.is_relative_to(SITE / "_downloads")]

FETCHED = re.compile(
    r"""<(?:script|img|iframe|link(?![^>]*rel="(?:next|prev|canonical))[^>]*)[^>]*(?:src|href)="(?:https?:)?//"""
    r"""|url\(["']?(?:https?:)?//|@import\s+["'](?:https?:)?//"""
)
"""What a browser fetches by itself from another host; links that a reader follows are none."""

pytestmark = pytest.mark.skipif(
    not (SITE / "index.html").exists(), reason="the site is not built: make docs"
)


def test_no_page_names_a_file_on_another_host():
    files = [*OURS, *SITE.rglob("*.css")]
    assert [str(file) for file in files if FETCHED.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_every_page_fits_the_screen_without_an_error_or_a_request_elsewhere(open_page, size):
    page, too_wide = open_page(*size), []
    for path in OURS:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path.name)
    elsewhere = [url for url in page.requests if not url.startswith("file:")]
    assert (too_wide, page.said, elsewhere) == ([], [], [])
    page.context.close()


@pytest.mark.browser
def test_the_search_finds_a_key_of_the_study_file(browser):
    page = browser.new_page()
    page.goto(f"{(SITE / 'search.html').as_uri()}?q=final_seeds")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    assert "The study file" in found
