"""The failure detector: who is pinged when, and what silence means.

Rules
1. Up to `mesh_up_to` members everybody pings everybody each T'; beyond that one of those it met each T', in shuffled
   rounds.
2. A ping is tried again, the more often the lossier the way is, spread over T', and then at all addresses: the answer
   shows which of them works. Half-way through, helpers ping too (`helpers`) and a greeting over TCP is tried. Of a way
   that was not measured yet the loss is taken to be that of our own link.
3. A round without an answer is doubt. Doubt becomes suspicion when there was no sign of life of any kind for 1 s.
4. The kernel's word that nobody listens there, or a failed call and 300 ms of silence, is suspicion at once. In a small
   cluster an empty datagram between two pings asks the kernel alone.
5. A suspect gets a fast ping every 100 ms at all addresses, with the suspicion in it; of many suspecters, each sends
   fewer.
6. After a stall of our own, outstanding pings are void and nobody is accused for one T'.
7. Who is accused by others though we hear it is pinged at once: so it learns of it, or we learn that it is true.
8. Whom others call dead is asked itself (`checks`).
Sources: SWIM section 3; Lifeguard.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tarsd.gossip.checks import Checks
from tarsd.gossip.effects import Greet, Poke
from tarsd.gossip.helpers import Helpers
from tarsd.gossip.loads import Loads
from tarsd.gossip.member import State
from tarsd.gossip.messages import Ack, Ping
from tarsd.gossip.peer import NEVER, Peer
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.verdicts import SILENCE_S, Verdicts
from tarsd.names import NodeId

FAST_EVERY_S = 0.1
VERIFY_S = 0.3  # a failed call or a stranger's DEAD is checked for so long
KEEP_PING_S = 5.0  # a later answer is still proof of life, but measures nothing
GREET_GAP_S = 1.0
DOUBT_GAP_S = 0.4  # below T': where UDP is blocked, greetings over TCP are the pings
ASK_AGAIN_S = 4.0  # a greeting takes up to 3 s to fail
NOT_REFUSED_S = 10.0  # an ICMP message is forged easily
POKE_UP_TO = 10  # members; with more, somebody's ping finds a killed process as soon
MEASURED = 20  # tries, before the loss of one way says more than that of our link


class Round:
    """The tries of one probe of one member."""

    __slots__ = ("ask_helpers_at", "ends_at", "next_try", "peer", "sent", "spacing_s", "tries_left")

    def __init__(self, peer: Peer, now: float, interval_s: float, stretch: int, tries: int) -> None:
        self.peer = peer
        self.tries_left = tries
        self.sent = 0
        self.spacing_s = max(min(peer.path.timeout_s, interval_s / self.tries_left), 0.01) * stretch
        self.next_try = now
        self.ask_helpers_at = now + interval_s * stretch / 2
        self.ends_at = now + interval_s * stretch


class Prober:
    """Pings, takes answers, and tells `Verdicts` what silence there is."""

    def __init__(self, roster: Roster, whispers: Whispers, verdicts: Verdicts) -> None:
        self._roster = roster
        self._whispers = whispers
        self._verdicts = verdicts
        self._rounds: dict[NodeId, Round] = {}
        self._sent: dict[int, tuple[NodeId, float]] = {}  # oldest first
        self._doubts: dict[NodeId, Peer] = {}
        self._verifying: dict[NodeId, tuple[float, str, bytes | None]] = {}
        self._seq = roster.rng.randrange(1, 1 << 16)
        self._order: list[NodeId] = []
        self._is_extra_turn = False
        self._next_turn = NEVER
        self._loads = Loads(roster)
        self.helpers = Helpers(roster, verdicts, self.ping, self.greet)
        self.checks = Checks(roster, whispers, verdicts, self.verify, self.greet, self._verifying)

    @property
    def is_busy(self) -> bool:
        """Whether tries are outstanding, so that ticks should come more often."""
        return bool(self._rounds or self._verifying)

    # --- time -------------------------------------------------------------------------------------------------

    def due(self, now: float) -> float:
        """When there is something to do."""
        if self._rounds or self._doubts or self._verifying or self._roster.suspects or self.helpers.is_busy:
            return now
        if self._roster.is_large:
            return self._next_turn
        return min((min(peer.next_round, peer.next_poke) for peer in self._roster.alive()), default=math.inf)

    def tick(self, now: float) -> None:
        """Do what is due."""
        for peer in self._due(now):
            self._start(peer, now)
        for probe in list(self._rounds.values()):
            self._go_on(probe, now)
        for peer in list(self._doubts.values()):
            if peer.doubted and peer.state is State.ALIVE:
                self._judge_doubt(peer, now)
            else:
                del self._doubts[peer.node]
        for peer in list(self._roster.suspects.values()):
            self._press(peer, now)
        self._expire(now)
        self.checks.tick(now)

    def stalled(self, lag_s: float) -> None:
        """We were away: what was outstanding proves nothing (rule 6)."""
        self._rounds.clear()
        self.helpers.stalled()
        self._verifying.clear()
        self.checks.stalled()
        for peer in self._doubts.values():
            peer.doubted = False
        for peer in self._roster.suspects.values():
            if peer.suspicion:
                peer.suspicion.shift(lag_s)

    def look_at_all(self, now: float) -> None:
        """Ping everybody met at once: we were away, and know nothing that is fresh."""
        for peer in self._roster.alive():
            self.verify(peer, now, "not heard since this computer slept")

    def _due(self, now: float) -> Iterable[Peer]:
        """Yield whose round begins (rule 1)."""
        if not self._roster.is_large:
            alive = self._roster.alive()
            for peer in alive:
                if now >= peer.next_poke:
                    peer.next_poke = math.inf
                    self._roster.effect(Poke(tuple(peer.addresses[:1])))
            return [peer for peer in alive if now >= peer.next_round and peer.node not in self._rounds]
        if now < self._next_turn:
            return []
        self._next_turn = now + self._roster.tuning.probe_interval_s * self._roster.health.stretch
        return self._next_in_turn()

    def _next_in_turn(self) -> list[Peer]:
        """Return who is next; every other turn is for those that only helpers hear: is our own way open again?"""
        self._is_extra_turn = not self._is_extra_turn
        only_vouched = self._roster.only_vouched
        while only_vouched and self._is_extra_turn:
            unheard = only_vouched.pop(next(iter(only_vouched)))
            if unheard.vouched_only and unheard.met and unheard.state is State.ALIVE:
                only_vouched[unheard.node] = unheard  # the next ones have their turn before it
                return [unheard]
        for _ in range(len(self._order) + 1):
            if not self._order:
                self._order = [peer.node for peer in self._roster.alive()]
                self._roster.rng.shuffle(self._order)
            peer = self._roster.peers.get(self._order.pop())
            if peer and peer.met and peer.state is State.ALIVE:
                return [peer]
        return []

    def _start(self, peer: Peer, now: float) -> None:
        interval_s, stretch = self._roster.tuning.probe_interval_s, self._roster.health.stretch
        # A tenth of jitter, or all nodes that met at one moment would ping at one moment for ever.
        peer.next_round = now + interval_s * stretch * self._roster.rng.uniform(0.95, 1.05)
        if self._roster.count <= POKE_UP_TO:
            peer.next_poke = now + interval_s / 2
        if peer.node not in self._rounds:
            path = peer.path if peer.path.count >= MEASURED else self._roster.link
            self._rounds[peer.node] = Round(peer, now, interval_s, stretch, path.tries)

    def _tried(self, peer: Peer, answered: bool) -> None:
        peer.path.tried(answered)
        self._roster.link.tried(answered)

    def _go_on(self, probe: Round, now: float) -> None:
        peer = probe.peer
        if peer.state is not State.ALIVE:
            del self._rounds[peer.node]
        elif now >= probe.ends_at:
            del self._rounds[peer.node]
            self._failed(peer, now)
        elif now >= probe.next_try and probe.tries_left:
            if probe.sent:
                self._tried(peer, answered=False)
            probe.tries_left -= 1
            probe.sent += 1
            probe.next_try = now + probe.spacing_s
            self.ping(peer, now, everywhere=probe.sent > 1)
        if now >= probe.ask_helpers_at and peer.node in self._rounds:
            probe.ask_helpers_at = probe.ends_at + 1.0
            self.helpers.ask(peer, self._seq, now)
            self.greet(peer, now, "it does not answer pings", gap_s=DOUBT_GAP_S)

    def _failed(self, peer: Peer, now: float) -> None:
        """A round went unanswered (rule 3)."""
        self._tried(peer, answered=False)
        peer.doubted = True
        self._doubts[peer.node] = peer
        self._judge_doubt(peer, now)

    def _judge_doubt(self, peer: Peer, now: float) -> None:
        if now - peer.evidence_at >= SILENCE_S * self._roster.health.stretch:
            self._verdicts.suspect(peer, now, "no answer to pings")

    def _press(self, peer: Peer, now: float) -> None:
        """Ping a suspect fast, or bury it (rule 5)."""
        quiet_s = now - peer.evidence_at
        if self._roster.is_large:
            quiet_s = min(quiet_s, now - peer.since)  # we have not asked it for long; only what it owes us counts
        if peer.met and quiet_s >= SILENCE_S * self._roster.health.stretch:
            self._verdicts.join(peer, now)
        self._verdicts.tick(peer, now)
        if not peer.met and peer.suspicion and now >= peer.next_fast:
            peer.next_fast = now + ASK_AGAIN_S
            self.greet(peer, now, "others suspect it, and it did not refute")
        if peer.state is State.SUSPECT and peer.met and now >= peer.next_fast:
            crowd = max(1.0, len(self._roster.alive()) / self._roster.tuning.mesh_up_to)
            peer.next_fast = max(peer.next_fast + FAST_EVERY_S * crowd, now)  # in step, though ticks are coarse
            self.ping(peer, now, everywhere=True)
            self.greet(peer, now, "it is suspect", gap_s=DOUBT_GAP_S)

    def _expire(self, now: float) -> None:
        if self._verifying:
            for node, (until, reason, by) in list(self._verifying.items()):
                if now >= until:
                    del self._verifying[node]
                    self._verified(self._roster.peers.get(node), until, reason, by, now)
        self.helpers.tick(now)
        while self._sent:
            oldest = next(iter(self._sent))
            if now - self._sent[oldest][1] <= KEEP_PING_S:
                break
            del self._sent[oldest]

    # --- pings and answers ------------------------------------------------------------------------------------

    def ping(self, peer: Peer, now: float, *, everywhere: bool = False) -> int:
        """Send one ping; returns its number."""
        self._seq = self._seq % 0xFFFFFFFF + 1
        self._sent[self._seq] = (peer.node, now)
        if not peer.first_unheard_seq:
            peer.first_unheard_seq, peer.silent_since = self._seq, now
        peer.unheard += 1
        me = self._roster.me
        claims = self._whispers.for_receiver(peer)
        ping = Ping(self._seq, me.packed_load, self._roster.state_hash(), peer.heard_seq, claims)
        self._roster.send(peer, ping, everywhere=everywhere)
        return self._seq

    def pinged(self, peer: Peer, ping: Ping, now: float) -> None:
        """Answer a ping, and see whether it says that ours arrive."""
        peer.heard_seq = ping.seq
        if peer.first_unheard_seq and ping.heard >= peer.first_unheard_seq:
            peer.confirmed(now)
        claims = self._whispers.for_receiver(peer)
        loads = self._loads.freshest(peer, now) if self._roster.is_large else []
        self._roster.send(peer, Ack(ping.seq, self._roster.me.packed_load, self._roster.state_hash(), claims, loads))

    def answered(self, peer: Peer, seq: int, now: float) -> None:
        """Take an answer: measure, and end its round."""
        node, sent_at = self._sent.pop(seq, (None, 0.0))
        if node != peer.node:
            return
        peer.path.answered(now - sent_at)
        self._tried(peer, answered=True)
        peer.confirmed(now)
        self._rounds.pop(peer.node, None)
        self._roster.health.better()

    def heard(self, peer: Peer, now: float) -> None:
        """A member spoke to us itself: tell those who asked after it, and what it says of itself in `loads`."""
        self._verdicts.heard(peer, now)
        if peer.refused_at > NEVER:
            peer.refused_at, peer.unrefusable_until = NEVER, now + NOT_REFUSED_S
        self.helpers.heard(peer)
        if peer.accused_at >= peer.incarnation:
            self.warn(peer, now)  # it lives, but others may have been told otherwise: only its own word clears that

    def loaded(self, peer: Peer, message: Ping | Ack, now: float) -> None:
        """Take the loads that ride on a datagram: its own, and in a large cluster those of others."""
        self._loads.take(peer, message, now)

    # --- evidence from elsewhere ------------------------------------------------------------------------------

    def refused(self, peer: Peer, now: float) -> None:
        """The kernel says that nobody listens at its address (rule 4); where that was false, it has to wait."""
        if self._roster.health.may_accuse(now) and now >= peer.unrefusable_until:
            peer.refused_at = now
            self._verdicts.suspect(peer, now, "nobody listens at its port")

    def verify(self, peer: Peer, now: float, reason: str, by: bytes | None = None) -> None:
        """Find out at once whether a member lives; unheard for 300 ms it is suspect for `reason`."""
        if peer.state is State.ALIVE and peer.met and peer.node not in self._verifying:
            self._verifying[peer.node] = (now + VERIFY_S, reason, by)
            peer.next_round = now
            self._rounds.pop(peer.node, None)
            self._start(peer, now)
            self._rounds[peer.node].tries_left = max(3, peer.path.tries)
            self._rounds[peer.node].spacing_s = min(VERIFY_S / 4, self._rounds[peer.node].spacing_s)

    def warn(self, peer: Peer, now: float) -> None:
        """Others accuse a member that we hear: ping it, with the accusation in the ping (rule 7)."""
        if peer.met and now >= peer.next_fast:
            peer.next_fast = now + FAST_EVERY_S
            self.ping(peer, now)

    def _verified(self, peer: Peer | None, until: float, reason: str, by: bytes | None, now: float) -> None:
        if peer and peer.evidence_at < until - VERIFY_S and self._roster.health.may_accuse(now):
            self._verdicts.suspect(peer, now, reason, by)

    def greet(self, peer: Peer, now: float, why: str, gap_s: float = GREET_GAP_S) -> None:
        """Ask for a greeting over TCP, at most once in `gap_s`."""
        if peer.addresses and now - peer.greeted_at >= gap_s and peer.state is not State.REVOKED:
            peer.greeted_at = now
            self._roster.effect(Greet(peer.node, tuple(peer.addresses), why, peer.is_hint))
