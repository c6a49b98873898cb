"""Rules of the core for a few members, each seen from outside: what the first suite did not cover."""

from __future__ import annotations

import msgspec
import pytest
from gossip_sim import Sim, SimNode, State

from tarsd.gossip.effects import Alarm, Poke, Send
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Load
from tarsd.gossip.messages import Busy, Claim, Leave, Nack, PingRequest, Rumours, Vouch, Word
from tarsd.gossip.roster import Me
from tarsd.gossip.rumours import MAX_WAITING
from tarsd.gossip.suspicion import Suspicion
from tarsd.names import NodeName, Zone

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def deliver(teller: SimNode, receiver: SimNode, message: object) -> list[object]:
    """Let `receiver` get an authentic message of `teller`; returns the effects, which are carried out too."""
    sim = receiver.sim
    effects = receiver.membership.received(teller.node, message, teller.address, sim.now)
    receiver.carry(receiver.station.orders(list(effects)))
    return effects


def peer_of(node: SimNode, other: SimNode) -> object:
    return node.membership.roster.peers[other.node]


def states(node: SimNode, of: SimNode, since: float) -> list[State]:
    return [entry[2] for entry in node.history if entry[1] == of.name and entry[0] >= since]


def say_busy(node: SimNode, for_s: float) -> None:
    node.carry(node.station.orders(node.membership.busy(for_s)))


# --- the kernel's word --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_a_killed_process_is_suspect_everywhere_within_a_third_of_a_second(count: int) -> None:
    sim = Sim(count)
    nodes = sim.cluster(count)
    for _ in range(4):
        sim.run(1 + sim.rng.random())
        nodes[-1].kill()
        seen_s = sim.until(lambda: all(node.state_of(nodes[-1]) is not State.ALIVE for node in nodes[:-1]), 2)
        assert seen_s <= 0.36
        nodes[-1].start()
        sim.until(lambda: sim.all_alive(nodes), 5)


def test_between_two_pings_an_empty_datagram_asks_the_kernel() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    before, sent = sim.datagrams, []
    for _ in range(20):
        effects = pc1.membership.tick(sim.now)
        sent += [effect for effect in effects if isinstance(effect, Poke)]
        pc1.carry(pc1.station.orders(effects))
        sim.run(0.05)
    assert sim.datagrams > before
    assert sent == [] or sent[0].addresses == (pc2.address,)
    refused = pc2.station.refused_datagrams
    sim.run(5)
    assert pc2.station.refused_datagrams == refused, "nobody minds it"


def test_an_empty_datagram_gets_no_answer() -> None:
    sim = Sim()
    pc1, _ = sim.cluster(2)
    assert pc1.station.datagram(b"", ("10.9.9.9", 1), sim.now) == []
    assert pc1.station.refused_datagrams == 0


def test_whom_others_accuse_is_pinged_at_once_though_we_hear_it() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    me = pc2.membership.me
    effects = deliver(pc3, pc1, Rumours([Claim(me.raw, Word.SUSPECT, 1, 0, bytes.fromhex(pc3.node))]))
    assert [effect.node for effect in effects if isinstance(effect, Send)] == [pc2.node]
    again = deliver(pc3, pc1, Rumours([Claim(me.raw, Word.SUSPECT, 1, 0, b"x" * 16)]))
    assert [effect for effect in again if isinstance(effect, Send)] == [], "but not at each word of a liar"


# --- time to die --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 6, 16])
def test_one_who_is_cut_off_from_all_needs_nobody_to_confirm_it(count: int) -> None:
    sim = Sim()
    nodes = sim.cluster(count)
    sim.partition(nodes[:1], nodes[1:])
    sim.until(lambda: all(nodes[0].state_of(node) is State.DEAD for node in nodes[1:]), 4.0)


def test_while_others_are_heard_a_suspicion_of_ours_alone_takes_longer() -> None:
    suspicion = Suspicion(100.0, members=4, floor_s=2.0, probe_interval_s=0.5)
    suspicion.accuse(b"a")
    assert suspicion.deadline == 112.0
    suspicion.others = 1
    assert suspicion.deadline == 102.0


