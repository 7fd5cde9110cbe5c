"""What the pages of the operator's staff stand on: a workplace below /console.

A page belongs to a section (`sections`), which asks for a role before anything is read.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.pages import desk_formats, desk_phrases, rendering, sections
from gateway.pages.sections import HOME
from gateway.pages.workplace import Door, Problem, Sentences, Workplace
from gateway.sessions import people, viewers
from gateway.sessions.people import Staff
from members.messages import STAFF


class Desk(Workplace):
    """Somebody of staff at a page."""

    audience, home = STAFF, HOME
    sentences = Sentences(desk_phrases.problem, desk_phrases.NOT_YOURS, desk_phrases.NOT_THERE)

    def part(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])[:200]

    def number(self, name: str) -> int:
        """A part of the path that is a number; 0, which nothing has, for anything else."""
        return whole(self.part(name))

    def page(self, template: str, *, problem: Problem | None = None, status: int = 200, **values: Any) -> Response:
        """A page for this person, in the console's frame; with a problem it is answered 422."""
        return self.drawn(
            template, problem, status, desk=self, sections=sections, own_sections=sections.open_to(self.found.roles),
            section=sections.section_of(self.request.url.path), desk_phrases=desk_phrases,
            query=self.request.url.query, is_first="after" not in self.request.query_params,
            numbers=desk_formats.NUMBERS, depths=desk_formats.depths, **desk_formats.formats(self.frame), **values,
        )  # fmt: skip


def whole(text: str) -> int:
    """A number that somebody typed, or a path has; 0, which nothing has, for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


async def _enter(request: Request, found: Staff) -> Desk | None:
    section = sections.section_of(request.url.path)
    if section is not None and not section.roles & found.roles:
        return None
    return Desk(request, found, await viewers.viewer_of(request, found), await rendering.frame_of(request))


routes = Door(Desk, people.signed_in_staff, _enter).routes
