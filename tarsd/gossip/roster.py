"""Everybody this node knows, itself included, and the effects that were decided but not yet handed out."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec

from tarsd.gossip.effects import Effect, MemberChanged, Remember, Send
from tarsd.gossip.facts import Facts
from tarsd.gossip.member import Address, Load, Member, State
from tarsd.gossip.messages import Claim, Message, Word
from tarsd.gossip.peer import Peer
from tarsd.gossip.proof import Notary, claim_statement
from tarsd.gossip.stall import Health
from tarsd.names import NodeId, NodeName, Zone

MAX_KNOWN = 2048  # guards memory and the table; beyond it, who was away longest is forgotten


class Tuning(msgspec.Struct, frozen=True):
    """The settings of the membership core; `config.Gossip` documents them and has their defaults."""

    probe_interval_s: float
    mesh_up_to: int
    indirect_probes: int
    suspicion_min_s: float
    reprobe_dead_s: float


class Me:
    """This node in this boot."""

    def __init__(self, node: NodeId, name: NodeName, zone: Zone, boot: bytes, generation: int, notary: Notary) -> None:
        self.node = node
        self.raw = bytes.fromhex(node)
        self.name = name
        self.zone = zone
        self.boot = boot
        self.generation = generation
        self.incarnation = 0
        self.notary = notary
        self.facts = Facts(generation)
        self.load = Load()
        self.packed_load = self.load.pack()
        self.addresses: tuple[Address, ...] = ()
        self.leaving = False
        self._claim: Claim | None = None

    def claim(self) -> Claim:
        """Return this node's own word that it lives, signed once for each incarnation."""
        known = self._claim
        if known is None or (known.generation, known.incarnation) != (self.generation, self.incarnation):
            proof = self.notary.sign(claim_statement(self.raw, Word.ALIVE, self.generation, self.incarnation))
            self._claim = known = Claim(self.raw, Word.ALIVE, self.generation, self.incarnation, self.raw, proof)
        return known

    def state_mark(self) -> bytes:
        """Return this node's share of the state hash, which others compute in the same way."""
        stand_in = Peer(self.node, 0.0)
        stand_in.generation, stand_in.facts = self.generation, self.facts
        return stand_in.state_mark()

    def as_member(self, since: float, now: float) -> Member:
        """Return this node as its own member."""
        return Member(
            node=self.node,
            name=self.name,
            zone=self.zone,
            state=State.LEFT if self.leaving else State.ALIVE,
            addresses=self.addresses,
            generation=self.generation,
            incarnation=self.incarnation,
            capabilities=self.facts.capabilities,
            roles=self.facts.roles,
            load=self.load,
            load_age_s=0.0,
            since_s=now - since,
            last_heard_s=0.0,
            rtt_ms=0.0,
            loss=0.0,
            reason="this node",
            version=self.facts.release,
            is_self=True,
        )


class Roster:
    """The one place where members change their state."""

    def __init__(self, me: Me, tuning: Tuning, rng: Random, now: float) -> None:
        self.me = me
        self.tuning = tuning
        self.rng = rng
        self.started = now
        self.health = Health(calm_s=tuning.probe_interval_s)
        self.peers: dict[NodeId, Peer] = {}
        self.by_prefix: dict[bytes, Peer] = {}
        self._effects: list[Effect] = []
        self._hash: bytes | None = None

    def drain(self) -> list[Effect]:
        """Return the effects decided since the last call."""
        effects, self._effects = self._effects, []
        return effects

    def effect(self, effect: Effect) -> None:
        """Decide an effect."""
        self._effects.append(effect)

    def send(self, peer: Peer, message: Message, *, everywhere: bool = False) -> None:
        """Send to the address that works, or to all that are known."""
        if peer.met and peer.addresses:
            self.effect(Send(peer.node, message, tuple(peer.addresses if everywhere else peer.addresses[:1])))

    def peer(self, node: NodeId, now: float) -> Peer:
        """Return the peer, made as a hint where it was unknown."""
        peer = self.peers.get(node)
        if peer is None:
            self._make_room(now)
            peer = self.peers[node] = self.by_prefix[bytes.fromhex(node)[:8]] = Peer(node, now)
        return peer

    def alive(self) -> list[Peer]:
        """Return the members that live and were greeted."""
        return [peer for peer in self.peers.values() if peer.met and peer.state is State.ALIVE]

    def here(self) -> list[Peer]:
        """Return the members that count as present, suspects included."""
        return [peer for peer in self.peers.values() if peer.here]

    def sample(self, peers: Iterable[Peer], count: int) -> list[Peer]:
        """Return up to `count` of `peers`, chosen evenly."""
        pool = list(peers)
        return pool if len(pool) <= count else self.rng.sample(pool, count)

    def set_state(self, peer: Peer, state: State, now: float, reason: str) -> None:
        """Let a member be in `state` from now on, and say so."""
        if state is not State.SUSPECT:
            peer.suspicion = None
        peer.reason = reason
        if peer.state is not state:
            peer.state, peer.since = state, now
            self._hash = None
            self.effect(Remember())
        self.changed(peer, now)

    def changed(self, peer: Peer, now: float) -> None:
        """Say that something about a member is new."""
        self._hash = None
        self.effect(MemberChanged(peer.as_member(now)))

    def self_changed(self, now: float) -> None:
        """Say that something about this node is new."""
        self._hash = None
        self.effect(MemberChanged(self.me.as_member(self.started, now)))

    def state_hash(self) -> bytes:
        """Return the hash by which two nodes see that their facts differ: XOR over all present members."""
        if self._hash is None:
            mixed = int.from_bytes(self.me.state_mark(), "big")
            for peer in self.here():
                mixed ^= int.from_bytes(peer.state_mark(), "big")
            self._hash = mixed.to_bytes(8, "big")
        return self._hash

    def _make_room(self, now: float) -> None:
        if len(self.peers) < MAX_KNOWN:
            return
        away = [peer for peer in self.peers.values() if not peer.here]
        oldest = max(away or self.peers.values(), key=lambda peer: (now - peer.heard_at, now - peer.since))
        del self.peers[oldest.node]
        del self.by_prefix[oldest.raw[:8]]
