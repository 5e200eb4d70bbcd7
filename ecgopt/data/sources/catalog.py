"""The data sets that ecgopt knows by name: what is published about them, and who reads them.

A data source from outside the package is a `Source`, named `package.module:name` or by an entry
point of the group `ecgopt.data_sources`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ecgopt.data.csv_tables import TABLES
from ecgopt.data.records import Source
from ecgopt.data.sources.cinc import Cinc
from ecgopt.data.sources.code15_native import Code15Native
from ecgopt.data.sources.code_test import CodeTest
from ecgopt.data.sources.cpsc_native import CpscNative
from ecgopt.data.sources.own_files import own_source
from ecgopt.data.sources.ptb import Ptb
from ecgopt.data.sources.ptbxl import PtbXl
from ecgopt.data.sources.samitrop import SamiTrop
from ecgopt.data.sources.sph import Sph
from ecgopt.errors import UserError, did_you_mean
from ecgopt.plugins import find, wrong_type

_CHAPMAN = r"JS(0\d{4}|10[0-5]\d\d|106[0-3]\d|1064[0-6])"
_NINGBO = rf"(?!{_CHAPMAN})JS\d{{5}}"

SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        PtbXl(),
        PtbXl("ptbxl_500", file_column="filename_hr", sampling_rates_hz=(500.0,)),
        Cinc("cpsc2018", record_pattern=r"A\d{4}", sampling_rates_hz=(500.0,)),
        CpscNative(),
        Cinc("cpsc_extra", record_pattern=r"Q\d{4}", sampling_rates_hz=(500.0,)),
        Cinc("georgia", record_pattern=r"E\d{5}", sampling_rates_hz=(500.0,)),
        Ptb(),
        Cinc("ptb_cinc", record_pattern=r"S\d{4}", sampling_rates_hz=(1000.0,)),
        Cinc("ptbxl_cinc", record_pattern=r"HR\d{5}", sampling_rates_hz=(500.0,)),
        CodeTest(),
        Code15Native(),
        SamiTrop(),
        Cinc("code15", record_pattern=r"\d+.*", sampling_rates_hz=(400.0,)),
        Cinc("chapman", record_pattern=_CHAPMAN, sampling_rates_hz=(500.0,)),
        Cinc("ningbo", record_pattern=_NINGBO, sampling_rates_hz=(500.0,)),
        Cinc("chapman_ningbo", record_pattern=r"JS\d{5}", sampling_rates_hz=(500.0,)),
        Cinc("incart", record_pattern=r"I\d{4}", sampling_rates_hz=(257.0,)),
        Sph(),
        Cinc("cinc", sampling_rates_hz=(257.0, 500.0, 1000.0)),
        Cinc("synthetic"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Where a data set is fetched from."""

    base: str | None = None
    """Address of a folder with SHA256SUMS.txt, as PhysioNet has them."""
    mirrors: tuple[str, ...] = ()
    """Addresses with the same files below them, tried where the first fails."""
    include: str = r".*"
    """Full match of the paths below `base` that belong to the data set."""
    archive: str | None = None
    """Address of one zip file with everything below `base`."""
    files: tuple[str, ...] = ()
    """Addresses of single files; zip files among them are unpacked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInfo:
    """What is published about a data set."""

    name: str
    title: str
    records: int | None = None
    patients: int | None = None
    """None where the data set names no patients."""
    rates_hz: tuple[int, ...]
    seconds: str
    labels: tuple[str, ...]
    """Label sets that fit its statements."""
    licence: str
    citation: str
    doi: str
    home: str
    size_gb: float
    download: Download | None = None
    """None where nobody can fetch it without a form or an own conversion."""


def source_names() -> tuple[str, ...]:
    """Return the names of all known data sets."""
    return tuple(SOURCES)


def source(name: str) -> Source:
    """Return the data set called `name`, or the one described by the file `name` (`own.toml`).

    Raises:
        UserError: there is none; the message names the nearest.
    """
    if name.endswith(".toml"):
        return own_source(Path(name))
    found = find("data source", name, SOURCES)
    if isinstance(found, type) or not isinstance(found, Source):
        raise wrong_type("data source", name, "a Source object", found)
    return found


def dataset_info(name: str) -> DatasetInfo:
    """Return what is published about the data set called `name`.

    Raises:
        UserError: there is none; the message names the nearest.
    """
    catalog = _catalog()
    if name not in catalog:
        raise UserError(f"data set {name!r} is not known: {did_you_mean(name, catalog)}")
    return catalog[name]


def is_published(name: str) -> bool:
    """Return True if the catalogue describes a data set called `name`."""
    return name in _catalog()


def published_records(name: str) -> int | None:
    """Return how many records the publisher has, None where it is not known."""
    return _catalog()[name].records if name in _catalog() else None


@cache
def _catalog() -> Mapping[str, DatasetInfo]:
    entries = tomllib.loads((TABLES / "catalog.toml").read_text(encoding="utf-8"))
    return {name: _info(name, entry) for name, entry in entries.items()}


def _info(name: str, entry: dict[str, Any]) -> DatasetInfo:
    fields = {key: _frozen(value) for key, value in entry.items()}
    if "download" in fields:
        download = {key: _frozen(value) for key, value in fields["download"].items()}
        fields["download"] = Download(**download)
    return DatasetInfo(name=name, **fields)


def _frozen(value: Any) -> Any:  # noqa: ANN401 any value of a TOML file
    return tuple(value) if isinstance(value, list) else value
