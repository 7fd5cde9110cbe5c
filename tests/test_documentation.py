"""What the documents say about the code is held against the code."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from graphql import build_schema, parse, validate
from graphql.execution.values import get_variable_values

from kit.errors import Rejection
from tests.test_the_list_of_abuses import names

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = ("gateway", "settlement", "partners", "members", "ledger", "kit")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def rows(page: Path) -> list[list[str]]:
    """The cells of a page's tables, without headings and rulers."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@cache
def rejections() -> tuple[type[Rejection], ...]:
    """Every Rejection of the six packages, after importing all their modules."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for found in pkgutil.walk_packages(module.__path__, f"{package}."):
            importlib.import_module(found.name)
    return tuple(kind for kind in _below(Rejection) if "code" in vars(kind) and _is_ours(kind))


def _is_ours(kind: type[Rejection]) -> bool:
    return kind.__module__.split(".")[0] in PACKAGES


def _below(kind: type[Rejection]) -> Iterator[type[Rejection]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)


def test_the_page_of_rejection_codes_says_what_the_code_does():
    written = {row[0].strip("`"): (row[2], row[3].strip("`")) for row in rows(DOCS / "rejection-codes.md")}
    true = {kind.code: ("yes" if kind.retryable else "no", kind.__module__) for kind in rejections()}
    assert written == true


def test_a_rejection_has_a_code_of_its_own():
    codes = [kind.code for kind in rejections()]
    assert len(codes) > 20
    assert sorted(codes) == sorted(set(codes))
    assert [code for code in codes if not re.fullmatch(r"[A-Z]+(_[A-Z]+)*", code)] == []
    assert Rejection.code not in codes


def test_every_code_is_explained_in_a_sentence():
    for row in rows(DOCS / "rejection-codes.md"):
        assert len(row) == 4, row
        assert row[1].endswith("."), row


def test_the_page_of_invariants_has_every_rule_of_the_audit():
    routines = sorted((ROOT / "ledger" / "routines").glob("*.sql"))
    rules = {rule for file in routines for rule in re.findall(r"'(A\d+) [^']+'", file.read_text(encoding="utf-8"))}
    assert len(rules) > 7
    written = re.findall(r"^\| `(A\d+)`", (DOCS / "invariants.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(written) == sorted(rules)


def test_every_invariant_of_a_clearing_house_names_tests_that_there_are():
    text = (DOCS / "invariants.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `I-(\d+)` (.+)$", text, re.MULTILINE)
    assert {int(number) for number, _ in found} >= {*range(1, 22), *range(24, 31)}
    assert [number for number, row in found if "`test_" not in row] == []
    there = set(names())
    assert {name for name in re.findall(r"`(test_\w+)`", text) if name not in there} == set()


def test_a_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target):
                assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_a_page_names_only_files_and_folders_that_exist():
    named = re.compile(rf"`((?:{'|'.join(PACKAGES)}|migrations|tests|docs|requirements)/[\w./-]*)`")
    for page in PAGES:
        for name in named.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name} names {name}"


def test_a_decision_is_one_page_of_four_parts():
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert parts == ["Context", "Decision", "Consequences", "Alternatives"], page.name
        assert text.startswith(f"# {page.name[:4]} "), page.name
        assert len(text.splitlines()) < 70, page.name


def test_every_library_of_the_product_is_accounted_for():
    page = (DOCS / "decisions" / "0002-libraries.md").read_text(encoding="utf-8")
    accounted = {row[0].strip("`").lower() for row in rows(DOCS / "decisions" / "0002-libraries.md")}
    for source in ("runtime.in", "data.in"):
        wanted = re.findall(r"^[A-Za-z][\w-]*", (ROOT / "requirements" / source).read_text(encoding="utf-8"), re.M)
        assert {name.lower() for name in wanted} <= accounted, page[:0] + source


def test_the_conversation_in_the_readme_is_one_that_the_gateway_understands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [body] = re.findall(r"-d '(\{.*?\})'\n\n", text, re.DOTALL)
    given = {"CARD_NUMBER": "1", "OUTLET": "1", "BUSINESS_DATE": "2017-03-01"}
    said = json.loads(re.sub(r"'\$(\w+)'", lambda found: given[found[1]], body))
    served = build_schema((ROOT / "gateway" / "schema.graphql").read_text(encoding="utf-8"))
    document = parse(said["query"])
    assert validate(served, document) == []
    [operation] = document.definitions
    coerced = get_variable_values(served, operation.variable_definitions, said["variables"])
    assert not isinstance(coerced, list), coerced


def test_the_make_targets_that_pages_name_exist_and_help_prints_them_all():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert explained == set(phony.split())
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= explained, page.name
