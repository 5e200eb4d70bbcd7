"""Rows as aligned plain text, for terminals, `grep` and `sort`."""

from collections.abc import Sequence

_GAP = "  "


def aligned_lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return a heading line and one line per row; columns of numbers are aligned to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    lines = [list(columns), *texts]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    right = [
        any(isinstance(row[index], int | float) for row in rows) for index in range(len(columns))
    ]
    return [
        _GAP.join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
