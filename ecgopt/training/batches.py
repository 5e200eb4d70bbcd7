"""Records of a dataset as tensors: microvolts in storage, millivolts in a batch."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ecgopt.shapes import RowIndex, SignalBatch

if TYPE_CHECKING:
    from ecgopt.data.splits import EcgDataset

MICROVOLTS_PER_MILLIVOLT = 1000.0


class SignalSource:
    """Signals and labels of one dataset, gathered batch by batch.

    On a CPU the records stay where the dataset keeps them (a memory map); on an accelerator they
    are copied to the device once, as 16-bit integers.
    """

    def __init__(self, dataset: "EcgDataset", device: torch.device) -> None:
        self._rows = np.asarray(dataset.rows)
        self._signals = dataset.signals
        self._device = device
        self._labels = torch.from_numpy(np.array(dataset.labels, dtype=np.float32)).to(device)
        self._resident: Tensor | None = None
        if device.type != "cpu":
            self._resident = self._gather(self._rows).to(device)

    def __len__(self) -> int:
        return self._rows.size

    def labels(self, positions: RowIndex) -> Tensor:
        """Return the label rows at `positions` of the dataset."""
        return self._labels[torch.from_numpy(positions).to(self._device)]

    def inputs(self, positions: RowIndex) -> SignalBatch:
        """Return the signals at `positions` of the dataset, in millivolts."""
        if self._resident is None:
            microvolts = self._gather(self._rows[positions])
        else:
            microvolts = self._resident[torch.from_numpy(positions).to(self._device)]
        return microvolts.to(torch.float32).div_(MICROVOLTS_PER_MILLIVOLT)

    def _gather(self, rows: RowIndex) -> Tensor:
        return torch.from_numpy(np.asarray(self._signals[rows]))


def batch_bounds(n_records: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the [start, stop) of each batch: full ones and a rest, but never a rest of one.

    A single record would leave BatchNorm without a variance, so it joins the batch before it.
    """
    starts = list(range(0, n_records, batch_size))
    if len(starts) > 1 and n_records - starts[-1] == 1:
        starts.pop()
    return [(start, stop) for start, stop in pairwise([*starts, n_records])]


def shuffled_batches(
    n_records: int, batch_size: int, generator: np.random.Generator
) -> Iterator[RowIndex]:
    """Yield the positions 0..n_records-1 once each, in a random order, batch by batch."""
    order = generator.permutation(n_records)
    for start, stop in batch_bounds(n_records, batch_size):
        yield order[start:stop]
