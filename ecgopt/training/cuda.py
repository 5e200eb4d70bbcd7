"""A training step as one launch on a CUDA device (a CUDA graph)."""

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def cuda_devices(device: torch.device) -> list[torch.device]:
    """Return the accelerator whose generator a computation on `device` draws from, if any."""
    return [device] if device.type == "cuda" else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graph:
    """The launches of one step, with the memory that they read and write."""

    replay: Callable[[], None]
    inputs: Tensor
    targets: Tensor
    loss: Tensor


class CapturedStep:
    """A training step whose launches are recorded once for each shape of a batch and replayed.

    A small network's step is several hundred launches, which take the host longer than the device.
    The first step of each shape runs as usual, since it creates the optimiser's state and the
    libraries' workspaces; the second is recorded. A step that CUDA cannot record runs as usual.

    The recorded launches read and write the tensors of that time: whoever replaces parameters or
    the optimiser's state needs a new object. The optimiser must be built for it
    (`build_optimizer(..., is_captured=True)`).
    """

    def __init__(self, step: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> None:
        """Record nothing yet.

        Args:
            step: takes inputs and targets of a batch, and returns the loss.
            device: a CUDA device.
        """
        self.stream = torch.cuda.Stream(device)
        """Where all steps must run: recording forbids the default stream."""
        self._step = step
        self._graphs: dict[tuple[torch.Size, torch.Size], _Graph | None] = {}
        self._is_recordable = True

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take a step, and return its loss: valid until the next step of the same shape."""
        shapes = inputs.shape, targets.shape
        if shapes not in self._graphs or not self._is_recordable:
            self._graphs[shapes] = None
            return self._step(inputs, targets)
        graph = self._graphs[shapes] or self._record(inputs, targets)
        if graph is None:
            return self._step(inputs, targets)
        self._graphs[shapes] = graph
        graph.inputs.copy_(inputs)
        graph.targets.copy_(targets)
        graph.replay()
        return graph.loss

    @property
    def n_graphs(self) -> int:
        """The shapes of batches whose step is recorded."""
        return sum(graph is not None for graph in self._graphs.values())

    def _record(self, inputs: Tensor, targets: Tensor) -> _Graph | None:
        held_inputs, held_targets = torch.empty_like(inputs), torch.empty_like(targets)
        held_inputs.copy_(inputs)
        held_targets.copy_(targets)
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread: others renew leases and read data meanwhile.
            with (
                _no_garbage_collection(),
                torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"),
            ):
                loss = self._step(held_inputs, held_targets)
        except RuntimeError as error:
            # What was recorded was not run, so the step is still to be taken.
            logger.warning("steps are not recorded as CUDA graphs, but run as usual: %s", error)
            self._is_recordable = False
            return None
        return _Graph(replay=graph.replay, inputs=held_inputs, targets=held_targets, loss=loss)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector from freeing an earlier trial's graph, which would spoil a recording.

    Seen on an H200: CUDA refuses to destroy a graph while it records another, and the step that was
    being recorded then ran unrecorded for the rest of the trial.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
