"""Publishing: rules are drafted, submitted as a release by one person, approved by another, and taken out by either.

Every edit of a rule is a new version, and changes nothing before a release holds it. A release is made from the one
before it, so what is published is always known whole. What was decided under a release stays decided: none begins
before it was approved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.errors import FieldProblem, Rejection
from partners import store as partner_store
from partners.agreements import programme
from partners.promotions import budgets, checking, documents, launching, releases, store
from partners.promotions.basket import BaseTerms
from partners.promotions.budgets import field_problems
from partners.promotions.documents import GroupDocument, RuleDocument
from partners.promotions.launching import Expectation, Objective
from partners.promotions.plain import canonical, digest
from partners.promotions.releases import EMPTY, Release

KIND = "RELEASE"


class PromotionExists(Rejection):
    """A promotion of this code is there."""

    code = "PROMOTION_EXISTS"
    retryable = False


class PromotionInvalid(Rejection):
    """The promotion's code or names are not what they can be; the problems say which."""

    code = "PROMOTION_INVALID"
    retryable = False


class PromotionUnknown(Rejection):
    """There is no promotion of this code, or the rule is another promotion's."""

    code = "PROMOTION_UNKNOWN"
    retryable = True


class RuleInvalid(Rejection):
    """The document is no rule; the problems say where and what was expected."""

    code = "RULE_INVALID"
    retryable = False


class RuleUnknown(Rejection):
    """No rule of this code was drafted."""

    code = "RULE_UNKNOWN"
    retryable = True


class ReleaseInvalid(Rejection):
    """The rules cannot be released together; the problems say why."""

    code = "RELEASE_INVALID"
    retryable = False


class ReleaseUnknown(Rejection):
    """There is no release of this number."""

    code = "RELEASE_UNKNOWN"
    retryable = False


class ReleaseOutdated(Rejection):
    """Another release was published since this one was submitted, or a budget that it counts against was raised: submit
    it again, on what is there now."""

    code = "RELEASE_OUTDATED"
    retryable = False


class ReleaseRetroactive(Rejection):
    """The release would begin before it is approved."""

    code = "RELEASE_RETROACTIVE"
    retryable = False


class LaunchRefused(Rejection):
    """The release, or more of a budget of one, does not pass the gate before a launch; the checker may let it pass."""

    code = "LAUNCH_REFUSED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Launch:
    """What a release is for and what is expected of it, to be examined before it is launched."""

    objective: Objective | None
    expected: Expectation


@dataclass(frozen=True, slots=True)
class Entry:
    """A release as people look at it: how many rules it holds, and what became of it.

    state: SUBMITTED, PUBLISHED, DECLINED, or SUSPENSION where rules were taken out of force.
    """

    release_id: int
    state: str
    effective_from: datetime
    rules: int
    author: str
    approver: str | None
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a release changes of the one before it: rules by code with their version (None: the latest) come in or are
    replaced, others go; groups, where given, replace all that were."""

    rules: Mapping[str, int | None] = field(default_factory=dict)
    without: Sequence[str] = ()
    groups: Sequence[Mapping[str, Any]] | None = None


async def add_promotion(
    connection: AsyncConnection, *, code: str, names: Mapping[str, str], sponsor_id: int, actor: int, at: datetime
) -> None:
    """Add a promotion, which rules will belong to; sponsor_id is a partner's number, 0 the operator's.

    Rejects NOT_PERMITTED, PROMOTION_INVALID, PROMOTION_EXISTS.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    if found := documents.promotion_problems(code, names):
        raise PromotionInvalid("this is no promotion", problems=found)
    added = await store.insert_promotion(
        connection, code=code, names=names, sponsor_id=sponsor_id, author_id=actor, at=at
    )
    if added is None:
        raise PromotionExists(f"there is a promotion {code} already")
    await _note(connection, "PROMOTION_ADDED", f"promotion:{code}", actor, at, {"sponsor": sponsor_id})


