"""`Station` under virtual time: keys that are renewed in a living cluster, and what strangers get from it."""

from __future__ import annotations

import os
from random import Random

import pytest

from tarsd.gossip.effects import Disagree, Greet, Send
from tarsd.gossip.messages import Busy
from tarsd.gossip.pair import OVERLAP_S
from tarsd.gossip.sessions import KEY_AGE_S
from tarsd.gossip.station import TELL_KEY_EVERY_S, Admit
from tests.gossip.gossip_sim import Sim, SimNode, State

ELSEWHERE = ("10.9.9.9", 4000)


def epochs_seen(sim: Sim) -> dict[str, set[int]]:
    """Let a tap collect what headers say from now on; by the sender's name."""
    seen: dict[str, set[int]] = {}

    def tap(sender: SimNode, target: SimNode, data: bytes) -> None:
        if data:
            seen.setdefault(sender.name, set()).add(data[1])

    sim.tap = tap
    return seen


def refusals(nodes: list[SimNode]) -> int:
    return sum(node.station.refused_datagrams for node in nodes if node.station)


def steady(nodes: list[SimNode], since: float) -> None:
    doubts = [entry for node in nodes for entry in node.history if entry[0] > since and entry[2] is not State.ALIVE]
    assert doubts == []
    assert [node.alarms for node in nodes] == [[] for _ in nodes]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_keys_are_renewed_again_and_again_without_a_lost_datagram(count: int) -> None:
    sim = Sim(seed=count)
    nodes, rng = sim.cluster(count), Random(count)
    began, refused = sim.now, refusals(nodes)
    for _ in range(6):
        rng.choice(nodes).rotate()
        sim.run(rng.uniform(0.05, 40.0))
    sim.run(2 * OVERLAP_S)
    assert refusals(nodes) == refused
    steady(nodes, began)
    for node in nodes:
        held = node.station._sessions
        assert held.behind() == []
        assert len(held._keys._keys) == 1, "old keys are dropped"
        assert all(len(pair._sessions) == len(pair._peer_keys) == 1 for pair in held._pairs.values())


def test_all_may_renew_at_the_same_moment() -> None:
    sim = Sim(seed=1)
    nodes = sim.cluster(3)
    began, refused = sim.now, refusals(nodes)
    for _ in range(3):
        for node in nodes:
            node.rotate()
        sim.run(1.0)
        seen = epochs_seen(sim)
        sim.run(5.0)
        assert all(len(epochs) == 1 for epochs in seen.values()), "within a second all seal for the newest keys"
    sim.run(2 * OVERLAP_S)
    assert refusals(nodes) == refused
    steady(nodes, began)


def test_lost_datagrams_and_greetings_do_not_turn_a_renewal_into_a_suspicion() -> None:
    sim = Sim(seed=7, loss=0.25)
    nodes = sim.cluster(3)
    dead = len([entry for node in nodes for entry in node.history if entry[2] is State.DEAD])
    refused = refusals(nodes)
    for _ in range(5):
        nodes[0].rotate()
        nodes[1].rotate()
        sim.run(70.0)
    assert refusals(nodes) == refused
    assert len([entry for node in nodes for entry in node.history if entry[2] is State.DEAD]) == dead


def test_a_greeting_that_does_not_get_through_is_tried_again_within_the_overlap() -> None:
    sim = Sim(seed=3)
    nodes = pc1, pc2 = sim.cluster(2)
    began, refused = sim.now, refusals(nodes)
    sim.tcp_works = False
    pc1.rotate()
    sim.run(OVERLAP_S / 2)
    assert pc1.station._sessions.behind() == [pc2.node]
    sim.tcp_works = True
    sim.until(lambda: pc1.station._sessions.behind() == [], TELL_KEY_EVERY_S + 4.0)
    sim.run(2 * OVERLAP_S)
    assert refusals(nodes) == refused
    steady(nodes, began)


def test_who_missed_a_renewal_for_longer_than_the_overlap_is_met_again() -> None:
    sim = Sim(seed=4)
    nodes = pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    pc1.rotate()
    pc2.rotate()
    sim.run(2 * OVERLAP_S)
    sim.heal()
    sim.until(lambda: sim.all_alive(list(nodes)), 10.0)
    sim.run(5.0)
    began, refused = sim.now, refusals(list(nodes))
    sim.run(30.0)
    assert refusals(list(nodes)) == refused
    steady(list(nodes), began)


