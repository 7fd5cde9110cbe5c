"""Who is next: draws of holders, from a seed."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate


def uniform(among: Sequence[int], seed: int) -> Callable[[], int]:
    """Everybody equally often."""
    drawn = random.Random(seed)
    return lambda: drawn.choice(among)


def zipf(among: Sequence[int], seed: int, exponent: float = 1.0) -> Callable[[], int]:
    """The k-th of them with a probability in proportion to 1 / k ** exponent, by the inverse of the distribution."""
    drawn = random.Random(seed)
    reached = list(accumulate(rank**-exponent for rank in range(1, len(among) + 1)))
    return lambda: among[bisect_left(reached, drawn.random() * reached[-1])]
