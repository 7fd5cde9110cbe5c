"""The demonstration's people: one of each kind signs in by the link that is printed and the code in the mailbox."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.demo import people
from gateway.demo.coalition import TillCard, Tills, address_of, some_of
from gateway.demo.report import SHOWN_PARTNER, Shopper
from gateway.sessions.people import PREFIXES
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests import builders
from tests.gateway import desk as desks
from tests.gateway.desk import SITE, Desk

HOUSEHOLD = 7


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await builders.found(database, vault)
    await coalition.add_partner(SHOWN_PARTNER)
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, people.MAKER, [actors.FINANCE_MAKER])
        await actors.ensure_actor(connection, people.CHECKER, [actors.FINANCE_CHECKER])
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def test_each_signs_in_by_the_printed_link_and_the_code_in_the_mailbox(desk: Desk) -> None:
    card = await desk.coalition.add_member(email=address_of(HOUSEHOLD))
    shown = TillCard(card.number, "", b"")
    tills = Tills(1, {}, {HOUSEHOLD: shown})
    for _ in range(2):  # a second run of the demonstration invites nobody anew
        await people.let_in(desk.database, desk.vault, SITE, now=desk.wall())
    invited = "SELECT count(*) FROM kit.audit_trail WHERE action IN ('STAFF_INVITED', 'COLLEAGUE_INVITED')"
    assert await desk.database.pool.fetchval(invited) == 6
    found = people.sign_ins(tills, Shopper(shown, 0))
    printed = people.told(found, SITE)
    assert [one.who for one in found] == [
        "member", "cashier", "partner's manager", "partner's developer", "finance, who proposes",
        "finance, who approves", "operator",
    ]  # fmt: skip
    for one in found:
        assert one.link(SITE) in printed
        browser = desk.browser()
        desk.wall.move(seconds=1)
        await desk.at_wall()
        path = one.link("")
        page = await browser.get(path)
        assert f'value="{one.address}"' in page.text
        prefix = PREFIXES[one.audience]
        sent = await browser.fill(path, f"{prefix}/sign-in", address=parse_qs(urlsplit(path).query)["address"][0])
        code = sent.headers["location"]
        [newest, *_] = re.findall(r'href="(/mailbox/[^"]+)"', (await browser.get("/mailbox")).text)
        letter = (await browser.get(newest)).text
        assert one.address in letter
        assert await desk.code_for(one.address) in re.sub(r"(\d{4}) (\d{4})", r"\1\2", letter)
        entered = await browser.fill(code, f"{prefix}/sign-in/code", code=await desk.code_for(one.address))
        assert (entered.status_code, entered.headers["location"]) == (303, one.page)


def test_members_who_can_sign_in_are_spread_evenly_over_all() -> None:
    assert some_of(list(range(1_000))) == list(range(0, 1_000, 50))
    assert some_of([3, 5]) == [3, 5]