def test_keys_are_renewed_by_themselves_every_day() -> None:
    sim = Sim(seed=5)
    nodes = pc1, _ = sim.cluster(2)
    began, refused = sim.now, refusals(list(nodes))
    for node in nodes:
        node.station._sessions._renew_at = sim.now + 20.0  # rather than simulate a day
    sim.run(40.0)
    assert [node.station._sessions.epoch for node in nodes] == [1, 1]
    assert pc1.station._sessions._renew_at > sim.now + 0.7 * KEY_AGE_S
    sim.run(OVERLAP_S)
    assert refusals(list(nodes)) == refused
    steady(list(nodes), began)


def test_a_renewal_greets_those_who_are_present_and_only_them() -> None:
    sim = Sim(seed=6)
    pc1, pc2, pc3 = sim.cluster(3)
    pc3.power_off()
    sim.until(lambda: pc1.state_of(pc3) is State.DEAD, 10.0)
    orders = pc1.station.rotate(bytes(range(32)), sim.now)
    assert [(order.node, type(order)) for order in orders] == [(pc2.node, Greet)]


def test_garbage_gets_no_answer_and_few_greetings() -> None:
    sim = Sim(seed=8)
    pc1, pc2 = sim.cluster(2)
    rng = Random(8)
    named = b"\x01\x00" + bytes.fromhex(pc2.node)[:8]
    kinds = [
        lambda: rng.randbytes(rng.randint(1, 1300)),
        lambda: named + rng.randbytes(rng.randint(1, 1000)),
        lambda: b"\x02" + named[1:] + rng.randbytes(60),
        lambda: named[:5],
    ]
    for _ in range(500):
        for kind in kinds:
            assert pc1.station.datagram(kind(), ELSEWHERE, sim.now) == []
    assert pc1.station.throttled_datagrams > 0
    pc2.power_off()
    sim.until(lambda: pc1.state_of(pc2) is State.DEAD, 10.0)
    orders = []
    for step in range(1000):  # ten seconds of what names a dead member, from its own address
        orders += pc1.station.datagram(named + rng.randbytes(60), pc2.address, sim.now + step / 100)
    assert {type(order) for order in orders} <= {Greet}
    assert 1 <= len(orders) <= 11, "one a second"


def test_replayed_and_reflected_datagrams_change_nothing() -> None:
    sim = Sim(seed=9)
    pc1, pc2 = sim.cluster(2)
    recorded: list[tuple[SimNode, bytes]] = []
    sim.tap = lambda sender, target, data: recorded.append((target, data))
    sim.run(20.0)
    sim.tap = None
    assert len(recorded) > 50
    accepted = sim.datagrams
    for target, data in recorded:
        for node in (pc1, pc2):
            assert node.station.datagram(data, ELSEWHERE, sim.now) == [], target.name
    assert sim.datagrams == accepted


def test_a_datagram_for_which_there_is_no_key_any_more_is_not_sent() -> None:
    sim = Sim(seed=10)
    pc1, pc2 = sim.cluster(2)
    assert bytes.fromhex(pc2.node)[:8] in pc1.station.senders
    assert pc1.station.orders([Disagree(pc2.node)]) == [Admit()]
    assert pc1.station.senders == frozenset()
    assert pc1.station.orders(pc1.membership.busy(1.0)) == []
    assert pc1.station.datagram(pc2.station._sessions.seal(pc1.node, os.urandom(20)), pc2.address, sim.now) == []


def test_what_an_authentic_peer_says_that_nobody_understands_is_a_sign_of_life_and_no_more() -> None:
    sim = Sim(seed=11)
    pc1, pc2 = sim.cluster(2)
    sim.partition([pc1], [pc2])
    sim.run(0.7)
    data = pc2.station._sessions.seal(pc1.node, b"\xc1 of a later version")
    pc1.carry(pc1.station.datagram(data, pc2.address, sim.now))
    assert pc1.see(pc2).last_heard_s == 0.0


def test_a_message_is_sealed_anew_for_each_address() -> None:
    sim = Sim(seed=12)
    pc1, pc2 = sim.cluster(2)
    orders = pc1.station.orders([Send(pc2.node, Busy(1), (("10.0.0.2", 1), ("10.0.1.2", 1)))])
    assert len({order.data for order in orders}) == 2
