"""What one member, or anybody on the LAN, can say to do harm, and what comes of it."""

from __future__ import annotations

import msgspec
import pytest
from gossip_sim import Sim, SimNode, State

from tarsd.errors import WireError
from tarsd.gossip.codec import MAX_MESSAGE_BYTES, decode_hello, encode, encode_hello
from tarsd.gossip.contacts import HINTS_KEPT
from tarsd.gossip.effects import Effect, Greet
from tarsd.gossip.greetings import OUTGROW_BY, OUTGROW_EVERY_S, Greeter
from tarsd.gossip.hearsay import AHEAD, INCARNATION_MAX
from tarsd.gossip.messages import Believed, Card, Claim, Nack, Rumours, Vouch, Word
from tarsd.gossip.roster import MAX_HINTS, MAX_KNOWN
from tarsd.gossip.rumours import BYTES_PER_DATAGRAM, size
from tarsd.names import NodeId, NodeName, Zone

WIDE = "\U0001f600"  # four bytes


def deliver(teller: SimNode, receiver: SimNode, message: object) -> None:
    sim = receiver.sim
    receiver.carry(
        receiver.membership_orders(receiver.membership.received(teller.node, message, teller.address, sim.now))
    )


def announce(node: SimNode, names: int, first: int = 1) -> None:
    for number in range(first, first + names):
        stranger = NodeId(f"{number:016x}" + "0" * 16)
        address = (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 7710)
        node.carry(node.membership_orders(node.membership.hint(stranger, [address], node.now)))


def refuse(liar: SimNode, victim: SimNode, generation: int) -> list[Effect]:
    """Let `victim` be told that it was started so often before."""
    believed = Believed(generation, 0, b"x" * 8, Word.ALIVE)
    lie = msgspec.structs.replace(liar.membership.greeting(), refused="generation", believed=believed)
    who = Greeter(liar.node, NodeName(liar.name), Zone.LAB, liar.address[0])
    return victim.membership.greeting_answered(who, liar.address, lie, victim.now)


# --- sizes ------------------------------------------------------------------------------------------------------


def test_a_host_that_is_none_is_refused_at_the_greeting() -> None:
    sim = Sim()
    pc1, _ = sim.cluster(2)
    hello = msgspec.structs.replace(pc1.membership.greeting(), addresses=[("a" * 65, 1)])
    with pytest.raises(WireError):
        decode_hello(encode_hello(hello))


@pytest.mark.parametrize("letter", ["a", WIDE])
def test_a_claim_is_never_larger_than_it_is_counted(letter: str) -> None:
    card = Card(letter * 40, b"b" * 8, b"k" * 32, ((letter * 64, 65535), (letter * 20, 65535)))
    for each in (card, None):
        claim = Claim(b"n" * 16, Word.LEFT, 0xFFFFFFFF, 0xFFFFFFFF, b"m" * 16, b"p" * 64, each)
        assert len(msgspec.msgpack.encode(claim)) <= size(claim) <= len(msgspec.msgpack.encode(claim)) + 12


def test_a_claim_that_no_datagram_holds_is_not_waited_for() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    card = Card(WIDE * 255, b"b" * 8, b"k" * 32, ())
    huge = Claim(b"n" * 16, Word.ALIVE, 1, 1, b"m" * 16, b"p" * 64, card)
    assert size(huge) > BYTES_PER_DATAGRAM
    whispers = pc1.membership._whispers
    whispers.tell(huge)
    whispers.tell(Claim(b"o" * 16, Word.DEAD, 1, 1, b"m" * 16))
    told = whispers.for_receiver(pc1.membership.roster.peers[pc2.node])
    assert [claim.node for claim in told] == [b"o" * 16]


def test_a_message_that_no_datagram_holds_is_lost_and_counted() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    card = Card(WIDE * 255, b"b" * 8, b"k" * 32, ())
    message = Rumours([Claim(b"n" * 16, Word.ALIVE, 1, 1, b"m" * 16, b"p" * 64, card)])
    with pytest.raises(WireError, match=f"over {MAX_MESSAGE_BYTES}"):
        encode(message)
    roster = pc1.membership.roster
    roster.send(roster.peers[pc2.node], message)
    pc1.carry(pc1.membership_orders(roster.drain()))
    assert pc1.station.oversized_messages == 1


# --- generations ------------------------------------------------------------------------------------------------