@pytest.mark.parametrize("apart_s", [HOUR_S / 2, 2 * HOUR_S, 30 * DAY_S])
@pytest.mark.parametrize("seed", range(4))
def test_two_nodes_find_each_other_within_five_seconds_however_long_they_were_apart(apart_s: float, seed: int) -> None:
    sim = Sim(seed)
    pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    sim.run(60)
    for one, other in ((pc1, pc2), (pc2, pc1)):
        peer_of(one, other).since -= apart_s
    sim.run(20 + seed * 1.3)
    sim.heal()
    sim.tcp_works = False  # no seed helps
    assert sim.until(lambda: sim.all_alive([pc1, pc2]), 10) <= 5.0


def test_who_is_dead_for_long_is_asked_by_datagrams_and_seldom_over_tcp() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.power_off()
    sim.run(20)
    peer_of(pc1, pc2).since -= 2 * HOUR_S
    sim.run(60)
    sent, greetings = sim.sent_to[pc2.address], sim.greetings
    sim.run(120)
    assert sim.greetings - greetings <= 3
    assert 24 <= sim.sent_to[pc2.address] - sent <= 40


# --- what a member says of itself ---------------------------------------------------------------------------------


def test_a_planned_stall_shows_and_keeps_work_away() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    say_busy(pc2, 20.0)
    sim.run(0.1)
    seen = pc1.see(pc2)
    assert 19.5 < seen.busy_s <= 20.0
    assert seen.hold_s >= seen.busy_s
    assert "busy" in seen.reason
    assert seen.routable, "with nobody else there, it is still better than none"
    say_busy(pc2, 0.0)
    sim.run(0.3)
    assert pc1.see(pc2).busy_s <= 0.0


def test_a_planned_stall_is_announced_thrice() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    sim.loss = 1.0
    say_busy(pc2, 20.0)
    sim.loss = 0.0
    sim.run(0.3)
    assert pc1.see(pc2).busy_s > 19.0


def test_nobody_is_told_of_a_suspect_that_is_busy_until_its_time_is_over() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    begin = sim.now
    deliver(pc2, pc1, Busy(8000))
    deliver(pc2, pc3, Busy(8000))
    pc2.power_off()
    told = pc1.membership._whispers._told
    sim.until(lambda: pc1.state_of(pc2) is State.SUSPECT, 3)
    assert told == {}
    sim.run(2)
    assert told == {}
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 12)
    assert sim.now - begin >= 8.0
    assert any(claim.word is Word.DEAD for claim in pc1.membership._whispers._told)


def test_who_leaves_says_when_it_will_be_back() -> None:
    sim = Sim()
    pc1, pc2, _ = sim.cluster(3)
    pc2.leave("upgrade", 30.0)
    sim.run(0.5)
    seen = pc1.see(pc2)
    assert (seen.state, seen.reason) == (State.LEFT, "it said goodbye (upgrade, back in 30 s)")
    assert 29.0 < seen.expect_back_s <= 30.0
    sim.run(20)
    pc2.start()
    sim.run(2)
    assert pc1.see(pc2).state is State.ALIVE
    assert State.DEAD not in [entry[2] for entry in pc1.history]
    assert pc1.alarms == []


def test_who_does_not_come_back_in_time_is_shown_as_late() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    deliver(pc2, pc1, Leave(1, 0, "restart", 5000, b""))
    pc2.power_off()
    sim.run(12)
    assert pc1.see(pc2).expect_back_s <= 0.0
    assert "late" in pc1.see(pc2).reason


# --- one-way links ------------------------------------------------------------------------------------------------


