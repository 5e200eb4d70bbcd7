"""XML documents from outside, read without entities and with bounded size."""

import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from ecgopt.data.records import file_bytes
from ecgopt.errors import RecordError

MAX_XML_BYTES = 32 << 20
"""Largest document: in memory it takes several times its size."""

_MAX_DEPTH = 60
_MAX_ELEMENTS = 1_000_000


def read_xml(path: Path) -> Element:
    """Return the root of the document in `path`; names have no namespace and small letters.

    A document that declares entities is refused, whatever it does with them: entities can name
    other files and grow without bound. No other file is opened for a document type either.

    Raises:
        RecordError: the file is missing, too large, no XML, or declares entities.
    """
    data = file_bytes(path, MAX_XML_BYTES)
    try:
        return _parsed(data)
    except (expat.ExpatError, ParseError, ValueError, LookupError, _RefusedError) as error:
        raise RecordError(path.stem, "it is no sound XML", f"{path.name}: {error}") from error


class _RefusedError(Exception):
    """The document does what no ECG needs."""


def _parsed(data: bytes) -> Element:
    builder = TreeBuilder()
    depth = count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > _MAX_DEPTH or count > _MAX_ELEMENTS:
            raise _RefusedError(f"more than {_MAX_DEPTH} levels or {_MAX_ELEMENTS:,} elements")
        builder.start(_local(name), {_local(key): text for key, text in attributes.items()})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(_local(name))

    def refuse(*_: object) -> None:
        raise _RefusedError("it declares entities")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)
    return builder.close()


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def texts(root: Element, path: str) -> Iterator[str]:
    """Yield the texts of all elements at `path` that have one."""
    for found in root.findall(path):
        if found.text and found.text.strip():
            yield found.text.strip()


def text(root: Element, path: str) -> str:
    """Return the first text at `path`, empty if there is none."""
    return next(texts(root, path), "")


def number(value: str, what: str, *, record: str) -> float:
    """Return the number in `value`, of which a comma may divide the fraction.

    Raises:
        RecordError: it is none.
    """
    try:
        return float(value.strip().replace(",", "."))
    except ValueError as error:
        raise RecordError(record, f"{what} must be a number", f"is {value[:40]!r}") from error


def base64_bytes(value: str, *, record: str) -> bytes:
    """Return the bytes in a Base64 text, line ends allowed and final `=` optional.

    Raises:
        RecordError: it is no Base64.
    """
    stripped = "".join(value.split()).rstrip("=")
    try:
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(record, "its samples are no Base64", str(error)) from error
