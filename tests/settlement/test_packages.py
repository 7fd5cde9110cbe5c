"""Signed packages: a partner recomputes its statement without us, and whatever was altered is found."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kit import actors
from kit.actors import NotPermitted
from settlement.packages import archive, content, keys, merkle
from settlement.packages.archive import Leaf, LongPart, Part
from settlement.packages.canonical import canonical_bytes, digest_hex
from settlement.packages.signatures import Signer, public_jwk
from settlement.statements import Detail

AT = datetime(2026, 4, 1, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"keys": [public_jwk(KEY)]}
SIGNER = Signer(public_jwk(KEY)["kid"], KEY)

DETAIL = (
    "cutoff,kind,at,points,agreement,unit_price_micro,amount_micro\n"
    "1,ACTIVATION,2026-03-01T10:00:00+00:00,1000,1,10000,-10000000\n"
    "1,ACTIVATION,2026-03-02T10:00:00+00:00,333,1,10000,-3330000\n"
    "1,REDEMPTION,2026-03-03T10:00:00+00:00,600,1,8001,4800600\n"
)
AGREEMENTS = {
    "versions": {
        "1": {
            "fund_price_micro": "8500", "service_price_micro": "1500", "reimbursement_price_micro": "8001",
            "breakage_share_bp": "0", "billed_fund_micro": ["8500"],
            "prices": {
                "ACTIVATION": [{"sign": "-1", "unit_price_micro": "10000"}],
                "REDEMPTION": [{"sign": "1", "unit_price_micro": "8001"}],
            },
        }
    },
    "conditions": {
        "is_netted": True, "minimum_payout_minor": "0", "holdback_bp": "0",
        "tax": {"rate_bp": "0", "rounding": "LINE"},
    },
}  # fmt: skip


def line(number: int, kind: str, basis: str, points: int, postings: int, micro: int, minor: int) -> dict[str, str]:
    return {
        "line_no": str(number), "kind": kind, "basis": basis, "agreement": "1", "points": str(points),
        "unit_price_micro": {"ACTIVATION": "10000", "REDEMPTION": "8001"}.get(kind, "0"),
        "postings": str(postings), "amount_micro": str(micro), "amount_minor": str(minor),
    }  # fmt: skip


STATEMENT = {
    "partner": "cafe", "currency": "EUR", "micro_per_minor": "10000", "opening_micro": "0", "opening_minor": "0",
    "net_micro": "-8530000", "net_minor": "-853", "carried_minor": "0", "released_minor": "0", "previous_statement_sha256": None, "events": [],
    "volumes": [],
    "lines": [
        line(1, "ACTIVATION", "MOVEMENTS", 1333, 2, -13330000, -1333),
        line(2, "REDEMPTION", "MOVEMENTS", 600, 1, 4800600, 480),
        line(3, "ROUNDING", "ROUNDING", 0, 0, -600, 0),
    ],
}  # fmt: skip


def package(
    statement: dict = STATEMENT, detail: str = DETAIL, agreements: dict = AGREEMENTS, *, other: int = 0
) -> bytes:
    content = canonical_bytes(statement)
    net = int(statement["net_micro"])
    own = Leaf("cafe", "EUR", net, digest_hex(content), "ab12")
    leaves = [
        own,
        Leaf("bakery", "EUR", -1_000_000, "00", "cd34"),
        Leaf("operator", "EUR", 1_000_000 - net + other, "", "ef"),
    ]
    parts = [
        Part("statement.json", content, {}),
        Part("detail.csv", detail.encode(), {"rows": "3", "points": "1933", "amount_micro": "-8529400"}),
        Part("agreements.json", canonical_bytes(agreements), {}),
        Part("seals.json", canonical_bytes({"seals": []}), {}),
    ]
    head = {
        "statement": "7", "run": "3", "partner": "cafe", "previous_statement_sha256": None,
        "tree": archive.tree_of(leaves, own),
    }  # fmt: skip
    return archive.build(head, parts, signer=SIGNER, keys=KEYS)


def verify(folder: Path, content: bytes, *options: str) -> tuple[int, str]:
    """Run the verifier that lies in a package, as a partner would: alone, in a folder of its own."""
    (folder / "package.zip").write_bytes(content)
    (folder / "verify.py").write_bytes(archive.VERIFIER.read_bytes())
    call = [sys.executable, "-I", "verify.py", "package.zip", *options]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def altered(content: bytes, name: str, change: bytes) -> bytes:
    source, target = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for entry in source.infolist():
            made.writestr(entry, change if entry.filename == name else source.read(entry))
    return target.getvalue()


def test_a_package_is_verified_by_the_file_inside_it_with_nothing_of_ours(tmp_path):
    code, said = verify(tmp_path, package())
    assert code == 0, said
    assert "3 movements of 1933 points are priced as agreed, -8529400 micro-units together" in said
    assert "statement 7 of cafe, run 3: holds" in said


def test_the_same_content_is_the_same_bytes():
    assert package() == package()


def movements(count: int) -> str:
    head, *_ = DETAIL.splitlines(keepends=True)
    return head + "".join(f"1,ACTIVATION,2026-03-01T10:00:00+00:00,{n},1,10000,{-n * 10_000}\n" for n in range(count))


def test_a_file_that_lies_on_disk_makes_the_same_bytes_as_one_in_memory(tmp_path):
    text = movements(60_000).encode()  # more than is copied at once
    assert len(text) > 2 * archive._BLOCK
    (tmp_path / "detail.csv").write_bytes(text)
    figures = {"rows": "60000"}
    short = Part("detail.csv", text, figures)
    long = LongPart("detail.csv", tmp_path / "detail.csv", digest_hex(text), figures)
    head = {"statement": "7"}
    one, other = (archive.build(head, [part], signer=SIGNER, keys=KEYS) for part in (short, long))
    assert one == other
    assert zipfile.ZipFile(io.BytesIO(other)).read("detail.csv") == text


def test_memory_does_not_grow_with_a_file_that_lies_on_disk(tmp_path):
    path = tmp_path / "detail.csv"
    block = movements(20_000).encode()
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(64):
            file.write(block)
            digest.update(block)
    part = LongPart("detail.csv", path, digest.hexdigest(), {})
    assert path.stat().st_size > 50 << 20
    tracemalloc.start()
    with (tmp_path / "package.zip").open("w+b") as into:
        archive.write(into, {}, [part], signer=SIGNER, keys=KEYS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * archive._BLOCK


def test_bytes_that_do_not_unpack_are_found_in_a_sentence(tmp_path):
    whole = bytearray(package(detail=DETAIL + " " * 4_000))
    place = whole.index(b"detail.csv") + 60  # among the packed bytes of the movements
    whole[place] ^= 255
    code, said = verify(tmp_path, bytes(whole))
    assert code == 1
    assert "FAILED" in said
    assert "Traceback" not in said


def test_a_key_of_ones_own_is_asked_before_the_one_inside(tmp_path):
    trusted = tmp_path / "keys.json"
    trusted.write_bytes(canonical_bytes(KEYS))
    assert "a key that you trust" in verify(tmp_path, package(), "--key", "keys.json")[1]
    stranger = Ed25519PrivateKey.generate()
    trusted.write_bytes(canonical_bytes({"keys": [public_jwk(stranger)]}))
    code, said = verify(tmp_path, package(), "--key", "keys.json")
    assert code == 1
    assert "is not among the operator's" in said


def test_any_byte_altered_in_any_file_is_found(tmp_path):
    whole = package()
    source = zipfile.ZipFile(io.BytesIO(whole))
    for name in source.namelist():
        if name == "keys.json":
            continue  # what is inside is trusted for nothing: --key is
        content = bytearray(source.read(name))
        for place in {0, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 1
            code, said = verify(tmp_path, altered(whole, name, bytes(changed)))
            assert code != 0, (name, place, said)


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (lambda: package(detail=DETAIL.replace(",-3330000", ",-3330001")), "the amount is not points times price"),
        (lambda: package(detail=DETAIL.replace("333,1,10000,-3330000", "333,1,9000,-2997000")), "not the price of"),
        (lambda: package({**STATEMENT, "net_minor": "-852", "net_micro": "-8520000"}), "not the net"),
        (lambda: package({**STATEMENT, "lines": STATEMENT["lines"][:1] + STATEMENT["lines"][2:]}), "no line counts"),
        (lambda: package(other=1), "not to zero"),
    ],
    ids=["a wrong amount", "a wrong price", "a wrong net", "a line left out", "a run that does not net to zero"],
)
def test_what_was_signed_wrongly_is_found_by_recomputing(tmp_path, made, found):
    code, said = verify(tmp_path, made())
    assert code == 1
    assert found in said


def test_what_is_no_package_is_said_to_be_none(tmp_path):
    assert verify(tmp_path, b"not a zip")[0] == 2
    assert verify(tmp_path, altered(package(), "manifest.json", b"{}"))[0] == 2


nets = st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=20)


@given(nets)
@settings(max_examples=60)
def test_every_leaf_climbs_to_the_root_and_the_root_holds_the_sum(sums):
    leaves = [merkle.leaf({"n": str(number)}, net) for number, net in enumerate(sums)]
    root = merkle.root(leaves)
    assert root.sum_micro == sum(sums)
    for index, node in enumerate(leaves):
        assert merkle.climb(node, merkle.proof(leaves, index)) == root
        wrong = merkle.Node(node.hash, node.sum_micro + 1)
        assert merkle.climb(wrong, merkle.proof(leaves, index)) != root


def test_numbers_are_not_canonical_and_keys_are_sorted():
    assert canonical_bytes({"b": "ș", "a": [None, True]}) == '{"a":[null,true],"b":"ș"}'.encode()
    with pytest.raises(TypeError):
        canonical_bytes({"a": 1})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="not a key"):
        canonical_bytes({"ș": "a"})


async def test_a_rotated_key_signs_and_the_old_one_stays_published(database, vault):
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "root", [actors.OPERATOR_ADMIN])
        first = await keys.signer(connection, vault, at=AT)
        assert (await keys.signer(connection, vault, at=AT)).kid == first.kid
        kid = await keys.rotate(connection, vault, by="root", at=AT)
        assert (await keys.signer(connection, vault, at=AT)).kid == kid != first.kid
        assert [key["kid"] for key in (await keys.public_keys(connection))["keys"]] == [kid, first.kid]


async def test_nobody_but_an_operators_admin_rotates_the_key(database, vault):
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "clerk", [actors.FINANCE_MAKER])
        await keys.signer(connection, vault, at=AT)
        with pytest.raises(NotPermitted):
            await keys.rotate(connection, vault, by="clerk", at=AT)
        assert len((await keys.public_keys(connection))["keys"]) == 1


def test_what_a_till_wrote_is_no_formula_in_whoever_opens_the_movements():
    at = datetime(2026, 3, 3, tzinfo=UTC)
    one = Detail(1, "ACTIVATION", at, at.date(), "-2+3", "=HYPERLINK(1)", "mbr_x", 5, 2, 10, 1)
    assert content.detail_row(one)[4:7] == ("'-2+3", "'=HYPERLINK(1)", "mbr_x")
