"""Where the demonstration's stores are said to be: the same every time, and enough of it to walk through."""

from __future__ import annotations

from collections import Counter

from gateway.demo import towns
from gateway.membership import places

STORES = range(1, 458)


def test_a_store_is_in_the_same_place_every_time_and_hardly_two_share_an_address() -> None:
    found = [towns.place_of(store) for store in STORES]
    assert found == [towns.place_of(store) for store in STORES]
    addresses = Counter((place.town, place.street) for place in found)
    assert len(addresses) > 0.95 * len(found)
    assert towns.place_of(367).town == "Alderbrook"


def test_every_town_has_stores_a_short_way_around_its_middle() -> None:
    found = [towns.place_of(store) for store in STORES]
    for town in {place.town for place in found}:
        there = [place for place in found if place.town == town]
        far = max(
            places.metres_between(one.latitude_micro or 0, one.longitude_micro or 0, other.latitude_micro or 0,
                                  other.longitude_micro or 0)
            for one in there for other in there
        )  # fmt: skip
        assert len(there) >= 3
        assert far < 6_000
    assert len({place.town for place in found}) == 10
