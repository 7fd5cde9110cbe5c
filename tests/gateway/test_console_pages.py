"""The staff's console in a real browser: who is let in, what their roles open, and what finance does there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from gateway.pages import charts, sections
from kit import actors, postgres
from kit.secrets import Vault
from tests.gateway import counting_house, stand
from tests.gateway.browsers import CHROMIUM, until_it_speaks
from tests.gateway.conversing import Script, script_of
from tests.gateway.counting_house import FEE, address
from tests.gateway.test_member_app import ADA, MOST_BYTES, SHOTS
from tests.gateway.town import AXE, HOSTILE, Town

WIDE = {"width": 1280, "height": 900}
SCREENS = (
    "/console", "/console/runs", "/console/runs/1", "/console/statements", "/console/windows", "/console/cutoffs",
    "/console/proposals", "/console/rolls", "/console/liability", "/console/cover", "/console/breaks",
    "/console/disputes", "/console/files", "/console/payments", "/console/payment-files", "/console/bank", "/console/bank/1",
    "/console/suspense", "/console/accounts", "/console/leaving", "/console/holidays", "/console/taxes",
    "/console/questions?report=R3&run=1&table=positions&where=net:AT_MOST:0&order=net",
    "/console/what-if?run=1&partner=bakery&service_price_micro=9000", "/console/agreements", "/console/subscription",
    "/console/reports?run=1&partner=bakery", "/console/reports/R3?run=1", "/console/trouble",
)  # fmt: skip
DEEP = ("statement", "line", "entry", "dispute", "break")
TRAIL = "SELECT count(*) FROM kit.audit_trail WHERE action = $1"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


# --- Without a browser --------------------------------------------------------------------------------------


def test_a_section_is_found_by_the_pages_below_it_and_opened_by_its_roles() -> None:
    assert [each.name for each in sections.open_to(frozenset({actors.AGREEMENT_MAKER}))] == ["Agreements"]
    assert sections.open_to(frozenset()) == []
    found = sections.section_of("/console/statements/stm_1/lines")
    assert found is not None
    assert (found.name, found.path) == ("Settlement", "/console/runs")
    assert sections.section_of("/console/runsandmore") is None
    assert sections.section_of(sections.HOME) is None


def test_every_role_that_opens_a_section_is_one_that_there_is() -> None:
    every = (*sections.OF_FINANCE, *sections.OF_OPERATOR)
    assert {role for each in every for role in each.roles} <= actors.ROLES.keys()
    assert all(each.roles for each in every)


def test_the_bars_of_a_bridge_lead_from_one_net_to_the_next_without_a_gap() -> None:
    drawn = charts.bridge([("Before", "-10.00"), ("Volume", "25.50"), ("Price", "0"), ("Fees", "-3.5"), ("Now", "12")])
    assert drawn is not None
    assert [bar.way for bar in drawn.bars] == ["level", "up", "down", "level"]  # what is nothing has no bar
    before, volume, fees, now = drawn.bars
    assert (before.x, before.x + before.width) == (0.0, drawn.zero)
    assert volume.x == 0.0
    assert volume.x + volume.width == pytest.approx(fees.x + fees.width, abs=0.2)
    assert fees.x == pytest.approx(now.x + now.width, abs=0.2)
    assert charts.bridge([("Before", "0"), ("Now", "0")]) is None
    assert charts.bridge([]) is None


def test_the_curves_of_a_chart_have_zero_on_their_axis_and_round_values_beside_it() -> None:
    drawn = charts.curves([("Face", ["5", "20", "10"]), ("Breakage", ["0", "2", "1"])])
    assert drawn is not None
    assert drawn.curves[0].dots == ((0.0, 180.0), (280.0, 0.0), (560.0, 120.0))
    assert [curve.dots[0][1] for curve in drawn.curves] == [180.0, 240.0]
    assert drawn.curves[1].last == "1"
    assert drawn.levels == (("20", 0.0), ("15", 60.0), ("10", 120.0), ("5", 180.0), ("0", 240.0))
    assert drawn.named == ((0, 0.0), (1, 280.0), (2, 560.0))
    owed = charts.curves([("Owed", ["-3", "7.5"] + ["0"] * 10)])
    assert owed is not None
    assert [value for value, _ in owed.levels] == ["10", "5", "0", "-5"]
    assert all(0 <= y <= 240 for _, y in owed.curves[0].dots)
    assert [number for number, _ in owed.named] == [0, 4, 11]  # more names would not fit
    assert charts.curves([("Face", ["5"])]) is None
    assert charts.curves([("Face", ["0", "0"])]) is None


# --- In one -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def house(server: postgres.Server, template: str, vault: Vault) -> AsyncIterator[Town]:
    """A town that settles, with a browser; each test opens browsers of its own."""
    async with counting_house.opened(server, template, vault) as opened:
        yield opened


@pytest.fixture
async def quiet(house: Town) -> AsyncIterator[Town]:
    """The same; no test leaves a browser that complained: of a policy that was broken, of a script that failed."""
    house.complaints.clear()
    yield house
    for context in house.browser.contexts:
        await context.close()
    assert house.complaints == []


async def staff(place: Town, name: str, onward: str = "/console", **options: Any) -> Page:
    """A page at which somebody of staff is who signed in a moment ago."""
    options.setdefault("viewport", WIDE)
    return await place.signed_in(address(name), onward, "/staff", **options)


async def script(place: Town, name: str) -> Script:
    """The same person's own calls."""
    place.desk.wall.move(minutes=15)
    return await script_of(await place.desk.signed_in(address(name), "/staff"), "/staff")


