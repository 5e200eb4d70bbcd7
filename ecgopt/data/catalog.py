"""The data sets that ecgopt knows by name."""

import difflib
from collections.abc import Mapping

from ecgopt.data.cinc import Cinc
from ecgopt.data.ptbxl import PtbXl
from ecgopt.data.records import Source
from ecgopt.errors import UserError

_SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        PtbXl(),
        PtbXl("ptbxl_500", file_column="filename_hr", sampling_rates_hz=(500.0,)),
        Cinc("cinc", sampling_rates_hz=(257.0, 500.0, 1000.0)),
        Cinc("synthetic"),
    )
}


def source_names() -> tuple[str, ...]:
    """Return the names of all known data sets."""
    return tuple(_SOURCES)


def source(name: str) -> Source:
    """Return the data set called `name`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name not in _SOURCES:
        raise UserError(f"data set {name!r} is not known{nearest(name, source_names())}")
    return _SOURCES[name]


def nearest(name: str, known: tuple[str, ...]) -> str:
    """Return the end of an error message: the nearest of `known`, or all of them."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
