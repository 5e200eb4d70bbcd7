"""Cards: what is known of a public checkpoint, in a TOML file; torch is not imported.

A card says where a checkpoint comes from, which network it is for, how its tensors are named, what
input it was trained on and how its authors fine-tune it. Cards of public models are part of the
package (`card_files/`); a path that ends in `.toml` is a card of the user's own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from ecgopt.data.inputs import InputForm
from ecgopt.errors import CheckpointError, did_you_mean
from ecgopt.toml_errors import NAME_FORM, PART_FORM, BrokenRule, TomlTable, read_toml

FOLDER: Final = Path(__file__).with_name("card_files")


class NetworkTable(TomlTable):
    """`[network]`: what the tensors are loaded into."""

    name: str = Field(pattern=PART_FORM)
    """A network of the package, or `module:name`."""
    width: int | None = Field(default=None, ge=1)
    """None: as published."""
    head: Literal["as_published", "flatten", "pooled"] = "as_published"
    stages: tuple[str, ...] = Field(min_length=1)
    """The stages before the head, in order; the checkpoint is refused for a network with others."""


class WeightsTable(TomlTable):
    """`[weights]`: where the tensors lie in the file, and their names."""

    key: str | None = None
    """Keys that lead to the tensors, joined by dots; empty: the file's outermost table; None: the
    first usual one that the file has."""
    drop: tuple[str, ...] = ()
    """Patterns of the file's names that have no place in the network, such as a decoder."""
    renames: tuple[tuple[str, str], ...] = ()
    """Pattern and replacement, applied one after the other to what the one before made."""
    shells: tuple[str, ...] = ()
    """Classes and packages (ending in a dot) that the file mentions and that are not loaded."""
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Hash of the file; empty: any."""

    def broken_rules(self) -> Iterator[BrokenRule]:
        """Yield what is wrong with the patterns."""
        for name, patterns in (("drop", self.drop), ("renames", [a for a, _ in self.renames])):
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    yield (name,), f"{pattern!r} is no regular expression: {error}"

    def dropped(self, name: str) -> bool:
        """Return whether a tensor of the file has no place in the network."""
        return any(re.search(pattern, name) for pattern in self.drop)

    def renamed(self, name: str) -> str:
        """Return our name for a tensor of the file."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name)
        return name


class RecipeTable(TomlTable):
    """`[recipe]`: how the authors fine-tune."""

    optimizer: str
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    batch_size: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    schedule: str = ""
    frozen_stages: int = Field(default=0, ge=0)
    notes: str = ""


class GoldenTable(TomlTable):
    """`[golden]`: an input, and the features that the authors' own code makes of it."""

    file: str = Field(min_length=1)
    """A safetensors file with tensors `input` (record, lead, time) and `features` (record,
    width), next to the weights."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    tolerance: float = Field(default=1e-3, gt=0, le=0.01)
    """Largest difference of a feature, relative to the largest feature."""


class Card(TomlTable):
    """What is known of a public checkpoint."""

    title: str = Field(min_length=1)
    source: str = Field(pattern=r"^https://")
    """Where the file comes from."""
    paper: str = ""
    licence: str = Field(min_length=1)
    pretraining_data: tuple[str, ...] = Field(min_length=1)
    """Data sets, by their names in `ecgopt data list` where they have one."""
    network: NetworkTable
    weights: WeightsTable = WeightsTable()
    input: InputForm
    recipe: RecipeTable
    golden: GoldenTable | None = None


def card_names() -> tuple[str, ...]:
    """Return the names of the cards in the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def card_path(name: str) -> Path:
    """Return the file of the card called `name`, or the path of a card of the user's own.

    Raises:
        CheckpointError: there is none; the message names the nearest.
    """
    if name.endswith(".toml"):
        return Path(name)
    path = FOLDER / f"{name}.toml"
    if not re.fullmatch(NAME_FORM, name) or not path.is_file():
        raise CheckpointError(
            f"card {name!r} is not known: {did_you_mean(name, card_names())} "
            "(a card of your own is named by its path, ending in .toml)"
        )
    return path


def load_card(name: str) -> Card:
    """Return a card, by its name in the package or the path of a `.toml` file.

    Raises:
        CheckpointError: there is none, or it breaks a rule.
    """
    return read_toml(card_path(name), Card, CheckpointError)