def test_a_generation_is_outgrown_once_in_a_while() -> None:
    sim = Sim()
    _, victim, liar = sim.cluster(3)
    greets = 0
    for _ in range(100):
        effects = refuse(liar, victim, victim.membership.me.generation)
        greets += sum(isinstance(effect, Greet) for effect in effects)
    assert (victim.membership.me.generation, greets) == (2, 3)
    sim.run(OUTGROW_EVERY_S + 0.1)
    refuse(liar, victim, 2)
    assert victim.membership.me.generation == 3


def test_a_generation_far_above_ours_is_a_lie_and_told() -> None:
    sim = Sim()
    victim, liar = sim.cluster(2)
    victim.carry(victim.membership_orders(refuse(liar, victim, 2 + OUTGROW_BY)))
    assert victim.membership.me.generation == 1
    assert any("not believed" in alarm for alarm in victim.alarms)
    refuse(liar, victim, 1 + OUTGROW_BY)
    assert victim.membership.me.generation == 2 + OUTGROW_BY


# --- names on the LAN -------------------------------------------------------------------------------------------


def test_an_announced_id_that_begins_like_a_members_does_not_take_its_place() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    twin = NodeId(pc2.node[:16] + "0" * 16)
    roster = pc1.membership.roster
    pc1.membership.hint(twin, [("10.0.9.9", 7710)], pc1.now)
    assert roster.by_prefix[bytes.fromhex(pc2.node)[:8]].node == pc2.node


def test_a_member_takes_its_place_from_one_who_was_only_announced() -> None:
    sim = Sim()
    pc1, pc2 = sim.add("pc1"), sim.add("pc2")
    pc1.start()
    pc1.membership.hint(NodeId(pc2.node[:16] + "0" * 16), [("10.0.9.9", 7710)], pc1.now)
    pc2.start(seeds=[pc1])
    sim.until(lambda: sim.all_alive([pc1, pc2]), 5.0)
    assert pc1.membership.roster.by_prefix[bytes.fromhex(pc2.node)[:8]].node == pc2.node


def test_announced_names_push_out_announced_names_only() -> None:
    sim = Sim()
    pc1, _, pc3 = sim.cluster(3)
    pc3.power_off()
    sim.run(1.0)
    pc1.kill()
    pc1.start()
    sim.run(5.0)
    announce(pc1, MAX_KNOWN + 50)
    assert pc3.node in {met.node for met in pc1.membership.met()}, "known from the table, and not met since"
    assert len(pc1.membership.roster.hints()) == MAX_HINTS


def test_of_many_announced_names_those_that_are_not_found_are_forgotten_and_a_few_are_kept() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    announce(pc1, MAX_HINTS)
    sim.run(90.0)
    assert len(pc1.membership.roster.hints()) == HINTS_KEPT
    assert pc1.state_of(pc2) is State.ALIVE


def test_a_greeting_to_one_who_is_only_announced_says_so() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    [greet] = pc1.membership.hint(NodeId("12" * 16), [("10.0.9.9", 7710)], pc1.now)[-1:]
    assert isinstance(greet, Greet)
    assert greet.is_hint
    pc1.membership.roster.peers[pc2.node].greeted_at = 0.0
    [known] = pc1.membership.hint(pc2.node, [("10.0.9.8", 7710)], pc1.now)[-1:]
    assert isinstance(known, Greet)
    assert not known.is_hint


# --- forged refusals, and words that nobody asked for -----------------------------------------------------------


def test_forged_refusals_are_believed_once_in_ten_seconds() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.run(5.0)
    suspect = 0
    for _ in range(2000):  # a hundred a second
        pc1.refused(pc2.address)
        sim.run(0.01)
        suspect += pc1.state_of(pc2) is State.SUSPECT
    assert suspect < 40, "of 2,000 moments"
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 10.0)


def test_a_refusal_counts_for_another_boot() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc1.refused(pc2.address)
    sim.run(2.0)
    assert pc1.state_of(pc2) is State.ALIVE
    pc1.refused(pc2.address)
    assert pc1.state_of(pc2) is State.ALIVE
    pc2.kill()
    pc2.start()
    sim.until(lambda: sim.all_alive([pc1, pc2]), 5.0)
    pc1.refused(pc2.address)
    assert pc1.state_of(pc2) is State.SUSPECT


