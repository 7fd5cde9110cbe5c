"""Passes for wallets: openssl believes the signature of Apple's, cryptography that of Google's; the number on one
earns and cannot spend; and where no key was given, none is offered."""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import zipfile
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID

from gateway.sessions import session
from gateway.wallet import apple, google
from gateway.wallet.apple import AppleSigner
from gateway.wallet.google import GoogleSigner
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import cards
from tests import builders
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.desk import Desk, hidden
from tests.gateway.membership.test_membership_api import a_till
from tests.gateway.test_purchase_api import ACCRUE

ADA = "ada@example.org"
ISSUER = "3388000000012345678"
Names = list[tuple[x509.ObjectIdentifier, str]]
REDEEM = (
    """mutation($input: RedeemPointsInput!) { redeemPoints(input: $input) { __typename ... on Rejection { code } } }"""
)


def certified(names: Names, key: Any, by: tuple[x509.Certificate, Any] | None = None) -> x509.Certificate:
    """A certificate of a name and key, by somebody or by itself."""
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names])
    began = datetime.now(UTC) - timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by[1] if by else key, SHA256())
    )


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, Path]:
    """The files that an operator would have of Apple and Google, and the root that an outside judge trusts."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    root = certified([(NameOID.COMMON_NAME, "Root")], root_key)
    leaf = certified(
        [(NameOID.USER_ID, "pass.org.example.card"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "A1B2C3D4E5")], key,
        (root, root_key),
    )  # fmt: skip
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    found = {name: tmp_path / name for name in ("apple.pem", "root.pem", "google.json", "public.pem")}
    found["apple.pem"].write_bytes(private + leaf.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))
    found["root.pem"].write_bytes(root.public_bytes(Encoding.PEM))
    account = {"client_email": "passes@example.org", "private_key": private.decode()}
    found["google.json"].write_text(json.dumps(account))
    found["public.pem"].write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return found


template = a_coalition(bakery={})


@pytest.fixture
async def desk(
    server: postgres.Server, database_name: str, database: Database, vault: Vault, keys: dict[str, Path]
) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    await coalition.add_member(email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    assert await builders.violations(database.pool) == []
    await coalition.desk.close()


def configure(desk: Desk, keys: dict[str, Path]) -> None:
    """The operator gives the gateway the keys of both wallets."""
    services = desk.application.state.services
    services.settings = services.settings.model_copy(
        update={"apple_pass": keys["apple.pem"], "google_wallet": keys["google.json"], "google_wallet_issuer": ISSUER}
    )


async def test_a_pass_is_believed_by_others_says_when_it_was_so_and_its_number_earns_and_cannot_spend(
    desk: Desk, keys: dict[str, Path], tmp_path: Path
) -> None:
    browser = await desk.signed_in(ADA)
    page = await browser.get("/app/wallet")
    assert "No passes are made here." in page.text
    assert "/app/wallet" not in (await browser.get("/app")).text
    configure(desk, keys)
    assert 'href="/app/wallet"' in (await browser.get("/app")).text
    form = hidden((await browser.get("/app/wallet")).text, "/app/wallet")
    answer = await browser.post("/app/wallet", {**form, "wallet": "APPLE"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, apple.MEDIA_TYPE)

    files = unpacked(answer.content)
    manifest = json.loads(files["manifest.json"])
    assert manifest.keys() == files.keys() - {"manifest.json", "signature"}
    for name, told in manifest.items():
        assert hashlib.sha1(files[name], usedforsecurity=False).hexdigest() == told
    judged(files["manifest.json"], files["signature"], keys, tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        judged(files["manifest.json"] + b" ", files["signature"], keys, tmp_path)
    shown = json.loads(files["pass.json"])
    assert (shown["passTypeIdentifier"], shown["teamIdentifier"]) == ("pass.org.example.card", "A1B2C3D4E5")
    [as_of] = shown["storeCard"]["auxiliaryFields"]
    assert (as_of["label"], as_of["value"]) == ("Balance of", "2 Mar 2026, 12:00")
    number = shown["barcodes"][0]["message"]
    told = b"".join(files[name] for name in files if name.endswith(".json"))
    for row in await desk.database.pool.fetch("SELECT sealed_secret, number_lookup FROM members.card"):
        secret = cards.open_secret(desk.vault, row["sealed_secret"], row["number_lookup"])
        forms = (secret, b64encode(secret), urlsafe_b64encode(secret), secret.hex().encode())
        assert not any(form.rstrip(b"=") in content for form in forms for content in files.values())
    assert b"L1." not in told  # no rotating code, and nothing that makes one
    assert ADA.encode() not in told

    again = await browser.post("/app/wallet", {**form, "wallet": "APPLE"})
    assert "its number is told once" in again.text
    issued = await desk.database.pool.fetchval("SELECT count(*) FROM members.card")

    till = await a_till(desk)
    done = await till.ask(ACCRUE, input=keyed(member={"cardNumber": number}, receipt=stand.receipt("100.00")))
    assert done["__typename"] == "AccruePointsSuccess"
    spending = keyed(
        member={"cardNumber": number}, points="1", reference="S-1", outlet="1", terminal="1",
        businessDate="2026-03-02", occurredAt="2026-03-02T12:00:00Z",
    )  # fmt: skip
    refused = await till.ask(REDEEM, input=spending)
    assert refused["code"] == "PROOF_REQUIRED"

    # Without a proof of a moment ago none is made, and nothing is written.
    desk.wall.at += session.STEP_UP
    form = hidden((await browser.get("/app/wallet")).text, "/app/wallet")
    later = await browser.post("/app/wallet", {**form, "wallet": "APPLE"})
    assert later.headers["location"].startswith("/confirm")
    assert await desk.database.pool.fetchval("SELECT count(*) FROM members.card") == issued


async def test_a_link_for_google_is_signed_by_the_service_account(desk: Desk, keys: dict[str, Path]) -> None:
    configure(desk, keys)
    browser = await desk.signed_in(ADA)
    form = hidden((await browser.get("/app/wallet")).text, "/app/wallet")
    text = (await browser.post("/app/wallet", {**form, "wallet": "GOOGLE"})).text
    found = re.search(r'href="https://pay\.google\.com/gp/v/save/([\w.-]+)"', text)
    assert found is not None
    signed, _dot, signature = found[1].rpartition(".")
    public = load_pem_public_key(keys["public.pem"].read_bytes())
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(plain(signature), signed.encode(), PKCS1v15(), SHA256())
    head, claims = (json.loads(plain(part)) for part in signed.split("."))
    assert head["alg"] == "RS256"
    assert (claims["iss"], claims["aud"], claims["typ"]) == ("passes@example.org", "google", "savetowallet")
    [saved] = claims["payload"]["loyaltyObjects"]
    assert saved["id"].startswith(f"{ISSUER}.crd_")
    assert saved["barcode"]["value"].isdigit()
    assert saved["loyaltyPoints"]["balance"] == {"int": 0}
    assert saved["textModulesData"][0]["header"] == "Balance of"
    unknown = await browser.post("/app/wallet", {**form, "wallet": "PAPER"})
    assert "No passes are made for this wallet here." in unknown.text


def test_a_file_that_is_no_signer_is_told_before_anything_is_served(keys: dict[str, Path], tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(AppleSigner.read(keys["apple.pem"]))
    assert "PRIVATE" not in repr(GoogleSigner.read(keys["google.json"], ISSUER))
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    foreign = tmp_path / "foreign.pem"
    foreign.write_bytes(other + keys["root.pem"].read_bytes())
    for file in (tmp_path / "none.pem", keys["root.pem"], keys["google.json"], foreign):
        with pytest.raises(apple.BadSigner):
            AppleSigner.read(file)
    for file, issuer in ((keys["apple.pem"], ISSUER), (keys["google.json"], "someone")):
        with pytest.raises(google.BadSigner):
            GoogleSigner.read(file, issuer)


def plain(part: str) -> bytes:
    """What a part of a token says."""
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def unpacked(content: bytes) -> dict[str, bytes]:
    """The files of a pass."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def judged(manifest: bytes, signature: bytes, keys: dict[str, Path], folder: Path) -> None:
    """OpenSSL says whether the signature is right and leads to the root. Raises where it is not."""
    (folder / "manifest.json").write_bytes(manifest)
    (folder / "signature").write_bytes(signature)
    subprocess.run(
        ["openssl", "smime", "-verify", "-binary", "-inform", "DER", "-in", "signature", "-content", "manifest.json",
         "-CAfile", "root.pem", "-purpose", "any", "-out", "verified.json"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip


def keyed(**more: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), **more}