async def draft(connection: AsyncConnection, *, source: Mapping[str, Any], author: int, at: datetime) -> RuleDocument:
    """Append a version of a rule from its document; the version in it is the next one, whatever the source says.

    A document that says what the latest version says is that version, and nothing is written. Rejects NOT_PERMITTED,
    RULE_INVALID, PROMOTION_UNKNOWN.
    """
    await actors.require_role(connection, author, actors.PROMOTION_MAKER)
    document = read_rule(source)
    promotion_id = await store.promotion_id(connection, document.promotion)
    if promotion_id is None:
        raise PromotionUnknown(f"there is no promotion {document.promotion}")
    await store.hold_releases(connection)
    rule = await store.ensure_rule(connection, document.code, promotion_id)
    if rule["promotion_id"] != promotion_id:
        raise PromotionUnknown(f"rule {document.code} belongs to another promotion")
    earlier = await store.rule_versions(connection, [document.code])
    if earlier:
        latest = documents.read(orjson.loads(earlier[-1]["document"]))
        if latest == document.model_copy(update={"version": latest.version}):
            return latest
    document = document.model_copy(update={"version": rule["version"] + 1})
    await store.insert_rule_version(
        connection, rule_id=rule["rule_id"], version=document.version, document=canonical(document.source).decode(),
        sha256=document.doc_sha256, valid_from=document.valid_from, author_id=author, at=at,
    )  # fmt: skip
    subject = f"rule:{document.code} version {document.version}"
    await _note(connection, "RULE_DRAFTED", subject, author, at, {"sha256": document.doc_sha256})
    return document


async def submit(
    connection: AsyncConnection,
    change: Change,
    *,
    effective_from: datetime,
    maker: int,
    at: datetime,
    launch: Launch | None = None,
) -> int:
    """Submit a release for somebody else to approve; returns its number. It decides nothing yet.

    launch is examined now, and what stands against it is what the checker has to answer for. Rejects NOT_PERMITTED,
    RELEASE_INVALID.
    """
    await actors.require_role(connection, maker, actors.PROMOTION_MAKER)
    await store.hold_releases(connection)
    parent = await latest(connection)
    release = await compose(connection, parent, change, effective_from=effective_from)
    subject = f"release of {len(release.rules)} rules on {parent.release_id}"
    detail = _detail(release, change) | _gate(launch, max(at, effective_from))
    approval_id = await approvals.propose(connection, kind=KIND, subject=subject, detail=detail, maker=maker, at=at)
    release_id = await _insert(connection, release, parent, author=maker, at=at, approval_id=approval_id)
    await _note(connection, "RELEASE_SUBMITTED", f"release:{release_id}", maker, at, detail)
    return release_id


async def approve(
    connection: AsyncConnection, release_id: int, *, checker: int, at: datetime, in_spite: bool = False
) -> None:
    """Publish a submitted release: it decides from its effective_from on, and every process is told.

    in_spite: also where its launch was examined and did not pass; the trail says so. Rejects RELEASE_UNKNOWN,
    NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED, RELEASE_OUTDATED, RELEASE_RETROACTIVE, LAUNCH_REFUSED.
    """
    await store.hold_releases(connection)
    row = await _examined(connection, release_id, checker)
    parent = await latest(connection)
    if (row["parent_id"] or 0) != parent.release_id:
        raise ReleaseOutdated(
            f"it was made on release {row['parent_id'] or 0}, and {parent.release_id} is the last now"
        )
    await _require_budgets(connection, row)
    if row["effective_from"] < at:
        raise ReleaseRetroactive(f"it would begin at {row['effective_from']:%Y-%m-%d %H:%M:%S} UTC, which is past")
    against = (await approvals.read(connection, row["approval_id"])).detail.get("against", [])
    if against and not in_spite:
        problems = [FieldProblem(tuple(path), code, message) for path, code, message in against]
        raise LaunchRefused("the release does not pass the gate before its launch", problems=problems)
    await _decide(connection, row, "RELEASE_PUBLISHED", checker, at, in_spite=bool(against))
    await partner_store.bump_revision(connection)


