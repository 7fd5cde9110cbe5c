"""Missing points over GraphQL: Ada claims, the bakery answers, finance decides, letters go out; and whose it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from gateway import claim_duties, scopes
from gateway.sessions import session
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from settlement.claims import crediting
from tests.builders import violations
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import SENDER, Desk
from tests.gateway.membership.test_membership_api import REJECTION, keyed
from tests.gateway.test_session_matrix import colleague

ADA, BEN, FAY, FINA, FINN = (f"{name}@example.org" for name in ("ada", "ben", "fay", "fina", "finn"))
FIELDS = """id state total { amount } answeredTotal { amount } refusal contest note points deadline reference place
  partner { code } evidence { side mediaType sha256 sizeBytes }"""
CLAIM = f"""mutation($input: ClaimMissingPointsInput!) {{ claimMissingPoints(input: $input) {{ __typename
  ... on ClaimMissingPointsSuccess {{ replayed claim {{ {FIELDS} }} }} {REJECTION} }} }}"""
CONTEST = f"""mutation($input: ContestClaimInput!) {{ contestClaim(input: $input) {{ __typename
  ... on ContestClaimSuccess {{ replayed claim {{ {FIELDS} }} }} {REJECTION} }} }}"""
ANSWER = f"""mutation($input: AnswerClaimInput!) {{ answerClaim(input: $input) {{ __typename
  ... on AnswerClaimSuccess {{ replayed claim {{ {FIELDS} }} }} {REJECTION} }} }}"""
PROPOSE = f"""mutation($input: ProposeClaimDecisionInput!) {{ proposeClaimDecision(input: $input) {{ __typename
  ... on ProposeClaimDecisionSuccess {{ replayed number }} {REJECTION} }} }}"""
DECIDE = f"""mutation($input: DecideFinanceProposalInput!) {{ decideFinanceProposal(input: $input) {{ __typename
  ... on FinanceSuccess {{ replayed }} {REJECTION} }} }}"""
OWN = f"{{ viewer {{ ... on Member {{ own {{ claims {{ nodes {{ {FIELDS} }} }} }} }} }} }}"
LIST = f"query($all: Boolean!) {{ missingPointsClaims(allStates: $all) {{ nodes {{ {FIELDS} }} pageInfo {{ hasNextPage }} }} }}"
PHOTO = {"mediaType": "image/jpeg", "sizeBytes": 90_000, "sha256": "ab" * 32}


@dataclass
class Town:
    """A gateway, a bakery and a grocer with book-keepers, two of finance, and members who bought something."""

    desk: Desk
    ada: Script
    bakery: Script

    def said(self, **more: Any) -> dict[str, Any]:
        day = self.desk.wall().date() - timedelta(days=3)
        told = {"partner": "bakery", "businessDate": day.isoformat(), "reference": "A-1", "total": "50.00",
                "outlet": "1", "terminal": "1", "evidence": [PHOTO]}  # fmt: skip
        return keyed(**(told | more))

    async def tick(self) -> None:
        at, stopping = self.desk.wall(), asyncio.Event()
        await crediting.advance(self.desk.coalition.desk, at=at, stopping=stopping)
        await claim_duties.tell_all(
            self.desk.database, self.desk.vault, SENDER, at=at, now=self.desk.wall(), stopping=stopping
        )

    async def bookkeeper(self, code: str, address: str) -> Script:
        await colleague(self.desk, code, address.partition("@")[0].title(), address, "FINANCE")
        return await script_of(await self.desk.signed_in(address, "/portal"), "/portal")

    async def staff(self, address: str, role: str) -> Script:
        await self.desk.invite(address.partition("@")[0], address, [role])
        return await script_of(await self.desk.signed_in(address, "/staff"), "/staff")

    async def written(self) -> list[int]:
        """How many rows there are of what a claim may write."""
        tables = ("settlement.claim", "settlement.claim_step", "settlement.claim_evidence", "kit.audit_trail",
                  "kit.approval", "gateway.person_call")  # fmt: skip
        return [await self.desk.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def town(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Town]:
    coalition = await met(database, vault)
    await coalition.add_member(name="Ada", email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        desk.wall.move(days=5)  # nobody was a member before
        await desk.at_wall()
        made = Town(desk, await script_of(await desk.signed_in(ADA)), Script.__new__(Script))
        made.bakery = await made.bookkeeper("bakery", FAY)
        yield made
    assert await violations(database.pool) == []
    await coalition.desk.close()


async def test_a_claim_is_made_answered_and_given_each_once_under_its_key(town: Town) -> None:
    call = town.said()
    made = await town.ada.ask(CLAIM, input=call)
    claim = made["claim"]
    assert (made["replayed"], claim["state"], claim["partner"]["code"]) == (False, "FILED", "bakery")
    assert claim["evidence"] == [{"side": "MEMBER", **PHOTO}]
    before = await town.written()
    again = await town.ada.ask(CLAIM, input=call)
    assert (again["replayed"], again["claim"]["id"]) == (True, claim["id"])
    assert (await town.ada.ask(CLAIM, input={**call, "total": "51.00"}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    other = [{**PHOTO, "sizeBytes": 90_001}]
    assert (await town.ada.ask(CLAIM, input={**call, "evidence": other}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await town.ada.ask(CLAIM, input=town.said()))["code"] == "CLAIM_DUPLICATE"
    assert (await town.ada.ask(CLAIM, input=town.said(reference="A-2", total="0.001")))["code"] == "CLAIM_INVALID"
    assert await town.written() == before

    [theirs] = (await town.bakery.ask(LIST, all=False))["nodes"]
    assert theirs["id"] != claim["id"]
    answer = keyed(claimId=theirs["id"], accepted=True, total="42")
    told = await town.bakery.ask(ANSWER, input=answer)
    assert (told["claim"]["state"], told["claim"]["answeredTotal"], told["replayed"]) == (
        "ACCEPTED", {"amount": "42.00"}, False,
    )  # fmt: skip
    assert (await town.bakery.ask(ANSWER, input=answer))["replayed"]
    before = await town.written()
    assert (await town.bakery.ask(ANSWER, input=keyed(claimId=theirs["id"], accepted=False, reason="P01")))[
        "code"
    ] == "CLAIM_STATE"
    assert await town.written() == before
    for _ in range(2):
        await town.tick()
    [own] = (await town.ada.ask(OWN))["own"]["claims"]["nodes"]
    assert (own["id"], own["state"], own["points"]) == (claim["id"], "CREDITED", "42")
    assert (await town.bakery.ask(LIST, all=False))["nodes"] == []
    assert ["you were given 42 points" in body for _, body in await town.desk.letters()].count(True) == 1


async def test_a_refusal_is_told_contested_and_decided_by_two_of_finance(town: Town) -> None:
    claim = (await town.ada.ask(CLAIM, input=town.said()))["claim"]
    [theirs] = (await town.bakery.ask(LIST, all=False))["nodes"]
    both = keyed(claimId=theirs["id"], accepted=True, reason="P01")
    assert (await town.bakery.error(ANSWER, input=both))["code"] == "BAD_USER_INPUT"
    refusal = keyed(claimId=theirs["id"], accepted=False, reason="P01", note="No such receipt.", evidence=[PHOTO])
    assert (await town.bakery.ask(ANSWER, input=refusal))["claim"]["state"] == "REFUSED"
    await town.tick()
    assert any("Bakery says that no points are missing" in body for _, body in await town.desk.letters())
    [own] = (await town.ada.ask(OWN))["own"]["claims"]["nodes"]
    assert (own["note"], [one["side"] for one in own["evidence"]]) == ("No such receipt.", ["MEMBER", "PARTNER"])

    contest = keyed(claimId=claim["id"], reason="C01")
    assert (await town.ada.ask(CONTEST, input=contest))["claim"]["state"] == "CONTESTED"
    assert (await town.ada.ask(CONTEST, input=contest))["replayed"]
    assert (await town.ada.ask(CONTEST, input=keyed(claimId=claim["id"], reason="C01")))["code"] == "CLAIM_STATE"
    maker, checker = await town.staff(FINA, actors.FINANCE_MAKER), await town.staff(FINN, actors.FINANCE_CHECKER)
    [found] = (await maker.ask(LIST, all=False))["nodes"]
    proposal = keyed(claimId=found["id"], upheld=True, reason="The receipt is real.")
    number = (await maker.ask(PROPOSE, input=proposal))["number"]
    assert await maker.ask(PROPOSE, input=proposal) == {
        "__typename": "ProposeClaimDecisionSuccess", "replayed": True, "number": number,
    }  # fmt: skip
    decided = await checker.ask(DECIDE, input=keyed(proposal=number, approved=True))
    assert decided == {"__typename": "FinanceSuccess", "replayed": False}
    await town.tick()
    [own] = (await town.ada.ask(OWN))["own"]["claims"]["nodes"]
    assert (own["state"], own["points"]) == ("CREDITED", "50")
    town.desk.wall.at += session.STEP_UP
    late = keyed(claimId=found["id"], upheld=True, reason="again")
    assert (await maker.ask(PROPOSE, input=late))["code"] == "STEP_UP_REQUIRED"


async def test_another_partner_and_another_member_hear_of_nothing(town: Town) -> None:
    claim = (await town.ada.ask(CLAIM, input=town.said(outlet=None, terminal=None, place="by the bridge")))["claim"]
    [theirs] = (await town.bakery.ask(LIST, all=True))["nodes"]
    grocer = await town.bookkeeper("grocer", "gus@example.org")
    await town.desk.coalition.add_member(name="Ben", email=BEN)
    ben = await script_of(await town.desk.signed_in(BEN))
    assert (await grocer.ask(LIST, all=True))["nodes"] == []
    assert (await ben.ask(OWN))["own"]["claims"]["nodes"] == []
    before = await town.written()
    for script, document, more in (
        (grocer, ANSWER, {"claimId": theirs["id"], "accepted": False, "reason": "P01"}),
        (grocer, ANSWER, {"claimId": claim["id"], "accepted": True}),
        (ben, CONTEST, {"claimId": claim["id"], "reason": "C01"}),
        (ben, CONTEST, {"claimId": theirs["id"], "reason": "C01"}),
    ):
        assert (await script.ask(document, input=keyed(**more)))["code"] == "CLAIM_UNKNOWN"
    assert await town.written() == before
    assert scopes.DISPUTES_WRITE not in scopes.SCOPES


async def test_who_told_no_address_is_marked_once_and_sees_it_in_the_app(town: Town) -> None:
    pool = town.desk.database.pool
    await pool.execute("DELETE FROM members.personal")  # she told nothing any more
    await town.ada.ask(CLAIM, input=town.said())
    [theirs] = (await town.bakery.ask(LIST, all=False))["nodes"]
    await town.bakery.ask(ANSWER, input=keyed(claimId=theirs["id"], accepted=True))
    letters = await pool.fetchval("SELECT count(*) FROM members.message WHERE purpose = 'CLAIM_NOTICE'")
    await town.tick()
    await town.tick()
    assert await pool.fetchval("SELECT count(*) FROM members.message WHERE purpose = 'CLAIM_NOTICE'") == letters
    assert [tuple(row) for row in await pool.fetch("SELECT claim_id, message_id FROM settlement.claim_letter")] == [
        (1, None)
    ]
