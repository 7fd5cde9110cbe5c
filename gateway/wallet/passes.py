"""What a pass says, in words that are ready to show."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Face:
    """What a pass shows. serial is opaque; points are what was available at the instant that as_of tells in words."""

    serial: str
    number: str = field(repr=False)
    programme: str
    points: int
    points_label: str
    number_label: str
    as_of_label: str
    as_of: str
    note: str

    @property
    def spaced(self) -> str:
        """The number as it is read aloud."""
        return " ".join(self.number[at : at + 4] for at in range(0, len(self.number), 4))
