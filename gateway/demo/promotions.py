"""The demonstration's promotions: the coupon campaigns of the data's own year as rules, and ten of the partners'.

A campaign of the data has days and coupons for products. Here it is a bonus at the partner most of its products belong
to, on the product categories it had most of. They are drafted by one person and published by another.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.demo.data import Campaign, Receipt
from kit.amounts import decimal_from_minor, minor_from_decimal
from partners.mechanics import grants
from partners.promotions import drafts, publishing
from partners.promotions.drafts import Draft

CURRENCY = "USD"
STAMPS = "coffee"
WEEKEND_PARTNER, WEEKEND_RULE, WEEKEND_BP = "bakery", "bakery-weekend", 1_000
_WEEKEND = (6, 7)
_FIRST = "2017-01-01T00:00:00Z"
# By the kind of a campaign of the data: what it adds to every dollar of the lines it is about, and who pays.
_BY_KIND = {
    "Type A": (500, (("HERE", 5_000), ("OPERATOR", 5_000))),
    "Type B": (300, (("HERE", 10_000),)),
    "Type C": (200, (("HERE", 10_000),)),
}


def draft(campaigns: Sequence[Campaign]) -> Draft:
    """What is published before the first receipt."""
    rules = [*_own(), *(_of_campaign(campaign) for campaign in campaigns)]
    for priority, rule in enumerate(rules):
        rule["stack"] = {"priority": priority}
    promotions = [{"code": code, "names": _texts(*names)} for code, names in _NAMES.items()]
    return Draft(rules=rules, promotions=promotions, budgets=_BUDGETS)


async def install(
    connection: AsyncConnection, campaigns: Sequence[Campaign], *, maker: int, checker: int, at: datetime
) -> int:
    """Draft, submit and publish all of them; returns the release's number."""
    await grants.define_stamps(connection, STAMPS, "ten are a coffee", actor=maker, at=at)
    change = await drafts.keep(connection, draft(campaigns), author=maker, at=at)
    release_id = await publishing.submit(connection, change, effective_from=at, maker=maker, at=at)
    await publishing.approve(connection, release_id, checker=checker, at=at)
    return release_id


def as_sold(receipt: Receipt) -> Receipt:
    """The receipt as the till printed it: at the bakery's weekend a tenth off every line, in the programme's name."""
    if receipt.partner != WEEKEND_PARTNER or receipt.day.isoweekday() not in _WEEKEND:
        return receipt
    content = orjson.loads(receipt.json)
    total_minor = sum(_take_off(line) for line in content["lines"])
    content["total"] = _written(total_minor)
    return receipt._replace(json=orjson.dumps(content).decode(), total_minor=total_minor)


def _take_off(line: dict[str, Any]) -> int:
    """Take the weekend's discount off a line; answers what is left of it, in minor units."""
    before = minor_from_decimal(Decimal(line["amount"]), CURRENCY)
    off = before * WEEKEND_BP // 10_000
    if off:
        ours = {"source": "PROGRAMME", "promotion": WEEKEND_RULE, "amount": _written(off)}
        line["listAmount"] = line.get("listAmount") or line["amount"]
        line["discounts"] = [*(line.get("discounts") or ()), ours]
        line["amount"] = _written(before - off)
    return before - off


def _written(amount_minor: int) -> str:
    return f"{decimal_from_minor(amount_minor, CURRENCY):f}"


def _texts(english: str, russian: str, romanian: str) -> dict[str, str]:
    return {"en": english, "ru": russian, "ro": romanian}


def _rule(
    code: str,
    title: tuple[str, str, str],
    partner: str,
    effect: dict[str, Any],
    funding: Sequence[tuple[str, int]] = (("HERE", 10_000),),
    **given: Any,
) -> dict[str, Any]:
    kinds = {"discount": "discount", "grant": "grant", "points": "earn"}
    rule = {
        "code": code, "promotion": "partners", "kind": kinds[effect["type"].partition("_")[0]], "effect": effect,
        "title": _texts(*title), "where": {"partners": [partner]}, "valid_from": _FIRST, **given,
    }  # fmt: skip
    if funding:
        rule["funding"] = [{"party": party, "bp": bp} for party, bp in funding]
    return rule