async def visit(place: Town, page: Page, path: str) -> Any:
    """Open a page when the allowance of the one before has come back."""
    await place.breathe()
    return await page.goto(place.url + path)


async def deep(place: Town, page: Page) -> list[str]:
    """Paths from a statement of the bakery down to a receipt, and to a break."""
    await visit(place, page, "/console/statements?partner=bakery&run=1")
    found = []
    for name in DEEP:
        if name in ("dispute", "break"):
            await visit(
                place, page, {"dispute": "/console/disputes?which=all", "break": "/console/breaks?all=yes"}[name]
            )
        href = await page.locator("tbody th a").first.get_attribute("href")
        assert href is not None
        found.append(href)
        await visit(place, page, href)
    return found


async def press(place: Town, page: Page, name: str, *, within: Locator | None = None) -> None:
    """Press a button twice, as somebody in a hurry does, when the allowance has come back."""
    await place.breathe()
    await (within or page).get_by_role("button", name=name, exact=True).dblclick()


async def count(place: Town, action: str) -> int:
    """How often something is in the trail."""
    return int(await place.pool.fetchval(TRAIL, action))


async def steps(place: Town, state: str) -> int:
    """How many runs came to a state."""
    found = "SELECT count(*) FROM settlement.run_step WHERE to_state = $1"
    return int(await place.pool.fetchval(found, state))


@needs_chromium
async def test_one_person_makes_a_run_another_approves_it_and_its_net_leads_down_to_a_receipt(quiet: Town) -> None:
    place = quiet
    page = await staff(place, "mila", "/console/cutoffs")
    closed = await count(place, "CUTOFF_CLOSED")
    await press(place, page, "Close cut-off 2")
    await page.get_by_role("button", name="Close cut-off 3").wait_for()
    assert await count(place, "CUTOFF_CLOSED") == closed + 1  # two clicks closed one
    await visit(place, page, "/console/runs")
    await press(place, page, "Begin runs")
    await page.get_by_role("link", name=re.compile(r"^NET\.EUR.*")).first.wait_for()
    assert await page.locator("tbody tr").count() == 2
    await visit(place, page, "/console/runs/2")
    await press(place, page, "Calculate")
    await page.get_by_role("button", name="Control").wait_for()
    assert await page.locator("tfoot td").nth(3).inner_text() == "0.00"  # the nets, the operator's among them

    place.desk.wall.move(minutes=6)  # the proof of who one is has grown old
    await press(place, page, "Control")
    await expect(page).to_have_url(f"{place.url}/staff/confirm?next=%2Fconsole%2Fruns%2F2", timeout=60_000)
    assert await steps(place, "CONTROLLED") == 1  # the first run's: nothing was done

    page = await staff(place, "mila", "/console/runs/2")
    await press(place, page, "Control")
    await page.get_by_role("button", name="Issue the statements").wait_for()
    await page.go_back()
    await press(place, page, "Issue the statements")
    await page.get_by_text("Look at the nets").or_(page.get_by_text("You made this run")).wait_for()
    assert await page.get_by_role("button", name="Approve").count() == 0
    assert await steps(place, "CONTROLLED") == await steps(place, "STATEMENTS_ISSUED") == 2

    page = await staff(place, "chen", "/console/runs/2")
    await press(place, page, "Approve")
    alert = page.get_by_role("alert")
    await alert.get_by_text("Partners may still object.").wait_for()
    assert await alert.get_by_text("REVIEW_OPEN").count() == 1
    assert await alert.locator("code").nth(1).inner_text()  # the number of the request
    place.desk.wall.move(days=20)
    page = await staff(place, "chen", "/console/runs/2")
    await press(place, page, "Approve")
    await page.get_by_role("button", name="Approve").wait_for(state="detached")
    assert await page.locator(".desk-head .state").inner_text() == "Approved"
    assert await steps(place, "APPROVED") == 2

    await page.get_by_role("link", name="Bakery").click()
    await page.get_by_role("heading", name="From the net before to this one").wait_for()
    assert await page.locator("svg rect").count() >= 2
    place.desk.wall.move(minutes=2)
    await page.get_by_role("link", name="Points issued").first.click()
    await page.get_by_role("link", name="H-10").click()
    await page.get_by_role("heading", name="receipt H-10 · Bakery").wait_for()
    await page.get_by_text(HOSTILE).wait_for()  # the outlet's name, which is words and nothing else
    assert "hacked" not in await page.title()
    assert await page.get_by_role("cell", name="Points issued").count() == 1