async def decline(connection: AsyncConnection, release_id: int, *, checker: int, at: datetime) -> None:
    """Refuse a submitted release; it will never decide anything.

    Rejects RELEASE_UNKNOWN, NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED.
    """
    row = await _examined(connection, release_id, checker)
    await _decide(connection, row, "RELEASE_DECLINED", checker, at)


async def suspend(connection: AsyncConnection, rules: Sequence[str], *, actor: int, at: datetime) -> list[int]:
    """Take rules out of force at once, and out of every release that is to begin later; returns the new releases.

    It takes one person, because nothing is given by it. What occurred before it was decided with them stays so, and
    what occurred before and is reported later is decided with them, too. Rejects NOT_PERMITTED, RELEASE_INVALID where
    none of them is in force or to come.
    """
    _, roles = await actors.standing(connection, actor)
    if actors.PROMOTION_CHECKER not in roles:
        await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    await store.hold_releases(connection)
    known = await binding(connection)
    now = releases.pinned(known, occurred_at=at, received_at=at)
    affected = [one for one in _to_come(known, at) if {rule.code for rule in one.rules} & set(rules)]
    if {rule.code for rule in now.rules} & set(rules):
        affected.insert(0, now)
    if not affected:
        raise ReleaseInvalid("none of these rules is in force or about to be")
    made = []
    for one in affected:
        left = releases.suspended(one, rules, release_id=0, at=max(at, one.effective_from), author="")
        made.append(await _insert(connection, left, one, author=actor, at=at, approval_id=None))
    detail = {"rules": sorted(rules), "releases": made}
    await _note(connection, "RULES_SUSPENDED", f"release:{made[0]}", actor, at, detail)
    await partner_store.bump_revision(connection)
    return made


async def suspend_promotion(
    connection: AsyncConnection, promotion: str, *, rules: Sequence[str] | None, actor: int, at: datetime
) -> list[int]:
    """The same of a promotion's rules, all of them where none are named.

    Rejects PROMOTION_UNKNOWN, also where a rule is another promotion's, and what `suspend` rejects.
    """
    if await store.promotion_id(connection, promotion) is None:
        raise PromotionUnknown(f"there is no promotion {promotion}")
    own = {rule.code for release in await binding(connection) for rule in release.rules if rule.promotion == promotion}
    if lost := set(rules or ()) - own:
        raise PromotionUnknown(f"{', '.join(sorted(lost))}: no published rule of promotion {promotion}")
    return await suspend(connection, sorted(own if rules is None else rules), actor=actor, at=at)


