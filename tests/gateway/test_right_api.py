"""Rights without money over GraphQL: given by a purchase, seen by whom they concern, used as often as given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from gateway import scopes
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.cards import IssuedCard
from tests.builders import DAY, NOON, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import REJECTION, RETURN, by_number, record
from tests.partners.promotions.market import Market, open_market
from tests.partners.promotions.offers import document, texts

ADA = "ada@example.org"
USE = f"""mutation($i: UseRightInput!) {{ useRight(input: $i) {{ __typename
  ... on UseRightSuccess {{ right left replayed }} {REJECTION} }} }}"""
RIGHTS = "query($r: MemberRefInput!) { member(ref: $r) { rights { code title left validUntil } } }"
OWN = "{ viewer { ... on Member { rights { code left } } } }"


@dataclass
class Airport:
    """A bakery, a grocer and a florist with tills, and Ada, who may have what the rules gave her."""

    gateway: Gateway
    market: Market
    ada: Script
    card: IssuedCard

    @property
    def tills(self) -> dict[str, Till]:
        """The partners' tills."""
        return self.gateway.tills

    @property
    def pool(self) -> asyncpg.Pool:
        """The database behind it."""
        return self.market.coalition.database.pool

    async def publish(self, *rules: dict[str, Any]) -> None:
        """Rules that the gateway knows of, too."""
        await self.market.publish(*rules)
        await self.gateway.app.state.services.directory.refresh()

    async def seen(self, partner: str) -> dict[str, int]:
        """What a partner's till sees of Ada's rights: how many of each."""
        member = await self.tills[partner].ask(RIGHTS, r=by_number(self.card))
        return {one["code"]: one["left"] for one in member["rights"]}

    async def use(self, partner: str, right: str = "lounge", **given: Any) -> dict[str, Any]:
        """A till of a partner's has Ada use a right."""
        told: dict[str, Any] = await self.tills[partner].ask(USE, i=self.using(right, **given))
        return told

    def using(self, right: str = "lounge", **given: Any) -> dict[str, Any]:
        return {
            "idempotencyKey": stand.key(), "member": by_number(self.card), "right": right, "outlet": "1",
            "terminal": "1", **given,
        }  # fmt: skip

    async def rows(self) -> dict[str, Any]:
        """What a refusal could have written."""
        pool = self.pool
        return await rows_written(pool) | {
            "uses": await pool.fetchval("SELECT count(*) FROM partners.right_use"),
            "used": await pool.fetchval("SELECT sum(used) FROM partners.entitlement"),
        }

    async def refused(self, partner: str, right: str = "lounge", **given: Any) -> str:
        """The code of a rejection, which wrote nothing."""
        before = await self.rows()
        told = await self.use(partner, right, **given)
        assert await self.rows() == before
        code: str = told["code"]
        return code


template = a_coalition(
    bakery={"return_window_days": 0}, grocer={"return_window_days": 0}, florist={"return_window_days": 0}
)


