"""Each fault of the menu changes what happens, and nothing else does."""

from __future__ import annotations

import itertools
import struct
from random import Random

import pytest

from bench.simulator.computer import Computer
from bench.simulator.faults import MENU, Chaos
from bench.simulator.network import Weather
from bench.simulator.simulation import Simulation
from tarsd.gossip.member import State

COUNT = 3
LASTS_S = 40.0


class Bench:
    """A small cluster, and one fault in it."""

    def __init__(self, fault: str, seed: int = 1, *, lasts_s: float = 0.0, sealed: bool = False) -> None:
        self.sim = Simulation(seed, sealed=sealed)
        self.nodes = self.sim.cluster(COUNT)
        self.since = self.sim.now
        self.arrived: list[tuple[float, str, str, int]] = []
        self.sim.network.tap = self._arrive
        self.chaos = Chaos(self.sim, Random(seed), self.sim.now + LASTS_S, lambda: None)
        if lasts_s:
            self.chaos.lasting = lambda least_s, most_s: lasts_s  # type: ignore[method-assign]
        MENU[fault](self.chaos)

    def _arrive(self, sender: Computer, target: Computer, data: bytes) -> None:
        counter = struct.unpack_from(">Q", data, 10)[0] if data else 0
        self.arrived.append((self.sim.now, sender.name, target.name, counter))

    def states(self, node: Computer) -> set[State]:
        return {state for at, _, state, _ in node.history if at >= self.since}

    def all_states(self) -> set[State]:
        return set().union(*(self.states(node) for node in self.nodes))

    def told(self, what: str) -> bool:
        return any(what in line for line in self.sim.trace.story())

    def one(self, what: str) -> Computer:
        """The node of which the story tells `what`."""
        line = next(line for line in self.sim.trace.story() if what in line)
        return next(node for node in self.sim.nodes if node.name == line.split()[1])


def longest_silence(bench: Bench, sender: str, until: float) -> float:
    times = [bench.since, *(at for at, name, _, _ in bench.arrived if name == sender and at < until), until]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def test_every_fault_of_the_menu_is_tested_here() -> None:
    mine = [name.removeprefix("test_fault_") for name in globals() if name.startswith("test_fault_")]
    tested = {name.split("_acts")[0] for name in mine}
    assert tested == set(MENU)


def lossy(weather: str) -> None:
    bench = Bench(weather, seed=3, lasts_s=30.0)
    before = bench.sim.network.lost
    bench.sim.run(30.0)
    assert bench.sim.network.lost > before + 5


def test_fault_loss_acts() -> None:
    lossy("loss")


def test_fault_burst_acts() -> None:
    lossy("burst")


def test_a_burst_loses_many_in_a_row_where_even_loss_does_not() -> None:
    def longest_run(weather: Weather) -> int:
        sim, longest, run = Simulation(5, sealed=False), 0, 0
        one, other = sim.add("pc1"), sim.add("pc2")
        sim.network.weather = weather
        for _ in range(3000):
            lost = sim.network.lost
            sim.network.send(one, b"", other.address)
            run = run + 1 if sim.network.lost > lost else 0
            longest = max(longest, run)
            sim.run(0.01)
        return longest

    assert longest_run(Weather(burst_loss=1.0, good_s=3.0, bad_s=1.0)) > 50
    assert longest_run(Weather(loss=0.25)) < 15


def test_fault_duplicate_acts() -> None:
    bench = Bench("duplicate", seed=2)
    refused = sum(node.station.refused_datagrams for node in bench.nodes)
    bench.sim.run(10.0)
    assert len(bench.arrived) > len({(sender, target, counter) for _, sender, target, counter in bench.arrived})
    assert sum(node.station.refused_datagrams for node in bench.nodes) > refused
    assert bench.all_states() == set()


def test_fault_reorder_acts() -> None:
    bench = Bench("reorder", seed=2)
    bench.sim.run(10.0)
    way = [counter for _, sender, target, counter in bench.arrived if (sender, target) == ("pc1", "pc2")]
    assert way != sorted(way)


