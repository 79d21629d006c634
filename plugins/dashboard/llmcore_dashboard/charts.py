"""Charts as SVG without text. The axes are HTML, so that the font size does not scale with the chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple

__all__ = ["Series", "draw_bars", "draw_share"]

_WIDTH: Final = 12
"""The width of a bucket in units of the drawing."""
_BAR: Final = 10
_HEIGHT: Final = 200
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_MOST_LABELS: Final = 4


class Series(NamedTuple):
    """The values of one series, one per bucket; None for a bucket without a measurement."""

    name: str
    style: str
    """The CSS class that gives the series its colour."""
    values: Sequence[float | None]


def draw_bars(
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    tips: Sequence[str],
    label: Callable[[float], str],
) -> str:
    """Return a chart with a stacked bar and a tooltip for each of *names*."""
    sums = [sum(each.values[at] or 0 for each in series) for at in range(len(names))]
    top = _find_top(max(sums, default=0))
    bases = [0.0] * len(names)
    paths = []
    for each in series:
        parts = []
        for at, value in enumerate(each.values):
            if value:
                height = value / top * _HEIGHT
                low = _HEIGHT - bases[at] / top * _HEIGHT
                parts.append(f"M{at * _WIDTH + 1} {low:.1f}v-{height:.1f}h{_BAR}v{height:.1f}z")
                bases[at] += value
        if parts:
            paths.append(f'<path class="{each.style}" d="{"".join(parts)}"/>')
    return _frame(title, names, "".join(paths), tips, top, label)


def draw_share(part: float) -> str:
    """Return a small bar filled to *part*, from 0 to 1."""
    width = max(0.0, min(part, 1.0)) * 100
    return (
        '<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rail" width="100" height="8"/><rect class="s0" width="{width:.1f}" height="8"/></svg>'
    )


def _frame(  # noqa: PLR0917 - each argument is one part of the drawing
    title: str,
    names: Sequence[str],
    drawing: str,
    tips: Sequence[str],
    top: float,
    label: Callable[[float], str],
) -> str:
    width = max(len(names), 1) * _WIDTH
    grid = "".join(f'<path class="grid" d="M0 {y}H{width}"/>' for y in (0, _HEIGHT // 2, _HEIGHT))
    hits = "".join(
        f'<rect class="hit" x="{at * _WIDTH}" width="{_WIDTH}" height="{_HEIGHT}"><title>{escape(tip)}</title></rect>'
        for at, tip in enumerate(tips)
    )
    scale = "".join(f"<span>{escape(label(value))}</span>" for value in (top, top / 2, 0.0))
    shown = _choose_labels(names)
    axis = "".join(f"<span>{escape(name)}</span>" for name in shown)
    return (
        f'<div class="plot"><div class="y" aria-hidden="true">{scale}</div>'
        f'<svg viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(title)}">'
        f"{grid}{drawing}{hits}</svg>"
        f'<div class="x" aria-hidden="true">{axis}</div></div>'
    )


def _choose_labels(names: Sequence[str]) -> list[str]:
    """Return the labels of the x axis, evenly spaced from the first to the last bucket."""
    last = len(names) - 1
    if last < _MOST_LABELS:
        return [*names]
    return [names[round(last * at / (_MOST_LABELS - 1))] for at in range(_MOST_LABELS)]


def _find_top(highest: float) -> float:
    """Return the maximum of a scale for values up to *highest*: a round number."""
    if highest <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= highest:
        power *= 10
    while power > highest:
        power /= 10
    return next(power * step for step in _STEPS if power * step >= highest * 0.999999)
