"""PURE: where the marks of a chart stand. Pages draw them as SVG of their own, in the colours of the page, with the
table of the same numbers beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH = 560
ROW = 52
PLOT_HEIGHT = 240
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Bar:
    """A step of a bridge: its words and amount, and where its bar lies, in units of the drawing. way is `level` for a
    net, `up` and `down` for what leads from one to the next."""

    title: str
    amount: str
    way: str
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Bridge:
    """Bars from one net to the next, and where zero is."""

    bars: tuple[Bar, ...]
    zero: float
    height: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A line of a chart: its words, which of the page's colours it has, its corners, and its last value."""

    title: str
    colour: int
    points: str
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True, slots=True)
class Curves:
    """Lines over the same instants, between a least and a greatest value."""

    curves: tuple[Curve, ...]
    least: str
    most: str


def bridge(steps: Sequence[tuple[str, str]]) -> Bridge | None:
    """The bars of a bridge, of steps with their words and amounts: the first and the last are nets, those between lead
    from one to the other. What is nothing gets no bar. None where nothing is to be drawn."""
    if len(steps) < 2:
        return None
    spans: list[tuple[str, str, str, Decimal, Decimal]] = []
    level = _NOTHING
    for number, (title, text) in enumerate(steps):
        amount = Decimal(text)
        if number in (0, len(steps) - 1):
            spans.append((title, text, "level", _NOTHING, amount))
            level = amount
        elif amount:
            spans.append((title, text, "up" if amount > 0 else "down", level, level + amount))
            level += amount
    least = min(_NOTHING, *(min(a, b) for _, _, _, a, b in spans))
    most = max(_NOTHING, *(max(a, b) for _, _, _, a, b in spans))
    if least == most:
        return None

    def x(value: Decimal) -> float:
        return float(round((value - least) / (most - least) * WIDTH, 1))

    bars = tuple(
        Bar(title, text, way, x(min(a, b)), number * ROW + 26.0, max(x(max(a, b)) - x(min(a, b)), 2.0))
        for number, (title, text, way, a, b) in enumerate(spans)
    )
    return Bridge(bars, x(_NOTHING), len(bars) * ROW)


def curves(lines: Sequence[tuple[str, Sequence[str]]]) -> Curves | None:
    """Lines of equally many values, evenly apart, over an axis that begins at zero. None where two values or a
    difference is missing."""
    values = [[Decimal(text) for text in texts] for _, texts in lines]
    if not values or len(values[0]) < 2:
        return None
    least, most = min(_NOTHING, *map(min, values)), max(map(max, values))
    if least == most:
        return None

    def place(number: int, value: Decimal) -> tuple[float, float]:
        across = round(number / (len(values[0]) - 1) * WIDTH, 1)
        return across, float(round(PLOT_HEIGHT - (value - least) / (most - least) * PLOT_HEIGHT, 1))

    drawn = []
    for colour, ((title, texts), row) in enumerate(zip(lines, values, strict=True), start=1):
        dots = tuple(place(number, value) for number, value in enumerate(row))
        drawn.append(Curve(title, colour, " ".join(f"{x},{y}" for x, y in dots), dots, texts[-1]))
    return Curves(tuple(drawn), f"{least:f}", f"{most:f}")
