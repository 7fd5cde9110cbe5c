"""Pairings: a till shows a code, one member confirms it, and that till alone has their visit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from structlog.testing import capture_logs

from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import consents, pairings
from members.cards import IssuedCard
from members.consents import ConsentGiven
from partners.agreements import onboarding
from partners.callers import Caller
from partners.tills import pairings as tills
from tests import builders
from tests.builders import NOON, violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk, hidden
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_purchase_api import RECORD, REJECTION

BEGIN = f"""mutation($input: BeginPairingInput!) {{ beginPairing(input: $input) {{ __typename
  ... on BeginPairingSuccess {{ replayed link cashierText pairing {{ id status expiresAt visit }} }} {REJECTION} }} }}"""
SEEN = "query($id: ID!) { node(id: $id) { ... on Pairing { status visit } } }"
ASKING = (
    """query($input: AskingTillInput!) { askingTill(input: $input) { partner { name } outlet terminal expiresAt } }"""
)
CONFIRM = """mutation($input: ConfirmPairingInput!) { confirmPairing(input: $input) { __typename
  ... on ConfirmPairingSuccess { replayed till { partner { name } outlet terminal } } ... on Rejection { code } } }"""
MEMBER = """query($ref: MemberRefInput!, $outlet: String!, $terminal: String!) {
  member(ref: $ref, outlet: $outlet, terminal: $terminal) { initial identifiedBy visit } }"""
BEGUN = NOON + timedelta(minutes=1)  # signing in took some seconds
COUNTS = "SELECT (SELECT count(*) FROM members.pairing), (SELECT count(*) FROM members.pairing_answer)"


@dataclass
class Street:
    """Two partners' tills and two members who are signed in."""

    desk: Desk
    gateway: Gateway
    ada: Script
    ben: Script
    card: IssuedCard

    @property
    def till(self) -> Till:
        """The bakery's."""
        return self.gateway.tills["bakery"]

    async def begun(self, terminal: str = "1") -> tuple[str, str]:
        """A new code of the bakery's till: the pairing's id, and the code that a phone reads."""
        given = {"idempotencyKey": stand.key(), "outlet": "1", "terminal": terminal}
        told = await self.till.ask(BEGIN, input=given)
        return told["pairing"]["id"], code_in(told["link"])

    async def counts(self) -> tuple[int, int]:
        """Pairings and answers that are kept."""
        return tuple(await self.desk.database.pool.fetchrow(COUNTS))


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def street(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Street]:
    coalition = await met(database, vault)
    card = await coalition.add_member(name="ada Popescu", email="ada@example.org")
    await coalition.add_member(name="Ben", email="ben@example.org")
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        gateway = Gateway(coalition, desk.browser().http, desk.application, wall=desk.wall)
        ada = await script_of(await desk.signed_in("ada@example.org"))
        ben = await script_of(await desk.signed_in("ben@example.org"))
        await gateway.at(BEGUN)
        for code in ("bakery", "grocer"):
            await gateway.till(code)
        yield Street(desk, gateway, ada, ben, card)
    assert await violations(database.pool) == []
    await coalition.desk.close()


def code_in(link: str) -> str:
    """What the app takes of a till's link."""
    [code] = parse_qs(urlsplit(link).query)["code"]
    return code


def confirming(code: str) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), "code": code}


async def test_the_member_sees_who_asks_confirms_and_that_till_has_their_visit_to_earn(street: Street) -> None:
    given = {"idempotencyKey": stand.key(), "outlet": "1", "terminal": "1"}
    begun = await street.till.ask(BEGIN, input=given)
    assert begun["link"].startswith("http://localhost:8000/app/pair?code=")
    assert (begun["pairing"]["status"], begun["pairing"]["expiresAt"]) == ("WAITING", "2026-03-02T12:04:00Z")
    again = await street.till.ask(BEGIN, input=given)
    assert (again["replayed"], again["link"], again["pairing"]) == (True, begun["link"], begun["pairing"])
    code = code_in(begun["link"])
    rows = await street.desk.database.pool.fetch("SELECT p::text AS row FROM members.pairing p")
    assert not [row for row in rows if code in row["row"]]  # of the code a hash is kept

    asking = await street.ada.ask(ASKING, input={"code": code})
    assert asking == {
        "partner": {"name": "Bakery"}, "outlet": "Main street", "terminal": "1", "expiresAt": "2026-03-02T12:04:00Z",
    }  # fmt: skip
    assert await street.counts() == (1, 0)  # to look changes nothing
    sent = confirming(code)
    done = await street.ada.ask(CONFIRM, input=sent)
    assert (done["replayed"], done["till"]["partner"]) == (False, {"name": "Bakery"})
    assert (await street.ada.ask(CONFIRM, input=sent))["replayed"] is True
    assert (await street.ada.ask(CONFIRM, input=confirming(code)))["replayed"] is False  # the same member, once more
    assert await street.counts() == (1, 1)

    seen = await street.till.ask(SEEN, id=begun["pairing"]["id"])
    assert seen["status"] == "CONFIRMED"
    here = {"outlet": "1", "terminal": "1"}
    found = await street.till.ask(MEMBER, ref={"visit": seen["visit"]}, **here)
    assert (found["identifiedBy"], found["visit"]) == ("PAIRING", seen["visit"])
    purchase = {"idempotencyKey": stand.key(), "member": {"visit": seen["visit"]}, "receipt": stand.receipt("100.00")}
    earned = await street.till.ask(RECORD, input=purchase)
    assert earned["transaction"]["awarded"] == "100"
    spending = purchase | {
        "idempotencyKey": stand.key(), "receipt": stand.receipt("1.00"), "redeem": {"points": "5"}
    }  # fmt: skip
    assert (await street.till.ask(RECORD, input=spending))["code"] == "PROOF_REQUIRED"  # a visit proves nothing

    await street.gateway.at(BEGUN + timedelta(minutes=10))
    assert await street.till.ask(MEMBER, ref={"visit": seen["visit"]}, **here) is None  # a visit lasts ten minutes


