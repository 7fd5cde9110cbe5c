"""PURE: the chart of accounts, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

ASSET, LIABILITY, REVENUE, EXPENSE, CLEARING = "ASSET", "LIABILITY", "REVENUE", "EXPENSE", "CLEARING"

BANK = "1100"
SETTLEMENT_BANK = "1110"
TRUST = "1120"
DEPOSITS_CASH = "1130"
POSITION = "1200"
DISPUTED = "1250"
MEMBER_CLAIM = "1260"
INPUT_TAX = "1300"
IN_TRANSIT = "1410"
FX_CLEARING = "1900"
OBLIGATION = "2100"
BREAKAGE_ALLOWANCE = "2105"
SERVICE_DEFERRED = "2110"
STORED_MONEY = "2120"
DEPOSITS = "2300"
HOLDBACK = "2310"
SUBSCRIPTION_DEFERRED = "2400"
BENEFIT_POOL = "2410"
OUTPUT_TAX = "2500"
SUSPENSE = "2600"
OPENING = "3100"
FEES = "4100"
REDEMPTION_REVENUE = "4110"
SPREAD = "4120"
MINIMUM_FEES = "4130"
PRICE_DIFFERENCES = "4190"
BREAKAGE = "4200"
BREAKAGE_ESTIMATED = "4200E"
SUBSCRIPTIONS = "4300"
INTEREST = "4400"
DIFFERENCES = "4900"
REDEMPTION_COST = "5100"
PROMOTIONS = "5200"
BENEFITS = "5300"
CHARGING = "5310"
DEFAULT_LOSSES = "5400"
BANK_CHARGES = "5500"


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the operator's books: its number, what people call it, its type.

    by_party says that it is kept per partner (or funder), by_cohort per version of terms that lots were issued under.
    is_estimate sets apart what is expected from what happened: no account holds both.
    """

    code: str
    name: str
    type: str
    by_party: bool = False
    by_cohort: bool = False
    is_estimate: bool = False


_CHART = (
    Account(BANK, "Bank, operating", ASSET),
    Account(SETTLEMENT_BANK, "Bank, settlement", ASSET),
    Account(TRUST, "Restricted cash, redemption trust", ASSET),
    Account(DEPOSITS_CASH, "Restricted cash, partners' deposits", ASSET),
    Account(POSITION, "Partner's clearing position", ASSET, by_party=True),
    Account(DISPUTED, "Disputed, withheld", ASSET, by_party=True),
    Account(MEMBER_CLAIM, "Claims on members for returned points", ASSET, by_party=True, by_cohort=True),
    Account(INPUT_TAX, "Input tax", ASSET),
    Account(IN_TRANSIT, "Payments in transit", LIABILITY),
    Account(FX_CLEARING, "Foreign exchange clearing", CLEARING),
    Account(OBLIGATION, "Redemption obligation at face", LIABILITY, by_party=True, by_cohort=True),
    Account(BREAKAGE_ALLOWANCE, "Breakage expected, contra to the obligation", LIABILITY, by_party=True,
            by_cohort=True, is_estimate=True),
    Account(SERVICE_DEFERRED, "Deferred service element", LIABILITY, by_party=True, by_cohort=True),
    Account(STORED_MONEY, "Stored money", LIABILITY, by_party=True),
    Account(DEPOSITS, "Partner's prefunding and collateral", LIABILITY, by_party=True),
    Account(HOLDBACK, "Holdback", LIABILITY, by_party=True),
    Account(SUBSCRIPTION_DEFERRED, "Deferred subscription revenue", LIABILITY),
    Account(BENEFIT_POOL, "Benefit pool accrued", LIABILITY),
    Account(OUTPUT_TAX, "Output tax", LIABILITY),
    Account(SUSPENSE, "Receipts that nobody claimed yet", LIABILITY),
    Account(OPENING, "Opening balances", CLEARING),
    Account(FEES, "Service and platform fees", REVENUE),
    Account(REDEMPTION_REVENUE, "Redemption revenue, gross presentation", REVENUE),
    Account(SPREAD, "Redemption spread", REVENUE),
    Account(MINIMUM_FEES, "Minimum-fee top-ups", REVENUE),
    Account(PRICE_DIFFERENCES, "Dispute and price adjustments", REVENUE),
    Account(BREAKAGE, "Breakage of expired points", REVENUE, by_party=True, by_cohort=True),
    Account(BREAKAGE_ESTIMATED, "Breakage expected, no income before expiry", REVENUE, by_party=True, by_cohort=True,
            is_estimate=True),
    Account(SUBSCRIPTIONS, "Subscription revenue", REVENUE),
    Account(INTEREST, "Interest on float", REVENUE),
    Account(DIFFERENCES, "Rounding and exchange differences", REVENUE),
    Account(REDEMPTION_COST, "Cost of redemption, gross presentation", EXPENSE),
    Account(PROMOTIONS, "Promotions the operator pays", EXPENSE),
    Account(BENEFITS, "Cost of benefits", EXPENSE),
    Account(CHARGING, "Cost of charging members", EXPENSE),
    Account(DEFAULT_LOSSES, "Losses from partners' default", EXPENSE),
    Account(BANK_CHARGES, "Bank charges", EXPENSE),
)  # fmt: skip

CHART: Mapping[str, Account] = MappingProxyType({account.code: account for account in _CHART})
