"""The partner portal in a real browser: a developer's keys and requests, a manager's outlets, colleagues and statements."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import orjson
import pytest
from joserfc.jwk import ECKey
from playwright.async_api import Page

from gateway import scopes
from gateway.oauth import clients
from gateway.sessions import colleagues
from kit import actors, clock
from ledger import cutoffs, rollups
from settlement import runs
from settlement.windows.cycle import WindowUnread
from tests.gateway import stand
from tests.gateway.browsers import CHROMIUM, until_it_speaks
from tests.gateway.test_member_app import MOST_BYTES, SHOTS
from tests.gateway.test_purchase_api import MEMBER, RECORD
from tests.gateway.test_session_matrix import colleague
from tests.gateway.town import AXE, HOSTILE, Town

DAN, PAM, GUS = "dan@bakery.example", "pam@bakery.example", "gus@grocer.example"
DESKTOP = {"width": 1280, "height": 800}
OF_DEVELOPER = (
    "/portal", "/portal/clients", "/portal/clients/new", "/portal/requests", "/portal/requests/refused",
    "/portal/requests/health", "/portal/requests/going-live", "/portal/sandbox",
)  # fmt: skip
OF_MANAGER = (
    "/portal",
    "/portal/promotions",
    "/portal/statements",
    "/portal/differences?all=1",
    "/portal/disputes",
    "/portal/outlets",
    "/portal/colleagues",
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


@pytest.fixture(autouse=True)
async def quiet(town: Town) -> AsyncIterator[None]:
    """No test leaves a browser that complained: of a policy that was broken, of a script that failed."""
    town.complaints.clear()
    yield
    for context in town.browser.contexts:
        for page in context.pages:
            print("left at", page.url, await page.get_by_role("alert").all_inner_texts())  # told where a test fails
        await context.close()
    assert town.complaints == []


@pytest.fixture(scope="module")
async def town(place: Town) -> Town:
    """The town with the bakery's developer and its manager, and a statement that can be objected to."""
    await colleague(place.desk, "bakery", "Dan", DAN, colleagues.DEVELOPER)
    await colleague(place.desk, "bakery", "Pam", PAM, colleagues.MANAGER, colleagues.FINANCE)
    await colleague(place.desk, "grocer", "Gus", GUS, *colleagues.SCOPES)
    coalition, at = place.desk.coalition, place.desk.wall() + timedelta(days=40)
    await cutoffs.close(place.desk.database, at=at)
    async with place.desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
        partner_id = coalition.callers["bakery"].partner_id
        await clients.allow_secrets(connection, partner_id=partner_id, by="onboarder", at=place.desk.wall())
    await _settled(place, at)
    while True:
        async with place.desk.database.transaction() as connection:
            if not await rollups.roll_up(connection):
                return place


async def _settled(place: Town, at: datetime) -> None:
    """Settle what was closed, as soon as no transaction of the gateway's from before keeps it from being read."""
    async with asyncio.timeout(120):
        while True:
            try:
                async with place.desk.database.transaction() as connection:
                    await runs.settle(connection, actor="maker", at=at)
                return
            except WindowUnread:
                await asyncio.sleep(0.1)


