"""How members of a large cluster know each other without a greeting: by introduction.

Rules
1. In a cluster of up to `mesh_up_to` members nobody is introduced: everybody greets everybody.
2. Beyond that a member that met a node tells its name, boot and signing key. From then on the node's own signed words
   (ALIVE, LEFT, its facts) can be checked, and it counts as present; but it has no zone, and gets no work before we
   have seen its certificate ourselves.
3. What we saw ourselves stands against any introduction: a newer boot of one we met is greeted, not believed.
4. That one never met is gone is treated as a rumour of its death is: it is asked itself.
   Where two introductions of one boot differ, one of the tellers is wrong: the node is greeted, and decides it.
5. Who lets a new boot in introduces it to the others.
"""

from __future__ import annotations

from tarsd.gossip.member import Address, State
from tarsd.gossip.messages import CARD_ADDRESSES, Card, Claim, Known, Word
from tarsd.gossip.peer import Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.names import NodeId, NodeName

GENERATION_MAX = 0xFFFF_0000  # beyond it a node could not outgrow a lie
STATES = {Word.ALIVE: State.ALIVE, Word.SUSPECT: State.ALIVE, Word.DEAD: State.DEAD, Word.LEFT: State.LEFT}


class Introductions:
    """Makes and takes introductions."""

    def __init__(self, roster: Roster, whispers: Whispers, prober: Prober) -> None:
        self._roster = roster
        self._whispers = whispers
        self._prober = prober

    def claim(self, peer: Peer) -> Claim:
        """Return the words that introduce a member we know."""
        card = Card(peer.name, peer.boot, peer.signing_key, tuple(peer.addresses[:CARD_ADDRESSES]))
        me = self._roster.me.raw
        return Claim(peer.raw, Word.ALIVE, peer.generation, peer.incarnation, me, peer.proof, card)

    def spread(self, peer: Peer) -> None:
        """Introduce one who was just let in (rule 5)."""
        if self._roster.is_large:
            self._whispers.tell(self.claim(peer))

    def hear(self, claim: Claim, teller: Peer, now: float) -> None:
        """Take a rumour about a boot that we do not know."""
        card = claim.card
        if card is None or claim.word is not Word.ALIVE or not self._roster.is_large:
            return
        told = Known(
            claim.node, card.name, claim.generation, claim.word, list(card.addresses), claim.incarnation, card.boot,
            card.signing_key,
        )  # fmt: skip
        if self.take(told, teller.name, now):
            self._whispers.tell(claim)

    def take(self, told: Known, teller: str, now: float) -> bool:
        """Take an introduction; says whether it was news. The caller knows that the cluster is large."""
        if len(told.boot) != 8 or len(told.signing_key) != 32 or told.generation >= GENERATION_MAX:
            return False
        peer = self._roster.by_raw.get(told.node) or self._roster.peer(NodeId(told.node.hex()), now)
        if peer.state is State.REVOKED or told.generation < peer.generation:
            return False
        if told.generation == peer.generation and peer.known:
            self._compare(peer, told, teller, now)
            return False
        if peer.met:
            self._prober.greet(peer, now, f"{teller} speaks of a boot we have not met")
            return False
        self._admit(peer, told, teller, now)
        return True

    def _compare(self, peer: Peer, told: Known, teller: str, now: float) -> None:
        if peer.introduced and (told.boot, told.signing_key) != (peer.boot, peer.signing_key):
            self._prober.greet(peer, now, f"{teller} introduces it with another key")
        elif peer.introduced and told.word in (Word.DEAD, Word.LEFT) and told.incarnation >= peer.incarnation:
            self._prober.checks.ask(peer, now, f"{teller} says it is gone")

    def _admit(self, peer: Peer, told: Known, teller: str, now: float) -> None:
        is_news = peer.state is not STATES[told.word] or not peer.introduced
        peer.renew(told.boot, told.generation, told.incarnation, told.signing_key)
        peer.introduced = True
        if peer.zone is None:
            peer.name = NodeName(told.name)
        addresses: tuple[Address, ...] = tuple(told.addresses)
        peer.hint(addresses)
        if is_news:
            self._roster.set_state(peer, STATES[told.word], now, f"{teller} told of it")
        else:
            self._roster.changed(peer, now)  # another boot counts otherwise in the state hash
