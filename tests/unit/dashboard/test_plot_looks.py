"""Colours of the dashboard's plots mean arms alone, and ticks are numbers that people read."""

import pytest
from fakes_evidence import World, invent_trials

from ecgopt.analysis.pareto import TradePoint
from ecgopt.dashboard import plots
from ecgopt.report.figures.drawing import ARM_COLOURS


def test_no_state_of_a_trial_has_the_colour_of_an_arm():
    trials = invent_trials(World(trials=12), "study", "fine_tune")
    figure = plots.learning_curves(trials, winner=2)
    assert len(figure.data) > 1
    assert not {trace.line.color for trace in figure.data} & set(ARM_COLOURS)


@pytest.mark.parametrize(
    ("seconds", "ticks"),
    [((3, 80), ["2", "5", "10", "20", "50", "100", "200"]), ((0.4,), ["0.2", "0.5", "1"])],
)
def test_the_time_axis_has_ticks_at_1_2_and_5(seconds, ticks):
    points = [TradePoint(seconds=s, value=0.8, regime="scratch", number=n)
              for n, s in enumerate(seconds)]  # fmt: skip
    axis = plots.trade_off(points, ["scratch"]).layout.xaxis
    assert list(axis.ticktext) == ticks
