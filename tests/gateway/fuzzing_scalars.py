"""What schemathesis puts where the schema has a scalar of its own. Loaded by it through SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import schemathesis
from graphql import StringValueNode
from hypothesis import strategies as st

_TEXTS = {
    "Points": st.integers(-(2**63), 2**63).map(str),
    "Decimal": st.from_regex(r"-?[0-9]{1,16}(\.[0-9]{1,10})?", fullmatch=True),
    "DateTime": st.datetimes().map(lambda instant: instant.isoformat() + "Z"),
    "Date": st.dates().map(str),
    "Scope": st.from_regex(r"[a-z]{1,8}:[a-z]{1,8}", fullmatch=True),
    "CurrencyCode": st.sampled_from(["EUR", "USD", "JPY", "XXX"]),
    "LineKind": st.sampled_from(["GOODS", "SERVICE", "TIP", "NOTHING"]),
    "PaymentKind": st.sampled_from(["CASH", "CARD", "SHELLS"]),
    "EntryMode": st.sampled_from(["ONLINE", "OFFLINE", "IMPORT", "PIGEON"]),
    "OfferKind": st.sampled_from(["PROMOTION", "COUPON"]),
    "TransactionKind": st.sampled_from(["PURCHASE", "RETURN"]),
    "EntryKind": st.just("ACCRUAL"),
    "WebhookEventType": st.sampled_from(["purchase.recorded", "hold.lapsed", "no.such"]),
    "RejectionCode": st.just("INSUFFICIENT_POINTS"),
}

for _name, _strategy in _TEXTS.items():
    schemathesis.graphql.scalar(_name, _strategy.map(lambda text: StringValueNode(value=text)))
