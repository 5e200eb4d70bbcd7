"""Names of weights in other packages, and their mapping to ours; torch is not imported."""

from collections.abc import Mapping
from typing import Final

HEAD: Final = "head"
"""Name of the last stage, the only part of a network that depends on the labels."""

NameTable = Mapping[str, str]
"""Their names to ours, by dotted beginnings; `*` matches one part, and the rest is kept."""


def _torchvision_table() -> dict[str, str]:
    table = {
        "conv1": "stem.first.conv",
        "bn1": "stem.first.norm",
        "fc1": "stage4.hidden.0",
        "fc2": f"{HEAD}.linear",
        "fc": f"{HEAD}.linear",
    }
    for position in range(1, 5):
        ours = f"stage{position}.body.*" if position == 4 else f"stage{position}.*"
        theirs = f"layer{position}.*"
        table |= {f"{theirs}.downsample.0": f"{ours}.shortcut.conv"}
        table |= {f"{theirs}.downsample.1": f"{ours}.shortcut.norm"}
        for index, word in enumerate(("first", "second", "third"), 1):
            table |= {f"{theirs}.conv{index}": f"{ours}.{word}.conv"}
            table |= {f"{theirs}.bn{index}": f"{ours}.{word}.norm"}
    return table


TABLES: Final[Mapping[str, NameTable]] = {
    "ecgopt": {},
    "torchvision": _torchvision_table(),
}
"""Known naming schemes: ours, and torchvision's ResNets (in one dimension, with fc1 and fc2)."""


def renamed(name: str, table: NameTable) -> str:
    """Return our name for theirs, by the longest rule that matches; unchanged if none does."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        for pattern, ours in table.items():
            wanted = pattern.split(".")
            pairs = list(zip(wanted, parts, strict=False))
            if len(wanted) == length and all(want in ("*", part) for want, part in pairs):
                stars = iter([part for want, part in pairs if want == "*"])
                replaced = [next(stars, "*") if part == "*" else part for part in ours.split(".")]
                return ".".join([*replaced, *parts[length:]])
    return name
