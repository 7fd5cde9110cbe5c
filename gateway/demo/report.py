"""What the demonstration prints at its end: the figures, who owes whom, every check, and what to try next."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.demo.coalition import TillCard, Tills, some_of
from gateway.demo.data import CURRENCY, TERMINAL, outlet_code
from gateway.demo.replay import Tally
from gateway.figures import Figures, figures
from gateway.landing import grouped
from kit.amounts import decimal_from_minor, minor_from_micro
from kit.database import Database
from kit.secrets import Vault
from ledger import accounts, audit, cutoffs, lots
from ledger.cutoffs import Turnover
from members import identification, proofs
from partners.clearing import clearing
from partners.clearing.clearing import OwedGroup
from settlement import archive, controls
from settlement.archive import Statement
from settlement.netting import Bilateral

OPERATOR = 0
PAIRS_SHOWN = 8
SHOWN_PARTNER, SHOWN_OUTLET = "supermarket", outlet_code(367)
MOST_POINTS = 100
_AVAILABLE, _PENDING, _HELD, _DEBT, _ISSUED, _REDEEMED, _EXPIRED, _RETURNED, _FORGIVEN = 1, 2, 3, 4, 10, 11, 12, 13, 19


@dataclass(frozen=True, slots=True)
class Points:
    """What became of all points ever issued.

    issued + owed = redeemed + returned + expired + available + pending + held. returned are those that were taken back
    or are owed, not those that were forgiven.
    """

    issued: int
    redeemed: int
    returned: int
    expired: int
    available: int
    pending: int
    held: int
    owed: int = 0

    @property
    def outstanding(self) -> int:
        """Points that members own."""
        return self.available + self.pending + self.held


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must be so, whether it is, and what says otherwise."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a party paid for: points given at its own tills and at others', before returns, and discounts that others
    gave, less those taken back, in minor units."""

    points_here: int = 0
    points_elsewhere: int = 0
    discount_minor: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """All that the report is made of. nets are minor units by partner, all runs together; the operator's is 0's."""

    figures: Figures
    points: Points
    nets: Mapping[int, int]
    run_count: int
    pairs: Sequence[Bilateral]
    obligation_points: int
    obligation_micro: int
    checks: Sequence[Check]
    costs: Mapping[int, Cost] = field(default_factory=dict)


async def standing(connection: AsyncConnection) -> Standing:
    """Where the coalition stands, every control run. Wants a connection in a transaction that sees one snapshot."""
    found = await figures(connection)
    assert found is not None, "the coalition is founded"
    numbers = [one.cutoff_id for one in await cutoffs.cutoffs(connection)]
    turnover = await cutoffs.turnover(connection, numbers)
    points = points_of(turnover)
    issued = [
        statement
        for head in await archive.runs(connection)
        for statement in (await archive.run(connection, head.run_id)).statements
    ]
    obligations = await archive.obligation(connection)
    return Standing(
        figures=found,
        points=points,
        nets=_nets(issued),
        run_count=len({statement.run_id for statement in issued}),
        pairs=sorted(await archive.bilateral(connection), key=lambda pair: -pair.fund_micro),
        obligation_points=sum(one.points for one in obligations),
        obligation_micro=sum(one.amount_micro for one in obligations),
        checks=await _checks(connection, points, found),
        costs=costs_of(turnover, await clearing.owed_groups(connection, numbers)),
    )


def costs_of(turnovers: Sequence[Turnover], owed: Sequence[OwedGroup]) -> dict[int, Cost]:
    """What each funder paid for, by party; 0 is the operator."""
    costs: dict[int, Cost] = defaultdict(Cost)
    for one in turnovers:
        if one.debit == _ISSUED:
            cost, here = costs[one.funder_id], one.funder_id == one.partner_id
            costs[one.funder_id] = replace(
                cost,
                points_here=cost.points_here + (one.points if here else 0),
                points_elsewhere=cost.points_elsewhere + (0 if here else one.points),
            )
    for group in owed:
        party, amount = (
            (group.payee_id, -group.amount_minor) if group.is_return else (group.payer_id, group.amount_minor)
        )
        costs[party] = replace(costs[party], discount_minor=costs[party].discount_minor + amount)
    return dict(costs)


