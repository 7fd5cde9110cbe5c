"""What marketers are told of a promotion while it runs: whom it meets, how its budgets burn, how it reads."""

from __future__ import annotations

from gateway import masking
from gateway.sessions import colleagues
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.builders import DAY, NOON, a_receipt
from tests.gateway import desk as desks
from tests.gateway.conversing import script_of
from tests.gateway.test_session_matrix import colleague
from tests.partners.mechanics import fair as fairs
from tests.partners.promotions.market import bonus

OUTLOOK = """query($code: String!) { promotionOutlook(code: $code) {
  overlaps { rule other how } previews { language name titles }
  budgets { budget period shareBp runsOutAt since limit { points } used { points } perDay { points } } } }"""


async def test_a_budget_burns_down_with_what_is_sold_and_every_language_is_shown(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> None:
    async with (
        fairs.opened(database, vault) as fair,
        desks.opened(fair.coalition, server.url(database_name, APPLICATION_ROLE)) as desk,
    ):
        await fair.market.budget("cake", limit=1_000)
        await fair.market.budget("each", limit=1_000, scopes=["member"])
        begins = (NOON - 3 * DAY).isoformat()
        title = {"en": "Cake", "ru": "Торт", "ro": "Tort"}
        await fair.market.publish(bonus("cake", 100, caps=["cake", "each"], title=title, valid_from=begins))
        card = await fair.coalition.add_member()
        for number in range(3):
            await fair.market.buy(card, a_receipt(10_000, reference=f"B-{number}"))
        for name, role in (("max", actors.PROMOTION_MAKER), ("olga", actors.OPERATOR_ADMIN)):
            await desk.invite(name, f"{name}@example.org", [role])
        await colleague(desk, "bakery", "Pam", "pam@bakery.example", colleagues.MANAGER)
        maker = await script_of(await desk.signed_in("max@example.org", "/staff"), "/staff")
        found = await maker.ask(OUTLOOK, code="test")
        cake, each = found["budgets"]
        assert (cake["used"], cake["limit"], cake["shareBp"]) == ({"points": "300"}, {"points": "1000"}, 3_000)
        assert cake["perDay"] == {"points": "100"}
        assert cake["runsOutAt"][:10] == (NOON + 7 * DAY).date().isoformat()
        assert (each["budget"], each["perDay"], each["shareBp"]) == ("each", None, 3_000)  # a member's own
        assert [one["titles"] for one in found["previews"]] == [["Cake"], ["Торт"], ["Tort"]]
        assert found["overlaps"] == []  # one promotion's rules are written together
        assert await maker.ask(OUTLOOK, code="nothing") is None
        for address, prefix in (("olga@example.org", "/staff"), ("pam@bakery.example", "/portal")):
            other = await script_of(await desk.signed_in(address, prefix), prefix)
            assert (await other.error(OUTLOOK, code="test"))["code"] == masking.FORBIDDEN