def test_only_the_word_that_was_asked_for_counts() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    sim.run(3.0)
    roster = pc1.membership.roster
    roster.health.score = 5
    peer = roster.peers[pc3.node]
    before = peer.evidence_at
    deliver(pc2, pc1, Vouch(1, peer.raw))
    deliver(pc2, pc1, Nack(1, peer.raw))
    assert (peer.evidence_at, roster.health.score) == (before, 5)
    helpers = pc1.membership._prober.helpers
    helpers.ask(peer, 7, pc1.now)
    roster.drain()
    for _ in range(3):
        deliver(pc2, pc1, Nack(7, peer.raw))
    assert roster.health.score == 4
    helpers.ask(peer, 8, pc1.now)
    deliver(pc3, pc1, Vouch(8, peer.raw))
    assert not peer.vouched_only, "it was not asked about itself"
    deliver(pc2, pc1, Vouch(8, peer.raw))
    assert peer.vouched_only


# --- absurd incarnations ----------------------------------------------------------------------------------------


def accused(victim: SimNode, ahead: int, by: SimNode, word: Word = Word.SUSPECT) -> Rumours:
    me = victim.membership.me
    return Rumours([Claim(me.raw, word, me.generation, me.incarnation + ahead, by.membership.me.raw)])


@pytest.mark.parametrize("word", [Word.SUSPECT, Word.DEAD])
@pytest.mark.parametrize("ahead", [1, AHEAD, AHEAD + 1, INCARNATION_MAX])
def test_an_accusation_at_a_number_never_said_neither_mutes_its_victim_nor_wears_it_out(ahead: int, word: Word) -> None:
    sim = Sim()
    liar, victim, *others = sim.cluster(4)
    sim.run(5.0)
    for node in others:
        deliver(liar, node, accused(victim, ahead, liar, word))
        assert (node.membership.roster.peers[victim.node].accused_at == -1) is (ahead > AHEAD)
    deliver(liar, victim, accused(victim, ahead, liar, word))
    sim.run(20.0)
    assert victim.membership.me.incarnation <= 2
    before = sim.datagrams
    sim.run(10.0)
    assert sim.datagrams - before < 4 * 3 * 10 * 6, "nobody goes on warning it"
    for node in others:
        peer = node.membership.roster.peers[victim.node]
        assert peer.state is State.ALIVE
        assert peer.accused_at < peer.incarnation
        node.membership._verdicts.suspect(peer, node.now, "a test")
        node.membership._whispers.accuse(peer, Word.SUSPECT)
    sim.run(5.0)
    assert victim.membership.me.incarnation >= 1, "it still refutes what can be true"
    assert sim.all_alive([liar, victim, *others])


def test_accusations_at_two_numbers_are_both_refuted() -> None:
    sim = Sim()
    pc1, victim, pc3, pc4 = sim.cluster(4)
    sim.run(5.0)
    deliver(pc1, victim, accused(victim, 0, pc1))
    deliver(pc1, victim, accused(victim, 0, pc1))
    assert victim.membership.me.incarnation == 2
    deliver(pc1, pc3, accused(victim, 0, pc1))  # it has not heard of the second, perhaps not of the first
    deliver(pc1, pc4, accused(victim, -1, pc1))
    deliver(pc4, victim, accused(victim, -1, pc4))
    assert victim.membership.me.incarnation == 2, "that one is refuted already"
    sim.run(5.0)
    assert victim.membership.me.incarnation == 3
    for node in (pc1, pc3, pc4):
        peer = node.membership.roster.peers[victim.node]
        assert (peer.incarnation, peer.state) == (3, State.ALIVE)
        assert peer.accused_at < 3


def test_a_number_that_an_introducer_made_up_is_corrected_by_the_greeting() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    peer = pc1.membership.roster.peers[pc2.node]
    peer.incarnation = peer.accused_at = INCARNATION_MAX
    who = Greeter(pc2.node, NodeName(pc2.name), Zone.CORE, pc2.address[0])
    pc1.membership.greeted(who, pc2.membership.greeting(), pc1.now)
    assert (peer.incarnation, peer.accused_at) == (0, 0)


# --- exchange keys ----------------------------------------------------------------------------------------------


def test_two_that_renewed_their_keys_during_a_cut_understand_each_other_at_once() -> None:
    sim = Sim(seed=4)
    nodes = pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    for _ in range(2):
        for node in nodes:
            node.rotate()
        sim.run(90.0)
    for node in nodes:
        node.rotate()
    sim.run(1.0)
    sim.heal()
    sim.until(lambda: sim.all_alive(list(nodes)), 10.0)
    before = sum(node.station.refused_datagrams for node in nodes)
    sim.run(20.0)
    assert sum(node.station.refused_datagrams for node in nodes) - before < 5
    assert sim.all_alive(list(nodes))
