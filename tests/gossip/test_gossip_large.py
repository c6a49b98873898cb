"""Clusters too large for everybody to greet everybody: with the mesh limited to 4 members, so that 12 are many."""

from __future__ import annotations

import msgspec
import pytest
from gossip_sim import Sim, SimNode, State

from bench.simulator.simulation import TUNING
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Load
from tarsd.gossip.messages import (
    Ack,
    Claim,
    Delta,
    Digest,
    DigestEntry,
    Fact,
    Known,
    LoadOf,
    Ping,
    PingRequest,
    Rumours,
    Word,
)
from tarsd.gossip.proof import claim_statement
from tarsd.names import Capability, NodeName, Zone

CHAT = Capability("chat")
MESH = 4


def crowd(count: int, seed: int = 0, loss: float = 0.0) -> tuple[Sim, list[SimNode]]:
    """Start `count` nodes that know the first; wait until all know all."""
    sim = Sim(seed, loss)
    sim.tuning = msgspec.structs.replace(TUNING, mesh_up_to=MESH)
    nodes = [sim.add(f"pc{number + 1}") for number in range(count)]
    for node in nodes:
        node.start(seeds=[nodes[0]])
        sim.run(0.2)
    sim.until(lambda: sim.all_alive(nodes) and len({hash_of(node) for node in nodes}) == 1, 30.0)
    sim.run(2.0)
    return sim, nodes


def hash_of(node: SimNode) -> bytes:
    return node.membership.roster.state_hash()


def deliver(teller: SimNode, receiver: SimNode, message: object) -> None:
    sim = receiver.sim
    receiver.carry(receiver.station.orders(receiver.membership.received(teller.node, message, teller.address, sim.now)))


def peer_of(node: SimNode, other: SimNode) -> object:
    return node.membership.roster.peers[other.node]


def a_stranger_to(node: SimNode, nodes: list[SimNode]) -> SimNode:
    """Return a member that `node` knows by introduction only."""
    return next(other for other in nodes if other is not node and not peer_of(node, other).met)


def a_friend_of(node: SimNode, nodes: list[SimNode]) -> SimNode:
    return next(other for other in nodes if other is not node and peer_of(node, other).met)


def advertise(node: SimNode, model: str) -> None:
    node.carry(
        node.station.orders(node.membership.advertise({CHAT: {"model": model}}, ["cognitive"], "1", node.sim.now))
    )


def model_at(node: SimNode, of: SimNode) -> object:
    return node.see(of).capabilities.get(CHAT, {}).get("model")


# --- knowing each other -----------------------------------------------------------------------------------------


