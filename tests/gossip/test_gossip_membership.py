"""The core's rules, seen from outside: two to five real stations under virtual time."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from gossip_sim import Sim, SimNode, State

from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Load, Met
from tarsd.gossip.messages import Believed, Claim, Delta, Fact, Hello, Leave, Ping, PingRequest, Rumours, Word
from tarsd.gossip.roster import MAX_HINTS
from tarsd.names import Capability, NodeId, NodeName, Zone

CHAT = Capability("chat")
SEEDS = range(8)


def deliver(teller: SimNode, receiver: SimNode, message: object) -> None:
    """Let `receiver` get an authentic message of `teller`, who need not be honest."""
    sim = receiver.sim
    receiver.carry(receiver.station.orders(receiver.membership.received(teller.node, message, teller.address, sim.now)))


def accuse(word: Word, victim: SimNode, by: SimNode, incarnation: int | None = None) -> Claim:
    me = victim.membership.me
    return Claim(
        me.raw, word, me.generation, me.incarnation if incarnation is None else incarnation, by.membership.me.raw
    )


def changes(node: SimNode, of: SimNode, since: float = 0.0) -> list[State]:
    """The states that `node` saw `of` pass into after `since`."""
    states: list[State] = []
    before = State.ALIVE
    for at, name, state, _ in node.history:
        if name == of.name and state is not before:
            before = state
            if at >= since:
                states.append(state)
    return states


def hear_calls(node: SimNode, others: list[SimNode], every_s: float = 0.2) -> None:
    """Let calls of `others` reach `node` from now on, whatever happens to datagrams: so they count as heard."""
    sim = node.sim
    for other in others:
        node.carry(node.station.orders(node.membership.call_worked(other.node, sim.now)))
    sim.later(every_s, lambda: hear_calls(node, others, every_s))


def no_alarms(sim: Sim) -> None:
    assert [alarm for node in sim.nodes for alarm in node.alarms] == []


# --- meeting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_nodes_meet_through_one_seed_within_a_second(count: int) -> None:
    sim = Sim()
    nodes = [sim.add(f"pc{number}") for number in range(count)]
    for node in nodes:
        node.start(seeds=[nodes[0]])
    assert sim.until(lambda: sim.all_alive(nodes), 5.0) < 1.0
    no_alarms(sim)


def test_a_node_without_others_lives_alone() -> None:
    sim = Sim()
    alone = sim.add("pc1")
    alone.start()
    sim.run(60)
    assert [member.is_self for member in alone.membership.members(sim.now)] == [True]


def test_a_seed_that_comes_later_is_found() -> None:
    sim = Sim()
    pc1, pc2 = sim.add("pc1"), sim.add("pc2")
    pc1.start(seeds=[pc2])
    sim.run(30)
    pc2.start()
    assert sim.until(lambda: sim.all_alive([pc1, pc2]), 10) < 7.0


def test_a_seed_that_is_ourselves_is_left_alone() -> None:
    sim = Sim()
    pc1 = sim.add("pc1")
    pc1.start(seeds=[pc1])
    sim.run(60)
    assert sim.greetings == 1
    no_alarms(sim)


def test_an_announced_address_is_greeted_at_once() -> None:
    sim = Sim()
    pc1, pc2 = sim.add("pc1"), sim.add("pc2")
    pc1.start()
    pc2.start()
    pc2.carry(pc2.station.orders(pc2.membership.hint(pc1.node, [pc1.address], sim.now)))
    assert sim.until(lambda: sim.all_alive([pc1, pc2]), 2) < 0.1


def test_a_member_known_by_hearsay_only_gets_no_work() -> None:
    sim = Sim()
    pc1, _pc2, _pc3 = sim.cluster(3)
    stranger = sim.add("pc4")
    stranger.powered = False
    pc1.carry(pc1.station.orders(pc1.membership.hint(stranger.node, [stranger.address], sim.now)))
    seen = pc1.see(stranger)
    assert (seen.zone, seen.routable) == (None, False)
    sim.until(lambda: pc1.state_of(stranger) is State.DEAD, 3)
    assert not pc1.see(stranger).routable


def test_name_and_zone_come_from_the_certificate() -> None:
    sim = Sim()
    pc1, lab = sim.add("pc1"), sim.add("lab1")
    lab.zone = Zone.LAB
    pc1.start()
    lab.start(seeds=[pc1])
    sim.until(lambda: sim.all_alive([pc1, lab]), 2)
    assert (pc1.see(lab).name, pc1.see(lab).zone, lab.see(pc1).zone) == ("lab1", Zone.LAB, Zone.CORE)


# --- silence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("count", "loss"), [(2, 0.0), (2, 0.25), (3, 0.0), (5, 0.25)])
def test_a_node_without_power_gets_no_work_after_1500_ms_and_is_dead_after_3500(
    count: int, loss: float, seed: int
) -> None:
    sim = Sim(seed)
    first, *rest = sim.cluster(count)
    sim.loss = loss
    sim.run(20 + seed * 0.137)
    first.power_off()
    suspect_s = sim.until(lambda: all(node.state_of(first) is not State.ALIVE for node in rest), 5)
    dead_s = suspect_s + sim.until(lambda: all(node.state_of(first) is State.DEAD for node in rest), 5)
    assert suspect_s <= 1.55
    assert dead_s <= 3.6


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_process_is_known_by_the_next_ping(seed: int) -> None:
    sim = Sim(seed)
    pc1, pc2 = sim.cluster(2)
    sim.run(seed * 0.137)
    pc2.kill()
    assert sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 2) < 0.6
    assert 1.9 < sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 5) < 2.2


@pytest.mark.parametrize(("count", "loss", "hours"), [(2, 0.25, 1.0), (2, 0.5, 0.25), (5, 0.25, 0.2)])
def test_loss_alone_kills_nobody(count: int, loss: float, hours: float) -> None:
    sim = Sim(3)
    nodes = sim.cluster(count)
    begin, sim.loss = sim.now, loss
    sim.run(hours * 3600)
    seen = [(a.name, b.name, changes(a, b, begin)) for a in nodes for b in nodes if a is not b]
    assert not any(State.DEAD in states for _, _, states in seen), seen
    assert sum(State.SUSPECT in states for _, _, states in seen) <= 1, seen


def test_a_frozen_node_comes_back_without_being_buried_by_its_own_clock() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    begin = sim.now
    pc2.stall(1.0)
    sim.run(10)
    assert State.DEAD not in changes(pc1, pc2, begin)
    assert State.SUSPECT not in changes(pc2, pc1, begin) + changes(pc2, pc3, begin)


@pytest.mark.parametrize("stall_s", [3.0, 10.0, 30.0])
def test_a_node_that_was_frozen_long_accuses_nobody_and_is_taken_back(stall_s: float) -> None:
    sim = Sim()
    nodes = sim.cluster(3)
    pc1, pc2, pc3 = nodes
    begin = sim.now
    pc2.stall(stall_s)
    sim.run(stall_s)
    assert pc1.state_of(pc2) is State.DEAD
    assert sim.until(lambda: sim.all_alive(nodes), 5) < 1.0
    sim.run(5)
    assert changes(pc2, pc1, begin) + changes(pc2, pc3, begin) == []
    assert changes(pc1, pc3, begin) == []


def test_a_stall_of_ours_is_not_counted_as_loss() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    for _ in range(20):
        sim.until(lambda: pc2.membership.is_busy, 2)  # a ping is on its way
        pc2.stall(1.0)
        sim.run(3.0)
    assert pc2.see(pc1).loss < 0.01


def test_a_stall_of_ours_gives_a_suspect_its_time_back() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    pc1.stall(5.0)
    sim.run(5.0)
    assert sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 5) > 1.8


def test_a_doubt_from_before_a_stall_of_ours_is_dropped() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    begin = sim.now
    pc1.membership.roster.peers[pc2.node].doubted = True
    pc1.stall(3.0)
    sim.run(5.0)
    assert changes(pc1, pc2, begin) == []


def test_a_suspect_is_not_buried_right_after_a_stall_of_ours() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    begin = sim.now
    sim.partition([pc1], [pc2])
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 2)
    sim.run(pc1.membership.roster.peers[pc2.node].suspicion.deadline - sim.now - 0.001)
    pc1.carry(pc1.station.orders(pc1.membership.tick(sim.now)))
    pc1.stall(3.0)
    sim.heal()
    sim.run(5.0)
    assert changes(pc1, pc2, begin) == [State.SUSPECT, State.ALIVE]


def test_a_suspect_is_pinged_ten_times_a_second() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    before = sim.sent_to[pc2.address]
    sim.run(1.0)
    assert 8 <= sim.sent_to[pc2.address] - before <= 11


def test_an_announced_stall_is_waited_for() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    begin = sim.now
    pc2.carry(pc2.station.orders(pc2.membership.busy(20.0)))
    sim.run(0.1)
    pc2.stall(15.0)
    sim.run(30)
    assert State.DEAD not in changes(pc1, pc2, begin)
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 5)


def test_helpers_vouch_where_only_our_own_link_is_cut() -> None:
    sim = Sim()
    nodes = sim.cluster(3)
    pc1, pc2, _ = nodes
    begin = sim.now
    sim.partition([pc1], [pc2])
    sim.run(60)
    assert changes(pc1, pc2, begin) == []
    assert changes(pc2, pc1, begin) == []


def test_a_member_that_answers_over_tcp_only_is_not_buried() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    begin = sim.now
    sim.udp_cut = {("pc1", "pc2"), ("pc2", "pc1")}
    sim.run(60)
    assert changes(pc1, pc2, begin) == changes(pc2, pc1, begin) == []


def test_a_refusal_is_no_verdict_where_a_greeting_is_answered() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.udp_cut = {("pc1", "pc2"), ("pc2", "pc1")}
    pc1.carry(pc1.station.orders(pc1.membership.refused(pc2.address, sim.now)))
    assert pc1.state_of(pc2) is State.SUSPECT
    assert sim.until(lambda: pc1.state_of(pc2) is State.ALIVE, 2) < 0.2


def test_who_hears_us_not_is_no_place_for_work() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.udp_cut = {("pc1", "pc2")}
    sim.until(lambda: pc1.see(pc2).one_way, 5)
    assert pc1.state_of(pc2) is State.ALIVE
    assert not pc1.see(pc2).routable
    sim.heal()
    sim.until(lambda: pc1.see(pc2).routable, 3)


def test_a_failed_call_is_checked_at_once() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.run(0.05)
    pc2.power_off()
    pc1.carry(pc1.station.orders(pc1.membership.call_failed(pc2.node, sim.now)))
    assert sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 2) < 0.4


def test_a_failed_call_to_a_healthy_node_changes_nothing() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    begin = sim.now
    for _ in range(20):
        pc1.carry(pc1.station.orders(pc1.membership.call_failed(pc2.node, sim.now)))
        sim.run(0.4)
    assert changes(pc1, pc2, begin) == []


def test_a_call_that_works_is_a_sign_of_life() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    begin = sim.now
    for _ in range(30):
        pc1.carry(pc1.station.orders(pc1.membership.call_worked(pc2.node, sim.now)))
        sim.run(0.3)
    assert changes(pc1, pc2, begin) == []


# --- coming back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "cut_s"), [(2, 5.0), (3, 5.0), (5, 5.0), (2, 60.0), (3, 60.0), (5, 60.0), (2, 4000.0)]
)
def test_a_partition_always_heals(count: int, cut_s: float) -> None:
    sim = Sim()
    nodes = sim.cluster(count)
    sim.partition(nodes[:1], nodes[1:])
    sim.run(cut_s)
    assert nodes[0].state_of(nodes[1]) is not State.ALIVE  # alone among many it takes its time to say dead
    assert nodes[1].state_of(nodes[0]) is State.DEAD
    sim.heal()
    # After an hour apart they look for each other once a minute; a link that comes up makes them look at once.
    within_s = 6.5 if cut_s < 3600 else 80.0
    sim.until(lambda: sim.all_alive(nodes), within_s)
    sim.run(3)
    assert sim.all_alive(nodes)
    assert len({node.membership.roster.state_hash() for node in nodes}) == 1


def test_a_partition_heals_by_datagrams_alone() -> None:
    sim = Sim()
    nodes = sim.cluster(2)
    sim.partition(nodes[:1], nodes[1:])
    sim.run(30)
    sim.heal()
    sim.tcp_works = False
    sim.until(lambda: sim.all_alive(nodes), 6.5)


def test_who_is_told_that_it_was_dead_refutes() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    me = pc1.membership.me
    believed = Believed(me.generation, me.incarnation, me.boot, Word.DEAD)
    answer = msgspec.structs.replace(pc2.membership.greeting(), believed=believed)
    who = Greeter(pc2.node, NodeName("pc2"), Zone.CORE, pc2.address[0])
    pc1.carry(pc1.station.orders(pc1.membership.greeting_answered(who, pc2.address, answer, sim.now)))
    assert me.incarnation == 1


def test_a_link_that_comes_up_heals_at_once() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    sim.run(4000)
    sim.heal()
    pc1.carry(pc1.station.orders(pc1.membership.network_changed([pc1.address], sim.now)))
    assert sim.until(lambda: sim.all_alive([pc1, pc2]), 2) < 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_restarted_node_is_back_at_once_with_a_higher_generation(seed: int) -> None:
    sim = Sim(seed)
    nodes = sim.cluster(3)
    nodes[1].kill()
    sim.run(seed * 0.7)
    nodes[1].start()
    assert sim.until(lambda: sim.all_alive(nodes), 5) < 0.5
    assert {node.see(nodes[1]).generation for node in nodes} == {2}
    sim.run(5)
    assert sim.all_alive(nodes)
    no_alarms(sim)


def test_a_node_with_a_lost_disk_counts_on_from_what_others_saw() -> None:
    sim = Sim()
    nodes = sim.cluster(3)
    pc2 = nodes[1]
    for _ in range(4):
        pc2.kill()
        pc2.start()
        sim.run(2)
    pc2.kill()
    pc2.disk_generation, pc2.table = 0, []
    sim.run(5)
    pc2.start(seeds=[nodes[0]])
    sim.until(lambda: sim.all_alive(nodes), 5)
    assert pc2.disk_generation == 6
    assert {node.see(pc2).generation for node in nodes} == {6}
    assert pc2.membership.me.facts.generation == 6
    no_alarms(sim)


def test_a_copied_disk_raises_an_alarm() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    original, copy = pc2, sim.add("pc2-copy")
    copy.node, copy.disk_generation = original.node, original.disk_generation
    copy.start(seeds=[pc1])
    sim.run(10)
    assert any("identity" in alarm for alarm in pc1.alarms + original.alarms + copy.alarms)


def test_a_table_row_of_a_later_boot_is_not_overruled_by_an_earlier_one() -> None:
    sim = Sim()
    pc1, pc2 = sim.add("pc1"), sim.add("pc2")
    pc1.table = [Met(pc2.node, NodeName("pc2"), Zone.CORE, [pc2.address], 9)]
    pc1.start()
    pc2.start(seeds=[pc1])
    sim.until(lambda: sim.all_alive([pc1, pc2]), 5)
    assert pc1.see(pc2).generation == 10


def test_flapping_holds_work_back_but_not_the_truth() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    for _ in range(3):
        sim.partition([pc1], [pc2])
        sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 10)
        sim.heal()
        sim.until(lambda: pc1.state_of(pc2) is State.ALIVE, 10)
    seen = pc1.see(pc2)
    assert seen.hold_s > 3.0
    assert seen.routable  # with nobody else there, it is still better than none
    sim.run(30)
    assert pc1.see(pc2).hold_s <= 0.0


def test_a_restart_is_no_flap() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.kill()
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 10)
    pc2.start()
    sim.until(lambda: pc1.state_of(pc2) is State.ALIVE, 2)
    assert pc1.see(pc2).routable


# --- goodbyes ---------------------------------------------------------------------------------------------------


def test_a_goodbye_is_seen_by_all_and_stands() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    begin = sim.now
    pc2.leave("restart")
    assert sim.until(lambda: pc1.state_of(pc2) is pc3.state_of(pc2) is State.LEFT, 1) < 0.2
    sim.run(30)
    assert changes(pc1, pc2, begin) == changes(pc3, pc2, begin) == [State.LEFT]
    assert pc1.see(pc2).reason == "it said goodbye (restart)"
    pc2.start()
    assert sim.until(lambda: sim.all_alive([pc1, pc2, pc3]), 5) < 0.5


def test_what_was_under_way_does_not_bring_back_who_left() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    address = pc2.address
    pc2.leave()
    sim.until(lambda: pc1.state_of(pc2) is State.LEFT, 1)
    late = Rumours([])
    pc1.carry(pc1.station.orders(pc1.membership.received(pc2.node, late, address, sim.now)))
    assert pc1.state_of(pc2) is State.LEFT


def test_a_goodbye_is_passed_on_to_whom_it_did_not_reach() -> None:
    sim = Sim()
    _pc1, pc2, pc3 = sim.cluster(3)
    begin = sim.now
    sim.udp_cut = {("pc2", "pc3")}
    pc2.leave()
    sim.until(lambda: pc3.state_of(pc2) is State.LEFT, 1)
    assert State.DEAD not in changes(pc3, pc2, begin)


# --- what others say --------------------------------------------------------------------------------------------


def test_an_accusation_against_ourselves_is_refuted_everywhere() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    deliver(pc3, pc2, Rumours([accuse(Word.SUSPECT, pc2, pc3)]))
    assert pc2.membership.me.incarnation == 1
    sim.run(1)
    assert pc1.see(pc2).incarnation == pc3.see(pc2).incarnation == 1


def test_an_old_accusation_needs_no_answer() -> None:
    sim = Sim()
    _, pc2, pc3 = sim.cluster(3)
    deliver(pc3, pc2, Rumours([accuse(Word.SUSPECT, pc2, pc3)]))
    deliver(pc3, pc2, Rumours([accuse(Word.DEAD, pc2, pc3, incarnation=0)]))
    assert pc2.membership.me.incarnation == 1


@pytest.mark.parametrize("word", [Word.SUSPECT, Word.DEAD])
def test_one_member_cannot_bury_another_that_we_hear(word: Word) -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    begin = sim.now
    for _ in range(100):
        deliver(liar, pc1, Rumours([accuse(word, pc2, liar)]))
        sim.run(0.1)
    assert changes(pc1, pc2, begin) == []


def test_a_stranger_accuser_does_not_help_the_liar() -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    begin = sim.now
    claims = [Claim(pc2.membership.me.raw, Word.DEAD, 1, 0, bytes([number]) * 16) for number in range(6)]
    deliver(liar, pc1, Rumours(claims))
    sim.run(5)
    assert changes(pc1, pc2, begin) == []


def test_dead_is_verified_and_believed_when_nothing_is_heard() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    sim.run(0.01)
    pc2.power_off()
    sim.run(0.3)
    deliver(pc3, pc1, Rumours([Claim(bytes.fromhex(pc2.node), Word.DEAD, 1, 0, bytes.fromhex(pc3.node))]))
    assert pc1.state_of(pc2) is State.ALIVE
    assert sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 1) < 0.4


def test_suspicion_of_another_is_shared_when_we_do_not_hear_it_either() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc2.power_off()
    pc1.stall(0.0)
    peer = pc1.membership.roster.peers[pc2.node]
    peer.evidence_at = peer.heard_at = sim.now - 1.5
    deliver(pc3, pc1, Rumours([Claim(peer.raw, Word.SUSPECT, 1, 0, bytes.fromhex(pc3.node))]))
    assert pc1.state_of(pc2) is State.SUSPECT
    assert pc1.see(pc2).reason == "another member suspects it"


def test_rumours_are_not_spent_on_one_who_may_not_hear() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    whispers, suspect = pc1.membership._whispers, pc1.membership.roster.peers[pc2.node]
    whispers.tell(pc3.membership.me.claim())
    assert {claim.node for claim in whispers.for_receiver(suspect)} == {suspect.raw}


def test_rumours_grow_old() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    deliver(pc3, pc2, Rumours([accuse(Word.SUSPECT, pc2, pc3)]))
    sim.run(10)
    assert [node.membership._whispers._told for node in (pc1, pc2, pc3)] == [{}, {}, {}]


def test_accusers_count_that_spoke_while_we_still_heard_the_member() -> None:
    sim = Sim()
    nodes = sim.cluster(5)
    pc1, pc2, pc3, pc4, _ = nodes
    deliver(pc3, pc1, Rumours([accuse(Word.SUSPECT, pc2, pc3)]))
    deliver(pc4, pc1, Rumours([accuse(Word.SUSPECT, pc2, pc4)]))
    sim.partition([pc1], nodes[1:])
    hear_calls(pc1, nodes[3:])
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    assert 1.9 < sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 20) < 2.2
    assert pc1.state_of(pc3) is State.SUSPECT  # nobody else accuses that one, so it has more time


def test_an_outdated_accusation_does_not_count() -> None:
    sim = Sim()
    nodes = sim.cluster(5)
    pc1, pc2, pc3, pc4, _ = nodes
    for node in nodes:
        if node is not pc2:
            node.membership.roster.peers[pc2.node].incarnation = 3
    sim.partition([pc1], nodes[1:])
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    hear_calls(pc1, nodes[2:])
    for by in (pc3, pc4):
        deliver(by, pc1, Rumours([accuse(Word.SUSPECT, pc2, by, incarnation=2)]))
    sim.run(3)
    assert pc1.state_of(pc2) is State.SUSPECT


def test_an_old_accusation_is_answered_with_the_word_that_did_not_arrive() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.membership.me.incarnation = 5
    deliver(pc1, pc2, Rumours([accuse(Word.SUSPECT, pc2, pc1, incarnation=0)]))
    sim.run(1)
    assert pc1.see(pc2).incarnation == pc2.membership.me.incarnation == 5


@pytest.mark.parametrize("word", [Word.ALIVE, Word.LEFT])
def test_what_only_the_owner_may_say_needs_its_proof(word: Word) -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    raw = pc2.membership.me.raw
    for proof in (b"", bytes(64), liar.membership.me.claim().proof):
        deliver(liar, pc1, Rumours([Claim(raw, word, 1, 5, raw, proof)]))
    assert (pc1.state_of(pc2), pc1.see(pc2).incarnation) == (State.ALIVE, 0)


def test_the_owners_word_passed_on_clears_a_suspicion() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    sim.partition([pc1], [pc2])
    sim.partition([pc1], [pc3])
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 5)
    pc2.membership.me.incarnation = 3
    deliver(pc3, pc1, Rumours([pc2.membership.me.claim()]))
    assert pc1.state_of(pc2) is State.ALIVE
    assert pc1.see(pc2).incarnation == 3


def test_a_claim_about_a_newer_boot_is_believed_only_after_a_greeting() -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    raw, greetings = pc2.membership.me.raw, sim.greetings
    sim.run(2)
    deliver(liar, pc1, Rumours([Claim(raw, Word.DEAD, 99, 0, raw)]))
    sim.run(1)
    assert sim.greetings == greetings + 1
    assert (pc1.state_of(pc2), pc1.see(pc2).generation) == (State.ALIVE, 1)


def test_a_claim_about_an_older_boot_is_nothing() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc2.kill()
    pc2.start()
    sim.run(2)
    greetings, raw = sim.greetings, pc2.membership.me.raw
    deliver(pc3, pc1, Rumours([Claim(raw, Word.DEAD, 1, 99, raw)]))
    sim.run(2)
    assert pc1.state_of(pc2) is State.ALIVE
    assert sim.greetings == greetings


def test_somebody_elses_goodbye_is_not_ours_to_say() -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    deliver(liar, pc1, Leave(1, 0, "stop", 0, b""))
    assert pc1.state_of(liar) is State.LEFT  # its own word, over its own session
    assert pc1.state_of(pc2) is State.ALIVE


def test_a_helper_is_not_made_to_ping_the_world() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc2.power_off()
    before = sim.sent_to[pc2.address]
    for seq in range(500):
        deliver(pc3, pc1, PingRequest(seq, bytes.fromhex(pc2.node)))
    assert sim.sent_to[pc2.address] - before == 1


# --- facts and load ---------------------------------------------------------------------------------------------


def advertise(node: SimNode, model: str) -> None:
    node.carry(
        node.station.orders(node.membership.advertise({CHAT: {"model": model}}, ["cognitive"], "1", node.sim.now))
    )


def model_at(node: SimNode, of: SimNode) -> object:
    return node.see(of).capabilities.get(CHAT, {}).get("model")


def test_a_new_capability_is_everywhere_at_once() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    advertise(pc1, "small")
    assert sim.until(lambda: model_at(pc2, pc1) == model_at(pc3, pc1) == "small", 1) < 0.05
    assert pc2.see(pc1).roles == ("cognitive",)


def test_a_lost_change_is_repaired_by_the_state_hash() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.loss = 1.0
    advertise(pc1, "small")
    sim.loss = 0.0
    assert model_at(pc2, pc1) is None
    assert sim.until(lambda: model_at(pc2, pc1) == "small", 5) < 2.5
    greetings, sent = sim.greetings, sim.bytes
    sim.run(60)
    assert sim.greetings == greetings
    assert sim.bytes - sent < 2 * 60 * 500, "the repair must end when there is nothing left to repair"


def test_facts_of_one_that_we_do_not_hear_come_through_another() -> None:
    sim = Sim()
    pc1, _pc2, pc3 = sim.cluster(3)
    sim.partition([pc1], [pc3])
    advertise(pc1, "small")
    sim.until(lambda: model_at(pc3, pc1) == "small", 5)


def test_nobody_can_advertise_for_another() -> None:
    sim = Sim()
    pc1, pc2, liar = sim.cluster(3)
    advertise(pc2, "small")
    sim.run(1)
    version = pc2.membership.me.facts.version
    forged = [Fact("capability/chat", version + 1, b"\x81\xa5model\xa4evil")]
    for proof in (b"", bytes(64), liar.membership.me.notary.sign(b"x")):
        deliver(liar, pc1, Delta(pc2.membership.me.raw, 1, version, version + 1, forged, proof))
    assert model_at(pc1, pc2) == "small"


def test_facts_too_large_for_a_datagram_arrive_over_tcp() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.run(2)
    wanted = {Capability(f"c{number}"): {"languages": ["x" * 200] * 3} for number in range(4)}
    pc1.carry(pc1.station.orders(pc1.membership.advertise(wanted, [], "1", sim.now)))
    assert sim.until(lambda: len(pc2.see(pc1).capabilities) == 4, 5) < 0.5


def test_load_rides_on_each_ping_and_grows_stale() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc1.membership.set_load(Load(queued=3, tokens_per_s=12.5))
    assert sim.until(lambda: pc2.see(pc1).load == Load(queued=3, tokens_per_s=12.5), 1) < 0.6
    for _ in range(50):
        sim.run(0.1)
        assert pc2.see(pc1).load_age_s < 0.6
    pc1.power_off()
    sim.run(3.5)
    assert pc2.see(pc1).load is None


# --- strangers --------------------------------------------------------------------------------------------------


def test_a_datagram_of_an_unknown_boot_gets_no_answer_but_one_greeting() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.kill()
    sim.run(1.5)
    forged = bytes([1, 0]) + bytes.fromhex(pc2.node)[:8] + (7).to_bytes(8, "big") + bytes(40)
    pc1.membership.roster.peers[pc2.node].greeted_at = 0.0
    datagrams, greetings = sim.datagrams, sim.greetings
    for _ in range(1000):
        pc1.carry(pc1.station.datagram(forged, ("10.9.9.9", 1), sim.now))
    assert sim.datagrams == datagrams
    assert sim.greetings == greetings + 1


def test_garbage_in_the_name_of_a_healthy_member_costs_nothing() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    forged = bytes([1, 0]) + bytes.fromhex(pc2.node)[:8] + (7).to_bytes(8, "big") + bytes(40)
    datagrams, greetings = sim.datagrams, sim.greetings
    for _ in range(1000):
        pc1.carry(pc1.station.datagram(forged, ("10.9.9.9", 1), sim.now))
    assert (sim.datagrams, sim.greetings) == (datagrams, greetings)


def test_replayed_datagrams_are_not_accepted() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    recorded: list[bytes] = []
    sim.tap = lambda sender, target, data: recorded.append(data) if data and target is pc1 else None
    sim.run(10)
    sim.tap = None
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 10)
    refused = pc1.station.refused_datagrams
    for data in recorded:
        pc1.carry(pc1.station.datagram(data, pc2.address, sim.now))
    assert pc1.state_of(pc2) is State.DEAD
    assert pc1.station.refused_datagrams == refused + len(recorded)


def test_a_message_of_a_later_version_is_a_sign_of_life() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 5)
    deliver(pc2, pc1, None)
    assert pc1.state_of(pc2) is State.ALIVE


# --- size and sameness ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "most"), [(2, 500), (5, 1900)])
def test_idle_costs_little(count: int, most: int) -> None:
    sim = Sim()
    sim.cluster(count)
    sent, greetings = sim.bytes, sim.greetings
    sim.run(60)
    assert (sim.bytes - sent) / 60 / count < most
    assert sim.greetings == greetings


def test_no_datagram_is_ever_larger_than_a_path_carries() -> None:
    sim = Sim(5, loss=0.2)
    nodes = sim.cluster(5)
    for node in nodes:
        advertise(node, "m" * 200)
    nodes[1].kill()
    sim.run(10)
    nodes[1].start()
    nodes[2].leave()
    sim.run(20)
    assert sim.largest <= MAX_DATAGRAM_BYTES


def history(seed: int) -> tuple[str, list[object]]:
    sim, digest = Sim(seed, loss=0.25), hashlib.sha256()
    sim.tap = lambda sender, target, data: digest.update(f"{sim.now!r} {target.name}".encode() + data)
    nodes = sim.cluster(3)
    nodes[2].kill()
    sim.run(20)
    nodes[2].start()
    sim.run(20)
    return digest.hexdigest(), [entry for node in nodes for entry in node.history]


def test_one_seed_gives_one_history_byte_for_byte() -> None:
    assert history(7) == history(7)
    assert history(7) != history(8)


@pytest.mark.parametrize("seed", range(12))
def test_after_any_faults_everybody_agrees_again(seed: int) -> None:
    """Chaos from a seed, then quiet: views must be the same and whole. A failure names its seed."""
    sim = Sim(seed)
    nodes = sim.cluster(2 + seed % 4)
    for _ in range(12):
        node = sim.rng.choice(nodes)
        match sim.rng.randrange(6):
            case 0:
                node.kill()
            case 1 if node.station is None:
                node.start()
            case 2:
                node.stall(sim.rng.uniform(0.1, 8))
            case 3:
                sim.partition([node], [other for other in nodes if other is not node], one_way=sim.rng.random() < 0.5)
            case 4:
                sim.heal()
            case _:
                sim.loss = sim.rng.choice([0.0, 0.1, 0.3])
        sim.run(sim.rng.uniform(0.1, 10))
    sim.heal()
    sim.loss = 0.0
    for node in nodes:
        if node.station is None:
            node.start()
    sim.run(max(0.0, *(node.stalled_until - sim.now for node in nodes)))
    sim.until(lambda: sim.all_alive(nodes), 10)
    sim.run(5)
    assert sim.all_alive(nodes), sim._picture()
    assert len({node.membership.roster.state_hash() for node in nodes}) == 1
    for a in nodes:
        for b in nodes:
            seen, own = a.see(b), b.see(b)
            assert seen.generation == own.generation, sim._picture()
            assert seen.incarnation <= own.incarnation, sim._picture()
            if a is not b:
                assert a.membership.roster.peers[b.node].accused_at < max(own.incarnation, 1), "an accusation stands"
    no_alarms(sim)


def test_a_ping_says_what_was_heard() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    peer = pc1.membership.roster.peers[pc2.node]
    deliver(pc2, pc1, Ping(77, bytes(16), bytes(8)))
    assert peer.heard_seq == 77


# --- bounds against peers that are wrong or malicious -----------------------------------------------------------


def greet(sim: Sim, receiver: SimNode, greeter: SimNode, **changes: object) -> Hello:
    """Let `receiver` take a greeting of `greeter`, with `changes`; returns the answer."""
    hello = msgspec.structs.replace(greeter.membership.greeting(), **changes)
    who = Greeter(greeter.node, NodeName(greeter.name), greeter.zone, greeter.address[0])
    answer, effects = receiver.membership.greeted(who, hello, sim.now)
    receiver.carry(receiver.station.orders(effects))
    return answer


def test_a_greeting_without_a_common_protocol_is_refused_and_told() -> None:
    sim = Sim()
    pc1, pc2 = sim.add("pc1"), sim.add("pc2")
    pc1.start()
    pc2.start()
    assert greet(sim, pc1, pc2, protocol_min=2, protocol_max=9).refused == "protocol"
    assert pc1.see(pc2) is None
    assert pc1.alarms == ["pc2 speaks protocol 2 to 9, this node 1 to 1: update the older one"]
    assert greet(sim, pc1, pc2, protocol_min=0, protocol_max=9).refused == ""


def test_a_refused_greeting_tells_nothing_of_third_nodes() -> None:
    sim = Sim()
    pc1, _, _ = sim.cluster(3)
    newer = sim.add("pc4")
    newer.start()
    assert greet(sim, pc1, newer, protocol_min=2, protocol_max=2).members == []
    assert len(greet(sim, pc1, newer).members) == 2 + 1


def test_a_peer_cannot_use_up_our_generations() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    believed = Believed(0xFFFF_FFFF, 0, bytes(8), Word.DEAD)
    lie = msgspec.structs.replace(pc2.membership.greeting(), refused="generation", believed=believed)
    who = Greeter(pc2.node, NodeName("pc2"), Zone.CORE, pc2.address[0])
    pc1.carry(pc1.station.orders(pc1.membership.greeting_answered(who, pc2.address, lie, sim.now)))
    assert pc1.membership.me.generation == 1


def test_hints_without_end_push_out_hints_and_no_members() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    for number in range(MAX_HINTS + 100):
        stranger = NodeId(f"{number + 1:016x}" + "0" * 16)
        pc1.carry(pc1.station.orders(pc1.membership.hint(stranger, [("10.1.1.1", 7710)], sim.now)))
    assert len(pc1.membership.roster.peers) == 1 + MAX_HINTS == len(pc1.membership.roster.by_prefix)
    assert pc1.state_of(pc2) is State.ALIVE


def test_greetings_are_rationed() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.run(2)
    greetings = sim.greetings
    for version in range(200):
        delta = Delta(pc2.membership.me.raw, 99, 0, version, [], b"")
        deliver(pc2, pc1, delta)
    assert sim.greetings == greetings + 1


def test_just_after_a_stall_of_ours_nobody_is_accused() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.run(0.3)
    pc1.stall(2.0)
    sim.run(2.01)
    pc1.carry(pc1.station.orders(pc1.membership.refused(pc2.address, sim.now)))
    assert pc1.state_of(pc2) is State.ALIVE
    sim.run(1.0)
    pc1.carry(pc1.station.orders(pc1.membership.refused(pc2.address, sim.now)))
    assert pc1.state_of(pc2) is State.SUSPECT
