"""First contact and every later greeting: who is let in, and whom this node looks for.

Rules
1. Identity, name and zone come from the certificate of the connection; everything else is the greeter's own word.
2. A greeting is refused when no protocol version is common, when it comes from ourselves, or when its boot is not newer
   than one we know: the refused node takes a generation above what is believed of it, and greets again.
3. A boot that speaks again after a newer one took its place is a copy of the node (a cloned disk): alarm.
4. What a greeting says of third nodes are hints: they are greeted themselves before anything is believed.
5. Who is not met, dead or gone is contacted for ever: within seconds at first, every `reprobe_dead_s` later, every
   minute after an hour. So a partition always heals.
6. Where a seed lives is greeted until somebody answers, and again whenever nobody alive is at that address.
"""

from __future__ import annotations

from dataclasses import dataclass

from tarsd.gossip.effects import Agree, Alarm, Greet, KeepGeneration, Remember
from tarsd.gossip.hearsay import Hearsay
from tarsd.gossip.member import Address, Load, State
from tarsd.gossip.messages import (
    MAX_ADDRESSES,
    MAX_SNAPSHOT,
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Believed,
    Hello,
    Known,
)
from tarsd.gossip.peer import NEVER, WORDS, Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.repair import Repair
from tarsd.gossip.roster import Roster
from tarsd.gossip.verdicts import Verdicts
from tarsd.names import NodeId, NodeName, Zone

FIRST_DELAY_S = 0.25
HOUR_S = 3600.0
RARELY_S = 60.0
HINT_GAP_S = 0.2
SEEDS_EVERY_S = 5.0
GENERATION_MAX = 0xFFFF_0000  # a peer that claims to have seen more is lying; leaves room to count on

CLONE = "clone"
OLD = "generation"
OURSELVES = "self"
PROTOCOL = "protocol"


@dataclass
class Greeter:
    """Who is at the other end of a greeting: from its certificate, and where it was reached or came from."""

    node: NodeId
    name: NodeName
    zone: Zone
    host: str


@dataclass
class Seed:
    """A configured address, and when to try it again."""

    address: Address
    next_try: float
    delay_s: float = FIRST_DELAY_S


