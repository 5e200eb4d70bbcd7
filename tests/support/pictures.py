"""Takes the pictures of README and documentation from a finished demonstration.

    make demo
    .venv/bin/python tests/support/pictures.py

It needs Chromium. The pictures show the run that a reader gets, not one made for them.
"""

import shutil
import sys
from pathlib import Path

from dashboards import TOKEN, serve_dashboard
from documents import ROOT
from playwright.sync_api import sync_playwright

IMAGES = ROOT / "docs" / "images"
VIEW = {"width": 1100, "height": 1150}


def main(report: Path, workspace: Path) -> None:
    """Write report.png and dashboard.png."""
    with sync_playwright() as driver, serve_dashboard(workspace) as served:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=VIEW)
        page.goto(report.as_uri())
        page.screenshot(path=IMAGES / "report.png")
        page.goto(f"{served.origin}/?token={TOKEN}")
        while page.get_by_text("computing the verdict").count():
            page.wait_for_timeout(1000)
            page.reload()
        page.screenshot(path=IMAGES / "dashboard.png", clip={**VIEW, "x": 0, "y": 0, "height": 620})
        browser.close()


if __name__ == "__main__":
    given = [Path(argument).resolve() for argument in sys.argv[1:]]
    main(*(given or [ROOT / "out" / "demo" / "report.html", ROOT / "storage"]))
