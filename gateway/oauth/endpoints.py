"""The endpoints that give something to programs: tokens, a name for a pushed request, codes for a till. Each reads one
form; what they share is in `calls`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc8628.endpoint import create_string_user_code
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from gateway.gate.allowances import TOKENS, Exhausted
from gateway.oauth import forms, grant_store, grants
from gateway.oauth.calls import Call, InvalidDPoPProof, answered, in_transaction
from gateway.oauth.clients import CLIENT_CREDENTIALS, DEVICE_CODE
from gateway.oauth.desk import OAuth
from gateway.oauth.forms import Events
from gateway.oauth.grants import hash_of_credential, new_credential
from kit.secrets import fingerprint

if TYPE_CHECKING:
    from gateway.gate.admission import Admission

REQUEST_URI = "urn:ietf:params:oauth:request_uri:"
PUSHED_LIFE = timedelta(seconds=90)
DEVICE_LIFE = timedelta(minutes=10)
INTERVAL_SECONDS = 5
LONGEST_STATE = 2_048
LONGEST_SCOPE = 1_000
_TOKEN_SHARES = 1_024

log = structlog.get_logger("gateway.oauth")


async def token(request: Request) -> Response:
    """POST /oauth/token: an access token for a client, by any of the grants that are served."""
    return await answered(request, "token", _token)


async def pushed(request: Request) -> Response:
    """POST /oauth/par: keeps what a client wants to be authorized for, and gives it a name for the browser."""
    return await answered(request, "pushed_request", _pushed)


async def device(request: Request) -> Response:
    """POST /oauth/device_authorization: a till asks to be enrolled, and gets a short code for a person to type."""
    return await answered(request, "device_request", _device)


# --- Tokens -------------------------------------------------------------------------------------------------


async def _token(call: Call) -> Response:
    await _take_turn(call)
    form = call.form.values
    if "grant_type" not in form:
        raise InvalidRequestError("grant_type is missing.")
    if call.client.binds_tokens and call.jkt is None:
        raise InvalidDPoPProof

    def work(connection: Connection | None) -> tuple[Response, Events]:
        server = call.server(connection)
        return server.create_token_response(call.asked()), server.events

    if form["grant_type"] == CLIENT_CREDENTIALS:
        response, _ = work(None)  # nothing is kept of it
    else:
        response = await in_transaction(call.oauth.database, work)
    if response.status_code == 200:
        log.info("token_issued", client_id=call.client.client_id, bound=call.jkt is not None)
    return response


class TooManyTokens(OAuth2Error):  # type: ignore[misc]  # noqa: N818 - it is what it says
    """A client asks for tokens faster than it could use them up. It keeps what it has for ten minutes."""

    error = "temporarily_unavailable"
    description = "Too many tokens are asked for. Keep a token until it ends."
    status_code = 429

    def __init__(self, wait_seconds: int) -> None:
        super().__init__()
        self._wait_seconds = wait_seconds

    def get_headers(self) -> list[tuple[str, str]]:
        """With how long to wait."""
        return [*super().get_headers(), ("Retry-After", str(self._wait_seconds))]


async def _take_turn(call: Call) -> None:
    """Count a request for a token against the client's allowance. Raises temporarily_unavailable (429).

    Those of a client for many tills or apps are told apart by their keys, so that one does not use up the others'; in a
    bounded number of shares, because whoever likes can make new keys.
    """
    admission: Admission = call.request.app.state.endpoint.admission
    rule = await admission.rules.of(call.client.client_no)
    whose = 0 if call.jkt is None else 1 + fingerprint(call.jkt).int % _TOKEN_SHARES
    try:
        await admission.allowances.take((call.client.client_no, whose, TOKENS), rule.hundredth, 1)
    except Exhausted as no:
        raise TooManyTokens(no.wait_seconds) from no


# --- Pushed requests ----------------------------------------------------------------------------------------


async def _pushed(call: Call) -> Response:
    form = call.form.values
    if "request_uri" in form or "request" in form:
        raise InvalidRequestError("A pushed request brings its parameters itself.")
    if not call.client.check_response_type("code"):
        raise UnauthorizedClientError
    if not _is_text(form.get("state", "x"), LONGEST_STATE) or len(form.get("scope", "")) > LONGEST_SCOPE:
        raise InvalidRequestError("state or scope is too long, or has characters that it must not have.")
    jkt = _fixed_key(call)
    call.server(None).get_consent_grant(call.asked())
    name = new_credential()
    values = {
        "request_hash": hash_of_credential(name), "client_no": call.client.client_no,
        "redirect_uri": form["redirect_uri"], "scope": call.client.get_allowed_scope(form.get("scope")),
        "state": form.get("state"), "code_challenge": form["code_challenge"], "jkt": jkt,
        "created_at": call.standing.at, "expires_at": call.standing.at + PUSHED_LIFE,
    }  # fmt: skip
    async with call.oauth.database.transaction() as connection:
        await connection.run_sync(grant_store.insert_pushed, values)
    log.info("pushed_request_kept", client_id=call.client.client_id)
    return forms.answer(201, {"request_uri": REQUEST_URI + name, "expires_in": int(PUSHED_LIFE.total_seconds())})


def _fixed_key(call: Call) -> str | None:
    """The key that the code will be bound to: by a proof, or by dpop_jkt alone. Raises what the endpoint answers."""
    said = call.form.values.get("dpop_jkt")
    if said is not None and call.jkt not in (None, said):
        raise InvalidDPoPProof
    if said is not None and not (
        len(said) == 43 and said.replace("-", "").replace("_", "").isalnum() and said.isascii()
    ):
        raise InvalidRequestError("dpop_jkt is no thumbprint.")
    if call.client.public and said is None and call.jkt is None:
        raise InvalidDPoPProof
    return said or call.jkt


def _is_text(text: str, longest: int) -> bool:
    return 1 <= len(text) <= longest and text.isascii() and text.isprintable()


# --- Tills --------------------------------------------------------------------------------------------------


async def _device(call: Call) -> Response:
    if not call.client.check_grant_type(DEVICE_CODE):
        raise UnauthorizedClientError
    if call.jkt is None:
        raise InvalidDPoPProof
    form, at = call.form.values, call.standing.at
    for name, longest in (("outlet", 32), ("terminal", 32), ("serial", 64)):
        said = form.get(name, "")
        if not 1 <= len(said) <= longest or not said.isprintable() or said != said.strip():
            raise InvalidRequestError(f"{name} is missing or malformed.")
    grants.check_scope(form.get("scope"), call.client.scopes)
    peer = call.request.client
    values = {
        "client_no": call.client.client_no, "jkt": call.jkt, "scope": call.client.get_allowed_scope(form.get("scope")),
        "outlet": form["outlet"], "terminal": form["terminal"], "serial": form["serial"],
        "network_place": peer.host[:64] if peer else "", "created_at": at, "expires_at": at + DEVICE_LIFE,
        "interval_seconds": INTERVAL_SECONDS,
    }  # fmt: skip
    device_code, user_code = await _kept(call.oauth, values)
    page = call.oauth.issuer + "/oauth/device"
    log.info("device_request_kept", client_id=call.client.client_id)
    body = {
        "device_code": device_code,
        "user_code": user_code,
        "verification_uri": page,
        "verification_uri_complete": add_params_to_uri(page, [("user_code", user_code)]),
        "expires_in": int(DEVICE_LIFE.total_seconds()),
        "interval": INTERVAL_SECONDS,
    }
    return forms.answer(200, body)


async def _kept(oauth: OAuth, values: Mapping[str, Any]) -> tuple[str, str]:
    """A till's request, kept under a fresh long and a fresh short code."""
    while True:
        device_code, user_code = new_credential(), create_string_user_code()
        named_values = {
            **values,
            "code_hash": hash_of_credential(device_code),
            "user_code": oauth.vault.lookup("user-code", user_code),
        }
        async with oauth.database.transaction() as connection:
            if await connection.run_sync(grant_store.insert_device, named_values):
                return device_code, user_code
