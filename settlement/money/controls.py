"""Controls over the books: each finds violations and must find none, after every booking and on demand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.money import accounts, control_store, cutoffs, journal

Find = Callable[[AsyncConnection], Awaitable[list[str]]]


def _by_statement(control: str) -> Find:
    async def find(connection: AsyncConnection) -> list[str]:
        return await control_store.violations(connection, control)

    return find


async def _differs_when_booked_again(connection: AsyncConnection) -> list[str]:
    found = []
    for row in await control_store.booked_cutoffs(connection):
        if await journal.entries_of(connection, row.booking_id) != await cutoffs.entries_again(
            connection, row.cutoff_id
        ):
            found.append(f"cut-off {row.cutoff_id} booked again gives other entries")
    return found


async def _outside_the_chart(connection: AsyncConnection) -> list[str]:
    used = await control_store.accounts_used(connection)
    return [f"something is booked on {code}, which is no account" for code in used if code not in accounts.CHART]


RULES: tuple[tuple[str, str, Find], ...] = (
    ("M1", "an entry sums to zero in each currency", _by_statement(control_store.ENTRIES_BALANCE)),
    ("M2", "a cut-off is booked once, in order, and was cut", _by_statement(control_store.BOOKED_ONCE)),
    ("M3", "what is booked is on an account of the chart", _outside_the_chart),
    ("M4", "points that the books saw come and go are what the lots hold", _by_statement(control_store.STOCK_IS_LOTS)),
    ("M5", "2100 is what the lots hold at the part that was billed", _by_statement(control_store.OBLIGATION_IS_LOTS)),
    ("M6", "1260 is what members owe at the fund part", _by_statement(control_store.CLAIM_IS_DEBT)),
    ("M7", "estimates and facts share no account", _by_statement(control_store.ESTIMATES_KEEP_APART)),
    ("M8", "2105 is what the model's last run expected", _by_statement(control_store.ESTIMATES_ARE_THE_MODELS)),
    ("M9", "a sweep leaves exchange clearing at zero", _by_statement(control_store.EXCHANGE_IS_SWEPT)),
    ("M10", "nothing is booked in a closed period", _by_statement(control_store.CLOSED_STAYS_CLOSED)),
    ("M11", "no more is brought in than was approved", _by_statement(control_store.OPENINGS_ARE_KEPT)),
    ("M12", "a cut-off booked again gives its entries", _differs_when_booked_again),
)  # fmt: skip
"""Code, rule in one sentence, and how to look for violations of it."""


async def violations(connection: AsyncConnection) -> list[str]:
    """Every violation of every rule, as `M5 sentence`; an empty list is what everybody wants to see."""
    return [f"{code} {detail}" for code, _, find in RULES for detail in await find(connection)]
