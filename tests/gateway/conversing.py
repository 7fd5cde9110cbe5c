"""A browser that asks over GraphQL as its page's script does: with the cookie, and the token that the page carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from tests.gateway.desk import Browser


@dataclass
class Script:
    """The script of a page at which somebody is signed in."""

    browser: Browser
    prefix: str
    csrf: str

    async def post(self, document: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx2.Response:
        """The raw answer."""
        return await self.browser.http.post(
            f"{self.prefix}/session/graphql",
            content=orjson.dumps({"query": document, "variables": variables or {}}),
            headers={"Content-Type": "application/json", "X-CSRF-Token": self.csrf, **headers},
        )

    async def ask(self, document: str, **variables: Any) -> Any:
        """The one root field's data; an error fails the test."""
        body = (await self.post(document, variables)).json()
        assert "errors" not in body, body
        (answer,) = body["data"].values()
        return answer

    async def error(self, document: str, **variables: Any) -> dict[str, Any]:
        """The extensions of the first error, where one is expected."""
        body = (await self.post(document, variables)).json()
        assert body.get("errors"), body
        extensions: dict[str, Any] = body["errors"][0]["extensions"]
        return extensions


async def script_of(browser: Browser, prefix: str = "") -> Script:
    """The script of the page in this browser."""
    found = re.search(r'name="csrf" value="(\w+)"', (await browser.get(f"{prefix}/security")).text)
    assert found is not None
    return Script(browser, prefix, found[1])