def _own() -> list[dict[str, Any]]:
    rate, fixed, times = "points_per_money", "points_fixed", "points_multiplier"
    return [
        _rule(
            "fish-friday",
            ("Double points on fish on Fridays", "По пятницам двойные баллы за рыбу", "Vinerea, puncte duble la pește"),
            "fish",
            {"type": times, "factor_bp": 20_000},
            when={"weekdays": [5]},
        ),
        _rule(
            "beef",
            ("Three per cent more on beef", "Ещё три процента за говядину", "Încă trei la sută la carnea de vită"),
            "butcher",
            {"type": rate, "rate_bp": 300},
            what={"categories": ["BEEF"]},
        ),
        _rule(
            "big-basket",
            (
                "200 points for a basket of 100 dollars, half of them by the fuel stations",
                "200 баллов за корзину от 100 долларов, половину дают заправки",
                "200 de puncte la un coș de 100 de dolari, jumătate din partea benzinăriilor",
            ),
            "supermarket",
            {"type": fixed, "points": 200},
            [("HERE", 5_000), ("fuel", 5_000)],
            what={"min_basket_minor": 10_000},
            caps=["big-basket"],
        ),
        _rule(
            "welcome-flowers",
            (
                "300 points for the first flowers, by the programme",
                "300 баллов за первые цветы, от программы",
                "300 de puncte la primele flori, din partea programului",
            ),
            "flowers-garden",
            {"type": fixed, "points": 300},
            [("OPERATOR", 10_000)],
            who={"counters": [{"counter": "partner.ever.count", "max": 0}]},
            caps=["welcome-flowers"],
        ),
        _rule(
            "healthy-twenty",
            (
                "150 points for 20 dollars of health food",
                "150 баллов за здоровое питание на 20 долларов",
                "150 de puncte la alimente sănătoase de 20 de dolari",
            ),
            "health-food",
            {"type": fixed, "points": 150},
            what={"min_amount_minor": 2_000},
        ),
        _rule(
            "coffee-stamp",
            (
                "A stamp with everything from the deli",
                "Штамп за любую покупку в деликатесах",
                "O ștampilă la orice din delicatese",
            ),
            "deli-cafe",
            {"type": "grant_stamp", "unit": STAMPS, "expiry": {"days": 90}},
            (),
        ),
        _rule(
            WEEKEND_RULE,
            (
                "A tenth off at the weekend, most of it by the deli",
                "Скидка в десятую часть по выходным, в основном от деликатесов",
                "O zecime mai puțin la sfârșit de săptămână, mai mult din partea delicateselor",
            ),
            WEEKEND_PARTNER,
            {"type": "discount_percent", "rate_bp": WEEKEND_BP},
            [("deli-cafe", 6_000), ("HERE", 4_000)],
            when={"weekdays": list(_WEEKEND)},
        ),
        _rule(
            "wine-evening",
            (
                "Five per cent more on wine from five to eight",
                "Ещё пять процентов за вино с пяти до восьми вечера",
                "Încă cinci la sută la vin, de la cinci la opt seara",
            ),
            "wine-spirits",
            {"type": rate, "rate_bp": 500},
            when={"hours": {"start": 17, "end": 20}},
        ),
        _rule(
            "beauty-month",
            (
                "Triple points on beauty, as long as the month's budget lasts",
                "Тройные баллы за косметику, пока хватает бюджета месяца",
                "Puncte triple la cosmetice, cât ține bugetul lunii",
            ),
            "beauty",
            {"type": times, "factor_bp": 30_000},
            caps=["beauty-month"],
        ),
        _rule(
            "baby",
            (
                "Two per cent more on baby food, half of it by the fresh market",
                "Ещё два процента за детское питание, половину даёт рынок",
                "Încă doi la sută la hrana pentru bebeluși, jumătate din partea pieței",
            ),
            "pharmacy",
            {"type": rate, "rate_bp": 200},
            [("HERE", 5_000), ("fresh-market", 5_000)],
            what={"categories": ["BABY FOODS"]},
        ),
    ]


_NAMES = {
    "partners": ("Partners' offers", "Акции партнёров", "Ofertele partenerilor"),
    "coupons-2017": ("Coupon campaigns of 2017", "Купонные кампании 2017 года", "Campaniile cu cupoane din 2017"),
}
_BUDGETS = (
    {"code": "big-basket", "unit": "points", "limit": 200_000, "on_exceed": "partial", "sponsor": "supermarket"},
    {"code": "welcome-flowers", "unit": "count", "limit": 1, "scopes": ["member"]},
    {"code": "beauty-month", "unit": "points", "limit": 10_000, "period": "month", "on_exceed": "partial",
     "sponsor": "beauty"},
    {"code": "coupons-2017", "unit": "points", "limit": 1_000_000, "on_exceed": "partial"},
)  # fmt: skip


def _of_campaign(campaign: Campaign) -> dict[str, Any]:
    rate_bp, funding = _BY_KIND[campaign.kind]
    number, more = campaign.number, rate_bp // 100
    title = (
        f"Campaign {number}: {more}% more on chosen products",
        f"Кампания {number}: ещё {more}% за избранные товары",
        f"Campania {number}: încă {more}% la produse alese",
    )
    return _rule(
        f"campaign-{campaign.number}", title, campaign.partner, {"type": "points_per_money", "rate_bp": rate_bp},
        funding, promotion="coupons-2017", what={"categories": list(campaign.categories)}, caps=["coupons-2017"],
        valid_from=f"{datetime.combine(campaign.since, time()).isoformat()}Z",
        valid_until=f"{datetime.combine(campaign.until + timedelta(days=1), time()).isoformat()}Z",
    )  # fmt: skip
