"""What this node knows of one other node."""

from __future__ import annotations

import hashlib
import math

from tarsd.gossip.estimates import Flaps, Path
from tarsd.gossip.facts import Facts
from tarsd.gossip.member import Address, Load, Member, State
from tarsd.gossip.messages import MAX_ADDRESSES, Word
from tarsd.gossip.suspicion import Suspicion
from tarsd.names import NodeId, NodeName, Zone

NEVER = -math.inf
STALE_LOAD_S = 3.0
ONE_WAY_AFTER_S = 1.5  # our pings were not heard for so long, though theirs arrive
PAST_BOOTS = 8

WORDS = {State.ALIVE: Word.ALIVE, State.SUSPECT: Word.SUSPECT, State.DEAD: Word.DEAD, State.LEFT: Word.LEFT}


class Peer:
    """One node other than this one. The membership core changes it; `as_member` shows it."""

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
        self.past_boots: list[bytes] = []
        self.signing_key = b""
        self.met = False  # greeted: this boot of it has a session with this boot of ours
        self.facts = Facts()
        self.load: Load | None = None
        self.load_at = NEVER
        # what we measured
        self.path = Path()
        self.flaps = Flaps()
        self.heard_at = NEVER  # from itself
        self.evidence_at = NEVER  # from itself, or from one who vouches for it
        self.heard_seq = 0  # the number of its last ping
        self.silent_since = now  # since when it does not confirm our pings, though it sends its own
        self.first_unheard_seq = 0
        # what we doubt
        self.doubted = False  # a whole round of tries went unanswered
        self.suspicion: Suspicion | None = None
        self.accusers: list[bytes] = []  # who suspects it, since we last had a sign of its life
        self.accused_at = -1  # we told others that its boot was suspect at this incarnation; it must learn of that
        self.busy_until = NEVER
        self.died_at = NEVER
        # when to do what next
        self.next_round = now
        self.next_fast = now
        self.next_contact = now
        self.contact_delay_s = 0.0
        self.greeted_at = NEVER
        self.differs_since: float | None = None  # its state hash is not ours
        self.next_digest = now
        self.digest_delay_s = 0.0
        self.key = b""  # of the facts in `mark`
        self.mark = b""

    def renew(self, boot: bytes, generation: int, incarnation: int, signing_key: bytes) -> None:
        """Another boot of this node greets us: nothing that the former said of itself holds any more."""
        if self.boot and self.boot != boot:
            self.past_boots = [*self.past_boots[-PAST_BOOTS + 1 :], self.boot]
        if self.boot != boot or self.generation != generation:
            self.facts, self.load, self.load_at = Facts(), None, NEVER
            self.heard_seq, self.accused_at, self.busy_until = 0, -1, NEVER
            self.incarnation = incarnation
        self.boot, self.generation, self.signing_key = boot, generation, signing_key
        self.incarnation = max(self.incarnation, incarnation)

    def prefer(self, address: Address) -> bool:
        """Put the address that has just worked first; says whether that is news."""
        if self.addresses[:1] == [address]:
            return False
        self.addresses = [address, *(known for known in self.addresses if known != address)][:MAX_ADDRESSES]
        return True

    def hint(self, addresses: tuple[Address, ...]) -> bool:
        """Remember addresses that may work; says whether one of them is new."""
        new = [address for address in addresses if address not in self.addresses]
        # Hints push out hints, never the address that works.
        self.addresses = [*self.addresses[:1], *new, *self.addresses[1:]][:MAX_ADDRESSES]
        return bool(new)

    @property
    def here(self) -> bool:
        """Whether it counts as present: greeted, and alive or only suspect."""
        return self.met and self.state in (State.ALIVE, State.SUSPECT)

    def state_mark(self) -> bytes:
        """Return this node's share of the state hash."""
        key = self.raw + self.generation.to_bytes(4, "big") + self.facts.version.to_bytes(4, "big")
        if key != self.key:
            self.key, self.mark = key, hashlib.blake2b(key, digest_size=8).digest()
        return self.mark

    def confirmed(self, now: float) -> None:
        """Our pings arrive there, or it is too early to say that they do not."""
        self.first_unheard_seq, self.silent_since = 0, now

    def one_way(self, now: float) -> bool:
        """Whether we hear it while it does not hear us."""
        return now - self.heard_at < 1.0 and now - self.silent_since > ONE_WAY_AFTER_S

    def as_member(self, now: float) -> Member:
        """Return what the rest of the node may see."""
        fresh = now - self.load_at <= STALE_LOAD_S
        one_way = self.state is State.ALIVE and self.one_way(now)
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
            load=self.load if fresh else None,
            load_age_s=now - self.load_at,
            since_s=now - self.since,
            last_heard_s=now - self.heard_at,
            rtt_ms=self.path.round_trip_s * 1000,
            loss=self.path.loss,
            reason="it does not hear us" if one_way else self.reason,
            version=self.facts.release,
            is_self=False,
            hold_s=self.flaps.hold_s(now),
            one_way=one_way,
        )
