"""First contact and every later greeting: what is said in it, and who is let in.

Rules
1. Identity, name and zone come from the certificate of the connection; everything else is the greeter's own word.
2. A greeting is refused when no protocol version is common, when it comes from ourselves, or when its boot is not newer
   than one we know: the refused node takes a generation above what is believed of it, and greets again.
3. A boot that speaks again after a newer one took its place is a copy of the node (a cloned disk): alarm.
4. What a greeting says of third nodes are hints: they are greeted themselves before anything is believed. In a large
   cluster they are introductions (see there), told only to one whose state hash differs and who asks.
5. A revoked node is not let in.
6. An alarm that repeats is told once an hour.
"""

from __future__ import annotations

from dataclasses import dataclass

from tarsd.gossip.contacts import Contacts
from tarsd.gossip.effects import Agree, Alarm, KeepGeneration, Remember
from tarsd.gossip.hearsay import AHEAD, Hearsay
from tarsd.gossip.introductions import Introductions
from tarsd.gossip.member import Address, State
from tarsd.gossip.messages import (
    CARD_ADDRESSES,
    MAX_ADDRESSES,
    MAX_SNAPSHOT,
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Believed,
    Hello,
    Known,
    Word,
)
from tarsd.gossip.peer import NEVER, WORDS, Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.repair import Repair
from tarsd.gossip.revocations import News
from tarsd.gossip.roster import Roster
from tarsd.gossip.verdicts import Verdicts
from tarsd.names import NodeId, NodeName, Zone

ALARM_EVERY_S = 3600.0
ALARMS_MAX = 256  # guards memory
GENERATION_MAX = 0xFFFF_0000  # a lie or a damaged file: nobody starts so often
OUTGROW_EVERY_S = 5.0  # each is told to everybody by a greeting
OUTGROW_BY = 1 << 16  # starts that a lost disk forgot; a higher number is a lie, and few of them would use up all

CLONE = "clone"
OLD = "generation"
OURSELVES = "self"
PROTOCOL = "protocol"
REVOKED = "revoked"


@dataclass
class Greeter:
    """Who is at the other end of a greeting: from its certificate, and where it was reached or came from."""

    node: NodeId
    name: NodeName
    zone: Zone
    host: str


