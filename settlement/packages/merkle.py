"""PURE: a tree over the nets of a run: it proves that a statement is in the run, and that the run nets to zero.

The shape and the prefixes are RFC 6962's; every node carries the sum of the nets under it, and the sum is part of what
is hashed. A proof shows sums of neighbours, so leaves stand in the order of their hashes, which nobody chose, and a
nonce keeps a leaf from being guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from settlement.packages.canonical import Value, canonical_bytes

SUM_BYTES = 16  # signed, big-endian


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its hash, and the sum of what is under it in micro-units."""

    hash: bytes
    sum_micro: int


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a proof, from the leaf upwards: the neighbour and the side that it stands on."""

    side: Literal["LEFT", "RIGHT"]
    node: Node


def leaf(content: Value, net_micro: int) -> Node:
    """The leaf of a net; content says whose it is and of what statement."""
    return Node(sha256(b"\x00" + _sum_bytes(net_micro) + canonical_bytes(content)).digest(), net_micro)


def join(left: Node, right: Node) -> Node:
    """The node above two."""
    text = b"\x01" + left.hash + _sum_bytes(left.sum_micro) + right.hash + _sum_bytes(right.sum_micro)
    return Node(sha256(text).digest(), left.sum_micro + right.sum_micro)


def root(leaves: Sequence[Node]) -> Node:
    """The root over leaves in the order given. Raises ValueError where there is none."""
    if not leaves:
        raise ValueError("a tree has at least one leaf")
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return join(root(leaves[:half]), root(leaves[half:]))


def proof(leaves: Sequence[Node], index: int) -> list[Step]:
    """The steps from one leaf to the root. Raises IndexError where there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError("there is no such leaf")
    if len(leaves) == 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*proof(leaves[:half], index), Step("RIGHT", root(leaves[half:]))]
    return [*proof(leaves[half:], index - half), Step("LEFT", root(leaves[:half]))]


def climb(from_leaf: Node, steps: Sequence[Step]) -> Node:
    """The root that a leaf and its proof lead to."""
    node = from_leaf
    for step in steps:
        node = join(step.node, node) if step.side == "LEFT" else join(node, step.node)
    return node


def _half(count: int) -> int:
    """The largest power of two below count (RFC 6962, 2.1)."""
    return 1 << (count - 1).bit_length() - 1


def _sum_bytes(sum_micro: int) -> bytes:
    return sum_micro.to_bytes(SUM_BYTES, "big", signed=True)