class Greetings:
    """Writes greetings, takes them, and decides when to send one."""

    def __init__(
        self, roster: Roster, verdicts: Verdicts, prober: Prober, hearsay: Hearsay, repair: Repair, key: bytes
    ) -> None:
        """`key`: the public X25519 key of this boot."""
        self._roster = roster
        self._verdicts = verdicts
        self._prober = prober
        self._hearsay = hearsay
        self._repair = repair
        self._key = key
        self._seeds: list[Seed] = []
        self._own_addresses: set[Address] = set()
        self.port = 0

    # --- what we say --------------------------------------------------------------------------------------------

    def greeting(self, believed: Believed | None = None, refused: str = "") -> Hello:
        """Return this node's greeting, or its answer to one."""
        me = self._roster.me
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            generation=me.generation,
            incarnation=me.incarnation,
            boot=me.boot,
            exchange_key=self._key,
            signing_key=me.notary.public_key,
            epoch=0,
            port=self.port,
            addresses=list(me.addresses[:MAX_ADDRESSES]),
            version=me.facts.release,
            load=me.packed_load,
            facts=me.facts.since(me.raw, 0) if me.facts.version else None,
            members=[] if refused else self._known(),
            believed=believed,
            refused=refused,
        )

    def _known(self) -> list[Known]:
        peers = [peer for peer in self._roster.peers.values() if peer.addresses and peer.generation]
        peers.sort(key=lambda peer: not peer.here)
        return [
            Known(peer.raw, peer.name, peer.generation, WORDS[peer.state], peer.addresses[:MAX_ADDRESSES])
            for peer in peers[:MAX_SNAPSHOT]
        ]

    # --- what we are told ---------------------------------------------------------------------------------------

    def answer(self, greeter: Greeter, hello: Hello, now: float) -> Hello:
        """Take a greeting and return the answer to it."""
        peer = self._roster.peers.get(greeter.node)
        believed = None
        if peer and peer.generation:
            believed = Believed(peer.generation, peer.incarnation, peer.boot or bytes(8), WORDS[peer.state])
        return self.greeting(believed, self._take(greeter, hello, now))

    def answered(self, greeter: Greeter, address: Address, hello: Hello, now: float) -> None:
        """Take the answer to our greeting."""
        if hello.refused == OURSELVES and greeter.node == self._roster.me.node:
            self._own_addresses.add(address)
            return
        if hello.refused == OLD and hello.believed:
            self._outgrow(hello.believed, greeter, now)
            return
        if hello.refused:
            self._roster.effect(Alarm(f"{greeter.name} refused our greeting: {hello.refused}"))
            return
        self._take(greeter, hello, now)
        if hello.believed:
            self._hearsay.refute(hello.believed.word, hello.believed.generation, hello.believed.incarnation, now)

    def failed(self, node: NodeId | None, now: float) -> None:
        """Nobody answered our greeting."""
        peer = self._roster.peers.get(node) if node else None
        if peer and not peer.met and peer.state is State.SUSPECT:
            self._verdicts.bury(peer, now, "not reached since this node started")

    def _take(self, greeter: Greeter, hello: Hello, now: float) -> str:
        """Let a greeter in; returns why not, or nothing."""
        refusal = self._refusal(greeter, hello)
        if refusal:
            return refusal
        peer = self._roster.peer(greeter.node, now)
        is_new_boot = not peer.met or (peer.boot, peer.generation) != (hello.boot, hello.generation)
        peer.name, peer.zone = greeter.name, greeter.zone
        peer.renew(hello.boot, hello.generation, hello.incarnation, hello.signing_key)
        self._roster.effect(Agree(peer.node, hello.boot, hello.exchange_key, hello.epoch))
        self._place(peer, greeter.host, hello, is_new_boot)
        self._admit(peer, is_new_boot, now)
        peer.load, peer.load_at = Load.unpack(hello.load), now
        if hello.facts and hello.facts.node == peer.raw and hello.facts.generation == peer.generation:
            self._repair.take(peer, hello.facts, now)
        for known in hello.members:
            self._hint_of(known, now)
        return ""

    def _refusal(self, greeter: Greeter, hello: Hello) -> str:
        me, peer = self._roster.me, self._roster.peers.get(greeter.node)
        if greeter.node == me.node:
            if hello.boot != me.boot:
                self._roster.effect(Alarm(f"another computer ({greeter.host}) runs with this node's identity"))
                return CLONE
            return OURSELVES
        if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL_MAX:
            self._roster.effect(Alarm(f"{greeter.name} speaks protocol {hello.protocol_min} to {hello.protocol_max}"))
            return PROTOCOL
        if peer is None or hello.boot == peer.boot:
            return OLD if peer and hello.generation < peer.generation else ""
        if hello.boot in peer.past_boots:
            self._roster.effect(Alarm(f"two computers run with the identity of {greeter.name}"))
            return CLONE
        newest = peer.generation + 1 if peer.boot else peer.generation  # of a boot before ours only the number is known
        return OLD if hello.generation < newest else ""

    def _outgrow(self, believed: Believed, greeter: Greeter, now: float) -> None:
        """Others know a later boot of us than our disk does: count on from there (rule 2)."""
        me = self._roster.me
        if not me.generation <= believed.generation < GENERATION_MAX:
            return
        me.generation, me.incarnation = believed.generation + 1, 0
        wanted = {fact.key: fact.value for fact in me.facts.since(me.raw, 0).facts if fact.value}
        me.facts = me.facts.changed_to(me.raw, wanted, me.generation, me.notary)
        self._roster.effect(KeepGeneration(me.generation))
        self._roster.self_changed(now)
        for peer in self._roster.here():
            self._prober.greet(peer, now, "this node has a new generation", gap_s=0.0)
        self._prober.greet(self._roster.peer(greeter.node, now), now, "with a newer generation", gap_s=0.0)

    def _place(self, peer: Peer, host: str, hello: Hello, is_new_boot: bool) -> None:
        """Learn where it lives: where it was met first, then where it says it is."""
        known = list(peer.addresses)
        if is_new_boot or not known:
            peer.prefer((host, hello.port))
        peer.hint(((host, hello.port), *hello.addresses))
        if is_new_boot or known != peer.addresses:
            self._roster.effect(Remember())

    def _admit(self, peer: Peer, is_new_boot: bool, now: float) -> None:
        peer.met = True
        peer.contact_delay_s = 0.0
        peer.heard_at = peer.evidence_at = now
        peer.doubted = False
        if is_new_boot:
            peer.suspicion, peer.next_round = None, now
            peer.confirmed(now)
            self._roster.set_state(peer, State.ALIVE, now, "greeted")
        else:
            self._verdicts.heard(peer, now)

    # --- whom we look for ---------------------------------------------------------------------------------------

    def seed(self, addresses: list[Address], now: float) -> None:
        """Look for nodes at the configured addresses (rule 6)."""
        self._seeds = [Seed(address, now) for address in addresses]

    def restore(self, peer: Peer, now: float) -> None:
        """Look for somebody who was met in an earlier boot of ours."""
        peer.reason = "known from before, not met yet"
        peer.next_contact = now
        self._roster.changed(peer, now)

    def hint(self, node: NodeId, addresses: tuple[Address, ...], now: float) -> None:
        """Somebody announces `node` at these addresses; greet it there if that is news to us."""
        if node == self._roster.me.node:
            return
        peer = self._roster.peer(node, now)
        is_new = peer.hint(addresses)
        if is_new or not peer.met or peer.state is not State.ALIVE:
            peer.contact_delay_s = 0.0
            self._prober.greet(peer, now, "announced", gap_s=HINT_GAP_S)

    def _hint_of(self, known: Known, now: float) -> None:
        node = NodeId(known.node.hex())
        if node == self._roster.me.node:
            return
        is_stranger = node not in self._roster.peers
        peer = self._roster.peer(node, now)
        peer.hint(tuple(known.addresses))
        if is_stranger:
            peer.name = NodeName(known.name)
            peer.next_contact = now
            self._roster.changed(peer, now)

    def tick(self, now: float) -> None:
        """Contact who is due."""
        for peer in self._roster.peers.values():
            if now >= peer.next_contact and peer.addresses and not peer.here:
                self._contact(peer, now)
        for seed in self._seeds:
            if now >= seed.next_try:
                self._try_seed(seed, now)

    def _contact(self, peer: Peer, now: float) -> None:
        """Look for one who is not met, dead or gone (rule 5); the ping carries what is believed of it."""
        reprobe_s = self._roster.tuning.reprobe_dead_s
        if peer.met and peer.state is State.DEAD:
            self._prober.ping(peer, now, everywhere=True)
        self._prober.greet(peer, now, f"it is {peer.state}", gap_s=FIRST_DELAY_S / 2)
        longest = RARELY_S if now - peer.since > HOUR_S or peer.state is State.LEFT else reprobe_s
        grown = peer.contact_delay_s * 2 if peer.contact_delay_s else FIRST_DELAY_S
        peer.contact_delay_s = min(grown, longest) if not peer.met else longest
        peer.next_contact = now + peer.contact_delay_s * self._roster.rng.uniform(0.75, 1.25)

    def _try_seed(self, seed: Seed, now: float) -> None:
        seed.delay_s = min(seed.delay_s * 2, SEEDS_EVERY_S)
        seed.next_try = now + seed.delay_s * self._roster.rng.uniform(0.75, 1.25)
        lives_there = any(seed.address in peer.addresses for peer in self._roster.alive())
        if not lives_there and seed.address not in self._own_addresses:
            self._roster.effect(Greet(None, (seed.address,), "a seed"))

    def look_at_once(self, peer: Peer) -> None:
        """Let the next greeting go out at once: something about the network has changed."""
        peer.greeted_at = NEVER
        peer.next_contact = 0.0