@needs_chromium
async def test_who_proposed_a_version_is_told_that_somebody_else_signs_it(quiet: Town) -> None:
    place = quiet
    page = await staff(place, "dora", "/console/agreements")
    await page.get_by_text("Everything bakery/1 says").click()
    form = page.locator("form[action='/console/agreements/propose']").filter(
        has=page.locator("input[name=partner][value=bakery]")
    )
    await form.get_by_label("Term").select_option("review_days")
    await form.get_by_label("It is to say").fill("3")
    await form.get_by_label("In force from").fill("2027-01-01")
    await form.get_by_role("button").click()
    await page.get_by_text("You made this: somebody else has to decide.").wait_for()
    assert await page.locator("ins").first.inner_text() == "3"
    assert await page.get_by_role("button", name="Sign", exact=False).count() == 0
    page = await staff(place, "abel", "/console/agreements")
    await press(place, page, "Sign bakery/2")
    await page.locator("article").first.locator(".state", has_text="Approved").wait_for()


@needs_chromium
async def test_a_break_is_assigned_ended_and_looked_at_by_another(quiet: Town) -> None:
    page = await staff(quiet, "mila", "/console/breaks?category=QUANTITY")
    await quiet.breathe()
    await row_of(page, "B-1").get_by_role("link", name="Other points").click()
    await page.get_by_label("Name, as the list of staff has it").fill("nobody")
    await press(quiet, page, "Assign")
    await page.get_by_role("alert").get_by_text("Nobody of this name acts here.").wait_for()
    await page.get_by_label("Name, as the list of staff has it").fill("mila")
    await press(quiet, page, "Assign")
    await page.locator(".desk-head .state", has_text="Assigned").wait_for()
    await page.get_by_label("Why it ends so").fill("their file has a line twice")
    await press(quiet, page, "Leave it as it is")
    await page.locator(".desk-head .state", has_text="Resolved").wait_for()
    page = await staff(quiet, "chen", "/console/breaks?all=yes")
    await quiet.breathe()
    await row_of(page, "B-1").get_by_role("link", name="Other points").click()
    await press(quiet, page, "It is right so")
    await page.locator(".desk-head .state", has_text="Verified").wait_for()
    steps = "SELECT count(*) FROM settlement.break_step JOIN settlement.break USING (break_id) WHERE source = 'test:1'"
    assert await quiet.pool.fetchval(steps) == 4  # found, assigned, ended, verified: each once


def row_of(page: Page, text: str) -> Locator:
    """The row of a list that has a text."""
    return page.get_by_role("row").filter(has_text=text)


