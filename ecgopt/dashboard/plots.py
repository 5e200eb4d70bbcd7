"""Plots that Optuna's dashboard shows on a study's page, drawn by plotly in the browser."""

import math
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from ecgopt.analysis.arms import budget_trials
from ecgopt.analysis.curves import BAND, budget_curve
from ecgopt.analysis.pareto import TradePoint, front
from ecgopt.evidence.records import TrialEvidence
from ecgopt.report import words
from ecgopt.report.figures.drawing import ARM_COLOURS, FAINT, GRID, INK

_SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
_STATE_COLOURS = {"complete": "#7b8794", "pruned": "#c3cad2", "running": "#a39274"}
"""Greys, since colours mean arms."""
_DIGITS = 4


def learning_curves(trials: Iterable[TrialEvidence], winner: int | None) -> go.Figure:
    """Return validation score against the share of each trial's own schedule."""
    paid = [trial for trial in budget_trials(trials) if trial.reports]
    figure = _figure("Learning curves", "share of the trial's schedule", "validation macro AUROC")
    for state, colour in _STATE_COLOURS.items():
        chosen = [trial for trial in paid if trial.state == state and trial.number != winner]
        _add_curves(figure, chosen, state, colour, width=1.2)
    best = [trial for trial in paid if trial.number == winner]
    _add_curves(figure, best, f"trial {winner}, the best", INK, width=3)
    figure.update_xaxes(tickformat=".0%", range=[0, 1.02])
    return figure


def _add_curves(
    figure: go.Figure, trials: Sequence[TrialEvidence], name: str, colour: str, *, width: float
) -> None:
    if not trials:
        return
    # One trace with gaps is a tenth of the size of a trace per trial.
    shares: list[float | None] = []
    scores: list[float | None] = []
    numbers: list[int | None] = []
    for trial in trials:
        shares += [*(step / 10 for step in sorted(trial.reports)), None]
        scores += [*(_short(trial.reports[step]) for step in sorted(trial.reports)), None]
        numbers += [*(trial.number for _ in trial.reports), None]
    figure.add_scatter(
        x=shares,
        y=scores,
        customdata=numbers,
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": width},
        marker={"size": 4},
        hovertemplate="trial %{customdata}: %{y:.3f} after %{x:.0%}<extra></extra>",
    )


def budget_curves(studies: Mapping[str, Iterable[TrialEvidence]]) -> go.Figure:
    """Return the expected best score against trials spent, of a study and its rivals.

    Args:
        studies: The trials of each regime, the reference first.
    """
    figure = _figure(
        f"What a budget buys<br><sub>band: {BAND:.0%} of all draws of that many trials</sub>",
        "trials",
        "expected best validation macro AUROC",
    )
    for index, (regime, trials) in enumerate(studies.items()):
        if (curve := budget_curve(trials)) is None:
            continue
        colour = ARM_COLOURS[index % len(ARM_COLOURS)]
        n_trials = [*range(1, len(curve.expected) + 1)]
        figure.add_scatter(
            x=[*n_trials, *reversed(n_trials)],
            y=[*map(_short, curve.high), *map(_short, reversed(curve.low))],
            fill="toself",
            fillcolor=colour,
            opacity=0.15,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=n_trials,
            y=[*map(_short, curve.expected)],
            name=words.regime_name(regime),
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 4, "symbol": _SYMBOLS[index % len(_SYMBOLS)]},
        )
    return figure


def trade_off(points: Sequence[TradePoint], regimes: Sequence[str]) -> go.Figure:
    """Return validation score against training seconds, coloured by regime."""
    figure = _figure("Score against time, by regime", "training seconds", "validation macro AUROC")
    best = front(points)
    figure.add_scatter(
        x=[_short(point.seconds) for point in best],
        y=[_short(point.value) for point in best],
        name="not beaten in both",
        mode="lines",
        line={"color": FAINT, "width": 1, "shape": "hv"},
        hoverinfo="skip",
    )
    for index, regime in enumerate(regimes):
        own = [point for point in points if point.regime == regime]
        figure.add_scatter(
            x=[_short(point.seconds) for point in own],
            y=[_short(point.value) for point in own],
            customdata=[point.number for point in own],
            name=words.regime_name(regime),
            mode="markers",
            marker={
                "color": ARM_COLOURS[index % len(ARM_COLOURS)],
                "symbol": _SYMBOLS[index % len(_SYMBOLS)],
                "size": 8,
            },
            hovertemplate="trial %{customdata}: %{y:.3f} in %{x:.3g} s",
        )
    ticks = _ticks([point.seconds for point in points])
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def _figure(title: str, x: str, y: str) -> go.Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": FAINT}
    return go.Figure(
        layout={
            # The usual template alone is larger than the data.
            "template": "none",
            "title": {"text": title, "font": {"size": 15}},
            "font": {"color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "xaxis": {**axis, "title": {"text": x}},
            "yaxis": {**axis, "title": {"text": y}},
            "margin": {"l": 60, "r": 20, "t": 60, "b": 50},
            "legend": {"orientation": "h", "y": -0.25},
            "hovermode": "closest",
        }
    )


def _ticks(values: Sequence[float]) -> list[float]:
    """Return ticks of a logarithmic axis at 1, 2 and 5."""
    known = [value for value in values if value > 0]
    if not known:
        return []
    first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return [tick for tick in every if min(known) / 2.5 <= tick <= max(known) * 2.5]


def _short(value: float) -> float:
    return round(float(value), _DIGITS)