def test_fault_partition_acts() -> None:
    bench = Bench("partition", seed=4, lasts_s=30.0)
    bench.sim.run(15.0)
    assert State.DEAD in bench.all_states()


def test_fault_one_way_acts() -> None:
    bench = Bench("one_way", seed=4, lasts_s=30.0)
    cut = set(bench.sim.network.cut)
    assert cut
    assert not {(b, a) for a, b in cut} & cut
    bench.sim.run(5.0)
    assert not any((sender, target) in cut and at > bench.since + 0.1 for at, sender, target, _ in bench.arrived)
    assert any((target, sender) in cut for _, sender, target, _ in bench.arrived)


def test_fault_partial_acts() -> None:
    bench = Bench("partial", seed=4, lasts_s=30.0)
    cut = set(bench.sim.network.cut)
    assert 1 <= len(cut) <= 2
    bench.sim.run(3.0)
    assert not any((sender, target) in cut and at > bench.since + 0.1 for at, sender, target, _ in bench.arrived)


def test_fault_udp_cut_acts() -> None:
    bench = Bench("udp_cut", seed=4, lasts_s=30.0)
    greetings = bench.sim.network.greetings
    bench.sim.run(3.0)
    assert bench.sim.network.udp_cut
    assert bench.sim.network.greetings > greetings


def test_fault_tcp_cut_acts() -> None:
    bench = Bench("tcp_cut", seed=4, lasts_s=30.0)
    (one, other), *_ = sorted(bench.sim.network.tcp_cut)
    nodes = {node.name: node for node in bench.nodes}
    assert not bench.sim.network.tcp_connects(nodes[one], nodes[other])
    arrived = len(bench.arrived)
    bench.sim.run(1.5)
    assert bench.all_states() == set()
    nodes[one].kill()
    nodes[one].start()
    bench.sim.run(5.0)
    assert nodes[one].state_of(nodes[other]) is not State.ALIVE
    assert len(bench.arrived) > arrived


def test_fault_stall_acts() -> None:
    bench = Bench("stall", seed=3)
    victim = bench.one("stalls")
    until = victim.stalled_until
    assert until > bench.since
    bench.sim.run(until - bench.sim.now)
    assert longest_silence(bench, victim.name, until) > until - bench.since - 0.2


def test_what_a_stalled_process_was_sent_waits_for_it() -> None:
    sim = Simulation(sealed=False)
    _, pc2 = sim.cluster(2)
    pc2.stall(2.0)
    sim.run(1.9)
    assert len(pc2.waiting) >= 3
    sim.run(0.2)
    assert pc2.waiting == []


def test_fault_busy_acts() -> None:
    bench = Bench("busy", seed=3)
    victim = bench.one("announces")
    bench.sim.run(0.05)
    assert victim.stalled_until > bench.sim.now
    bench.sim.run(victim.stalled_until - bench.sim.now + 1.0)
    assert State.DEAD not in bench.all_states()


def test_fault_suspend_acts() -> None:
    bench = Bench("suspend", seed=3)
    victim = bench.one("is suspended")
    shown = victim.now
    bench.sim.run(0.4)
    assert victim.now == shown
    assert not victim.awake
    while victim.suspended:
        bench.sim.run(1.0)
    bench.sim.run(5.0)
    assert victim.now < bench.sim.now
    assert bench.sim.all_alive(bench.nodes)
    assert bench.states(victim) <= {State.ALIVE}, "its clock stood still: it has nothing to accuse others of"


def test_fault_wall_step_acts_on_nothing_but_the_wall_clock() -> None:
    bench = Bench("wall_step", seed=3)
    assert any(node.clock.wall_offset_s for node in bench.nodes)
    bench.sim.run(20.0)
    quiet = Bench("wall_step", seed=3)
    for node in quiet.nodes:
        node.clock.wall_offset_s = 0.0
    quiet.sim.run(20.0)
    assert quiet.arrived == bench.arrived