@needs_chromium
async def test_the_first_load_of_the_largest_screens_is_light(quiet: Town) -> None:
    first = await staff(quiet, "dora", "/console")
    cookies = await first.context.cookies()
    for path in ("/console/runs/1", "/console/rolls", "/console/agreements", *(await deep(quiet, first))[:2]):
        context = await quiet.context(viewport=WIDE)
        await context.add_cookies(cookies)
        page = await context.new_page()
        devtools = await context.new_cdp_session(page)
        loaded: list[float] = []
        devtools.on("Network.loadingFinished", lambda told, loaded=loaded: loaded.append(told["encodedDataLength"]))
        await devtools.send("Network.enable")
        assert (await visit(quiet, page, path)).status == 200, path
        assert 10_000 < sum(loaded) <= MOST_BYTES, path
        await context.close()


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.deep)])
async def test_axe_finds_nothing_on_any_screen_by_day_or_night_and_nothing_runs_out_of_a_narrow_one(
    quiet: Town, scheme: str
) -> None:
    # 320 CSS pixels are a small laptop's 640 at 200 %.
    page = await staff(
        quiet, "dora", reduced_motion="reduce", color_scheme=scheme, viewport={"width": 320, "height": 700}
    )
    rules = "" if scheme == "light" else ", runOnly: ['color-contrast']"  # by night the colours alone differ
    for path in (*SCREENS, *await deep(quiet, page)):
        assert (await visit(quiet, page, path)).status == 200, path
        await page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        await page.evaluate(AXE)
        found = await page.evaluate(f"axe.run({{ resultTypes: ['violations']{rules} }})")
        told = [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in found["violations"]]
        assert told == [], path
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path


@needs_chromium
async def test_every_screen_speaks_three_languages(quiet: Town) -> None:
    page = await staff(quiet, "dora")
    seen: dict[str, list[str]] = {}
    for name, language in (("Română", "ro"), ("Русский", "ru")):
        await quiet.breathe()
        await page.get_by_role("button", name=name).click()
        await until_it_speaks(page, language)
        seen[language] = []
        for path in SCREENS:
            await quiet.breathe()
            told = await (await page.request.get(quiet.url + path)).text()
            assert f'<html lang="{language}">' in told, path
            seen[language] += re.findall(r"<h1[^>]*>(.*?)</h1>", told)
    assert len(seen["ro"]) == len(SCREENS)
    same = [ro for ro, ru in zip(seen["ro"], seen["ru"], strict=True) if ro == ru]
    assert same == ["NET.EUR.0001.01.01.00.00.1.R1", "ST1"]  # names of a run and of the bank's are the same everywhere


@needs_chromium
async def test_the_keyboard_reaches_everything_and_the_focus_is_seen(quiet: Town) -> None:
    page = await staff(quiet, "dora", "/console/statements")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    reachable = "a, button, select, summary, input:not([type=hidden]), [tabindex='0']"
    wanted = await page.evaluate(f"document.querySelectorAll({reachable!r}).length")
    outlines = []
    for _ in range(wanted - 1):
        await page.keyboard.press("Tab")
        outlines.append(await page.evaluate("getComputedStyle(document.activeElement).outlineStyle"))
    assert set(outlines) == {"solid"}
    await page.get_by_label("Number of a run").focus()
    await page.keyboard.type("7")
    await quiet.breathe()
    await page.keyboard.press("Enter")
    await page.get_by_text("There is no such statement.").wait_for()
    assert page.url.endswith("/console/statements?partner=&run=7")  # what is looked for is in the address


@needs_chromium
async def test_a_printed_statement_loses_no_column(quiet: Town) -> None:
    page = await staff(quiet, "dora", viewport={"width": 718, "height": 1000})  # an upright A4 page between its margins
    statement = (await deep(quiet, page))[0]
    await visit(quiet, page, statement)
    await page.emulate_media(media="print")
    lost = "[...document.querySelectorAll('.table-place')].filter((each) => each.scrollWidth > each.clientWidth).length"
    assert await page.locator(".table-place").count() >= 2
    assert await page.evaluate(lost) == 0
    assert await page.locator("nav:visible").count() <= 1  # where the page is, and nothing to click
    await page.emulate_media(media="screen")


@needs_chromium
async def test_reports_are_the_same_as_files_and_nobody_is_asked_for_more_than_they_chose(quiet: Town) -> None:
    page = await staff(quiet, "chen", "/console/reports?run=1&partner=bakery")
    files = page.get_by_role("row", name="R3 ").get_by_role("link", name=re.compile("CSV|PDF|XLSX"))
    begins = {"PDF": b"%PDF-", "XLSX": b"PK", "CSV": b"party,"}
    for link in await files.all():
        answer = await page.request.get(quiet.url + str(await link.get_attribute("href")))
        assert answer.status == 200
        assert (await answer.body()).startswith(begins[await link.inner_text()])
        assert "attachment" in answer.headers["content-disposition"]
    answer = await page.request.get(f"{quiet.url}/console/reports/packages/1?partner=bakery")
    assert (answer.status, (await answer.body())[:2]) == (200, b"PK")
    answer = await page.request.get(f"{quiet.url}/console/reports/R1/file?run=99&partner=bakery&format=csv")
    assert answer.status == 422
    assert (await visit(quiet, page, "/console/reports/R99")).status == 404
    assert (await visit(quiet, page, "/console/runs/99")).status == 404
    assert (await visit(quiet, page, "/console/statements/stm_nothing")).status == 404
    assert (await visit(quiet, page, "/console/statements/entries/ent_nothing")).status == 404
    quiet.complaints[:] = [said for said in quiet.complaints if "404" not in said]