async def test_a_code_is_good_once_for_three_minutes_and_only_while_it_is_the_latest(street: Street) -> None:
    used, code = await street.begun()
    sent = confirming(code)
    await street.ada.ask(CONFIRM, input=sent)
    before = await street.counts()
    assert (await street.ben.ask(CONFIRM, input=confirming(code)))["code"] == "PAIRING_USED"
    assert (await street.ben.error(ASKING, input={"code": code}))["rejection"]["code"] == "PAIRING_USED"
    assert await street.counts() == before

    replaced, old = await street.begun()
    late, code = await street.begun()
    before = await street.counts()
    for unknown in (sent["code"], old, "A" * 22, "", "x" * 5_000):
        assert (await street.ada.ask(CONFIRM, input=confirming(unknown)))["code"] == "PAIRING_UNKNOWN"
    assert (await street.till.ask(SEEN, id=replaced))["status"] == "EXPIRED"
    await street.gateway.at(BEGUN + pairings.LASTS)
    assert (await street.ada.ask(CONFIRM, input=confirming(code)))["code"] == "PAIRING_EXPIRED"
    assert (await street.till.ask(SEEN, id=late))["status"] == "EXPIRED"
    assert (await street.till.ask(SEEN, id=used))["status"] == "CONFIRMED"
    assert (await street.ada.ask(CONFIRM, input=sent))["replayed"] is True  # what was done under a key was done
    assert await street.counts() == before

    async with street.desk.database.transaction() as connection:
        assert await pairings.forget(connection, at=BEGUN + pairings.KEPT) == 0
        assert await pairings.forget(connection, at=BEGUN + pairings.LASTS + pairings.KEPT + timedelta(seconds=1)) == 3
    assert await street.counts() == (0, 0)


async def test_of_two_who_confirm_in_one_moment_one_is_known(street: Street) -> None:
    pairing, code = await street.begun()
    who = [street.ada, street.ben] * 4
    answers = await asyncio.gather(*[one.ask(CONFIRM, input=confirming(code)) for one in who])
    heard = [{answer.get("code") for answer in answers[number::2]} for number in (0, 1)]
    assert sorted(heard, key=str) == [{"PAIRING_USED"}, {None}]
    assert await street.counts() == (1, 1)
    assert (await street.till.ask(SEEN, id=pairing))["status"] == "CONFIRMED"


async def test_no_other_till_partner_or_client_has_the_visit(street: Street) -> None:
    pairing, code = await street.begun()
    await street.ada.ask(CONFIRM, input=confirming(code))
    visit = (await street.till.ask(SEEN, id=pairing))["visit"]
    grocer = street.gateway.tills["grocer"]
    assert await grocer.ask(SEEN, id=pairing) is None
    assert await grocer.ask(MEMBER, ref={"visit": visit}, outlet="1", terminal="1") is None
    before = await builders.rows_written(street.desk.database.pool)
    stolen = {"idempotencyKey": stand.key(), "member": {"visit": visit}, "receipt": stand.receipt("100.00")}
    assert (await grocer.ask(RECORD, input=stolen))["code"] == "MEMBER_UNKNOWN"
    bakery = street.till
    office = await street.gateway.till("bakery")
    assert await office.ask(SEEN, id=pairing) is None
    assert await bakery.ask(SEEN, id=pairing) is not None
    pool, partner_id = street.desk.database.pool, street.gateway.coalition.callers["bakery"].partner_id
    number, client_no, terminal_id = await pool.fetchrow(
        "SELECT pairing_id, client_no, terminal_id FROM members.pairing"
    )
    desk = street.gateway.coalition.desk
    for terminal, is_seen in ((terminal_id, True), (terminal_id + 1, False)):
        found = await tills.find(desk, Caller(partner_id, client_no, terminal), number, BEGUN)
        assert (found is not None) is is_seen
    for elsewhere in ({"terminal": "none"}, {"outlet": "none"}):
        refused = {"idempotencyKey": stand.key(), "outlet": "1", "terminal": "1", **elsewhere}
        assert (await bakery.ask(BEGIN, input=refused))["__typename"] == "Rejection"
    assert await builders.rows_written(street.desk.database.pool) == before


