"""Keys: what is sealed stays bound to its place, and an id says nothing to another partner."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from kit import secrets
from kit.secrets import BadKey, Vault
from kit.settings import Settings

FRESHMART = bytes(range(64))
PHARMACY = bytes(range(64, 128))


@given(st.binary(min_size=1, max_size=64))
def test_two_partners_see_different_ids_of_one_member_and_cannot_read_each_others(clear: bytes) -> None:
    shown_to_freshmart = secrets.opaque_id(FRESHMART, "mbr", clear)
    shown_to_pharmacy = secrets.opaque_id(PHARMACY, "mbr", clear)
    assert shown_to_freshmart != shown_to_pharmacy
    assert secrets.read_opaque_id(FRESHMART, "mbr", shown_to_freshmart) == clear
    assert secrets.read_opaque_id(FRESHMART, "mbr", shown_to_pharmacy) is None
    assert secrets.read_opaque_id(PHARMACY, "mbr", shown_to_freshmart) is None


@given(st.binary(min_size=1, max_size=64))
def test_a_partner_sees_the_same_id_every_time(clear: bytes) -> None:
    assert secrets.opaque_id(FRESHMART, "mbr", clear) == secrets.opaque_id(FRESHMART, "mbr", clear)


def test_an_id_of_one_kind_is_no_id_of_another() -> None:
    member = secrets.opaque_id(FRESHMART, "mbr", b"17")
    transaction = secrets.opaque_id(FRESHMART, "txn", b"17")
    assert member.removeprefix("mbr_") != transaction.removeprefix("txn_")
    assert secrets.read_opaque_id(FRESHMART, "txn", member) is None
    assert secrets.read_opaque_id(FRESHMART, "txn", "txn_" + member.removeprefix("mbr_")) is None


@given(st.text(max_size=300))
def test_what_is_no_id_reads_as_nothing(text: str) -> None:
    assert secrets.read_opaque_id(FRESHMART, "mbr", text) is None
    assert secrets.read_opaque_id(FRESHMART, "mbr", f"mbr_{text}") is None


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_what_is_sealed_opens_only_in_its_context(clear: bytes, context: str, other: str) -> None:
    vault = Vault(bytes(range(32)))
    sealed = vault.seal(clear, context)
    assert vault.open(sealed, context) == clear
    if other != context:
        with pytest.raises(InvalidTag):
            vault.open(sealed, other)


def test_what_is_sealed_opens_with_no_other_key_and_not_after_a_change(vault: Vault) -> None:
    sealed = vault.seal(b"phone", "member:17")
    assert b"phone" not in sealed
    assert sealed != vault.seal(b"phone", "member:17")
    with pytest.raises(InvalidTag):
        Vault(bytes(range(1, 33))).open(sealed, "member:17")
    with pytest.raises(InvalidTag):
        vault.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "member:17")


def test_look_ups_depend_on_key_kind_and_value(vault: Vault) -> None:
    found = vault.lookup("phone", "+3725550100")
    assert found == vault.lookup("phone", "+3725550100")
    others = {
        vault.lookup("email", "+3725550100"),
        vault.lookup("phone", "+3725550101"),
        Vault(bytes(range(1, 33))).lookup("phone", "+3725550100"),
    }
    assert len(others) == 3
    assert found not in others


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_fingerprints_of_different_parts_differ(one: list[str], other: list[str]) -> None:
    assert (secrets.fingerprint(*one) == secrets.fingerprint(*other)) == (one == other)


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"a" * 32, b"ab" * 16, bytes(range(33))])
def test_a_weak_master_key_is_refused(key: bytes) -> None:
    with pytest.raises(BadKey):
        Vault(key)


def test_the_master_key_is_made_once_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("TESSERA_MASTER_KEY", raising=False)
    settings = Settings(data=tmp_path / "data")
    made = secrets.load_master_key(settings)
    assert secrets.load_master_key(settings) == made
    assert stat.S_IMODE((tmp_path / "data" / "master.key").stat().st_mode) == 0o600


def test_a_database_of_ones_own_takes_a_master_key_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/tessera")
    monkeypatch.delenv("TESSERA_MASTER_KEY", raising=False)
    with pytest.raises(BadKey, match="TESSERA_MASTER_KEY"):
        secrets.load_master_key(Settings(data=tmp_path))
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.binary(max_size=40) | st.text(max_size=10), max_size=4))
def test_a_fingerprint_is_a_uuid_like_any_other(parts: list[bytes | str]) -> None:
    made = secrets.fingerprint(*parts)
    same = UUID(bytes=made.bytes)
    assert (made, hash(made), repr(made), made.is_safe) == (same, hash(same), repr(same), same.is_safe)
    assert pickle.loads(pickle.dumps(made)) == same
