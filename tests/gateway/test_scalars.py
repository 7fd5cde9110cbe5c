"""The scalars take what they promise, exactly, and nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.masking import Explained
from gateway.scalars import SCALARS, CurrencyCode, Points, RejectionCode, Scope
from kit.amounts import LARGEST


def parse(kind: Any, value: object) -> Any:
    reader = SCALARS[kind].parse_value
    assert reader is not None
    return reader(value)


def serialize(kind: Any, value: object) -> Any:
    writer = SCALARS[kind].serialize
    assert writer is not None
    return writer(value)


@given(st.integers(-LARGEST, LARGEST))
def test_points_go_out_as_strings_and_come_back(points: int) -> None:
    assert parse(Points, serialize(Points, points)) == points
    assert parse(Points, points) == points


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**12), max_value=10**12))
def test_decimals_go_out_as_strings_and_come_back(amount: Decimal) -> None:
    written = serialize(Decimal, amount)
    assert "E" not in written
    assert parse(Decimal, written) == amount


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2999, 1, 1)), st.integers(-12, 14))
def test_instants_go_out_in_utc_and_come_back(naive: datetime, hours: int) -> None:
    instant = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert serialize(datetime, instant).endswith("Z")
    assert parse(datetime, serialize(datetime, instant)) == instant
    assert parse(datetime, serialize(datetime, instant)).tzinfo is UTC


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((Points, value) for value in (1.0, 1.5, True, None, "", " 1", "1 ", "+1", "01", "1e3", "0x1", "１", "-", 2**63, str(2**63), [], {})),
        *((Decimal, value) for value in (1.5, True, None, "", "1e5", "NaN", "Infinity", "-Infinity", "1.", ".5", "1" * 16, "0." + "1" * 10, "١")),
        *((datetime, value) for value in (1, None, "", "2031-01-05", "2031-01-05T12:00:00", "2031-13-05T12:00:00Z", "2031-01-05 12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2031-01-05T12:00:00+25:00")),
        *((date, value) for value in (1, None, "", "2026-02-30", "20310105", "2031-W01-1", "2031-01-05T00:00:00Z")),
        *((Scope, value) for value in (1, "", "POINTS", "points:accrue ")),
        *((CurrencyCode, value) for value in (1, "eur", "EURO", "")),
        *((RejectionCode, value) for value in (1, "lower", "", "A" * 65)),
    ],
)  # fmt: skip
def test_what_is_not_of_the_type_is_explained_and_not_repeated(kind: Any, value: object) -> None:
    with pytest.raises(Explained) as no:
        parse(kind, value)
    if isinstance(value, str) and len(value) > 3:
        assert value not in no.value.message


@pytest.mark.parametrize(
    ("kind", "value"),
    [(Points, 1.0), (Points, True), (Decimal, 1.5), (datetime, datetime(2026, 1, 1)), (date, datetime(2026, 1, 1, tzinfo=UTC))],
)  # fmt: skip
def test_what_we_would_answer_wrongly_is_a_defect(kind: Any, value: object) -> None:
    with pytest.raises(TypeError):
        serialize(kind, value)
