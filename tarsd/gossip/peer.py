"""What this node knows of one other node.

It is one of three things: a hint (somebody named an address), introduced (a member told us its boot and signing key,
so that its own signed words can be checked), or met (we greeted it: its certificate was seen, datagrams are sealed).
Only who was met gets work.
"""

from __future__ import annotations

import hashlib
import math

from tarsd.gossip.estimates import Flaps, Path
from tarsd.gossip.facts import NO_FACTS
from tarsd.gossip.member import Address, Load, Member, State
from tarsd.gossip.messages import MAX_ADDRESSES, Word
from tarsd.gossip.suspicion import Suspicion
from tarsd.names import NodeId, NodeName, Zone

NEVER = -math.inf
STALE_LOAD_S = 3.0
ONE_WAY_PINGS = 4  # one or two may be lost, and above 16 members the next ones come much later
ONE_WAY_AFTER_S = 1.5  # our pings were not heard for so long, though theirs arrive
UNSTABLE = 5.0  # points of `Flaps` beyond which people are told
PAST_BOOTS = 8
FIRST_WORKS_S = 0.2  # an address heard within it needs no other

WORDS = {State.ALIVE: Word.ALIVE, State.SUSPECT: Word.SUSPECT, State.DEAD: Word.DEAD, State.LEFT: Word.LEFT}
WORDS[State.REVOKED] = Word.DEAD  # what an old node would make of it
NO_PATH = Path()
NO_FLAPS = Flaps()


