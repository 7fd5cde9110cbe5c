"""Rewards for points by GraphQL: a member orders one in the app, a till takes one, and what is no reward of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from gateway.sessions import session
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import badges, proofs
from members.cards import IssuedCard
from partners.mechanics import documents, invitations, rewards
from partners.mechanics.rewards import RewardDraft
from tests.builders import DAY, NOON, a_receipt, rows_written, violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.membership.test_membership_api import a_till, keyed
from tests.gateway.stand import Till
from tests.gateway.test_purchase_api import RETURN, by_number
from tests.partners.mechanics.fair import Fair
from tests.partners.promotions.market import bonus, open_market

ADA, BEN = "ada@example.org", "ben@example.org"
NO = "... on Rejection { code retryable }"
LIST = """query($f: Int, $a: String) { rewards(first: $f, after: $a) { pageInfo { hasNextPage endCursor } nodes {
  code title partner { code } points left outlets { code name } } } }"""
ORDER = f"""mutation($i: OrderRewardInput!) {{ orderReward(input: $i) {{ __typename {NO}
  ... on OrderRewardSuccess {{ reference businessDate points replayed member {{ balance {{ available }} }} }} }} }}"""
TAKE = f"""mutation($i: TakeRewardInput!) {{ takeReward(input: $i) {{ __typename {NO}
  ... on TakeRewardSuccess {{ replayed transaction {{ id redeemed }} }} }} }}"""
WAITING = """query($f: Int, $a: String) { rewardOrders(first: $f, after: $a) { pageInfo { hasNextPage endCursor } nodes {
  reward title points reference outlet businessDate orderedAt } } }"""
HAND = f"""mutation($i: HandOverRewardInput!) {{ handOverReward(input: $i) {{ __typename {NO}
  ... on HandOverRewardSuccess {{ replayed transaction {{ id redeemed }} }} }} }}"""
INVITE = f"mutation($i: InviteFriendInput!) {{ inviteFriend(input: $i) {{ {NO} ... on InviteFriendSuccess {{ invitation replayed }} }} }}"
ACCEPT = f"""mutation($i: AcceptInvitationInput!) {{ acceptInvitation(input: $i) {{ {NO}
  ... on AcceptInvitationSuccess {{ memberId replayed }} }} }}"""
OWN = """query($p: String!) { viewer { ... on Member { own { standing { tier until pointsToNext ways { missing { criterion
  figure } } } badges { code } stamps { code quantity } brought { state }
  offers(partner: $p) { nodes { kind code points isNow activation } } } } } }"""
YES = f"""mutation($i: AcceptOfferInput!) {{ acceptOffer(input: $i) {{ {NO}
  ... on AcceptOfferSuccess {{ promotion member {{ own {{ badges {{ code }} }} }} }} }} }}"""
TABLES = (
    "partners.reward_order",
    "partners.invitation",
    "partners.referral",
    "gateway.person_call",
    "members.approval",
)
MUG = {"en": "Mug", "ru": "Кружка", "ro": "Cană"}


@dataclass
class Shop:
    """A gateway with pages, a bakery with a till and a grocer, their rewards, and Ada and Ben with points."""

    desk: Desk
    fair: Fair
    till: Till
    ada: Script
    ben: Script
    card: IssuedCard

    async def rows(self) -> dict[str, int]:
        """What a refusal could have written."""
        pool = self.desk.database.pool
        found = await rows_written(pool)
        found |= {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
        found["taken"] = await pool.fetchval("SELECT sum(taken) FROM partners.reward")
        found["handed"] = await pool.fetchval("SELECT count(fulfilled_at) FROM partners.reward_order")
        return found

    async def refused(self, who: Script | Till, asked: str, **given: Any) -> str:
        """The code of a rejection, which wrote nothing."""
        before = await self.rows()
        told = await who.ask(asked, i=keyed(**given))
        assert await self.rows() == before
        code: str = told["code"]
        return code

    async def add(self, partner: str, code: str, *, points: int = 100, stock: int = 3, **more: Any) -> None:
        """A reward of a partner."""
        partner_id = self.fair.coalition.callers[partner].partner_id
        async with self.desk.database.transaction() as connection:
            draft = RewardDraft(partner_id, code, MUG, points, stock, NOON - DAY, NOON + 30 * DAY, **more)
            await rewards.add(connection, draft, actor=self.fair.market.maker, at=NOON)


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def shop(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Shop]:
    coalition = await met(database, vault)
    market = await open_market(coalition)
    cards = [await coalition.add_member(email=address) for address in (ADA, BEN)]
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await proofs.set_pin(connection, vault, cards[0].member_id, "4711")
    for card in cards:
        await market.buy(card, a_receipt(25_000, at=NOON - DAY))
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        scripts = [await script_of(await desk.signed_in(address)) for address in (ADA, BEN)]
        made = Shop(desk, Fair(market), await a_till(desk), scripts[0], scripts[1], cards[0])
        await made.add("bakery", "mug")
        yield made
    assert await violations(database.pool) == []
    assert await market.violations() == []
    await coalition.desk.close()


def ordering(**given: Any) -> dict[str, Any]:
    return {"partner": "bakery", "reward": "mug", "outlet": "1", **given}


def taking(shop: Shop, **given: Any) -> dict[str, Any]:
    receipt = stand.receipt("0.00")
    where = {name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate", "occurredAt")}
    return {"member": by_number(shop.card), "reward": "mug", "proof": {"pin": "4711"}, **where, **given}


# --- Rewards ------------------------------------------------------------------------------------------------


async def test_a_member_orders_a_reward_once_and_the_partner_hands_it_over_once(shop: Shop) -> None:
    (mug,) = (await shop.ada.ask(LIST))["nodes"]
    assert mug == {
        "code": "mug", "title": "Mug", "partner": {"code": "bakery"}, "points": "100", "left": 3,
        "outlets": [{"code": "1", "name": "Main street"}],
    }  # fmt: skip
    call = keyed(**ordering())
    done = await asyncio.gather(*[shop.ada.ask(ORDER, i=call) for _ in range(4)])
    assert sorted(one["replayed"] for one in done) == [False, True, True, True]
    assert {(one["reference"], one["points"], one["member"]["balance"]["available"]) for one in done} == {
        (done[0]["reference"], "100", "150")
    }
    shop.desk.wall.move(minutes=1)
    await shop.desk.at_wall()
    before = await shop.rows()
    assert (await shop.ada.ask(ORDER, i=call))["replayed"]
    assert await shop.rows() == before
    assert (await shop.refused(shop.ada, ORDER, **ordering(outlet="9"), idempotencyKey=call["idempotencyKey"])) in (
        "IDEMPOTENCY_KEY_REUSED", "OUTLET_UNKNOWN",
    )  # fmt: skip
    ref = {"receipt": {"reference": done[0]["reference"], "outlet": "1", "businessDate": done[0]["businessDate"]}}
    handed = [await shop.till.ask(HAND, i=keyed(transaction=ref)) for _ in range(2)]
    assert [one["replayed"] for one in handed] == [False, True]
    assert handed[0]["transaction"]["redeemed"] == "100"
    assert (await shop.ben.ask(LIST))["nodes"][0]["left"] == 2


async def test_an_order_that_is_refused_takes_nothing(shop: Shop) -> None:
    await shop.add("grocer", "last", stock=0)
    await shop.add("grocer", "dear", points=251)
    await shop.add("grocer", "club", badges=("club:bakers",))
    for given, code in (
        (ordering(reward="none"), "REWARD_UNKNOWN"), (ordering(partner="nobody"), "PARTNER_UNKNOWN"),
        (ordering(outlet="9"), "OUTLET_UNKNOWN"), (ordering(partner="grocer", reward="last"), "REWARD_SOLD_OUT"),
        (ordering(partner="grocer", reward="club"), "REWARD_UNKNOWN"),
    ):  # fmt: skip
        assert await shop.refused(shop.ada, ORDER, **given) == code, given
    told = await shop.ada.ask(ORDER, i=keyed(**ordering(partner="grocer", reward="dear")))
    assert told["code"] == "INSUFFICIENT_POINTS"
    shop.desk.wall.at += session.STEP_UP
    assert await shop.refused(shop.ada, ORDER, **ordering()) == "STEP_UP_REQUIRED"
    # Of a club a member sees nothing until they are in it.
    assert {one["code"] for one in (await shop.ben.ask(LIST))["nodes"]} == {"mug", "dear"}
    async with shop.desk.database.transaction() as connection:
        await badges.give(connection, shop.card.member_id, "club:bakers", cause=uuid4(), at=NOON)
    page = await shop.ada.ask(LIST, f=2)
    assert [one["code"] for one in page["nodes"]] == ["mug", "dear"]
    following = await shop.ada.ask(LIST, a=page["pageInfo"]["endCursor"])
    assert [one["code"] for one in following["nodes"]] == ["club"]


async def test_a_partner_sees_what_waits_to_be_handed_over_page_by_page_and_no_other_partners(shop: Shop) -> None:
    await shop.add("grocer", "tea", points=1)
    taken = []
    for who, partner, reward in ((shop.ada, "bakery", "mug"), (shop.ben, "grocer", "tea"), (shop.ben, "bakery", "mug")):
        taken.append(await who.ask(ORDER, i=keyed(**ordering(partner=partner, reward=reward))))
    first = await shop.till.ask(WAITING, f=1)
    assert first["pageInfo"]["hasNextPage"]
    rest = await shop.till.ask(WAITING, a=first["pageInfo"]["endCursor"])
    both = [*first["nodes"], *rest["nodes"]]
    assert {one["reference"] for one in both} == {taken[0]["reference"], taken[2]["reference"]}
    assert {(one["reward"], one["title"], one["points"], one["outlet"]) for one in both} == {("mug", "Mug", "100", "1")}
    ref = {name: both[0][name] for name in ("reference", "outlet", "businessDate")}
    await shop.till.ask(HAND, i=keyed(transaction={"receipt": ref}))
    assert [one["reference"] for one in (await shop.till.ask(WAITING))["nodes"]] == [both[1]["reference"]]


async def test_the_last_one_is_one_members(shop: Shop) -> None:
    await shop.add("grocer", "one", stock=1)
    wanted = ordering(partner="grocer", reward="one")
    done = await asyncio.gather(*[who.ask(ORDER, i=keyed(**wanted)) for who in (shop.ada, shop.ben)])
    assert sorted(one.get("code", "") for one in done) == ["", "REWARD_SOLD_OUT"]


async def test_a_till_takes_a_reward_with_a_proof_and_what_is_returned_is_not_handed_over(shop: Shop) -> None:
    assert await shop.refused(shop.till, TAKE, **taking(shop, proof=None)) == "PROOF_REQUIRED"
    assert await shop.refused(shop.till, TAKE, **taking(shop, reward="none")) == "REWARD_UNKNOWN"
    call = keyed(**taking(shop))
    done = await shop.till.ask(TAKE, i=call)
    assert (done["replayed"], done["transaction"]["redeemed"]) == (False, "100")
    assert (await shop.till.ask(TAKE, i=call))["replayed"]
    own = await shop.till.ask(LIST)
    assert [(one["code"], one["left"]) for one in own["nodes"]] == [("mug", 2)]
    ref = {"id": done["transaction"]["id"]}
    receipt = stand.receipt("0.00")
    back = {"original": ref, "what": {"whole": True}} | {
        name: receipt[name] for name in ("reference", "outlet", "terminal", "businessDate", "occurredAt")
    }
    assert (await shop.till.ask(RETURN, input=keyed(**back)))["__typename"] == "ReturnPurchaseSuccess"
    await rewards.restock(shop.desk.database, at=NOON + DAY)
    assert await shop.refused(shop.till, HAND, transaction=ref) == "REWARD_UNKNOWN"
    assert await shop.refused(shop.till, HAND, transaction={"id": "txn_nothing"}) == "ORIGINAL_UNKNOWN"


# --- Friends, and where one stands --------------------------------------------------------------------------


async def test_a_member_brings_a_friend_once_and_sees_that_somebody_came(shop: Shop) -> None:
    assert await shop.refused(shop.ada, INVITE) == "INVITATIONS_DISABLED"
    await shop.fair.agree(documents.INVITATION, "invitations", minimum_minor=1_000, per_year=5)
    call = keyed()
    told = await shop.ada.ask(INVITE, i=call)
    assert (len(told["invitation"]), told["replayed"]) == (13, False)
    assert await shop.ada.ask(INVITE, i=call) == {"invitation": None, "replayed": True}
    assert await shop.desk.database.pool.fetchval("SELECT count(*) FROM partners.invitation") == 1
    friend, other = await shop.fair.coalition.add_member(), await shop.fair.coalition.add_member()
    given = keyed(member=by_number(friend), code=told["invitation"])
    came = await asyncio.gather(*[shop.till.ask(ACCEPT, i=given) for _ in range(3)])
    assert sorted(one["replayed"] for one in came) == [False, True, True]
    assert await shop.refused(shop.till, ACCEPT, **given | {"member": by_number(other)}) == "IDEMPOTENCY_KEY_REUSED"
    again = {"member": by_number(friend), "code": told["invitation"]}
    assert await shop.refused(shop.till, ACCEPT, **again) == "ALREADY_INVITED"
    for code in (told["invitation"], "0000000000000"):
        assert await shop.refused(shop.till, ACCEPT, member=by_number(shop.card), code=code) == "INVITATION_INVALID"
    own = (await shop.ada.ask(OWN, p="bakery"))["own"]
    assert own["brought"] == [{"state": "REGISTERED"}]
    assert (await shop.ben.ask(OWN, p="bakery"))["own"]["brought"] == []
    assert await invitations.brought(shop.desk.database, friend.member_id) == []


async def test_a_member_sees_where_they_stand_what_is_offered_and_says_yes_to_it(shop: Shop) -> None:
    await shop.fair.market.publish(
        bonus("gift", 5, who={"badges": ["activated:test"]}, where={"partners": ["bakery"]}),
        effective_from=shop.desk.wall(), at=shop.desk.wall(),
    )  # fmt: skip
    await shop.desk.application.state.services.directory.refresh()
    own = (await shop.ada.ask(OWN, p="bakery"))["own"]
    assert own["standing"]["tier"] == "BASE"
    assert own["standing"]["pointsToNext"] == "750"
    assert own["standing"]["ways"] == [{"missing": [{"criterion": "POINTS", "figure": "750"}]}]
    offered = {one["code"]: one for one in own["offers"]["nodes"]}
    assert (offered["mug"]["points"], offered["gift"]["activation"]) == ("100", "test")
    assert list(offered) == ["mug", "gift"]  # what ends first is first, what never ends last
    assert (await shop.ada.error(OWN, p="nobody"))["code"] == "BAD_USER_INPUT"
    assert await shop.refused(shop.ada, YES, partner="grocer", promotion="test") == "OFFER_UNKNOWN"
    assert await shop.refused(shop.ada, YES, partner="nobody", promotion="test") == "PARTNER_UNKNOWN"
    for _ in range(2):
        told = await shop.ada.ask(YES, i=keyed(partner="bakery", promotion="test"))
        assert told["member"]["own"]["badges"] == [{"code": "activated:test"}]
    assert (await shop.ben.ask(OWN, p="bakery"))["own"]["badges"] == []


# --- What the operator's people put on the shelf ------------------------------------------------------------

ADD = f"""mutation($i: AddRewardInput!) {{ addReward(input: $i) {{ __typename {NO}
  ... on AddRewardSuccess {{ replayed reward {{ code title left points partner {{ code }} }} }} }} }}"""
STOCK = f"""mutation($i: SetRewardStockInput!) {{ setRewardStock(input: $i) {{ __typename {NO}
  ... on SetRewardStockSuccess {{ replayed reward {{ left }} }} }} }}"""
CLUB = f"mutation($i: InviteToClubInput!) {{ inviteToClub(input: $i) {{ {NO} ... on InviteToClubSuccess {{ badge replayed }} }} }}"


async def staff(shop: Shop, name: str, role: str) -> Script:
    await shop.desk.invite(name, f"{name}@tessera.example", [role])
    return await script_of(await shop.desk.signed_in(f"{name}@tessera.example", "/staff"), "/staff")


async def test_marketers_stock_the_catalogue_and_let_nobody_take_more_than_there_is(shop: Shop) -> None:
    mia = await staff(shop, "mia", actors.PROMOTION_MAKER)
    call = keyed(
        partner="grocer", code="bag", names=MUG, points="50", stock=1, validFrom=NOON.isoformat(),
        validUntil=(NOON + DAY).isoformat(),
    )  # fmt: skip
    made = await mia.ask(ADD, i=call)
    assert made["reward"] == {"code": "bag", "title": "Mug", "left": 1, "points": "50", "partner": {"code": "grocer"}}
    assert (await mia.ask(ADD, i=call))["replayed"]
    assert (await shop.ada.ask(ORDER, i=keyed(**ordering(partner="grocer", reward="bag"))))["points"] == "50"
    for asked, given, code in (
        (ADD, call | keyed(), "REWARD_INVALID"), (ADD, call | keyed(code="No"), "REWARD_INVALID"),
        (ADD, call | keyed(code="x", points="0"), "REWARD_INVALID"), (ADD, call | keyed(partner="none"), "PARTNER_UNKNOWN"),
        (STOCK, keyed(partner="grocer", reward="none", stock=1), "REWARD_UNKNOWN"),
        (STOCK, keyed(partner="grocer", reward="bag", stock=0), "REWARD_INVALID"),
    ):  # fmt: skip
        assert await shop.refused(mia, asked, **given) == code
    more = keyed(partner="grocer", reward="bag", stock=3)
    assert (await mia.ask(STOCK, i=more)) == {
        "__typename": "SetRewardStockSuccess", "replayed": False, "reward": {"left": 2},
    }  # fmt: skip
    assert (await mia.ask(STOCK, i=more))["replayed"]
    assert (await mia.error(CLUB, i=keyed(cardNumber="1", badge="x")))["code"] == "FORBIDDEN"


async def test_who_is_let_into_a_club_sees_it_and_the_trail_says_by_whom(shop: Shop) -> None:
    await shop.add("grocer", "club", badges=("club:bakers",))
    olga = await staff(shop, "olga", actors.ONBOARDING)
    assert await shop.refused(olga, CLUB, cardNumber="9700000000000000", badge="club:bakers") == "CARD_UNKNOWN"
    assert await shop.refused(olga, CLUB, cardNumber=shop.card.number, badge="no spaces") == "BADGE_INVALID"
    call = keyed(cardNumber=shop.card.number, badge="club:bakers")
    assert await olga.ask(CLUB, i=call) == {"badge": "club:bakers", "replayed": False}
    assert await olga.ask(CLUB, i=call) == {"badge": "club:bakers", "replayed": True}
    assert "club" in {one["code"] for one in (await shop.ada.ask(LIST))["nodes"]}
    assert "club" not in {one["code"] for one in (await shop.ben.ask(LIST))["nodes"]}
    trail = await shop.desk.database.pool.fetch(
        "SELECT actor, subject FROM kit.audit_trail WHERE action = 'CLUB_INVITED'"
    )
    assert [tuple(row) for row in trail] == [("olga", f"member:{shop.card.member_id}")]
