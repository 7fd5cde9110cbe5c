"""The demonstration's promotions: rules with nothing wrong, and a till that gives the discount that the rules give."""

from __future__ import annotations

from datetime import date

import orjson

from gateway.demo import promotions
from gateway.demo.data import Campaign, Receipt
from partners.promotions import drafts

CAMPAIGNS = [
    Campaign(number, kind, date(2017, 3, 3), date(2017, 4, 9), "supermarket", ("CHEESE",))
    for number, kind in enumerate(("Type A", "Type B", "Type C"), start=1)
]


def sold(partner: str, day: date) -> Receipt:
    lines = [{"lineId": "1", "amount": "1.85"}, {"lineId": "2", "amount": "0.05"}]
    return Receipt(day, partner, 1, 1, "r", 190, orjson.dumps({"total": "1.90", "lines": lines}).decode())


def test_there_is_nothing_wrong_with_any_rule_and_a_campaign_lasts_to_the_end_of_its_last_day() -> None:
    draft = promotions.draft(CAMPAIGNS)
    assert drafts.problems(draft) == []
    assert len(draft.rules) == 13
    assert len({rule["stack"]["priority"] for rule in draft.rules}) == 13
    said = [*(rule["title"] for rule in draft.rules), *(each["names"] for each in draft.promotions)]
    assert all(len(set(texts.values())) == 3 for texts in said)  # nothing is left in English
    assert draft.rules[-1]["valid_until"] == "2017-04-10T00:00:00Z"


def test_the_bakery_takes_a_tenth_off_at_the_weekend_and_nobody_else_does() -> None:
    found = promotions.as_sold(sold("bakery", date(2017, 1, 7)))
    content = orjson.loads(found.json)
    assert (found.total_minor, content["total"]) == (172, "1.72")
    assert content["lines"][0] == {
        "lineId": "1", "amount": "1.67", "listAmount": "1.85",
        "discounts": [{"source": "PROGRAMME", "promotion": "bakery-weekend", "amount": "0.18"}],
    }  # fmt: skip
    assert content["lines"][1] == {"lineId": "2", "amount": "0.05"}
    for other in (sold("bakery", date(2017, 1, 9)), sold("fish", date(2017, 1, 7))):
        assert promotions.as_sold(other) is other
