"""How a member passes from one state to the next by what this node itself finds out.

    hint --greeted--> ALIVE --silence--> SUSPECT --deadline--> DEAD
                        ^------ any authentic sign of life --------'
    ALIVE or SUSPECT --its own word--> LEFT --greeted in a newer boot--> ALIVE
    any --notice of the core authority--> REVOKED (`revocations`)

Rules
1. Any authentic datagram or greeting from a member is proof of its life: it ends suspicion and death at once.
2. A member that said goodbye stays LEFT, whatever still arrives from that boot.
3. A verdict of ours is told to everybody, and to the accused first.
4. DEAD deletes nothing.
5. A stall that a member announced is not held against it: meanwhile it is at most suspect, and nobody is told.
"""

from __future__ import annotations

from tarsd.gossip.member import State
from tarsd.gossip.messages import Word
from tarsd.gossip.peer import Peer
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.suspicion import Suspicion

SILENCE_S = 1.0  # without any sign of life, before doubt becomes suspicion
ASK_STRANGER_S = 2.0, 3.5


class Verdicts:
    """Decides on members, one at a time."""

    def __init__(self, roster: Roster, whispers: Whispers) -> None:
        self._roster = roster
        self._whispers = whispers

    def heard(self, peer: Peer, now: float) -> None:
        """It spoke to us itself (rule 1)."""
        peer.heard_at = peer.evidence_at = now
        peer.doubted = peer.vouched_only = False
        peer.accusers = ()
        if peer.state is not State.ALIVE and peer.met:
            self._revived(peer, now, "heard again")

    def vouched(self, peer: Peer, now: float, reason: str, *, by_helper: bool = False) -> None:
        """There is proof of its life from another than itself: its own signed word, or a helper who heard it."""
        peer.evidence_at = now
        peer.vouched_only = by_helper
        if by_helper:
            self._roster.only_vouched[peer.node] = peer
        peer.doubted, peer.accusers = False, ()
        if peer.known:
            self._revived(peer, now, reason)

    def _revived(self, peer: Peer, now: float, reason: str) -> None:
        if peer.state not in (State.SUSPECT, State.DEAD):
            return
        if peer.state is State.DEAD:
            peer.flaps.returned(now, now - peer.died_at)
        self._whispers.withdraw(peer)
        self._roster.set_state(peer, State.ALIVE, now, reason)
        peer.confirmed(now)
        peer.next_round = now

    def suspect(self, peer: Peer, now: float, reason: str, by: bytes | None = None) -> None:
        """Suspect a member; `by` is a third party's id where it is not our own finding."""
        if peer.state is not State.ALIVE or not peer.known:
            return
        tuning = self._roster.tuning
        members = self._roster.count
        peer.suspicion = Suspicion(now, members, tuning.suspicion_min_s, tuning.probe_interval_s)
        is_told = by is None and now >= peer.busy_until
        own = (self._roster.me.raw,) if is_told else ()
        for accuser in ((by,) if by else own) + peer.accusers:
            peer.suspicion.accuse(accuser)
        # Whom we never met we greet, when it had time to refute; not all of us at one moment.
        peer.next_fast = now if peer.met else now + self._roster.rng.uniform(*ASK_STRANGER_S)
        self._roster.set_state(peer, State.SUSPECT, now, reason)
        if is_told:
            self._whispers.accuse(peer, Word.SUSPECT)

    def join(self, peer: Peer, now: float) -> None:
        """We do not hear a suspect either: let that count, here and elsewhere."""
        may_accuse = self._roster.health.may_accuse(now) and now >= peer.busy_until
        if peer.suspicion and may_accuse and peer.suspicion.accuse(self._roster.me.raw):
            self._whispers.accuse(peer, Word.SUSPECT)

    def tick(self, peer: Peer, now: float) -> None:
        """Bury a suspect whose time is over."""
        if peer.state is not State.SUSPECT or peer.suspicion is None:
            return
        if not peer.met or now < peer.busy_until or not self._roster.health.may_accuse(now):
            return  # whom we never met we did not ping: those who did bury it, or a greeting that fails (`Greetings`)
        peer.suspicion.others = len(self._roster.alive())
        if now >= peer.suspicion.deadline:
            self.bury(peer, now, f"silent: {peer.reason}")
            self._whispers.accuse(peer, Word.DEAD)

    def bury(self, peer: Peer, now: float, reason: str) -> None:
        """Take a member for dead; it is contacted again for ever."""
        if peer.state in (State.DEAD, State.LEFT):
            return
        peer.died_at = now
        peer.next_contact, peer.contact_delay_s = now + self._roster.tuning.reprobe_dead_s / 2, 0.0
        self._roster.set_state(peer, State.DEAD, now, reason)

    def left(self, peer: Peer, now: float, reason: str) -> None:
        """It said goodbye (rule 2)."""
        if peer.state is State.LEFT:
            return
        self._whispers.withdraw(peer)
        peer.doubted = False
        peer.next_contact, peer.contact_delay_s = now + self._roster.tuning.reprobe_dead_s, 0.0
        self._roster.set_state(peer, State.LEFT, now, reason)
