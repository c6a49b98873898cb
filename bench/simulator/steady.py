"""Experiments on how it is while nothing happens: false deaths, traffic, cost, and stalled members (Lifeguard)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from bench.simulator.computer import Computer
from bench.simulator.measures import cluster
from bench.simulator.network import Weather
from bench.simulator.simulation import Simulation
from bench.simulator.trace import Trace
from tarsd.gossip.member import Member, State

SLICE_S = 60.0


class Verdicts(NamedTuple):
    """What healthy nodes were accused of."""

    node_hours: float
    suspicions: int
    deaths: int


class Cost(NamedTuple):
    """What an idle cluster costs."""

    bytes_per_s_per_node: float
    cpu_share_per_node: float  # of one core, with the simulator's own work
    simulated_s_per_s: float


class _Counter:
    """Counts, in the views of `viewers`, how often one of `accused` became suspect or dead."""

    def __init__(self, viewers: set[str], accused: set[str]) -> None:
        self._viewers = viewers
        self._accused = accused
        self._states: dict[tuple[str, str], State] = {}
        self.count = {State.SUSPECT: 0, State.DEAD: 0}

    def changed(self, viewer: Computer, member: Member) -> None:
        """A member changed in somebody's view."""
        key = viewer.name, str(member.name)
        before = self._states.get(key, State.ALIVE)
        self._states[key] = member.state
        if member.state is before or viewer.name not in self._viewers or member.name not in self._accused:
            return
        if member.state in self.count:
            self.count[member.state] += 1


def false_deaths(
    count: int, loss: float, seed: int, node_hours: float, progress: Callable[[Verdicts], None] | None = None
) -> Verdicts:
    """Let a healthy cluster run in lossy weather for so many node-hours; `progress` is told every simulated minute."""
    sim, nodes = cluster(seed, count, loss)
    names = {node.name for node in nodes}
    counter = _Counter(names, names)
    sim.watchers.append(counter.changed)
    begin = sim.now
    end = begin + node_hours * 3600.0 / count
    while sim.now < end:
        sim.run_until(min(sim.now + SLICE_S, end))
        if progress:
            progress(_verdicts(counter, (sim.now - begin) * count / 3600.0))
    return _verdicts(counter, node_hours)


def _verdicts(counter: _Counter, node_hours: float) -> Verdicts:
    return Verdicts(node_hours, counter.count[State.SUSPECT], counter.count[State.DEAD])


def idle(count: int, seed: int, for_s: float, *, sealed: bool, loss: float = 0.0) -> Cost:
    """Let a healthy cluster run; what does it send, and what does that cost?"""
    if sealed:
        trace = Trace()
        trace.hashing = False
        sim = Simulation(seed, Weather(), sealed=True, trace=trace)
        sim.cluster(count)
        sim.network.weather = Weather(loss=loss)
        sim.run(20.0)
    else:
        sim, _ = cluster(seed, count, loss)
    sent, began = sim.network.bytes, time.process_time()
    sim.run(for_s)
    spent = time.process_time() - began
    return Cost((sim.network.bytes - sent) / for_s / count, spent / for_s / count, for_s / spent)


class Stalled(NamedTuple):
    """False verdicts while some members stall, as Lifeguard's paper counts them."""

    at_healthy: int  # healthy members taken for dead by healthy ones (FP-)
    in_all: int  # healthy members taken for dead by anybody (FP)


def lifeguard(stalled: int, seed: int, *, count: int = 128, for_s: float = 120.0, stall_s: float = 8.192) -> Stalled:
    """Let `stalled` of `count` members stall and run in turn, for `stall_s` and a random pause of up to 2 s."""
    sim, nodes = cluster(seed, count, 0.0)
    victims = sim.rng.sample(nodes, stalled)
    healthy = {node.name for node in nodes} - {node.name for node in victims}
    by_healthy = _Counter(healthy, healthy)
    by_anybody = _Counter({node.name for node in nodes}, healthy)
    sim.watchers += [by_healthy.changed, by_anybody.changed]
    until = sim.now + for_s
    for victim in victims:
        sim.later(sim.rng.uniform(0.0, 1.0), _stall_in_turn, sim, victim, stall_s, until)
    sim.run(for_s + 30.0)
    return Stalled(by_healthy.count[State.DEAD], by_anybody.count[State.DEAD])


def _stall_in_turn(sim: Simulation, victim: Computer, stall_s: float, until: float) -> None:
    if sim.now < until:
        victim.stall(stall_s)
        sim.later(stall_s + sim.rng.uniform(0.001, 2.0), _stall_in_turn, sim, victim, stall_s, until)
