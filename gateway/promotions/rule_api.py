"""Promotions by GraphQL: marketers draft rules, simulate and submit releases, somebody else publishes, partners read
what concerns them. Whoever writes is signed in: what takes two people takes people.
"""

from dataclasses import dataclass
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, masking, person_calls, purchase_api, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context, Services
from gateway.inputs import REPLAYED, described
from gateway.promotions.marketers import MARKETERS, marketer_of, party
from gateway.promotions.rule_inputs import (
    AddPromotionInput,
    DecisionRefInput,
    DeclineReleaseInput,
    DraftRuleInput,
    PublishReleaseInput,
    SimulateReleaseInput,
    SubmitReleaseInput,
    SuspendPromotionInput,
    parsed,
)
from gateway.promotions.rule_types import (
    Explanation,
    Promotion,
    PromotionRule,
    Release,
    RuleProblem,
    Shown,
    Simulation,
    drafted_rule,
    promotion_of_partner,
    promotion_of_staff,
    release_of,
    rule_found,
    rule_problem,
    simulation_of,
)
from gateway.purchase_api import Counter
from gateway.rejections import Rejection
from gateway.types import money, reasons
from kit.amounts import Points
from partners.callers import Caller
from partners.decisions import decisions, rules
from partners.desk import Desk
from partners.promotions import catalogue, concerns, documents, explanations, publishing, simulations
from partners.promotions.catalogue import ReleaseEntry
from partners.promotions.launching import Expectation
from partners.promotions.publishing import Launch, PromotionUnknown, ReleaseUnknown, RuleInvalid
from partners.promotions.simulations import Kept, SimulationUnknown
from partners.receipts.records import PURCHASE, StoredReceipt

_NO_CLIENT = 0
_NOTHING = Expectation(0, 0, 0, 0, 0, 0)  # where nobody said what a launch is for, nothing is expected of it


@strawberry.type(description="A promotion that is there.")
class AddPromotionSuccess:
    promotion: Promotion = described("The promotion, with its rules.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A version of a rule. It decides nothing before a release holds it.")
class DraftRuleSuccess:
    rule: PromotionRule = described("The version; of a document that says what the last one says, that one.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A simulation that a worker runs next.")
class SimulateReleaseSuccess:
    simulation: Simulation = described("The simulation; `simulation` tells how far it is.")
    replayed: bool = described("True when an earlier call asked for it; nothing was written now.")


@strawberry.type(description="A release that waits for somebody else.")
class SubmitReleaseSuccess:
    release: Release = described("The release, with what stands against it.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A release that decides from its instant on.")
