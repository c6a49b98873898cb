"""One seed, one scenario: options drawn from it, chaos, healing, and then everything must be well again.

Rules
1. Whatever is not given is drawn from the seed: how many nodes, which faults of the menu, how many of them, how long.
2. Chaos: faults at random times. Then everything is healed: ways mended, stalls over, computers on, copies gone.
3. From then on everybody must see everybody as they are within 10 s (30 s for more than 16 nodes), and must still do so
   5 s later.
4. The invariants hold at every moment of it.
"""

from __future__ import annotations

import traceback
from random import Random
from typing import IO

import msgspec

from bench.simulator.computer import Computer
from bench.simulator.faults import MENU, Chaos, say
from bench.simulator.invariants import Invariants, Violation, disagreement
from bench.simulator.network import Weather
from bench.simulator.simulation import SEALED_UP_TO, Simulation
from bench.simulator.trace import Trace
from tarsd.gossip.station import Station

SIZES = (2, 2, 3, 3, 4, 5, 5, 7, 10, 16, 17, 24, 40)
LOOK_EVERY_S = 0.1
STAYS_WELL_S = 5.0
STORY_LINES = 80


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a run."""

    seed: int
    nodes: int
    sealed: bool
    chaos_s: float
    gap_s: float  # mean time between two faults
    faults: tuple[str, ...]
    later: int  # how many nodes speak a later version of the protocol
    heal_within_s: float


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a person laid down; None is drawn."""

    nodes: int | None = None
    sealed: bool | None = None
    chaos_s: float | None = None
    gap_s: float | None = None
    faults: tuple[str, ...] | None = None
    later: int | None = None
    heal_within_s: float | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a run went."""

    options: Options
    sha256: str
    virtual_s: float
    events: int
    datagrams: int
    healed_s: float | None  # how long it took until all was well
    failure: str = ""
    where: str = ""  # the traceback of an exception
    story: list[str] = []


def options_for(seed: int, given: Given | None = None) -> Options:
    """Return the options of `seed`; the same draws are made whatever is given."""
    given = given or Given()
    rng = Random(f"options {seed}")
    nodes = rng.choice(SIZES)
    chaos_s = rng.choice((20.0, 40.0, 60.0, 120.0))
    gap_s = rng.choice((0.5, 2.0, 5.0, 10.0))
    wanted = rng.randint(1, len(MENU))
    faults = tuple(sorted(rng.sample(sorted(MENU), wanted)))
    skewed = rng.random() < 0.3
    share = rng.random()
    nodes = given.nodes if given.nodes is not None else nodes
    later = given.later if given.later is not None else int(skewed * (1 + share * (nodes - 1)))
    return Options(
        seed=seed,
        nodes=nodes,
        sealed=nodes <= SEALED_UP_TO if given.sealed is None else given.sealed,
        chaos_s=chaos_s if given.chaos_s is None else given.chaos_s,
        gap_s=gap_s if given.gap_s is None else given.gap_s,
        faults=faults if given.faults is None else given.faults,
        later=min(later, nodes),
        heal_within_s=(10.0 if nodes <= 16 else 30.0) if given.heal_within_s is None else given.heal_within_s,
    )


class Scenario:
    """A run of one set of options."""

    def __init__(self, options: Options, into: IO[str] | None = None, station_kind: type[Station] = Station) -> None:
        """`into`: where the whole trace is written; `station_kind`: what runs on the computers."""
        self.options = options
        self.sim = Simulation(options.seed, sealed=options.sealed, trace=Trace(into))
        self.sim.station_kind = station_kind
        self.invariants = Invariants(self.sim)
        self._rng = Random(f"chaos {options.seed}")
        until = self.sim.now + options.chaos_s
        self.chaos = Chaos(self.sim, self._rng, until, self.invariants.weather_changed)
        self._healed_s: float | None = None

    def run(self) -> Outcome:
        """Run it to its end, or to its first failure."""
        failure, where = "", ""
        concerned: tuple[str, ...] = ()
        try:
            self._begin()
            self._chaos()
            self._heal()
            self._live()
        except Violation as violation:
            failure, concerned = str(violation), violation.nodes
        except Exception as error:  # whatever comes out of the core is a failure of it
            failure, where = f"exception: {type(error).__name__}: {error}", traceback.format_exc()
        sim = self.sim
        return Outcome(
            options=self.options,
            sha256=sim.trace.sha256,
            virtual_s=round(sim.now, 3),
            events=sim.happened,
            datagrams=sim.network.datagrams,
            healed_s=self._healed_s,
            failure=failure,
            where=where,
            story=sim.trace.story((*concerned, "network") if concerned else ())[-STORY_LINES:] if failure else [],
        )

    # --- phases -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        sim, rng = self.sim, self._rng
        nodes = [sim.add(f"pc{number + 1}") for number in range(self.options.nodes)]
        for node in rng.sample(nodes, self.options.later):
            node.later_version = True
        for node in nodes:
            node.seeds = [nodes[0]]
            sim.later(rng.uniform(0.0, 2.0), self._first_start, node)
        sim.run(2.0)

    def _first_start(self, node: Computer) -> None:
        if node.station is None:
            node.start()
            say(node, "first")

    def _chaos(self) -> None:
        sim, options = self.sim, self.options
        while options.faults:
            sim.run(min(self._rng.expovariate(1 / options.gap_s), max(0.0, self.chaos.until - sim.now)))
            if sim.now >= self.chaos.until:
                break
            MENU[self._rng.choice(options.faults)](self.chaos)
        sim.run(max(0.0, self.chaos.until - sim.now))

    def _heal(self) -> None:
        """End everything that is wrong, and let people do what is theirs: stop copies, start what is off."""
        sim = self.sim
        sim.tell("network", "everything is healed")
        sim.network.mend()
        sim.network.weather = Weather()
        self.invariants.weather_changed()
        for original, copy in self.chaos.clones:
            copy.power_off()
            copy.left = True
            original.kill()
        sim.cloned.clear()
        sim.run(max(0.0, *(node.stalled_until - sim.now for node in sim.nodes)) + 0.2)
        for node in sim.nodes:
            if node.station is None and (not node.left or node is sim.nodes[0]):
                node.start()  # the first always: the others have it as their seed
        for node in sim.nodes:  # mDNS tells of new addresses
            for other in sim.nodes:
                if other is not node and node.awake and other.awake and other.address[0].startswith("10.99."):
                    node.carry(node.membership_orders(node.membership.hint(other.node, [other.address], node.now)))

    def _live(self) -> None:
        sim, within_s = self.sim, self.options.heal_within_s
        nodes = [node for node in sim.nodes if node.powered]
        begin = sim.now
        while found := disagreement(nodes):
            if sim.now - begin > within_s:
                raise Violation("liveness", f"not within {within_s} s: {found[0]}", found[1])
            sim.run(LOOK_EVERY_S)
        self._healed_s = round(sim.now - begin, 3)
        sim.run(STAYS_WELL_S)
        if found := disagreement(nodes):
            raise Violation("liveness", f"well after {self._healed_s} s, and then: {found[0]}", found[1])
        for node in nodes:
            if node.station:
                self.invariants.sizes(node)
