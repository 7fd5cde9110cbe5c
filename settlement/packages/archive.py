"""PURE: a package as a zip file. The same content gives the same bytes: fixed times, fixed order, one compression."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from settlement.packages import merkle
from settlement.packages.canonical import Value, canonical_bytes, digest_hex
from settlement.packages.merkle import Node, Step
from settlement.packages.signatures import Signer

FORMAT = "tessera-settlement-package/1"
VERIFIER = Path(__file__).with_name("verify.py")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a package, and what the manifest says of it besides its hash: rows, points, amount_micro."""

    name: str
    content: bytes
    figures: Mapping[str, str]

    @property
    def sha256(self) -> str:
        """Its hash, as hexadecimal digits."""
        return digest_hex(self.content)


@dataclass(frozen=True, slots=True)
class LongPart:
    """A file of a package that nobody knows the length of: it lies on disk, and was hashed while it was written."""

    name: str
    path: Path
    sha256: str
    figures: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A net in the tree of a run: whose, of what statement (None for the operator's own), and a nonce."""

    partner: str
    currency: str
    net_micro: int
    statement_sha256: str
    nonce: str

    def content(self) -> dict[str, Value]:
        """The leaf as it is hashed."""
        return {
            "partner": self.partner,
            "currency": self.currency,
            "net_micro": str(self.net_micro),
            "statement_sha256": self.statement_sha256,
            "nonce": self.nonce,
        }

    def node(self) -> Node:
        """Its node."""
        return merkle.leaf(self.content(), self.net_micro)


def tree_of(leaves: Sequence[Leaf], own: Leaf) -> dict[str, Value]:
    """The run's tree of nets in one currency as the manifest of one leaf's package carries it.

    Leaves stand in the order of their hashes. Raises ValueError where own is not among them.
    """
    ordered = sorted(leaves, key=lambda leaf: leaf.node().hash)
    nodes = [leaf.node() for leaf in ordered]
    return {
        "root": merkle.root(nodes).hash.hex(),
        "leaves": str(len(nodes)),
        "leaf": own.content(),
        "proof": [_step(step) for step in merkle.proof(nodes, ordered.index(own))],
    }


def build(head: Mapping[str, Value], parts: Sequence[Part | LongPart], *, signer: Signer, keys: Value) -> bytes:
    """A package as bytes, for one that is known to be small. The rest as `write`."""
    buffer = io.BytesIO()
    write(buffer, head, parts, signer=signer, keys=keys)
    return buffer.getvalue()


def write(
    into: BinaryIO, head: Mapping[str, Value], parts: Sequence[Part | LongPart], *, signer: Signer, keys: Value
) -> None:
    """Write a package: the parts, the verifier, and a manifest over them that is signed. Memory does not grow with it.

    head is what the manifest says besides its files; keys is the operator's public key set. into can be sought in.
    """
    verifier = Part("verify.py", VERIFIER.read_bytes(), {})
    ordered = sorted([*parts, verifier], key=lambda part: part.name)
    listed: list[Value] = [{"name": p.name, "sha256": p.sha256, **p.figures} for p in ordered]
    manifest = canonical_bytes({**head, "format": FORMAT, "files": listed})
    signature = signer.sign(manifest).encode()
    files: list[Part | LongPart] = [
        *ordered,
        Part("keys.json", canonical_bytes(keys), {}),
        Part("manifest.json", manifest, {}),
        Part("manifest.jws", signature, {}),
    ]
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for part in sorted(files, key=lambda part: part.name):
            _add(archive, part)


def _add(archive: zipfile.ZipFile, part: Part | LongPart) -> None:
    entry = zipfile.ZipInfo(part.name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    if isinstance(part, Part):
        archive.writestr(entry, part.content)
        return
    entry.file_size = part.path.stat().st_size  # tells whether the entry needs the larger header
    with part.path.open("rb") as source, archive.open(entry, "w") as target:
        shutil.copyfileobj(source, target, _BLOCK)


def _step(step: Step) -> dict[str, Value]:
    return {"side": step.side, "hash": step.node.hash.hex(), "sum_micro": str(step.node.sum_micro)}
