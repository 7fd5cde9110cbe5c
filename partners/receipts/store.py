"""SQL of receipts: the calls that record, and the reads of what was recorded. Rows in, rows out, no decisions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import orjson

from ledger.accounts import POINTS
from partners.receipts.records import BudgetCharge, OwedRow, Promoted, ProofUse, Row, StoredReceipt

if TYPE_CHECKING:
    from partners.promotions.basket import Lot
    from partners.returns.returning import GivenBack

_RECEIPT = """
    SELECT holder_id, unit, seq, kind, claim, partner_id, outlet_id, terminal_id, reference, business_date,
           occurred_at, at, currency, total, awarded, redeemed, redemption_seq, original_seq, terms_id, card_id,
           detail::text AS detail, decision::text AS decision
    FROM partners.receipt
"""


_RECORD_PURCHASE = (
    "partners.record_purchase($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,"
    "$25,$26)"
)
_RECORD_PURCHASES = (
    "partners.record_purchases($1,$2,$3::text::bigint[],$4,$5,$6,$7::text::int[],$8::text::int[],$9::text::int[],"
    "$10::text::int[],$11::text::bigint[],$12::text::int[],$13,$14,$15,string_to_array($16,chr(31)),"
    "$17::text::bigint[],$18::text::bigint[],string_to_array($19,chr(31),''),string_to_array($20,chr(31)),"
    "$21::text::int[],$22::text::int[],$23::text::int[],$24::text::int[],$25::text::bigint[],$26,$27)"
)
_RECORD_SPENDING = (
    "partners.record_spending($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,"
    "$25,$26,$27,$28,$29,$30,$31,$32)"
)


def _promoted_from(first: int) -> str:
    """The parameters of `promoted_columns` but the last; those that most decisions fill are written as text."""
    types = ("bigint[]", "int[]", "int[]", None, None, "bigint[]", *[None] * 8)
    return ",".join(f"${n}::text::{kind}" if kind else f"${n}" for n, kind in enumerate(types, start=first))


def promoted_after(call: str, *, unit: str, holder: str, first: int) -> str:
    """The statement that records one receipt by a call and then what its decision by rules says, parameters from number
    `first` on: `promoted_columns`."""
    items = f"ARRAY[{holder}],ARRAY[CASE r.status WHEN 0 THEN r.seq END]"
    return f"SELECT r.* FROM {call} r WHERE {_promoted(unit, items, first)}"


def _promoted(unit: str, items: str, first: int) -> str:
    """What is given first, where anything is, and behind it what is promoted: budgets are the last locks of a call."""
    given = f"${first + 14}::text IS NULL OR partners.record_given({items},${first + 14})"
    return f"CASE WHEN {given} THEN partners.record_promoted({unit},{items},{_promoted_from(first)}) END"


_TAKEN_SPENDING = (
    f"SELECT *, CASE WHEN status = 0 THEN partners.take_reward($33,$5,seq,$2,$3) END AS taken FROM {_RECORD_SPENDING}"
)

_PROMOTED_PURCHASE = promoted_after(_RECORD_PURCHASE, unit="$1", holder="$3", first=27)
_PROMOTED_SPENDING = promoted_after(_RECORD_SPENDING, unit="$2", holder="$5", first=33)
_PROMOTED_PURCHASES = (
    f"WITH r AS MATERIALIZED (SELECT * FROM {_RECORD_PURCHASES}) SELECT * FROM r WHERE (SELECT "
    + _promoted("$1", "$3::text::bigint[],s.seqs", 28)
    + " FROM (SELECT array_agg(CASE status WHEN 0 THEN seq END ORDER BY ord) AS seqs FROM r) s)"
)
_RECORD_RETURN = (
    "partners.record_return($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,"
    "$26,$27,$28)"
)
_RECORD_RETURN_BY_RULES = (
    f"SELECT r.* FROM {_RECORD_RETURN} r CROSS JOIN LATERAL partners.record_taken_back("
    "$2,$6,$10,CASE r.status WHEN 0 THEN r.seq END,$22,$8,$3,$5,$40,$41,$42,$43,$44,$45) t "
    "CROSS JOIN LATERAL partners.record_given_back("
    "$2,$6,CASE r.status WHEN 0 THEN r.seq END,$29,$30,$31,$32,$33,$34,$35,$36,$37,$38,$39) g"
)


def _literal(integers: Sequence[int | None]) -> str:
    """An array of integers as PostgreSQL writes one. Of an array that it is given, the driver looks at each element
    whether it is an array too, which for a batch's fifteen arrays cost more than all else that it does."""
    return "{" + ",".join(["NULL" if each is None else str(each) for each in integers]) + "}"