async def test_a_developer_makes_a_client_rotates_its_key_and_finds_a_failing_request_by_its_id(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The town's wall clock stands in March; who asks what was refused lately means the days before this one.
    monkeypatch.setattr(town.desk.application.state.endpoint.admission.requests, "_now", clock.wall)
    page = await town.signed_in(DAN, onward="/portal", prefix="/portal", viewport=DESKTOP)
    await page.get_by_role("link", name="Clients and keys").click()
    await page.get_by_role("link", name="Add a client").click()
    await town.breathe()
    await page.get_by_label("Name").fill("web shop")
    await page.get_by_label("It signs with a key of its own").check()
    await page.get_by_label("Public key").fill('{"kty": "none"}')
    await page.get_by_label("record purchases that earn points").check()
    await page.get_by_role("button", name="Add a client").click()
    await page.get_by_role("alert").get_by_text("This is no public key that we accept.").wait_for()
    assert await page.get_by_label("Name").input_value() == "web shop"  # nothing is typed twice
    await page.get_by_label("Public key").fill(
        orjson.dumps(ECKey.generate_key("P-256").as_dict(private=False)).decode()
    )
    await page.get_by_role("button", name="Add a client").dblclick()
    await page.get_by_role("heading", name="web shop").wait_for()
    assert await town.pool.fetchval("SELECT count(*) FROM gateway.client WHERE name = 'web shop'") == 1
    await page.get_by_label("Public key").fill(
        orjson.dumps(ECKey.generate_key("P-256").as_dict(private=False)).decode()
    )
    await page.get_by_label("Hours that what is replaced stays good").fill("2")
    await town.breathe()
    await page.get_by_role("button", name="Register").click()
    await page.get_by_text("good until").wait_for()
    assert await page.locator("text=another key was registered · Dan").count() == 1
    await page.get_by_role("button", name=re.compile("Refuse from now on")).first.click()
    await page.get_by_text("a key was removed · Dan").wait_for()

    failed = await town.till.post(RECORD, input={"idempotencyKey": stand.key(), "member": {"cardNumber": "55500011122"},
                                                 "receipt": stand.receipt("10.00")})  # fmt: skip
    number = failed.headers["x-request-id"]
    await town.desk.application.state.endpoint.admission.requests.write()
    await town.breathe()
    await page.get_by_role("link", name="What your programs asked").click()
    await page.get_by_label("Number of the request").fill(number)
    await page.get_by_role("button", name="Find").click()
    await page.get_by_text("CARD_UNKNOWN").wait_for()
    await page.get_by_text("Show", exact=True).click()
    sent = await page.locator(".sent").text_content()
    assert '"total":"10.00"' in str(sent).replace(" ", "")
    assert "55500011122" not in await page.content()
    await page.get_by_role("link", name="What was refused").click()
    article = page.locator("article", has=page.get_by_role("heading", name="CARD_UNKNOWN"))
    await article.get_by_text("No card has this number").wait_for()
    await article.get_by_role("link", name=number).click()
    await page.get_by_text("CARD_UNKNOWN").first.wait_for()
    assert number in page.url
    await page.get_by_role("link", name="How they are answered").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="till", exact=True))
    assert "ms" in await row.inner_text()
    await town.breathe()
    await page.get_by_role("link", name="Before you go live").click()
    steps = page.locator(".to-do li")
    await steps.filter(has_text="A key or secret was replaced").get_by_text("done", exact=True).wait_for()
    await steps.filter(has_text="A refusal was heard").get_by_text("done", exact=True).wait_for()
    await steps.filter(has_text="Goods came back").get_by_text("to do", exact=True).wait_for()


async def test_a_developer_makes_up_members_whose_cards_are_good_at_the_till(town: Town) -> None:
    page = await town.signed_in(DAN, onward="/portal/sandbox", prefix="/portal", viewport=DESKTOP)
    await page.get_by_role("button", name="Make up three members").dblclick()
    await page.get_by_role("heading", name="Made just now").wait_for()
    cards = await page.locator("tbody th code").all_inner_texts()
    assert len(cards) == 3
    assert await town.pool.fetchval("SELECT count(*) FROM partners.receipt WHERE reference LIKE 'TRY-%'") == 3
    answer = await town.till.ask(MEMBER, ref={"cardNumber": cards[0]})
    assert answer["balance"]
    pins = await page.locator("tbody td:nth-child(2)").all_inner_texts()
    kept = await town.pool.fetch("SELECT row_to_json(c)::text AS row FROM gateway.person_call c")
    assert not [row for row in kept for pin in pins if f'"{pin}"' in row["row"]]


async def test_of_two_clicks_far_apart_the_first_is_answered_and_what_it_shows_is_not_lost(town: Town) -> None:
    page = await town.signed_in(DAN, onward="/portal/sandbox", prefix="/portal", viewport=DESKTOP)
    before = await town.pool.fetchval("SELECT count(*) FROM partners.receipt WHERE reference LIKE 'TRY-%'")
    # The second click comes when the first form is on its way: without a word of ours its answer would win.
    twice = "form => { form.requestSubmit(); setTimeout(() => form.requestSubmit(), 60); }"
    await page.locator("form[action='/portal/sandbox']").evaluate(twice)
    await page.get_by_role("heading", name="Made just now").wait_for()
    after = await town.pool.fetchval("SELECT count(*) FROM partners.receipt WHERE reference LIKE 'TRY-%'")
    assert after == before + 3
    csrf = await page.locator("form[action='/portal/leave'] [name=csrf]").input_value()
    form = {"csrf": csrf, "key": stand.key(), "outlet": "1"}
    await town.breathe()
    first, again = [await page.request.post(f"{town.url}/portal/sandbox", form=form) for _ in range(2)]
    assert "Made just now" in await first.text()
    assert "were made a moment ago" in await again.text()  # where no script runs, nobody wonders where they are