class Peer:
    """One node other than this one. The membership core changes it; `as_member` shows it."""

    __slots__ = (
        "_flaps", "_path", "accused_at", "accusers", "addresses", "boot", "busy_until", "contact_delay_s", "counted",
        "died_at", "differs_since", "digest_delay_s", "doubted", "evidence_at", "expect_back_at", "facts",
        "failed_contacts", "first_heard_at", "first_unheard_seq", "generation", "greeted_at", "heard_at", "heard_seq",
        "incarnation", "introduced", "load", "load_at", "met", "name", "next_contact", "next_digest", "next_fast",
        "next_poke", "next_round", "node", "past_boots", "proof", "raw", "reason", "refused_at", "signing_key",
        "silent_since", "since", "state", "suspicion", "unheard", "unrefusable_until", "vouched_only", "zone",
    )  # fmt: skip

    def __init__(self, node: NodeId, now: float) -> None:
        self.node = node
        self.raw = bytes.fromhex(node)
        self.name = NodeName(node[:8])
        self.zone: Zone | None = None
        self.state = State.SUSPECT  # heard of, not met
        self.since = now
        self.reason = "heard of, not met yet"
        self.addresses: list[Address] = []
        # who it says it is
        self.generation = 0
        self.incarnation = 0
        self.boot = b""
        self.past_boots: tuple[bytes, ...] = ()
        self.signing_key = b""
        self.proof = b""  # under its last ALIVE, for `incarnation`
        self.met = False  # greeted: this boot of it has a session with this boot of ours
        self.introduced = False  # a member told us its boot and key; always False once met
        self.facts = NO_FACTS
        self.load = b""  # as it came: it is looked at less often than it comes
        self.load_at = NEVER
        # what we measured
        self._path: Path | None = None
        self._flaps: Flaps | None = None
        self.heard_at = NEVER  # from itself
        self.first_heard_at = NEVER  # from the first of its addresses
        self.evidence_at = NEVER  # from itself, or from one who vouches for it
        self.vouched_only = False  # the last evidence came from a helper: we do not hear it ourselves
        self.heard_seq = 0  # the number of its last ping
        self.silent_since = now  # since when it does not confirm our pings, though it sends its own
        self.first_unheard_seq = 0
        self.unheard = 0  # how many of our pings went out since the last that it confirmed
        # what we doubt
        self.doubted = False  # a whole round of tries went unanswered
        self.suspicion: Suspicion | None = None
        self.accusers: tuple[bytes, ...] = ()  # who suspects it, since we last had a sign of its life
        self.accused_at = -1  # we told others that its boot was suspect at this incarnation; it must learn of that
        self.refused_at = NEVER  # the kernel said that nobody listens there, and it did not speak since
        self.unrefusable_until = NEVER  # it spoke after such a word: whoever says it meanwhile is not believed
        self.busy_until = NEVER
        self.expect_back_at = NEVER
        self.died_at = NEVER
        # when to do what next
        self.next_round = now
        self.next_poke = math.inf
        self.next_fast = now
        self.next_contact = now
        self.contact_delay_s = 0.0
        self.failed_contacts = 0  # of a hint
        self.greeted_at = NEVER
        self.differs_since: float | None = None  # its state hash is not ours
        self.next_digest = now
        self.digest_delay_s = 0.0
        self.counted = 0  # its share of the roster's state hash, as last mixed in

    @property
    def path(self) -> Path:
        """The measured way to it; made at the first use, since most members of a large cluster never need one."""
        if self._path is None:
            self._path = Path()
        return self._path

    @property
    def flaps(self) -> Flaps:
        """How unsteady it is."""
        if self._flaps is None:
            self._flaps = Flaps()
        return self._flaps

    def renew(self, boot: bytes, generation: int, incarnation: int, signing_key: bytes) -> None:
        """Another boot of this node is known: nothing that the former said of itself holds any more."""
        if self.boot and self.boot != boot and self.met:
            self.past_boots = (*self.past_boots[-PAST_BOOTS + 1 :], self.boot)
        if self.boot != boot or self.generation != generation:
            self.facts, self.load, self.load_at = NO_FACTS, b"", NEVER
            self.refused_at = self.unrefusable_until = NEVER
            self.heard_seq, self.accused_at, self.busy_until, self.expect_back_at = 0, -1, NEVER, NEVER
            self.incarnation, self.proof = incarnation, b""
        self.boot, self.generation, self.signing_key = boot, generation, signing_key
        self.incarnation = max(self.incarnation, incarnation)

    def prefer(self, address: Address) -> bool:
        """Put the address that has just worked first; says whether that is news."""
        if self.addresses and self.addresses[0] == address:
            return False
        self.addresses = [address, *(known for known in self.addresses if known != address)][:MAX_ADDRESSES]
        return True

    def heard_from(self, address: Address, now: float) -> bool:
        """Take the source of an authentic datagram; says whether another address is the one that works now.

        A ping at all addresses is answered from each of them: the first one stays first while it works. An address
        that we did not know is where it lives now.
        """
        is_first = self.addresses[:1] == [address]
        if not is_first and now - self.first_heard_at < FIRST_WORKS_S and address in self.addresses:
            return False
        self.first_heard_at = now
        return self.prefer(address)

    def hint(self, addresses: tuple[Address, ...]) -> bool:
        """Remember addresses that may work; says whether one of them is new."""
        new = [address for address in addresses if address not in self.addresses]
        # Hints push out hints, never the address that works.
        self.addresses = [*self.addresses[:1], *new, *self.addresses[1:]][:MAX_ADDRESSES]
        return bool(new)

    @property
    def known(self) -> bool:
        """Whether its own signed words can be checked: met, or introduced."""
        return self.met or self.introduced

    @property
    def is_hint(self) -> bool:
        """Whether nobody vouched for it: neither was its certificate ever seen nor did a member introduce it."""
        return self.zone is None and not self.introduced and self.state is not State.REVOKED

    @property
    def here(self) -> bool:
        """Whether it counts as present: known, and alive or only suspect."""
        return (self.met or self.introduced) and self.state in (State.ALIVE, State.SUSPECT)

    def state_mark(self) -> int:
        """Return this node's share of the state hash, of 8 bytes."""
        return state_mark(self.raw, self.generation, self.facts.version)

    def confirmed(self, now: float) -> None:
        """Our pings arrive there, or it is too early to say that they do not."""
        self.first_unheard_seq, self.silent_since, self.unheard = 0, now, 0

    def one_way(self, now: float) -> bool:
        """Whether only one of us hears the other."""
        is_waiting = self.unheard >= ONE_WAY_PINGS and now - self.silent_since > ONE_WAY_AFTER_S
        return (is_waiting and now - self.heard_at < 1.0) or (
            self.vouched_only and now - self.heard_at > ONE_WAY_AFTER_S
        )

    def away(self, for_s: float) -> None:
        """This node slept for `for_s`, which its clock did not count: what it last heard is older than it looks."""
        self.heard_at -= for_s
        self.evidence_at -= for_s
        self.load_at -= for_s
        self.busy_until -= for_s
        self.expect_back_at -= for_s

    def as_member(self, now: float) -> Member:
        """Return what the rest of the node may see."""
        one_way = self.state is State.ALIVE and self.met and self.one_way(now)
        busy_s = max(0.0, self.busy_until - now) if self.here else 0.0
        path, flaps = self._path or NO_PATH, self._flaps or NO_FLAPS
        return Member(
            node=self.node,
            name=self.name,
            zone=self.zone if self.met else None,
            state=self.state,
            addresses=tuple(self.addresses),
            generation=self.generation,
            incarnation=self.incarnation,
            capabilities=self.facts.capabilities,
            roles=self.facts.roles,
            load=Load.unpack(self.load) if self.load and now - self.load_at <= STALE_LOAD_S else None,
            load_age_s=now - self.load_at,
            since_s=now - self.since,
            last_heard_s=now - self.heard_at,
            rtt_ms=path.round_trip_s * 1000,
            loss=path.loss,
            reason=self._reason(now, one_way, busy_s),
            version=self.facts.release,
            api=self.facts.api,
            is_self=False,
            hold_s=max(flaps.hold_s(now), busy_s),
            one_way=one_way,
            busy_s=busy_s,
            expect_back_s=max(0.0, self.expect_back_at - now) if self.state is State.LEFT else 0.0,
        )

    def _reason(self, now: float, one_way: bool, busy_s: float) -> str:
        """Return why it is how it is, in words for people; the most telling first."""
        if one_way:
            return "only others hear it" if self.vouched_only else "it does not hear us"
        if busy_s:
            return f"it announced that it is busy for {busy_s:.0f} s more"
        if self.state is State.LEFT and now > self.expect_back_at > NEVER:
            return f"{self.reason}; it is {now - self.expect_back_at:.0f} s late"
        if self._flaps and self._flaps.points(now) > UNSTABLE:
            return f"unstable: {self.reason}"
        return self.reason


def state_mark(node: bytes, generation: int, version: int) -> int:
    """Return the share of a node (16 bytes) in the state hash."""
    key = node + generation.to_bytes(4, "big") + version.to_bytes(4, "big")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
