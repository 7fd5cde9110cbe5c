"""How a partner's programs do: what was refused and how to mend it, how fast and how well they are answered, how much
they may still ask for, and what is left to be done before they go live."""

from datetime import UTC, datetime, timedelta

import strawberry
from strawberry import Info

from gateway import access, masking, scopes
from gateway.context import Context
from gateway.gate import client_rules
from gateway.gate.allowances import Allowance
from gateway.inputs import described
from gateway.integration import first_steps, mending, request_figures, request_log
from gateway.integration.first_steps import Step
from gateway.integration.request_figures import Figures
from gateway.integration.request_log import Refusals
from gateway.oauth import own_clients
from gateway.oauth.own_clients import OwnClient
from gateway.purchase_api import counter_of
from kit import audit, clock

MOST_DAYS = 14
MOST_KINDS = 50
_ROTATED = ("CLIENT_KEY_ADDED", "CLIENT_SECRET_ROTATED")


@strawberry.type(description="Requests that were refused alike.")
class RefusedRequests:
    code: str = described("The rejection's or the error's code.")
    operation: str = described("The operation's name.")
    requests: int = described("How many the log has.")
    client_ids: list[str] = described("Which clients asked.")
    last_at: datetime = described("When the latest was answered.")
    last_request_id: str = described("Its id, by which the log finds it.")
    meaning: str | None = described("What the code means; null for one that nobody here knows.")
    mend: str | None = described("What to do.")


@strawberry.type(description="How a client's requests were answered.")
class ClientHealth:
    client_id: str = described("The client.")
    client_name: str = described("What the partner calls it.")
    requests: int = described("How many requests: all of them, also those that the log has no room for.")
    refused: int = described("How many of these were refused: rejections and errors.")
    away: int = described("How many of these failed on our side: answered 5xx.")
    replayed: int = described("How many answers were an earlier one's.")
    refused_bp: int = described("The refused in basis points of all.")
    p50_ms: int | None = described("Half were ready within so many milliseconds. Null: behind ten seconds, or none.")
    p95_ms: int | None = described("95 of a hundred were ready within so many milliseconds. Null as above.")
    cost: int = described("Points of cost that they came to.")
    allowance: int = described("The most points of cost at once.")
    restored_per_second: int = described("How much of it comes back in a second.")
    available: int = described("How much may be asked for at this moment, at least.")
    busiest_hour_bp: int = described("What the busiest hour asked for, in basis points of what came back in it.")


@strawberry.type(description="A step on the way to going live.")
class GoLiveStep:
    step: str = described("PURCHASE, POINTS_SPENT, HOLD_CAPTURED, RETURN, CANCELLATION, SENT_AGAIN, OFFLINE, REFUSED, "
                          "KEY_ROTATED; more may appear.")  # fmt: skip
    done_at: datetime | None = described("When a program did it first; null: none has.")
    client_id: str | None = described("Which one; null where it was somebody at the portal.")
    request_id: str | None = described("With which request.")


@strawberry.type
class IntegrationQuery:
    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), cost=2, size=access.ListSize(assumed_size=MOST_KINDS),
        description="What the own partner's programs were refused in the last days, at most 14, by code and operation, "
        "the most first, and how to mend it.",
    )  # fmt: skip
    async def refused_requests(self, info: Info[Context, None], days: int = 7) -> list[RefusedRequests]:
        partner, until = (await counter_of(info)).partner, clock.wall()
        since = until - timedelta(days=_days(days))
        async with info.context.services.database.reading() as connection:
            found = await request_log.refusals(
                connection, partner.partner_id, since=since, until=until + timedelta(days=1), limit=MOST_KINDS
            )
        return [_refused(each) for each in found]

    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), cost=2, size=access.ListSize(assumed_size=own_clients.MOST_CLIENTS),
        description="How the own partner's clients were answered in the last days, at most 14, and what is left of "
        "their allowances. Those that asked most come first; one that asked nothing is there too.",
    )  # fmt: skip
    async def client_health(self, info: Info[Context, None], days: int = 1) -> list[ClientHealth]:
        partner, now = (await counter_of(info)).partner, clock.wall()
        since = now - timedelta(days=_days(days))
        async with info.context.services.database.reading() as connection:
            own = await own_clients.all_of(connection, partner.partner_id, at=now)
            figures = await request_figures.of_partner(connection, partner.partner_id, since=since)
            rules = {each.client_no: (await client_rules.rule_of(connection, each.client_id)).allowance for each in own}
            available = await request_figures.headroom(connection, rules, at=now)
        found = [_health(each, figures.get(each.client_no), rules[each.client_no], available) for each in own]
        return sorted(found, key=lambda each: (-each.requests, each.client_name))

    @access.query(
        scopes=(scopes.CLIENTS_MANAGE,), cost=2, size=access.ListSize(assumed_size=len(first_steps.ORDER)),
        description="What a partner's programs should have done before they go live, each ticked when one did it.",
    )  # fmt: skip
    async def go_live_steps(self, info: Info[Context, None]) -> list[GoLiveStep]:
        partner, now = (await counter_of(info)).partner, clock.wall()
        async with info.context.services.database.reading() as connection:
            done = await first_steps.of_partner(connection, partner.partner_id)
            rotated_at: datetime | None = None
            for client in await own_clients.all_of(connection, partner.partner_id, at=now):
                for action in _ROTATED if rotated_at is None else ():
                    entries = await audit.entries(
                        connection, subject=f"client:{client.client_no}", action=action, limit=1
                    )
                    rotated_at = rotated_at or next((each.at for each in entries), None)
        return [_step(step, done.get(step), rotated_at) for step in first_steps.ORDER]


def _days(days: int) -> int:
    if not 1 <= days <= MOST_DAYS:
        raise masking.coded(masking.BAD_USER_INPUT, f"`days` is 1 to {MOST_DAYS}.")
    return days


def _refused(found: Refusals) -> RefusedRequests:
    told = mending.of(found.code)
    return RefusedRequests(
        code=found.code, operation=found.operation, requests=found.requests, client_ids=list(found.client_ids),
        last_at=found.last_at, last_request_id=found.last_request_id, meaning=told.meaning if told else None,
        mend=told.mend if told else None,
    )  # fmt: skip


_NOTHING = Figures(0, 0, 0, 0, 0, 0, 0, ())


def _health(client: OwnClient, found: Figures | None, allowance: Allowance, available: dict[int, int]) -> ClientHealth:
    figures = found or _NOTHING
    restored = allowance.restore_per_second * int(timedelta(hours=1).total_seconds())
    return ClientHealth(
        client_id=client.client_id, client_name=client.name, requests=figures.requests, refused=figures.refused,
        away=figures.away, replayed=figures.replayed, refused_bp=figures.refused_bp(), p50_ms=figures.within_ms(500),
        p95_ms=figures.within_ms(950), cost=figures.cost, allowance=allowance.burst,
        restored_per_second=allowance.restore_per_second, available=available[client.client_no],
        busiest_hour_bp=figures.busiest_cost * 10_000 // restored,
    )  # fmt: skip


def _step(step: str, done: Step | None, rotated_at: datetime | None) -> GoLiveStep:
    if step == first_steps.KEY_ROTATED:
        return GoLiveStep(step=step, done_at=rotated_at, client_id=None, request_id=None)
    if done is None:
        return GoLiveStep(step=step, done_at=None, client_id=None, request_id=None)
    return GoLiveStep(step=step, done_at=done.at.astimezone(UTC), client_id=done.client_id, request_id=done.request_id)
