"""A small schema behind the real gateway: what the gate, the endpoint and the logs are tested with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import asyncpg
import httpx2
import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway import access, app, scopes
from gateway.context import Context
from gateway.gate import client_rules
from gateway.gate.allowances import Allowance
from gateway.gate.prepared import Schema
from gateway.oauth import clients
from gateway.oauth.approvers import Approver
from gateway.rejections import Rejection
from kit import actors
from kit.amounts import Points
from kit.database import Database
from kit.errors import FieldProblem, OutcomeUnknown
from kit.errors import Rejection as No
from kit.secrets import Vault
from kit.settings import Settings
from partners.agreements import onboarding, programme
from partners.terms import Programme

PLENTY = Allowance(1_000_000, 100_000)
ISSUER = "http://127.0.0.1:8000"
PROGRAMME = Programme("Toys", "UTC", "EUR", ("en", "ru", "ro"), 10_000, 30, {"EUR": 10_000})

Info = strawberry.Info[Context, None]


class NotEnough(No):
    code = "INSUFFICIENT_POINTS"
    retryable = True


@dataclass
class Seen:
    """What the toys' resolvers were called with."""

    calls: list[Any] = field(default_factory=list)


@strawberry.type
class Item:
    name: str

    @access.field(size=access.paged(), description="Items below.")
    def below(self, first: int = 20) -> "Page":
        return page(first)


@strawberry.type
class Page:
    nodes: list[Item]


def page(first: int) -> Page:
    return Page(nodes=[Item(name=str(number)) for number in range(first)])


@strawberry.type
class Accrued:
    id: strawberry.ID
    points: Points
    at: datetime | None = None
    total: Decimal | None = None
    day: date | None = None


AccrueResult = Annotated[Accrued | Rejection, strawberry.union("AccrueResult")]


@strawberry.input
class AccrueInput:
    idempotency_key: str
    points: Points
    card: str = ""
    at: datetime | None = None
    total: Decimal | None = None
    day: date | None = None


@strawberry.enum
class Colour(Enum):
    RED = "RED"
    GREEN = "GREEN"


@strawberry.type
class Query:
    @access.query(scopes=(), description="One.")
    def one(self, info: Info) -> int:
        info.context.services.lanes.calls.append("one")
        return 1

    @access.query(scopes=(), description="Who calls.")
    def who(self, info: Info) -> str:
        return f"{info.context.viewer.client_id} {info.context.viewer.partner_id} {info.context.language}"

    @access.query(scopes=(scopes.MEMBERS_READ, scopes.HISTORY_READ), description="Needs a scope.")
    def guarded(self, info: Info) -> str:
        info.context.services.lanes.calls.append("guarded")
        return "ok"

    @access.query(scopes=(), size=access.paged(), description="Items.")
    def items(self, first: int = 20) -> Page:
        return page(first)

    @access.query(scopes=(), size=access.paged(), description="Two items, however many are wanted.")
    def few(self, first: int = 20) -> Page:
        return page(2)

    @access.query(scopes=(), description="Paints.")
    def painted(self, colour: Colour) -> str:
        return colour.value

    @access.query(scopes=(), cost=600, description="Dear.")
    def dear(self) -> int:
        return 1

    @access.query(scopes=(), description="Breaks.")
    def broken(self, card: str) -> int:
        raise ValueError(f"no room for {card}")

    @access.query(scopes=(), description="Refused without a union.")
    def refused(self) -> int:
        raise NotEnough("not enough")

    @access.query(scopes=(), description="Takes its time.")
    async def slow(self) -> int:
        await asyncio.sleep(30)
        return 1

    @access.query(scopes=(), description="The database is away.")
    async def away(self) -> int:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