def test_fault_drift_acts() -> None:
    bench = Bench("drift", seed=3)
    victim = bench.one("ppm off")
    bench.sim.run(100.0)
    assert 0.0005 < abs(victim.now - bench.sim.now) <= 0.05
    assert bench.all_states() == set()


def test_fault_power_off_acts() -> None:
    bench = Bench("power_off", seed=3)
    victim = bench.one("has no power")
    assert not victim.powered
    bench.sim.run(45.0)
    assert victim.boots == 2
    assert bench.sim.all_alive(bench.nodes)


def test_fault_kill_acts() -> None:
    bench = Bench("kill", seed=3)
    victim = bench.one("is killed")
    bench.sim.run(0.7)
    reasons = {reason for node in bench.nodes if node is not victim for _, _, _, reason in node.history}
    assert "nobody listens at its port" in reasons


@pytest.mark.parametrize("seed", range(4))
def test_fault_lost_disk_acts(seed: int) -> None:
    bench = Bench("lost_disk", seed=seed)
    victim = bench.one("has lost")
    lost = next(line for line in bench.sim.trace.story() if "has lost" in line).split()[-1]
    assert (victim.disk_generation == 0) is (lost in ("generation", "both"))
    assert (victim.table == []) is (lost in ("table", "both"))
    bench.sim.run(50.0)
    assert bench.sim.all_alive(bench.nodes)
    assert victim.disk_generation == 2


def test_fault_leave_acts() -> None:
    bench = Bench("leave", seed=3)
    bench.sim.run(1.0)
    assert bench.all_states() == {State.LEFT}


def test_fault_clone_acts() -> None:
    bench = Bench("clone", seed=3)
    (original, copy), *_ = bench.chaos.clones
    assert (copy.node, copy.address) != (original.node, original.address)
    assert copy.node == original.node
    bench.sim.run(10.0)
    assert any("identity" in alarm for node in bench.sim.nodes for alarm in node.alarms)


def test_fault_address_acts() -> None:
    bench = Bench("address", seed=3)
    victim = bench.one("moves to")
    assert victim.address[0].startswith("10.99.")
    bench.sim.run(10.0)
    assert bench.sim.all_alive(bench.nodes)
    others = [node for node in bench.nodes if node is not victim]
    assert {node.see(victim).addresses[0] for node in others} == {victim.address}


def test_fault_facts_acts() -> None:
    bench = Bench("facts", seed=3)
    speaker = next(node for node in bench.nodes if node.membership.me.facts.capabilities)
    bench.sim.run(2.0)
    assert all(node.see(speaker).capabilities for node in bench.nodes)


def test_fault_rekey_acts() -> None:
    bench = Bench("rekey", seed=1, sealed=True)
    assert bench.told("renews its key")
    assert any(node.station._sessions.epoch for node in bench.nodes)
    bench.sim.run(70.0)
    assert bench.all_states() == set()


def test_a_fault_ends_before_the_end_of_chaos() -> None:
    for fault in sorted(set(MENU) - {"leave", "wall_step", "drift", "address", "clone", "facts"}):
        bench = Bench(fault, seed=7)
        bench.sim.run(LASTS_S + 0.1)
        network = bench.sim.network
        assert network.cut | network.udp_cut | network.tcp_cut == set(), fault
        assert network.weather == Weather(), fault
        assert all(node.awake for node in bench.nodes), fault


def test_a_node_of_a_later_version_lives_with_this_one() -> None:
    sim = Simulation(3)
    later, this = sim.add("pc1"), sim.add("pc2")
    later.later_version = True
    unknown = []
    sim.network.tap = lambda sender, target, data: unknown.append(data) if sender is later else None
    later.start()
    this.start(seeds=[later])
    sim.until(lambda: sim.all_alive([later, this]), 5.0)
    before = len(this.history), len(later.history)
    sim.run(60.0)
    assert (len(this.history), len(later.history)) == before
    assert len(unknown) > 100
    assert this.alarms == later.alarms == []