@needs_chromium
async def test_nobody_else_is_let_in_and_nobody_else_can_send(quiet: Town) -> None:
    place = quiet
    member = await place.signed_in(ADA, onward="/console/runs")
    assert member.url.endswith("/staff/sign-in?next=%2Fconsole%2Fruns")
    partner = await place.signed_in(FEE, "/console/runs", "/portal")
    assert partner.url.endswith("/staff/sign-in?next=%2Fconsole%2Fruns")
    cara = await staff(place, "cara")
    assert await cara.get_by_role("link", name="Settlement").count() == 0  # she searches, and finance is not hers
    answer = await cara.request.get(f"{place.url}/console/trouble")
    assert answer.status == 403
    assert "Your roles do not open this page." in await answer.text()
    answer = await cara.request.get(f"{place.url}/console/reports/R3/file?run=1&format=csv")
    assert answer.status == 403
    chen = await staff(place, "chen", "/console/runs")
    assert await chen.get_by_role("button", name="Begin runs").count() == 0
    runs = await place.pool.fetchval("SELECT count(*) FROM settlement.run_step")
    for form in ({}, {"csrf": "0" * 64}):
        assert (await chen.request.post(f"{place.url}/console/runs", form=form)).status == 403
    csrf = await chen.locator("input[name=csrf]").first.input_value()
    form = {"csrf": csrf, "key": stand.key()}
    crossing = {"Sec-Fetch-Site": "cross-site"}
    assert (await chen.request.post(f"{place.url}/console/runs", form=form, headers=crossing)).status == 403
    assert (await chen.request.post(f"{place.url}/console/runs", form=form)).status == 422  # not a maker's to do
    assert await place.pool.fetchval("SELECT count(*) FROM settlement.run_step") == runs
    for wicked in ("//evil.example", "https://evil.example/"):
        gone = {**form, "language": "en", "next": wicked}
        answer = await chen.request.post(f"{place.url}/console/language", form=gone, max_redirects=0)
        assert (answer.status, answer.headers["location"]) == (303, "/console")
    policy = (await chen.request.get(f"{place.url}/console/runs")).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


@needs_chromium
async def test_what_is_late_is_in_one_list_with_what_to_do_and_the_way_there(quiet: Town) -> None:
    mila = await script(quiet, "mila")
    later = (quiet.desk.wall() + timedelta(days=9)).isoformat()
    tax = {"idempotencyKey": stand.key(), "code": "VAT_20", "rateBp": 2000, "taxCode": "S", "validFrom": later}
    proposed = "mutation($i: ProposeTaxRuleInput!) { proposeTaxRule(input: $i) { ... on ProposalSuccess { number } } }"
    number = (await mila.ask(proposed, i=tax))["number"]
    quiet.desk.wall.move(days=2)
    page = await staff(quiet, "chen", "/console/trouble")
    late = page.get_by_role("listitem").filter(has_text=f"A proposal waits: {number}")
    await late.get_by_text("Another of finance approves or declines it.").wait_for()
    await quiet.breathe()
    await late.get_by_role("link").click()
    await press(quiet, page, "Approve")
    await page.get_by_text("Nothing waits for a decision.").wait_for()
    told = await (await script(quiet, "chen")).ask("{ settlementTrouble { code subject } }")
    assert {"code": "PROPOSAL_WAITS", "subject": str(number)} not in told
    assert "CONTROL" not in {one["code"] for one in told}


