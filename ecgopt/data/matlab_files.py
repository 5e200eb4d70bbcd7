"""Structures in MATLAB v5 files (`.mat`), read in either byte order and with bounded memory."""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from ecgopt.data.records import file_bytes
from ecgopt.errors import RecordError

MAX_BYTES = 64 << 20
"""Largest file, and largest size of its content after inflation."""

_HEADER_BYTES = 128
_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCTURE, _CHARACTERS = 2, 4
_DTYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"},
    **{13: "u8", 16: "u1", 17: "u2", 18: "u4"},
}
"""Numbers of the format's data types; the last three are characters in UTF-8, -16 and -32."""


class _BrokenError(Exception):
    """The bytes break the format."""


def read_structure(path: Path, variable: str) -> Mapping[str, Shaped[np.ndarray, "..."] | str]:
    """Return the fields of the 1 x 1 structure `variable`: arrays of numbers, and texts.

    Fields of other kinds, such as cells and further structures, are left out.

    Raises:
        RecordError: the file is missing, too large, no MATLAB v5 file, or lacks the structure.
    """
    data = file_bytes(path, MAX_BYTES)
    order = _BYTE_ORDERS.get(data[_HEADER_BYTES - 2 : _HEADER_BYTES])
    if order is None or data[124:126] not in {b"\x00\x01", b"\x01\x00"}:
        form = "HDF5, the form of MATLAB 7.3" if b"\x89HDF" in data[:1024] else "another format"
        detail = f"{path.name}: {form}; store it by save -v7"
        raise RecordError(path.stem, "it is no MATLAB v5 file", detail)
    try:
        for kind, content in _elements(memoryview(data)[_HEADER_BYTES:], order):
            unpacked = _inflated(content, order) if kind == _COMPRESSED else content
            found = _structure(unpacked, order, variable)
            if found is not None:
                return found
    except (_BrokenError, zlib.error, ValueError) as error:
        raise RecordError(
            path.stem, "it is a damaged MATLAB file", f"{path.name}: {error}"
        ) from error
    raise RecordError(path.stem, f"it holds no structure {variable}", path.name)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Yield type and content of each data element, without its padding."""
    position = 0
    while position + 8 <= len(data):
        first, second = np.frombuffer(data[position : position + 8], f"{order}u4").tolist()
        if first >> 16:
            # Up to four bytes stand within the tag itself.
            kind, size, start, step = first & 0xFFFF, first >> 16, position + 4, 8
        else:
            kind, size, start = first, second, position + 8
            step = 8 + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data) or (first >> 16 and size > 4):
            raise _BrokenError(f"an element of {size} bytes reaches beyond the end")
        yield kind, data[start : start + size]
        position += step


def _inflated(content: memoryview, order: str) -> memoryview:
    """Return the content of the one matrix in a compressed element."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(content, MAX_BYTES)
    if inflater.unconsumed_tail:
        raise _BrokenError(f"it inflates beyond {MAX_BYTES >> 20} MiB")
    kind, matrix = next(_elements(memoryview(data), order), (0, memoryview(b"")))
    return matrix if kind == _MATRIX else memoryview(b"")


def _structure(
    matrix: memoryview, order: str, variable: str
) -> Mapping[str, Shaped[np.ndarray, "..."] | str] | None:
    """Return the fields of a matrix element, None if it is not the structure asked for."""
    parts = _elements(matrix, order)
    header = _header(parts, order)
    if header is None or header[0] != _STRUCTURE or header[2] != variable:
        return None
    if header[1] != (1, 1):
        raise _BrokenError(f"{variable} is not one structure, but {header[1]}")
    width = int(_numbers(*next(parts, (0, memoryview(b""))), order).sum())
    _, text = next(parts, (0, memoryview(b"")))
    if width < 1:
        raise _BrokenError("the names of the fields have no length")
    names = [bytes(text[at : at + width]) for at in range(0, len(text), width)]
    fields: dict[str, Shaped[np.ndarray, ...] | str] = {}
    for name, (kind, content) in zip(names, parts, strict=False):
        value = _value(content, order) if kind == _MATRIX else None
        if value is not None:
            fields[name.split(b"\0")[0].decode("latin-1")] = value
    return fields


def _header(
    parts: Iterator[tuple[int, memoryview]], order: str
) -> tuple[int, tuple[int, ...], str] | None:
    """Return class, dimensions and name of a matrix, None if it is empty."""
    head = [content for _, (_, content) in zip(range(3), parts, strict=False)]
    if len(head) < 3 or len(head[0]) < 4:
        return None
    flags = int(np.frombuffer(head[0][:4], f"{order}u4")[0])
    dimensions = tuple(np.frombuffer(head[1], f"{order}i4").tolist())
    return flags & 0xFF, dimensions, bytes(head[2]).decode("latin-1")


def _value(matrix: memoryview, order: str) -> Shaped[np.ndarray, "..."] | str | None:
    """Return a matrix of numbers or characters, None for another kind."""
    parts = _elements(matrix, order)
    header = _header(parts, order)
    if header is None:
        return None
    kind, dimensions, _ = header
    if kind != _CHARACTERS and not 6 <= kind <= 15:
        return None
    numbers = _numbers(*next(parts, (0, memoryview(b""))), order)
    if kind == _CHARACTERS:
        return "".join(map(chr, numbers.tolist()))
    if min(dimensions, default=-1) < 0:
        raise _BrokenError(f"a matrix has the dimensions {dimensions}")
    # The product of the dimensions must be the number of values, or this raises ValueError.
    return numbers.reshape(dimensions, order="F")


def _numbers(kind: int, content: memoryview, order: str) -> Shaped[np.ndarray, " value"]:
    if kind not in _DTYPES:
        raise _BrokenError(f"values of type {kind} are no numbers")
    return np.frombuffer(content, order + _DTYPES[kind])
