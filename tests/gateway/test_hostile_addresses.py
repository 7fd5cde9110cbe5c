"""Whatever stands in an address of a page or in a form of ours, it is answered, and nothing breaks."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from functools import partial

import pytest
from starlette.routing import Route

from gateway.gate import admission
from gateway.gate.allowances import Allowance
from gateway.gate.client_rules import ClientRule, ClientRules
from gateway.pages import files
from tests.gateway import stand, test_problem_pages
from tests.gateway.desk import Desk
from tests.gateway.test_problem_pages import PAGES, PROGRAM, paths, people

_ASKED = re.compile(r"""(?:asked\(|query_params\.get\(|asked\.get(?:list)?\()"(\w+)\"""")
_TOLD = re.compile(r"""fields(?:\.get\(|\[)"(\w+)\"""")
NAMES = sorted(
    {name for file in files.HERE.glob("*.py") for name in _ASKED.findall(file.read_text(encoding="utf-8"))}
    - {"after"}  # a place in a list that is none of ours is refused before anything else is looked at
    | {"c0", "o0", "v0", "table", "column", "where", "order", "fund_price_micro"}
)
NASTY = ("\0", "0001-01-01T00:00", "9999-12-31", "-1", "9" * 40, "NaN", "'\"><%2e%2e", "\u202e\ud7ff\U0010ffff")
FIELDS_OF_A_FORM = 17
ENOUGH = Allowance(10**6, 10**6)
pytestmark = pytest.mark.deep  # a thousand and a half requests
desk, template = test_problem_pages.desk, test_problem_pages.template


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to wait: they would be, and no page looked at what it is asked."""
    monkeypatch.setattr(admission, "MEMBER", ENOUGH)

    async def of(_: ClientRules, client_no: int) -> ClientRule:
        return ClientRule(ENOUGH, trusted_only=False)

    monkeypatch.setattr(ClientRules, "of", of)


@pytest.mark.parametrize("part", ["/app", "/portal", "/console"])
async def test_whatever_an_address_says_no_page_breaks(desk: Desk, part: str) -> None:
    browser = (await people(desk))[part]
    broken, seen = [], Counter[int]()
    for path in paths("GET"):
        for value in NASTY if path.startswith(part) else ():
            answer = await browser.http.get(path, params=dict.fromkeys(NAMES, value), headers=PROGRAM)
            seen[answer.status_code] += 1
            if answer.status_code >= 500:
                broken.append((path, value, answer.status_code))
    assert (broken, seen[429]) == ([], 0), seen


def asked_by(deed: object) -> list[str]:
    """The names of fields that the module of a deed reads."""
    source = inspect.getsource(inspect.getmodule(deed))  # type: ignore[arg-type]
    return sorted(set(_TOLD.findall(source)) - {"csrf", "key"})


@pytest.mark.parametrize("part", ["/app", "/portal", "/console"])
async def test_whatever_a_form_says_no_page_breaks(desk: Desk, part: str) -> None:
    browser = (await people(desk))[part]
    home = await browser.get(part)
    csrf = re.search(r'csrf"[^>]*?"([0-9a-f]{64})"', home.text) or re.search(r'"([0-9a-f]{64})"', home.text)
    assert csrf is not None
    broken, seen = [], Counter[int]()
    for route in [each for each in PAGES if isinstance(each, Route) and "POST" in (each.methods or ())]:
        path = re.sub(r"{\w+(:int)?}", "1", route.path)
        if not path.startswith(part) or path.endswith("/leave") or not isinstance(route.endpoint, partial):
            continue
        names = asked_by(route.endpoint.args[0])
        for value in NASTY:
            for begin in range(0, max(len(names), 1), FIELDS_OF_A_FORM):
                said = dict.fromkeys(names[begin : begin + FIELDS_OF_A_FORM], value)
                form = {"csrf": csrf[1], "key": stand.key(), **said}
                answer = await browser.http.post(path, data=form, headers=PROGRAM)
                seen[answer.status_code] += 1
                if answer.status_code >= 500:
                    broken.append((path, value, answer.status_code))
    assert (broken, seen[429]) == ([], 0), seen
