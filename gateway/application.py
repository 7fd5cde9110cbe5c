"""The product's own application: the published schema, the desk that purchases go through, the landing page, the
explorer of a sandbox."""

from __future__ import annotations

from starlette.applications import Starlette

from gateway import app, explorer_pages, landing, lanes
from gateway.finance import reconciliation_pages, report_pages
from gateway.pages import console, files, member, operator, operator_rules, portal, problems, till
from gateway.schema import schema
from gateway.sessions import approver, asking, mailbox, pages
from gateway.subscription import invoice_pages, payment_events
from gateway.wallet import offer
from kit.secrets import Vault
from kit.settings import Settings


def of(settings: Settings, database_url: str, *, vault: Vault | None = None) -> Starlette:
    """The application over the database at an address, its vault by default the settings'. Raises BadIssuer, BadKey,
    BadSmtpUrl, BadSigner of a wallet's."""
    offer.wallets(settings)
    return app.build(
        settings,
        schema,
        database_url=database_url,
        vault=vault,
        opening=lanes.opened,
        signed_in=approver.signed_in,
        problem=problems.page,
        pages=[
            *landing.ROUTES,
            *explorer_pages.ROUTES,
            *pages.ROUTES,
            *asking.ROUTES,
            *mailbox.ROUTES,
            *files.ROUTES,
            *member.ROUTES,
            *portal.ROUTES,
            *till.ROUTES,
            *console.ROUTES,
            *operator.ROUTES,
            *operator_rules.ROUTES,
            *report_pages.ROUTES,
            *invoice_pages.ROUTES,
            *reconciliation_pages.ROUTES,
            *payment_events.ROUTES,
        ],
    )
