"""What others say about members, and how far it is believed.

Rules
1. A node's record belongs to that node alone: only it raises its incarnation, and ALIVE or LEFT from a third party
   needs its proof.
2. Of two claims the higher (generation, incarnation) wins; at equal ones LEFT > DEAD > SUSPECT > ALIVE.
3. A claim about a node never met, or a newer boot of it, is a hint: the node is greeted, nothing is believed. In a
   large cluster it may be an introduction.
4. SUSPECT is not adopted while we hear the member ourselves; the member is pinged with it at once, so that it refutes
   or the kernel tells us that it is true. Who said so counts when we stop hearing it, too.
5. DEAD from a third party is never believed unasked: the teller counts as an accuser, and the member is asked itself
   (`Prober.check`). Silent, it is buried; else it is told of the rumour, and refutes it.
6. A claim against ourselves is refuted with a higher incarnation, at once. Nobody but us raises ours: of a number that
   we never said we only repeat the one that is true.
7. An accusation at a number that we have not heard of: the accused is greeted, and its own number counts (`greetings`).
   One far ahead is not believed at all.
"""

from __future__ import annotations

from tarsd.gossip.introductions import Introductions
from tarsd.gossip.member import State
from tarsd.gossip.messages import Claim, Leave, Word
from tarsd.gossip.peer import Peer
from tarsd.gossip.prober import Prober
from tarsd.gossip.proof import claim_statement
from tarsd.gossip.roster import Roster
from tarsd.gossip.rumours import Whispers
from tarsd.gossip.suspicion import WANTED_ACCUSERS
from tarsd.gossip.verdicts import SILENCE_S, Verdicts

AHEAD = 1000  # refutations that we may have missed; beyond it a number is made up
INCARNATION_MAX = 0xFFFF_0000  # nobody gets there honestly; leaves room to count on


