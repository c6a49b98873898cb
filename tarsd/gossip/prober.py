"""The failure detector: who is pinged when, and what silence means.

Rules
1. Up to `mesh_up_to` members everybody pings everybody each T'; beyond that one member each T', in shuffled rounds.
2. A ping is tried again, the more often the lossier the way is, spread over T'; half-way through, helpers ping too and
   a greeting over TCP is tried.
3. A round without an answer is doubt. Doubt becomes suspicion when there was no sign of life of any kind for 1 s.
4. The kernel's word that nobody listens there, or a failed call and 300 ms of silence, is suspicion at once.
5. A suspect gets a fast ping every 100 ms, with the suspicion in it.
6. After a stall of our own, outstanding pings are void and nobody is accused for one T'.
Sources: SWIM section 3; Lifeguard; REFERENCE 2.4.
"""

from __future__ import annotations

from collections.abc import Iterable

from tarsd.gossip.effects import Greet
from tarsd.gossip.member import State
from tarsd.gossip.messages import Ack, Nack, Ping, PingRequest, Vouch
from tarsd.gossip.peer import Peer
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.verdicts import Verdicts
from tarsd.names import NodeId

SILENCE_S = 1.0  # without any sign of life, before doubt becomes suspicion
FAST_EVERY_S = 0.1
VERIFY_S = 0.3  # a failed call or a stranger's DEAD is checked for so long
FAVOUR_S = 0.4  # a helper waits so long for the target before it says Nack
FAVOURS_MAX = 64  # guards against being made to ping the world
KEEP_PING_S = 5.0  # a later answer is still proof of life, but measures nothing
GREET_GAP_S = 1.0
DOUBT_GAP_S = 0.4  # below T': where UDP is blocked, greetings over TCP are the pings


