"""A town with a real gateway and a real browser: partners, offers, a member with a history, a till that sells."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import zxingcpp
from PIL import Image
from playwright.async_api import Browser, BrowserContext, Page

from gateway import scopes
from gateway.gate import client_rules
from gateway.oauth import clients
from gateway.sessions import colleagues
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, connect
from kit.secrets import Vault
from members import proofs
from members.cards import IssuedCard
from partners.agreements import onboarding
from partners.mechanics import documents, grants, offers, rewards
from partners.mechanics.rewards import RewardDraft
from tests.builders import DAY, NOON, a_receipt
from tests.gateway import browsers, stand, subscribing
from tests.gateway import desk as desks
from tests.gateway.desk import START, Desk
from tests.gateway.stand import Till
from tests.gateway.test_purchase_api import RECORD
from tests.gateway.test_session_matrix import colleague
from tests.gateway.test_sign_in_browser import listening
from tests.partners.mechanics import fair
from tests.partners.mechanics.fair import Fair
from tests.partners.promotions.market import bonus

AXE = (Path(__file__).parent / "vendor" / "axe-core-4.14.1" / "axe.min.js").read_text(encoding="utf-8")
KIM, MIA = "kim@example.org", "mia@example.org"
HOSTILE = "<img src=x onerror=document.title='hacked'>"
PATIENCE_MILLISECONDS = 60_000
PLUS = {"en": "For subscribers", "ru": "Для подписчиков", "ro": "Pentru abonați"}
TENTH = {"en": "The tenth coffee", "ru": "Десятый кофе", "ro": "A zecea cafea"}
NOWHERE = "/app/nowhere"
"""A page that is not there, which says so."""
EXPECTED = ("422", "403", "429", "ERR_INTERNET_DISCONNECTED", "ERR_FAILED")


@dataclass
class LastingTill(Till):
    """A till that asks for another token when its own is over, as tills do."""

    secret: str = ""
    desk: Desk | None = None
    ends_at: datetime = START

    async def post(self, document: str, **variables: Any) -> Any:
        """The raw answer."""
        assert self.desk is not None
        if self.desk.wall() >= self.ends_at:
            asked = {"grant_type": "client_credentials"}
            told = (await self.http.post("/oauth/token", auth=(self.client_id, self.secret), data=asked)).json()
            self.token, self.ends_at = told["access_token"], self.desk.wall() + timedelta(seconds=told["expires_in"])
        return await super().post(document, **variables)


@dataclass
class Town:
    """A gateway that listens, a browser, and what the browser complained about."""

    desk: Desk
    fair: Fair
    browser: Browser
    till: Till
    card: IssuedCard
    eye: Path
    cable: browsers.Cable
    complaints: list[str] = field(default_factory=list)
    signed: dict[tuple[str, str], desks.Browser] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return self.desk.settings.issuer

    async def context(self, **options: Any) -> BrowserContext:
        """A new browser of somebody, as large as a phone unless said otherwise."""
        size = options.pop("viewport", {"width": 390, "height": 844})
        made = await self.browser.new_context(viewport=size, **options)
        made.set_default_timeout(PATIENCE_MILLISECONDS)
        return made

    async def page(self, context: BrowserContext) -> Page:
        """A page whose complaints are kept."""
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: (
                self.complaints.append(f"{said.text} at {said.location.get('url')}")
                if said.type in ("error", "warning")
                and not any(each in said.text for each in EXPECTED)
                and not str(said.location.get("url")).endswith(NOWHERE)
                else None
            ),
        )
        return page

    async def signed_in(
        self, address: str, onward: str = "/app", prefix: str = "", *, is_fresh: bool = True, **options: Any
    ) -> Page:
        """A page at which somebody is who signed in by code: a moment ago, or where that is all the same (not is_fresh)
        in a browser of before."""
        signed = await self._again(address, prefix) if not is_fresh else None
        if signed is None:
            self.desk.wall.move(minutes=15)  # so many codes may be asked for in an hour
            signed = self.signed[prefix, address] = await self.desk.signed_in(address, prefix)
        context = await self.context(**options)
        await context.add_cookies(
            [{"name": name, "value": value, "url": self.url} for name, value in signed.http.cookies.items()]
        )
        page = await self.page(context)
        await page.goto(self.url + onward)
        return page

    async def _again(self, address: str, prefix: str) -> desks.Browser | None:
        """The browser in which somebody signed in before, where they still are."""
        signed = self.signed.get((prefix, address))
        if signed is None or (await signed.get(f"{prefix}/security")).status_code != 200:
            return None
        await self.breathe()
        return signed

    async def breathe(self) -> None:
        """Let time pass, for an allowance to come back."""
        self.desk.wall.move(seconds=20)
        await self.desk.at_wall()

    async def open(self, page: Page, path: str) -> None:
        """Go somewhere, a while later."""
        await self.breathe()
        await page.goto(self.url + path)

    async def weight(self, page: Page) -> int:
        """Bytes that a page and all that it loaded have on their way, as they are packed; what a browser had kept from
        the page before counts too."""
        sizes = "performance.getEntries().map(each => each.encodedBodySize ?? 0)"
        return sum(await page.evaluate(sizes))

    async def sell(self, card: IssuedCard, total: str, **more: Any) -> Any:
        """A purchase at the bakery's till."""
        receipt = stand.receipt(total, **more)
        given = {"idempotencyKey": stand.key(), "member": {"cardNumber": card.number}, "receipt": receipt}
        return await self.till.ask(RECORD, input=given)

    def hold_before_the_camera(self, text: str) -> None:
        """The browser's camera sees a code from now on; the file is its only one."""
        code = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode).to_image(scale=9)
        picture = Image.new("RGB", (640, 480), "white")
        picture.paste(Image.frombuffer("L", (code.shape[1], code.shape[0]), code), (180, 100))
        frame = BytesIO()
        picture.save(frame, "JPEG", quality=90)
        self.eye.write_bytes(frame.getvalue() * 10)

    @property
    def pool(self) -> Any:
        """The database."""
        return self.desk.database.pool


