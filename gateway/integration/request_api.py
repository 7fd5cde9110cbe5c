"""What a partner's programs asked, and the partner's points by day: what its people look at when something is odd."""

from datetime import date, datetime, timedelta

import orjson
import strawberry
from strawberry import Info

from gateway import access, connections, masking, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import described
from gateway.integration import request_log
from gateway.integration.request_log import Entry, Wanted
from gateway.purchase_api import counter_of
from kit.amounts import Points
from ledger import rollups

MOST_DAYS = 92


@strawberry.type(description="A request that a program or a till of the partner's sent, without anything personal.")
class LoggedRequest:
    number: int = described("Its place in the log.")
    request_id: str = described("As the answer's header X-Request-Id had it.")
    client_id: str = described("Who asked; of the till page, the portal.")
    client_name: str = described("What that client is called.")
    at: datetime = described("When it was answered.")
    operation: str = described("The operation's name; `anonymous` where it had none.")
    document_hash: str | None = described("SHA-256 of the document, where there was one.")
    status: int = described("HTTP status of the answer.")
    code: str | None = described("Why it was refused: a rejection's or an error's code. Null where it was done.")
    took_ms: int = described("Milliseconds until the answer was ready.")
    cost: int = described("What it cost, in points of cost.")
    replayed: bool = described("Whether the answer was an earlier one's; of a document that asks for `replayed`.")
    variables: str = described("The variables as JSON; everything hidden that could be a person's or a secret.")


@strawberry.type(description="Points of one day, UTC.")
class ActivityDay:
    day: date = described("The day.")
    issued: Points = described("Points that became the members' by this partner, less what it took back.")
    redeemed: Points = described("Points that were spent at this partner, less what it gave back.")


@strawberry.type
class RequestQuery:
    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), cost=5, size=access.paged(),
        description="What the own partner's programs and tills asked lately, latest first. Requests that were refused "
        "are kept first; of many that were done only some are.",
    )  # fmt: skip
    async def request_log(
        self, info: Info[Context, None], first: First = 20, after: After = None, request_id: str | None = None,
        client_id: str | None = None, operation: str | None = None, code: str | None = None,
        since: datetime | None = None, until: datetime | None = None, failed: bool = False,
    ) -> Connection[LoggedRequest]:  # fmt: skip
        partner = (await counter_of(info)).partner
        cursors = Cursors(info.context.services.vault, "request log")
        wanted = Wanted(cursors.read(after), request_id, client_id, operation, code, since, until, failed)
        async with info.context.services.database.reading() as connection:
            rows = await request_log.page(connection, partner.partner_id, wanted, limit=connections.bounded(first) + 1)
        return connections.page(rows, first, after=after, cursor=lambda row: cursors.write(row.entry_no), node=_logged)

    @access.query(
        scopes=(scopes.HISTORY_READ,), size=access.ListSize(assumed_size=MOST_DAYS),
        description="Points of the own partner by day, for days on which any moved, since one and before another, at "
        "most 92 days.",
    )  # fmt: skip
    async def partner_activity(self, info: Info[Context, None], since: date, until: date) -> list[ActivityDay]:
        partner = (await counter_of(info)).partner
        if not timedelta(0) <= until - since <= timedelta(days=MOST_DAYS):
            raise masking.coded(masking.BAD_USER_INPUT, f"`until` is at most {MOST_DAYS} days after `since`.")
        async with info.context.services.database.reading() as connection:
            found = await rollups.activity(connection, partner.partner_id, since=since, until=until)
        return [ActivityDay(day=each.day, issued=Points(each.issued), redeemed=Points(each.redeemed)) for each in found]


def _logged(row: Entry) -> LoggedRequest:
    return LoggedRequest(
        number=row.entry_no, request_id=row.request_id, client_id=row.client_id, client_name=row.client_name,
        at=row.asked_at, operation=row.operation,
        document_hash=None if row.document_hash is None else row.document_hash.hex(), status=row.status, code=row.code,
        took_ms=row.took_ms, cost=row.cost, replayed=row.replayed, variables=orjson.dumps(row.variables).decode(),
    )  # fmt: skip
