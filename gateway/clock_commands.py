"""`tessera clock`: the business clock of a sandbox."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.subscription import renewals
from kit import clock, console
from kit.secrets import Vault, load_master_key
from kit.settings import settings

app = typer.Typer(name="clock", help="The business clock of a sandbox.", no_args_is_help=True)

To = Annotated[
    datetime,
    typer.Argument(
        formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"], help="Instant to go on to, UTC where it says no offset."
    ),
]


@app.command()
def advance(to: To) -> None:
    """Go on to an instant, and do all that is due of subscriptions by then, each at its own. In a sandbox alone."""
    chosen = settings()
    if chosen.clock != "sandbox":
        console.fail("the clock is the wall's: only with TESSERA_CLOCK=sandbox it can be moved")
    before, after, done = console.run(_advance(to if to.tzinfo else to.replace(tzinfo=UTC)))
    console.out.print(f"From {before:%Y-%m-%d %H:%M:%S} to {after:%Y-%m-%d %H:%M:%S} UTC: {done} things were due.")


async def _advance(to: datetime) -> tuple[datetime, datetime, int]:
    async with console.database(settings()) as database:
        async with database.reading() as connection:
            before = await clock.sandbox(connection)
        chosen = settings()
        vault = Vault(load_master_key(chosen))
        done = await renewals.advance_clock(database, to, chosen=chosen, vault=vault)
        async with database.reading() as connection:
            return before, await clock.sandbox(connection), done
