"""PURE: what a client may be allowed to do. A scope is granted to a client, asked for with a token, and demanded by
every root field of the schema; whoever is signed in has theirs from who they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

POINTS_ACCRUE = "points:accrue"
POINTS_REDEEM = "points:redeem"
POINTS_RETURN = "points:return"
MEMBERS_READ = "members:read"
MEMBERS_ENROL = "members:enrol"
EVENTS_WRITE = "events:write"
EVENTS_MODERATE = "events:moderate"
HISTORY_READ = "history:read"
SETTLEMENT_READ = "settlement:read"
RULES_READ = "rules:read"
SETTLEMENT_FILES = "settlement:files"
SCHEMA_READ = "schema:read"

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        POINTS_ACCRUE: "record purchases that earn points",
        POINTS_REDEEM: "let members spend points",
        POINTS_RETURN: "take purchases back and cancel them",
        MEMBERS_READ: "look up members and quote purchases",
        MEMBERS_ENROL: "enrol members",
        EVENTS_WRITE: "tell of events that earn points",
        EVENTS_MODERATE: "decide on events that somebody has to look at",
        HISTORY_READ: "read own transactions",
        SETTLEMENT_READ: "read own settlement statements",
        RULES_READ: "read promotions that concern the partner",
        SETTLEMENT_FILES: "send files of own receipts, and read what became of them",
        SCHEMA_READ: "ask the GraphQL endpoint for its schema",
    }
)

MEMBER_SELF = "member:self"
COLLEAGUES_MANAGE = "colleagues:manage"
CLIENTS_MANAGE = "clients:manage"
WEBHOOKS_MANAGE = "webhooks:manage"
OUTLETS_MANAGE = "outlets:manage"
RULES_EDIT = "rules:edit"
RULES_APPROVE = "rules:approve"
CLUBS_INVITE = "clubs:invite"
STATEMENTS_ACCEPT = "statements:accept"
DISPUTES_WRITE = "disputes:write"
SETTLEMENT_MAKE = "settlement:make"
SETTLEMENT_DECIDE = "settlement:decide"
AGREEMENTS_MAKE = "agreements:make"
AGREEMENTS_DECIDE = "agreements:decide"
CLOCK_ADVANCE = "clock:advance"
PARTNERS_READ = "partners:read"
PARTNERS_MANAGE = "partners:manage"
PEOPLE_SEARCH = "people:search"
TRAIL_READ = "trail:read"

OF_SESSIONS: Mapping[str, str] = MappingProxyType(
    {
        MEMBER_SELF: "read and decide on one's own membership",
        COLLEAGUES_MANAGE: "let colleagues at the partner sign in",
        CLIENTS_MANAGE: "add, change and end the partner's clients, and read what they asked",
        WEBHOOKS_MANAGE: "say where the partner's systems are told of what happened, and send it again",
        OUTLETS_MANAGE: "add the partner's outlets and tills, and close tills",
        RULES_EDIT: "draft rules, simulate and submit releases, take rules out of force",
        RULES_APPROVE: "publish or decline releases of others and raises of budgets, take rules out of force",
        CLUBS_INVITE: "let members into closed clubs",
        STATEMENTS_ACCEPT: "accept settlement statements for the partner",
        DISPUTES_WRITE: "answer members' claims and dispute statements' lines for the partner",
        SETTLEMENT_MAKE: "make settlement runs and propose what finance decides",
        SETTLEMENT_DECIDE: "approve or decline what another of finance made",
        AGREEMENTS_MAKE: "propose versions of agreements",
        AGREEMENTS_DECIDE: "approve or decline versions that another proposed",
        CLOCK_ADVANCE: "let a sandbox's clock go on",
        PARTNERS_READ: "see every partner with its outlets and tills",
        PARTNERS_MANAGE: "suspend partners and let them take part again",
        PEOPLE_SEARCH: "find members, receipts and requests across the programme, for a purpose",
        TRAIL_READ: "read the audit trail",
    }
)
"""What only somebody brings who is signed in at a browser; no client can be granted it, so no token carries it. What
takes two people takes people: a program is nobody's second pair of eyes."""

TILL = (POINTS_ACCRUE, POINTS_REDEEM, POINTS_RETURN, MEMBERS_READ, MEMBERS_ENROL, HISTORY_READ)
"""What a till needs."""
