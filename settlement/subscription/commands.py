"""`tessera fees`: how fees of subscriptions are shared, and the close of their months."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import console
from kit.settings import settings
from partners.clearing import clearing
from settlement.statements import decimal_from_micro
from settlement.subscription import months, rules
from settlement.subscription.months import FeeMonth, FeeShare

T = TypeVar("T")
app = typer.Typer(name="fees", help="Where fees of subscriptions go.", no_args_is_help=True)

Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]
Currency = Annotated[str, typer.Option(help="ISO 4217 code.", show_default=False)]


@app.command()
def propose(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON: weigh, method, zero_use, shortage, reserve_bp, operator_bp, fixed_weights, rates.",
            exists=True, dir_okay=False, show_default=False,
        ),
    ],
    currency: Currency,
    since: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the first month.")],
    actor: Actor = None,
) -> None:  # fmt: skip
    """Propose how fees are shared from a month on. Takes the role FINANCE_MAKER."""
    try:
        kept = rules.to_json(rules.FeeRules()) | json.loads(file.read_text(encoding="utf-8"))
        said = rules.from_json(kept)
    except (ValueError, TypeError, KeyError) as wrong:
        console.fail(f"{file} is no document of rules: {wrong}")
    number = _run(
        lambda connection, at: rules.propose(
            connection, said, currency=currency, valid_from=since.date(), maker=_who(actor), at=at
        )
    )
    _say(f"Proposed. Next, by somebody else: tessera fees approve {number}")


@app.command()
def approve(
    proposal: Annotated[int, typer.Argument(help="Number of the proposal.", min=1, show_default=False)],
    actor: Actor = None,
) -> None:
    """Put rules in force that another proposed. Takes the role FINANCE_CHECKER."""
    version = _run(lambda connection, at: rules.approve(connection, proposal, checker=_who(actor), at=at))
    _say(f"Version {version} is in force.")


@app.command()
def close(
    month: Annotated[
        datetime, typer.Argument(formats=["%Y-%m"], help="The month, such as 2026-03.", show_default=False)
    ],
    currency: Currency,
    actor: Actor = None,
) -> None:
    """Close a month that has ended: recognise what was served, and share it. Takes the role FINANCE_MAKER."""

    async def do(connection: AsyncConnection, at: datetime) -> tuple[FeeMonth, list[FeeShare], dict[int, str]]:
        done = await months.close(connection, month=_first(month), currency=currency, actor=_who(actor), at=at)
        names = {n: one.code for n, one in (await clearing.names(connection)).items()}
        return done, await months.shares(connection, done), names

    done, shares, names = _run(do)
    table = Table("Partner", "For")
    table.add_column("Amount", justify="right")
    for one in shares:
        amount = decimal_from_micro(one.amount_micro + one.trial_micro)
        table.add_row(names[one.partner_id], one.benefit or "what is left", f"{amount:,f}")
    _say(f"{month:%Y-%m}: {decimal_from_micro(done.pool_micro):,f} {currency} in cut-off {done.cutoff_id}.")
    console.out.print(table, markup=False)


def _first(month: datetime) -> date:
    return month.replace(tzinfo=UTC).date()


def _run(use_case: Callable[[AsyncConnection, datetime], Awaitable[T]]) -> T:
    return console.run(_within(use_case))


async def _within(use_case: Callable[[AsyncConnection, datetime], Awaitable[T]]) -> T:
    async with console.database(settings()) as database, database.transaction() as connection:
        done: T = await use_case(connection, await console.business_instant(connection, settings()))
    return done


def _who(actor: str | None) -> str:
    return actor or console.login_name()


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
