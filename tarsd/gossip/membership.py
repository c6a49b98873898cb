"""The membership core: events and `now` go in, effects come out. No clock, socket, log or `await` of its own.

It is made of: `roster` (who is known), `rumours` (news on its way), `verdicts` (from one state to the next), `prober`
(who is pinged, what silence means), `hearsay` (what others say), `repair` (facts), `greetings` (first contact),
`revocations` (who was thrown out).
Every method returns the effects to carry out, in order. Sources: SWIM, Lifeguard; see each part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

from tarsd.gossip.contacts import Contacts
from tarsd.gossip.effects import Effect
from tarsd.gossip.facts import as_facts
from tarsd.gossip.greetings import Greeter, Greetings
from tarsd.gossip.hearsay import Hearsay
from tarsd.gossip.introductions import Introductions
from tarsd.gossip.member import Address, Attribute, Load, Member, Met, State
from tarsd.gossip.messages import (
    Ack,
    Busy,
    Delta,
    Digest,
    Hello,
    Leave,
    Message,
    Nack,
    Ping,
    PingRequest,
    Revoked,
    Rumours,
    Vouch,
    Word,
)
from tarsd.gossip.peer import Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.proof import claim_statement
from tarsd.gossip.repair import Repair
from tarsd.gossip.revocations import Book, News, NoBook
from tarsd.gossip.roster import Me, Roster, Tuning
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.verdicts import Verdicts
from tarsd.names import Capability, NodeId

BUSY_MAX_S = 60.0  # nobody may ask for more patience at once
IDLE_S = 1.0
BUSY_REPEATS = 2
BUSY_GAP_S = 0.1


class Membership:
    """One node's view of the cluster, and what it does about it."""

    def __init__(
        self, me: Me, tuning: Tuning, exchange_key: bytes, rng: Random, now: float, *, book: Book | None = None
    ) -> None:
        """`exchange_key`: the public X25519 key of this boot. `book`: who is revoked; by default nobody ever is."""
        self.me = me
        self.roster = Roster(me, tuning, rng, now)
        self._whispers = Whispers(self.roster)
        self._verdicts = Verdicts(self.roster, self._whispers)
        self._prober = Prober(self.roster, self._whispers, self._verdicts)
        introductions = Introductions(self.roster, self._whispers, self._prober)
        self._hearsay = Hearsay(self.roster, self._whispers, self._verdicts, self._prober, introductions)
        self._news = News(self.roster, book or NoBook())
        self._repair = Repair(self.roster, self._prober, self._news, introductions)
        self._contacts = Contacts(self.roster, self._prober)
        self._greetings = Greetings(
            self.roster,
            self._verdicts,
            self._prober,
            self._hearsay,
            self._repair,
            self._news,
            self._contacts,
            introductions,
            exchange_key,
        )
        self._busy_repeats = 0
        self._busy_ms = 0
        self._busy_next = 0.0

    # --- this node ----------------------------------------------------------------------------------------------

    def start(self, now: float, port: int, addresses: Iterable[Address], seeds: Iterable[Address]) -> list[Effect]:
        """Begin: this node listens on `port`, at `addresses` where they are known, and looks at `seeds`."""
        self._greetings.port = port
        self.me.addresses = tuple(addresses)
        self._contacts.seed(list(seeds), now)
        return self.tick(now)

    def restore(self, met: Iterable[Met], now: float) -> list[Effect]:
        """Know, from the table, who was met in earlier boots; before `start`."""
        for known in met:
            if known.node != self.me.node:
                peer = self.roster.peer(known.node, now)
                peer.name, peer.zone, peer.generation = known.name, known.zone, known.generation
                peer.hint(tuple(known.addresses))
                self._contacts.restore(peer, now)
        return self.roster.drain()

    def met(self) -> list[Met]:
        """Return what the table has to hold: everybody whose certificate was ever seen."""
        return [
            Met(peer.node, peer.name, peer.zone, peer.addresses, peer.generation)
            for peer in self.roster.peers.values()
            if peer.zone is not None
        ]

    def advertise(
        self,
        capabilities: Mapping[Capability, Mapping[str, Attribute]],
        roles: Iterable[str],
        release: str,
        now: float,
        api: Iterable[str] = (),
    ) -> list[Effect]:
        """Say what this node can do, and at which URLs (`api`) people reach it; what was said before is withdrawn.

        Raises ValueError beyond 128 keys.
        """
        wanted = as_facts(capabilities, roles, release, api)
        facts = self.me.facts.changed_to(self.me.raw, wanted, self.me.generation, self.me.notary)
        if facts is not self.me.facts:
            known, self.me.facts = self.me.facts.version, facts
            self.roster.self_changed(now)
            self._repair.push(known, now)
        return self.roster.drain()

    def set_load(self, load: Load) -> None:
        """Say how much this node has to do; it travels with the next datagrams."""
        self.me.load, self.me.packed_load = load, load.pack()

    def busy(self, for_s: float) -> list[Effect]:
        """Announce a planned stall, or with 0 that it is over; it is said thrice, since datagrams get lost."""
        self._busy_ms, self._busy_repeats, self._busy_next = int(min(for_s, BUSY_MAX_S) * 1000), BUSY_REPEATS, 0.0
        self._say_busy()
        return self.roster.drain()

    def leave(self, reason: str, expect_back_s: float) -> list[Effect]:
        """Say goodbye to everybody; the shell repeats what this returns, since datagrams get lost."""
        me = self.me
        me.leaving = True
        proof = me.notary.sign(claim_statement(me.raw, Word.LEFT, me.generation, me.incarnation))
        message = Leave(me.generation, me.incarnation, reason[:32], int(expect_back_s * 1000), proof)
        for peer in self.roster.here():
            self.roster.send(peer, message)
        return self.roster.drain()

    def revoke(self, node: NodeId, now: float, reason: str = "revoked") -> list[Effect]:
        """Let a member be REVOKED from now on, for good. Notices do this by themselves; here it needs no proof."""
        peer = self.roster.peer(node, now)
        self._news.revoke(node, now, peer.name, reason)
        return self.roster.drain()

    # --- time ---------------------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether ticks should come every 20 ms rather than every 50."""
        return self._prober.is_busy

    def tick(self, now: float) -> list[Effect]:
        """Do what is due; to be called every 50 ms (a call much later than that is taken for a stall of ours)."""
        lag_s = self.roster.health.tick(now)
        if lag_s:
            self._prober.stalled(lag_s)
        self._news.tick(now)
        if not self.me.leaving and not self.me.revoked:
            self._prober.tick(now)
            self._contacts.tick(now)
            self._whispers.tick(now)
            if self._busy_repeats and now >= self._busy_next:
                self._busy_repeats -= 1
                self._busy_next = now + BUSY_GAP_S
                self._say_busy()
        return self.roster.drain()

    def due(self, now: float) -> float:
        """When a tick has something to do; a simulation of many nodes leaves out the others, a few at a time."""
        if self._busy_repeats:
            return now
        return min(self._prober.due(now), self._contacts.due(now), self._whispers.due_at, now + IDLE_S)

    def network_changed(self, addresses: Iterable[Address], now: float) -> list[Effect]:
        """A link came up, our addresses changed, or the computer woke up: look for everybody at once."""
        self.me.addresses = tuple(addresses)
        self._contacts.look_at_once(now)
        return self.tick(now)

    def resumed(self, away_s: float, addresses: Iterable[Address], now: float) -> list[Effect]:
        """The computer slept for `away_s`, which `now`'s clock does not count: nothing that was heard is fresh."""
        self.roster.health.stalled(now)
        self._prober.stalled(0.0)
        for peer in self.roster.peers.values():
            peer.away(away_s)
        self._prober.look_at_all(now)
        return self.network_changed(addresses, now)

    # --- what arrives -------------------------------------------------------------------------------------------

    def received(self, node: NodeId, message: Message | None, address: Address, now: float) -> list[Effect]:
        """Take an authentic datagram of `node` (None: one of a kind that we do not know, still a sign of life)."""
        peer = self.roster.peers.get(node)
        if peer is None or not peer.met or self.me.leaving or self.me.revoked:
            return []
        if peer.heard_from(address, now):
            self.roster.changed(peer, now)
        self._prober.heard(peer, now)
        if message is not None and peer.state is not State.LEFT:
            self._take(peer, message, now)
        return self.roster.drain()

    def stranger(self, node: NodeId, now: float) -> list[Effect]:
        """A datagram claims to be from `node` but no session opens it: perhaps it restarted; ask over TCP.

        While the member is heard properly, this is somebody else's garbage and nothing happens.
        """
        peer = self.roster.peers.get(node)
        if peer is not None and now - peer.heard_at > 1.0:
            self._prober.greet(peer, now, "a datagram of another boot")
        return self.roster.drain()

    def refused(self, address: Address, now: float) -> list[Effect]:
        """The kernel says that nobody listens at `address`."""
        for peer in self.roster.alive():
            if peer.addresses[:1] == [address]:
                self._prober.refused(peer, now)
        return self.roster.drain()

    def call_failed(self, node: NodeId, now: float) -> list[Effect]:
        """A call to `node` broke: see at once whether it lives."""
        peer = self.roster.peers.get(node)
        if peer is not None:
            self._prober.verify(peer, now, "a call to it failed")
        return self.tick(now)

    def call_worked(self, node: NodeId, now: float) -> list[Effect]:
        """A frame of a call came from `node`."""
        peer = self.roster.peers.get(node)
        if peer is not None and peer.met:
            self._prober.heard(peer, now)
        return self.roster.drain()

    def hint(self, node: NodeId, addresses: Iterable[Address], now: float) -> list[Effect]:
        """Somebody announces that `node` lives at one of these addresses."""
        self._contacts.hint(node, tuple(addresses), now)
        return self.roster.drain()

    def greeting(self) -> Hello:
        """Return what to say in a greeting that goes out now."""
        return self._greetings.greeting()

    def greeted(self, greeter: Greeter, hello: Hello, now: float) -> tuple[Hello, list[Effect]]:
        """Take a greeting; returns the answer to it."""
        answer = self._greetings.answer(greeter, hello, now)
        return answer, self.roster.drain()

    def greeting_answered(self, greeter: Greeter, address: Address, hello: Hello, now: float) -> list[Effect]:
        """Take the answer to a greeting of ours."""
        self._greetings.answered(greeter, address, hello, now)
        return self.roster.drain()

    def greeting_failed(self, node: NodeId | None, now: float) -> list[Effect]:
        """Nobody answered a greeting of ours."""
        self._greetings.failed(node, now)
        return self.roster.drain()

    # --- what is known ------------------------------------------------------------------------------------------

    def members(self, now: float) -> tuple[Member, ...]:
        """Return everybody, this node first."""
        own = self.me.as_member(self.roster.started, now)
        return (own, *(peer.as_member(now) for peer in self.roster.peers.values()))

    def member(self, node: NodeId, now: float) -> Member | None:
        """Return one member."""
        if node == self.me.node:
            return self.me.as_member(self.roster.started, now)
        peer = self.roster.peers.get(node)
        return peer.as_member(now) if peer else None

    # --- datagrams, by kind -------------------------------------------------------------------------------------

    def _take(self, peer: Peer, message: Message, now: float) -> None:
        match message:
            case Ping():
                self._learn(peer, message, now)
                self._prober.pinged(peer, message, now)
            case Ack():
                self._prober.answered(peer, message.seq, now)
                self._learn(peer, message, now)
            case PingRequest():
                self._prober.helpers.requested(peer, message, now)
            case Vouch():
                self._prober.helpers.vouched(peer, message, now)
            case Nack():
                self._prober.helpers.declined(peer, message)
            case Rumours():
                self._hearsay.hear(message.claims, peer, now)
            case Digest():
                self._repair.digest(peer, message, now)
            case Delta():
                self._repair.delta(message, peer, now)
            case Leave():
                self._hearsay.goodbye(peer, message, now)
            case Revoked():
                self._news.hear(message.notice, now)
            case Busy():
                self._announced(peer, min(message.for_ms / 1000, BUSY_MAX_S), now)

    def _learn(self, peer: Peer, message: Ping | Ack, now: float) -> None:
        """Take what rides on pings and answers: load, rumours, state hash."""
        self._prober.loaded(peer, message, now)
        self._hearsay.hear(message.claims, peer, now)
        self._repair.compare(peer, message.state_hash, now)

    def _say_busy(self) -> None:
        for peer in self.roster.here():
            self.roster.send(peer, Busy(self._busy_ms))

    def _announced(self, peer: Peer, for_s: float, now: float) -> None:
        """It may be silent for so long (0 = no more); what is only repeated is no news."""
        before_s, peer.busy_until = peer.busy_until - now, now + for_s
        if abs(for_s - max(before_s, 0.0)) > 1.0:
            self.roster.changed(peer, now)
