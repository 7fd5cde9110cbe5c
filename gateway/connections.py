"""Pages of what can grow: keyset connections, whose cursors tell nobody where in the table a row lies."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar

import strawberry

from gateway import masking
from gateway.access import LONGEST_PAGE
from gateway.inputs import described
from kit.secrets import Vault, opaque_id, read_opaque_id

T = TypeVar("T")
Row = TypeVar("Row")

First = Annotated[int, strawberry.argument(description=f"How many, 1 to {LONGEST_PAGE}.")]
After = Annotated[str | None, strawberry.argument(description="The cursor behind which to go on.")]


@strawberry.type(description="Where a page lies.")
class PageInfo:
    has_next_page: bool = described("Whether there is more behind it.")
    has_previous_page: bool = described("Whether it began behind a cursor.")
    start_cursor: str | None = described("Cursor of its first item.")
    end_cursor: str | None = described("Cursor of its last item; give it as `after` for the next page.")


@strawberry.type(description="An item and its place.")
class Edge(Generic[T]):
    cursor: str = described("Its place, opaque.")
    node: T = described("The item.")


@strawberry.type(description="A page.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = described("Items with their places.")
    nodes: list[T] = described("The items alone.")
    page_info: PageInfo = described("Where the page lies.")


class Cursors:
    """Writes and reads the cursors of one kind of list under a key of the process."""

    def __init__(self, vault: Vault, kind: str) -> None:
        self._key = id_key(vault, f"cursor {kind}")

    def write(self, position: int) -> str:
        """The cursor of a position."""
        return opaque_id(self._key, "cur", position.to_bytes(8, "big"))

    def read(self, cursor: str | None) -> int | None:
        """The position of a cursor, None for none. Raises BAD_USER_INPUT for one that is not of this list."""
        if cursor is None:
            return None
        position = read_opaque_id(self._key, "cur", cursor)
        if position is None:
            raise masking.coded(masking.BAD_USER_INPUT, "`after` is not a cursor of this list.")
        return int.from_bytes(position, "big")


def id_key(vault: Vault, purpose: str) -> bytes:
    """A key of 64 bytes for ids of one purpose that nobody can guess."""
    return vault.derive(f"{purpose} 1") + vault.derive(f"{purpose} 2")


def id_keys(vault: Vault, purpose: str) -> list[bytes]:
    """The same of every generation of the master key, the newest first, for ids that people keep."""
    return [
        first + second
        for first, second in zip(vault.derived(f"{purpose} 1"), vault.derived(f"{purpose} 2"), strict=True)
    ]


def bounded(first: int) -> int:
    """`first` where it is in bounds; the gate has asked before, this is the last one to. Raises BAD_USER_INPUT."""
    if not 1 <= first <= LONGEST_PAGE:
        raise masking.coded(masking.BAD_USER_INPUT, f"`first` is from 1 to {LONGEST_PAGE}.")
    return first


def page(
    rows: Sequence[Row],
    first: int,
    *,
    after: str | None,
    cursor: Callable[[Row], str],
    node: Callable[[Row], T],
) -> Connection[T]:
    """A page of the first rows; one row more than `first` tells that there is another page."""
    edges = [Edge(cursor=cursor(row), node=node(row)) for row in rows[:first]]
    return Connection(
        edges=edges,
        nodes=[edge.node for edge in edges],
        page_info=PageInfo(
            has_next_page=len(rows) > first,
            has_previous_page=after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
    )
