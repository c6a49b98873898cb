"""How the core deals with networks at home: two addresses for one PC, a sleeping PC, Wi-Fi that saves power."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gossip_sim import Sim, SimNode, State

from bench.simulator.network import Weather
from tarsd.gossip.effects import MemberChanged
from tarsd.gossip.member import Address
from tarsd.gossip.messages import MAX_ADDRESSES
from tarsd.gossip.peer import FIRST_WORKS_S, Peer
from tarsd.names import NodeId

NOWHERE: Address = ("10.99.0.1", 7710)
CABLE: Address = ("192.168.1.20", 7710)
WIFI: Address = ("192.168.1.21", 7710)
ELSEWHERE: Address = ("192.168.7.7", 7710)


def met(*names: str, seed: int = 0) -> tuple[Sim, list[SimNode]]:
    """Nodes that know one another for a while."""
    sim = Sim(seed)
    nodes = [sim.add(name) for name in names]
    for node in nodes:
        node.start(seeds=[nodes[0]])
    sim.until(lambda: sim.all_alive(nodes), 5.0)
    sim.run(5.0)
    return sim, nodes


def doubts(node: SimNode, since: float) -> list[tuple[str, State]]:
    return [(name, state) for at, name, state, _ in node.history if at >= since and state is not State.ALIVE]


def peer_of(node: SimNode, other: SimNode) -> Peer:
    return node.membership.roster.peers[other.node]


# --- two addresses ------------------------------------------------------------------------------------------------


@pytest.fixture
def peer() -> Peer:
    made = Peer(NodeId("a" * 32), 0.0)
    made.hint((CABLE, WIFI))
    made.heard_from(CABLE, 100.0)
    return made


def test_an_address_stays_first_while_it_works_though_another_one_answers_too(peer: Peer) -> None:
    assert not peer.heard_from(WIFI, 100.0 + FIRST_WORKS_S / 2)
    assert peer.addresses == [CABLE, WIFI]


def test_once_the_first_address_is_silent_the_one_that_answers_takes_its_place(peer: Peer) -> None:
    assert peer.heard_from(WIFI, 100.0 + FIRST_WORKS_S)
    assert peer.addresses == [WIFI, CABLE]
    assert not peer.heard_from(CABLE, 100.0 + FIRST_WORKS_S * 1.5)


def test_an_address_that_was_not_known_is_where_it_lives_now(peer: Peer) -> None:
    assert peer.heard_from(ELSEWHERE, 100.0)
    assert peer.addresses == [ELSEWHERE, CABLE, WIFI]


def test_old_addresses_are_bounded(peer: Peer) -> None:
    for number in range(20):
        peer.heard_from((f"10.0.0.{number}", 7710), 100.0)
    assert len(peer.addresses) == MAX_ADDRESSES


def test_when_the_first_address_dies_the_other_one_takes_over_before_anybody_is_suspected() -> None:
    sim, (one, two) = met("pc1", "pc2")
    began = sim.now
    for node, other in ((one, two), (two, one)):
        peer_of(node, other).addresses.insert(0, NOWHERE)  # what works comes second from now on
    took_s = sim.until(lambda: all(peer_of(a, b).addresses[0] != NOWHERE for a, b in ((one, two), (two, one))), 5.0)
    assert took_s < 1.0
    sim.run(5.0)
    assert doubts(one, began) == doubts(two, began) == []


def test_a_suspect_is_asked_at_all_its_addresses() -> None:
    sim, (one, two) = met("pc1", "pc2")
    sim.tcp_works = False
    sim.cut.update({("pc1", "pc2"), ("pc2", "pc1")})
    sim.until(lambda: one.state_of(two) is two.state_of(one) is State.SUSPECT, 5.0)
    for node, other in ((one, two), (two, one)):
        peer_of(node, other).addresses.insert(0, NOWHERE)
    sim.cut.clear()
    assert sim.until(lambda: sim.all_alive([one, two]), 5.0) < 0.5
    assert not [state for _, _, state, _ in (*one.history, *two.history) if state is State.DEAD]


def test_the_greeting_that_worked_elsewhere_is_followed_by_datagrams() -> None:
    """Both have new addresses, which only mDNS knows: greetings over TCP find them, and the pings must follow."""
    sim, (one, two) = met("pc1", "pc2")
    for number, node in enumerate((one, two), 1):
        node.move((f"10.1.1.{number}", 7710), told=True)
    for node, other in ((one, two), (two, one)):
        orders = node.membership.hint(other.node, (other.address,), sim.now)
        node.carry(node.station.orders(orders))
    sim.run(3.0)
    for node, other in ((one, two), (two, one)):
        assert peer_of(node, other).addresses[0] == other.address
        assert node.see(other).routable


def test_a_new_address_of_ours_reaches_everybody_at_once() -> None:
    sim, (one, two) = met("pc1", "pc2")
    two.move(ELSEWHERE, told=True)
    sim.run(0.1)
    assert peer_of(one, two).addresses[0] == ELSEWHERE


def test_a_switch_of_addresses_is_told_and_only_once() -> None:
    sim, (one, two) = met("pc1", "pc2")
    for expected in (1, 0):
        effects = one.membership.received(two.node, None, ELSEWHERE, sim.now)
        told = [effect.member.addresses[0] for effect in effects if isinstance(effect, MemberChanged)]
        assert told == [ELSEWHERE] * expected


def test_stale_hints_of_mdns_do_not_make_us_hammer() -> None:
    """A killed node stays listed for 75 minutes; each restart of mDNS tells of it again."""
    sim, (one, two) = met("pc1", "pc2")
    two.power_off()
    sim.run(10.0)
    before = sim.greetings
    for _ in range(60):
        one.carry(one.station.orders(one.membership.hint(two.node, (two.address,), sim.now)))
        sim.run(1.0)
    assert one.see(two).state is State.DEAD
    assert sim.greetings - before < 60 * 5  # bounded: at most each 0.2 s, however often it is announced


# --- sleep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False], ids=["noticed", "not noticed"])
@pytest.mark.parametrize("for_s", [10.0, 600.0])
def test_a_laptop_that_slept_is_back_within_five_seconds(for_s: float, told: bool) -> None:
    sim, nodes = met("pc1", "pc2", "pc3")
    nodes[1].suspend(for_s, told=told)
    sim.run(for_s)
    assert nodes[0].state_of(nodes[1]) is State.DEAD
    assert sim.until(lambda: sim.all_alive(nodes), 10.0) < 5.0


# --- Wi-Fi --------------------------------------------------------------------------------------------------------


def slow(sim: Sim, at_most_s: float) -> None:
    """Hold every datagram back, as an access point does for a card that sleeps between beacons."""
    sim.network.weather = Weather(reorder=1.0, delay_s=at_most_s)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("count", [2, 3])
def test_wifi_that_saves_power_makes_nobody_suspect(count: int, seed: int) -> None:
    sim, nodes = met(*(f"pc{number}" for number in range(count)), seed=seed)
    began = sim.now
    slow(sim, 0.5)
    sim.run(120.0)
    assert [doubts(node, began) for node in nodes] == [[] for _ in nodes]


def test_a_cable_pulled_on_slow_wifi_is_still_found_out() -> None:
    sim, (one, two) = met("pc1", "pc2")
    slow(sim, 0.5)
    sim.run(30.0)
    two.power_off()
    dead: Callable[[], bool] = lambda: one.state_of(two) is State.DEAD  # noqa: E731
    assert sim.until(dead, 10.0) < 6.0
