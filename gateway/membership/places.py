"""PURE: outlets where points can be spent, in the order in which somebody wants to go there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

MICRO = 1_000_000
EARTH_METRES = 6_371_000


@dataclass(frozen=True, slots=True)
class Spot:
    """An outlet where points can be spent, or one for all of a partner's of which nobody said where they are.

    Degrees are in millionths; metres is how far it is from whoever asked, None where nobody knows.
    """

    outlet_id: int
    partner: str
    outlet: str
    town: str | None = None
    latitude_micro: int | None = None
    longitude_micro: int | None = None
    metres: int | None = None
    outlets: int = 1

    @property
    def is_somewhere(self) -> bool:
        """Whether somebody said where it is."""
        return self.town is not None or self.latitude_micro is not None


def gathered(spots: Iterable[Spot]) -> list[Spot]:
    """The same with one for all outlets of a partner of which nobody said where they are."""
    found, elsewhere = [], dict[str, Spot]()
    for spot in spots:
        if spot.is_somewhere:
            found.append(spot)
        else:
            first = elsewhere.get(spot.partner, replace(spot, outlets=0))
            elsewhere[spot.partner] = replace(first, outlets=first.outlets + 1)
    return [*found, *elsewhere.values()]


def micro_of(degrees: Decimal | None) -> int | None:
    """Degrees in millionths, rounded half to even; beyond what an int of the database holds it stays beyond."""
    return None if degrees is None else int((degrees * MICRO).to_integral_value(ROUND_HALF_EVEN))


def degrees_of(micro: int | None) -> Decimal | None:
    """Millionths as degrees."""
    return None if micro is None else Decimal(micro) / MICRO


def metres_between(latitude: int, longitude: int, other_latitude: int, other_longitude: int) -> int:
    """How far two places are apart as the crow flies, each in millionths of a degree: the haversine of a sphere."""
    north, other_north = math.radians(latitude / MICRO), math.radians(other_latitude / MICRO)
    east = math.radians((other_longitude - longitude) / MICRO)
    bow = math.sin((other_north - north) / 2) ** 2 + math.cos(north) * math.cos(other_north) * math.sin(east / 2) ** 2
    return round(2 * EARTH_METRES * math.asin(min(1.0, math.sqrt(bow))))


def by_town(spots: Iterable[Spot]) -> list[Spot]:
    """By town, then by partner and outlet; those that nobody said the town of come last."""
    return sorted(spots, key=lambda spot: (spot.town is None, (spot.town or "").casefold(), *_names(spot)))


def by_distance(spots: Iterable[Spot], latitude: int, longitude: int) -> list[Spot]:
    """The nearest first, from a place in millionths of a degree; those that nobody said the place of come last."""
    measured = [replace(spot, metres=_metres(spot, latitude, longitude)) for spot in spots]
    return sorted(measured, key=lambda spot: (spot.metres is None, spot.metres or 0, *_names(spot)))


def _metres(spot: Spot, latitude: int, longitude: int) -> int | None:
    if spot.latitude_micro is None or spot.longitude_micro is None:
        return None
    return metres_between(latitude, longitude, spot.latitude_micro, spot.longitude_micro)


def _names(spot: Spot) -> tuple[str, str, int]:
    return spot.partner.casefold(), spot.outlet.casefold(), spot.outlet_id
