"""PURE: where the demonstration's stores are. The data does not tell it, so towns, streets and degrees are invented.

A store is in the same place every time, and every partner that sells there is at its address.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from partners.agreements.onboarding import OutletPlace

_SPREAD_MICRO = 20_000


class _Town(NamedTuple):
    """A town, where its market place is in millionths of a degree, and how many parts of all stores it has."""

    name: str
    latitude_micro: int
    longitude_micro: int
    parts: int


_TOWNS = (
    _Town("Alderbrook", 39_214_000, -84_371_000, 9),
    _Town("Birchwater", 39_402_000, -84_518_000, 7),
    _Town("Candlewick Falls", 39_087_000, -84_655_000, 5),
    _Town("Dunmere", 39_331_000, -84_142_000, 4),
    _Town("Elmsworth", 38_968_000, -84_402_000, 4),
    _Town("Foxhollow", 39_523_000, -84_287_000, 3),
    _Town("Greyhaven", 39_158_000, -83_961_000, 3),
    _Town("Hazelcombe", 39_466_000, -84_803_000, 2),
    _Town("Ironbridge Mills", 38_874_000, -84_098_000, 2),
    _Town("Juniper Ford", 39_611_000, -84_040_000, 1),
)
_STREETS = (
    "Market Street", "Orchard Road", "Mill Lane", "Station Road", "Chapel Street", "Quarry Road", "Meadow Lane",
    "Bridge Street", "Foundry Row", "Lantern Street", "Willow Avenue", "Harbour Road", "Saddler Street", "North Gate",
)  # fmt: skip


def place_of(store: int) -> OutletPlace:
    """Where a store is: a town by its size, a street and number there, and degrees about two kilometres around."""
    drawn = int.from_bytes(blake2b(f"store {store}".encode(), digest_size=16).digest())
    drawn, part = divmod(drawn, sum(town.parts for town in _TOWNS))
    drawn, street = divmod(drawn, len(_STREETS))
    drawn, number = divmod(drawn, 180)
    drawn, north = divmod(drawn, 2 * _SPREAD_MICRO + 1)
    _, east = divmod(drawn, 2 * _SPREAD_MICRO + 1)
    town = [each for each in _TOWNS for _ in range(each.parts)][part]
    return OutletPlace(
        town.name, f"{number + 1} {_STREETS[street]}", town.latitude_micro + north - _SPREAD_MICRO,
        town.longitude_micro + east - _SPREAD_MICRO,
    )  # fmt: skip
