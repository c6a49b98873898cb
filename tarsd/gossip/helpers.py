"""Members ask each other to ping one that they do not hear themselves.

Rules
1. Who does not hear a member asks some others, at random, to ping it; a helper that never met it greets it instead.
2. A helper says Vouch as soon as it hears the target itself, or Nack after 400 ms: then the link of who asked works.
3. Of all the helpers asked about one member none speaks within 1 s: then the trouble may be ours (`stall`).
4. Only what was asked for counts, of whom it was asked, once.
5. A helper does at most 64 favours at a time, and one for each pair of target and asker.
Sources: SWIM, section 3.1; Lifeguard (nacks).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tarsd.gossip.member import State
from tarsd.gossip.messages import Nack, PingRequest, Vouch
from tarsd.gossip.peer import Peer
from tarsd.gossip.roster import Roster
from tarsd.gossip.verdicts import Verdicts
from tarsd.names import NodeId

FAVOUR_S = 0.4
HELPERS_S = 1.0
FAVOURS_MAX = 64  # guards against being made to ping the world
GREET_GAP_S = 0.4


class Asked(NamedTuple):
    """What this node asked about one member."""

    until: float
    spoke: bool  # one of the helpers did
    silent: set[NodeId]  # those who owe a word


class Pinger(Protocol):
    """Sends a ping; `Prober.ping`."""

    def __call__(self, peer: Peer, now: float, *, everywhere: bool = False) -> int: ...  # noqa: D102


class Greeting(Protocol):
    """Asks for a greeting; `Prober.greet`."""

    def __call__(self, peer: Peer, now: float, why: str, gap_s: float = 1.0) -> None: ...  # noqa: D102


class Helpers:
    """Both sides of it: this node asks, and is asked."""

    def __init__(self, roster: Roster, verdicts: Verdicts, ping: Pinger, greet: Greeting) -> None:
        self._roster = roster
        self._verdicts = verdicts
        self._ping = ping
        self._greet = greet
        self._favours: dict[tuple[NodeId, NodeId], tuple[int, float]] = {}  # (target, asker) -> its number, until
        self._asked: dict[bytes, Asked] = {}  # by the target

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return bool(self._favours or self._asked)

    def tick(self, now: float) -> None:
        """Give up what took too long."""
        for (target, asker), (seq, until) in list(self._favours.items()):
            if now >= until:
                del self._favours[target, asker]
                if asker in self._roster.peers:
                    self._roster.send(self._roster.peers[asker], Nack(seq, bytes.fromhex(target)))
        for raw, asked in list(self._asked.items()):
            if now >= asked.until:
                del self._asked[raw]
                if not asked.spoke:
                    self._roster.health.worse()

    def stalled(self) -> None:
        """We were away: what was under way proves nothing."""
        self._favours.clear()
        self._asked.clear()

    def ask(self, peer: Peer, seq: int, now: float) -> None:
        """Ask others to ping `peer`."""
        wanted = self._roster.tuning.indirect_probes
        some = self._roster.sample(self._roster.alive(), 4 * wanted + 4)  # more than are wanted: not all will do
        able = [other for other in some if other is not peer and not other.doubted]
        helpers = self._roster.sample(able, wanted)
        for helper in helpers:
            self._roster.send(helper, PingRequest(seq, peer.raw))
        if helpers:
            self._asked[peer.raw] = Asked(now + HELPERS_S, False, {helper.node for helper in helpers})

    def requested(self, asker: Peer, request: PingRequest, now: float) -> None:
        """Do a favour."""
        target = self._roster.by_raw.get(request.target)
        if target is None or not target.known or len(self._favours) >= FAVOURS_MAX:
            self._roster.send(asker, Nack(request.seq, request.target))
            return
        favour = (target.node, asker.node)
        if favour in self._favours:
            return
        self._favours[favour] = (request.seq, now + FAVOUR_S)
        if target.met:
            self._ping(target, now)
        else:
            self._greet(target, now, f"{asker.name} does not hear it", gap_s=GREET_GAP_S)

    def heard(self, peer: Peer) -> None:
        """A member spoke to us itself: tell those who asked after it."""
        if not self._favours:
            return
        for target, asker in [favour for favour in self._favours if favour[0] == peer.node]:
            seq, _ = self._favours.pop((target, asker))
            if asker in self._roster.peers:
                self._roster.send(self._roster.peers[asker], Vouch(seq, peer.raw))

    def vouched(self, helper: Peer, vouch: Vouch, now: float) -> None:
        """A helper has heard the member that we do not hear."""
        if not self._was_asked(helper, vouch.target):
            return
        peer = self._roster.by_raw.get(vouch.target)
        if peer and peer.state in (State.ALIVE, State.SUSPECT):
            self._verdicts.vouched(peer, now, "only others hear it", by_helper=True)

    def declined(self, helper: Peer, nack: Nack) -> None:
        """A helper has not heard the target either, but it got our request."""
        if self._was_asked(helper, nack.target):
            self._roster.health.better()

    def _was_asked(self, helper: Peer, target: bytes) -> bool:
        """Whether we wait for the word of this helper (rule 4); from now on it has spoken."""
        asked = self._asked.get(target)
        if asked is None or helper.node not in asked.silent:
            return False
        asked.silent.discard(helper.node)
        self._asked[target] = asked._replace(spoke=True)
        return True
