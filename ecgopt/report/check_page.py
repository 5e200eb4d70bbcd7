"""The page of `ecgopt data check`: what is doubtful in a data set, and its worst records drawn."""

import base64
import io
from pathlib import Path

from ecgopt.data.check import DataCheck
from ecgopt.data.prepared import PreparedSet
from ecgopt.errors import DataError
from ecgopt.files import write_whole
from ecgopt.report.ecg_paper import draw_ecg_page
from ecgopt.report.record_pages import prepared_page

_DRAWN_PER_DOUBT = 3
_DRAWN = 15


def write_check_page(path: Path, prepared: PreparedSet, found: DataCheck, *, labels: str) -> None:
    """Write one HTML file that holds its pictures.

    Args:
        path: The file.
        prepared: The set that was checked.
        found: What was found.
        labels: Name of the label set.

    Raises:
        DataError: `path` cannot be written.
    """
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    page = environment.get_template("check.html.j2").render(
        title=f"Check of {prepared.source}",
        n_records=len(prepared),
        found=found,
        labels=labels,
        pictures=[
            {"record": record, "reasons": reasons, "png": _picture(prepared, record)}
            for record, reasons in worst_records(prepared, found).items()
        ],
    )
    try:
        # A name from a file that is no valid text must not stop the page.
        write_whole(path, page.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def worst_records(prepared: PreparedSet, found: DataCheck) -> dict[str, list[str]]:
    """Return the records to look at first, with what is doubtful in each."""
    drawable = [doubt for doubt in found.doubts if doubt.topic in {"leads", "amplitude", "signal"}]
    known = set(prepared.records["record"])
    chosen = [name for doubt in drawable for name in doubt.records[:_DRAWN_PER_DOUBT]]
    return {
        name: [doubt.text for doubt in drawable if name in doubt.records]
        for name in list(dict.fromkeys(name for name in chosen if name in known))[:_DRAWN]
    }


def _picture(prepared: PreparedSet, record: str) -> str:
    stream = io.BytesIO()
    draw_ecg_page(prepared_page(prepared, record)).savefig(stream, format="png", dpi=110)
    return base64.b64encode(stream.getvalue()).decode()