def _joined(texts: Sequence[str | None]) -> str:
    """Texts that cannot hold a control character (JSON, currencies) with one between them, for the same reason."""
    return "\x1f".join([text or "" for text in texts])


async def record_purchase(
    pool: asyncpg.Pool, row: Row, lots: Sequence[Lot], at: datetime, promoted: Promoted | None = None
) -> dict[str, int | None]:
    """Record one purchase that spends nothing, on its own; raises PostgresError TS001 where it is known already, and
    TS002 where what promoted says does not hold any more."""
    if promoted is not None and not promoted.is_nothing:
        record = await pool.fetchrow(
            _PROMOTED_PURCHASE, *_purchase_columns(row, lots, at), *promoted_columns([promoted])
        )
        return dict(record)
    found = await pool.fetchval(f"SELECT {_RECORD_PURCHASE}", *_purchase_columns(row, lots, at))
    return dict(zip(("status", "seq", "available", "pending", "debt"), found, strict=True))


def _purchase_columns(row: Row, lots: Sequence[Lot], at: datetime) -> tuple[Any, ...]:
    return (
        POINTS, at, row.holder_id, row.claim, row.idem_key, row.fingerprint, row.partner_id, row.outlet_id,
        row.terminal_id, row.client_id, row.card_id, row.terms_id, row.reference, row.business_date, row.occurred_at,
        row.currency, row.total, row.awarded, row.detail, row.decision_json, *lot_columns(lots),
    )  # fmt: skip


async def record_purchases(
    pool: asyncpg.Pool,
    rows: Sequence[Row],
    lots: Sequence[Sequence[Lot]],
    at: datetime,
    promoted: Sequence[Promoted | None] = (),
) -> list[asyncpg.Record]:
    """Record purchases that spend nothing, in one call; a status row per item, in order. Raises PostgresError TS002
    where what is promoted of an item does not hold any more: nothing was written then."""
    with_rules = any(one is not None and not one.is_nothing for one in promoted)
    flat = [lot for of_item in lots for lot in of_item]
    found: list[asyncpg.Record] = await pool.fetch(
        _PROMOTED_PURCHASES if with_rules else f"SELECT * FROM {_RECORD_PURCHASES}",
        POINTS,
        at,
        _literal([row.holder_id for row in rows]),
        [row.claim for row in rows],
        [row.idem_key for row in rows],
        [row.fingerprint for row in rows],
        _literal([row.partner_id for row in rows]),
        _literal([row.outlet_id for row in rows]),
        _literal([row.terminal_id for row in rows]),
        _literal([row.client_id for row in rows]),
        _literal([row.card_id for row in rows]),
        _literal([row.terms_id for row in rows]),
        [row.reference for row in rows],
        [row.business_date for row in rows],
        [row.occurred_at for row in rows],
        _joined([row.currency for row in rows]),
        _literal([row.total for row in rows]),
        _literal([row.awarded for row in rows]),
        _joined([row.detail for row in rows]),
        _joined([row.decision_json for row in rows]),
        _literal(list(accumulate(len(of_item) for of_item in lots))),
        _literal([lot.issuer_id for lot in flat]),
        _literal([lot.funder_id for lot in flat]),
        _literal([lot.terms_id for lot in flat]),
        _literal([lot.points for lot in flat]),
        [lot.activates_at for lot in flat],
        [lot.expires_at for lot in flat],
        *(promoted_columns(promoted) if with_rules else ()),
    )
    return sorted(found, key=itemgetter("ord"))


async def record_spending(
    pool: asyncpg.Pool,
    row: Row,
    lots: Sequence[Lot],
    *,
    kind: int,
    redeem_points: int,
    use: ProofUse,
    day: date,
    at: datetime,
    promoted: Promoted | None = None,
) -> asyncpg.Record:
    """Record one purchase that spends points, or the spending alone; use is the proof to use up. Raises as
    `record_purchase`."""
    columns = (
        kind, POINTS, at, day, row.holder_id, row.claim, row.idem_key, row.fingerprint, row.partner_id, row.outlet_id,
        row.terminal_id, row.client_id, row.card_id, row.terms_id, row.reference, row.business_date, row.occurred_at,
        row.currency, row.total, row.awarded, row.detail, row.decision_json, redeem_points, use.code_card,
        use.code_step, use.approval_no, *lot_columns(lots),
    )  # fmt: skip
    if row.reward_id is not None:
        return await pool.fetchrow(_TAKEN_SPENDING, *columns, row.reward_id)
    if promoted is not None and not promoted.is_nothing:
        return await pool.fetchrow(_PROMOTED_SPENDING, *columns, *promoted_columns([promoted]))
    return await pool.fetchrow(f"SELECT * FROM {_RECORD_SPENDING}", *columns)


