"""How cells are called in a report."""

from types import SimpleNamespace

import pytest
from fakes_evidence import World

from ecgopt.report import words

PLACE = "georgia → ptbxl"


def conclusions(world):
    return SimpleNamespace(
        cells=[SimpleNamespace(cell=cell) for cell in world.cells],
        evidence=SimpleNamespace(comparison=SimpleNamespace(regimes=world.regimes)),
    )


@pytest.mark.parametrize(
    ("world", "labels", "shared"),
    [
        (World(train_sizes=(50, 8000)), ["n = 50", "n = 8,000"], f"{PLACE}, resnet1d18"),
        (World(models=("a", "b")), ["a", "b"], f"{PLACE}, n = 200"),
        (
            World(downstreams=("ptbxl", "sph"), train_sizes=(50,)),
            [PLACE, "georgia → sph"],
            "resnet1d18, n = 50",
        ),
        (
            World(models=("a", "b"), train_sizes=(50, 100)),
            ["a, n = 50", "a, n = 100", "b, n = 50", "b, n = 100"],
            PLACE,
        ),
        (World(), [f"{PLACE}, resnet1d18, n = 200"], f"{PLACE}, resnet1d18, n = 200"),
    ],
)
def test_cells_are_called_by_what_they_differ_in_and_an_only_one_in_full(world, labels, shared):
    found = conclusions(world)
    called = [words.cell_label(cell, found) for cell in world.cells]
    assert [label.replace("\u00a0", " ") for label in called] == labels
    assert words.shared_by_cells(found).replace("\u00a0", " ") == shared


def test_a_training_size_stays_on_one_line():
    (label,) = (words.cell_label(cell, conclusions(World())) for cell in World().cells)
    assert label.endswith(" n\u00a0=\u00a0200")


def test_an_arm_is_named_where_there_are_more_than_two():
    world = World(train_sizes=(50, 100), regimes=("scratch", "fine_tune", "lp_ft"))
    label = words.cell_label(world.cells[0], conclusions(world), "lp_ft")
    assert label.endswith(", LP-FT")
