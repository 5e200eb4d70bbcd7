"""One browser for the tests of a module, and pages in it that remember what went on in them."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser():
    """Return Chromium; without it the tests skip and say so."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def open_page(browser):
    """Return a function that opens a page of a given size, with `errors`, `said` and `requests`.

    They are what the console was told, errors alone or everything, and the addresses asked for.
    """

    def open_page(width, height, **settings):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        page = context.new_page()
        page.errors, page.said, page.requests = [], [], []

        def hear(kind, text):
            page.said.append(text)
            if kind == "error":
                page.errors.append(text)

        page.on("console", lambda message: hear(message.type, message.text))
        page.on("pageerror", lambda error: hear("error", str(error)))
        page.on("request", lambda sent: page.requests.append(sent.url))
        return page

    return open_page
