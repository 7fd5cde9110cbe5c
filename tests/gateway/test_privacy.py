"""Personal data: who may see what, what a stolen dump is worth, and that who is forgotten is gone. By the numbers of the
list of privacy demands."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, is_introspection_type

from gateway import echoes, scopes
from gateway.gate import client_rules
from gateway.oauth import clients
from gateway.schema import schema
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import aliases, consents, enrolment, erasure
from members.consents import ConsentGiven
from members.enrolment import Personal
from tests.builders import DAY, NOON, found, violations
from tests.gateway import stand
from tests.gateway.stand import Gateway
from tests.gateway.test_enrolment_api import ENROL, agreed, joining
from tests.gateway.test_ownership import CALLS, World, document, leaves, replaced
from tests.gateway.test_purchase_api import MEMBER, RECORD, by_number, record

NAME, PHONE, EMAIL = "Philippa Zwingenberg", "+49 30 55501976", "philippa.zwingenberg@mail.example"
PERSON = {"name": NAME, "phone": PHONE, "email": EMAIL, "birthDate": "1976-05-04"}


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    await coalition.add_partner("grocer", return_window_days=0)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await opened.till("bakery")
        await opened.till("grocer")
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


# --- P-01, P-04 ---------------------------------------------------------------------------------------------


async def test_p01_what_somebody_had_agreed_to_is_known_for_any_past_moment(gateway: Gateway) -> None:
    till, database = gateway.tills["bakery"], gateway.coalition.database
    bakery = gateway.coalition.callers["bakery"].partner_id
    await till.ask(ENROL, input=joining(consents=[agreed(), agreed("PARTNER_TRANSFER", partner="bakery")]))
    member_id = await database.pool.fetchval("SELECT max(member_id) FROM members.member")
    transfer = ("PARTNER_TRANSFER", "2026-02", NOON + DAY, bakery)
    async with database.transaction() as connection:
        await consents.withdraw(connection, member_id, ConsentGiven(*transfer))
        await consents.grant(connection, member_id, ConsentGiven(*transfer[:2], NOON + 2 * DAY, bakery))
    async with database.reading() as connection:
        held = [
            await consents.is_granted(connection, member_id, "PARTNER_TRANSFER", NOON + day * DAY, partner_id=bakery)
            for day in (-1, 0, 1, 2)
        ]
    assert held == [False, True, False, True]


# Output fields whose name sounds personal, and why a partner may see them.
NOT_PERSONAL = {
    "Membership.personal": "the member's own, to themselves",
    "OwnPersonal.name": "the member's own, to themselves",
    "OwnPersonal.birthDate": "the member's own, to themselves",
    "OwnPersonal.phone": "the member's own, to themselves",
    "OwnPersonal.email": "the member's own, to themselves",
    "OutletView.name": "a partner's outlet's",
    "OwnOutlet.street": "a partner's outlet's",
    "SpendingPlace.street": "a partner's outlet's",
    "PartnerFile.partnerName": "a partner's",
    "SettlementBreak.partnerName": "a partner's",
    "SettlementPayment.partnerName": "a partner's",
    "StatementDispute.partnerName": "a partner's",
    "DisputeEvidence.fileName": "a file's",
    "SuspenseItem.partnerName": "a partner's",
    "SettlementPartner.name": "a partner's",
    "OverseenPartner.name": "a partner's",
    "LedgerReceipt.partnerName": "a partner's",
    "OwnOutlet.name": "a partner's outlet's",
    "ApiClient.name": "a program's, as its partner calls it",
    "ClientHealth.clientName": "a program's, as its partner calls it",
    "PartnerAlert.name": "a budget's, a client's or a statement's, as its partner calls it",
    "PlanName.name": "a plan's",
    "PlanSheet.names": "a plan's",
    "PromotionPreview.name": "an offer's",
    "ProposalFact.name": "a fact's",
    "SavedQuestion.name": "a question's",
    "SettlementBankAccount.partnerName": "a partner's",
    "LoggedRequest.clientName": "a program's, as its partner calls it",
    "SandboxMember.cardNumber": "of somebody who was made up a moment ago, in a sandbox",
    "GivePaymentMeansSuccess.address": "a page's at the provider, to the member who goes there",
    "AgreementTerm.name": "a term's",
    "AgreementChange.name": "a term's",
    "Holiday.name": "a day's",
    "Plan.name": "a plan's",
    "SettlementRun.name": "a run's",
    "SettlementWindow.name": "a window's",
    "PartnerView.name": "a partner's",
    "Promotion.name": "an offer's",
    "RewardOutlet.name": "a partner's outlet's",
    "SettlementStatement.partnerName": "a partner's",
    "Staff.name": "the operator's staff, to themselves",
    "PartnerClient.person": "a colleague at the portal, to themselves",
    "ColleagueView.name": "a colleague, to the managers of their own partner",
    "EnrolMemberSuccess.person": "masked, to the partner that has just been told it",
    "MaskedPerson.name": "masked",
    "MaskedPerson.phone": "masked",
    "MaskedPerson.email": "masked",
    "EnrolMemberSuccess.cardNumber": "of a new card, once, to be printed; a till reads it at every sale anyway",
}
PERSONAL = re.compile(
    r"name|phone|mail|birth|person|address|contact|gender|cardNumber|passport|city|street", re.IGNORECASE
)


def test_p04_no_field_that_a_partner_can_ask_for_is_personal() -> None:
    sounding = {
        f"{kind.name}.{name}"
        for kind in schema.graphql.type_map.values()
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not is_introspection_type(kind)
        for name in kind.fields
        if PERSONAL.search(name)
    }
    roots = {f"{kind.name}.{name}" for kind in (schema.graphql.query_type, schema.graphql.mutation_type) if kind
             for name in kind.fields}  # fmt: skip
    assert sounding - roots == set(NOT_PERSONAL)


async def test_p04_two_partners_cannot_join_what_they_know(gateway: Gateway) -> None:
    seen: dict[str, list[str]] = {"bakery": [], "grocer": []}
    members = [await gateway.coalition.add_member() for _ in range(20)]
    for code, till in gateway.tills.items():
        for card in members:
            seen[code].append((await till.ask(MEMBER, ref=by_number(card)))["id"])
            seen[code].append((await record(till, card, stand.receipt("1.00")))["transaction"]["id"])
    ours, theirs = seen.values()
    assert len(set(ours) | set(theirs)) == 80
    # Nothing of one is in the other: neither the whole nor a beginning, an end, or the order.
    assert not {one.partition("_")[2][:8] for one in ours} & {one.partition("_")[2][:8] for one in theirs}
    assert not {one[-8:] for one in ours} & {one[-8:] for one in theirs}
    ranks = [sorted(range(20), key=lambda n: of[2 * n]) for of in (ours, theirs)]
    assert ranks[0] != ranks[1] != list(range(20))


# --- P-07, P-15: a dump -------------------------------------------------------------------------------------


def dump(server: postgres.Server, database_name: str) -> bytes:
    """The whole database as text."""
    return subprocess.run(
        [postgres.program("pg_dump"), server.dsn(database_name, server.superuser)], capture_output=True, check=True
    ).stdout


def traces(of: bytes) -> list[str]:
    """What of the person is found in a dump, in whichever form somebody would look for it."""
    texts = [
        NAME,
        *NAME.split(),
        PHONE,
        PHONE.replace(" ", ""),
        aliases.normal_phone(PHONE),
        EMAIL,
        EMAIL.split("@")[0],
    ]
    found_texts = []
    for text in texts:
        assert text
        for form in (
            text.encode(),
            text.lower().encode(),
            text.encode().hex().encode(),
            base64.b64encode(text.encode()),
        ):
            if form in of or form.lower() in of.lower():
                found_texts.append(text)
    return found_texts


async def test_p07_who_is_forgotten_is_in_no_dump_is_found_by_nothing_and_may_come_again(
    gateway: Gateway, server: postgres.Server, database_name: str
) -> None:
    till, coalition = gateway.tills["bakery"], gateway.coalition
    given = joining(person=PERSON, externalId="K-1")
    done = await till.ask(ENROL, input=given)
    card = {"cardNumber": done["cardNumber"]}
    sale = {"idempotencyKey": stand.key(), "member": card, "receipt": stand.receipt("10.00")}
    member_id = await coalition.database.pool.fetchval("SELECT max(member_id) FROM members.member")
    ciphers = await coalition.database.pool.fetchrow(
        "SELECT encode(sealed_key, 'hex'), encode(p.sealed, 'hex') FROM members.member_key JOIN members.personal p USING (member_id)"
    )
    lookups = [str(row[0]) for row in await coalition.database.pool.fetch("SELECT lookup FROM members.alias")]
    living = dump(server, database_name)
    assert traces(living) == []
    assert all(cipher.encode() in living for cipher in ciphers)
    assert all(lookup.encode() in living for lookup in lookups)
    async with coalition.database.transaction() as connection:
        await erasure.forget(connection, member_id, by="tester", at=NOON)
    after = dump(server, database_name)
    assert traces(after) == []
    # The key, what it sealed and every hash that would find the person are gone; the account's history is not.
    assert not [cipher for cipher in ciphers if cipher.encode() in after]
    assert not [lookup for lookup in lookups if lookup.encode() in after]
    async with coalition.database.reading() as connection:
        assert await enrolment.personal(connection, coalition.vault, member_id) is None
    for ref in (card, {"phone": PHONE}, {"externalId": "K-1"}, {"id": done["memberId"]}):
        assert await till.ask(MEMBER, ref=ref) is None
    assert (await till.ask(RECORD, input=sale))["code"] == "MEMBER_CLOSED"
    assert (await till.ask(ENROL, input=given))["code"] == "IDEMPOTENCY_KEY_REUSED"
    again = await till.ask(ENROL, input=joining(person=PERSON, externalId="K-1"))
    assert again["memberId"] != done["memberId"]


async def test_p15_a_stolen_dump_answers_nobodys_guess(
    gateway: Gateway, vault: Vault, server: postgres.Server, database_name: str
) -> None:
    await gateway.tills["bakery"].ask(ENROL, input=joining(person=PERSON))
    stolen = dump(server, database_name).lower()
    guesses = [
        aliases.normal_phone(PHONE) or "",
        PHONE,
        EMAIL,
        f"PHONE:0\0{aliases.normal_phone(PHONE)}",
        f"PHONE\0{PHONE}",
    ]
    for guess in guesses:
        for name in ("md5", "sha1", "sha224", "sha256", "sha512", "blake2b", "sha3_256"):
            digest = hashlib.new(name, guess.encode()).hexdigest()
            as_uuid = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
            assert digest[:32].encode() not in stolen
            assert as_uuid.encode() not in stolen
    ours = aliases.phone(vault, PHONE)
    assert ours is not None
    assert str(ours.lookup).encode() in stolen  # what is looked for could have been found
    other = aliases.phone(Vault(bytes(range(1, 33))), PHONE)
    assert other is not None
    assert other.lookup != ours.lookup


# --- P-12: logs ---------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from gateway import application, serving
from kit.secrets import Vault
from kit.settings import Settings

settings = Settings(
    issuer="http://127.0.0.1:8000", port=int(sys.argv[2]), pool_size=2, drain_seconds=4, log_level="debug", clock="sandbox"
)
serving.serve(application.of(settings, sys.argv[1], vault=Vault(bytes(range(32)))), settings)
"""