@needs_chromium
@pytest.mark.skipif(SHOTS is None, reason="pictures are made by `make screens`")
async def test_pictures_of_the_console_are_made(quiet: Town) -> None:
    folder = Path(SHOTS or "")
    for scheme, language in (("light", "en"), ("dark", "ru")):
        page = await staff(quiet, "dora", color_scheme=scheme, device_scale_factor=1, reduced_motion="reduce")
        await page.context.add_cookies([{"name": "language", "value": language, "url": quiet.url}])
        statement, line, entry, dispute, broken = await deep(quiet, page)
        for name, path in (("runs", "/console/runs"), ("run", "/console/runs/1"), ("statement", statement), ("line", line),
                           ("entry", entry), ("liability", "/console/liability"), ("rolls", "/console/rolls"),
                           ("agreements", "/console/agreements"), ("dispute", dispute), ("break", broken),
                           ("bank", "/console/bank/1"), ("suspense", "/console/suspense"),
                           ("payment-files", "/console/payment-files"),
                           ("questions", "/console/questions?report=R3&run=1&table=positions&order=-net"),
                           ("what-if", "/console/what-if?run=1&partner=bakery&service_price_micro=9000"),
                           ("trouble", "/console/trouble")):  # fmt: skip
            await visit(quiet, page, path)
            await page.screenshot(path=folder / f"console-{name}-{scheme}.png", full_page=True)
        await page.context.close()


# --- What the pages ask -------------------------------------------------------------------------------------

MOVEMENTS = """query($id: ID!, $line: Int!, $after: String) {
  settlementMovements(statementId: $id, line: $line, first: 2, after: $after) {
    nodes { number points amountExact entryId receiptEntryId } pageInfo { hasNextPage endCursor } } }"""


@needs_chromium
async def test_what_is_behind_a_line_sums_to_it_page_by_page(house: Town) -> None:
    chen = await script(house, "chen")
    nodes = "nodes { id partnerCode lines(first: 12) { nodes { number kind points amountExact } } }"
    seen = 0
    for its in (await chen.ask(f"{{ statementsOf(first: 6) {{ {nodes} }} }}"))["nodes"]:
        for line in its["lines"]["nodes"] if its["partnerCode"] else ():
            points, amount, after, more = 0, Decimal(0), None, True
            while more:
                house.desk.wall.move(seconds=20)
                told = await chen.ask(MOVEMENTS, id=its["id"], line=line["number"], after=after)
                points += sum(int(one["points"]) for one in told["nodes"])
                amount += sum(Decimal(one["amountExact"]) for one in told["nodes"])
                after, more = told["pageInfo"]["endCursor"], told["pageInfo"]["hasNextPage"]
                seen += len(told["nodes"])
            assert (points, amount) == (int(line["points"]), Decimal(line["amountExact"])), line
    assert seen >= 6
    nothing = await chen.ask(MOVEMENTS, id="stm_nothing", line=1)
    assert nothing["nodes"] == []


CLOSE = """mutation($i: CloseSettlementCutoffInput!) { closeSettlementCutoff(input: $i) {
  __typename ... on CloseSettlementCutoffSuccess { replayed cutoff { number state } } ... on Rejection { code } } }"""


@needs_chromium
async def test_a_cut_off_is_closed_by_its_number_once_under_a_key(house: Town) -> None:
    mila = await script(house, "mila")
    cutoffs = "{ settlementCutoffs(first: 1) { nodes { number state } } }"
    [open_one] = (await mila.ask(cutoffs))["nodes"]
    key = stand.key()
    wrong = {"idempotencyKey": key, "cutoff": open_one["number"] + 1}
    assert (await mila.ask(CLOSE, i=wrong))["code"] == "CUTOFF_NOT_OPEN"
    given = {"idempotencyKey": key, "cutoff": open_one["number"]}
    first, again = await mila.ask(CLOSE, i=given), await mila.ask(CLOSE, i=given)
    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["cutoff"] == again["cutoff"] == {"number": open_one["number"], "state": "CUT"}
    other = {"idempotencyKey": stand.key(), "cutoff": open_one["number"]}
    assert (await mila.ask(CLOSE, i=other))["code"] == "CUTOFF_NOT_OPEN"
    reused = {"idempotencyKey": key, "cutoff": open_one["number"] + 1}
    assert (await mila.ask(CLOSE, i=reused))["code"] == "IDEMPOTENCY_KEY_REUSED"
    house.desk.wall.move(minutes=6)
    await house.desk.at_wall()
    later = {"idempotencyKey": stand.key(), "cutoff": open_one["number"] + 1}
    assert (await mila.ask(CLOSE, i=later))["code"] == "STEP_UP_REQUIRED"
    [now] = (await mila.ask(cutoffs))["nodes"]
    assert now == {"number": open_one["number"] + 1, "state": "OPEN"}