class Hearsay:
    """Judges claims."""

    def __init__(
        self, roster: Roster, whispers: Whispers, verdicts: Verdicts, prober: Prober, introductions: Introductions
    ) -> None:
        self._roster = roster
        self._whispers = whispers
        self._verdicts = verdicts
        self._prober = prober
        self._introductions = introductions

    def hear(self, claims: list[Claim], teller: Peer, now: float) -> None:
        """Take the claims that a datagram of `teller` carried."""
        for claim in claims:
            if claim.incarnation > INCARNATION_MAX:
                continue
            if claim.node == self._roster.me.raw:
                self.refute(claim.word, claim.generation, claim.incarnation, now)
            elif claim.node == teller.raw:
                self._of_itself(claim, teller, now)
            else:
                self._of_another(claim, teller, now)

    def goodbye(self, peer: Peer, leave: Leave, now: float) -> None:
        """It said itself that it goes; whom its datagrams did not reach shall know too."""
        if peer.state is State.LEFT or leave.generation != peer.generation:
            return
        peer.incarnation = max(peer.incarnation, leave.incarnation)
        back = f", back in {leave.expect_back_ms / 1000:.0f} s" if leave.expect_back_ms else ""
        if leave.expect_back_ms:
            peer.expect_back_at = now + leave.expect_back_ms / 1000
        self._verdicts.left(peer, now, f"it said goodbye ({leave.reason}{back})")
        self._whispers.tell(Claim(peer.raw, Word.LEFT, leave.generation, leave.incarnation, peer.raw, leave.proof))

    def refute(self, word: Word, generation: int, incarnation: int, now: float) -> bool:
        """Answer what is said against ourselves (rule 6); says whether there was anything to answer."""
        me = self._roster.me
        if generation != me.generation or word is Word.ALIVE or me.leaving:
            return False
        if incarnation != me.incarnation:
            # Refuted already, but our word did not get there; or a lie, which would use up the numbers if we followed.
            self._whispers.remind(me.claim())
            return False
        me.incarnation = incarnation + 1
        self._roster.health.worse()
        self._whispers.tell(me.claim())
        self._roster.self_changed(now)
        return True

    def _of_itself(self, claim: Claim, teller: Peer, now: float) -> None:
        """The session vouches for what a member says of itself."""
        if claim.generation != teller.generation or claim.incarnation <= teller.incarnation:
            return
        teller.incarnation, teller.proof = claim.incarnation, claim.proof
        if claim.word is Word.ALIVE:
            self._whispers.tell(claim)
            self._roster.changed(teller, now)

    def _of_another(self, claim: Claim, teller: Peer, now: float) -> None:
        peer = self._roster.by_raw.get(claim.node)
        if peer is None or not peer.known or claim.generation > peer.generation:
            self._hint(peer, claim, teller, now)
            return
        if claim.generation < peer.generation or claim.incarnation < peer.incarnation:
            return
        if claim.word in (Word.SUSPECT, Word.DEAD) and claim.incarnation > peer.incarnation:
            if peer.met or claim.incarnation > peer.incarnation + AHEAD:
                self._prober.greet(peer, now, f"{teller.name} speaks of it by a number that we do not know")
            if claim.incarnation > peer.incarnation + AHEAD:
                return
        match claim.word:
            case Word.ALIVE:
                self._alive(peer, claim, now)
            case Word.SUSPECT:
                self._suspect(peer, claim, now)
            case Word.DEAD:
                self._dead(peer, claim, teller, now)
            case Word.LEFT:
                self._left(peer, claim, now)

    def _hint(self, peer: Peer | None, claim: Claim, teller: Peer, now: float) -> None:
        """Greet whom we do not know well enough; whose address nobody told us, the teller's greeting will tell."""
        if self._roster.is_large and not (peer and peer.met):
            self._introductions.hear(claim, teller, now)
        elif peer is not None and peer.addresses:
            self._prober.greet(peer, now, f"{teller.name} speaks of a boot we have not met")
        elif claim.word is Word.ALIVE:
            self._prober.greet(teller, now, "it knows a member that we do not")

    def _alive(self, peer: Peer, claim: Claim, now: float) -> None:
        if claim.incarnation <= peer.incarnation or peer.state is State.LEFT or not self._proven(peer, claim):
            return
        peer.incarnation, peer.proof = claim.incarnation, claim.proof
        self._whispers.tell(claim)
        if peer.state in (State.SUSPECT, State.DEAD) and claim.incarnation > peer.accused_at:
            # Its own word, newer than the accusation. Our own probes go on and will doubt it again if it is not so.
            self._verdicts.vouched(peer, now, "it refuted")
        else:
            self._roster.changed(peer, now)

    def _suspect(self, peer: Peer, claim: Claim, now: float) -> None:
        peer.accused_at = max(peer.accused_at, claim.incarnation)
        if peer.state is State.SUSPECT and peer.suspicion:
            if peer.suspicion.accuse(claim.by):
                self._whispers.tell(claim)
        elif peer.state is State.ALIVE and now - peer.evidence_at >= SILENCE_S:
            self._verdicts.suspect(peer, now, "another member suspects it", claim.by)
            self._whispers.tell(claim)
        elif peer.state is State.ALIVE and claim.by not in peer.accusers:
            peer.accusers = (*peer.accusers[-WANTED_ACCUSERS:], claim.by)
            self._prober.warn(peer, now)

    def _dead(self, peer: Peer, claim: Claim, teller: Peer, now: float) -> None:
        peer.accused_at = max(peer.accused_at, claim.incarnation)
        if peer.state in (State.DEAD, State.LEFT):
            return
        if peer.suspicion and peer.suspicion.accuse(claim.by):
            self._whispers.tell(claim)
        self._prober.checks.ask(peer, now, f"{teller.name} says it is dead", claim)

    def _left(self, peer: Peer, claim: Claim, now: float) -> None:
        if peer.state is not State.LEFT and self._proven(peer, claim):
            peer.incarnation = claim.incarnation
            self._verdicts.left(peer, now, "it said goodbye")
            self._whispers.tell(claim)

    def _proven(self, peer: Peer, claim: Claim) -> bool:
        statement = claim_statement(claim.node, claim.word, claim.generation, claim.incarnation)
        return self._roster.me.notary.holds(peer.signing_key, statement, claim.proof)
