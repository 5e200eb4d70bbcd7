"""Inputs and targets of a dataset, gathered batch by batch from where they are stored."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ecgopt.data.splits import EcgDataset
from ecgopt.models.stages import SignalBatch
from ecgopt.shapes import RowIndex

MICROVOLTS_PER_MILLIVOLT = 1000.0
RESIDENT_SHARE = 0.5
"""Share of a device's free memory that one part of the records may take."""
ROWS_PER_COPY = 4096


class BatchSource:
    """Stored inputs of some records, and their targets.

    On a CPU the inputs stay where they are (usually a memory map shared by all processes of the
    host); on an accelerator those of the chosen rows are copied to the device once, as stored, or
    batch by batch if they would fill more than half of its free memory.
    """

    def __init__(
        self,
        storage: np.ndarray,
        rows: RowIndex,
        targets: Tensor,
        *,
        decode: Callable[[Tensor], Tensor],
        n_stages: int = 0,
        device: torch.device,
    ) -> None:
        """Describe the records.

        Args:
            storage: inputs of any number of records, first axis record.
            rows: the rows of `storage` that count.
            targets: one row per row of `rows`.
            decode: makes network inputs of gathered rows, on the device.
            n_stages: leading stages of the network that the stored inputs have passed already.
            device: where batches are wanted.
        """
        self.n_stages = n_stages
        self.targets = targets.to(device)
        self._storage = storage
        self._rows = rows
        self._decode = decode
        self._device = device
        self._resident = self._on_device() if device.type == "cuda" else None

    def __len__(self) -> int:
        return self._rows.size

    def batches(self, order: RowIndex, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets of the records at `order`, batch by batch."""
        # One copy of the order, not one per batch: each would wait for the accelerator.
        places = torch.from_numpy(order).to(self._device)
        for start, stop in batch_bounds(order.size, batch_size):
            if self._resident is None:
                stored = self._gather(self._rows[order[start:stop]]).to(self._device)
            else:
                stored = self._resident[places[start:stop]]
            yield self._decode(stored), self.targets[places[start:stop]]

    def _on_device(self) -> Tensor | None:
        """Return the chosen rows on the device, or None if they would crowd it."""
        if not self._rows.size:
            return None
        first = self._gather(self._rows[:1])
        free_bytes, _ = torch.cuda.mem_get_info(self._device)
        if self._rows.size * first.nbytes > free_bytes * RESIDENT_SHARE:
            return None
        resident = torch.empty(
            (self._rows.size, *first.shape[1:]), dtype=first.dtype, device=self._device
        )
        # In parts, so that the host never holds all of them twice.
        for start in range(0, self._rows.size, ROWS_PER_COPY):
            part = self._rows[start : start + ROWS_PER_COPY]
            resident[start : start + part.size].copy_(self._gather(part))
        return resident

    def _gather(self, rows: RowIndex) -> Tensor:
        return torch.from_numpy(np.asarray(self._storage[rows]))


def signal_source(dataset: EcgDataset, device: torch.device) -> BatchSource:
    """Return the dataset's signals as networks see them, with its label rows as targets."""
    return BatchSource(
        dataset.signals,
        np.asarray(dataset.rows),
        label_targets(dataset),
        decode=to_inputs,
        device=device,
    )


def label_targets(dataset: EcgDataset) -> Tensor:
    """Return the dataset's label rows as a tensor with its own memory."""
    return torch.from_numpy(np.array(dataset.labels, dtype=np.float32))


def to_inputs(stored: Tensor) -> SignalBatch:
    """Return stored 16-bit microvolts as floating-point millivolts, and other inputs as they are.

    In memory the leads of a sample are neighbours, as networks want them; transposing 16-bit
    numbers is half the work of transposing 32-bit ones.
    """
    by_sample = stored.transpose(1, 2).contiguous()
    if not stored.is_floating_point():
        by_sample = by_sample.to(torch.float32).div_(MICROVOLTS_PER_MILLIVOLT)
    return by_sample.transpose(1, 2)


def batch_bounds(n_records: int, batch_size: int) -> list[tuple[int, int]]:
    """Return the [start, stop) of each batch: full ones and a rest, but never a rest of one.

    A single record would leave BatchNorm without a variance, so it joins the batch before it.
    """
    starts = list(range(0, n_records, batch_size))
    if len(starts) > 1 and n_records - starts[-1] == 1:
        starts.pop()
    return list(pairwise([*starts, n_records]))