async def record_return(
    pool: asyncpg.Pool,
    row: Row,
    *,
    kind: int,
    if_seq: int,
    original: StoredReceipt,
    lot_points: dict[int, int],
    shortfall: int,
    refund_points: int,
    grace: timedelta,
    at: datetime,
    given_back: GivenBack | None = None,
) -> asyncpg.Record:
    """Record a return or cancellation as decided on the account's state if_seq; given_back is what of a decision by
    rules it undoes."""
    return await pool.fetchrow(
        f"SELECT * FROM {_RECORD_RETURN}" if given_back is None else _RECORD_RETURN_BY_RULES,
        kind, POINTS, at, if_seq, grace, row.holder_id, row.claim, row.idem_key, row.fingerprint, row.partner_id,
        row.outlet_id, row.terminal_id, row.client_id, row.terms_id, row.reference, row.business_date,
        row.occurred_at, row.currency, row.total, row.detail, row.decision_json, original.seq,
        original.seq if original.kind == 1 else None, original.redemption_seq, list(lot_points),
        list(lot_points.values()), shortfall, refund_points, *(given_back_columns(given_back) if given_back else ()),
    )  # fmt: skip


def lot_columns(lots: Sequence[Lot]) -> list[list[Any]]:
    """Lots as the recording functions take them: an array per column."""
    return [
        [lot.issuer_id for lot in lots],
        [lot.funder_id for lot in lots],
        [lot.terms_id for lot in lots],
        [lot.points for lot in lots],
        [lot.activates_at for lot in lots],
        [lot.expires_at for lot in lots],
    ]


def promoted_columns(items: Sequence[Promoted | None]) -> list[Any]:
    """What decisions of items write, as partners.record_promoted takes it: an array per column, items told by their
    places from 1; and last what partners.record_given takes."""
    held = [(place, item) for place, item in enumerate(items, start=1) if item]
    owed = [(place, one) for place, item in held for one in item.owed]
    charges = [
        (place, charge.budget_id, charge.scope_key, charge.period_key, charge.amount)
        for place, item in held for charge in item.charges
    ]  # fmt: skip
    of, budget_ids, scopes, periods, amounts = zip(*charges, strict=True) if charges else ((),) * 5
    return [
        _literal([item.if_seq if item else None for item in items]),
        _literal(of),
        _literal(budget_ids),
        scopes,
        periods,
        _literal(amounts),
        [place for place, _ in owed],
        *owed_columns([one for _, one in owed]),
        _given(held),
    ]


def _given(held: Sequence[tuple[int, Promoted]]) -> str | None:
    given = [{"of": place, **item.given} for place, item in held if item.given]
    return orjson.dumps(given).decode() if given else None


def given_back_columns(given_back: GivenBack) -> list[Any]:
    """What a return undoes, as partners.record_given_back takes it: whoever was owed owes it back; then what
    partners.record_taken_back takes."""
    owed = [replace(one, payer_id=one.payee_id, payee_id=one.payer_id) for one in given_back.owed]
    grants = given_back.grants
    return [
        *charge_columns(given_back.charges),
        *owed_columns(owed),
        [grant.kind for grant in grants],
        [grant.code for grant in grants],
        [grant.quantity for grant in grants],
        [int(use.code) for use in given_back.uses if use.kind == "COUPON"],
        [use.code for use in given_back.uses if use.kind == "STAMP"],
        [use.quantity for use in given_back.uses if use.kind == "STAMP"],
    ]


def charge_columns(charges: Sequence[BudgetCharge]) -> list[list[Any]]:
    """Charges of budgets: an array per column."""
    return [
        [charge.budget_id for charge in charges],
        [charge.scope_key for charge in charges],
        [charge.period_key for charge in charges],
        [charge.amount for charge in charges],
    ]


def owed_columns(owed: Sequence[OwedRow]) -> list[list[Any]]:
    """What parties owe each other: an array per column."""
    return [
        [one.kind for one in owed],
        [one.payer_id for one in owed],
        [one.payee_id for one in owed],
        [one.terms_id for one in owed],
        [one.rule for one in owed],
        [one.amount_minor for one in owed],
        [one.currency for one in owed],
    ]