def points_of(turnovers: Sequence[Turnover]) -> Points:
    """What became of points, by the ledger's accounts."""
    into: dict[int, int] = defaultdict(int)
    for turnover in turnovers:
        into[turnover.credit] += turnover.points
        into[turnover.debit] -= turnover.points
    return Points(
        issued=-into[_ISSUED],
        redeemed=into[_REDEEMED],
        returned=into[_RETURNED] + into[_FORGIVEN],
        expired=into[_EXPIRED],
        available=into[_AVAILABLE],
        pending=into[_PENDING],
        held=into[_HELD],
        owed=-into[_DEBT],
    )


def _nets(statements: Sequence[Statement]) -> dict[int, int]:
    nets: dict[int, int] = defaultdict(int)
    for statement in statements:
        nets[statement.partner_id] += statement.net_minor - statement.opening_minor
    return nets


async def _checks(connection: AsyncConnection, points: Points, found: Figures) -> list[Check]:
    audited = await audit.violations(connection)
    settled = await controls.run(connection)
    gone = points.redeemed + points.returned + points.expired
    owned = found.available + found.pending + found.held
    return [
        Check(
            "points issued = redeemed + returned + expired + what members own",
            points.issued + points.owed == gone + owned,
        ),
        Check(
            f"audit of the ledger: {len(audited)} violations",
            not audited,
            f"{audited[0].rule}: {audited[0].detail}" if audited else "",
        ),
        *(
            Check(
                f"{control.code} {control.rule}",
                not (broken := [one.detail for one in settled if one.code == control.code]),
                broken[0] if broken else "",
            )
            for control in controls.CONTROLS
        ),
    ]


def show(console: Console, standing: Standing, more: Sequence[Check], tally: Tally, names: Mapping[int, str]) -> None:
    """Print the report: figures, who owes whom, nets, and every check, those made elsewhere (`more`) too."""
    console.print(_counts(standing, tally))
    console.print(_pairs(standing.pairs, names))
    console.print(_net_table(standing, names))
    console.print(_cost_table(standing.costs, names))
    for check in (*standing.checks, *more):
        verdict = Text("held", style="green") if check.held else Text(f"BROKEN {check.detail}", style="bold red")
        console.print(Text.assemble("  ", check.name, ": ", verdict), soft_wrap=True)


def _counts(standing: Standing, tally: Tally) -> Table:
    points = standing.points
    table = Table(title="What happened", show_header=False, title_justify="left")
    rows = [
        ("Receipts recorded", grouped(standing.figures.receipts)),
        ("Replayed just now", grouped(tally.receipts)),
        ("  receipts per second", grouped(tally.receipts_per_second) if tally.receipts else "-"),
        ("  recorded, answered as before", f"{grouped(tally.accepted)}, {grouped(tally.replayed)}"),
        ("  paid in part with points, declined", f"{grouped(tally.spendings)}, {grouped(tally.declined)}"),
        ("  returned", grouped(tally.returns)),
        *((f"  rejected {code}", grouped(count)) for code, count in sorted(tally.rejected.items())),
        ("Points issued", grouped(points.issued)),
        ("  pending", grouped(points.pending)),
        ("  redeemed", grouped(points.redeemed)),
        ("  returned", grouped(points.returned)),
        ("  expired", grouped(points.expired)),
        ("  outstanding", grouped(points.outstanding)),
        ("Obligation at face, points", grouped(standing.obligation_points)),
        ("  in money", _money_micro(standing.obligation_micro)),
    ]
    for row in rows:
        table.add_row(*row)
    table.columns[1].justify = "right"
    return table


def _pairs(pairs: Sequence[Bilateral], names: Mapping[int, str]) -> Table:
    table = Table(
        "Issued by",
        "Honoured by",
        title=f"Whose points were honoured where, the {min(PAIRS_SHOWN, len(pairs))} largest of {len(pairs)}",
    )
    table.title_justify = "left"
    for heading in ("Points", "Fund part", "Reimbursed"):
        table.add_column(heading, justify="right")
    for pair in pairs[:PAIRS_SHOWN]:
        table.add_row(
            names[pair.issuer_id],
            names[pair.redeemer_id],
            grouped(pair.points),
            _money_micro(pair.fund_micro),
            _money_micro(pair.reimbursement_micro),
        )
    return table


