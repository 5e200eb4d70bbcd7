"""Reads the tensors of a foreign checkpoint without running code that comes with it.

Two kinds of file are read: `.safetensors`, and what `torch.save` writes (zip files and those of
torch before 1.6), with the tensors anywhere below nested keys. A pickle names functions and
classes, and reading it normally calls them. Here torch's own reader for plain content is tried
first. Files that also hold a configuration, an optimiser or a numpy number are then read by
`_Reader`, which calls nothing but torch's functions that put a tensor together: an object of a
listed package becomes an empty shell, and the package is not imported. Everything else is refused
by its name.
"""

import collections
import pickle
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final

import torch
from safetensors.torch import load_file
from torch import Tensor

from ecgopt.errors import CheckpointError, nearest

KEYS: Final = ("state_dict", "model", "model_state_dict", "encoder")
"""Where the tensors lie if no key is given."""

SHELLS: Final = (
    "argparse.Namespace",
    "_codecs.encode",
    "copyreg._reconstructor",
    "builtins.bool",
    "builtins.complex",
    "builtins.dict",
    "builtins.float",
    "builtins.frozenset",
    "builtins.int",
    "builtins.list",
    "builtins.object",
    "builtins.set",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "collections.",
    "datetime.",
    "enum.",
    "fairseq.",
    "fairseq_signals.",
    "functools.partial",
    "lightning.",
    "lightning_fabric.",
    "ml_collections.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "torch.device",
    "torch.optim.",
    "transformers.",
    "types.SimpleNamespace",
    "typing.",
)
"""What public checkpoints hold next to their tensors; a name ending in a dot stands for a package.

Objects of these become shells: whatever a file asks of them, nothing happens.
"""

_REAL: Final[Mapping[str, object]] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch.Size": torch.Size,
    **{f"torch.{kind}": getattr(torch, kind) for kind in (
        "bfloat16", "bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64",
        "uint8",
    )},
    **{f"torch.{kind}Storage": getattr(torch, f"{kind}Storage") for kind in (
        "BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short",
    )},
    "torch.storage.UntypedStorage": torch.UntypedStorage,
}  # fmt: skip
"""All that `_Reader` calls or hands out as it is."""


_PYTHON_2: Final[Mapping[str, str]] = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Names of modules in protocol 2, which `torch.save` writes."""


class Shell:
    """An object of a class that is not loaded; it accepts whatever a pickle asks and keeps none."""

    def __new__(cls, *_arguments: object, **_named: object) -> "Shell":
        """Return an empty shell; the arguments are not looked at."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_named: object) -> None:
        """Keep nothing."""

    def __setstate__(self, _state: object) -> None:
        """Keep nothing."""

    def __setitem__(self, _key: object, _value: object) -> None:
        """Keep nothing."""

    def __hash__(self) -> int:
        """Let a shell be a key of a table."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same shell."""
        return self is other

    def append(self, _item: object) -> None:
        """Keep nothing."""

    def extend(self, _items: object) -> None:
        """Keep nothing."""

    def add(self, _item: object) -> None:
        """Keep nothing."""


class _Refused(Exception):
    """A file asks for a function or class that is not listed; the argument is its name."""


class _Reader(pickle.Unpickler):
    """An unpickler that looks no name up: it hands out what is in `_REAL`, or shells."""

    shells: tuple[str, ...] = SHELLS

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 as the base class
        wanted = f"{_PYTHON_2.get(module, module)}.{name}"
        if wanted in _REAL:
            return _REAL[wanted]
        if any(wanted == each or (each[-1] == "." and wanted.startswith(each))
               for each in self.shells):  # fmt: skip
            return Shell
        raise _Refused(wanted)


def read_tensors(
    path: Path, *, key: str | None = None, shells: Iterable[str] = ()
) -> dict[str, Tensor]:
    """Return the tensors of a file by the names that they have there.

    Args:
        path: A `.safetensors` file, or one of `torch.save`.
        key: Keys that lead to the tensors, joined by dots; empty for the file's outermost table,
            None for the first of `KEYS` that is there.
        shells: Further classes that the file may mention, as in `SHELLS`.

    Raises:
        CheckpointError: the file cannot be read, mentions code that is not listed, or holds no
            tensors there.
    """
    content = _content(path, (*SHELLS, *shells))
    found = _below(path, content, key)
    if isinstance(found, Shell):
        raise CheckpointError(f"weights {path} hold a Python object where the tensors should be")
    if not isinstance(found, dict):
        raise CheckpointError(_no_tensors(path, found))
    tensors = dict(_tensors(found))
    if not tensors or (key is None and len(tensors) < len(found)):
        raise CheckpointError(_no_tensors(path, found))
    return tensors


def _content(path: Path, shells: tuple[str, ...]) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            return _with_shells(path, shells)
    except _Refused as error:
        raise CheckpointError(
            f"weights {path} contain Python objects of {error}, which are not loaded since they "
            "could run any code; save `model.state_dict()` with torch.save, or a .safetensors file"
        ) from error
    except Exception as error:
        # A cut or hostile pickle can raise anything from within the readers.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"weights {path} are damaged or of another kind: {reason}") from error


def _with_shells(path: Path, shells: tuple[str, ...]) -> object:
    class Reader(_Reader):
        pass

    Reader.shells = shells

    def load(file: IO[bytes], **options: Any) -> object:  # noqa: ANN401 as pickle.load
        return Reader(file, **options).load()

    # torch.load takes its unpickler from a module with these names.
    module = SimpleNamespace(__name__="ecgopt", Unpickler=Reader, load=load)
    return torch.load(path, map_location="cpu", pickle_module=module, weights_only=False)


def _below(path: Path, content: object, key: str | None) -> object:
    if key is None:
        for known in KEYS:
            if isinstance(content, dict) and isinstance(dict.get(content, known), dict):
                content = dict.__getitem__(content, known)
        return content
    for part in filter(None, key.split(".")):
        if not isinstance(content, dict) or part not in content:
            names = [str(name) for name in content] if isinstance(content, dict) else []
            near = nearest(part, names)
            hint = (
                f"the nearest is {near!r}"
                if near
                else f"there are {', '.join(names[:5]) or 'none'}"
            )
            raise CheckpointError(f"weights {path} have no key {part!r} of {key!r}: {hint}")
        content = dict.__getitem__(content, part)
    return content


def _tensors(table: dict[Any, object]) -> Iterator[tuple[str, Tensor]]:
    # A pickle can give a table attributes that hide its methods.
    for name, value in dict.items(table):
        if isinstance(name, str) and isinstance(value, Tensor):
            yield name, value.detach()


def _no_tensors(path: Path, found: object) -> str:
    what = type(found).__name__
    if isinstance(found, dict):
        others = [str(name) for name, value in dict.items(found) if not isinstance(value, Tensor)]
        what += f" with {', '.join(others[:5])}" if others else " without any"
    return (
        f"weights {path} must be a mapping from names to tensors, but hold a {what}; save "
        "`model.state_dict()`, or name the key that the tensors lie under"
    )
