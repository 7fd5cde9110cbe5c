"""A program's call at one of our OAuth endpoints: who asks is known before anything else, every answer is no-store, and
the log says what was given and refused. What changes a grant is in the audit trail too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from gateway.oauth import dpop, forms
from gateway.oauth.authentication import TokenClient, named
from gateway.oauth.desk import OAuth
from gateway.oauth.dpop import InvalidProof, NonceWanted
from gateway.oauth.forms import Asked, Events, Form
from gateway.oauth.server import Server, Standing
from kit import audit
from kit.database import Database

log = structlog.get_logger("gateway.oauth")


class UseDPoPNonce(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """The proof has to carry the nonce that comes with this answer (RFC 9449, 8)."""

    error = "use_dpop_nonce"
    description = "Make the DPoP proof with the nonce of this answer."

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self._nonce = nonce

    def get_headers(self) -> list[tuple[str, str]]:
        """With the nonce."""
        return [*super().get_headers(), ("DPoP-Nonce", self._nonce)]


class InvalidDPoPProof(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """The proof of a key is missing or not accepted (RFC 9449)."""

    error = "invalid_dpop_proof"
    description = "The DPoP proof is missing or not accepted."


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose client is known: its form, the key whose proof it brought, and the moment."""

    oauth: OAuth
    request: Request
    form: Form
    client: TokenClient
    jkt: str | None
    standing: Standing

    def server(self, connection: Connection | None) -> Server:
        """The library's server for it."""
        return Server(connection, self.standing, self.client, jkt=self.jkt)

    def asked(self) -> Asked:
        """The request as the library wants to see it."""
        return Asked(self.oauth.issuer + self.request.url.path, self.form.values)


Answering = Callable[[Call], Awaitable[Response]]


async def answered(request: Request, what: str, answering: Answering) -> Response:
    """What a call is answered, or refused; what names it in the log."""
    authorization = request.headers.get("authorization")
    form = None
    try:
        form = await forms.form_of(request)
        response = await answering(await _call(request, authorization, form))
    except OAuth2Error as error:
        response = forms.refusal(error)
    if response.status_code >= 400:
        error_code = orjson.loads(response.body)["error"]
        client_id = named(authorization, form)
        log.warning(f"{what}_refused", client_id=client_id, status=response.status_code, error=error_code)
    return response


async def _call(request: Request, authorization: str | None, form: Form) -> Call:
    """Who asks. Raises invalid_request, invalid_client, invalid_target, invalid_dpop_proof."""
    oauth: OAuth = request.app.state.oauth
    if len(request.headers.getlist("authorization")) > 1:
        raise InvalidRequestError("A client authenticates in one way.")
    standing = await oauth.standing()
    client = await oauth.authentication.client(authorization, form, standing.partner_is_active)
    forms.check_resources(form, oauth.resource)
    proofs = request.headers.getlist("dpop")
    jkt = await _proven(oauth, request, proofs, standing.at) if proofs else None
    return Call(oauth, request, form, client, jkt, standing)


async def _proven(oauth: OAuth, request: Request, proofs: list[str], at: datetime) -> str:
    """The thumbprint of the key whose proof a request brings. Raises invalid_dpop_proof, use_dpop_nonce."""
    try:
        uri = oauth.issuer + request.url.path
        proof = dpop.read(proofs, method=request.method, uri=uri, at=at, nonces=oauth.nonces)
    except NonceWanted as wanted:
        raise UseDPoPNonce(wanted.nonce) from wanted
    except InvalidProof as error:
        log.warning("proof_refused", reason=str(error))
        raise InvalidDPoPProof from error
    if not await oauth.used.claim(proof.used_id, until=proof.until):
        log.warning("proof_refused", reason="seen before")
        raise InvalidDPoPProof
    return proof.jkt


async def in_transaction(database: Database, work: Callable[[Connection], tuple[Response, Events]]) -> Response:
    """Run work in a transaction that is committed whatever was answered, with what the audit trail has to know."""
    async with database.transaction() as connection:
        response, events = await connection.run_sync(work)
        await record(connection, events)
    return response


async def record(connection: AsyncConnection, events: Events) -> None:
    """Append a request's events to the audit trail and the log."""
    for action, subject, detail, by in events.entries:
        await audit.write(connection, actor=by, action=action, subject=subject, detail=detail, at=events.at)
        log.info(action.lower(), subject=subject)
