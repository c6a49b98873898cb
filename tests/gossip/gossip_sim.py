"""A few real `Station`s under virtual time, with a network that loses, delays, cuts and refuses. Seeded."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tarsd import config
from tarsd.errors import WireError
from tarsd.gossip.effects import Alarm, Greet, KeepGeneration, MemberChanged
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Member, Met, State
from tarsd.gossip.membership import Membership
from tarsd.gossip.proof import Ed25519Notary
from tarsd.gossip.roster import Me, Tuning
from tarsd.gossip.sessions import Sessions
from tarsd.gossip.station import Datagram, Order, Station
from tarsd.names import NodeId, NodeName, Zone

DEFAULTS = config.Gossip()
TUNING = Tuning(
    probe_interval_s=DEFAULTS.probe_interval_s,
    mesh_up_to=DEFAULTS.mesh_up_to,
    indirect_probes=DEFAULTS.indirect_probes,
    suspicion_min_s=DEFAULTS.suspicion_min_s,
    reprobe_dead_s=DEFAULTS.reprobe_dead_s,
)
TICK_S = 0.05
TCP_TIMEOUT_S = 1.0


def node_id(name: str) -> NodeId:
    return NodeId(hashlib.sha256(name.encode()).hexdigest()[:32])


class SimNode:
    """One computer: what survives a restart, and the running process, if any."""

    def __init__(self, sim: Sim, name: str, index: int) -> None:
        self.sim = sim
        self.name = name
        self.node = node_id(name)
        self.address = (f"10.0.0.{index}", 7710)
        self.zone = Zone.CORE
        self.disk_generation = 0
        self.table: list[Met] = []
        self.station: Station | None = None
        self.stalled_until = 0.0
        self.powered = True
        self.waiting: list[Callable[[], None]] = []
        self.alarms: list[str] = []
        self.boots = 0
        self.history: list[tuple[float, str, State, str]] = []

    @property
    def membership(self) -> Membership:
        assert self.station is not None
        return self.station.membership

    def start(self, seeds: list[SimNode] | None = None) -> None:
        self.boots += 1
        self.disk_generation += 1
        rng = Random(f"{self.sim.seed} {self.name} {self.boots}")
        boot, private = rng.randbytes(8), rng.randbytes(32)
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        notary = Ed25519Notary(rng.randbytes(32))
        me = Me(self.node, NodeName(self.name), self.zone, boot, self.disk_generation, notary)
        membership = Membership(me, TUNING, public, rng, self.sim.now)
        self.station = Station(membership, Sessions(self.node, boot, private))
        self.carry(self.station.orders(membership.restore(self.table, self.sim.now)))
        addresses = [seed.address for seed in seeds or []]
        self.carry(self.station.orders(membership.start(self.sim.now, 7710, [self.address], addresses)))
        self._tick(self.station)

    def kill(self) -> None:
        """Kill -9: the process is gone, the kernel answers for it."""
        self._remember()
        self.station = None
        self.waiting.clear()

    def power_off(self) -> None:
        self.kill()
        self.powered = False

    def stall(self, for_s: float) -> None:
        self.stalled_until = self.sim.now + for_s
        self.sim.later(for_s, self._resume)

    def leave(self, reason: str = "stop") -> None:
        assert self.station is not None
        self.carry(self.station.orders(self.membership.leave(reason, 0.0)))
        self.kill()

    def see(self, other: SimNode) -> Member | None:
        return self.membership.member(other.node, self.sim.now)

    def state_of(self, other: SimNode) -> State | None:
        member = self.see(other)
        return member.state if member else None

    def _remember(self) -> None:
        if self.station is not None:
            self.table = self.membership.met()

    def _resume(self) -> None:
        # As after SIGCONT: the loop's timer is overdue, and the socket is full.
        waiting, self.waiting = self.waiting, []
        if self.station is not None:
            self.carry(self.station.orders(self.membership.tick(self.sim.now)))
        for deliver in waiting:
            deliver()

    def _tick(self, station: Station) -> None:
        if self.station is not station:
            return
        if self.sim.now >= self.stalled_until:
            self.carry(station.orders(station.membership.tick(self.sim.now)))
        period = 0.02 if station.membership.is_busy else TICK_S
        self.sim.later(max(period, self.stalled_until - self.sim.now), lambda: self._tick(station))

    def when_awake(self, action: Callable[[], None]) -> None:
        if self.sim.now < self.stalled_until:
            self.waiting.append(action)
        else:
            action()

    def carry(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Datagram(data, address):
                    self.sim.send(self, data, address)
                case Greet():
                    self.sim.greet(self, order)
                case MemberChanged(member):
                    self.history.append((self.sim.now, member.name, member.state, member.reason))
                case Alarm(text):
                    self.alarms.append(text)
                case KeepGeneration(generation):
                    self.disk_generation = generation
                case _:
                    pass


class Sim:
    """The network and the clock."""

    def __init__(self, seed: int = 0, loss: float = 0.0) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.loss = loss
        self.now = 1000.0
        self.nodes: list[SimNode] = []
        self.cut: set[tuple[str, str]] = set()
        self.udp_cut: set[tuple[str, str]] = set()
        self.tcp_works = True
        self.datagrams = 0
        self.sent_to: Counter[tuple[str, int]] = Counter()
        self.bytes = 0
        self.largest = 0
        self.greetings = 0
        self.tap: Callable[[SimNode, SimNode, bytes], None] | None = None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def add(self, name: str) -> SimNode:
        node = SimNode(self, name, len(self.nodes) + 1)
        self.nodes.append(node)
        return node

    def cluster(self, count: int) -> list[SimNode]:
        """Start `count` nodes that know the first as their seed, and let them meet."""
        nodes = [self.add(f"pc{number + 1}") for number in range(count)]
        for node in nodes:
            node.start(seeds=[nodes[0]])
        self.until(lambda: self.all_alive(nodes), 10.0)
        self.run(2.0)
        return nodes

    @staticmethod
    def all_alive(nodes: list[SimNode]) -> bool:
        return all(a.state_of(b) is State.ALIVE for a in nodes for b in nodes)

    def later(self, after_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + after_s, next(self._count), action))

    def run(self, for_s: float) -> None:
        end = self.now + for_s
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Run until the condition holds; returns after how long, fails after `within_s`."""
        begin = self.now
        while not condition():
            assert self._events, "nothing happens any more"
            assert self.now - begin <= within_s, f"not within {within_s} s: {self._picture()}"
            self.now, _, action = heapq.heappop(self._events)
            action()
        return self.now - begin

    def partition(self, left: list[SimNode], right: list[SimNode], *, one_way: bool = False) -> None:
        for a in left:
            for b in right:
                self.cut.add((a.name, b.name))
                if not one_way:
                    self.cut.add((b.name, a.name))

    def heal(self) -> None:
        self.cut.clear()
        self.udp_cut.clear()

    def send(self, sender: SimNode, data: bytes, address: tuple[str, int]) -> None:
        self.datagrams += 1
        self.sent_to[address] += 1
        self.bytes += len(data) + 28
        self.largest = max(self.largest, len(data))
        target = self._at(address)
        if target is None or not target.powered or self._is_cut(sender, target, udp=True):
            return
        if self.rng.random() < self.loss:
            return
        delay_s = 0.0003 + self.rng.expovariate(1 / 0.0005)
        self.later(delay_s, lambda: self.arrive(sender, target, data))

    def arrive(self, sender: SimNode, target: SimNode, data: bytes) -> None:
        if self.tap:
            self.tap(sender, target, data)
        if target.station is None:
            if target.powered and sender.station and not self._is_cut(target, sender, udp=True):
                sender.carry(sender.station.orders(sender.membership.refused(target.address, self.now)))
            return
        target.when_awake(lambda: self._take(sender, target, data))

    def _take(self, sender: SimNode, target: SimNode, data: bytes) -> None:
        if target.station is not None:
            target.carry(target.station.datagram(data, sender.address, self.now))

    def greet(self, sender: SimNode, greet: Greet) -> None:
        """A greeting over TCP: the first address that answers."""
        self.greetings += 1
        station = sender.station
        assert station is not None
        for address in greet.addresses:
            target = self._at(address)
            if target is None or not target.powered or self._is_cut(sender, target) or self._is_cut(target, sender):
                continue
            if target.station is None or self.now < target.stalled_until or not self.tcp_works:
                continue
            if greet.node and target.node != greet.node:
                continue
            self.later(0.005, partial(self._greeted, sender, station, target, address))
            return
        self.later(TCP_TIMEOUT_S, lambda: self._unanswered(sender, station, greet.node))

    def _greeted(self, sender: SimNode, station: Station, target: SimNode, address: tuple[str, int]) -> None:
        if target.station is None or sender.station is not station:
            return
        greeter = Greeter(sender.node, NodeName(sender.name), sender.zone, sender.address[0])
        answer, orders = target.station.greeted(greeter, station.greeting(), self.now)
        # The answer comes back first: its receiver could not open what is sealed for it before.
        answerer = Greeter(target.node, NodeName(target.name), target.zone, target.address[0])
        sender.carry(station.greeting_answered(answerer, address, answer, self.now))
        target.carry(orders)

    def _unanswered(self, sender: SimNode, station: Station, node: NodeId | None) -> None:
        if sender.station is station:
            sender.carry(station.greeting_failed(node, self.now))

    def _at(self, address: tuple[str, int]) -> SimNode | None:
        return next((node for node in self.nodes if node.address == address), None)

    def _is_cut(self, sender: SimNode, target: SimNode, *, udp: bool = False) -> bool:
        link = (sender.name, target.name)
        return link in self.cut or (udp and link in self.udp_cut)

    def _picture(self) -> str:
        lines = [f"seed {self.seed}, {self.now:.3f}"]
        for node in self.nodes:
            if node.station:
                seen = {member.name: (str(member.state), member.reason) for member in node.membership.members(self.now)}
                lines.append(f"{node.name}: {seen}")
        return "\n".join(lines)


__all__ = ["Sim", "SimNode", "State", "WireError", "node_id"]