def test_everybody_knows_everybody_though_few_have_met() -> None:
    sim, nodes = crowd(24)
    met = sorted(len(node.membership.roster.alive()) for node in nodes)
    assert met[0] >= MESH, "everybody keeps company"
    assert met[len(met) // 2] < 16, "nobody needs to have met everybody"
    greetings = sim.greetings
    sim.run(30)
    assert sim.greetings == greetings, "and it stays so"


def test_a_member_known_by_introduction_is_present_and_gets_no_work() -> None:
    _, nodes = crowd(12)
    seen = nodes[-1].see(a_stranger_to(nodes[-1], nodes))
    assert (seen.state, seen.zone, seen.routable) == (State.ALIVE, None, False)


def test_a_greeting_turns_an_introduction_into_a_member_that_gets_work() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    viewer.carry(viewer.station.orders(viewer.membership.hint(other.node, [other.address], sim.now)))
    sim.until(lambda: viewer.see(other).routable, 1)


def test_who_joins_is_known_to_all_within_a_second() -> None:
    sim, nodes = crowd(20)
    late = sim.add("late")
    late.start(seeds=[nodes[3]])
    sim.until(lambda: all(node.state_of(late) is State.ALIVE for node in nodes), 1.5)
    sim.until(lambda: sim.all_alive([*nodes, late]), 1)


def test_facts_of_one_that_was_never_met_are_known_and_proven() -> None:
    sim, nodes = crowd(20)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    advertise(other, "small")
    assert sim.until(lambda: all(model_at(node, other) == "small" for node in nodes), 5) < 0.2
    raw, version = bytes.fromhex(other.node), other.membership.me.facts.version
    forged = Delta(raw, 1, version, version + 1, [Fact("capability/chat", version + 1, b"\x81\xa5model\xa4evil")], b"x")
    deliver(a_friend_of(viewer, nodes), viewer, forged)
    assert model_at(viewer, other) == "small"


def test_who_missed_all_that_was_pushed_is_brought_up_to_date() -> None:
    sim, nodes = crowd(12)
    deaf = nodes[-1]
    sim.udp_cut = {(node.name, deaf.name) for node in nodes}
    advertise(nodes[0], "small")
    sim.run(0.3)
    sim.udp_cut = set()
    sim.until(lambda: model_at(deaf, nodes[0]) == "small", 6)


def test_whom_a_push_missed_is_told_by_the_next_who_differs() -> None:
    sim, nodes = crowd(12)
    deaf = nodes[-1]
    sim.udp_cut = {(node.name, deaf.name) for node in nodes}
    advertise(nodes[0], "small")
    sim.run(0.1)
    sim.udp_cut = set()
    assert model_at(deaf, nodes[0]) is None
    sim.until(lambda: model_at(deaf, nodes[0]) == "small", 0.6)


def test_news_is_not_told_back_and_not_for_ever() -> None:
    sim, nodes = crowd(12)
    advertise(nodes[0], "small")
    sim.run(0.1)
    viewer = next(node for node in nodes[1:] if node.membership._repair._fresh)
    friend = a_friend_of(viewer, nodes[1:])
    repair, peer = viewer.membership._repair, peer_of(viewer, friend)
    (delta, until, _) = repair._fresh[bytes.fromhex(nodes[0].node)]

    def told(teller: bytes, now: float) -> list[object]:
        repair._fresh = {delta.node: (delta, until, teller)}
        repair.compare(peer, bytes(8), now)
        return [effect.message for effect in viewer.membership.roster.drain() if hasattr(effect, "message")]

    assert delta in told(bytes(16), sim.now)
    assert delta not in told(bytes.fromhex(friend.node), sim.now)
    assert delta not in told(bytes(16), until)


def test_a_digest_that_names_an_unknown_member_is_answered_by_a_question_and_an_introduction() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    friend, roster = a_friend_of(viewer, nodes), viewer.membership.roster
    unknown = bytes.fromhex("ab" * 16)
    digest = Digest([DigestEntry(unknown[:8], 1, 1)])
    effects = viewer.membership.received(friend.node, digest, friend.address, sim.now)
    sent = [getattr(effect, "message", None) for effect in effects]
    assert Digest([DigestEntry(unknown[:8], 0, 0)], answer=True) in sent
    known = next(iter(roster.here()))
    answers = viewer.membership.received(
        friend.node, Digest([DigestEntry(known.raw[:8], 0, 0)], answer=True), friend.address, sim.now
    )
    cards = [claim.card for effect in answers if isinstance(effect.message, Rumours) for claim in effect.message.claims]
    assert [card.signing_key for card in cards] == [known.signing_key]


def test_digests_go_round_all_members() -> None:
    _, nodes = crowd(60)
    repair = nodes[0].membership._repair
    told = {entry.node for _ in range(3) for entry in repair._entries()}
    assert len(told) == 60


def test_greetings_that_ask_for_all_members_are_rationed() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    friend = a_friend_of(viewer, nodes)
    entries = [DigestEntry(bytes([number]) * 8, 1, 1) for number in range(20)]
    greetings = sim.greetings
    for _ in range(50):
        deliver(friend, viewer, Digest(entries))
        sim.run(0.02)
    assert sim.greetings - greetings <= 1


# --- who may introduce ------------------------------------------------------------------------------------------


def introduction(other: SimNode, **changes: object) -> Known:
    me = other.membership.me
    known = Known(
        me.raw, me.name, me.generation, Word.ALIVE, [other.address], me.incarnation, me.boot, me.notary.public_key
    )
    return msgspec.structs.replace(known, **changes)


def test_in_a_small_cluster_nobody_is_introduced() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    absent = sim.add("pc3")
    absent.start()
    hello = msgspec.structs.replace(pc2.membership.greeting(), members=[introduction(absent)])
    sim.partition([pc1], [absent])
    who = Greeter(pc2.node, NodeName("pc2"), Zone.CORE, pc2.address[0])
    pc1.carry(pc1.station.orders(pc1.membership.greeted(who, hello, sim.now)[1]))
    assert pc1.state_of(absent) is State.SUSPECT
    assert not peer_of(pc1, absent).introduced


def test_an_introduction_says_nothing_against_one_that_was_met() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    friend = a_friend_of(viewer, nodes)
    peer, greetings = peer_of(viewer, friend), sim.greetings
    before = (peer.boot, peer.generation, peer.signing_key, peer.met)
    introductions = viewer.membership._greetings._introductions
    introductions.take(introduction(friend, generation=9, boot=b"x" * 8), "liar", sim.now)
    viewer.carry(viewer.station.orders(viewer.membership.tick(sim.now)))
    sim.run(0.1)
    assert (peer.boot, peer.generation, peer.signing_key, peer.met) == before
    assert sim.greetings == greetings + 1, "it is asked itself"


def test_two_introductions_that_differ_are_settled_by_a_greeting() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    introductions = viewer.membership._greetings._introductions
    introductions.take(introduction(other, signing_key=b"x" * 32), "liar", sim.now)
    viewer.carry(viewer.station.orders(viewer.membership.tick(sim.now)))
    sim.until(lambda: peer_of(viewer, other).met, 1)
    assert peer_of(viewer, other).signing_key == other.membership.me.notary.public_key


def test_a_false_introduction_does_not_keep_the_real_one_out() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    late = sim.add("late")
    late.start()
    introductions = viewer.membership._greetings._introductions
    assert introductions.take(introduction(late, generation=77, boot=b"x" * 8), "liar", sim.now)
    assert introductions.take(introduction(late, generation=78, boot=late.membership.me.boot), "liar", sim.now)
    assert introductions.take(introduction(late, generation=79, boot=b"y" * 8), "liar", sim.now)
    late.carry(late.station.orders(late.membership.hint(viewer.node, [viewer.address], sim.now)))
    sim.until(lambda: viewer.see(late).routable, 1)
    assert viewer.see(late).generation == late.disk_generation == 80, "it takes a generation above what is believed"
    assert viewer.alarms == []


def test_an_introduction_without_a_key_is_none() -> None:
    sim, nodes = crowd(12)
    late = sim.add("late")
    late.start()
    introductions = nodes[0].membership._greetings._introductions
    assert not introductions.take(introduction(late, signing_key=b""), "pc2", sim.now)
    assert not introductions.take(introduction(late, generation=0xFFFF_FFFF), "liar", sim.now)
    assert nodes[0].state_of(late) is None


def test_the_signed_word_of_one_never_met_is_checked() -> None:
    _, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    teller, me = a_friend_of(viewer, nodes), other.membership.me
    deliver(teller, viewer, Rumours([Claim(me.raw, Word.LEFT, 1, 0, me.raw, bytes(64))]))
    assert viewer.state_of(other) is State.ALIVE
    proof = me.notary.sign(claim_statement(me.raw, Word.LEFT, 1, 0))
    deliver(teller, viewer, Rumours([Claim(me.raw, Word.LEFT, 1, 0, me.raw, proof)]))
    assert viewer.state_of(other) is State.LEFT


# --- silence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [0.0, 0.25])
def test_a_death_is_known_to_all(loss: float) -> None:
    sim, nodes = crowd(24, seed=3)
    sim.loss = loss
    sim.run(10)
    begin = sim.now
    nodes[-1].power_off()
    sim.until(lambda: all(node.state_of(nodes[-1]) is State.DEAD for node in nodes[:-1]), 12)
    sim.run(10)
    others = [entry for node in nodes[:-1] for entry in node.history if entry[0] >= begin and entry[1] != "pc24"]
    assert [entry for entry in others if entry[2] is State.DEAD] == []


def test_loss_alone_kills_nobody_of_many() -> None:
    sim, nodes = crowd(17, seed=1)
    begin, sim.loss = sim.now, 0.25
    sim.run(300)
    dead = [entry for node in nodes for entry in node.history if entry[0] >= begin and entry[2] is State.DEAD]
    assert dead == []
    sim.loss = 0.0
    sim.run(10)
    assert sim.all_alive(nodes)


def test_whom_we_never_met_is_not_buried_by_our_own_clock() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = peer_of(viewer, a_stranger_to(viewer, nodes))
    verdicts = viewer.membership._verdicts
    verdicts.suspect(other, sim.now, "another member suspects it", b"x" * 16)
    verdicts.tick(other, other.suspicion.deadline + 60.0)
    assert other.state is State.SUSPECT


def test_a_verdict_of_another_is_not_believed_of_one_that_lives() -> None:
    sim, nodes = crowd(12)
    viewer, begin = nodes[-1], sim.now
    friend, stranger = a_friend_of(viewer, nodes), a_stranger_to(viewer, nodes)
    teller = next(node for node in nodes if node not in (viewer, friend) and peer_of(viewer, node).met)
    peer_of(viewer, friend).heard_at = peer_of(viewer, friend).evidence_at = sim.now - 8.0  # as is usual among many
    for victim in (friend, stranger):
        deliver(teller, viewer, Rumours([Claim(bytes.fromhex(victim.node), Word.DEAD, 1, 0, b"x" * 16)]))
        assert viewer.state_of(victim) is State.SUSPECT
    sim.until(lambda: all(viewer.state_of(victim) is State.ALIVE for victim in (friend, stranger)), 1.0)
    sim.until(lambda: all(peer_of(viewer, victim).incarnation == 1 for victim in (friend, stranger)), 1.0)
    assert peer_of(viewer, stranger).met, "it was greeted"
    sim.run(5)
    assert [entry for node in nodes for entry in node.history if entry[0] >= begin and entry[2] is State.DEAD] == []


def test_a_verdict_of_another_is_believed_when_the_member_does_not_answer() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    friend, stranger = a_friend_of(viewer, nodes), a_stranger_to(viewer, nodes)
    teller = next(node for node in nodes if node not in (viewer, friend) and peer_of(viewer, node).met)
    sim.run(0.1)
    for victim in (friend, stranger):
        victim.power_off()
        deliver(teller, viewer, Rumours([Claim(bytes.fromhex(victim.node), Word.DEAD, 1, 0, b"x" * 16)]))
    sim.until(lambda: all(viewer.state_of(victim) is State.DEAD for victim in (friend, stranger)), 1.7)


def test_a_suspect_never_met_is_greeted_when_it_does_not_refute() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    viewer.membership._verdicts.suspect(peer_of(viewer, other), sim.now, "another member suspects it", b"x" * 16)
    sim.run(1.9)
    assert not peer_of(viewer, other).met, "it may refute first"
    sim.until(lambda: peer_of(viewer, other).met, 2.0)


def test_a_snapshot_that_calls_a_stranger_gone_is_checked() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    viewer.membership._greetings._introductions.take(introduction(other, word=Word.LEFT), "liar", sim.now)
    viewer.carry(viewer.station.orders(viewer.membership.tick(sim.now)))
    assert viewer.state_of(other) is State.SUSPECT
    sim.until(lambda: viewer.state_of(other) is State.ALIVE and peer_of(viewer, other).met, 1.0)


def test_who_lives_though_it_was_accused_is_told_at_once() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    friend = a_friend_of(viewer, nodes)
    peer_of(viewer, friend).accused_at = peer_of(viewer, friend).incarnation
    effects = viewer.membership.received(friend.node, Rumours([]), friend.address, sim.now)
    pings = [effect.message for effect in effects if isinstance(getattr(effect, "message", None), Ping)]
    assert [claim.node for ping in pings for claim in ping.claims] == [bytes.fromhex(friend.node)]


def test_after_a_sleep_everybody_met_is_pinged_at_once() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[0]
    met = {peer.node for peer in viewer.membership.roster.alive()}
    effects = viewer.membership.resumed(3600.0, [viewer.address], sim.now)
    assert met == {effect.node for effect in effects if isinstance(getattr(effect, "message", None), Ping)}


def test_a_helper_greets_whom_it_never_met() -> None:
    sim, nodes = crowd(12)
    helper = nodes[-1]
    other, asker = a_stranger_to(helper, nodes), a_friend_of(helper, nodes)
    deliver(asker, helper, PingRequest(5, bytes.fromhex(other.node)))
    sim.until(lambda: peer_of(helper, other).met, 0.5)


def test_one_who_was_never_asked_does_not_count_as_silent() -> None:
    """Only whose pings went unanswered for a second may confirm a suspicion: rumours must not feed on themselves."""
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    victim = next(node for node in nodes[1:-1] if peer_of(viewer, node).met)
    teller = next(node for node in nodes if node not in (viewer, victim) and peer_of(viewer, node).met)
    peer = peer_of(viewer, victim)
    peer.evidence_at = peer.heard_at = sim.now - 10
    me = victim.membership.me
    sim.partition([viewer], [victim])
    deliver(teller, viewer, Rumours([Claim(me.raw, Word.SUSPECT, 1, me.incarnation, bytes.fromhex(teller.node))]))
    viewer.carry(viewer.station.orders(viewer.membership.tick(sim.now)))
    assert viewer.state_of(victim) is State.SUSPECT
    assert bytes.fromhex(viewer.node) not in peer.suspicion._accusers


def test_many_suspecters_do_not_drown_the_suspect() -> None:
    sim, nodes = crowd(24)
    victim = nodes[0]  # the seed: everybody has met it
    victim.power_off()
    sim.until(lambda: all(node.state_of(victim) is State.SUSPECT for node in nodes[1:]), 5)
    before = sim.sent_to[victim.address]
    sim.run(1.0)
    pingers = sum(peer_of(node, victim).met for node in nodes[1:])
    assert sim.sent_to[victim.address] - before < pingers * 10 * 0.85


def test_contacts_are_rationed_and_a_split_crowd_heals() -> None:
    sim, nodes = crowd(20)
    left, right = nodes[:10], nodes[10:]
    sim.partition(left, right)
    sim.until(lambda: all(a.state_of(b) is State.DEAD for a in left for b in right), 60)
    greetings = sim.greetings
    sim.run(10)
    assert sim.greetings - greetings <= len(nodes) * 10 * 2 + len(nodes)
    sim.heal()
    sim.until(lambda: sim.all_alive(nodes), 30)


def test_who_left_is_seen_by_all_of_many() -> None:
    sim, nodes = crowd(24)
    nodes[-1].leave("stop")
    sim.until(lambda: all(node.state_of(nodes[-1]) is State.LEFT for node in nodes[:-1]), 1.5)


def test_many_cost_little_when_nothing_happens() -> None:
    sim, nodes = crowd(40)
    sim.run(10)
    sent = sim.bytes
    sim.run(30)
    assert (sim.bytes - sent) / 30 / len(nodes) < 1200


# --- load -------------------------------------------------------------------------------------------------------


def test_the_load_of_one_never_met_arrives_with_its_age() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[-1]
    other = a_stranger_to(viewer, nodes)
    peer_of(viewer, other).load_at = 0.0
    told = LoadOf(bytes.fromhex(other.node)[:8], 1500, Load(queued=7).pack())
    deliver(a_friend_of(viewer, nodes), viewer, Ack(1, bytes(16), hash_of(viewer), [], [told]))
    assert viewer.see(other).load == Load(queued=7)
    assert viewer.see(other).load_age_s == pytest.approx(1.5)
    sim.run(1.6)
    assert viewer.see(other).load is None or viewer.see(other).load != Load(queued=7)


def test_a_younger_load_is_not_replaced_by_an_older_one() -> None:
    _, nodes = crowd(12)
    viewer = nodes[-1]
    other, friend = a_stranger_to(viewer, nodes), a_friend_of(viewer, nodes)
    peer_of(viewer, other).load_at = 0.0
    prefix = bytes.fromhex(other.node)[:8]
    for age_ms, queued in ((100, 1), (1500, 2), (3500, 3)):
        told = LoadOf(prefix, age_ms, Load(queued=queued).pack())
        deliver(friend, viewer, Ack(1, bytes(16), hash_of(viewer), [], [told]))
    assert viewer.see(other).load == Load(queued=1)


def test_answers_tell_the_freshest_loads_of_others_in_a_large_cluster_only() -> None:
    sim, nodes = crowd(12)
    viewer = nodes[0]
    friend = a_friend_of(viewer, nodes)
    loads = viewer.membership._prober._loads.freshest(peer_of(viewer, friend), sim.now)
    assert 0 < len(loads) <= 8
    assert [load.age_ms for load in loads] == sorted(load.age_ms for load in loads)
    assert all(load.age_ms <= 3000 for load in loads)
    small = Sim()
    pc1, pc2 = small.cluster(2)
    loads = pc1.membership._prober._loads
    small.run(5)
    assert loads._recent == {}
    assert pc1.see(pc2).load is not None
