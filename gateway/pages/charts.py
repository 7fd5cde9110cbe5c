"""PURE: where the marks of a chart stand. Pages draw them as SVG of their own, in the colours of the page, with the
table of the same numbers beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH = 560
PLOT_HEIGHT = 240
_NOTHING = Decimal(0)
_MOST_STEPS, _MOST_LABELS = 4, 4


@dataclass(frozen=True, slots=True)
class Bar:
    """A step of a bridge: its words and amount, and where its bar lies, in units of the drawing. way is `level` for a
    net, `up` and `down` for what leads from one to the next."""

    title: str
    amount: str
    way: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Bridge:
    """Bars from one net to the next, and where zero is."""

    bars: tuple[Bar, ...]
    zero: float


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
    """Lines over the same instants; round values of the axis with their heights, the greatest first; and of the
    instants those that are named below, each by its number and place."""

    curves: tuple[Curve, ...]
    levels: tuple[tuple[str, float], ...]
    named: tuple[tuple[int, float], ...]


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
        Bar(title, text, way, x(min(a, b)), max(x(max(a, b)) - x(min(a, b)), 2.0)) for title, text, way, a, b in spans
    )
    return Bridge(bars, x(_NOTHING))


def curves(lines: Sequence[tuple[str, Sequence[str]]]) -> Curves | None:
    """Lines of equally many values, evenly apart, over an axis of round values that has zero on it. None where two
    values or a difference is missing."""
    values = [[Decimal(text) for text in texts] for _, texts in lines]
    if not values or len(values[0]) < 2:
        return None
    least, most = min(_NOTHING, *map(min, values)), max(map(max, values))
    if least == most:
        return None
    step = _step(most - least)
    lowest, highest = least // step, -(-most // step)
    if least < lowest * step:  # a whole division of decimals goes towards zero
        lowest -= 1
    if most > highest * step:
        highest += 1
    last = len(values[0]) - 1

    def height(value: Decimal) -> float:
        return float(round(PLOT_HEIGHT - (value / step - lowest) / (highest - lowest) * PLOT_HEIGHT, 1))

    def place(number: int, value: Decimal) -> tuple[float, float]:
        return round(number / last * WIDTH, 1), height(value)

    drawn = []
    for colour, ((title, texts), row) in enumerate(zip(lines, values, strict=True), start=1):
        dots = tuple(place(number, value) for number, value in enumerate(row))
        drawn.append(Curve(title, colour, " ".join(f"{x},{y}" for x, y in dots), dots, texts[-1]))
    levels = [each * step for each in range(int(highest), int(lowest) - 1, -1)]
    apart = -(-last // (_MOST_LABELS - 1))
    named = [number for number in range(0, last, apart) if last - number >= apart] + [last]
    return Curves(
        tuple(drawn), tuple((f"{each:f}", height(each)) for each in levels),
        tuple((number, round(number / last * WIDTH, 1)) for number in named),
    )  # fmt: skip


def _step(span: Decimal) -> Decimal:
    """The least of 1, 2, 5 times a power of ten of which a few make up the span."""
    tens = Decimal(10) ** (span / _MOST_STEPS).adjusted()
    return next(factor * tens for factor in (1, 2, 5, 10) if factor * tens * _MOST_STEPS >= span)
