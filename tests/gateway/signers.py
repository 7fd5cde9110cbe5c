"""Programs that sign: assertions, proofs, and hostile versions of both; and a person who decides at the pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway import scopes
from gateway.oauth import clients, dpop
from gateway.oauth.approvers import Approver
from gateway.oauth.authentication import ASSERTION_TYPE
from kit import actors
from partners.agreements import onboarding
from tests.gateway.toys import ISSUER, Toy

CALLBACK = "https://app.example/back"
HIDDEN: list[str] = []
"""Every token, code, assertion, proof and secret that a test has seen; the log holds none of them."""


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def new_key(algorithm: str) -> Any:
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", private=True)
    return OKPKey.generate_key("Ed25519", private=True) if "Ed" in algorithm else RSAKey.generate_key(2048)


@dataclass
class Signer:
    """A key and what is signed with it."""

    algorithm: str = "ES256"
    key: Any = None

    def __post_init__(self) -> None:
        self.key = self.key or new_key(self.algorithm)

    @property
    def public(self) -> dict[str, Any]:
        return dict(self.key.as_dict(private=False))

    @property
    def jkt(self) -> str:
        return str(self.key.thumbprint())

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """Header and claims as they are; None takes one away."""
        head = {name: value for name, value in {"alg": self.algorithm, **header}.items() if value is not None}
        body = {name: value for name, value in claims.items() if value is not None}
        signing_input = f"{b64(json.dumps(head).encode())}.{b64(json.dumps(body).encode())}"
        # By the algorithm itself, because the library would not sign what must be refused.
        signature = JWSRegistry.algorithms[self.algorithm].sign(signing_input.encode(), self.key)
        signed = f"{signing_input}.{b64(signature)}"
        HIDDEN.append(signed)
        return signed

    def assertion(self, client_id: str, at: datetime, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """What shows who a client is; changes replace claims."""
        now = int(at.timestamp())
        claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "jti": secrets.token_hex(8), "iat": now,
                  "exp": now + 60}  # fmt: skip
        return self.sign(header or {}, {**claims, **changes})

    def proof(
        self,
        path: str,
        at: datetime,
        *,
        method: str = "POST",
        token: str | None = None,
        header: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """What shows that one holds the key; changes replace claims, header what the header says."""
        claims: dict[str, Any] = {
            "htm": method, "htu": ISSUER + path, "iat": int(at.timestamp()), "jti": secrets.token_hex(8),
        }  # fmt: skip
        if token is not None:
            claims["ath"] = dpop.hash_of(token)
        return self.sign({"typ": "dpop+jwt", "jwk": self.public, **(header or {})}, {**claims, **changes})


@dataclass
class Program:
    """A client of a partner that signs. Public ones show nothing but their name."""

    toy: Toy
    client_id: str
    public: bool = False
    signer: Signer = field(default_factory=Signer)
    holder: Signer = field(default_factory=Signer)

    async def post(
        self, path: str, form: Mapping[str, str] | None = None, *, proof: str | None = "", **headers: str
    ) -> httpx2.Response:
        """POST a form with a fresh assertion (unless the form has one) and a fresh proof (unless None or given)."""
        given = dict(form or {})
        if self.public:
            given.setdefault("client_id", self.client_id)
        elif "client_assertion" not in given and "authorization" not in {name.lower() for name in headers}:
            given["client_assertion"] = self.signer.assertion(self.client_id, self.toy.clock.at)
            given["client_assertion_type"] = ASSERTION_TYPE
        if proof is not None:
            headers["DPoP"] = proof or self.holder.proof(path, self.toy.clock.at)
        response = await self.toy.http.post(path, data=given, headers=headers)
        _hide(response)
        return response

    async def token(self, proof: str | None = "", **form: str) -> httpx2.Response:
        """Ask for a token, by client credentials unless the form says otherwise."""
        return await self.post("/oauth/token", {"grant_type": "client_credentials", **form}, proof=proof)

    async def ask(self, token: str, query: str = "{ who }", **proof: Any) -> httpx2.Response:
        """Ask the GraphQL endpoint with a bound token and a fresh proof."""
        shown = self.holder.proof("/graphql", self.toy.clock.at, token=token, **proof)
        headers = {"Authorization": f"DPoP {token}", "DPoP": shown}
        return await self.toy.http.post("/graphql", json={"query": query}, headers=headers)


def _hide(response: httpx2.Response) -> None:
    if "json" in response.headers.get("content-type", ""):
        said = response.json()
        names = ("access_token", "refresh_token", "device_code", "user_code", "request_uri")
        HIDDEN.extend(said[name].rpartition(":")[2] for name in names if isinstance(said, dict) and name in said)


async def key_client(
    toy: Toy, *, algorithm: str = "ES256", binds_tokens: bool = True, redirect_uris: tuple[str, ...] = (),
    partner_id: int | None = 0, wanted: tuple[str, ...] = scopes.TILL,
) -> Program:  # fmt: skip
    """A client that signs, of the toy's partner unless told otherwise."""
    signer = Signer(algorithm)
    async with toy.database.transaction() as connection:
        client_id = await clients.add_key_client(
            connection, partner_id=toy.partner_id if partner_id == 0 else partner_id, name="Back office",
            scopes=wanted, jwk=signer.public, redirect_uris=redirect_uris, binds_tokens=binds_tokens, by="anna",
            at=toy.clock.at,
        )  # fmt: skip
    return Program(toy, client_id, signer=signer)


