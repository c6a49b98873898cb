"""A cluster that has met: its nodes start one after another, know the first as their seed, and find each other.

Beyond `INTRODUCED_FROM` nodes that takes longer than it shows. There each node is let in by its neighbour instead, with
a greeting that introduces everybody, as a node that joins a large cluster gets it; company it finds by itself.
"""

from __future__ import annotations

import msgspec

from bench.simulator.computer import Computer
from bench.simulator.simulation import NotInTime, Simulation
from tarsd.gossip.codec import decode_hello, encode_hello
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.messages import Hello, Known, Word
from tarsd.names import NodeName

BETWEEN_STARTS_S = 0.02
MEET_WITHIN_S = 300.0
LOOK_EVERY_S = 0.5
SETTLE_S = 5.0
INTRODUCED_FROM = 150


def met_cluster(sim: Simulation, count: int) -> list[Computer]:
    """Return `count` running nodes that all know each other; raises `NotInTime`."""
    nodes = [sim.add(f"pc{number + 1}") for number in range(count)]
    sim.quiet = True
    crowd = count >= INTRODUCED_FROM
    between_s = 1.0 / count if crowd else BETWEEN_STARTS_S
    for number, node in enumerate(nodes):
        seeds = [] if crowd else nodes[:1]
        sim.later(number * between_s + sim.rng.uniform(0.0, between_s), node.start, seeds)
    sim.run(count * between_s)
    if crowd:
        _introduce(nodes)
    _wait(sim, nodes)
    sim.run(SETTLE_S)
    sim.quiet = False
    return nodes


def _wait(sim: Simulation, nodes: list[Computer]) -> None:
    begin = sim.now
    while unknown := sum(len(node.membership.roster.here()) + 1 < len(nodes) for node in nodes):
        if sim.now - begin > MEET_WITHIN_S:
            raise NotInTime(f"after {MEET_WITHIN_S:.0f} s {unknown} of {len(nodes)} nodes do not know all others")
        sim.run(LOOK_EVERY_S)


def _introduce(nodes: list[Computer]) -> None:
    hellos = [_greeting(node) for node in nodes]
    members = [_known(node, hello) for node, hello in zip(nodes, hellos, strict=True)]
    for number, node in enumerate(nodes):
        neighbour = number - 1
        _meet(node, nodes[neighbour], msgspec.structs.replace(hellos[neighbour], members=members))
        _meet(nodes[neighbour], node, hellos[number])


def _greeting(node: Computer) -> Hello:
    assert node.station is not None
    return msgspec.structs.replace(decode_hello(node.station.greeting()), members=[])


def _known(node: Computer, hello: Hello) -> Known:
    return Known(
        bytes.fromhex(node.node), node.name, hello.generation, Word.ALIVE, [node.address], hello.incarnation,
        hello.boot, hello.signing_key,
    )  # fmt: skip


def _meet(node: Computer, other: Computer, hello: Hello) -> None:
    assert node.station is not None
    greeter = Greeter(other.node, NodeName(other.name), other.zone, other.address[0])
    node.carry(node.station.greeting_answered(greeter, other.address, encode_hello(hello), node.now))
