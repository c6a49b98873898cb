"""Properties of what others say: any claims, in any order, from anybody."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.simulator.simulation import TUNING
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import State
from tarsd.gossip.membership import Membership
from tarsd.gossip.messages import Claim, Hello, Rumours, Word
from tarsd.gossip.proof import Ed25519Notary, claim_statement
from tarsd.gossip.roster import Me
from tarsd.names import NodeId, NodeName, Zone

OWNER, TELLER, OWN = (bytes([number]) * 16 for number in (1, 2, 3))
NOTARY, LIAR = Ed25519Notary(bytes(32)), Ed25519Notary(bytes(range(32)))
GENERATION = 5
LATER_S = 60.0  # long after the owner was heard: its silence proves nothing for it any more

incarnations = st.integers(0, 4)
owned = st.builds(
    lambda word, incarnation: Claim(
        OWNER, word, GENERATION, incarnation, OWNER,
        NOTARY.sign(claim_statement(OWNER, word, GENERATION, incarnation)),
    ),
    st.sampled_from([Word.ALIVE, Word.LEFT]),
    incarnations,
)  # fmt: skip
alive = owned.filter(lambda claim: claim.word is Word.ALIVE)
accusations = st.builds(
    lambda word, incarnation, by: Claim(OWNER, word, GENERATION, incarnation, bytes([by]) * 16),
    st.sampled_from([Word.SUSPECT, Word.DEAD]),
    incarnations,
    st.integers(10, 13),
)
forged = st.builds(
    lambda word, generation, incarnation, is_signed: Claim(
        OWNER, word, generation, incarnation, TELLER,
        LIAR.sign(claim_statement(OWNER, word, generation, incarnation)) if is_signed else b"",
    ),
    st.sampled_from([Word.ALIVE, Word.LEFT]),
    st.integers(0, 9),
    st.integers(0, 0xFFFF_FFFF),
    st.booleans(),
)  # fmt: skip
anything = st.one_of(owned, accusations, forged)
some = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def a_view() -> Membership:
    """Return a node that met the owner and a teller, long ago."""
    me = Me(NodeId(OWN.hex()), NodeName("own"), Zone.CORE, b"o" * 8, 1, Ed25519Notary(b"o" * 32))
    view = Membership(me, TUNING, b"k" * 32, Random(1), 0.0)
    view.start(0.0, 7710, [("10.0.0.3", 7710)], [])
    for raw, notary, generation in ((OWNER, NOTARY, GENERATION), (TELLER, LIAR, 1)):
        hello = Hello(
            protocol_min=1, protocol_max=1, generation=generation, incarnation=0, boot=raw[:8],
            exchange_key=b"k" * 32, signing_key=notary.public_key, epoch=0, port=7710,
        )  # fmt: skip
        who = Greeter(NodeId(raw.hex()), NodeName(f"n{raw[0]}"), Zone.CORE, f"10.0.0.{raw[0]}")
        view.greeted(who, hello, 0.0)
    return view


def told(claims: list[Claim]) -> Membership:
    """Return a view that was told `claims`, each so late after the one before that none is a fresh sign of life."""
    view = a_view()
    for number, claim in enumerate(claims):
        view.received(NodeId(TELLER.hex()), Rumours([claim]), ("10.0.0.2", 7710), LATER_S + number * 2.0)
    return view


def stands(view: Membership) -> tuple[int, int]:
    peer = view.roster.peers[NodeId(OWNER.hex())]
    return peer.generation, peer.incarnation


def state(view: Membership) -> State:
    return view.roster.peers[NodeId(OWNER.hex())].state


@some
@given(st.lists(st.one_of(alive, accusations), max_size=8), st.randoms(use_true_random=False))
def test_any_order_of_what_an_owner_and_its_accusers_say_gives_the_same_word(claims: list[Claim], rng: Random) -> None:
    first = told(claims)
    shuffled = list(claims)
    rng.shuffle(shuffled)
    again = told([*shuffled, *shuffled])
    assert stands(again) == stands(first)
    newest = max([claim.incarnation for claim in claims if claim.word is Word.ALIVE], default=0)
    against = [claim for claim in claims if claim.word is not Word.ALIVE and claim.incarnation >= newest]
    for view in (first, again):
        assert stands(view) == (GENERATION, newest)
        assert state(view) is (State.SUSPECT if against else State.ALIVE), "nobody is dead before we asked it"


@some
@given(st.lists(anything, max_size=10))
def test_only_the_owner_raises_its_generation_and_incarnation_and_they_only_rise(claims: list[Claim]) -> None:
    view = a_view()
    before = stands(view)
    owner = NodeId(OWNER.hex())
    for claim in claims:
        view.received(NodeId(TELLER.hex()), Rumours([claim]), ("10.0.0.2", 7710), LATER_S)
        assert before <= stands(view)
        before = stands(view)
    own = [claim.incarnation for claim in claims if NOTARY.holds(NOTARY.public_key, _statement(claim), claim.proof)]
    assert stands(view)[0] == GENERATION
    assert stands(view)[1] <= max(own, default=0)
    assert view.member(owner, LATER_S) is not None


@some
@given(st.lists(anything, max_size=8), st.lists(anything, max_size=8), incarnations)
def test_who_said_goodbye_gets_no_work_whatever_is_said_before_or_after(
    before: list[Claim], after: list[Claim], incarnation: int
) -> None:
    newest = max([claim.incarnation for claim in before if claim.word is Word.ALIVE], default=0)
    last = max(newest, incarnation) if newest <= 4 else 4
    proof = NOTARY.sign(claim_statement(OWNER, Word.LEFT, GENERATION, last))
    view = told([*before, Claim(OWNER, Word.LEFT, GENERATION, last, OWNER, proof), *after])
    assert state(view) is State.LEFT
    member = view.member(NodeId(OWNER.hex()), LATER_S)
    assert member is not None
    assert not member.routable


@some
@given(st.lists(anything, max_size=10))
def test_who_was_revoked_stays_it(claims: list[Claim]) -> None:
    view = a_view()
    owner = NodeId(OWNER.hex())
    view.revoke(owner, 1.0)
    for claim in claims:
        view.received(NodeId(TELLER.hex()), Rumours([claim]), ("10.0.0.2", 7710), LATER_S)
    member = view.member(owner, LATER_S)
    assert member is not None
    assert (member.state, member.routable) == (State.REVOKED, False)


@some
@given(st.lists(st.one_of(accusations, forged), max_size=10))
def test_nobody_is_buried_by_words_while_we_hear_it(claims: list[Claim]) -> None:
    view = a_view()
    for claim in claims:
        view.received(NodeId(TELLER.hex()), Rumours([claim]), ("10.0.0.2", 7710), 0.5)
    assert state(view) is State.ALIVE


def _statement(claim: Claim) -> bytes:
    return claim_statement(claim.node, claim.word, claim.generation, claim.incarnation)
