"""The product's own application: the published schema, the desk that purchases go through, the landing page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from gateway import app, landing
from gateway.context import Services
from gateway.schema import schema
from kit.settings import Settings
from partners.purchases import Desk


def of(settings: Settings, database_url: str) -> Starlette:
    """The application over the database at an address. Raises BadIssuer, BadKey."""
    return app.build(
        settings,
        schema,
        database_url=database_url,
        opening=_desk,
        pages=[Route("/", landing.page, methods=["GET"])],
    )


@asynccontextmanager
async def _desk(services: Services) -> AsyncIterator[Desk]:
    desk = Desk(services.database, services.vault, services.directory)
    try:
        yield desk
    finally:
        await desk.close()