@strawberry.type
class Mutation:
    @access.mutation(scopes=(scopes.POINTS_ACCRUE,), description="Accrues.")
    async def accrue(self, info: Info, input: AccrueInput) -> AccrueResult:
        info.context.services.lanes.calls.append(input)
        if input.points > 1_000:
            problem = FieldProblem(("input", "points"), "TOO_MANY", "more than 1,000")
            raise NotEnough("not enough", available_points=7, maximum_points=1_000, current="tx_1", problems=[problem])
        return Accrued(id=strawberry.ID("tx_1"), points=input.points, at=input.at, total=input.total, day=input.day)

    @access.mutation(scopes=(scopes.POINTS_ACCRUE,), takes_batch=True, description="Accrues many.")
    async def accrue_many(self, info: Info, items: list[AccrueInput]) -> AccrueResult:
        info.context.services.lanes.calls.append(len(items))
        return Accrued(id=strawberry.ID("tx_1"), points=Points(len(items)))

    @access.mutation(scopes=(scopes.POINTS_ACCRUE,), description="Loses the connection while committing.")
    async def lose(self, how: str) -> AccrueResult:
        if how == "slow":
            await asyncio.sleep(30)
        if how == "driver":
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        raise OutcomeUnknown


schema = Schema(Query, Mutation)


@dataclass
class Clock:
    """The wall's clock, set by hand."""

    at: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def forward(self, **step: float) -> None:
        self.at += timedelta(**step)


@dataclass
class People:
    """Who is signed in at the pages, by a cookie: the port of a toy."""

    by_cookie: dict[str, Approver] = field(default_factory=dict)

    async def signed_in(self, request: Request, here: str) -> Approver | Response:
        found = self.by_cookie.get(request.cookies.get("who", ""))
        return found or RedirectResponse("/sign-in", 303)


@dataclass
class Toy:
    """The toy gateway, running in this process, with a partner and its client."""

    app: Starlette
    http: httpx2.AsyncClient
    database: Database
    vault: Vault
    seen: Seen
    clock: Clock
    partner_id: int
    client_id: str
    secret: str
    token: str = ""
    people: "People" = field(default_factory=lambda: People())

    async def ask_token(self, **form: str) -> httpx2.Response:
        return await self.http.post(
            "/oauth/token", data={"grant_type": "client_credentials", **form}, auth=(self.client_id, self.secret)
        )

    async def ask(
        self, query: str, variables: object = None, *, token: str | None = None, **headers: str
    ) -> httpx2.Response:
        content: dict[str, object] = {"query": query, "variables": variables}
        authorization = {"Authorization": f"Bearer {token or self.token}"}
        return await self.http.post("/graphql", json=content, headers={**authorization, **headers})


Onboarded = tuple[int, str, str]
"""A partner's number, its client's, and the client's secret."""


async def onboarded(database: Database, vault: Vault, at: datetime) -> Onboarded:
    """A founded coalition of one partner, and a client of it with what a till needs."""
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)
        actor = await actors.ensure_actor(connection, "anna", [actors.ONBOARDING, actors.OPERATOR_ADMIN])
        partner_id = await onboarding.add_partner(connection, vault, code="baker", name="Baker", actor=actor, at=at)
        await clients.allow_secrets(connection, partner_id=partner_id, by="anna", at=at)
        client_id, secret = await clients.add_client(
            connection, partner_id=partner_id, name="tills", scopes=scopes.TILL, by="anna", at=at
        )
        await client_rules.change(connection, client_id, by="anna", at=at, allowance=PLENTY)
    return partner_id, client_id, secret


@asynccontextmanager
async def running(
    database: Database, database_url: str, vault: Vault, known: Onboarded | None = None, **more: Any
) -> AsyncIterator[Toy]:
    """The toy gateway over a database, fresh unless it is known who is there, with a first token asked for."""
    clock, seen = Clock(), Seen()
    partner_id, client_id, secret = known or await onboarded(database, vault, clock.at)

    @asynccontextmanager
    async def opening(_: object) -> AsyncIterator[Seen]:
        yield seen

    people = People()
    built = app.build(
        Settings(issuer=ISSUER, pool_size=2, **more), schema, database_url=database_url, vault=vault, opening=opening,
        wall_clock=clock.now, signed_in=people.signed_in,
    )  # fmt: skip
    transport = httpx2.ASGITransport(app=built)
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        toy = Toy(built, http, database, vault, seen, clock, partner_id, client_id, secret, people=people)
        toy.token = (await toy.ask_token()).json()["access_token"]
        yield toy
