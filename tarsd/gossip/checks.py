"""Asking a member itself whether it is dead, when others say so.

Rules
1. One that we heard just now is verified (`Prober.verify`); any other is suspect, and the accuser counts.
2. Where we met it, the fast pings of a suspect ask it; else a greeting does, a few at once, which goes out already when
   it has been suspect for some seconds.
3. Unanswered for 1 s (1.5 s: a lost SYN comes again after one) it is buried. Where all ping all, one that we heard
   within 5 s is not: its own time runs out soon.
4. Who announced a stall, and whoever we cannot judge after one of our own, is left in peace.
"""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple, Protocol

from tarsd.gossip.helpers import Greeting
from tarsd.gossip.member import State
from tarsd.gossip.messages import Claim
from tarsd.gossip.peer import Peer
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.verdicts import SILENCE_S, Verdicts
from tarsd.names import NodeId

CHECK_S = 1.0  # fast pings unanswered for so long bear out that it is dead
CHECK_GREETING_S = 1.5
LONG_SILENT_S = 5.0
CHECKS_AT_ONCE = 8  # greetings: those never met get no work, so this can wait


class Verify(Protocol):
    """Finds out at once whether a member lives; `Prober.verify`."""

    def __call__(self, peer: Peer, now: float, reason: str, by: bytes | None = None) -> None: ...  # noqa: D102


class Check(NamedTuple):
    """A third party's word that a member is dead, while we ask the member."""

    peer: Peer
    since: float
    reason: str
    claim: Claim | None  # to be passed on when it is true


class Checks:
    """The members that are being asked; `verifying` are those under rule 1."""

    def __init__(
        self,
        roster: Roster,
        whispers: Whispers,
        verdicts: Verdicts,
        verify: Verify,
        greet: Greeting,
        verifying: Container[NodeId],
    ) -> None:
        self._roster = roster
        self._whispers = whispers
        self._verdicts = verdicts
        self._verify = verify
        self._greet = greet
        self._verifying = verifying
        self._checks: dict[NodeId, Check] = {}

    def stalled(self) -> None:
        """We were away: what was outstanding proves nothing."""
        self._checks.clear()

    def ask(self, peer: Peer, now: float, reason: str, claim: Claim | None = None) -> None:
        """Ask a member itself whether it is dead, as others say (rule 1)."""
        by = claim.by if claim else None
        if peer.met and now - peer.evidence_at < SILENCE_S:
            self._verify(peer, now, reason, by)
        else:
            self._verdicts.suspect(peer, now, reason, by)
        if peer.node not in self._checks:
            self._checks[peer.node] = Check(peer, now, reason, claim)

    def tick(self, now: float) -> None:
        """Greet who is to be greeted, bury who did not answer."""
        asked = sum(not check.peer.met and check.peer.greeted_at >= check.peer.since for check in self._checks.values())
        for node, check in list(self._checks.items()):
            peer = check.peer
            if peer.state is not State.SUSPECT and node not in self._verifying:
                del self._checks[node]
            elif peer.state is not State.SUSPECT or now < peer.busy_until or not self._roster.health.may_accuse(now):
                continue
            elif not peer.met and peer.addresses and peer.greeted_at < peer.since:
                if asked < CHECKS_AT_ONCE:
                    asked += 1
                    self._greet(peer, now, check.reason, gap_s=0.0)
            elif self._is_borne_out(check, now):
                del self._checks[node]
                self._verdicts.bury(peer, now, check.reason)
                if check.claim:
                    self._whispers.tell(check.claim)

    def _is_borne_out(self, check: Check, now: float) -> bool:
        """Whether the member was asked for long enough, and said nothing (rule 3)."""
        peer = check.peer
        if peer.met:
            is_silent = self._roster.is_large or now - peer.evidence_at >= LONG_SILENT_S
            return is_silent and now - peer.since >= CHECK_S
        return now - (peer.greeted_at if peer.addresses else check.since) >= CHECK_GREETING_S
