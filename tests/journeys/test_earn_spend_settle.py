"""One story over HTTP: a member earns at one partner, spends at another, returns something, and finance settles it."""

from __future__ import annotations

from decimal import Decimal

from gateway import scopes
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards, proofs
from settlement import archive, controls, runs
from tests.builders import DAY, NOON, found, violations
from tests.gateway import stand
from tests.gateway.test_purchase_api import ACCRUE_MANY, QUOTE, RECORD, RETURN

STATEMENTS = """{ settlementStatements(first: 5) { nodes { id partnerName netDue { amount } direction
  lines(first: 20) { nodes { kind points unitPrice amountExact amount { amount } } } } } }"""


async def test_a_member_earns_here_spends_there_returns_a_line_and_everybody_is_settled(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> None:
    coalition = await found(database, vault)
    await coalition.add_partner("grocer")
    await coalition.add_partner("bakery")
    card = await coalition.add_member()
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as gateway:
        grocer = await gateway.till("grocer", wanted=(*scopes.TILL, scopes.SETTLEMENT_READ))
        bakery = await gateway.till("bakery", wanted=(*scopes.TILL, scopes.SETTLEMENT_READ))
        staff = await gateway.till(None, wanted=(scopes.SETTLEMENT_READ,))
        member = {"cardNumber": card.number}

        earned = await grocer.ask(
            ACCRUE_MANY,
            input={"idempotencyKey": stand.key(), "items": [{"member": member, "receipt": stand.receipt("200.00")}]},
        )
        assert earned["results"][0]["transaction"]["points"] == "200"

        await gateway.at(NOON + 20 * DAY)
        now = {"occurredAt": (NOON + 20 * DAY).isoformat(), "businessDate": (NOON + 20 * DAY).date().isoformat()}
        lines = [{"lineId": "cake", "amount": "3.00"}, {"lineId": "bread", "amount": "1.00"}]
        receipt = stand.receipt("4.00", lines=lines) | now
        quote = await bakery.ask(QUOTE, input={"member": member, "receipt": receipt})
        assert (quote["maxRedeem"]["points"], quote["points"]) == ("200", "4")
        code = proofs.code_for(card.secret, cards.ref(vault, card.card_id), proofs.step_at(NOON + 20 * DAY))
        bought = await bakery.ask(
            RECORD,
            input={
                "idempotencyKey": stand.key(), "member": member, "receipt": receipt, "quoteId": quote["quoteId"],
                "redeem": {"points": quote["maxRedeem"]["points"], "proof": {"cardCode": code}},
            },
        )  # fmt: skip
        assert (bought["transaction"]["redeemed"], bought["transaction"]["awarded"]) == ("200", "2")
        returned = await bakery.ask(
            RETURN,
            input={
                "idempotencyKey": stand.key(), "original": {"id": bought["transaction"]["id"]}, "reference": "BACK",
                "outlet": "1", "terminal": "1", "what": {"lines": [{"lineId": "bread"}]}, **now,
            },
        )  # fmt: skip
        assert returned["transaction"]["refundedPoints"] == "50"
        assert returned["figures"]["refundMoney"]["amount"] == "0.50"

        async with database.transaction() as connection:
            await actors.ensure_actor(connection, "finance", [actors.FINANCE_MAKER])
        await runs.close_cutoff(database, actor="finance", at=NOON + 21 * DAY)
        async with database.transaction() as connection:
            await runs.settle(connection, actor="finance", at=NOON + 21 * DAY)

        # 200 points at 0.0100; 150 of them redeemed at 0.0080.
        (of_grocer,) = (await grocer.ask(STATEMENTS))["nodes"]
        (of_bakery,) = (await bakery.ask(STATEMENTS))["nodes"]
        assert (of_grocer["netDue"]["amount"], of_grocer["direction"]) == ("-2.00", "PAY_IN")
        assert (of_bakery["netDue"]["amount"], of_bakery["direction"]) == ("1.20", "PAY_OUT")
        assert await bakery.ask("query($id: ID!) { node(id: $id) { id } }", id=of_grocer["id"]) is None
        everybody = (await staff.ask(STATEMENTS))["nodes"]
        assert sum(Decimal(one["netDue"]["amount"]) for one in everybody) == 0
        for one in everybody:
            assert sum(Decimal(line["amount"]["amount"]) for line in one["lines"]["nodes"]) == Decimal(
                one["netDue"]["amount"]
            )

    async with database.reading() as connection:
        assert await controls.run(connection) == []
        assert await archive.check(connection) == []
    assert await violations(database.pool) == []
    await coalition.desk.close()
