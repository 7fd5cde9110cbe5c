"""PURE: who is held out of promotions, so that what they bring can be measured.

The arm follows from the experiment and the member alone, before anybody has seen an offer, and is stored as it fell.
Base points, benefits and limits are never withheld.
"""

from __future__ import annotations

from hashlib import sha256

from kit.amounts import BASIS
from partners.promotions.plain import canonical

CONTROL, TREATED = "CONTROL", "TREATED"


def arm(experiment: str, *, salt: str, member: str, control_bp: int) -> str:
    """CONTROL for control_bp of ten thousand members, TREATED for the others.

    member is who is drawn: a member's number, or the household's, so that one table sees one thing. A larger
    control_bp only ever moves members into control. Rejects, with ValueError, a share outside 0 to 10,000.
    """
    if not 0 <= control_bp <= BASIS:
        raise ValueError("expected a share of 0 to 10,000 basis points")
    drawn = int.from_bytes(sha256(canonical([salt, experiment, member])).digest()[:16], "big") % BASIS
    return CONTROL if drawn < control_bp else TREATED
