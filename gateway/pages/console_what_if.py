"""What other prices would have made of a statement that is over, at the console. It writes nothing, so what is asked
stands in the address.
"""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, problem_of
from gateway.sessions.asking import NotAnswered
from settlement import states
from settlement.what_if import PRICES

HOME = "/console/what-if"


async def what_if(at: Desk) -> Response:
    """GET /console/what-if?run=&partner=&fund_price_micro=…: line by line what would have been."""
    told = await at.ask("ConsoleReports")
    runs = [run for run in told["settlementRuns"]["nodes"] if run["state"] not in {states.DRAFT, *states.GONE}]
    run, partner = at.asked("run") or (str(runs[0]["number"]) if runs else ""), at.asked("partner")
    written = {name: at.asked(name, 20).strip() for name in sorted(PRICES)}
    prices = [{"name": name, "value": desk.whole(text)} for name, text in written.items() if text]
    found, problem = None, None
    if any(text and not text.isdecimal() for text in written.values()):
        problem = Problem("WHAT_IF_INVALID")
    elif run and partner and prices:
        try:
            asked = await at.ask("ConsoleWhatIf", run=desk.whole(run), partner=partner, prices=prices)
            found = asked["whatIf"]
        except NotAnswered as no:
            if no.status >= 429:
                raise
            problem = Problem("WHAT_IF_INVALID", problem_of(no).message)
    return at.page(
        "console/what_if.html", problem=problem, runs=runs, run=run, partners=told["settlementPartners"],
        partner=partner, written=written, prices=[f"{each['name']}:{each['value']}" for each in prices], found=found,
    )  # fmt: skip


ROUTES: list[BaseRoute] = desk.routes(((HOME, what_if),))