class PublishReleaseSuccess:
    release: Release = described("The release.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="A release that will never decide.")
class DeclineReleaseSuccess:
    release: Release = described("The release.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="Rules that are out of force.")
class SuspendPromotionSuccess:
    release: Release = described("The release without them that is in force now, or the next one to come without them.")
    replayed: bool = described(REPLAYED)


AddPromotionResult = Annotated[
    AddPromotionSuccess | Rejection, strawberry.union("AddPromotionResult", description="Done, or the reason.")
]
DraftRuleResult = Annotated[
    DraftRuleSuccess | Rejection, strawberry.union("DraftRuleResult", description="The version, or what is wrong.")
]
SimulateReleaseResult = Annotated[
    SimulateReleaseSuccess | Rejection,
    strawberry.union("SimulateReleaseResult", description="The simulation, or the reason."),
]
SubmitReleaseResult = Annotated[
    SubmitReleaseSuccess | Rejection, strawberry.union("SubmitReleaseResult", description="The release, or the reason.")
]
PublishReleaseResult = Annotated[
    PublishReleaseSuccess | Rejection,
    strawberry.union("PublishReleaseResult", description="The release, or the reason."),
]
DeclineReleaseResult = Annotated[
    DeclineReleaseSuccess | Rejection,
    strawberry.union("DeclineReleaseResult", description="The release, or the reason."),
]
SuspendPromotionResult = Annotated[
    SuspendPromotionSuccess | Rejection,
    strawberry.union("SuspendPromotionResult", description="The release, or the reason."),
]


@strawberry.type
class RuleQuery:
    @access.query(
        scopes=(scopes.RULES_READ,),
        size=access.paged(),
        description="Promotions, the latest first: to the operator's people all with what was drafted, to a partner "
        "those that concern it with what was published.",
    )
    async def promotions(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[Promotion]:
        cursors = Cursors(info.context.services.vault, "promotion")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        shown = await _shown(info)
        own = _published(shown)
        async with info.context.services.database.reading() as connection:
            found = await catalogue.promotions(
                connection, before=before, limit=wanted, codes=None if own is None else own.keys(),
                sponsor_id=info.context.viewer.partner_id,
            )  # fmt: skip
            nodes = {one.promotion_id: one for one in await _promotions(connection, shown, own, found[:first])}
        return connections.page(
            found,
            first,
            after=after,
            cursor=lambda row: cursors.write(row.promotion_id),
            node=lambda row: nodes[row.promotion_id].promotion,
        )

    @access.query(
        scopes=(scopes.RULES_READ,),
        description="A promotion by its code. Null where there is none, or it does not concern the partner that asks.",
    )
    async def promotion(self, info: Info[Context, None], code: str) -> Promotion | None:
        shown = await _shown(info)
        own = _published(shown)
        async with info.context.services.database.reading() as connection:
            found = await catalogue.promotion(connection, code)
            if found is None:
                return None
            if own is not None and code not in own and found.sponsor_id != info.context.viewer.partner_id:
                return None
            return (await _promotions(connection, shown, own, [found]))[0].promotion

    @access.query(
        scopes=MARKETERS,
        size=access.paged(),
        description="Releases, the latest first, whatever became of them.",
    )
    async def releases(self, info: Info[Context, None], first: First = 20, after: After = None) -> Connection[Release]:
        cursors = Cursors(info.context.services.vault, "release")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        shown = await marketer_of(info, await info.context.now()).shown()
        async with info.context.services.database.reading() as connection:
            found = await catalogue.releases(connection, before=before, limit=wanted)
        return connections.page(
            found,
            first,
            after=after,
            cursor=lambda row: cursors.write(row.release_id),
            node=lambda row: release_of(shown, row),
        )

    @access.query(scopes=MARKETERS, description="A release by its number. Null where there is none.")
    async def release(self, info: Info[Context, None], number: int) -> Release | None:
        shown = await marketer_of(info, await info.context.now()).shown()
        async with info.context.services.database.reading() as connection:
            found = await catalogue.release(connection, number)
        return None if found is None else release_of(shown, found)

    @access.query(
        scopes=MARKETERS,
        cost=10,
        description="What is wrong with a rule's document: where, at which column, and what was expected. Empty where "
        "it can be drafted. What needs the other rules of a release, `simulateRelease` finds.",
    )
    async def check_rule(self, info: Info[Context, None], document: str) -> list[RuleProblem]:
        try:
            found = documents.problems(parsed(document))
        except RuleInvalid as no:
            found = list(no.problems)
        return [rule_problem(one) for one in found]

    @access.query(scopes=MARKETERS, description="A simulation and how far it is. Null where there is none.")
    async def simulation(self, info: Info[Context, None], number: int) -> Simulation | None:
        shown = await marketer_of(info, await info.context.now()).shown()
        async with info.context.services.database.reading() as connection:
            found = await simulations.find(connection, number)
        return None if found is None else simulation_of(shown, found)

    @access.query(
        scopes=MARKETERS,
        cost=20,
        description="Why a purchase got what it got and why not more, decided once more on what was stored: the hash "
        "of what comes out is the stored one. Null where there is no such purchase.",
    )
    async def explanation(self, info: Info[Context, None], of: DecisionRefInput) -> Explanation | None:
        marketer = marketer_of(info, await info.context.now())
        desk: Desk = info.context.services.lanes
        # What decided may be of a release that another process published a moment ago.
        shown = Shown(await desk.directory.refresh(), marketer.language, None, marketer.at)
        partner = shown.directory.partner_by_code(of.partner)
        if partner is None:
            return None
        counter = Counter(desk, shown.directory, partner, Caller(partner.partner_id, _NO_CLIENT))
        receipt = await purchase_api.find_transaction(counter, of.transaction)
        if receipt is None or receipt.kind != PURCHASE:
            return None
        return _explanation(shown, receipt)


@strawberry.type
class RuleMutation:
    @access.mutation(
        scopes=(scopes.RULES_EDIT,), moves_points=False, description="Adds a promotion, which rules will belong to."
    )
    async def add_promotion(self, info: Info[Context, None], input: AddPromotionInput) -> AddPromotionResult:
        async def add(connection: AsyncConnection) -> None:
            await publishing.add_promotion(
                connection, code=input.code, names=input.names.texts(),
                sponsor_id=await party(connection, input.sponsor), actor=marketer.person.number, at=marketer.at,
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        content = (input.code, input.sponsor or "", *input.names.texts().values())
        replayed = await marketer.once("addPromotion", input.idempotency_key, add, *content)
        async with marketer.services.database.reading() as connection:
            found = await catalogue.promotion(connection, input.code)
            if found is None:
                raise PromotionUnknown(f"there is no promotion {input.code}")
            shown = await _promotions(connection, await marketer.shown(), None, [found])
        return AddPromotionSuccess(promotion=shown[0].promotion, replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Appends a version of a rule. What is wrong with a document is said by path, column and what was "
        "expected.",
    )
    async def draft_rule(self, info: Info[Context, None], input: DraftRuleInput) -> DraftRuleResult:
        async def draft(connection: AsyncConnection) -> int:
            drafted = await publishing.draft(
                connection, source=source, author=marketer.person.number, at=marketer.at
            )  # fmt: skip
            return drafted.version

        marketer = marketer_of(info, await info.context.now())
        source = parsed(input.document)
        version, replayed = await marketer.numbered("draftRule", input.idempotency_key, draft, input.document)
        async with marketer.services.database.reading() as connection:
            found = await catalogue.version(connection, source["code"], version)
        rule = drafted_rule(await marketer.shown(), found)
        return DraftRuleSuccess(rule=rule, replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Asks for a draft of a release to be rehearsed on the purchases of past days, as if its rules had "
        "been in force all the time. A worker does it; `simulation` tells how far it is.",
    )
    async def simulate_release(self, info: Info[Context, None], input: SimulateReleaseInput) -> SimulateReleaseResult:
        async def order(connection: AsyncConnection) -> int:
            return await simulations.order(
                connection, input.change.change(), days=input.days, author=marketer.person.number, at=marketer.at
            )

        marketer = marketer_of(info, await info.context.now())
        content = (input.change.content(), str(input.days))
        number, replayed = await marketer.numbered("simulateRelease", input.idempotency_key, order, *content)
        async with marketer.services.database.reading() as connection:
            found = _simulation(await simulations.find(connection, number))
        return SimulateReleaseSuccess(simulation=simulation_of(await marketer.shown(), found), replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_EDIT,),
        moves_points=False,
        description="Submits a release for somebody else to publish. The gate before its launch says now what stands "
        "against it: an expected gain that is not above the cost of its simulation, obligations beyond cover, no "
        "objective.",
    )
    async def submit_release(self, info: Info[Context, None], input: SubmitReleaseInput) -> SubmitReleaseResult:
        async def submit(connection: AsyncConnection) -> int:
            change = input.change.change()
            if input.launch is not None:
                return await simulations.submit(
                    connection, change, effective_from=input.effective_from, maker=marketer.person.number,
                    at=marketer.at, simulation_id=input.launch.simulation,
                    aim=input.launch.aim(shown.directory.programme),
                )  # fmt: skip
            launch = Launch(None, _NOTHING) if change.rules or change.groups is not None else None
            return await publishing.submit(
                connection, change, effective_from=input.effective_from, maker=marketer.person.number,
                at=marketer.at, launch=launch,
            )  # fmt: skip

        marketer = marketer_of(info, await info.context.now())
        shown = await marketer.shown()
        launch = "" if input.launch is None else input.launch.content()
        content = (input.change.content(), input.effective_from.isoformat(), launch)
        number, replayed = await marketer.numbered("submitRelease", input.idempotency_key, submit, *content)
        release = release_of(shown, await _release(marketer.services, number))
        return SubmitReleaseSuccess(release=release, replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_APPROVE,),
        moves_points=False,
        description="Publishes what somebody else submitted; in spite of its gate where that is said. Takes a proof of "
        "a moment ago.",
    )
    async def publish_release(self, info: Info[Context, None], input: PublishReleaseInput) -> PublishReleaseResult:
        async def publish(connection: AsyncConnection) -> None:
            person_calls.require_fresh(marketer.person)
            await publishing.approve(
                connection, input.release, checker=marketer.person.number, at=marketer.at, in_spite=input.in_spite
            )

        marketer = marketer_of(info, await info.context.now())
        content = (str(input.release), str(input.in_spite))
        replayed = await marketer.once("publishRelease", input.idempotency_key, publish, *content)
        shown = await marketer.shown(afresh=not replayed)
        release = release_of(shown, await _release(marketer.services, input.release))
        return PublishReleaseSuccess(release=release, replayed=replayed)

    @access.mutation(
        scopes=(scopes.RULES_APPROVE,),
        moves_points=False,
        description="Refuses what somebody else submitted; it will never decide anything.",
    )
    async def decline_release(self, info: Info[Context, None], input: DeclineReleaseInput) -> DeclineReleaseResult:
        async def decline(connection: AsyncConnection) -> None:
            await publishing.decline(connection, input.release, checker=marketer.person.number, at=marketer.at)

        marketer = marketer_of(info, await info.context.now())
        replayed = await marketer.once("declineRelease", input.idempotency_key, decline, str(input.release))
        release = release_of(await marketer.shown(), await _release(marketer.services, input.release))
        return DeclineReleaseSuccess(release=release, replayed=replayed)

    @access.mutation(
        scopes=MARKETERS,
        moves_points=False,
        description="Takes rules of a promotion out of force at once, and out of every release to come. One person "
        "may: nothing is given by it. To put them back, submit a release with them, which takes two.",
    )
    async def suspend_promotion(
        self, info: Info[Context, None], input: SuspendPromotionInput
    ) -> SuspendPromotionResult:
        async def suspend(connection: AsyncConnection) -> int:
            made = await publishing.suspend_promotion(
                connection, input.promotion, rules=input.rules, actor=marketer.person.number, at=marketer.at
            )
            return made[0]

        marketer = marketer_of(info, await info.context.now())
        content = (input.promotion, "*" if input.rules is None else ",".join(sorted(input.rules)))
        number, replayed = await marketer.numbered("suspendPromotion", input.idempotency_key, suspend, *content)
        shown = await marketer.shown(afresh=not replayed)
        release = release_of(shown, await _release(marketer.services, number))
        return SuspendPromotionSuccess(release=release, replayed=replayed)


@dataclass(frozen=True, slots=True)
class _Node:
    promotion_id: int
    promotion: Promotion


async def _shown(info: Info[Context, None]) -> Shown:
    """How promotions are shown to whoever asks: a partner sees its own world, the operator's people all."""
    viewer, services = info.context.viewer, info.context.services
    directory, at = await services.directory.get(), await info.context.now()
    if viewer.partner_id is None:
        return Shown(directory, info.context.language, None, at)
    partner = directory.partner(viewer.partner_id)
    if partner is None:
        raise masking.coded(masking.FORBIDDEN, "This partner takes no part.")
    return Shown(directory, info.context.language, partner.code, at)


def _published(shown: Shown) -> dict[str, list[concerns.Published]] | None:
    """What a partner may know of, by promotion; None for the operator's people, who may know of everything."""
    if shown.partner_code is None:
        return None
    return dict(concerns.published(shown.directory.shelf, shown.partner_code, at=shown.at))


async def _promotions(
    connection: AsyncConnection,
    shown: Shown,
    own: dict[str, list[concerns.Published]] | None,
    found: list[catalogue.Promotion],
) -> list[_Node]:
    if own is not None:
        return [_Node(one.promotion_id, promotion_of_partner(shown, one, own.get(one.code, []))) for one in found]
    drafted = await catalogue.drafted(connection, [one.promotion_id for one in found])
    return [_Node(one.promotion_id, promotion_of_staff(shown, one, drafted.get(one.promotion_id, []))) for one in found]


async def _release(services: Services, number: int) -> ReleaseEntry:
    async with services.database.reading() as connection:
        found = await catalogue.release(connection, number)
    if found is None:
        raise ReleaseUnknown(f"there is no release {number}")
    return found


def _simulation(found: Kept | None) -> Kept:
    if found is None:
        raise SimulationUnknown("there is no such simulation")
    return found


def _explanation(shown: Shown, receipt: StoredReceipt) -> Explanation:
    release_id = receipt.decision.get("release", 0)
    titles = rules.titles(release_id, shown.directory.shelf, shown.language)
    told = reasons(receipt.decision["reasons"], receipt.currency, shown.language, titles)
    points = Points(receipt.awarded_points)
    if not decisions.was_by_rules(receipt):
        return Explanation(
            release=None, stored_hash=None, replayed_hash=None, is_same=True, points=points,
            discount=money(0, receipt.currency), reasons=told, rules=[],
        )  # fmt: skip
    again = decisions.recalled(receipt, shown.directory.around(receipt))
    basis, stored = again.basis, receipt.decision["outcome_sha256"]
    found = explanations.explain(basis.release, again.basket, basis.context, basis.counters)
    return Explanation(
        release=release_id, stored_hash=stored, replayed_hash=again.outcome.outcome_sha256,
        is_same=stored == again.outcome.outcome_sha256, points=points,
        discount=money(again.outcome.discount_minor, receipt.currency), reasons=told,
        rules=[rule_found(shown, one) for one in found.rules],
    )  # fmt: skip