@contextmanager
def serving(database_url: str, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The product's own gateway as a process that logs into a file; yields it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, database_url, str(port)], stderr=written,
            env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx2.TransportError):
                if httpx2.get(f"{address}/readyz", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()


async def test_p12_what_is_put_into_any_input_is_in_no_log_and_in_no_complaint(
    server: postgres.Server, database_name: str, database: Database, vault: Vault, tmp_path: Path
) -> None:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    card = await coalition.add_member()
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON)
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await clients.allow_secrets(
            connection, partner_id=coalition.callers["bakery"].partner_id, by="tester", at=clock.wall()
        )
        client_id, secret = await clients.add_client(
            connection, partner_id=coalition.callers["bakery"].partner_id, name="till", by="tester", at=clock.wall(),
            scopes=(*scopes.TILL, scopes.SETTLEMENT_READ),
        )  # fmt: skip
        await client_rules.change(connection, client_id, by="tester", at=clock.wall(), allowance=stand.PLENTY)
    world = World(None, card, None, None)  # type: ignore[arg-type]
    world.of_b = {"transaction": "txn_canary", "statement": "stm_canary", "quote": "quo_canary"}
    canaries = [card.number, PHONE, EMAIL, NAME, secret, "txn_canary"]
    log = tmp_path / "log"
    with serving(server.url(database_name, APPLICATION_ROLE), log) as (process, address):
        with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
            grant = {"grant_type": "client_credentials"}
            token = http.post("/oauth/token", data=grant, auth=(client_id, secret)).json()["access_token"]

            def ask(text: str, variables: dict[str, Any]) -> Any:
                body = orjson.dumps({"query": text, "variables": variables})
                headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
                if text.startswith("subscription"):  # a stream that begins with what is wrong ends with it
                    headers["Accept"] = "text/event-stream"
                return http.post("/graphql", content=body, headers=headers)

            enrolled = ask(ENROL, {"input": joining(person=PERSON)})
            assert enrolled.json()["data"]["enrolMember"]["__typename"] == "EnrolMemberSuccess"
            for number, leaf in enumerate(leaves()):
                canary = f"canary-{number}-4000999912341234"
                canaries.append(canary)
                answer = ask(document(leaf.root), replaced(CALLS[leaf.root](world), leaf, canary))
                assert answer.status_code in (200, 400), (str(leaf), answer.text)
                assert "INTERNAL_SERVER_ERROR" not in answer.text, (str(leaf), answer.text)
                assert canary not in answer.text, str(leaf)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    written = log.read_text(encoding="utf-8")
    # The expression library's binding says at the very end what it never took down; it is no log of ours.
    ours, _, rest = written.partition("nanobind: leaked")
    assert all(line.startswith((" - leaked ", " - ... ", "nanobind: ", "See https://nanobind", " instances!"))
               or "instances!" in line for line in rest.splitlines()), rest  # fmt: skip
    lines = [json.loads(line) for line in ours.splitlines()]
    assert sum(line["event"] == "request" for line in lines) > 100
    for canary in [*canaries, token, token.split(".")[2], aliases.normal_phone(PHONE) or PHONE]:
        assert canary not in written, canary
    drawn = ("request_id", "timestamp", "duration_ms", "client_id")  # four digits are in one of these sooner or later
    said = [str(value) for line in lines for name, value in line.items() if name not in drawn]
    assert not any("4711" in value for value in said)
    stored = dump(server, database_name).decode()
    assert "canary-" in stored  # receipts keep what tills send; the logs do not
    await coalition.desk.close()


def test_masks_show_too_little_to_learn_from() -> None:
    assert echoes.name(" Ada  King Lovelace ") == "A*** K*** L***"
    assert echoes.phone("+44 20 7946 0018") == "***18"
    assert echoes.email("ada@analytical.example") == "a***@***.example"
    assert "Ada" not in repr(Personal(name="Ada"))
