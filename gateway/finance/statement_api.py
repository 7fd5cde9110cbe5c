"""What finance reads over GraphQL: settlement statements and their lines. A partner's client sees its own alone."""

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial

import strawberry
from strawberry import Info
from strawberry.dataloader import DataLoader

from gateway import access, connections, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context, Services
from gateway.inputs import described
from gateway.scalars import CurrencyCode
from gateway.types import Money, Node, money
from kit.amounts import Points
from kit.secrets import Vault, opaque_id, read_opaque_id
from partners.directory import Directory
from settlement import archive, netting, runs
from settlement.archive import Statement
from settlement.rating import OPERATOR
from settlement.statements import Line, decimal_from_micro
from settlement.windows import cycle

_STATEMENT = "stm"
_STATEMENT_IDS = "settlement statement id"
_LINES = 50

LinesKey = tuple[int, int, int]  # statement, line number to go on behind, how many
LinesLoader = DataLoader[LinesKey, list[Line]]


@strawberry.type(description="One line of a settlement statement. Amounts are signed as `netDue` is.")
class SettlementLine:
    number: int = described("Its place in the statement.")
    kind: str = described("ACTIVATION, RETURN, REDEMPTION, REFUND, ROUNDING; more may appear.")
    agreement_version: int | None = described("The version of the agreement that priced it; none on a rounding line.")
    points: Points = described("Points behind it.")
    postings: int = described("How many postings are behind it.")
    unit_price: Decimal | None = described("Price of one point, exact.")
    amount_exact: Decimal = described("Points at the price, exact.")
    amount: Money = described("The same, rounded half-even to the currency's minor unit.")


@strawberry.type(description="The time to object to a statement, and what it covers.")
class StatementReview:
    state: str = described("The state of its run: IN_REVIEW while partners may object; more may appear.")
    issued_at: datetime | None = described("When it was issued.")
    ends_at: datetime | None = described("Silence until here is acceptance.")
    accepted_at: datetime | None = described("When its partner accepted it, if it did.")
    windows: list[str] = described("The windows that its run settles, by name.")


@strawberry.type(description="What one party is owed, or owes, for closed cut-offs in one currency.")
class SettlementStatement(Node):
    partner_name: str = described("Whose it is; of the operator's own statement, the programme.")
    opened_at: datetime | None = described("When the first of its cut-offs opened; none where it was the very first.")
    closed_at: datetime = described("When the last of its cut-offs closed.")
    settled_at: datetime = described("Business instant of the settlement run.")
    currency_code: CurrencyCode = described("ISO 4217 code of everything in it.")
    opening: Money = described("Carried over from the statement before.")
    net_due: Money = described(
        "Opening and all lines. Positive: the party receives it. Negative: the party pays it. The nets of all parties "
        "of a run, the operator among them, sum to zero."
    )
    direction: str | None = described(
        "PAY_IN: the partner pays the operator. PAY_OUT: the operator pays the partner. None: nothing to pay."
    )
    run: int = described("Number of its run, as reports take it.")
    partner_code: str | None = described("Code of its partner, as reports take it; the operator has none.")
    package_path: str | None = described("Where its signed package is, once it was issued; the operator has none.")
    statement: strawberry.Private[Statement]
    directory: strawberry.Private[Directory]

    @access.field(cost=5, description="Where the time to object to it stands.")
    async def review(self, info: Info[Context, None]) -> "StatementReview":
        async with info.context.services.database.reading() as connection:
            head = await archive.head(connection, self.statement.run_id)
            found = await runs.reviews(connection, self.statement.run_id)
            windows = await cycle.windows(connection, run_id=self.statement.run_id)
        own = next((one for one in found if one.statement_id == self.statement.statement_id), None)
        return StatementReview(
            state=head.state,
            issued_at=None if own is None else own.issued_at,
            ends_at=None if own is None else own.review_ends_at,
            accepted_at=None if own is None else own.accepted_at,
            windows=[window.name for window in windows],
        )

    loader: strawberry.Private[LinesLoader]

    @access.field(
        size=access.paged(default=_LINES), description="Its lines, in order. With the opening, they sum to it."
    )
    async def lines(
        self, info: Info[Context, None], first: First = _LINES, after: After = None
    ) -> Connection[SettlementLine]:
        cursors = Cursors(info.context.services.vault, "settlement line")
        wanted = connections.bounded(first) + 1
        rows = await self.loader.load((self.statement.statement_id, cursors.read(after) or 0, wanted))
        return connections.page(
            rows,
            first,
            after=after,
            cursor=lambda line: cursors.write(line.line_no),
            node=lambda line: _line(line, self.statement.currency, self.directory),
        )