async def test_the_explorer_signs_in_with_a_private_key_and_its_saved_examples_run_without_anybody_else(
    town: Town,
) -> None:
    key = ECKey.generate_key("P-256")
    async with town.desk.database.transaction() as connection:
        client_id = await clients.add_key_client(
            connection, partner_id=town.desk.coalition.callers["bakery"].partner_id, name="explorer",
            scopes=scopes.TILL, jwk=key.as_dict(private=False), by="tester", at=town.desk.wall(),
        )  # fmt: skip
    town.desk.application.state.endpoint.admission.rules.look_again()
    await town.desk.at_wall()
    page = await (await town.context(viewport=DESKTOP)).new_page()
    asked: set[str] = set()
    failed: list[str] = []
    page.on("request", lambda request: asked.add(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    await page.clock.set_fixed_time(town.desk.wall())
    moment = town.desk.wall().strftime("%Y-%m-%dT%H:%M:%SZ")
    await page.goto(f"{town.url}/explorer#card={town.card.number}&outlet=1&till=1&moment={moment}&currency=EUR")
    await page.get_by_label("Client").fill(client_id)
    await page.get_by_label("Secret, or private key").fill(orjson.dumps(key.as_dict(private=True)).decode())
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_text("Signed in for ten minutes").wait_for()
    await page.get_by_label("Example").select_option("Record a purchase")
    await page.get_by_role("button", name="Put it into the editor").click()
    for replayed in ("false", "true"):
        await page.locator(".graphiql-execute-button").click()
        await page.locator(".result-window").get_by_text(replayed, exact=True).wait_for()
    kept = "SELECT count(*) FROM partners.receipt r JOIN gateway.client c ON c.client_no = r.client_id WHERE c.client_id = $1"
    assert await town.pool.fetchval(kept, client_id) == 1
    assert {each.partition("/explorer")[0].partition("/graphql")[0].partition("/oauth")[0] for each in asked} == {
        town.url
    }
    assert failed == []


async def test_a_secret_is_shown_once_and_old_sign_ins_make_none(town: Town) -> None:
    page = await town.signed_in(DAN, onward="/portal/clients/new", prefix="/portal", viewport=DESKTOP)
    await page.get_by_label("Name").fill("old till")
    await page.get_by_label("It cannot sign and shows a secret").check()
    await page.get_by_label("look up members").check()
    await page.get_by_role("button", name="Add a client").click()
    secret = await page.locator(".secret").inner_text()
    assert secret.startswith("tsk_")
    await page.get_by_role("link", name="Clients and keys").first.click()
    await page.get_by_role("link", name="old till").click()
    assert secret not in await page.content()
    town.desk.wall.move(minutes=10)
    await page.get_by_role("button", name="Make a new secret").click()
    await page.wait_for_url("**/portal/confirm?next=*")
    await town.open(page, "/portal/clients/new")
    await page.get_by_text("show first that it is you").wait_for()


async def test_a_manager_reads_a_statement_takes_its_files_and_accepts_it(town: Town) -> None:
    page = await town.signed_in(PAM, onward="/portal", prefix="/portal", viewport=DESKTOP)
    alert = page.locator(".alerts li").filter(has_text="A statement is not accepted yet")
    await alert.get_by_text("Silence is acceptance").wait_for()
    await page.get_by_role("heading", name="The next settlement").wait_for()
    await alert.get_by_role("link").click()
    await page.get_by_role("heading", name=re.compile("Statement until")).wait_for()
    await page.locator(".tile", has_text="Points you gave").get_by_text("from lines").wait_for()
    await page.get_by_role("link", name="Points issued").first.click()
    await page.get_by_role("heading", name="Points issued").wait_for()
    await page.get_by_role("link", name="B-0").first.click()
    await page.get_by_role("heading", name="B-0").wait_for()
    assert "€48.20" in await page.locator("main").inner_text()
    await page.go_back()
    await page.go_back()
    for link in ("PDF", "CSV"):
        href = await page.get_by_role("link", name=link).first.get_attribute("href")
        answer = await page.request.get(town.url + str(href))
        assert answer.ok, href
        assert "attachment" in answer.headers["content-disposition"]
    await page.get_by_label("Amount, EUR").fill("1000")
    await page.get_by_label("What you say").fill("We gave fewer points.")
    await page.get_by_role("button", name="Dispute").click()
    await page.get_by_role("alert").get_by_text("Check the line, the reason and the amount").wait_for()
    await page.get_by_label("What is wrong").select_option("D03")
    await page.get_by_label("Amount, EUR").fill("0.50")
    await page.get_by_label("What you say").fill("We gave fewer points.")
    await town.breathe()
    await page.get_by_role("button", name="Dispute").dblclick()
    await page.get_by_role("heading", name="wrong amount or quantity").wait_for()
    assert await town.pool.fetchval("SELECT count(*) FROM settlement.dispute") == 1
    assert await town.pool.fetchval("SELECT actor FROM kit.audit_trail WHERE action = 'DISPUTE_OPENED'") == "bakery/Pam"
    await town.open(page, "/portal/statements")
    await page.locator("tbody th a").first.click()
    await page.get_by_role("button", name="Accept this statement").dblclick()
    await page.locator(".state").get_by_text("accepted").wait_for()
    assert await town.pool.fetchval("SELECT count(*) FROM settlement.acceptance") == 1
    assert await page.get_by_role("button", name="Accept this statement").count() == 0


async def test_a_manager_adds_an_outlet_and_invites_a_colleague(town: Town) -> None:
    page = await town.signed_in(PAM, onward="/portal/outlets", prefix="/portal", viewport=DESKTOP)
    await page.get_by_text(HOSTILE).first.wait_for()  # an outlet's name is words and nothing else
    assert "hacked" not in await page.title()
    await page.get_by_label("Code", exact=True).fill("quay")
    await page.get_by_label("Name, as members read it").fill("At the quay")
    await page.get_by_label("Name, as members read it").press("Enter")
    await page.get_by_role("heading", name="At the quay").wait_for()
    panel = page.locator("section", has=page.get_by_role("heading", name="At the quay"))
    await panel.get_by_label("Code of another till").fill("7")
    await panel.get_by_role("button", name="Add").dblclick()
    await panel.get_by_text("Till 7").first.wait_for()
    await panel.get_by_role("button", name="Close").click()
    await panel.get_by_text("closed").wait_for()
    await town.open(page, "/portal/colleagues")
    await page.get_by_label("Name").fill("Eva")
    await page.get_by_label("E-mail address").fill("eva@bakery.example")
    await page.get_by_role("button", name="Invite").click()
    await page.get_by_role("alert").get_by_text("Check the name, the address and the roles").wait_for()
    await page.get_by_label("Finance").check()
    await page.get_by_role("button", name="Invite").click()
    assert len(await page.locator(".secret").inner_text()) == 16
    await town.breathe()
    removing = page.get_by_role("button", name=re.compile("Remove.*Eva"))
    await removing.click()
    await removing.wait_for(state="detached")


async def test_people_of_another_partner_find_nothing_and_roles_open_what_they_open(town: Town) -> None:
    gus = await town.signed_in(GUS, onward="/portal/clients", prefix="/portal", viewport=DESKTOP)
    client_id = await town.pool.fetchval("SELECT client_id FROM gateway.client WHERE name = 'till' ORDER BY 1 LIMIT 1")
    number = await town.pool.fetchval("SELECT request_id FROM gateway.request_log LIMIT 1")
    assert client_id is not None
    unknown = await gus.request.get(f"{town.url}/portal/clients/cl_nobodyatall000000000")
    for path in (f"/portal/clients/{client_id}", "/portal/statements/stm_nothing"):
        answer = await gus.request.get(town.url + path)
        assert answer.status == unknown.status == 404
    csrf = await gus.locator("form[action='/portal/leave'] [name=csrf]").input_value()
    form = {"csrf": csrf, "key": stand.key()}
    before = await town.pool.fetchval("SELECT count(*) FROM gateway.client WHERE status = 'SUSPENDED'")
    await town.breathe()
    for wanted in (client_id, "cl_nobodyatall000000000"):
        refused = await gus.request.post(f"{town.url}/portal/clients/{wanted}/suspend", form=form)
        assert refused.status == 404
    assert await town.pool.fetchval("SELECT count(*) FROM gateway.client WHERE status = 'SUSPENDED'") == before
    await town.open(gus, f"/portal/requests?id={number}")
    await gus.get_by_text("No request of yours is found by this.").wait_for()
    dan = await town.signed_in(DAN, onward="/portal", prefix="/portal", viewport=DESKTOP)
    assert await dan.get_by_role("link", name="Statements").count() == 0
    for path in ("/portal/statements", "/portal/colleagues", "/portal/outlets"):
        assert (await dan.request.get(town.url + path)).status == 403
    assert (await dan.request.get(f"{town.url}/portal/packages/1")).status == 403


async def test_nobody_else_can_send_lead_or_frame(town: Town) -> None:
    page = await town.signed_in(PAM, onward="/portal/outlets", prefix="/portal")
    count = "SELECT count(*) FROM partners.outlet"
    before = await town.pool.fetchval(count)
    csrf = await page.locator("form[action='/portal/outlets/add'] [name=csrf]").input_value()
    for form, headers in (
        ({"code": "z", "name": "z"}, {}),
        ({"code": "z", "name": "z", "csrf": "0" * 64}, {}),
        ({"code": "z", "name": "z", "csrf": csrf}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = await page.request.post(f"{town.url}/portal/outlets/add", form=form, headers=headers)
        assert answer.status == 403
    assert await town.pool.fetchval(count) == before
    for wicked in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        form = {"csrf": csrf, "key": stand.key(), "language": "en", "next": wicked}
        answer = await page.request.post(f"{town.url}/portal/language", form=form, max_redirects=0)
        assert (answer.status, answer.headers["location"]) == (303, "/portal")
    policy = (await page.request.get(f"{town.url}/portal")).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    gone = await (await town.context()).request.get(f"{town.url}/portal/clients", max_redirects=0)
    assert (gone.status, gone.headers["location"]) == (303, "/portal/sign-in?next=%2Fportal%2Fclients")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_axe_finds_nothing_nothing_runs_out_and_every_screen_is_light(town: Town, scheme: str) -> None:
    for address, paths in ((DAN, OF_DEVELOPER), (PAM, OF_MANAGER)):
        # 320 CSS pixels are a small laptop's 640 at 200 %.
        page = await town.signed_in(
            address, onward="/portal", prefix="/portal", color_scheme=scheme, viewport={"width": 320, "height": 700}
        )
        for path in [*paths, *await _details(town, page, address)]:
            await town.open(page, path)
            assert 10_000 < await town.weight(page) <= MOST_BYTES, path
            await page.evaluate(AXE)
            found = await page.evaluate("axe.run({ resultTypes: ['violations'] })")
            told = [(path, each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
            assert told == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
        await page.context.close()


async def _details(town: Town, page: Page, address: str) -> list[str]:
    """Pages of one thing, by the first link of their lists."""
    list_of = "/portal/clients" if address == DAN else "/portal/statements"
    await town.open(page, list_of)
    first = str(await page.locator("tbody th a").first.get_attribute("href"))
    return [first] if address == DAN else [first, "/portal/promotions/test"]


async def test_every_screen_speaks_three_languages_and_the_keyboard_reaches_everything(town: Town) -> None:
    page = await town.signed_in(PAM, onward="/portal", prefix="/portal", viewport=DESKTOP)
    seen = {}
    for name, language in (("Română", "ro"), ("Русский", "ru")):
        await town.breathe()
        await page.get_by_role("button", name=name).click()
        await until_it_speaks(page, language)
        titles = set()
        for path in OF_MANAGER:
            await town.open(page, path)
            titles.add(await page.title())
        seen[language] = titles
    assert all(len(titles) == len(OF_MANAGER) for titles in seen.values())
    assert not seen["ro"] & seen["ru"]
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    shown = "[...document.querySelectorAll('a, button, select, input:not([type=hidden]), [tabindex=\"0\"]')].length"
    outlines = []
    for _ in range(await page.evaluate(shown) - 1):
        await page.keyboard.press("Tab")
        outlines.append(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}


@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_screens_are_made(town: Town) -> None:
    folder = Path(SHOTS or "")
    for scheme, language in (("light", "en"), ("dark", "ru")):
        for address, paths in ((DAN, OF_DEVELOPER), (PAM, OF_MANAGER)):
            page = await town.signed_in(
                address,
                onward="/portal",
                prefix="/portal",
                viewport=DESKTOP,
                color_scheme=scheme,
                reduced_motion="reduce",
            )
            await page.context.add_cookies([{"name": "language", "value": language, "url": town.url}])
            details = await _details(town, page, address)
            for path in [*paths, *details]:
                if path == "/portal" and address == DAN:
                    continue
                await town.open(page, path)
                name = "promotion" if path == "/portal/promotions/test" else (
                    "statement" if path in details and address == PAM else "client" if path in details else
                    path.partition("?")[0].removeprefix("/portal").strip("/").replace("/", "-") or "home")  # fmt: skip
                await page.screenshot(path=folder / f"portal-{name}-{scheme}.png", full_page=True)
            await page.context.close()
