"""Invoices as PDF over HTTP: a member has their own, finance everybody's, a partner and a stranger none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pypdfium2
import pytest
from starlette.routing import Router

from gateway import scopes
from gateway.subscription import invoice_pages
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.subscription import sellers
from members.subscription.sellers import Seller
from tests import builders
from tests.builders import NOON
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import script_of
from tests.gateway.desk import Desk
from tests.gateway.subscribing import open_plans, subscribed
from tests.gateway.subscription.test_subscription_api import SUBSCRIBE, keyed

ADA, BEN = "ada@example.org", "ben@example.org"


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await builders.found(database, vault)
    for address in (ADA, BEN):
        await coalition.add_member(email=address)
    async with database.transaction() as connection:
        await open_plans(connection)
        seller = Seller("Coalition SRL", "Street 1", account="MD24AG000225100013104168")
        await sellers.publish(connection, seller, valid_from=NOON, actor="cashier", at=NOON)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        opened.application.router.routes.extend(Router(invoice_pages.ROUTES).routes)
        yield opened
    await coalition.desk.close()


async def test_a_member_has_the_own_invoice_as_pdf_and_no_other_s(desk: Desk) -> None:
    ada, ben = await desk.signed_in(ADA), await desk.signed_in(BEN)
    await (await script_of(ada)).ask(SUBSCRIBE, i=keyed(plan="plus", interval="MONTH"))
    answer = await ada.get("/app/invoices/1?language=ro")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    assert answer.headers["cache-control"] == "private, no-store"
    text = "".join(page.get_textpage().get_text_range() for page in pypdfium2.PdfDocument(answer.content))
    assert "Factură" in text
    assert "Coalition SRL" in text
    assert "MD24AG000225100013104168" in text
    for browser, path in ((ben, "invoices/1"), (ada, "invoices/2"), (ada, "invoices/x"), (ada, "credit-notes/1")):
        assert (await browser.get(f"/app/{path}")).status_code == 404
    assert (await desk.browser().get("/app/invoices/1")).status_code == 303


async def test_finance_has_every_invoice_by_token_and_a_partner_none(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    coalition = await builders.found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    card = await coalition.add_member()
    async with database.transaction() as connection:
        await subscribed(connection, card.member_id)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as gateway:
        gateway.app.router.routes.extend(Router(invoice_pages.ROUTES).routes)
        staff = await gateway.till(None, wanted=(scopes.SETTLEMENT_READ,))
        poor = await gateway.till(None, wanted=(scopes.MEMBERS_READ,))
        bakery = await gateway.till("bakery")

        async def status(till: stand.Till, number: int) -> int:
            headers = {"Authorization": f"Bearer {till.token}"}
            found: int = (await till.http.get(f"/subscriptions/invoices/{number}", headers=headers)).status_code
            return found

        assert await status(staff, 1) == 409  # nobody has said who sells
        async with database.transaction() as connection:
            await sellers.publish(connection, Seller("C", "S"), valid_from=NOON, actor="cashier", at=NOON)
        assert await status(staff, 1) == 200
        assert await status(staff, 2) == 404
        assert await status(bakery, 1) == 404
        assert await status(poor, 1) == 403
        assert (await gateway.http.get("/subscriptions/invoices/1")).status_code == 401
        [path] = [one["path"] for one in (await staff.ask("{ subscriptionInvoices { nodes { path } } }"))["nodes"]]
        assert path == "/subscriptions/invoices/1"
    await coalition.desk.close()
