"""Which passes open this node's chat: a client whose node was lost is let in at another one that it never signed in at.

Rules
1. A node gives each of its chat sessions a pass, and tells the others its SHA-256 only: none of them can use it.
2. A pass opens until its time is over; the node that gave it renews it while the session lives.
3. What a node tells replaces what it told before, except that a pass no longer told stays until its time is over: a
   session that moved may still be on its way.
4. Bounded: a node has at most `MAX_OF_EACH` passes here, those that end soonest make room.

Pure: `now` is an argument (seconds of a clock that never goes back).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tarsd.names import NodeId

VALID_S = 600.0
RENEW_S = 200.0  # two renewals may be lost
MAX_OF_EACH = 256
DIGEST_BYTES = 32


def digest_of(secret: str) -> bytes:
    """Return what a node tells of a pass."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


class PassBook:
    """The passes that open this node's chat, by the node that gave them."""

    def __init__(self) -> None:
        self._until: dict[NodeId, dict[bytes, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._until.values()))

    def admit(self, giver: NodeId, digests: Iterable[bytes], until: float, now: float) -> None:
        """Let in who holds one of these passes of `giver`, until then (rules 2 to 4)."""
        kept = {digest: end for digest, end in self._until.get(giver, {}).items() if end > now}
        kept |= dict.fromkeys(digests, until)
        newest = sorted(kept.items(), key=lambda entry: entry[1])[-MAX_OF_EACH:]
        self._until[giver] = dict(newest)

    def giver_of(self, secret: str, now: float) -> NodeId | None:
        """Return who gave this pass, None when it opens nothing. Looked up by its hash: there is no time to measure."""
        digest = digest_of(secret)
        return next((giver for giver, told in self._until.items() if told.get(digest, now) > now), None)