def test_whom_only_others_hear_is_no_place_for_work() -> None:
    sim = Sim()
    pc1, pc2, _ = sim.cluster(3)
    sim.partition([pc1], [pc2])
    sim.run(10)
    assert pc1.state_of(pc2) is pc2.state_of(pc1) is State.ALIVE
    for one, other in ((pc1, pc2), (pc2, pc1)):
        seen = one.see(other)
        assert (seen.one_way, seen.routable, seen.reason) == (True, False, "only others hear it")
    sim.heal()
    sim.until(lambda: pc1.see(pc2).routable and pc2.see(pc1).routable, 3)


# --- ourselves ----------------------------------------------------------------------------------------------------


def test_after_a_sleep_of_ours_the_living_are_alive_and_the_gone_are_suspect_at_once() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc3.power_off()
    begin = sim.now
    pc1.carry(pc1.station.orders(pc1.membership.resumed(8 * HOUR_S, [pc1.address], sim.now)))
    assert pc1.see(pc2).last_heard_s >= 8 * HOUR_S
    assert pc1.see(pc2).load is None
    assert sim.until(lambda: pc1.state_of(pc3) is State.SUSPECT, 2) < 0.7
    sim.run(5)
    assert states(pc1, pc2, begin) == []


def test_helpers_that_say_nothing_at_all_point_at_ourselves() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    health = pc1.membership.roster.health
    helpers = pc1.membership._prober.helpers
    helpers.ask(peer_of(pc1, pc2), 1, sim.now)
    helpers.tick(sim.now + 1.1)
    assert health.score == 1
    for answer in (Nack(2, bytes.fromhex(pc2.node)), Vouch(2, bytes.fromhex(pc2.node))):
        health.score = 0
        helpers.ask(peer_of(pc1, pc2), 2, sim.now)
        deliver(pc3, pc1, answer)
        helpers.tick(sim.now + 1.1)
        assert health.score == 0


def test_a_helper_says_that_it_hears_nothing_either() -> None:
    sim = Sim()
    pc1, pc2, pc3 = sim.cluster(3)
    pc2.power_off()
    deliver(pc3, pc1, PingRequest(9, bytes.fromhex(pc2.node)))
    helpers, roster = pc1.membership._prober.helpers, pc1.membership.roster
    helpers.tick(sim.now + 0.39)
    assert roster.drain() == []
    helpers.tick(sim.now + 0.41)
    assert [effect.message for effect in roster.drain()] == [Nack(9, bytes.fromhex(pc2.node))]
    unknown = deliver(pc3, pc1, PingRequest(10, b"x" * 16))
    assert [effect.message for effect in unknown if isinstance(effect, Send)] == [Nack(10, b"x" * 16)]


def test_a_way_that_was_not_measured_yet_is_tried_as_often_as_our_link_needs() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    prober, peer = pc1.membership._prober, peer_of(pc1, pc2)
    for _ in range(200):
        pc1.membership.roster.link.tried(sim.rng.random() > 0.44)
    wanted = pc1.membership.roster.link.tries
    assert wanted > 4
    prober._rounds.clear()
    peer.path.count = 0
    prober._start(peer, sim.now)
    assert prober._rounds[pc2.node].tries_left == wanted
    prober._rounds.clear()
    peer.path.count = 1000
    prober._start(peer, sim.now)
    assert prober._rounds[pc2.node].tries_left == peer.path.tries < wanted


# --- bounds -------------------------------------------------------------------------------------------------------


def test_rumours_wait_in_a_bounded_queue_and_the_most_told_goes_first() -> None:
    sim = Sim()
    pc1, pc2, _ = sim.cluster(3)
    whispers = pc1.membership._whispers
    claims = [Claim(number.to_bytes(16, "big"), Word.DEAD, 1, 0, b"y" * 16) for number in range(MAX_WAITING)]
    for claim in claims:
        whispers.tell(claim)
    told = whispers.for_receiver(peer_of(pc1, pc2))
    newest = Claim(b"z" * 16, Word.DEAD, 1, 0, b"y" * 16)
    whispers.tell(newest)
    assert len(whispers._told) == MAX_WAITING
    assert newest in whispers._told
    assert sum(claim not in whispers._told for claim in told) == 1


