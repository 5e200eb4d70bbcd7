"""The verdicts as a table for a paper: Markdown or LaTeX."""

import re
from typing import Literal

from ecgopt.analysis.conclude import Conclusions
from ecgopt.report import words
from ecgopt.report.page.headline import MARK, failed_gates, is_marked, marked_verdict

PaperFormat = Literal["md", "latex"]


def paper_table(conclusions: Conclusions, form: PaperFormat) -> str:
    """Return the headline table with a caption that states the rules."""
    columns, rows = _columns(conclusions), _rows(conclusions)
    caption = _caption(conclusions)
    return _markdown(columns, rows, caption) if form == "md" else _latex(columns, rows, caption)


def _columns(conclusions: Conclusions) -> list[str]:
    comparison = conclusions.evidence.comparison
    reference = words.reference_heading(comparison)
    others = [words.regime_name(regime) for regime in comparison.regimes[1:]]
    arm = others[0] if len(others) == 1 else "arm"
    interval = f"difference [{comparison.confidence:.0%} interval]"
    regime = ["arm"] if len(others) > 1 else []
    return [
        "source", "target", "model", "n", *regime, f"published {reference}", f"published {arm}",
        f"tuned {reference}", f"tuned {arm}", interval, "verdict",
    ]  # fmt: skip


def _rows(conclusions: Conclusions) -> list[list[str]]:
    comparison = conclusions.evidence.comparison
    has_arms = len(comparison.regimes) > 2
    return [
        [
            cell.cell.upstream,
            cell.cell.downstream,
            words.network(cell.cell.model),
            f"{cell.cell.n_train:,}",
            *([words.pair_name(found, comparison)] if has_arms else []),
            *(
                words.score(cell.arms[regime].test_score(role))
                for role in ("published", "tuned")
                for regime in (found.reference, found.regime)
            ),
            words.difference(found.interval) if found.interval else words.MISSING,
            marked_verdict(found, conclusions),
        ]
        for cell in conclusions.cells
        for found in cell.comparisons
    ]


def _caption(conclusions: Conclusions) -> str:
    comparison = conclusions.evidence.comparison
    budget = comparison.budget
    marked = any(
        is_marked(found, conclusions) for cell in conclusions.cells for found in cell.comparisons
    )
    failed = "; ".join(failed_gates(conclusions))
    starts = words.arm_starts(comparison)
    return (
        f"Test {words.metric(comparison)} of "
        f"{words.listed([*map(words.regime_name, comparison.regimes)])}, each tuned with "
        f"{budget.trials} trials; means over {words.replicates(comparison)} and "
        f"{words.seeds(budget.final_seeds)}. Intervals cover run-to-run and patient sampling "
        "variation; verdicts are corrected over cells (Holm) against a margin of "
        f"{comparison.margin:g} fixed beforehand."
        + (f" {starts}" if starts else "")
        + (f" {f'{MARK} ' * marked}Failed checks: {failed}." if failed else "")
    )


def _markdown(columns: list[str], rows: list[list[str]], caption: str) -> str:
    cells = [[value.replace("|", "\\|") for value in row] for row in (columns, *rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]

    def line(values: list[str]) -> str:
        padded = (value.ljust(width) for value, width in zip(values, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:]), "", caption, ""])


def _latex(columns: list[str], rows: list[list[str]], caption: str) -> str:
    alignment = "".join("l" if _is_text(column) else "r" for column in columns)
    return "\n".join(
        [
            r"\begin{table}",
            "% needs \\usepackage{booktabs}",
            rf"\caption{{{_escape(caption)}}}",
            r"\label{tab:verdicts}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(map(_escape, columns)) + r" \\",
            r"\midrule",
            *(" & ".join(map(_escape, row)) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _is_text(column: str) -> bool:
    return column in ("source", "target", "model", "arm", "verdict")


def _escape(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    return (
        escaped.replace("†", r"\dag")
        .replace("−", "$-$")
        .replace("→", r"$\to$")
        .replace("±", r"$\pm$")
    )
