"""One run: the computers, the network, the time, and one seeded source of chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from bench.simulator.computer import PORT, Computer
from bench.simulator.network import Network, Weather
from bench.simulator.schedule import Schedule
from bench.simulator.trace import Trace
from tarsd import config
from tarsd.gossip.member import Member, State
from tarsd.gossip.membership import Membership
from tarsd.gossip.roster import Tuning, tuning_of
from tarsd.gossip.station import Station
from tarsd.names import NodeId

SEALED_UP_TO = 16  # nodes; beyond it, keys for each pair cost more than they show
MEET_WITHIN_S = 10.0
SETTLE_S = 2.0
START = 1000.0
DEFAULTS = config.Gossip()
TUNING = tuning_of(DEFAULTS)

Watcher = Callable[[Computer, Member], None]


class NotInTime(AssertionError):
    """What was waited for did not come."""


class Simulation:
    """Computers in a network, under virtual time."""

    def __init__(
        self,
        seed: int = 0,
        weather: Weather | None = None,
        *,
        sealed: bool = True,
        tuning: Tuning = TUNING,
        trace: Trace | None = None,
    ) -> None:
        """`sealed`: with real keys and real sealing; otherwise with the stand-ins, which cost little."""
        self.seed = seed
        self.sealed = sealed
        self.tuning = tuning
        self.rng = Random(seed)
        self.stall_rng = Random(f"stalls {seed}")
        self.trace = trace or Trace()
        self.network = Network(self)
        self.network.weather = weather or Weather()
        self.nodes: list[Computer] = []
        self.cloned: set[NodeId] = set()  # which identities run on more than one computer, or did
        self.quiet = False  # no story, no watchers: while a large cluster meets
        self.writes_tables = True
        self.ticks = 0
        self.station_kind = Station  # the tests put broken ones here
        self.watchers: list[Watcher] = []  # called with each member that changes in a node's view
        self.on_start: list[Callable[[Computer], None]] = []  # called when a daemon starts
        self._schedule = Schedule(START)

    # --- computers --------------------------------------------------------------------------------------------------

    def add(self, name: str) -> Computer:
        """Put a computer there; nothing runs on it yet."""
        number = len(self.nodes) + 1
        node = Computer(self, name, (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", PORT))
        self.nodes.append(node)
        self.network.placed(node)
        return node

    def cluster(self, count: int) -> list[Computer]:
        """Start `count` nodes that know the first as their seed, and let them meet."""
        nodes = [self.add(f"pc{number + 1}") for number in range(count)]
        for node in nodes:
            node.start(seeds=[nodes[0]])
        self.until(lambda: self.all_alive(nodes), MEET_WITHIN_S)
        self.run(SETTLE_S)
        return nodes

    @staticmethod
    def all_alive(nodes: Sequence[Computer]) -> bool:
        """Whether everybody of `nodes` sees everybody of them alive."""
        return all(a.state_of(b) is State.ALIVE for a in nodes for b in nodes)

    # --- the network ------------------------------------------------------------------------------------------------

    @property
    def loss(self) -> float:
        """The share of datagrams that is lost."""
        return self.network.weather.loss

    @loss.setter
    def loss(self, share: float) -> None:
        self.network.weather = Weather(loss=share)

    def partition(self, left: Sequence[Computer], right: Sequence[Computer], *, one_way: bool = False) -> None:
        """Cut every way from `left` to `right`, and back unless it is `one_way`."""
        for a in left:
            for b in right:
                self.network.cut.add((a.name, b.name))
                if not one_way:
                    self.network.cut.add((b.name, a.name))

    def heal(self) -> None:
        """Mend every way."""
        self.network.mend()

    # --- time -------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The simulation's time, in seconds; computers have clocks of their own."""
        return self._schedule.now

    @property
    def happened(self) -> int:
        """How many events there were."""
        return self._schedule.happened

    def later(self, after_s: float, action: Callable[..., object], *arguments: Any) -> None:
        """Let something happen after `after_s`."""
        self._schedule.later(after_s, action, *arguments)

    def run(self, for_s: float) -> None:
        """Let `for_s` pass."""
        self._schedule.run_until(self.now + for_s)

    def run_until(self, end: float) -> None:
        """Let time pass until `end`."""
        self._schedule.run_until(end)

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Run until the condition holds; returns after how long; raises `NotInTime` after `within_s`."""
        begin = self.now
        while not condition():
            if not self._schedule or self.now - begin > within_s:
                raise NotInTime(f"not within {within_s} s: {self.picture()}")
            self._schedule.step()
        return self.now - begin

    @staticmethod
    def due(membership: Membership, now: float) -> float:
        """Return when a tick has something to do; at once where the core does not say."""
        due = getattr(membership, "due", None)
        return float(due(now)) if due else -math.inf

    # --- what happens -----------------------------------------------------------------------------------------------

    def event(self, kind: str, one: str, other: str, data: bytes = b"") -> None:
        """Put an event into the trace."""
        self.trace.event(self.now, kind, one, other, data)

    def tell(self, who: str, what: str) -> None:
        """Put something into the story."""
        self.trace.tell(self.now, who, what)

    def started(self, node: Computer) -> None:
        """A daemon starts on `node`."""
        for callback in self.on_start:
            callback(node)

    def changed(self, viewer: Computer, member: Member) -> None:
        """A member changed in the view of one node."""
        if self.quiet:
            return
        last = viewer.seen.get(member.node)
        if last is None or last != (member.state, member.generation):
            viewer.seen[member.node] = member.state, member.generation
            viewer.history.append((self.now, member.name, member.state, member.reason))
            self.tell(viewer.name, f"sees {member.name} {member.state}: {member.reason}")
        for watcher in self.watchers:
            watcher(viewer, member)

    def picture(self) -> str:
        """Return what every node sees, for a person."""
        lines = [f"seed {self.seed}, {self.now:.3f}"]
        for node in self.nodes:
            if node.station:
                members = node.membership.members(node.now)
                lines.append(
                    f"{node.name}: { {member.name: (str(member.state), member.reason) for member in members} }"
                )
        return "\n".join(lines)
