"""Contestants in processes of their own that take turns, so that a busy machine slows all alike."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Turns = Callable[..., Iterator[Any]]
"""Makes an iterator of which each `next` is one turn: the same work on every side."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One way of doing a turn's work, in one or more processes at once."""

    turns: Turns
    arguments: Mapping[str, Any]
    n_processes: int = 1
    n_threads: int = 1


def _serve(connection: Connection, contestant: Contestant) -> None:
    import torch

    torch.set_num_threads(contestant.n_threads)
    turns = contestant.turns(**contestant.arguments)
    # The first turn is warm-up: allocations, kernel selection, file pages.
    next(turns)
    connection.send("ready")
    while connection.recv():
        started = time.monotonic()
        next(turns)
        connection.send(time.monotonic() - started)


def _start(contestant: Contestant) -> list[Connection]:
    context = multiprocessing.get_context("spawn")
    links = []
    for _ in range(contestant.n_processes):
        here, there = context.Pipe()
        # A daemon ends with this process, also if a measurement fails half way.
        context.Process(target=_serve, args=(there, contestant), daemon=True).start()
        links.append(here)
    for link in links:
        link.recv()
    return links


def _turn(links: list[Connection]) -> float:
    for link in links:
        link.send(True)
    seconds: list[float] = [link.recv() for link in links]
    return max(seconds) / len(links)


def seconds_per_turn(
    contestants: Mapping[str, Contestant], *, n_rounds: int
) -> dict[str, list[float]]:
    """Return each contestant's seconds per turn and process, one entry per round.

    A contestant of several processes does a turn in each at the same time; its entry is the time
    until the last has ended, divided by their number. So work per second compares directly.
    """
    links = {name: _start(contestant) for name, contestant in contestants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(n_rounds):
        for name, group in links.items():
            seconds[name].append(_turn(group))
    for group in links.values():
        for link in group:
            link.send(False)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> tuple[float, float, float]:
    """Return how many times faster `fast` is: median over rounds, least, greatest."""
    ratios = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def print_ratios(
    seconds: Mapping[str, list[float]], fast: str, targets: Mapping[str, float], n_records: int
) -> None:
    """Print records per second of each contestant and the ratios to `fast` beside their targets."""
    for name, values in seconds.items():
        print(f"  {name:34s} {n_records / statistics.median(values):9,.0f} records/s")
    for name, target in targets.items():
        middle, low, high = ratio(seconds, name, fast)
        print(
            f"  {fast} / {name}: {middle:.2f}x (rounds {low:.2f} to {high:.2f}), "
            f"target {target}x: {'met' if middle >= target else 'MISSED'}"
        )
