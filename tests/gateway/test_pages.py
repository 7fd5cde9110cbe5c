"""What pages are made of: documents that the schema knows, catalogues without a gap, files that are what was vendored."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_file
from graphql import OperationDefinitionNode, parse, validate

from gateway.context import LANGUAGES
from gateway.pages import catalogues, files, rendering
from gateway.pages.documents import HERE as DOCUMENTS
from gateway.pages.documents import documents
from gateway.schema import schema

PAGES = files.HERE
ROOT = PAGES.parents[1]
VENDORED = json.loads((PAGES / "vendor" / "vendor.lock.json").read_text(encoding="utf-8"))
_PLACEHOLDER = re.compile(r"%\(\w+\)s|{\w+}")


def texts() -> set[str | tuple[str, str]]:
    """Every text that a page or its module says."""
    options = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}
    found: set[str | tuple[str, str]] = set()
    for file in PAGES.rglob("*.html"):
        found |= {
            each[1]
            for each in extract_from_file(
                "jinja2.ext:babel_extract", str(file), options=options, keywords={"_": None, "ngettext": (1, 2)}
            )
        }
    for file in PAGES.glob("*.py"):
        found |= {each[1] for each in extract_from_file("python", str(file), keywords={"_": None})}
    return found


def test_every_document_is_one_operation_of_its_own_name_that_the_schema_knows() -> None:
    assert documents()
    for name, text in documents().items():
        document = parse(text)
        assert validate(schema.graphql, document) == [], name
        operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
        assert [each.name and each.name.value for each in operations] == [name]


def test_every_document_is_asked_by_a_page() -> None:
    asking = "".join(file.read_text(encoding="utf-8") for file in (*PAGES.glob("*.py"), *PAGES.glob("static/*.mjs")))
    unasked = [name for name in documents() if f'"{name}"' not in asking]
    assert unasked == []
    assert {file.stem for file in DOCUMENTS.iterdir()} > set(documents())  # and what is left are fragments


@pytest.mark.parametrize("language", [each for each in LANGUAGES if each != "en"])
def test_no_text_of_a_page_is_missing_in_a_catalogue(language: str) -> None:
    catalogue = catalogues.catalogue(language)
    written = {message.id: message for message in catalogue if message.id}
    assert written.keys() == texts()
    for text, message in written.items():
        assert not message.fuzzy, text
        forms = message.string if isinstance(message.string, tuple) else (message.string,)
        assert len(forms) == (catalogue.num_plurals if isinstance(text, tuple) else 1), text
        wanted = set(_PLACEHOLDER.findall(text[-1] if isinstance(text, tuple) else text))
        for form in forms:
            assert form.strip(), text
            assert set(_PLACEHOLDER.findall(form)) == wanted, text


def test_plurals_are_those_of_the_language() -> None:
    one, many = "for %(points)s point", "for %(points)s points"
    russian = catalogues.translations("ru")
    assert [russian.ngettext(one, many, count) for count in (1, 3, 5, 21)] == [
        "за %(points)s балл", "за %(points)s балла", "за %(points)s баллов", "за %(points)s балл",
    ]  # fmt: skip
    romanian = catalogues.translations("ro")
    assert [romanian.ngettext(one, many, count) for count in (1, 2, 20)] == [
        "pentru %(points)s punct", "pentru %(points)s puncte", "pentru %(points)s de puncte",
    ]  # fmt: skip


def test_an_instant_that_no_calendar_has_everywhere_is_none() -> None:
    moscow = ZoneInfo("Europe/Moscow")
    assert rendering.typed_instant("2026-03-02T12:00", moscow) == "2026-03-02T09:00:00+00:00"
    for typed in ("0001-01-01T00:00", "", "soon", "2026-02-30T00:00"):
        assert rendering.typed_instant(typed, moscow) is None


def test_what_is_vendored_is_what_was_published_with_its_licence() -> None:
    listed = {name for each in VENDORED for name in each["files"]}
    lying = {
        str(file.relative_to(ROOT))
        for folder in (PAGES / "vendor", Path(__file__).parent / "vendor")
        for file in folder.rglob("*")
        if file.is_file() and file.name != "vendor.lock.json"
    }
    assert listed == lying
    for each in VENDORED:
        assert each["integrity"].startswith("sha512-")
        assert each["licence"]
        assert any("LICENSE" in name for name in each["files"]), each["package"]
        for name, told in each["files"].items():
            digest = base64.b64encode(hashlib.sha512((ROOT / name).read_bytes()).digest()).decode()
            assert told == f"sha512-{digest}", name


def test_no_page_has_a_script_a_style_or_a_handler_in_it_or_asks_anybody_else() -> None:
    for file in PAGES.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=|hx-on|javascript:|https?://", text), file.name
        for tag in re.findall(r"<script[^>]*>", text):
            assert "nonce=" in tag, file.name
            assert "src=" in tag or 'type="application/json"' in tag, file.name
    for file in (*PAGES.glob("static/*.mjs"), *PAGES.glob("static/*.js")):
        text = file.read_text(encoding="utf-8")
        assert "innerHTML" not in text
        assert "eval(" not in text
        assert "://" not in text
