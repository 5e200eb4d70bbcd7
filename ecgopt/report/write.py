"""The report as files: page, results, tables and figures."""

import json
from dataclasses import dataclass
from pathlib import Path

from ecgopt.analysis.conclude import Conclusions
from ecgopt.errors import UserError
from ecgopt.files import write_whole
from ecgopt.report.page.html import render
from ecgopt.report.page.sections import build_page
from ecgopt.report.results import results
from ecgopt.report.tables import all_tables


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPaths:
    """Where a report was written."""

    html: Path
    results: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]


def write_report(conclusions: Conclusions, out: Path, *, with_pdf: bool = False) -> ReportPaths:
    """Write report.html, results.json, tables/*.csv and figures/*.svg in `out`.

    Args:
        conclusions: Of one comparison, finished or not.
        out: Folder to write to, made when missing; files of an earlier report are replaced one by
            one.
        with_pdf: Whether to write all figures as PDF too, which takes longer than all the rest;
            Figure 1 is always written as PDF.

    Raises:
        UserError: `out` cannot be written.
    """
    page = build_page(conclusions)
    drawings = [drawing for section in page.all_sections() for drawing in section.all_drawings()]
    try:
        tables = tuple(
            write_whole(out / "tables" / f"{table.name}.csv", table.to_csv().encode())
            for table in all_tables(conclusions)
        )
        figures = tuple(
            write_whole(out / "figures" / f"{drawing.name}.svg", drawing.svg.encode())
            for drawing in drawings
        )
        for_print = {each.name for section in page.sections for each in section.for_print}
        figures += tuple(
            write_whole(out / "figures" / f"{drawing.name}.pdf", drawing.pdf())
            for drawing in drawings
            if with_pdf or drawing.name in for_print
        )
        content = json.dumps(results(conclusions), indent=1, ensure_ascii=False, allow_nan=False)
        return ReportPaths(
            html=write_whole(out / "report.html", render(page).encode()),
            results=write_whole(out / "results.json", content.encode()),
            tables=tables,
            figures=figures,
        )
    except OSError as error:
        raise UserError(
            f"report {out}: cannot be written ({error.strerror}): choose --out"
        ) from error
