"""The product's own application: the published schema, the desk that purchases go through, the landing page, the
explorer of a sandbox."""

from __future__ import annotations

from starlette.applications import Starlette

from gateway import (
    app,
    explorer_pages,
    invoice_pages,
    landing,
    lanes,
    payment_events,
    reconciliation_pages,
    report_pages,
)
from gateway.pages import files, member, till
from gateway.schema import schema
from gateway.sessions import approver, asking, mailbox, pages
from kit.secrets import Vault
from kit.settings import Settings


def of(settings: Settings, database_url: str, *, vault: Vault | None = None) -> Starlette:
    """The application over the database at an address, its vault by default the settings'. Raises BadIssuer, BadKey,
    BadSmtpUrl."""
    return app.build(
        settings,
        schema,
        database_url=database_url,
        vault=vault,
        opening=lanes.opened,
        signed_in=approver.signed_in,
        pages=[
            *landing.ROUTES,
            *explorer_pages.ROUTES,
            *pages.ROUTES,
            *asking.ROUTES,
            *mailbox.ROUTES,
            *files.ROUTES,
            *member.ROUTES,
            *till.ROUTES,
            *report_pages.ROUTES,
            *invoice_pages.ROUTES,
            *reconciliation_pages.ROUTES,
            *payment_events.ROUTES,
        ],
    )
