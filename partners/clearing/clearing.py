"""What settlement asks of partners: what was signed, what partners are called, and the receipts behind a line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from partners import store as partner_store
from partners.agreements import agreements, programme
from partners.clearing import store
from partners.terms import SettlementTerms, Terms


@dataclass(frozen=True, slots=True)
class PartnerName:
    """What a partner is called: a code for machines, a name for people."""

    partner_id: int
    code: str
    name: str


@dataclass(frozen=True, slots=True)
class ClearingEvent:
    """Points moved between two of the ledger's account kinds (debit to credit), with the receipt that tells why.

    reference, outlet and business_date are None where the receipt is not the partner's own, or there is none. seq is
    the entry of the holder that the posting is of; receipt_holder_id and receipt_seq are the entry of the receipt.
    """

    cutoff_id: int
    debit: int
    credit: int
    issuer_id: int
    funder_id: int
    partner_id: int
    holder_id: int
    points: int
    lot_terms_id: int
    terms_id: int
    at: datetime
    business_date: date | None
    outlet: str | None
    reference: str | None
    seq: int
    receipt_holder_id: int | None
    receipt_seq: int | None


@dataclass(frozen=True, slots=True)
class Owed:
    """What one party owes another beside points: payer_id owes payee_id amount_minor of a currency; 0 is the operator.

    A row of partners.clearing_event: one per receipt, rule and payer, written in the purchase's own call and in its
    cut-off, never changed. kind is DISCOUNT, COUPON or BENEFIT of `receipts.records`. payee_id is the partner that gave
    the discount to the member, terms_id its agreement. A return writes the parties the other way round, with is_return,
    so that summing what each party owes is enough. What a partner pays for itself is no event: it stands in the
    receipt's decision.
    """

    cutoff_id: int
    kind: int
    payer_id: int
    payee_id: int
    terms_id: int
    currency: str
    amount_minor: int
    is_return: bool
    rule: str
    holder_id: int
    seq: int
    event_no: int
    at: datetime
    business_date: date
    outlet: str
    reference: str


@dataclass(frozen=True, slots=True)
class OwedGroup:
    """Events that differ in nothing but the receipt, summed: amount_minor over `count` events of a cut-off."""

    cutoff_id: int
    kind: int
    payer_id: int
    payee_id: int
    terms_id: int
    currency: str
    is_return: bool
    amount_minor: int
    count: int


async def agreed_terms(connection: AsyncConnection, terms_ids: Iterable[int]) -> dict[int, Terms]:
    """Agreement versions by number; what does not exist is missing from the answer."""
    rows = await store.agreements(connection, sorted(set(terms_ids)))
    return {row["terms_id"]: partner_store.terms_of(row) for row in rows}


async def settlement_terms(connection: AsyncConnection, terms_ids: Iterable[int]) -> dict[int, SettlementTerms]:
    """What settlement alone needs of agreement versions, by number; what does not exist is missing."""
    rows = await store.agreements(connection, sorted(set(terms_ids)))
    return {row["terms_id"]: partner_store.settlement_terms_of(row) for row in rows}


async def signed(connection: AsyncConnection) -> list[tuple[Terms, SettlementTerms]]:
    """Every approved version of every partner, in order of partner and version, both parts of it."""
    rows = await store.signed_agreements(connection)
    return [(partner_store.terms_of(row), partner_store.settlement_terms_of(row)) for row in rows]


async def signed_at(connection: AsyncConnection, *, at: datetime) -> list[tuple[Terms, SettlementTerms]]:
    """The version that each partner has in force at an instant, both parts of it, in order of partners."""
    found: dict[int, tuple[Terms, SettlementTerms]] = {}
    for terms, more in await signed(connection):
        held = found.get(terms.partner_id)
        if agreements.in_force([terms] if held is None else [held[0], terms], at) is terms:
            found[terms.partner_id] = (terms, more)
    return list(found.values())


async def signed_in(connection: AsyncConnection, currency: str, *, at: datetime) -> dict[int, int]:
    """The version in a currency under which each partner is settled in it at an instant: the one in force; of a partner
    whose agreement is in another currency by then, its last one in this. By partner; who never had one is missing."""
    found: dict[int, Terms] = {}
    for terms, _ in await signed(connection):
        held = found.get(terms.partner_id)
        if terms.currency == currency and agreements.in_force([terms] if held is None else [held, terms], at) is terms:
            found[terms.partner_id] = terms
    return {partner_id: terms.terms_id for partner_id, terms in found.items()}


async def settlement_terms_at(connection: AsyncConnection, *, at: datetime) -> dict[int, SettlementTerms]:
    """What settlement alone needs of the version that each partner has in force at an instant, by partner."""
    return {more.partner_id: more for _, more in await signed_at(connection, at=at)}


async def names(connection: AsyncConnection) -> dict[int, PartnerName]:
    """What every partner is called, by number."""
    return {row.partner_id: PartnerName(**row._mapping) for row in await store.names(connection)}


async def events(
    connection: AsyncConnection, *, partner_id: int, cutoff_ids: Sequence[int], carried: Sequence[tuple[int, int]] = ()
) -> AsyncIterator[ClearingEvent]:
    """The postings of cut-offs that a partner may pay or be paid for, in order of recording; rating says what.

    carried are the funders and versions of points that it carries though another funded them. Needs a connection in a
    transaction: they are streamed, however many they are.
    """
    rows = store.clearing_events(connection, partner_id=partner_id, cutoff_ids=cutoff_ids, carried=carried)
    async for row in rows:
        yield ClearingEvent(**row._mapping)


async def currencies(connection: AsyncConnection) -> list[str]:
    """The currencies that agreements are in, and the programme's own; none before it was founded."""
    return await store.currencies(connection)


async def base_currency(connection: AsyncConnection) -> str:
    """The programme's own currency. Rejects PROGRAMME_UNKNOWN."""
    return (await programme.read(connection)).base_currency


async def owed_groups(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> list[OwedGroup]:
    """What parties owe each other beside points in cut-offs, summed by everything but the receipt and the rule."""
    return [OwedGroup(**row._mapping) for row in await store.owed_groups(connection, cutoff_ids)]


async def owed(
    connection: AsyncConnection, *, partner_id: int, currency: str, cutoff_ids: Sequence[int]
) -> AsyncIterator[Owed]:
    """The events behind them that a partner pays or is paid for in a currency, in order of recording.

    Needs a connection in a transaction: they are streamed, however many they are. outlet, reference and business_date
    are those of the receipt, whoever's it is: what is paid for has to be seen.
    """
    async for row in store.owed(connection, partner_id=partner_id, currency=currency, cutoff_ids=cutoff_ids):
        yield Owed(**row._mapping)


async def purchased(
    connection: AsyncConnection,
    covered: Sequence[tuple[int, int, datetime, datetime]],
    currency: str,
    *,
    since: datetime,
    until: datetime,
) -> dict[int, dict[int, int]]:
    """What members bought while something covered them, by its key and by partner: minor units less returns.

    covered are keys, members and [from, until) of when they bought; [since, until) is when it was recorded, so that
    what comes late counts once, when it comes.
    """
    found: dict[int, dict[int, int]] = {}
    for row in await store.purchased(connection, covered, currency, since, until):
        found.setdefault(row.key, {})[row.partner_id] = row.amount_minor
    return found
