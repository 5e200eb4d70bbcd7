"""The documentation site in a real browser: whole, readable on a phone, and asking nobody else."""

import re
import shutil

import pytest
from documents import ROOT

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


def test_no_page_names_a_file_on_another_host():
    files = [*OURS, *SITE.rglob("*.css")]
    assert [str(file) for file in files if FETCHED.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_every_page_fits_the_screen_without_an_error_or_a_request_elsewhere(browser, size):
    width, height = size
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    messages, elsewhere = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on(
        "request", lambda sent: None if sent.url.startswith("file:") else elsewhere.append(sent.url)
    )
    too_wide = []
    for path in OURS:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            too_wide.append(path.name)
    assert (too_wide, messages, elsewhere) == ([], [], [])


@pytest.mark.browser
def test_the_search_finds_a_key_of_the_study_file(browser):
    page = browser.new_page()
    page.goto(f"{(SITE / 'search.html').as_uri()}?q=final_seeds")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    assert "The study file" in found
