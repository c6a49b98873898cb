"""Everybody this node knows, itself included, and the effects that were decided but not yet handed out."""

from __future__ import annotations

from random import Random

import msgspec

from tarsd import config
from tarsd.gossip.effects import Effect, MemberChanged, Remember, Send
from tarsd.gossip.estimates import Path
from tarsd.gossip.facts import Facts
from tarsd.gossip.member import Address, Load, Member, State
from tarsd.gossip.messages import Claim, Message, Word
from tarsd.gossip.peer import Peer, state_mark
from tarsd.gossip.proof import Notary, claim_statement
from tarsd.gossip.stall import Health
from tarsd.names import NodeId, NodeName, Zone

MAX_KNOWN = 2048  # guards memory and the table; beyond it, who was away longest is forgotten

MAX_HINTS = 64  # guards all of that against a LAN that announces thousands of names


class Tuning(msgspec.Struct, frozen=True):
    """The settings of the membership core; `config.Gossip` documents them and has their defaults."""

    probe_interval_s: float
    mesh_up_to: int
    indirect_probes: int
    suspicion_min_s: float
    reprobe_dead_s: float


def tuning_of(settings: config.Gossip) -> Tuning:
    """Return what the core needs of a config."""
    return msgspec.convert(settings, Tuning, from_attributes=True)


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
        self.revoked = ""  # why, once it is
        self._claim: Claim | None = None

    def claim(self) -> Claim:
        """Return this node's own word that it lives, signed once for each incarnation."""
        known = self._claim
        if known is None or (known.generation, known.incarnation) != (self.generation, self.incarnation):
            proof = self.notary.sign(claim_statement(self.raw, Word.ALIVE, self.generation, self.incarnation))
            self._claim = known = Claim(self.raw, Word.ALIVE, self.generation, self.incarnation, self.raw, proof)
        return known

    def state_mark(self) -> int:
        """Return this node's share of the state hash, which others compute in the same way."""
        return state_mark(self.raw, self.generation, self.facts.version)

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
            reason=self.revoked or "this node",
            version=self.facts.release,
            api=self.facts.api,
            is_self=True,
        )