def test_the_least_told_rumour_goes_first_and_each_often_enough() -> None:
    sim = Sim()
    pc1, pc2, _ = sim.cluster(3)
    whispers, peer = pc1.membership._whispers, peer_of(pc1, pc2)
    claims = [Claim(number.to_bytes(16, "big"), Word.DEAD, 1, 0, b"y" * 16) for number in range(12)]
    for claim in claims:
        whispers.tell(claim)
    assert {*whispers.for_receiver(peer), *whispers.for_receiver(peer)} == {*claims}
    for _ in range(2 * 3):
        whispers.for_receiver(peer)
    assert whispers._told == {}
    assert whispers.for_receiver(peer) == []


def test_an_alarm_that_repeats_is_told_once_an_hour() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    hello = msgspec.structs.replace(pc2.membership.greeting(), protocol_min=7, protocol_max=9)
    who = Greeter(pc2.node, NodeName("pc2"), Zone.CORE, pc2.address[0])
    alarms: list[object] = []
    for minutes in range(0, 90, 5):
        _, effects = pc1.membership.greeted(who, hello, sim.now + minutes * 60)
        alarms += [effect for effect in effects if isinstance(effect, Alarm)]
    assert len(alarms) == 2


def test_the_state_hash_is_the_same_however_it_came_about() -> None:
    sim = Sim(4)
    nodes = sim.cluster(4)
    for _ in range(6):
        node = sim.rng.choice(nodes)
        node.kill()
        sim.run(sim.rng.uniform(0.5, 6))
        node.start()
        sim.run(3)
    for node in nodes:
        roster = node.membership.roster
        fresh = roster.me.state_mark()
        for peer in roster.peers.values():
            fresh ^= peer.state_mark() if peer.here else 0
        assert roster.state_hash() == fresh.to_bytes(8, "big")
        assert {peer.node for peer in roster.here()} == {peer.node for peer in roster.peers.values() if peer.here}
        assert {peer.node for peer in roster.away()} == {peer.node for peer in roster.peers.values() if not peer.here}


# --- versions -----------------------------------------------------------------------------------------------------


def test_a_node_of_a_later_version_lives_among_us() -> None:
    sim = Sim()
    nodes = [sim.add(f"pc{number + 1}") for number in range(3)]
    nodes[1].later_version = True
    for node in nodes:
        node.start(seeds=[nodes[0]])
    sim.until(lambda: sim.all_alive(nodes), 5)
    begin = sim.now
    sim.run(30)
    assert sim.all_alive(nodes)
    assert [entry for node in nodes for entry in node.history if entry[0] >= begin and entry[2] is State.DEAD] == []
    assert [alarm for node in nodes for alarm in node.alarms] == []
    nodes[1].power_off()
    sim.until(lambda: nodes[0].state_of(nodes[1]) is nodes[2].state_of(nodes[1]) is State.DEAD, 5)


def test_urls_for_people_are_told_and_withdrawn() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    for urls in (["https://pc1.home:7711", "https://10.0.0.1:7711"], []):
        pc1.carry(pc1.station.orders(pc1.membership.advertise({}, [], "1", sim.now, api=urls)))
        sim.run(0.2)
        assert list(pc2.see(pc1).api) == list(pc1.see(pc1).api) == urls


def test_an_idle_tick_looks_at_nobody() -> None:
    """A thousand ticks a second must cost nothing: what is due next is known."""
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.leave()
    sim.run(20)
    membership = pc1.membership
    assert isinstance(membership.me, Me)
    idle = 0
    for _ in range(20):
        sim.run(0.1)
        if membership.due(sim.now) > sim.now + 0.02:
            idle += 1
            assert membership.tick(sim.now + 0.01) == []
    assert idle > 10


def test_load_is_read_only_where_somebody_looks() -> None:
    sim = Sim()
    pc1, pc2 = sim.cluster(2)
    pc2.membership.set_load(Load(queued=2))
    sim.run(1)
    assert isinstance(peer_of(pc1, pc2).load, bytes)
    assert pc1.see(pc2).load == Load(queued=2)
