"""Whom this node looks for: who is not met, dead or gone, the configured addresses, and in a large cluster company.

Rules
1. Who is not met, dead or gone is contacted for ever: within seconds at first, later so often that two nodes find each
   other within 5 s after their link returns, however long it was down. So a partition always heals.
2. Of one that was met a datagram asks each time, and after an hour a greeting over TCP once a minute only. Who left is
   looked for once a minute: it will greet us.
3. In a large cluster such contacts are rationed, as everybody else looks too.
4. In a large cluster a node keeps company with at least `mesh_up_to` members, greeted at random: those it probes, and
   those who probe it. The others it knows by introduction, and greets when it needs them.
5. Where a seed lives is greeted until somebody answers, and again whenever nobody alive is at that address.
6. A revoked node is not looked for.
7. Anybody on the LAN can announce names. Of many that are only announced, those that ten contacts did not find are
   forgotten; a few are looked for for ever, as rule 1 says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tarsd.gossip.effects import Greet
from tarsd.gossip.member import Address, State
from tarsd.gossip.peer import NEVER, Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.roster import Roster
from tarsd.names import NodeId

FIRST_DELAY_S = 0.25
HEAL_S = 0.8  # of `reprobe_dead_s`: with a quarter of jitter it stays below
JITTER = 0.2
HOUR_S = 3600.0
RARELY_S = 60.0
HINT_GAP_S = 0.2
SEEDS_EVERY_S = 5.0
HINTS_KEPT = 16  # hints; of more than these, whoever did not answer is dropped
HINT_TRIES = 10
RATION_S = 0.5  # between two contacts of a node in a large cluster
COMPANY_EVERY_S = 0.5
COMPANY_AT_ONCE = 4  # greetings: each is a TLS handshake on both sides


@dataclass
class Seed:
    """A configured address, and when to try it again."""

    address: Address
    next_try: float
    delay_s: float = FIRST_DELAY_S


class Contacts:
    """Decides whom to greet, and when."""

    def __init__(self, roster: Roster, prober: Prober) -> None:
        self._roster = roster
        self._prober = prober
        self._seeds: list[Seed] = []
        self._own_addresses: set[Address] = set()
        self._due_at = NEVER
        self._next_ration = NEVER
        self._next_company = NEVER

    def seed(self, addresses: list[Address], now: float) -> None:
        """Look for nodes at the configured addresses (rule 5)."""
        self._seeds = [Seed(address, now) for address in addresses]

    def is_own(self, address: Address) -> None:
        """We answered ourselves there."""
        self._own_addresses.add(address)

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
            self._roster.away_changed = True
            self._prober.greet(peer, now, "announced", gap_s=HINT_GAP_S)

    def look_at_once(self, now: float) -> None:
        """Let the next contacts go out at once: something about the network has changed.

        Those present get a ping too, whose source tells them our address.
        """
        for peer in self._roster.peers.values():
            peer.greeted_at, peer.next_contact, peer.next_round = NEVER, now, now
        self._due_at = self._next_ration = now

    def due(self, now: float) -> float:
        """When there is something to do."""
        if self._roster.away_changed:
            return now
        company_at = self._next_company if self._roster.is_large else math.inf
        return min(self._due_at, company_at, *(seed.next_try for seed in self._seeds))

    def tick(self, now: float) -> None:
        """Contact who is due."""
        if self._roster.away_changed or now >= self._due_at:
            self._roster.away_changed = False
            self._contact_due(now)
        for seed in self._seeds:
            if now >= seed.next_try:
                self._try_seed(seed, now)
        if now >= self._next_company and self._roster.is_large:
            self._next_company = now + COMPANY_EVERY_S
            self._keep_company(now)

    def _contact_due(self, now: float) -> None:
        away = [peer for peer in self._roster.away() if peer.addresses and peer.state is not State.REVOKED]
        due = [peer for peer in away if now >= peer.next_contact]
        if self._roster.is_large:
            due = self._roster.sample(due, 1) if now >= self._next_ration else []
        for peer in due:
            self._contact(peer, now)
            self._next_ration = now + RATION_S
        self._due_at = min((peer.next_contact for peer in away), default=math.inf)
        if self._roster.is_large:
            self._due_at = max(self._due_at, self._next_ration)

    def _contact(self, peer: Peer, now: float) -> None:
        """Look for one who is not met, dead or gone; the ping carries what is believed of it."""
        longest_s = RARELY_S if peer.state is State.LEFT else self._roster.tuning.reprobe_dead_s * HEAL_S
        if peer.met and peer.state is State.DEAD:
            self._prober.ping(peer, now, everywhere=True)
        is_old = peer.met and now - peer.since > HOUR_S
        self._prober.greet(peer, now, f"it is {peer.state}", gap_s=RARELY_S if is_old else FIRST_DELAY_S / 2)
        peer.failed_contacts += peer.is_hint
        if peer.is_hint and peer.failed_contacts > HINT_TRIES and len(self._roster.hints()) > HINTS_KEPT:
            self._roster.forget(peer)
            return
        grown_s = peer.contact_delay_s * 2 if peer.contact_delay_s else FIRST_DELAY_S
        peer.contact_delay_s = min(grown_s, longest_s) if not peer.met else longest_s
        peer.next_contact = now + peer.contact_delay_s * self._roster.rng.uniform(1 - JITTER, 1 + JITTER)

    def _try_seed(self, seed: Seed, now: float) -> None:
        seed.delay_s = min(seed.delay_s * 2, SEEDS_EVERY_S)
        seed.next_try = now + seed.delay_s * self._roster.rng.uniform(0.75, 1.25)
        lives_there = any(seed.address in peer.addresses for peer in self._roster.alive())
        if not lives_there and seed.address not in self._own_addresses:
            self._roster.effect(Greet(None, (seed.address,), "a seed"))

    def _keep_company(self, now: float) -> None:
        lacking = self._roster.tuning.mesh_up_to - len(self._roster.alive())
        if lacking <= 0:
            return
        strangers = [peer for peer in self._roster.here() if not peer.met and peer.state is State.ALIVE]
        for peer in self._roster.sample(strangers, min(lacking, COMPANY_AT_ONCE)):
            self._prober.greet(peer, now, "for company")