class Greetings:
    """Writes greetings and takes them."""

    def __init__(
        self,
        roster: Roster,
        verdicts: Verdicts,
        prober: Prober,
        hearsay: Hearsay,
        repair: Repair,
        news: News,
        contacts: Contacts,
        introductions: Introductions,
        key: bytes,
    ) -> None:
        """`key`: the public X25519 key of this boot."""
        self._roster = roster
        self._verdicts = verdicts
        self._prober = prober
        self._hearsay = hearsay
        self._repair = repair
        self._news = news
        self._key = key
        self._contacts = contacts
        self._introductions = introductions
        self._alarms: dict[str, float] = {}
        self._outgrown_at = NEVER
        self.port = 0

    # --- what we say --------------------------------------------------------------------------------------------

    def greeting(self) -> Hello:
        """Return this node's greeting."""
        roster = self._roster
        tell_members, roster.wants_members = roster.wants_members or not roster.is_large, False
        members = [] if roster.is_large else self._known()
        return self._hello(members, tell_members=tell_members)

    def _hello(
        self, members: list[Known], believed: Believed | None = None, refused: str = "", *, tell_members: bool = True
    ) -> Hello:
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
            members=members,
            believed=believed,
            refused=refused,
            notices=self._news.to_tell(),
            tell_members=tell_members,
            state_hash=self._roster.state_hash() if self._roster.is_large else b"",
        )

    def _known(self) -> list[Known]:
        known = self._roster.peers.values()
        peers = [peer for peer in known if peer.addresses and peer.generation and peer.state is not State.REVOKED]
        peers.sort(key=lambda peer: not peer.here)
        told = CARD_ADDRESSES if self._roster.is_large else MAX_ADDRESSES
        return [
            Known(
                peer.raw, peer.name, peer.generation, WORDS[peer.state], peer.addresses[:told], peer.incarnation,
                peer.boot, peer.signing_key,
            )
            for peer in peers[:MAX_SNAPSHOT]
        ]  # fmt: skip

    # --- what we are told ---------------------------------------------------------------------------------------

    def answer(self, greeter: Greeter, hello: Hello, now: float) -> Hello:
        """Take a greeting and return the answer to it."""
        peer = self._roster.peers.get(greeter.node)
        believed = None
        if peer and peer.generation:
            believed = Believed(peer.generation, peer.incarnation, peer.boot or bytes(8), WORDS[peer.state])
        refused = self._take(greeter, hello, now)
        is_same = bool(hello.state_hash) and hello.state_hash == self._roster.state_hash()
        is_silent = refused or is_same or not hello.tell_members
        return self._hello([] if is_silent else self._known(), believed, refused)

    def answered(self, greeter: Greeter, address: Address, hello: Hello, now: float) -> None:
        """Take the answer to our greeting."""
        if hello.refused == OURSELVES and greeter.node == self._roster.me.node:
            self._contacts.is_own(address)
            return
        if hello.refused == OLD and hello.believed:
            self._outgrow(hello.believed, greeter, now)
            return
        if hello.refused:
            self._alarm(f"{greeter.name} refused our greeting: {hello.refused}", now)
            return
        self._take(greeter, hello, now)
        if hello.believed:
            self._hearsay.refute(hello.believed.word, hello.believed.generation, hello.believed.incarnation, now)

    def failed(self, node: NodeId | None, now: float) -> None:
        """Nobody answered our greeting."""
        peer = self._roster.peers.get(node) if node else None
        if peer is None or peer.met or peer.state is not State.SUSPECT:
            return
        if peer.introduced and peer.suspicion and now >= peer.suspicion.deadline:
            self._verdicts.bury(peer, now, f"not reached: {peer.reason}")
        elif not peer.introduced:
            self._verdicts.bury(peer, now, "not reached since this node started")

    def _take(self, greeter: Greeter, hello: Hello, now: float) -> str:
        """Let a greeter in; returns why not, or nothing."""
        refusal = self._refusal(greeter, hello, now)
        if refusal:
            return refusal
        peer = self._roster.peer(greeter.node, now)
        is_other_boot = (peer.boot, peer.generation) != (hello.boot, hello.generation)
        is_new_boot = not peer.met or is_other_boot
        was_known = peer.known and not is_other_boot
        peer.name, peer.zone = greeter.name, greeter.zone
        if peer.incarnation > hello.incarnation + AHEAD:
            peer.incarnation = hello.incarnation  # its introducer made that up
        peer.accused_at = min(peer.accused_at, hello.incarnation)  # at more nobody can have accused it
        peer.renew(hello.boot, hello.generation, hello.incarnation, hello.signing_key)
        self._roster.effect(Agree(peer.node, hello.boot, hello.exchange_key, hello.epoch))
        self._place(peer, greeter.host, hello, is_new_boot)
        self._admit(peer, is_new_boot, now)
        peer.load, peer.load_at = hello.load, now
        if hello.facts and hello.facts.node == peer.raw and hello.facts.generation == peer.generation:
            self._repair.take(peer, hello.facts, now)
        self._meet(greeter, hello.members, now)
        if not was_known:
            self._introductions.spread(peer)
        self._news.learn(hello.notices, now)
        return ""

    def _meet(self, greeter: Greeter, members: list[Known], now: float) -> None:
        """Take what a greeting says of third nodes (rule 4)."""
        is_large = self._roster.is_large or self._is_crowd(members)
        news = 0
        for known in members:
            if known.node == self._roster.me.raw:
                continue
            if is_large:
                news += self._introductions.take(known, greeter.name, now)
            else:
                self._hint_of(known, now)
        if is_large and members:
            self._repair.pulled(news, now)

    def _is_crowd(self, members: list[Known]) -> bool:
        alive = sum(known.word is Word.ALIVE for known in members)
        return alive >= self._roster.tuning.mesh_up_to

    def _refusal(self, greeter: Greeter, hello: Hello, now: float) -> str:
        me, peer = self._roster.me, self._roster.peers.get(greeter.node)
        if greeter.node in self._news or (peer and peer.state is State.REVOKED):
            return REVOKED
        if greeter.node == me.node:
            if hello.boot != me.boot:
                self._alarm(f"another computer ({greeter.host}) runs with this node's identity", now)
                return CLONE
            return OURSELVES
        if hello.protocol_max < PROTOCOL_MIN or hello.protocol_min > PROTOCOL_MAX:
            spoken = f"{greeter.name} speaks protocol {hello.protocol_min} to {hello.protocol_max}"
            self._alarm(f"{spoken}, this node {PROTOCOL_MIN} to {PROTOCOL_MAX}: update the older one", now)
            return PROTOCOL
        if peer is None or hello.boot == peer.boot:
            return OLD if peer and hello.generation < peer.generation else ""
        if peer.introduced:  # another boot is known by hearsay: true or not, it costs this one a generation at most
            return OLD if hello.generation <= peer.generation else ""
        if hello.boot in peer.past_boots:
            self._alarm(f"two computers run with the identity of {greeter.name}", now)
            return CLONE
        newest = peer.generation + 1 if peer.boot else peer.generation  # of a boot before ours only the number is known
        return OLD if hello.generation < newest else ""

    def _outgrow(self, believed: Believed, greeter: Greeter, now: float) -> None:
        """Others know a later boot of us than our disk does: count on from there (rule 2)."""
        me = self._roster.me
        if not me.generation <= believed.generation < GENERATION_MAX - 1 or now - self._outgrown_at < OUTGROW_EVERY_S:
            return
        if believed.generation - me.generation > OUTGROW_BY:
            text = f"{greeter.name} claims that this node was started {believed.generation} times; not believed"
            self._alarm(text, now)
            return
        self._outgrown_at = now
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
        peer.met, peer.introduced = True, False
        peer.contact_delay_s = 0.0
        peer.heard_at = peer.evidence_at = now
        peer.doubted = False
        if is_new_boot:
            peer.suspicion, peer.next_round = None, now
            peer.confirmed(now)
            self._roster.set_state(peer, State.ALIVE, now, "greeted")
        self._prober.heard(peer, now)

    def _hint_of(self, known: Known, now: float) -> None:
        node = NodeId(known.node.hex())
        is_stranger = node not in self._roster.peers
        peer = self._roster.peer(node, now)
        peer.hint(tuple(known.addresses))
        if is_stranger:
            peer.name = NodeName(known.name)
            peer.next_contact = now
            self._roster.changed(peer, now)

    def _alarm(self, text: str, now: float) -> None:
        """Tell people, but not at each greeting again (rule 6)."""
        told_at = self._alarms.get(text)
        if told_at is None or now - told_at >= ALARM_EVERY_S:
            if len(self._alarms) >= ALARMS_MAX:
                self._alarms.clear()
            self._alarms[text] = now
            self._roster.effect(Alarm(text))