async def insert_tombstone(
    pool: asyncpg.Pool, *, claim: UUID, idem_key: UUID, fingerprint: UUID, partner_id: int
) -> bool:
    """Claim a receipt that never came, so that it never will; False when it is claimed already."""
    done: str = await pool.execute(
        "INSERT INTO partners.receipt_claim (claim, idem_key, fingerprint, holder_id, partner_id) "
        "VALUES ($1, $2, $3, NULL, $4) ON CONFLICT DO NOTHING",
        claim,
        idem_key,
        fingerprint,
        partner_id,
    )
    return done.endswith(" 1")


async def claims(pool: asyncpg.Pool, *, claim: UUID, idem_key: UUID) -> list[asyncpg.Record]:
    """Claim rows of a receipt or an idempotency key: claim, idem_key, fingerprint, holder_id."""
    found: list[asyncpg.Record] = await pool.fetch(
        "SELECT claim, idem_key, fingerprint, holder_id FROM partners.receipt_claim WHERE claim = $1 OR idem_key = $2",
        claim,
        idem_key,
    )
    return found


async def fingerprint_of(pool: asyncpg.Pool, claim: UUID) -> UUID | None:
    """What was asked when a receipt was claimed; None where nobody claimed it."""
    found: UUID | None = await pool.fetchval("SELECT fingerprint FROM partners.receipt_claim WHERE claim = $1", claim)
    return found


async def receipts_by_claim(pool: asyncpg.Pool, wanted: Sequence[tuple[int, int, UUID]]) -> dict[UUID, StoredReceipt]:
    """Receipts under claims, each given as (partner, holder, claim); those of another partner are not found."""
    rows = await pool.fetch(
        _RECEIPT + "JOIN unnest($1::int[], $2::bigint[], $3::uuid[]) AS wanted(of_partner, of_holder, of_claim) "
        "ON holder_id = of_holder AND claim = of_claim AND partner_id = of_partner WHERE unit = 1",
        [partner_id for partner_id, _, _ in wanted],
        [holder_id for _, holder_id, _ in wanted],
        [claim for _, _, claim in wanted],
    )
    return {row["claim"]: _stored(row) for row in rows}


async def receipts_claimed(pool: asyncpg.Pool, claims: Sequence[UUID]) -> list[StoredReceipt]:
    """Receipts under claims, whosever they are."""
    rows = await pool.fetch(
        _RECEIPT + "JOIN (SELECT c.holder_id AS of_holder, c.claim AS of_claim FROM partners.receipt_claim c "
        "WHERE c.claim = ANY ($1::uuid[])) claimed ON holder_id = of_holder AND claim = of_claim WHERE unit = 1",
        list(claims),
    )
    return [_stored(row) for row in rows]


async def receipt_by_claim(pool: asyncpg.Pool, partner_id: int, claim: UUID) -> StoredReceipt | None:
    """A partner's receipt under a claim; None when there is none or it is another partner's."""
    row = await pool.fetchrow(
        _RECEIPT + "WHERE holder_id = (SELECT c.holder_id FROM partners.receipt_claim c WHERE c.claim = $2) "
        "AND unit = 1 AND partner_id = $1 AND claim = $2",
        partner_id,
        claim,
    )
    return _stored(row) if row else None


async def receipt_by_idem_key(pool: asyncpg.Pool, partner_id: int, idem_key: UUID) -> StoredReceipt | None:
    """A partner's receipt that was recorded under an idempotency key."""
    row = await pool.fetchrow(
        _RECEIPT + "WHERE partner_id = $1 AND unit = 1 AND (holder_id, claim) = "
        "(SELECT c.holder_id, c.claim FROM partners.receipt_claim c WHERE c.idem_key = $2)",
        partner_id,
        idem_key,
    )
    return _stored(row) if row else None


async def receipt_by_seq(pool: asyncpg.Pool, partner_id: int, holder_id: int, seq: int) -> StoredReceipt | None:
    """A partner's receipt by its place in the holder's journal; None when there is none or it is another's."""
    row = await pool.fetchrow(
        _RECEIPT + "WHERE holder_id = $2 AND unit = 1 AND seq = $3 AND partner_id = $1", partner_id, holder_id, seq
    )
    return _stored(row) if row else None