@asynccontextmanager
async def opened(server: postgres.Server, template: str, vault: Vault, name: str) -> AsyncIterator[Town]:
    """A town over a database of this name."""
    postgres.create_database(server, name, template=template)
    eye = Path(gettempdir()) / f"{name}.mjpeg"
    arguments = [
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={eye}",
    ]  # fmt: skip
    try:
        async with (
            connect(server.url(name, APPLICATION_ROLE)) as database,
            fair.opened(database, vault) as made,
            browsers.launched(*arguments) as browser,
        ):
            bound = socket.create_server(("127.0.0.1", 0))
            issuer = f"http://localhost:{bound.getsockname()[1]}"
            card = await made.coalition.add_member(name="Ada Popescu", email="ada@example.org", phone="+37369123456")
            await _plans_and_rewards(made)
            await _trade(made)
            async with (
                desks.opened(made.coalition, server.url(name, APPLICATION_ROLE), issuer=issuer) as desk,
                listening(desk, bound) as cable,
            ):
                town = Town(desk, made, browser, await _till(desk), card, eye, cable)
                await _people(town)
                await _history(town)
                yield town
    finally:
        eye.unlink(missing_ok=True)
        postgres.drop_database(server, name)


async def _plans_and_rewards(made: Fair) -> None:
    """Plans, a rule for whoever has one, a mug for points, stamps that are worth a coffee, and invitations."""
    await made.agree(documents.INVITATION, "invitations", minimum_minor=1_000, per_year=5)
    async with made.coalition.database.transaction() as connection:
        await subscribing.open_plans(connection, NOON - DAY)
        draft = RewardDraft(
            made.coalition.callers["bakery"].partner_id, "mug", {"en": "Mug", "ru": "Кружка", "ro": "Cană"}, 100, 3,
            NOON - DAY, NOON + 30 * DAY,
        )  # fmt: skip
        actor = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        await rewards.add(connection, draft, actor=actor, at=NOON - DAY)
        await grants.define_stamps(connection, "coffee", "ten are a coffee", actor=actor, at=NOON - DAY)


async def _trade(made: Fair) -> None:
    titles = {"en": "Fresh bread week", "ru": "Неделя свежего хлеба", "ro": "Săptămâna pâinii proaspete"}
    await made.market.publish(
        bonus("bread", 20, stack={"priority": 1}, title=titles),
        bonus("yours", 70, who={"badges": [offers.ACTIVATED + "test"]}, stack={"priority": 2},
              title={"en": "A cake for you", "ru": "Торт для вас", "ro": "Un tort pentru dumneavoastră"}),
        bonus("plus", 15, kind="benefit", who={"plans": ["plus", "family"]}, stack={"priority": 3}, title=PLUS),
        bonus("tenth", 5, who={"plans": ["plus", "family"]}, stack={"priority": 4}, title=TENTH,
              costs={"unit": "coffee", "quantity": 10}),
    )  # fmt: skip
    caller = made.coalition.callers["bakery"]
    async with made.coalition.database.transaction() as connection:
        outlet = await onboarding.add_outlet(
            connection, partner_id=caller.partner_id, code="x", name=HOSTILE, actor=made.coalition.onboarder, at=NOON
        )
        await onboarding.add_terminal(connection, outlet_id=outlet, code="1", actor=made.coalition.onboarder, at=NOON)


async def _people(town: Town) -> None:
    """The bakery's cashier and its manager; Ada has a PIN."""
    await colleague(town.desk, "bakery", "Kim", KIM, colleagues.CASHIER)
    await colleague(town.desk, "bakery", "Mia", MIA, colleagues.MANAGER)
    async with town.desk.database.transaction() as connection:
        await proofs.set_pin(connection, town.desk.vault, town.card.member_id, "4711")


async def _history(town: Town) -> None:
    for number, total in enumerate(("48.20", "12.00", "105.90", "9.50")):
        await town.sell(town.card, total, reference=f"B-{number}")
    for number, cents in enumerate((86_400, 12_250)):
        receipt = a_receipt(cents, reference=f"G-{number}")
        await town.fair.market.buy(town.card, receipt, partner="grocer")


async def _till(desk: Desk) -> Till:
    """The bakery's one: a partner has only so many clients, and many people sign in to a town."""
    partner_id = desk.coalition.callers["bakery"].partner_id
    async with desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await clients.allow_secrets(connection, partner_id=partner_id, by="tester", at=desk.wall())
        client_id, secret = await clients.add_client(
            connection,
            partner_id=partner_id,
            name="till",
            scopes=(*scopes.TILL, scopes.EVENTS_WRITE),
            by="tester",
            at=desk.wall(),
        )
        await client_rules.change(connection, client_id, by="tester", at=desk.wall(), allowance=stand.PLENTY)
    desk.application.state.endpoint.admission.rules.look_again()
    return LastingTill(desk.browser().http, "", client_id=client_id, secret=secret, desk=desk)
