"""Experiments on what happens after one event: a plug is pulled, a process is killed, a link returns, a fact changes.

Each function makes a cluster of its own, from a seed, and repeats its experiment in it. All of them use the plain
stand-ins for sealing, which changes no time that is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.simulator.computer import Computer
from bench.simulator.faults import say
from bench.simulator.network import Weather
from bench.simulator.simulation import Simulation
from bench.simulator.trace import Trace
from bench.simulator.warm import met_cluster
from bench.simulator.watch import Unanimity
from tarsd.gossip.member import Member, State

DETECT_WITHIN_S = 60.0
CALM_S = 12.0  # between two experiments in one cluster: paths are measured again, rumours are old
HEAL_WITHIN_S = 200.0
SPREAD_WITHIN_S = 120.0


class Detection(NamedTuple):
    """How long after the event every other node had come to it, in seconds."""

    unroutable_s: float
    dead_s: float


def cluster(seed: int, count: int, loss: float) -> tuple[Simulation, list[Computer]]:
    """Return a cluster that has met and run for a while in this weather."""
    trace = Trace()
    trace.hashing = False
    sim = Simulation(seed, sealed=False, trace=trace)
    sim.writes_tables = False
    nodes = met_cluster(sim, count)
    sim.network.weather = Weather(loss=loss)
    sim.run(CALM_S)
    return sim, nodes


def not_routable(member: Member) -> bool:
    """Whether no new work goes there."""
    return not member.routable


def is_dead(member: Member) -> bool:
    """Whether its work is taken elsewhere."""
    return member.state is State.DEAD


def is_alive(member: Member) -> bool:
    """Whether it is there: in a large cluster it gets work once it was greeted."""
    return member.state is State.ALIVE


def detection(count: int, loss: float, seed: int, repeats: int, *, killed: bool = False) -> list[Detection]:
    """Pull the plug of one node after another, or kill its process; how long until all others know?"""
    sim, nodes = cluster(seed, count, loss)
    found = []
    for _ in range(repeats):
        sim.run(sim.rng.uniform(0.0, 1.0))
        victim = sim.rng.choice(nodes)
        others = [node for node in nodes if node is not victim]
        unroutable = Unanimity(sim, others, victim, not_routable)
        dead = Unanimity(sim, others, victim, is_dead)
        begin = sim.now
        if killed:
            victim.kill()
        else:
            victim.power_off()
        found.append(Detection(unroutable.wait(DETECT_WITHIN_S) - begin, dead.wait(DETECT_WITHIN_S) - begin))
        unroutable.end()
        dead.end()
        if len(found) < repeats:
            _back(sim, victim, others)
    return found


def _back(sim: Simulation, victim: Computer, others: Sequence[Computer]) -> None:
    """Start the victim again, and wait until all is as before."""
    alive = Unanimity(sim, others, victim, is_alive)
    victim.table = others[0].membership.met()
    victim.start(seeds=others[:1])
    alive.wait(DETECT_WITHIN_S)
    alive.end()
    sim.run(CALM_S)


def heal(cut_s: float, seed: int, *, one_way: bool = False, loss: float = 0.0) -> float:
    """Cut two nodes off from each other; how long after the link returned do both give each other work again?"""
    sim, (one, other) = cluster(seed, 2, loss)
    sim.run(sim.rng.uniform(0.0, 5.0))
    sim.partition([one], [other], one_way=one_way)
    sim.run(cut_s)
    sim.heal()
    begin = sim.now
    while not all(_routes(a, b) for a, b in ((one, other), (other, one))):
        if sim.now - begin > HEAL_WITHIN_S:
            return sim.now - begin
        sim.run(0.05)
    return sim.now - begin


def _routes(one: Computer, other: Computer) -> bool:
    seen = one.see(other)
    return seen is not None and seen.routable


def spread(count: int, loss: float, seed: int, repeats: int) -> list[float]:
    """Let nodes say something new of themselves; how long until all others know it?"""
    sim, nodes = cluster(seed, count, loss)
    found = []
    for number in range(repeats):
        speaker = sim.rng.choice(nodes)
        release = f"model-{number}"
        others = [node for node in nodes if node is not speaker]
        known = Unanimity(sim, others, speaker, lambda member, wanted=release: _model(member) == wanted)  # type: ignore[misc]
        begin = sim.now
        say(speaker, release)
        found.append(known.wait(SPREAD_WITHIN_S) - begin)
        known.end()
        sim.run(CALM_S)
    return found


def _model(member: Member) -> object:
    return next((attributes.get("model") for attributes in member.capabilities.values()), None)