async def receipts_at(pool: asyncpg.Pool, places: Sequence[tuple[int, int, int]]) -> list[StoredReceipt]:
    """Receipts at places in journals, each given as (partner, holder, seq); those of another partner are not found."""
    rows = await pool.fetch(
        _RECEIPT + "JOIN unnest($1::int[], $2::bigint[], $3::bigint[]) AS wanted(of_partner, of_holder, of_seq) "
        "ON holder_id = of_holder AND seq = of_seq AND partner_id = of_partner WHERE unit = 1",
        [partner_id for partner_id, _, _ in places],
        [holder_id for _, holder_id, _ in places],
        [seq for _, _, seq in places],
    )
    return [_stored(row) for row in rows]


async def receipts_of_entries(pool: asyncpg.Pool, holder_id: int, seqs: Sequence[int]) -> list[StoredReceipt]:
    """A holder's receipts whose own entry, or whose redemption, has one of these numbers."""
    rows = await pool.fetch(
        _RECEIPT
        + "WHERE holder_id = $1 AND unit = 1 AND (seq = ANY ($2::bigint[]) OR redemption_seq = ANY ($2::bigint[]))",
        holder_id,
        list(seqs),
    )
    return [_stored(row) for row in rows]


async def awards_since(pool: asyncpg.Pool, holder_id: int, since: datetime) -> list[asyncpg.Record]:
    """What rules gave a holder on purchases since an instant, returned ones left out: release_id, rule, points."""
    found: list[asyncpg.Record] = await pool.fetch(
        """
        SELECT (r.decision ->> 'release')::int, reason -> 2 ->> 'rule', sum((reason ->> 1)::bigint)::bigint
        FROM partners.receipt r CROSS JOIN LATERAL jsonb_array_elements(r.decision -> 'reasons') reason
        WHERE r.holder_id = $1 AND r.unit = 1 AND r.kind = 1 AND r.at >= $2 AND reason -> 2 ? 'rule'
          AND NOT EXISTS (SELECT FROM partners.receipt b
                          WHERE b.holder_id = r.holder_id AND b.unit = r.unit AND b.original_seq = r.seq)
        GROUP BY 1, 2 ORDER BY 1, 2
        """,
        holder_id,
        since,
    )
    return found


async def purchases_counted(pool: asyncpg.Pool, since: datetime, until: datetime) -> int:
    """How many purchases occurred in [since, until)."""
    found: int = await pool.fetchval(
        "SELECT count(*) FROM partners.receipt WHERE kind = 1 AND unit = 1 AND occurred_at >= $1 AND occurred_at < $2",
        since,
        until,
    )
    return found


async def purchases_between(
    connection: asyncpg.Connection, since: datetime, until: datetime
) -> Callable[[int], Coroutine[Any, Any, list[StoredReceipt]]]:
    """A reader of the purchases that occurred in [since, until), in order: called with a number, it gives the next so
    many, nothing at the end. Needs a transaction, and reads everything: for reports."""
    cursor = await connection.cursor(
        _RECEIPT + "WHERE kind = 1 AND unit = 1 AND occurred_at >= $1 AND occurred_at < $2 "
        "ORDER BY occurred_at, holder_id, seq",
        since,
        until,
    )

    async def take(count: int) -> list[StoredReceipt]:
        return [_stored(row) for row in await cursor.fetch(count)]

    return take


async def returns_of(pool: asyncpg.Pool, original: StoredReceipt) -> list[StoredReceipt]:
    """Returns and cancellations of a purchase, the earliest first."""
    rows = await pool.fetch(
        _RECEIPT + "WHERE holder_id = $1 AND unit = 1 AND original_seq = $2 ORDER BY seq",
        original.holder_id,
        original.seq,
    )
    return [_stored(row) for row in rows]


def _stored(row: asyncpg.Record) -> StoredReceipt:
    return StoredReceipt(
        holder_id=row["holder_id"],
        unit=row["unit"],
        seq=row["seq"],
        kind=row["kind"],
        partner_id=row["partner_id"],
        outlet_id=row["outlet_id"],
        terminal_id=row["terminal_id"],
        reference=row["reference"],
        business_date=row["business_date"],
        occurred_at=row["occurred_at"],
        at=row["at"],
        currency=row["currency"],
        total_minor=row["total"],
        awarded_points=row["awarded"],
        redeemed_points=row["redeemed"],
        redemption_seq=row["redemption_seq"],
        original_seq=row["original_seq"],
        terms_id=row["terms_id"],
        card_id=row["card_id"],
        detail=orjson.loads(row["detail"]) if row["detail"] else {},
        decision=orjson.loads(row["decision"]),
    )