async def test_a_key_stands_for_one_till_and_who_guesses_codes_is_stopped(street: Street) -> None:
    given = {"idempotencyKey": stand.key(), "outlet": "1", "terminal": "1"}
    await street.till.ask(BEGIN, input=given)
    async with street.desk.database.transaction() as connection:
        await onboarding.add_outlet(
            connection, partner_id=street.gateway.coalition.callers["bakery"].partner_id, code="2", name="Second",
            actor=street.gateway.coalition.onboarder, at=NOON,
        )  # fmt: skip
        outlet = await onboarding.outlet_id_of(
            connection, partner_id=street.gateway.coalition.callers["bakery"].partner_id, code="2"
        )
        await onboarding.add_terminal(
            connection, outlet_id=outlet, code="1", actor=street.gateway.coalition.onboarder, at=NOON
        )
    await street.desk.application.state.services.directory.refresh()
    before = await street.counts()
    assert (await street.till.ask(BEGIN, input=given | {"outlet": "2"}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await street.counts() == before

    heard: list[str] = []
    while heard[-1:] != ["Too many look-ups that found nobody."]:
        guess = len(heard)
        assert guess < 500  # some of the allowance comes back by the real clock: a slow machine takes more
        street.desk.wall.move(milliseconds=300)  # the allowance for questions comes back, that for wrong ones does not
        answer = await street.ben.post(ASKING, {"input": {"code": f"{guess:022d}"}})
        heard.append(answer.json()["errors"][0]["message"])
    assert set(heard[:-1]) == {"no till shows this code"}


async def test_the_initial_is_told_where_the_member_agreed_to_be_known_and_nowhere_else(street: Street) -> None:
    bakery = street.gateway.coalition.callers["bakery"].partner_id
    asked = {"ref": {"cardNumber": street.card.number}, "outlet": "1", "terminal": "1"}
    assert (await street.till.ask(MEMBER, **asked))["initial"] is None
    given = ConsentGiven("PARTNER_TRANSFER", "1", NOON, bakery)
    async with street.desk.database.transaction() as connection:
        await consents.grant(connection, street.card.member_id, given)
    assert (await street.till.ask(MEMBER, **asked))["initial"] == "A"
    assert (await street.gateway.tills["grocer"].ask(MEMBER, **asked))["initial"] is None
    async with street.desk.database.transaction() as connection:
        await consents.withdraw(connection, street.card.member_id, given)
    assert (await street.till.ask(MEMBER, **asked))["initial"] is None


async def test_a_phones_own_camera_leads_to_the_question_by_way_of_the_sign_in_and_nowhere_else(street: Street) -> None:
    _, code = await street.begun()
    path, browser = f"/app/pair?code={code}", street.desk.browser()
    with capture_logs() as logs:
        away = await browser.get(path)
        assert (away.status_code, away.headers["location"]) == (303, f"/sign-in?next={quote(path, safe='')}")
        asked = await browser.fill(away.headers["location"], address="ben@example.org")
        street.desk.wall.move(seconds=1)
        entered = await browser.fill(asked.headers["location"], code=await street.desk.code_for("ben@example.org"))
        assert (entered.status_code, entered.headers["location"]) == (303, path)
        shown = await browser.get(path)
        assert "Bakery asks who you are" in shown.text
        assert "camera=()" in shown.headers["permissions-policy"]
        form = {**hidden(shown.text, "/app/pair"), "code": code}
        assert (await browser.post("/app/pair", {"code": code})).status_code == 403  # a form of another site
        done = await browser.post("/app/pair", form)
        assert "The till knows you" in done.text
        assert "The till knows you" in (await browser.post("/app/pair", form)).text  # a double click
    assert await street.counts() == (1, 1)
    assert logs
    assert code not in str(logs)
    for wicked in ("%22%3E%3Cimg%20src=x%3E", "//evil.example", "A" * 5_000):
        refused = await browser.get(f"/app/pair?code={wicked}")
        assert refused.status_code == 422
        assert "No till shows this code any more" in refused.text
        assert "camera=(self)" in refused.headers["permissions-policy"]
        for raw in ("<img src=x", "evil.example", "AAAAA"):
            assert raw not in refused.text
