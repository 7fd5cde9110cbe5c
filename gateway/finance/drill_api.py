"""From a statement's line to what is behind it: movements, and of each the entry of the ledger and the receipt."""

from datetime import date, datetime
from decimal import Decimal

import strawberry
from strawberry import Info

from gateway import access, connections
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.calls import DESK
from gateway.finance.entry_ids import entry_id, read_entry_id
from gateway.finance.statement_api import SettlementStatement, statement_by_id, statement_of
from gateway.inputs import described
from gateway.types import Money, Reason, money, reasons
from kit.amounts import Points
from kit.secrets import Vault
from ledger import history
from partners.clearing import clearing
from partners.decisions import rules
from partners.directory import Directory
from partners.receipts import histories
from partners.receipts.records import StoredReceipt
from settlement import archive, drill
from settlement.rating import OPERATOR
from settlement.statements import Source, decimal_from_micro

_KINDS = {1: "PURCHASE", 2: "REDEMPTION", 3: "RETURN", 4: "CANCELLATION"}


@strawberry.type(description="Points or money that moved, as one party of a line has to do with them.")
class SettlementMovement:
    number: int = described("Its place behind the line.")
    cutoff: int = described("Number of its cut-off.")
    kind: str = described("The kind of its line.")
    at: datetime = described("Business instant.")
    business_date: date | None = described("Of the receipt, where the partner has one for it.")
    outlet: str | None = described("Where, by the partner's code.")
    reference: str | None = described("The partner's own number of the receipt.")
    points: Points = described("Points that moved; 0 where it was money alone.")
    unit_price: Decimal = described("Price of one point, exact.")
    amount_exact: Decimal = described("What it comes to on the line, exact.")
    entry_id: strawberry.ID | None = described("The ledger's entry that moved it; none behind a fee.")
    receipt_entry_id: strawberry.ID | None = described("The entry of the receipt that tells why; none where none does.")


@strawberry.type(description="One transfer of an entry between two accounts of its holder, or of the programme.")
class LedgerPosting:
    leg: int = described("Its place in the entry.")
    debit: str = described("The account that gives: ISSUED, PENDING, AVAILABLE, HELD; more may appear.")
    credit: str = described("The account that receives: AVAILABLE, REDEEMED, EXPIRED, RETURNED; more may appear.")
    points: Points = described("How many.")
    issuer: str = described("Code of whoever issued them; empty for the programme.")
    funder: str = described("Code of whoever pays for them; empty for the programme.")
    partner: str = described("Code of where it happened; empty for the programme.")
    issued_under: str | None = described("Version of the agreement under which they were issued, as partner/version.")
    happened_under: str | None = described("Version under which this happened.")
    cutoff: int = described("Number of its cut-off.")


@strawberry.type(description="A receipt as it was recorded, for whoever settles.")
class LedgerReceipt:
    kind: str = described("PURCHASE, REDEMPTION, RETURN, CANCELLATION.")
    partner_name: str = described("Whose it is.")
    outlet: str = described("Where, as the partner calls the place.")
    reference: str = described("The partner's own number.")
    business_date: date = described("The partner's day.")
    occurred_at: datetime = described("By the till's clock.")
    recorded_at: datetime = described("When it was recorded.")
    total: Money = described("What was to be paid before points.")
    awarded: Points = described("Points that it earned.")
    redeemed: Points = described("Points that paid a part of it.")
    agreement: str | None = described("The version that it was recorded under.")
    reasons: list[Reason] = described("Why it earned them.")


@strawberry.type(description="An entry of the ledger: whose it is stays with the ledger.")
class LedgerEntry:
    number: int = described("Its place in its account.")
    postings: list[LedgerPosting] = described("What it moved.")
    receipt: LedgerReceipt | None = described(
        "The receipt that it recorded, or was recorded with; none where none was."
    )