@pytest.fixture
async def airport(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Airport]:
    coalition = await met(database, vault)
    market = await open_market(coalition)
    card = await coalition.add_member(email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        gateway = Gateway(coalition, desk.browser().http, desk.application, wall=desk.wall)
        for code in ("bakery", "grocer", "florist"):
            await gateway.till(code)
        yield Airport(gateway, market, await script_of(await desk.signed_in(ADA)), card)
    assert await violations(database.pool) == []
    await coalition.desk.close()


def gives(right: str, quantity: int = 1, **given: Any) -> dict[str, Any]:
    """A rule that gives a right for every basket of ten euros."""
    effect = {"type": "grant_entitlement", "entitlement": right, "quantity": quantity, "expiry": {"days": 30}}
    return document(f"gives-{right}", effect, **{"what": {"min_basket_minor": 1_000}, **given})


async def test_a_right_that_a_purchase_gave_is_used_as_often_as_it_was_given(airport: Airport) -> None:
    await airport.publish(gives("lounge", 2, title=texts("The lounge")))
    assert await airport.seen("bakery") == {}
    assert await airport.refused("bakery") == "ENTITLEMENT_USED"
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    [right] = (await airport.tills["bakery"].ask(RIGHTS, r=by_number(airport.card)))["rights"]
    assert (right["code"], right["title"], right["left"]) == ("lounge", "The lounge", 2)
    assert right["validUntil"] is not None
    assert (await airport.ada.ask(OWN))["rights"] == [{"code": "lounge", "left": 2}]
    first = airport.using()
    done = await airport.tills["bakery"].ask(USE, i=first)
    assert (done["right"], done["left"], done["replayed"]) == ("lounge", 1, False)
    before = await airport.rows()
    again = await airport.tills["bakery"].ask(USE, i=first)
    assert (again["left"], again["replayed"]) == (1, True)
    assert await airport.rows() == before
    for other in ({"right": "escort"}, {"terminal": None}):
        assert await airport.refused("bakery", **(first | other)) == "IDEMPOTENCY_KEY_REUSED"
    assert (await airport.use("bakery"))["left"] == 0
    assert (await airport.seen("bakery"), (await airport.ada.ask(OWN))["rights"]) == ({}, [])
    told = await airport.use("bakery")
    assert (told["code"], told["retryable"]) == ("ENTITLEMENT_USED", True)
    assert told["cashierText"] == "The customer has no such right left here."
    trail = await airport.pool.fetch(
        "SELECT r.code, r.member_id, p.code AS partner, o.code AS outlet, t.code AS till FROM partners.right_use r "
        "JOIN partners.partner p USING (partner_id) JOIN partners.outlet o USING (outlet_id) "
        "JOIN partners.terminal t USING (terminal_id) ORDER BY r.use_no"
    )
    assert [tuple(row) for row in trail] == [("lounge", airport.card.member_id, "bakery", "1", "1")] * 2


async def test_what_comes_back_takes_the_right_with_it_as_far_as_it_was_not_used(airport: Airport) -> None:
    await airport.publish(gives("lounge", 2))
    bought = await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    await airport.use("bakery")
    back = {
        "idempotencyKey": stand.key(), "original": {"id": bought["transaction"]["id"]}, "reference": stand.key(),
        "outlet": "1", "terminal": "1", "businessDate": NOON.date().isoformat(), "occurredAt": NOON.isoformat(),
        "what": {"whole": True},
    }  # fmt: skip
    assert (await airport.tills["bakery"].ask(RETURN, input=back))["__typename"] == "ReturnPurchaseSuccess"
    assert await airport.seen("bakery") == {}
    assert await airport.refused("bakery") == "ENTITLEMENT_USED"


async def test_a_right_that_is_over_is_seen_and_used_by_nobody(airport: Airport) -> None:
    await airport.publish(gives("lounge"))
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    await airport.gateway.at(NOON + 31 * DAY)
    assert await airport.seen("bakery") == {}
    assert await airport.refused("bakery") == "ENTITLEMENT_USED"


async def test_a_partner_sees_and_uses_what_it_honours_and_nothing_else(airport: Airport) -> None:
    await airport.publish(
        gives("escort", where={"partners": ["bakery"]}),
        gives("lounge", 2, where={"partners": ["bakery", "grocer"]}, stack={"priority": 11}),
        gives("tea", where={"exclude_partners": ["florist"]}, stack={"priority": 12}),
    )
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    assert await airport.seen("bakery") == {"escort": 1, "lounge": 2, "tea": 1}
    assert await airport.seen("grocer") == {"lounge": 2, "tea": 1}
    assert await airport.seen("florist") == {}
    for partner, right in (("grocer", "escort"), ("florist", "escort"), ("florist", "lounge"), ("florist", "tea")):
        there = await airport.use(partner, right)
        nothing = await airport.use(partner, "nothing")
        assert there == nothing  # it is not told that there is such a right
        assert await airport.refused(partner, right) == "ENTITLEMENT_USED"
    assert (await airport.use("grocer"))["left"] == 1
    assert await airport.seen("bakery") == {"escort": 1, "lounge": 1, "tea": 1}
    # A rule that is taken out of force: what it gave is good where it was given, and the member has it still.
    await airport.market.publish(without=["gives-lounge"])
    await airport.gateway.app.state.services.directory.refresh()
    assert await airport.seen("grocer") == {"tea": 1}
    assert await airport.refused("grocer") == "ENTITLEMENT_USED"
    assert (await airport.use("bakery"))["left"] == 0


async def test_two_tills_in_one_moment_use_one_right_once(airport: Airport) -> None:
    await airport.publish(gives("lounge"))
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    done = await at_once(airport, [airport.using() for _ in range(2)], ["bakery", "grocer"])
    assert sorted(one["__typename"] for one in done) == ["Rejection", "UseRightSuccess"]
    assert [one["code"] for one in done if "code" in one] == ["ENTITLEMENT_USED"]
    rows = await airport.rows()
    assert (rows["uses"], rows["used"]) == (1, 1)


async def test_a_call_and_its_retry_in_one_moment_use_one_right_and_hear_the_same(airport: Airport) -> None:
    await airport.publish(gives("lounge", 3))
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    call = airport.using()
    done = await at_once(airport, [call, call], ["bakery", "bakery"])
    assert sorted((one["left"], one["replayed"]) for one in done) == [(2, False), (2, True)]
    rows = await airport.rows()
    assert (rows["uses"], rows["used"]) == (1, 1)


async def test_one_key_for_two_members_in_one_moment_uses_one_right_of_one(airport: Airport) -> None:
    await airport.publish(gives("lounge"))
    other = await airport.gateway.coalition.add_member()
    for card in (airport.card, other):
        await record(airport.tills["bakery"], card, stand.receipt("25.00"))
    call = airport.using()
    done = await at_once(airport, [call, call | {"member": by_number(other)}], ["bakery", "bakery"], other)
    assert sorted(one.get("code", "used") for one in done) == ["IDEMPOTENCY_KEY_REUSED", "used"]
    rows = await airport.rows()
    assert (rows["uses"], rows["used"]) == (1, 1)


async def test_who_may_not_redeem_uses_no_right_and_an_unknown_till_none_either(airport: Airport) -> None:
    await airport.publish(gives("lounge"))
    await record(airport.tills["bakery"], airport.card, stand.receipt("25.00"))
    for given, code in (
        ({"outlet": "none"}, "OUTLET_UNKNOWN"), ({"terminal": "none"}, "TERMINAL_UNKNOWN"),
        ({"idempotencyKey": "short"}, "IDEMPOTENCY_KEY_INVALID"), ({"member": {"cardNumber": "1"}}, "CARD_UNKNOWN"),
    ):  # fmt: skip
        assert await airport.refused("bakery", **given) == code
    before = await airport.rows()
    reader = await airport.gateway.till("bakery", wanted=(scopes.MEMBERS_READ,))
    assert (await reader.error(USE, i=airport.using()))["extensions"]["code"] == "FORBIDDEN"
    assert await airport.rows() == before


async def at_once(
    airport: Airport, calls: list[dict[str, Any]], partners: list[str], *others: IssuedCard
) -> list[dict[str, Any]]:
    """What calls hear that all have come as far as they can while somebody has the members' accounts and rights."""
    pool = airport.pool
    holder_ids = [airport.card.member_id, *(card.member_id for card in others)]
    async with pool.acquire() as holding:
        async with holding.transaction():
            await holding.execute("SELECT ledger.lock_accounts($1::bigint[], 1::smallint)", holder_ids)
            # Calls that took no lock before they looked would all have looked by now.
            await holding.execute("SELECT FROM partners.entitlement FOR UPDATE")
            asked = [
                asyncio.ensure_future(airport.tills[partner].ask(USE, i=call))
                for partner, call in zip(partners, calls, strict=True)
            ]
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            while await pool.fetchval(waiting) < len(calls) and not all(one.done() for one in asked):
                await asyncio.sleep(0)
        return list(await asyncio.gather(*asked))