class Round:
    """The tries of one probe of one member."""

    def __init__(self, peer: Peer, now: float, interval_s: float, stretch: int) -> None:
        self.peer = peer
        self.tries_left = peer.path.tries
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
        self._favours: dict[int, tuple[NodeId, int, NodeId, float]] = {}  # ours -> asker, its seq, target, until
        self._verifying: dict[NodeId, tuple[float, str, bytes | None]] = {}
        self._seq = roster.rng.randrange(1, 1 << 16)
        self._order: list[NodeId] = []
        self._next_turn = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether tries are outstanding, so that ticks should come more often."""
        return bool(self._rounds or self._verifying)

    # --- time -------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Do what is due."""
        for peer in self._due(now):
            self._start(peer, now)
        for probe in list(self._rounds.values()):
            self._go_on(probe, now)
        for peer in list(self._roster.peers.values()):
            if peer.state is State.ALIVE and peer.doubted:
                self._judge_doubt(peer, now)
            elif peer.state is State.SUSPECT and peer.met:
                self._press(peer, now)
        self._expire(now)

    def stalled(self, lag_s: float) -> None:
        """We were away: what was outstanding proves nothing (rule 6)."""
        self._rounds.clear()
        self._favours.clear()
        self._verifying.clear()
        for peer in self._roster.peers.values():
            peer.doubted = False
            if peer.suspicion:
                peer.suspicion.shift(lag_s)

    def _due(self, now: float) -> Iterable[Peer]:
        """Yield whose round begins (rule 1)."""
        alive = self._roster.alive()
        if len(alive) < self._roster.tuning.mesh_up_to:
            return [peer for peer in alive if now >= peer.next_round and peer.node not in self._rounds]
        if now < self._next_turn:
            return []
        self._next_turn = now + self._roster.tuning.probe_interval_s * self._roster.health.stretch
        return self._next_in_turn()

    def _next_in_turn(self) -> list[Peer]:
        for _ in range(len(self._order) + 1):
            if not self._order:
                self._order = [peer.node for peer in self._roster.alive()]
                self._roster.rng.shuffle(self._order)
            peer = self._roster.peers.get(self._order.pop())
            if peer and peer.met and peer.state is State.ALIVE:
                return [peer]
        return []

    def _start(self, peer: Peer, now: float) -> None:
        interval_s = self._roster.tuning.probe_interval_s
        # A tenth of jitter, or all nodes that met at one moment would ping at one moment for ever.
        peer.next_round = now + interval_s * self._roster.health.stretch * self._roster.rng.uniform(0.95, 1.05)
        if peer.node not in self._rounds:
            self._rounds[peer.node] = Round(peer, now, interval_s, self._roster.health.stretch)

    def _go_on(self, probe: Round, now: float) -> None:
        peer = probe.peer
        if peer.state is not State.ALIVE:
            del self._rounds[peer.node]
        elif now >= probe.ends_at:
            del self._rounds[peer.node]
            self._failed(peer, now)
        elif now >= probe.next_try and probe.tries_left:
            if probe.sent:
                peer.path.tried(answered=False)
            probe.tries_left -= 1
            probe.sent += 1
            probe.next_try = now + probe.spacing_s
            self.ping(peer, now)
        if now >= probe.ask_helpers_at and peer.node in self._rounds:
            probe.ask_helpers_at = probe.ends_at + 1.0
            self._ask_helpers(peer, now)
            self.greet(peer, now, "it does not answer pings", gap_s=DOUBT_GAP_S)

    def _failed(self, peer: Peer, now: float) -> None:
        """A round went unanswered (rule 3)."""
        peer.path.tried(answered=False)
        peer.doubted = True
        self._judge_doubt(peer, now)

    def _judge_doubt(self, peer: Peer, now: float) -> None:
        if now - peer.evidence_at >= SILENCE_S * self._roster.health.stretch:
            self._verdicts.suspect(peer, now, "no answer to pings")

    def _press(self, peer: Peer, now: float) -> None:
        """Ping a suspect fast, or bury it (rule 5)."""
        if now - peer.evidence_at >= SILENCE_S * self._roster.health.stretch:
            self._verdicts.join(peer, now)
        self._verdicts.tick(peer, now)
        if peer.state is State.SUSPECT and now >= peer.next_fast:
            peer.next_fast = max(peer.next_fast + FAST_EVERY_S, now)  # in step, though ticks are coarse
            self.ping(peer, now)
            self.greet(peer, now, "it is suspect", gap_s=DOUBT_GAP_S)

    def _expire(self, now: float) -> None:
        for node, (until, reason, by) in list(self._verifying.items()):
            if now >= until:
                del self._verifying[node]
                self._verified(self._roster.peers.get(node), until, reason, by, now)
        for seq, (asker, asked_seq, target, until) in list(self._favours.items()):
            if now >= until:
                del self._favours[seq]
                if asker in self._roster.peers:
                    self._roster.send(self._roster.peers[asker], Nack(asked_seq, bytes.fromhex(target)))
        while self._sent and now - next(iter(self._sent.values()))[1] > KEEP_PING_S:
            del self._sent[next(iter(self._sent))]

    # --- pings and answers ------------------------------------------------------------------------------------

    def ping(self, peer: Peer, now: float, *, everywhere: bool = False) -> int:
        """Send one ping; returns its number."""
        self._seq = self._seq % 0xFFFFFFFF + 1
        self._sent[self._seq] = (peer.node, now)
        if not peer.first_unheard_seq:
            peer.first_unheard_seq, peer.silent_since = self._seq, now
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
        self._roster.send(peer, Ack(ping.seq, self._roster.me.packed_load, self._roster.state_hash(), claims))

    def answered(self, peer: Peer, seq: int, now: float) -> None:
        """Take an answer: measure, and end its round."""
        node, sent_at = self._sent.pop(seq, (None, 0.0))
        if node != peer.node:
            return
        peer.path.answered(now - sent_at)
        peer.path.tried(answered=True)
        peer.confirmed(now)
        self._rounds.pop(peer.node, None)
        self._roster.health.better()
        favour = self._favours.pop(seq, None)
        if favour and favour[0] in self._roster.peers:
            self._roster.send(self._roster.peers[favour[0]], Vouch(favour[1], peer.raw))

    # --- helpers ----------------------------------------------------------------------------------------------

    def _ask_helpers(self, peer: Peer, now: float) -> None:
        others = [other for other in self._roster.alive() if other is not peer and not other.doubted]
        for helper in self._roster.sample(others, self._roster.tuning.indirect_probes):
            self._roster.send(helper, PingRequest(self._seq, peer.raw))

    def requested(self, asker: Peer, request: PingRequest, now: float) -> None:
        """Ping a member for another one."""
        target = self._roster.peers.get(NodeId(request.target.hex()))
        if target is None or not target.met or len(self._favours) >= FAVOURS_MAX:
            self._roster.send(asker, Nack(request.seq, request.target))
            return
        seq = self.ping(target, now)
        self._favours[seq] = (asker.node, request.seq, target.node, now + FAVOUR_S)

    def vouched(self, vouch: Vouch, now: float) -> None:
        """A helper has heard the member that we do not hear."""
        peer = self._roster.peers.get(NodeId(vouch.target.hex()))
        if peer and peer.state in (State.ALIVE, State.SUSPECT):
            self._verdicts.vouched(peer, now, "only others hear it")

    # --- evidence from elsewhere ------------------------------------------------------------------------------

    def refused(self, peer: Peer, now: float) -> None:
        """The kernel says that nobody listens at its address (rule 4)."""
        if self._roster.health.may_accuse(now):
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

    def _verified(self, peer: Peer | None, until: float, reason: str, by: bytes | None, now: float) -> None:
        if peer and peer.evidence_at < until - VERIFY_S and self._roster.health.may_accuse(now):
            self._verdicts.suspect(peer, now, reason, by)

    def greet(self, peer: Peer, now: float, why: str, gap_s: float = GREET_GAP_S) -> None:
        """Ask for a greeting over TCP, at most once in `gap_s`."""
        if peer.addresses and now - peer.greeted_at >= gap_s:
            peer.greeted_at = now
            self._roster.effect(Greet(peer.node, tuple(peer.addresses), why))