@strawberry.type
class DrillQuery:
    @access.query(
        scopes=DESK,
        size=access.paged(),
        description="Statements, the latest first: of one run, of one partner by its code, or everybody's.",
    )
    async def statements_of(
        self,
        info: Info[Context, None],
        run: int | None = None,
        partner: str | None = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[SettlementStatement]:
        services = info.context.services
        cursors = Cursors(services.vault, "statement of")
        directory = await services.directory.get()
        partner_id = None
        if partner is not None:
            found = directory.partner_by_code(partner)
            partner_id = -1 if found is None else found.partner_id  # no partner has this number
        async with services.database.reading() as connection:
            rows = await archive.statements_page(
                connection, run_id=run, partner_id=partner_id, before=cursors.read(after),
                limit=connections.bounded(first) + 1,
            )  # fmt: skip
        make = statement_of(info.context, directory)
        return connections.page(rows, first, after=after, cursor=lambda row: cursors.write(row.statement_id), node=make)

    @access.query(
        scopes=DESK,
        cost=20,
        size=access.paged(),
        description="What is behind a line of a statement, in the order it was recorded; it sums to the line. Nothing "
        "behind lines that were computed from others, and behind those of the operator's own statement.",
    )
    async def settlement_movements(
        self, info: Info[Context, None], statement_id: strawberry.ID, line: int, first: First = 20, after: After = None
    ) -> Connection[SettlementMovement]:
        services = info.context.services
        cursors = Cursors(services.vault, f"movements of line {line}")
        found = await statement_by_id(info.context, statement_id)
        its = None if found is None else found.statement
        partner = None if its is None else (await services.directory.get()).partner(its.partner_id)
        rows: list[drill.Numbered] = []
        if its is not None and partner is not None:
            chosen = next((one for one in its.lines if one.line_no == line), None)
            if chosen is not None:
                async with services.database.transaction() as connection:
                    rows = await drill.movements(
                        connection, its, chosen, id_key=partner.id_key, after=cursors.read(after) or 0,
                        limit=connections.bounded(first) + 1,
                    )  # fmt: skip
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row.number),
            node=lambda row: _movement(row, services.vault),
        )  # fmt: skip

    @access.query(
        scopes=DESK,
        cost=10,
        description="An entry of the ledger by its id: what it moved, and its receipt. Null where there is none.",
    )
    async def ledger_entry(self, info: Info[Context, None], id: strawberry.ID) -> LedgerEntry | None:
        services = info.context.services
        its = read_entry_id(services.vault, id)
        if its is None:
            return None
        holder_id, seq = its
        async with services.database.reading() as connection:
            postings = await history.postings(connection, holder_id, seq)
            signed = {t.terms_id: f"{t.partner_id}/{t.version}" for t, _ in await clearing.signed(connection)}
        receipts = await histories.receipts_of(services.database.pool, holder_id, [seq])
        if not postings and not receipts:
            return None
        directory = await services.directory.get()
        versions = {terms_id: _version(directory, said) for terms_id, said in signed.items()}
        return LedgerEntry(
            number=seq,
            postings=[_posting(one, directory, versions) for one in postings],
            receipt=_receipt(receipts[seq], directory, versions, info.context.language) if seq in receipts else None,
        )


def _movement(row: drill.Numbered, vault: Vault) -> SettlementMovement:
    one = row.detail
    return SettlementMovement(
        number=row.number, cutoff=one.cutoff_id, kind=one.kind, at=one.at, business_date=one.business_date,
        outlet=one.outlet, reference=one.reference, points=Points(one.points),
        unit_price=decimal_from_micro(one.unit_price_micro), amount_exact=decimal_from_micro(one.amount_micro),
        entry_id=_entry_id(vault, one.source), receipt_entry_id=_receipt_id(vault, one.source),
    )  # fmt: skip


def _entry_id(vault: Vault, source: Source | None) -> strawberry.ID | None:
    return None if source is None else entry_id(vault, source.holder_id, source.seq)


def _receipt_id(vault: Vault, source: Source | None) -> strawberry.ID | None:
    if source is None or source.receipt_holder_id is None or source.receipt_seq is None:
        return None
    return entry_id(vault, source.receipt_holder_id, source.receipt_seq)


def _posting(one: history.Posting, directory: Directory, versions: dict[int, str]) -> LedgerPosting:
    return LedgerPosting(
        leg=one.leg, debit=one.debit, credit=one.credit, points=Points(one.points),
        issuer=_code(directory, one.issuer_id), funder=_code(directory, one.funder_id),
        partner=_code(directory, one.partner_id), issued_under=versions.get(one.lot_terms_id),
        happened_under=versions.get(one.terms_id), cutoff=one.cutoff_id,
    )  # fmt: skip


def _receipt(found: StoredReceipt, directory: Directory, versions: dict[int, str], language: str) -> LedgerReceipt:
    titles = rules.titles(found.decision.get("release", 0), directory.shelf, language)
    return LedgerReceipt(
        kind=_KINDS[found.kind], partner_name=_name(directory, found.partner_id),
        outlet=_outlet(directory, found), reference=found.reference,
        business_date=found.business_date, occurred_at=found.occurred_at, recorded_at=found.at,
        total=money(found.total_minor, found.currency), awarded=Points(found.awarded_points),
        redeemed=Points(found.redeemed_points), agreement=versions.get(found.terms_id),
        reasons=reasons(found.decision.get("reasons", ()), found.currency, language, titles),
    )  # fmt: skip


def _version(directory: Directory, said: str) -> str:
    partner_id, _, version = said.partition("/")
    return f"{_code(directory, int(partner_id))}/{version}"


def _code(directory: Directory, partner_id: int) -> str:
    found = directory.partner(partner_id)
    return "" if found is None or partner_id == OPERATOR else found.code


def _name(directory: Directory, partner_id: int) -> str:
    found = directory.partner(partner_id)
    return "" if found is None else found.name


def _outlet(directory: Directory, found: StoredReceipt) -> str:
    names = (each.name for each in directory.outlets(found.partner_id) if each.outlet_id == found.outlet_id)
    return next(names, "")
