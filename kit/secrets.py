"""Keys and what is done with them: sealing at rest, keyed hashes for look-ups, ids that only one partner can read.

One master key (32 bytes) wraps everything, until it is rotated; purposes are separated by HKDF (RFC 5869). Sealing is
AES-256-GCM, ids are AES-SIV (RFC 5297), which is deterministic: the same id for the same partner every time, joinable
by none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, SafeUUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from kit.settings import Settings

KEY_BYTES = 32
_set_int, _set_safe = UUID.__dict__["int"].__set__, UUID.__dict__["is_safe"].__set__
_SMALL = 256
_SIZES = [size.to_bytes(8, "big") for size in range(_SMALL)]


class BadKey(ValueError):  # noqa: N818 - a sentence for people
    """A master key that is missing, too short or well known; the sentence says what to do."""


def new_key() -> bytes:
    """A fresh random key of 32 bytes."""
    return secrets.token_bytes(KEY_BYTES)


class Vault:
    """Everything that needs the master key. Built once per process.

    A master key that was rotated is several, 32 bytes each, the newest first. The newest seals and derives. The older
    ones open what was not sealed anew yet, and stay inside look-up hashes: what was hashed is not kept, so it cannot be
    hashed with the new key alone, but the old hash can be hashed with it. Raises BadKey.
    """

    def __init__(self, master_key: bytes) -> None:
        keys = [master_key[at : at + KEY_BYTES] for at in range(0, len(master_key), KEY_BYTES)]
        if not keys or any(len(key) != KEY_BYTES or len(set(key)) < 8 for key in keys):
            raise BadKey("the master key must be 32 random bytes; make one with `tessera new-key`")
        if len(set(keys)) < len(keys):
            raise BadKey("the master key has one key twice: a rotation takes a new one, from `tessera new-key`")
        self._masters = keys
        self._sealings = [AESGCM(key) for key in self.derived("seal")]
        self._lookups = self.derived("lookup")[::-1]

    @property
    def generation(self) -> int:
        """How many keys there have been, the newest counted."""
        return len(self._masters)

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return _derived(self._masters[0], purpose)

    def derived(self, purpose: str) -> list[bytes]:
        """The keys of every generation for one purpose, the newest first, to read what older ones wrote."""
        return [_derived(master, purpose) for master in self._masters]

    def check_value(self) -> bytes:
        """What tells one master key from another and says nothing of either."""
        return hashlib.sha256(b"".join(self.derived("check"))).digest()[:16]

    def seal(self, clear: bytes, context: str) -> bytes:
        """Encrypt under the master key, bound to a context (`member:17`) that opening must repeat."""
        nonce = os.urandom(12)
        return nonce + self._sealings[0].encrypt(nonce, clear, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The clear bytes of what `seal` returned. Raises InvalidTag where key, context or bytes differ."""
        for older in self._sealings[:-1]:
            with suppress(InvalidTag):
                return older.decrypt(sealed[:12], sealed[12:], context.encode())
        return self._sealings[-1].decrypt(sealed[:12], sealed[12:], context.encode())

    def lookup(self, kind: str, value: str) -> UUID:
        """Keyed hash under which a card number, phone or e-mail is found; 128 bits, useless without the key."""
        digest = hmac.digest(self._lookups[0], f"{kind}\0{value}".encode(), "sha256")
        found = _uuid(digest[:16])
        return found if len(self._lookups) == 1 else self.looked_up_anew(found, 1)

    def looked_up_then(self, kind: str, value: str, generation: int) -> UUID:
        """What `lookup` was when there had been so many keys: where the row of an earlier one lies."""
        found = _uuid(hmac.digest(self._lookups[0], f"{kind}\0{value}".encode(), "sha256")[:16])
        for key in self._lookups[1:generation]:
            found = _uuid(hmac.digest(key, b"again\0" + found.bytes, "sha256")[:16])
        return found

    def looked_up_anew(self, lookup: UUID, since: int) -> UUID:
        """What a hash of an earlier generation is in this one: hashed again with each key that came since."""
        for key in self._lookups[since:]:
            lookup = _uuid(hmac.digest(key, b"again\0" + lookup.bytes, "sha256")[:16])
        return lookup


def _derived(master: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=b"tessera", info=purpose.encode()).derive(master)


def seal_with(key: bytes, clear: bytes, context: str) -> bytes:
    """AES-256-GCM under a key of one's own (a member's), bound to a context."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, clear, context.encode())


def open_with(key: bytes, sealed: bytes, context: str) -> bytes:
    """The clear bytes of what `seal_with` returned. Raises InvalidTag."""
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], context.encode())


@lru_cache(maxsize=4096)
def _siv(key: bytes) -> AESSIV:
    return AESSIV(key)


def opaque_id(key: bytes, prefix: str, clear: bytes) -> str:
    """An id such as `mbr_…` that only the holder of the 64-byte key can read; the same input, the same id."""
    sealed = _siv(key).encrypt(clear, [prefix.encode()])
    return prefix + "_" + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def read_opaque_id(key: bytes, prefix: str, opaque: str) -> bytes | None:
    """The bytes inside an id made by `opaque_id` with this key and prefix; None for anything else."""
    head, _, body = opaque.partition("_")
    if head != prefix or not body or len(body) > 256:
        return None
    try:
        sealed = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return _siv(key).decrypt(sealed, [prefix.encode()])
    except (ValueError, InvalidTag):
        return None


def fingerprint(*parts: bytes | str) -> UUID:
    """First 128 bits of SHA-256 over parts that cannot run into each other."""
    pieces: list[bytes] = []
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        size = len(raw)
        pieces += (_SIZES[size] if size < _SMALL else size.to_bytes(8, "big"), raw)
    return _uuid(hashlib.sha256(b"".join(pieces)).digest()[:16])


def _uuid(raw: bytes) -> UUID:
    """As UUID(bytes=raw), without the look at the seven other ways of making one: a purchase takes four of them."""
    made = UUID.__new__(UUID)
    _set_int(made, int.from_bytes(raw, "big"))
    _set_safe(made, SafeUUID.unknown)
    return made


def load_master_key(settings: Settings) -> bytes:
    """The master key from the settings, or from the data folder's file, made on first use with mode 0600.

    Of a rotated one the keys are written one after another, the newest first, with commas between.
    """
    if settings.master_key is not None:
        return _decode(settings.master_key.get_secret_value())
    if settings.database_url is not None:
        raise BadKey("TESSERA_MASTER_KEY is not set: with a DATABASE_URL of your own it must be; see `tessera new-key`")
    path = settings.data / "master.key"
    if not path.exists():
        _write_once(path, base64.urlsafe_b64encode(new_key()))
    return _decode(path.read_text())


def _decode(text: str) -> bytes:
    try:
        return b"".join(base64.urlsafe_b64decode(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise BadKey("the master key is not base64url; make one with `tessera new-key`") from error


def _write_once(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(content)