async def public_client(toy: Toy, *, redirect_uris: tuple[str, ...] = ()) -> Program:
    """An app, or without addresses a client for tills."""
    async with toy.database.transaction() as connection:
        client_id = await clients.add_public_client(
            connection, partner_id=toy.partner_id, name="Tills", scopes=scopes.TILL, redirect_uris=redirect_uris,
            by="anna", at=toy.clock.at,
        )  # fmt: skip
    return Program(toy, client_id, public=True)


def refused(response: httpx2.Response, status: int, error: str) -> dict[str, Any]:
    """What was said, once it is clear that nothing was given and nothing may be kept."""
    said: dict[str, Any] = response.json()
    assert (response.status_code, said.get("error")) == (status, error), response.text
    assert response.headers["cache-control"] == "no-store"
    assert not said.keys() & {"access_token", "refresh_token", "request_uri", "device_code", "code"}
    assert "location" not in response.headers
    return said


def given(response: httpx2.Response, status: int = 200) -> dict[str, Any]:
    """What was given, once it is clear that nobody may keep it."""
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    said: dict[str, Any] = response.json()
    return said


# --- People at the pages ------------------------------------------------------------------------------------


async def person(toy: Toy, name: str, *, partner_id: int | None = None, roles: tuple[str, ...] = ()) -> str:
    """Somebody who is signed in; returns the cookie that says so."""
    async with toy.database.transaction() as connection:
        actor_id = await actors.ensure_actor(connection, name, roles)
    toy.people.by_cookie[name] = Approver(actor_id, name, partner_id, f"session of {name}")
    return name


async def staff(toy: Toy) -> str:
    """Anna of the staff, who may add clients."""
    return await person(toy, "anna", roles=(actors.ONBOARDING,))


async def look(toy: Toy, address: str, who: str | None, *, language: str = "en") -> httpx2.Response:
    """A page as somebody sees it."""
    headers = {"Accept-Language": language, **({"Cookie": f"who={who}"} if who else {})}
    return await toy.http.get(address, headers=headers)


def form_of(page: httpx2.Response) -> dict[str, str]:
    """The hidden fields of a page's form."""
    assert page.status_code == 200, page.text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))


async def decide(toy: Toy, path: str, form: Mapping[str, str], who: str, decision: str = "approve") -> httpx2.Response:
    """Press a button of a page's form."""
    return await toy.http.post(path, data={**form, "decision": decision}, headers={"Cookie": f"who={who}"})


def challenge_of(verifier: str) -> str:
    return b64(hashlib.sha256(verifier.encode()).digest())


@dataclass
class Flow:
    """An app's way to a code."""

    program: Program
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def parameters(self, **changes: str | None) -> dict[str, str]:
        """What is pushed; None takes a parameter away."""
        usual = {
            "response_type": "code", "client_id": self.program.client_id, "redirect_uri": CALLBACK, "state": "st4te",
            "scope": "points:accrue members:read", "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }  # fmt: skip
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    async def push(self, **changes: str | None) -> httpx2.Response:
        return await self.program.post("/oauth/par", self.parameters(**changes))

    async def address(self, **changes: str | None) -> str:
        """Where the browser is sent."""
        request_uri = given(await self.push(**changes), 201)["request_uri"]
        return f"/oauth/authorize?client_id={self.program.client_id}&request_uri={request_uri}"

    async def back(self, who: str, decision: str = "approve", **changes: str | None) -> dict[str, str]:
        """What comes back to the app when somebody decided."""
        toy = self.program.toy
        page = await look(toy, await self.address(**changes), who)
        return came_back(await decide(toy, "/oauth/authorize", form_of(page), who, decision))

    async def code(self, who: str, **changes: str | None) -> str:
        found = (await self.back(who, **changes))["code"]
        HIDDEN.append(found)
        return found

    async def redeem(self, code: str, *, proof: str | None = "", **changes: str | None) -> httpx2.Response:
        usual = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK,
                 "code_verifier": self.verifier}  # fmt: skip
        form = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        return await self.program.post("/oauth/token", form, proof=proof)


def came_back(response: httpx2.Response) -> dict[str, str]:
    """The parameters with which a browser is sent back to the app, which always say who sends it."""
    return came_back_from(response, ISSUER)


def came_back_from(response: httpx2.Response, issuer: str) -> dict[str, str]:
    """The same, from a server at another address."""
    assert response.status_code == 303, response.text
    assert response.headers["cache-control"] == "no-store"
    location = urlsplit(response.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == CALLBACK
    said = {name: values[0] for name, values in parse_qs(location.query, strict_parsing=True).items()}
    assert said.pop("iss") == issuer
    return said


async def another_partner(toy: Toy, code: str = "butcher") -> int:
    """A second partner beside the toy's."""
    async with toy.database.transaction() as connection:
        actor = await actors.ensure_actor(connection, "anna", [])
        partner_id = await onboarding.add_partner(
            connection, toy.vault, code=code, name=code.title(), actor=actor, at=toy.clock.at
        )
    await toy.app.state.services.directory.refresh()
    return partner_id
