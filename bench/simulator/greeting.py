"""Greetings over TCP, carried out as `tarsd.gossip.errands` carries them out.

Rules
1. At most 16 are under way at one node, none twice; a further address is tried 200 ms after the one before it.
2. An attempt ends after 3 s without an answer, at once when the kernel refuses.
3. Loss slows TCP down: each of three round trips is repeated after 1 s (the first) or 200 ms, doubling.
4. A stalled node takes connections but answers when it wakes up; a suspended one takes none.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tarsd.errors import TarsdError
from tarsd.gossip.effects import Greet
from tarsd.gossip.errands import AT_ONCE, GREETING_S, STAGGER_S
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address
from tarsd.gossip.station import Station
from tarsd.names import NodeId, NodeName

if TYPE_CHECKING:
    from bench.simulator.computer import Computer


class Desk:
    """Where one node's greetings go out."""

    def __init__(self, owner: Computer) -> None:
        self._owner = owner
        self._out: dict[tuple[NodeId | None, tuple[Address, ...]], Errand] = {}

    def clear(self) -> None:
        """Forget what is under way: the process is gone."""
        self._out.clear()

    def greet(self, greet: Greet) -> None:
        """Greet at each address until one answers."""
        key, station = (greet.node, greet.addresses), self._owner.station
        if station is None or key in self._out or len(self._out) >= AT_ONCE:
            return
        self._owner.sim.network.greetings += 1
        self._owner.sim.event("greet", self._owner.name, greet.node or "anybody")
        errand = self._out[key] = Errand(self._owner, station, greet, partial(self._out.pop, key, None))
        errand.begin()


class Errand:
    """One greeting, at all addresses of one member."""

    def __init__(self, sender: Computer, station: Station, greet: Greet, ended: partial[Errand | None]) -> None:
        self._sender = sender
        self._station = station
        self._greet = greet
        self._ended = ended
        self._open = len(greet.addresses)
        self._over = False

    def begin(self) -> None:
        """Try the addresses, one after another."""
        if not self._open:
            self._finish()
        for index, address in enumerate(self._greet.addresses):
            self._sender.sim.later(index * STAGGER_S, self._try, address)

    def _try(self, address: Address) -> None:
        if self._is_void():
            return
        sim, sender = self._sender.sim, self._sender
        target = sim.network.at(address)
        if target is None or not sim.network.tcp_connects(sender, target):
            sim.later(GREETING_S, self._failed)
            return
        way_s = sim.network.tcp_way_s(sender, target)
        if target.station is None or (self._greet.node and target.node != self._greet.node):
            sim.later(2 * way_s, self._failed)
            return
        attempt = Attempt(self, target, address, sim.now + GREETING_S, self._station.greeting())
        sim.later(way_s, attempt.arrive)
        sim.later(GREETING_S, attempt.expire)

    def answered(self, target: Computer, address: Address, answer: bytes) -> bool:
        """Take an answer home; says whether it was one."""
        sender = self._sender
        if self._is_void():
            return True
        greeter = Greeter(target.node, NodeName(target.name), target.zone, address[0])
        try:
            orders = self._station.greeting_answered(greeter, address, answer, sender.now)
        except TarsdError:
            return False
        self._finish()
        sender.carry(orders)
        sender.hurry()
        return True

    def _failed(self) -> None:
        self._open -= 1
        if self._open == 0 and not self._is_void():
            self._finish()
            self._sender.carry(self._station.greeting_failed(self._greet.node, self._sender.now))

    def attempt_failed(self) -> None:
        """One address did not answer."""
        self._sender.when_awake(self._failed)

    def when_awake(self, action: partial[None]) -> None:
        """Do it when the greeter can."""
        if not self._sender.suspended:
            self._sender.when_awake(action)

    def arrives_from(self) -> Computer:
        """Return who greets."""
        return self._sender

    def _is_void(self) -> bool:
        return self._over or self._sender.station is not self._station

    def _finish(self) -> None:
        self._over = True
        self._ended()


class Attempt:
    """One greeting at one address."""

    def __init__(self, errand: Errand, target: Computer, address: Address, until: float, body: bytes) -> None:
        self._errand = errand
        self._target = target
        self._address = address
        self._until = until
        self._body = body
        self._over = False

    def arrive(self) -> None:
        """The greeting is there."""
        sender, target = self._errand.arrives_from(), self._target
        if target.sim.network.tcp_connects(sender, target) and not target.suspended:
            target.when_awake(self._answer)

    def _answer(self) -> None:
        sender, target = self._errand.arrives_from(), self._target
        station, sim = target.station, target.sim
        if self._over or station is None:
            return
        sim.event("greeted", sender.name, target.name, self._body)
        greeter = Greeter(sender.node, NodeName(sender.name), sender.zone, sender.address[0])
        try:
            answer, orders = station.greeted(greeter, self._body, target.now)
        except TarsdError:
            return
        sim.later(sim.network.tcp_way_s(target, sender), self._come_home, answer)
        target.carry(orders)
        target.hurry()

    def _come_home(self, answer: bytes) -> None:
        sender, target = self._errand.arrives_from(), self._target
        if target.sim.network.tcp_connects(sender, target):
            self._errand.when_awake(partial(self._hand_over, answer))

    def _hand_over(self, answer: bytes) -> None:
        sim = self._target.sim
        if self._over or sim.now > self._until:
            return
        sim.event("answered", self._target.name, self._errand.arrives_from().name, answer)
        if self._errand.answered(self._target, self._address, answer):
            self._over = True

    def expire(self) -> None:
        """Nothing came in time."""
        if not self._over:
            self._over = True
            self._errand.attempt_failed()