async def hold(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, what the latest release is."""
    await store.hold_releases(connection)


async def binding(connection: AsyncConnection) -> list[Release]:
    """Every release that was published, and every suspension, in order."""
    return [release_of(row) for row in await store.binding(connection)]


async def register(connection: AsyncConnection) -> list[Entry]:
    """Every release, submitted, published, declined or made by a suspension, the latest first."""
    return [_entry(row) for row in await store.register(connection)]


async def versions(connection: AsyncConnection, code: str) -> list[RuleDocument]:
    """Every version of a rule that was drafted, in order. Rejects RULE_UNKNOWN."""
    rows = await store.rule_versions(connection, [code])
    if not rows:
        raise RuleUnknown(f"no rule {code} was drafted")
    return [documents.read(orjson.loads(row["document"])) for row in rows]


async def latest(connection: AsyncConnection) -> Release:
    """The release that will be in force in the end, now or to come: what the next one is made on."""
    found = await binding(connection)
    return max(found, key=lambda one: (one.effective_from, one.published_at, one.release_id), default=EMPTY)


async def read(connection: AsyncConnection, release_id: int) -> Release:
    """A release, whatever its state; EMPTY for 0. Rejects RELEASE_UNKNOWN."""
    if release_id == 0:
        return EMPTY
    row = await store.release(connection, release_id)
    if row is None:
        raise ReleaseUnknown(f"there is no release {release_id}")
    return Release.from_manifest(
        release_id, orjson.loads(row["manifest"]), effective_from=row["effective_from"], published_at=row["at"],
        author="", approver="",
    )  # fmt: skip


async def compose(connection: AsyncConnection, parent: Release, change: Change, *, effective_from: datetime) -> Release:
    """The release that a change makes of another, under number 0; what is simulated before it is submitted.

    Rejects RELEASE_INVALID.
    """
    found: list[FieldProblem] = []
    if effective_from < parent.effective_from:
        begins = f"{parent.effective_from:%Y-%m-%d %H:%M:%S} UTC"
        found.append(
            FieldProblem(("effective_from",), "BEFORE_PARENT", f"release {parent.release_id} begins at {begins}")
        )
    rules = {rule.code: rule for rule in parent.rules}
    found += [
        FieldProblem(("without", code), "UNKNOWN", "not in the release") for code in change.without if code not in rules
    ]
    rules = {code: rule for code, rule in rules.items() if code not in change.without}
    wanted, lost = await _versions(connection, change.rules)
    rules |= wanted
    found += lost
    groups, broken = _groups(parent, change.groups)
    found += broken
    known, parties, missing = await _named(connection, rules.values(), effective_from)
    found += missing
    release = Release(
        0, tuple(rules[code] for code in sorted(rules)), groups, known, parties, effective_from, effective_from
    )
    if not found:
        found += checking.problems(release, await _agreements(connection))
    if found:
        raise ReleaseInvalid("these rules cannot be released together", problems=found)
    return release


def read_rule(source: Mapping[str, Any]) -> RuleDocument:
    """The rule of a document. Rejects RULE_INVALID, which tells where it is wrong, of a condition the column."""
    if found := documents.problems(source):
        raise RuleInvalid("this is no rule", problems=found)
    return documents.read(source)


def release_of(row: RowMapping | Mapping[str, Any]) -> Release:
    """The release of a row of `store.binding`."""
    return Release.from_manifest(
        row["release_id"], orjson.loads(row["manifest"]), effective_from=row["effective_from"],
        published_at=row["published_at"], author=row["author"], approver=row["approver"],
    )  # fmt: skip


async def _versions(
    connection: AsyncConnection, wanted: Mapping[str, int | None]
) -> tuple[dict[str, RuleDocument], list[FieldProblem]]:
    rows = await store.rule_versions(connection, list(wanted))
    drafted: dict[str, dict[int, RowMapping]] = {}
    for row in rows:
        drafted.setdefault(row["code"], {})[row["version"]] = row
    rules: dict[str, RuleDocument] = {}
    problems: list[FieldProblem] = []
    for code, version in wanted.items():
        versions = drafted.get(code, {})
        chosen = versions.get(max(versions, default=0) if version is None else version)
        if chosen is None:
            problems.append(FieldProblem(("rules", code), "UNKNOWN", "no such version was drafted"))
        else:
            rules[code] = documents.read(orjson.loads(chosen["document"]))
    return rules, problems


def _entry(row: RowMapping) -> Entry:
    state = "SUSPENSION"
    if row["kind"] == "PUBLICATION":
        state = {None: "SUBMITTED", True: "PUBLISHED", False: "DECLINED"}[row["approved"]]
    against = tuple(message for _, _, message in (row["detail"] or {}).get("against", ()))
    return Entry(row["release_id"], state, row["effective_from"], row["rules"], row["author"], row["approver"], against)


def _groups(
    parent: Release, sources: Sequence[Mapping[str, Any]] | None
) -> tuple[tuple[GroupDocument, ...], list[FieldProblem]]:
    if sources is None:
        return parent.groups, []
    try:
        return tuple(documents.read_as(GroupDocument, source) for source in sources), []
    except ValidationError as error:
        return (), [replace(one, path=("groups", *one.path)) for one in field_problems(error)]


async def _named(
    connection: AsyncConnection, rules: Any, effective_from: datetime
) -> tuple[tuple[documents.BudgetDocument, ...], dict[str, int], list[FieldProblem]]:
    """The budgets that rules count against and the partners that fund them, by what the database knows of them."""
    problems: list[FieldProblem] = []
    caps: dict[str, str] = {}
    payers: dict[str, str] = {}
    for rule in rules:
        caps |= dict.fromkeys(rule.caps, rule.code)
        named = {share.party for share in rule.funding} - {documents.HERE, documents.OPERATOR_PARTY}
        payers |= dict.fromkeys(named, rule.code)
    held = {row["code"]: budgets.budget_of(row).document for row in await store.budgets(connection, sorted(caps))}
    for code in sorted(caps.keys() - held.keys()):
        problems.append(FieldProblem(("rules", caps[code], "caps"), "UNKNOWN", f"there is no budget {code}"))
    parties = {}
    signed = await partner_store.signed_terms(connection)
    for code in sorted(payers):
        partner_id = await partner_store.partner_id_by_code(connection, code)
        path = ("rules", payers[code], "funding")
        if partner_id is None:
            problems.append(FieldProblem(path, "UNKNOWN", f"there is no partner {code}"))
        elif not any(terms.partner_id == partner_id and terms.valid_from <= effective_from for terms in signed):
            problems.append(FieldProblem(path, "NO_AGREEMENT", f"{code} has signed no agreement to pay under by then"))
        else:
            parties[code] = partner_id
    problems += await _missing(connection, rules)
    problems += await _untakeable(connection, rules)
    return tuple(held[code] for code in sorted(held)), parties, problems


async def _missing(connection: AsyncConnection, rules: Iterable[RuleDocument]) -> list[FieldProblem]:
    """What rules lean on and nobody has made: with a slip of the pen they would give nothing, without a word."""
    named = [(rule.code, *one) for rule in rules for one in checking.leant_on(rule)]
    lost = await store.unknown_names(connection, sorted({(kind, name) for _, _, kind, name in named}))
    return [
        FieldProblem(("rules", code, *path.split(".")), "UNKNOWN", f"{_KINDS[kind]} {name}")
        for code, path, kind, name in named
        if (kind, name) in lost
    ]


async def _untakeable(connection: AsyncConnection, rules: Iterable[RuleDocument]) -> list[FieldProblem]:
    """Rules that use up so many coupons as no purchase takes of their batch: every till would hear a no."""
    using = {rule.code: rule.codes for rule in rules if rule.codes is not None and rule.codes.uses_up}
    taken = await store.coupons_taken(connection, sorted({codes.required for codes in using.values()}))
    found = []
    for code, codes in using.items():
        needed, most = taken.get(codes.required, (1, codes.quantity))
        if codes.quantity % needed or codes.quantity > most:
            message = f"expected a multiple of {needed}, at most {most}: so many of batch {codes.required} are taken"
            found.append(FieldProblem(("rules", code, "codes", "quantity"), "QUANTITY", message))
    return found


_KINDS = {
    "PARTNER": "there is no partner", "OUTLET": "there is no outlet (partner:outlet)",
    "EVENT": "nobody declared an event", "BATCH": "there are no coupons", "STAMPS": "there are no stamps",
    "RAFFLE": "there is no raffle",
}  # fmt: skip


async def _agreements(connection: AsyncConnection) -> list[BaseTerms]:
    """What every partner has signed last, as decisions see it."""
    rules = await programme.read(connection)
    signed = await partner_store.signed_terms(connection)
    last = {terms.partner_id: terms for terms in sorted(signed, key=lambda terms: (terms.valid_from, terms.version))}
    return [BaseTerms.signed(terms, rules) for _, terms in sorted(last.items())]


def _to_come(known: Sequence[Release], at: datetime) -> list[Release]:
    """Releases that will be the one in force some time after an instant, in order."""
    begins = sorted({one.effective_from for one in known if one.effective_from > at})
    return [releases.pinned(known, occurred_at=begin, received_at=max(begin, at)) for begin in begins]


async def _insert(
    connection: AsyncConnection,
    release: Release,
    parent: Release,
    *,
    author: int,
    at: datetime,
    approval_id: int | None,
) -> int:
    manifest = release.manifest
    release_id = await store.insert_release(
        connection, parent_id=parent.release_id or None, kind="PUBLICATION" if approval_id else "SUSPENSION",
        manifest=canonical(manifest).decode(), sha256=digest(manifest), effective_from=release.effective_from,
        author_id=author, at=at, approval_id=approval_id,
    )  # fmt: skip
    await store.insert_release_rules(connection, release_id, {rule.code: rule.version for rule in release.rules})
    return release_id


async def _examined(connection: AsyncConnection, release_id: int, checker: int) -> RowMapping:
    row = await store.release(connection, release_id)
    if row is None or row["approval_id"] is None:
        raise ReleaseUnknown(f"there is no release {release_id} to be decided")
    await approvals.examine(connection, row["approval_id"], checker=checker, role=actors.PROMOTION_CHECKER)
    return row


async def _require_budgets(connection: AsyncConnection, row: RowMapping) -> None:
    """Nothing where no budget of a release lets more be used than when it was examined. Rejects RELEASE_OUTDATED.

    Its launch was judged under the limits of then. Whoever raises one holds the releases, as the caller does.
    """
    judged = {one["code"]: one["limit"] for one in orjson.loads(row["manifest"])["budgets"]}
    found = await store.budgets(connection, list(judged))
    raised = [one["code"] for one in found if one["ceiling"] > judged[one["code"]]]
    if raised:
        raise ReleaseOutdated(f"{', '.join(raised)} was raised since it was submitted")


async def _decide(
    connection: AsyncConnection, row: RowMapping, action: str, checker: int, at: datetime, *, in_spite: bool = False
) -> None:
    await approvals.decide(
        connection, row["approval_id"], checker=checker, role=actors.PROMOTION_CHECKER,
        approved=action == "RELEASE_PUBLISHED", at=at,
    )  # fmt: skip
    detail = {"sha256": row["sha256"], "parent": row["parent_id"]} | ({"in_spite": True} if in_spite else {})
    await _note(connection, action, f"release:{row['release_id']}", checker, at, detail)


def _gate(launch: Launch | None, at: datetime) -> dict[str, Any]:
    """What the examination of a launch found, for the checker."""
    if launch is None:
        return {}
    verdict = launching.examine(launch.objective, launch.expected, on=at.date())
    aim = launch.objective
    return {
        "objective": aim and {"metric": aim.metric, "target": aim.target, "due": aim.due.isoformat()},
        "gain_minor": verdict.gain_minor,
        "cost_minor": verdict.cost_minor,
        "break_even_sales_minor": verdict.break_even_sales_minor,
        "obligation_after_minor": verdict.obligation_after_minor,
        "cover_minor": launch.expected.cover_minor,
        "against": [[list(one.path), one.code, one.message] for one in verdict.problems],
    }


def _detail(release: Release, change: Change) -> dict[str, Any]:
    chosen = {rule.code: rule.version for rule in release.rules if rule.code in change.rules}
    return {
        "rules": chosen, "without": sorted(change.without), "sha256": release.content_sha256,
        "effective_from": release.effective_from.isoformat(),
    }  # fmt: skip


async def _note(
    connection: AsyncConnection, action: str, subject: str, actor: int, at: datetime, detail: Mapping[str, Any]
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)
