"""One computer: what its disk keeps, its clocks, and the daemon on it: a real `Station`, driven as the shell drives it.

Rules
1. The daemon ticks every 50 ms, every 20 ms while it is busy; ticks that the core declares idle are left out.
2. A stalled process does nothing, while its kernel takes datagrams into a bounded buffer; afterwards its timer and its
   socket come in either order.
3. A suspended computer hears nothing, and its monotonic clock stands still; the shell notices the resume, or not.
4. The generation is on disk before it is used; the table is written half a second after it changed, and a crash loses
   what was not written.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.simulator.clock import Clock
from bench.simulator.greeting import Desk
from bench.simulator.skew import LaterStation
from bench.simulator.standins import PlainNotary, PlainSessions
from tarsd.gossip.effects import Alarm, Effect, Greet, KeepGeneration, MemberChanged, Remember
from tarsd.gossip.member import Address, Member, Met, State
from tarsd.gossip.membership import Membership
from tarsd.gossip.proof import Ed25519Notary
from tarsd.gossip.roster import Me
from tarsd.gossip.sessions import Sessions
from tarsd.gossip.station import Datagram, NewKey, Order, Station
from tarsd.gossip.table_keeper import WRITE_GAP_S
from tarsd.names import NodeId, NodeName, Zone

if TYPE_CHECKING:
    from bench.simulator.simulation import Simulation

PORT = 7710
TICK_S = 0.05
BUSY_TICK_S = 0.02
IDLE_MAX_S = 0.25  # between two ticks: the core takes one that is 250 ms late for a stall
SOCKET_BUFFER = 256  # datagrams that the kernel keeps for a stalled process
GOODBYES = 3
GOODBYE_GAP_S = 0.03
NEVER = -math.inf


def node_id(name: str) -> NodeId:
    """Return the id of the node called `name`."""
    return NodeId(hashlib.sha256(name.encode()).hexdigest()[:32])


class Computer:
    """One computer: what survives a restart, and the running daemon, if any."""

    def __init__(self, sim: Simulation, name: str, address: Address) -> None:
        self.sim = sim
        self.name = name
        self.node = node_id(name)
        self.address = address
        self.zone = Zone.CORE
        self.later_version = False  # it speaks a protocol that does not exist yet
        self.seeds: list[Computer] = []  # in its config
        self.clock = Clock()
        # the disk
        self.disk_generation = 0
        self.table: list[Met] = []
        # the process
        self.station: Station | None = None
        self.powered = True
        self.suspended = False
        self.left = False  # it said goodbye, and is meant to stay away
        self.stalled_until = 0.0
        self.waiting: list[Callable[[], object]] = []
        self.desk = Desk(self)
        self.boots = 0
        self.key_rng = Random(0)
        self.tick_at = NEVER
        self._ticked_at = NEVER
        self._write_planned = False
        # what was seen
        self.disturbed_at = NEVER  # when something was last wrong with this computer
        self.alarms: list[str] = []
        self.history: list[tuple[float, str, State, str]] = []
        self.seen: dict[NodeId, tuple[State, int]] = {}  # state and generation of each member, as last told

    # --- life -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """What the monotonic clock shows."""
        return self.clock.read(self.sim.now)

    @property
    def membership(self) -> Membership:
        """The core of the running daemon."""
        assert self.station is not None
        return self.station.membership

    @property
    def awake(self) -> bool:
        """Whether the daemon runs and the computer lets it."""
        return self.station is not None and not self.suspended and self.sim.now >= self.stalled_until

    def start(self, seeds: Sequence[Computer] = ()) -> None:
        """Start the daemon; `seeds` stand in its config, and stay there."""
        self.seeds = list(seeds) or self.seeds
        self.boots += 1
        self.disk_generation += 1
        self.powered, self.left, self.stalled_until = True, False, 0.0
        self.disturbed_at = self.sim.now
        self.seen = {}
        rng = Random(f"{self.sim.seed} {self.name} {self.boots}")
        self.key_rng = Random(f"keys {self.sim.seed} {self.name} {self.boots}")
        station = self._station(rng)
        self.station = station
        self.sim.tell(self.name, f"starts, generation {self.disk_generation}")
        self.sim.started(self)
        self.carry(station.orders(station.membership.restore(self.table, self.now)))
        addresses = [seed.address for seed in self.seeds]
        self.carry(station.orders(station.membership.start(self.now, PORT, [self.address], addresses)))
        self.sim.later(self.clock.true_s(rng.uniform(0.0, TICK_S)), self._tick, station, None)

    def _station(self, rng: Random) -> Station:
        sealed = self.sim.sealed
        boot, private = rng.randbytes(8), rng.randbytes(32)
        notary = (Ed25519Notary if sealed else PlainNotary)(rng.randbytes(32))
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() if sealed else private
        me = Me(self.node, NodeName(self.name), self.zone, boot, self.disk_generation, notary)
        membership = Membership(me, self.sim.tuning, public, rng, self.now)
        sessions = (Sessions if sealed else PlainSessions)(self.node, boot, private)
        if self.later_version:
            return LaterStation(membership, sessions, rng)
        return self.sim.station_kind(membership, sessions)

    def kill(self) -> None:
        """Kill -9: the process is gone, the kernel answers for it."""
        if self.station is not None:
            self.sim.tell(self.name, "is killed")
        self.station = None
        self.waiting.clear()
        self.desk.clear()
        self.disturbed_at = self.sim.now

    def power_off(self) -> None:
        """Nothing answers any more."""
        self.kill()
        self.powered = False

    def leave(self, reason: str = "stop", expect_back_s: float = 0.0) -> None:
        """Say goodbye, thrice, and end."""
        station = self.station
        assert station is not None
        self.sim.tell(self.name, f"leaves ({reason})")
        self.left, self.disturbed_at = True, self.sim.now
        goodbyes = station.membership.leave(reason, expect_back_s)
        for attempt in range(GOODBYES):
            self.sim.later(attempt * GOODBYE_GAP_S, self._goodbye, station, goodbyes, attempt == GOODBYES - 1)

    def _goodbye(self, station: Station, goodbyes: list[Effect], last: bool) -> None:
        if self.station is not station:
            return
        self.carry(station.orders(list(goodbyes)))
        if last:
            self.table = station.membership.met()
            self.kill()

    # --- what goes wrong ----------------------------------------------------------------------------------------

    def stall(self, for_s: float) -> None:
        """Let the process do nothing for a while, as SIGSTOP and SIGCONT do."""
        self.sim.tell(self.name, f"stalls for {for_s:.3f} s")
        self.stalled_until = max(self.stalled_until, self.sim.now + for_s)
        self.disturbed_at = max(self.disturbed_at, self.stalled_until)
        self.sim.later(for_s, self._wake_up, self.station)

    def busy(self, for_s: float) -> None:
        """Announce a stall."""
        self.carry(self.membership_orders(self.membership.busy(for_s)))

    def suspend(self, for_s: float, *, told: bool) -> None:
        """Sleep; `told`: the shell notices the resume and looks at the network at once."""
        if self.suspended:
            return
        self.sim.tell(self.name, f"is suspended for {for_s:.3f} s")
        self.suspended = True
        self.waiting.clear()
        self.disturbed_at = self.sim.now + for_s
        rate = self.clock.stop(self.sim.now)
        self.sim.later(for_s, self._resume, self.station, rate, for_s if told else None)

    def _resume(self, station: Station | None, rate: float, away_s: float | None) -> None:
        self.clock.go(self.sim.now, rate)
        self.suspended = False
        self.sim.tell(self.name, "resumes")
        if station is None or self.station is not station:
            return
        self._plan_tick(station, 0.001)
        if away_s is not None:
            self.carry(self.membership_orders(self.membership.resumed(away_s, [self.address], self.now)))

    def move(self, address: Address, *, told: bool) -> None:
        """Get another address; `told`: the shell notices."""
        self.sim.tell(self.name, f"moves to {address[0]}")
        self.disturbed_at = self.sim.now
        self.sim.network.moved(self, address)
        if told and self.awake:
            self.network_changed()

    def network_changed(self) -> None:
        """The shell tells the core that a link came up, or its addresses changed."""
        if self.station is not None:
            self.carry(self.membership_orders(self.membership.network_changed([self.address], self.now)))

    # --- time ---------------------------------------------------------------------------------------------------

    def _wake_up(self, station: Station | None) -> None:
        if station is None or self.station is not station or not self.awake:
            return
        timer_first = self.sim.stall_rng.random() < 0.5
        if timer_first:
            self._do_tick(station)
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            if self.station is station:
                action()
        if not timer_first and self.station is station:
            self._do_tick(station)

    def _tick(self, station: Station, planned: float | None) -> None:
        if self.station is not station or (planned is not None and planned != self.tick_at):
            return
        if self.suspended:
            return  # resuming plans the next one
        if self.sim.now < self.stalled_until:
            self._plan_tick(station, self.clock.true_s(TICK_S) + self.stalled_until - self.sim.now)
            return
        now = self.now
        if now - self._ticked_at < IDLE_MAX_S - TICK_S and self.sim.due(station.membership, now) > now:
            self._plan_tick(station, self._pause_s(station.membership, now))
        else:
            self._do_tick(station)

    def _do_tick(self, station: Station) -> None:
        self.sim.ticks += 1
        self._ticked_at = now = self.now
        self.carry(station.tick(now))
        if self.station is station:
            self._plan_tick(station, self._pause_s(station.membership, now))

    def _pause_s(self, membership: Membership, now: float) -> float:
        tick_s = BUSY_TICK_S if membership.is_busy else TICK_S
        due = min(self.sim.due(membership, now), self._ticked_at + IDLE_MAX_S)
        ticks = max(1, math.ceil((due - now) / tick_s)) if due > now else 1
        return self.clock.true_s(tick_s * ticks)

    def _plan_tick(self, station: Station, after_s: float) -> None:
        self.tick_at = self.sim.now + after_s
        self.sim.later(after_s, self._tick, station, self.tick_at)

    def hurry(self) -> None:
        """Something arrived: do not leave out ticks that are due now."""
        station = self.station
        if station is None or self.tick_at - self.sim.now <= TICK_S:
            return
        now = self.now
        if self.sim.due(station.membership, now) < now + (self.tick_at - self.sim.now) - TICK_S:
            self._plan_tick(station, TICK_S)

    def when_awake(self, action: Callable[[], object]) -> None:
        """Do it now, or when the stall is over."""
        if self.sim.now < self.stalled_until:
            if len(self.waiting) < SOCKET_BUFFER:
                self.waiting.append(action)
        else:
            action()

    # --- orders -------------------------------------------------------------------------------------------------

    def membership_orders(self, effects: list[Effect]) -> list[Order]:
        """Return what the daemon has to do for `effects`."""
        assert self.station is not None
        return self.station.orders(effects)

    def carry(self, orders: list[Order]) -> None:
        """Do what the core ordered, as the shell does."""
        for order in orders:
            match order:
                case Datagram(data, address):
                    self.sim.network.send(self, data, address)
                case MemberChanged(member):
                    self.sim.changed(self, member)
                case Greet():
                    self.desk.greet(order)
                case Remember():
                    self._plan_write()
                case Alarm(text):
                    self.alarms.append(text)
                    self.sim.tell(self.name, f"ALARM {text}")
                case KeepGeneration(generation):
                    self.disk_generation = generation
                case NewKey():
                    self.rotate()

    def take(self, data: bytes, source: Address) -> None:
        """A datagram came out of the socket."""
        station = self.station
        if station is not None:
            self.carry(station.datagram(data, source, self.now))
            self.hurry()

    def refused(self, address: Address) -> None:
        """An ICMP message said that nobody listens there."""
        station = self.station
        if station is not None:
            self.carry(station.orders(station.membership.refused(address, self.now)))
            self.hurry()

    def rotate(self) -> None:
        """The shell hands over 32 new random bytes."""
        if self.station is not None:
            self.carry(self.station.rotate(self.key_rng.randbytes(32), self.now))

    def _plan_write(self) -> None:
        if not self._write_planned and self.sim.writes_tables:
            self._write_planned = True
            self.sim.later(WRITE_GAP_S, self._write, self.station)

    def _write(self, station: Station | None) -> None:
        self._write_planned = False
        if station is not None and self.station is station:
            self.table = station.membership.met()

    # --- looks --------------------------------------------------------------------------------------------------

    def see(self, other: Computer) -> Member | None:
        """Return what this node thinks of `other`."""
        return self.membership.member(other.node, self.now)

    def state_of(self, other: Computer) -> State | None:
        """Return the state in which this node sees `other`."""
        member = self.see(other)
        return member.state if member else None
