"""The named documents that pages ask, one operation in each file of `documents/`, validated against the schema by a
test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.requests import Request

from gateway.context import Viewer
from gateway.sessions import asking

HERE = Path(__file__).parent / "documents"


@lru_cache(maxsize=1)
def documents() -> Mapping[str, str]:
    """Their texts by name, the fragments that they use included."""
    texts = {file.stem: file.read_text(encoding="utf-8").strip() for file in sorted(HERE.glob("*.graphql"))}
    fragments = {name: text for name, text in texts.items() if text.startswith("fragment")}
    return {
        name: "\n".join([text, *(fragments[each] for each in _needed(text, fragments))])
        for name, text in texts.items()
        if name not in fragments
    }


async def ask(
    request: Request, viewer: Viewer, name: str, variables: Mapping[str, Any] | None = None, *, language: str
) -> Any:
    """The one root field's data of a document, for whoever is signed in. Raises asking.NotAnswered."""
    data = await asking.ask(request, viewer, documents()[name], variables, language=language)
    (answer,) = data.values()
    return answer


def _needed(text: str, fragments: Mapping[str, str]) -> list[str]:
    """Names of the fragments that a text spreads, and of those that these spread."""
    needed: list[str] = []
    waiting = [text]
    while waiting:
        spreading = waiting.pop()
        for name, fragment in fragments.items():
            if f"...{name}" in spreading and name not in needed:
                needed.append(name)
                waiting.append(fragment)
    return sorted(needed)