def _net_table(standing: Standing, names: Mapping[int, str]) -> Table:
    table = Table(title=f"Net of every party, settlement runs: {standing.run_count}", title_justify="left")
    table.add_column("Party")
    table.add_column("")
    table.add_column("Net", justify="right")
    for party, net in sorted(standing.nets.items(), key=lambda item: item[1]):
        table.add_row(names[party], "receives" if net >= 0 else "pays", _money(abs(net)))
    table.add_section()
    table.add_row("Sum", "", _money(sum(standing.nets.values())))
    return table


def _cost_table(costs: Mapping[int, Cost], names: Mapping[int, str]) -> Table:
    table = Table(title="Who funded what was given", title_justify="left")
    table.add_column("Funder")
    for heading in ("Points here", "Points elsewhere", "Discounts elsewhere"):
        table.add_column(heading, justify="right")
    for party, cost in sorted(costs.items()):
        table.add_row(
            names[party], grouped(cost.points_here), grouped(cost.points_elsewhere), _money(cost.discount_minor)
        )
    return table


@dataclass(frozen=True, slots=True)
class Shopper:
    """Somebody whom the commands at the report's end are about, and the points they have to spend."""

    card: TillCard
    points: int


async def richest(database: Database, vault: Vault, tills: Tills, *, at: datetime) -> Shopper:
    """Of the members who can sign in the one with the most points to spend."""
    some = {tills.cards[one].number: tills.cards[one] for one in some_of(list(tills.cards))}
    shoppers = []
    for number, found in (await identification.identify_cards(database.pool, vault, list(some))).items():
        if isinstance(found, identification.Identified):
            owned = await lots.standing(database.pool, found.member_id, unit=accounts.POINTS, at=at)
            shoppers.append(Shopper(some[number], owned.available if owned else 0))
    return max(shoppers, key=lambda shopper: shopper.points)


def conversation(address: str, tills: Tills, shopper: Shopper, *, at: datetime) -> str:
    """Commands for a shell that talk to the gateway as a till does: a token, a quote, a purchase paid with points.

    They work as they stand, any number of times: the second purchase is the first one's answer, replayed.
    """
    client, card, number = tills.clients[SHOWN_PARTNER], shopper.card, f"{at:%Y%m%d}-{shopper.card.number[-4:]}"
    points = min(shopper.points, MOST_POINTS)
    receipt = {
        "reference": f"TRY-{number}",
        "outlet": SHOWN_OUTLET,
        "terminal": TERMINAL,
        "businessDate": str(at.date()),
        "occurredAt": at.isoformat().replace("+00:00", "Z"),
        "currencyCode": CURRENCY,
        "total": "12.50",
    }
    member = {"cardNumber": card.number}
    code = proofs.code_for(card.secret, card.reference, proofs.step_at(at))
    purchase: dict[str, Any] = {
        "idempotencyKey": f"try-a-purchase-{number}",
        "member": member,
        "receipt": receipt,
    }
    if points:
        purchase["redeem"] = {"points": str(points), "proof": {"cardCode": code}}
    quote = (
        "query Quote($input: QuoteInput!) { quote(input: $input) "
        "{ points maxRedeem { points value { amount currencyCode } } } }"
    )
    record = (
        "mutation Buy($input: RecordPurchaseInput!) { recordPurchase(input: $input) { __typename "
        "... on RecordPurchaseSuccess { replayed cashierText slipLines balance { available pending } } "
        "... on Rejection { code message } } }"
    )
    return "\n".join([
        f"TOKEN=$(curl -s -u {client.client_id}:{client.secret} -d grant_type=client_credentials \\",
        f"  {address}/oauth/token | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])')",
        _curl(address, quote, {"member": member, "receipt": receipt}),
        _curl(address, record, purchase),
    ])  # fmt: skip


def _curl(address: str, document: str, given: object) -> str:
    body = orjson.dumps({"query": document, "variables": {"input": given}}).decode()
    return (
        f'curl -s {address}/graphql -H "authorization: Bearer $TOKEN" '
        f"-H 'content-type: application/json' -d {shlex.quote(body)}"
    )


def _money(amount_minor: int) -> str:
    return f"{decimal_from_minor(amount_minor, CURRENCY):,f} {CURRENCY}".replace(",", "\u202f")


def _money_micro(amount_micro: int) -> str:
    return _money(minor_from_micro(amount_micro, CURRENCY))
