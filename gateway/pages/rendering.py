"""HTML of the pages and the policy under which a browser shows them.

No script or style stands in a page. htmx touches only what carries the page's own nonce, through the one policy for
trusted types that it makes; another makes the address of our service worker.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import orjson
from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, format_percent
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from gateway.context import LANGUAGES, Services, language_of
from gateway.pages import files, phrases
from gateway.pages.catalogues import translations
from gateway.sessions.views import LANGUAGE_COOKIE, sender_of
from kit.amounts import BASIS

HERE = Path(__file__).parent
MINUS = "\u2212"


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page of one request knows: its language, whose programme it is, whose zone dates are told in."""

    language: str
    programme: str
    zone: ZoneInfo
    is_sandbox: bool


async def frame_of(request: Request, preferred: str | None = None) -> Frame:
    """The frame of a request, in the language chosen here, else the preferred one, else what the browser asks for."""
    services: Services = request.app.state.services
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    language = chosen if chosen in LANGUAGES else preferred
    language = language or language_of(request.headers.get("accept-language", ""))
    request.scope["language"] = language  # for the page about a problem, should this one come to nothing
    sender = await sender_of(services)
    return Frame(language, sender.programme, ZoneInfo(sender.time_zone), services.settings.clock == "sandbox")


def page(request: Request, template: str, frame: Frame, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page in its frame's language, under a nonce of its own."""
    nonce = secrets.token_urlsafe(16)
    html = (
        environment(frame.language)
        .get_template(template)
        .render(
            **formats(frame), **values, frame=frame, nonce=nonce, languages=LANGUAGES, new_key=new_key,
            path=request.url.path, request_id=request.scope["request_id"],
        )
    )  # fmt: skip
    return HTMLResponse(html, status, {**HEADERS, "Content-Security-Policy": policy(nonce)})


HEADERS = {
    # Of our own pages a browser has to tell us that they sent a form; of nobody else does it tell anything.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def policy(nonce: str) -> str:
    """What a browser may do on a page with this nonce."""
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx worker"
    )


@lru_cache(maxsize=len(LANGUAGES))
def environment(language: str) -> Environment:
    """The templates in a language."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, extensions=["jinja2.ext.i18n"],
    )  # fmt: skip
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    made.globals |= {"file": files.path, "phrases": phrases, "json": _json}
    return made


def formats(frame: Frame) -> Mapping[str, Callable[..., str]]:
    """Numbers, dates and amounts as a language writes them. What the API tells as text is read here."""
    language, zone = frame.language, frame.zone

    def number(value: int | str) -> str:
        return str(format_decimal(Decimal(value), locale=language)).replace("-", MINUS)

    def signed(value: int | str) -> str:
        return ("+" if int(value) > 0 else "") + number(value)

    def money(value: Mapping[str, str]) -> str:
        told = format_currency(Decimal(value["amount"]), value["currencyCode"], locale=language)
        return str(told).replace("-", MINUS)

    def day(value: str | date) -> str:
        return str(format_date(_instant(value).astimezone(zone), "long", locale=language))

    def moment(value: str) -> str:
        return str(format_datetime(_instant(value), "d MMM y, HH:mm", tzinfo=zone, locale=language))

    def share(basis_points: int) -> str:
        return percent(Decimal(basis_points) / BASIS, language)

    return {"number": number, "signed": signed, "money": money, "day": day, "moment": moment, "share": share}


def typed_instant(text: str, zone: ZoneInfo) -> str | None:
    """An instant as a browser's field for one has it, in a zone, as the API takes it; None for anything else."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC).isoformat()
    except (ValueError, OverflowError):  # the calendar's first day has no beginning in UTC
        return None


def percent(part: Decimal, language: str) -> str:
    """A share with one place, its sign where the language has it; the two stay on one line."""
    whole = Locale.parse(language).percent_formats[None].pattern
    return str(format_percent(part, whole.replace("#,##0", "#,##0.0"), locale=language)).replace("-", MINUS)


def amount(text: str) -> str:
    """An amount as somebody writes it, with a comma too, for the API."""
    return text.replace("\u00a0", "").replace(" ", "").replace(",", ".")[:20]


def new_key() -> str:
    """An idempotency key for a form: sent twice, it is done once."""
    return uuid4().hex


def _instant(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _json(value: object) -> Markup:
    """A value as JSON for a data block, which no browser runs; nothing in it ends the block."""
    text = orjson.dumps(value).decode()
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704
