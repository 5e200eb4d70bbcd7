"""Label sets: the mapping from the statements of a data set to classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ecgopt.shapes import Bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Classes in a fixed order, and the statement codes of each."""

    name: str
    classes: tuple[str, ...]
    members: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Statement code to the classes it belongs to."""

    def encode(self, statements: Sequence[Mapping[str, float]]) -> Bool[np.ndarray, "record label"]:
        """Return True where a record carries a class.

        A statement counts at any likelihood, 0 included, as in the PTB-XL benchmark of
        Strodthoff et al.: there a likelihood of 0 means "not stated".

        Args:
            statements: One mapping per record, statement code to likelihood in percent.
        """
        labels = np.zeros((len(statements), len(self.classes)), dtype=np.bool_)
        column = {name: index for index, name in enumerate(self.classes)}
        columns = {code: [column[name] for name in names] for code, names in self.members.items()}
        for row, codes in enumerate(statements):
            for code in codes:
                if code in columns:
                    labels[row, columns[code]] = True
        return labels

    def codes_of(self, name: str) -> frozenset[str]:
        """Return the statement codes of the class `name`."""
        return frozenset(code for code, names in self.members.items() if name in names)
