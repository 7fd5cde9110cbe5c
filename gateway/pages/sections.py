"""PURE: the sections of the staff's console, and whose roles open each. What a page shows, the API decides again."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.pages.catalogues import marked as _
from kit import actors

HOME = "/console"

FINANCE = frozenset({actors.FINANCE_MAKER, actors.FINANCE_CHECKER})
AGREEMENTS = frozenset({actors.AGREEMENT_MAKER, actors.AGREEMENT_CHECKER})


@dataclass(frozen=True, slots=True)
class Place:
    """A page that is reached from its section's own row: its name and path."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the top row: its name, what it is for, the roles of which one opens it, and its pages, of which the
    first is where the section leads. Pages below one of these paths belong to it."""

    name: str
    about: str
    roles: frozenset[str]
    places: tuple[Place, ...]

    @property
    def path(self) -> str:
        """Where the section leads."""
        return self.places[0].path


OF_FINANCE = (
    Section(
        _("Settlement"),
        _("Runs from their draft to their approval, and the statements that say who owes whom."),
        FINANCE,
        (
            Place(_("Runs"), "/console/runs"),
            Place(_("Statements"), "/console/statements"),
            Place(_("Windows"), "/console/windows"),
            Place(_("Cut-offs"), "/console/cutoffs"),
            Place(_("Proposals"), "/console/proposals"),
            Place(_("Holidays"), "/console/holidays"),
            Place(_("Tax rules"), "/console/taxes"),
        ),
    ),
    Section(
        _("Books"),
        _("What points are out there, what they will cost, and what is expected never to be spent."),
        FINANCE,
        (
            Place(_("Roll-forwards"), "/console/rolls"),
            Place(_("Liability and breakage"), "/console/liability"),
            Place(_("Cover of partners"), "/console/cover"),
            Place(_("Default, exit, buy-out"), "/console/leaving"),
        ),
    ),
    Section(
        _("Reconciliation"),
        _("Where a partner says something else than we do, and how that ends."),
        FINANCE,
        (
            Place(_("Breaks"), "/console/breaks"),
            Place(_("Disputes"), "/console/disputes"),
            Place(_("Files of partners"), "/console/files"),
        ),
    ),
    Section(
        _("Bank"),
        _("Who pays when, what the bank was told and what it says, and what nobody knows the purpose of."),
        FINANCE,
        (
            Place(_("Payments"), "/console/payments"),
            Place(_("Files for the bank"), "/console/payment-files"),
            Place(_("Statements of the bank"), "/console/bank"),
            Place(_("Suspense"), "/console/suspense"),
            Place(_("Bank accounts"), "/console/accounts"),
        ),
    ),
    Section(
        _("Agreements"),
        _("What partners and the operator signed, version by version."),
        FINANCE | AGREEMENTS,
        (Place(_("Agreements"), "/console/agreements"),),
    ),
    Section(
        _("Subscription"),
        _("Fees of subscribers: who pays, who owes, what goes back, and how they reach the partners."),
        FINANCE,
        (
            Place(_("Shares"), "/console/subscription"),
            Place(_("Invoices"), "/console/invoices"),
            Place(_("Arrears"), "/console/arrears"),
            Place(_("What goes back"), "/console/returns"),
            Place(_("Recognition"), "/console/recognition"),
        ),
    ),
    Section(
        _("Reports"),
        _("Every report as a page's numbers, a workbook, a document or a table."),
        FINANCE,
        (
            Place(_("Reports"), "/console/reports"),
            Place(_("Questions"), "/console/questions"),
            Place(_("What if"), "/console/what-if"),
        ),
    ),
    Section(
        _("Trouble"),
        _("What does not balance, and what is late."),
        FINANCE,
        (Place(_("Trouble"), "/console/trouble"),),
    ),
)

_CARE = frozenset({actors.MEMBER_CARE_MAKER, actors.MEMBER_CARE_CHECKER})
OF_OPERATOR: tuple[Section, ...] = (
    Section(
        _("Promotions"),
        _("Offers and their rules: written, rehearsed on past purchases, and published by a second person."),
        frozenset({actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER}),
        (
            Place(_("Offers"), "/console/promotions"),
            Place(_("Write a rule"), "/console/rules"),
            Place(_("Releases"), "/console/releases"),
            Place(_("Budgets"), "/console/budgets"),
        ),
    ),
    Section(
        _("Partners"),
        _("Who takes part, with which outlets and tills."),
        frozenset({actors.ONBOARDING, actors.OPERATOR_ADMIN}),
        (Place(_("Partners"), "/console/partners"),),
    ),
    Section(
        _("Search"),
        _("Members, receipts, partners and requests, for a purpose that is kept."),
        _CARE | {actors.OPERATOR_ADMIN},
        (Place(_("Search"), "/console/search"),),
    ),
    Section(
        _("Audit trail"),
        _("Who did what to what, and when."),
        frozenset({actors.OPERATOR_ADMIN}),
        (Place(_("Audit trail"), "/console/trail"),),
    ),
)
"""Sections of those who run the programme: they stand behind finance's."""


def open_to(roles: frozenset[str]) -> list[Section]:
    """The sections that one of these roles opens, in the order of the top row."""
    return [each for each in (*OF_FINANCE, *OF_OPERATOR) if each.roles & roles]


def section_of(path: str) -> Section | None:
    """The section that a page belongs to; None for the console's first page."""
    return next((each for each in (*OF_FINANCE, *OF_OPERATOR) if any(is_at(path, p) for p in each.places)), None)


def is_at(path: str, place: Place) -> bool:
    """Whether a page is this one or below it."""
    return path == place.path or path.startswith(place.path + "/")