@strawberry.type
class FinanceQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        size=access.paged(),
        description="Settlement statements, latest first: the partner's own; for the operator's staff, everybody's.",
    )
    async def settlement_statements(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[SettlementStatement]:
        services = info.context.services
        cursors = Cursors(services.vault, "settlement statement")
        before = cursors.read(after)
        async with services.database.reading() as connection:
            rows = await archive.statements_page(
                connection,
                partner_id=info.context.viewer.partner_id,
                before=before,
                limit=connections.bounded(first) + 1,
            )
        directory, loader = await services.directory.get(), _lines_loader(services)
        return connections.page(
            rows,
            first,
            after=after,
            cursor=lambda row: cursors.write(row.statement_id),
            node=lambda row: _statement(row, services.vault, directory, loader),
        )

    @access.query(
        scopes=(scopes.SETTLEMENT_READ,),
        description="One settlement statement. Null where there is none of this id, or it is another partner's.",
    )
    async def settlement_statement(self, info: Info[Context, None], id: strawberry.ID) -> SettlementStatement | None:
        return await statement_by_id(info.context, id)


async def statement_by_id(context: Context, opaque: str) -> SettlementStatement | None:
    """The statement inside an id, None where there is none or the viewer may not see it. Scopes are asked before."""
    services = context.services
    number = read_statement_id(services.vault, opaque)
    if not number:
        return None
    async with services.database.reading() as connection:
        row = await archive.statement(connection, number, partner_id=context.viewer.partner_id)
    if row is None:
        return None
    return _statement(row, services.vault, await services.directory.get(), _lines_loader(services))


def statement_id(vault: Vault, number: int) -> strawberry.ID:
    """The id of a statement by its number."""
    return strawberry.ID(opaque_id(_key(vault), _STATEMENT, number.to_bytes(8, "big")))


def read_statement_id(vault: Vault, opaque: str) -> int:
    """The number inside an id of a statement; 0, which none has, for anything else."""
    keys = connections.id_keys(vault, _STATEMENT_IDS)
    raw = next((raw for key in keys if (raw := read_opaque_id(key, _STATEMENT, opaque)) is not None), None)
    return 0 if raw is None else int.from_bytes(raw, "big")


def statement_of(context: Context, directory: Directory) -> Callable[[Statement], SettlementStatement]:
    """What makes a statement for GraphQL; the lines of all that it makes are loaded together."""
    services = context.services
    return partial(_statement, vault=services.vault, directory=directory, loader=_lines_loader(services))


def _key(vault: Vault) -> bytes:
    return connections.id_key(vault, _STATEMENT_IDS)


def _statement(row: Statement, vault: Vault, directory: Directory, loader: LinesLoader) -> SettlementStatement:
    partner = directory.partner(row.partner_id)
    return SettlementStatement(
        id=statement_id(vault, row.statement_id),
        partner_name=directory.programme.name if partner is None else partner.name,
        opened_at=row.opened_at,
        closed_at=row.cut_at,
        settled_at=row.at,
        currency_code=CurrencyCode(row.currency),
        opening=money(row.opening_minor, row.currency),
        net_due=money(row.net_minor, row.currency),
        direction=_direction(row),
        run=row.run_id,
        partner_code=None if partner is None else partner.code,
        package_path=None if partner is None else f"/settlement/packages/{row.run_id}",
        statement=row,
        directory=directory,
        loader=loader,
    )


def _direction(row: Statement) -> str | None:
    if row.partner_id == OPERATOR or not row.net_minor:
        return None
    return netting.PAY_OUT if row.net_minor > 0 else netting.PAY_IN


def _line(line: Line, currency: str, directory: Directory) -> SettlementLine:
    return SettlementLine(
        number=line.line_no,
        kind=line.kind,
        agreement_version=None if line.terms_id is None else directory.terms(line.terms_id).version,
        points=Points(line.points),
        postings=line.postings,
        unit_price=None if line.terms_id is None else decimal_from_micro(line.unit_price_micro),
        amount_exact=decimal_from_micro(line.amount_micro),
        amount=money(line.amount_minor, currency),
    )


def _lines_loader(services: Services) -> LinesLoader:
    """Loads the lines of all statements of one answer together."""

    async def load(keys: list[LinesKey]) -> list[list[Line]]:
        by_page: dict[tuple[int, int], list[int]] = defaultdict(list)
        for statement_id, after, limit in keys:
            by_page[after, limit].append(statement_id)
        found: dict[LinesKey, list[Line]] = {}
        async with services.database.reading() as connection:
            for (after, limit), statement_ids in by_page.items():
                lines = await archive.lines_page(connection, statement_ids, after=after, limit=limit)
                found |= {(statement_id, after, limit): lines[statement_id] for statement_id in statement_ids}
        return [found[key] for key in keys]

    return DataLoader(load)