class Roster:
    """The one place where members change their state; what is asked often is kept, not counted anew."""

    def __init__(self, me: Me, tuning: Tuning, rng: Random, now: float) -> None:
        self.me = me
        self.tuning = tuning
        self.rng = rng
        self.started = now
        self.health = Health(calm_s=tuning.probe_interval_s)
        self.link = Path()  # this node's own link: all tries to everybody
        self.peers: dict[NodeId, Peer] = {}
        self.by_raw: dict[bytes, Peer] = {}
        self.by_prefix: dict[bytes, Peer] = {}
        self.suspects: dict[NodeId, Peer] = {}
        self.only_vouched: dict[NodeId, Peer] = {}  # helpers hear them, we do not
        self.away_changed = True  # somebody is to be contacted who was not, or at another time
        self.wants_members = True  # the next greeting asks whom the other one knows
        self._effects: list[Effect] = []
        self._alive: dict[NodeId, Peer] = {}
        self._here: dict[NodeId, Peer] = {}
        self._away: dict[NodeId, Peer] = {}
        self._alive_list: list[Peer] | None = None
        self._here_list: list[Peer] | None = None
        self._mixed = 0  # XOR of the marks of all present members but this node
        self._hash: bytes | None = None
        self.notices = bytes(8)  # digest of the notices that are known

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
            self._effects.append(Send(peer.node, message, tuple(peer.addresses if everywhere else peer.addresses[:1])))

    def peer(self, node: NodeId, now: float) -> Peer:
        """Return the peer, made as a hint where it was unknown."""
        peer = self.peers.get(node)
        if peer is None:
            self._make_room(now)
            peer = self.peers[node] = Peer(node, now)
            self.by_raw[peer.raw] = self._away[node] = peer
            self.by_prefix.setdefault(peer.raw[:8], peer)  # whoever is known takes it (`_recount`)
            self.away_changed = True
        return peer

    def alive(self) -> list[Peer]:
        """Return the members that live and were greeted; not to be changed."""
        if self._alive_list is None:
            self._alive_list = list(self._alive.values())
        return self._alive_list

    def here(self) -> list[Peer]:
        """Return the members that count as present, suspects included; not to be changed."""
        if self._here_list is None:
            self._here_list = list(self._here.values())
        return self._here_list

    def away(self) -> list[Peer]:
        """Return everybody who does not count as present."""
        return list(self._away.values())

    @property
    def is_large(self) -> bool:
        """Whether there are too many members for everybody to probe everybody."""
        return len(self._here) >= self.tuning.mesh_up_to

    @property
    def count(self) -> int:
        """How many members count as present, this node included."""
        return len(self._here) + 1

    def sample(self, peers: list[Peer], count: int) -> list[Peer]:
        """Return up to `count` of `peers`, chosen evenly."""
        return peers if len(peers) <= count else self.rng.sample(peers, count)

    def set_state(self, peer: Peer, state: State, now: float, reason: str) -> None:
        """Let a member be in `state` from now on, and say so; who is revoked stays it."""
        if peer.state is State.REVOKED:
            return
        if state is State.SUSPECT:
            self.suspects[peer.node] = peer
        else:
            self.suspects.pop(peer.node, None)
            peer.suspicion = None
        peer.reason = reason
        if peer.state is not state:
            peer.state, peer.since = state, now
            self.effect(Remember())
        self.changed(peer, now)

    def changed(self, peer: Peer, now: float) -> None:
        """Say that something about a member is new."""
        self._recount(peer)
        self.effect(MemberChanged(peer.as_member(now)))

    def self_changed(self, now: float) -> None:
        """Say that something about this node is new."""
        self._hash = None
        self.effect(MemberChanged(self.me.as_member(self.started, now)))

    def know_notices(self, digest: bytes) -> None:
        """Mix the digest of the notices into the state hash: who lacks one differs."""
        self.notices, self._hash = digest, None

    def state_hash(self) -> bytes:
        """Return the hash by which two nodes see that their facts differ: XOR over all present members."""
        if self._hash is None:
            notices = int.from_bytes(self.notices, "big")
            self._hash = (self._mixed ^ self.me.state_mark() ^ notices).to_bytes(8, "big")
        return self._hash

    def hints(self) -> list[Peer]:
        """Return those of whom there is nothing but an address that somebody announced."""
        return [peer for peer in self._away.values() if peer.is_hint]

    def forget(self, peer: Peer) -> None:
        """Know a node no more."""
        self._mixed ^= peer.counted
        self._hash = self._alive_list = self._here_list = None
        for group in (self._here, self._away, self._alive):
            _keep(group, peer, False)
        self.suspects.pop(peer.node, None)
        self.only_vouched.pop(peer.node, None)
        del self.peers[peer.node]
        del self.by_raw[peer.raw]
        if self.by_prefix.get(peer.raw[:8]) is peer:
            del self.by_prefix[peer.raw[:8]]

    def _recount(self, peer: Peer) -> None:
        holder = self.by_prefix.get(peer.raw[:8])
        if holder is not peer and (holder is None or peer.met or (peer.introduced and not holder.known)):
            self.by_prefix[peer.raw[:8]] = peer
        is_here = peer.here
        is_alive = is_here and peer.met and peer.state is State.ALIVE
        if is_here is not (peer.node in self._here):
            self._here_list = None
            _keep(self._here, peer, is_here)
        if is_alive is not (peer.node in self._alive):
            self._alive_list = None
            _keep(self._alive, peer, is_alive)
        _keep(self._away, peer, not is_here)
        if not is_here:
            self.away_changed = True
        mark = peer.state_mark() if is_here else 0
        if mark != peer.counted:
            self._mixed ^= mark ^ peer.counted
            peer.counted = mark
            self._hash = None

    def _make_room(self, now: float) -> None:
        hints = self.hints()
        if len(self.peers) < MAX_KNOWN and len(hints) < MAX_HINTS:
            return
        away = [peer for peer in self.peers.values() if not peer.here]
        some = hints or away or self.peers.values()
        self.forget(max(some, key=lambda peer: (now - peer.heard_at, now - peer.since)))


def _keep(peers: dict[NodeId, Peer], peer: Peer, is_in: bool) -> None:
    if is_in:
        peers[peer.node] = peer
    else:
        peers.pop(peer.node, None)
