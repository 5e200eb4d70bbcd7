"""Fair hyperparameter studies of transfer learning against training from scratch in ECG.

`open` gives the comparison of a study file, `open_bundle` one that was exported; see
`docs/how-to/notebook.md`. Both are imported when they are first used, so `import ecgopt` is quick.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecgopt.api import Bundle, Comparison, Results, open, open_bundle

__all__ = ["Bundle", "Comparison", "Results", "__version__", "open", "open_bundle"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("ecgopt.api"), name)
    raise AttributeError(f"module 'ecgopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
