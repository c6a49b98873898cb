"""The network between the computers: it loses, delays, doubles, reorders, cuts and refuses.

Rules
1. A datagram takes 0.3 ms and a little more (exponential, mean 0.5 ms); what is held back takes up to `delay_s` longer,
   so that later ones overtake it.
2. Loss is independent for each datagram, or comes in bursts: each way is good or bad for exponential times
   (Gilbert-Elliott), and loses another share while bad.
3. A duplicate is the same bytes again, up to a second later.
4. Where the computer is up but no process listens, its kernel refuses (ICMP), if the way back is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from bench.simulator.computer import NEVER, Computer
from tarsd.gossip.member import Address

if TYPE_CHECKING:
    from bench.simulator.simulation import Simulation

Link = tuple[str, str]  # from, to

HEADERS_BYTES = 28  # IPv4 and UDP
LEAST_S = 0.0003
MEAN_S = 0.0005
DUPLICATE_WITHIN_S = 1.0
ROUND_TRIPS = 3  # of a greeting: TCP, TLS, request
SYN_AGAIN_S = 1.0
DATA_AGAIN_S = 0.2


class Weather(msgspec.Struct, frozen=True):
    """How all ways are."""

    loss: float = 0.0  # share of datagrams
    burst_loss: float = 0.0  # share of datagrams while a way is bad; 0 = no way ever is
    good_s: float = 10.0  # mean time for which a way stays good
    bad_s: float = 1.0  # mean time for which it stays bad
    duplicate: float = 0.0
    reorder: float = 0.0  # share of datagrams that are held back
    delay_s: float = 0.0  # by at most so much

    @property
    def is_mild(self) -> bool:
        """Whether a healthy node has to be seen as one in it: at most 25 % loss, answers within 200 ms."""
        return self.loss <= 0.25 and self.burst_loss <= 0.5 and (not self.reorder or self.delay_s <= 0.1)


class Network:
    """Carries datagrams and connections."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self.weather = Weather()
        self.cut: set[Link] = set()
        self.udp_cut: set[Link] = set()
        self.tcp_cut: set[Link] = set()
        self.mended: dict[Link, float] = {}
        self.tcp_works = True
        self.datagrams = 0
        self.bytes = 0
        self.largest = 0
        self.lost = 0
        self.greetings = 0
        self.sent_to: Counter[Address] = Counter()
        self.tap: Callable[[Computer, Computer, bytes], None] | None = None
        self._places: dict[Address, Computer] = {}
        self._bad: dict[Link, tuple[bool, float]] = {}

    # --- places ---------------------------------------------------------------------------------------------------

    def at(self, address: Address) -> Computer | None:
        """Return who is at `address`."""
        return self._places.get(address)

    def placed(self, computer: Computer) -> None:
        """Take a new computer."""
        self._places[computer.address] = computer

    def moved(self, computer: Computer, address: Address) -> None:
        """Give a computer another address."""
        if self._places.get(computer.address) is computer:
            del self._places[computer.address]
        computer.address = address
        self._places[address] = computer

    # --- ways -----------------------------------------------------------------------------------------------------

    def mend(self) -> None:
        """Open every way again."""
        for link in sorted(self.cut | self.udp_cut | self.tcp_cut):
            self.mended[link] = self._sim.now
        self.cut.clear()
        self.udp_cut.clear()
        self.tcp_cut.clear()

    def mend_links(self, what: str, links: Sequence[Link]) -> None:
        """Open these ways again: for "all", "udp" or "tcp"."""
        cut = {"all": self.cut, "udp": self.udp_cut, "tcp": self.tcp_cut}[what]
        for link in links:
            cut.discard(link)
            self.mended[link] = self._sim.now

    def disturbed_at(self, one: Computer, other: Computer) -> float:
        """Return when datagrams between two computers were last cut; now, while they are."""
        links = (one.name, other.name), (other.name, one.name)
        if any(link in self.cut or link in self.udp_cut for link in links):
            return self._sim.now
        return max(self.mended.get(link, NEVER) for link in links)

    # --- datagrams ------------------------------------------------------------------------------------------------

    def send(self, sender: Computer, data: bytes, address: Address) -> None:
        """Take a datagram."""
        sim = self._sim
        self.datagrams += 1
        self.sent_to[address] += 1
        self.bytes += len(data) + HEADERS_BYTES
        if len(data) > self.largest:
            self.largest = len(data)
        if sim.trace.hashing:
            sim.event("send", sender.name, address[0], data)
        target = self._places.get(address)
        if target is None or not target.powered or self._is_lost(sender, target):
            self.lost += 1
            return
        weather, rng = self.weather, sim.rng
        delay_s = LEAST_S + rng.expovariate(1 / MEAN_S)
        if weather.reorder and rng.random() < weather.reorder:
            delay_s += rng.uniform(0.0, weather.delay_s)
        sim.later(delay_s, self.arrive, sender, target, data, address)
        if weather.duplicate and rng.random() < weather.duplicate:
            sim.later(delay_s + rng.uniform(0.0, DUPLICATE_WITHIN_S), self.arrive, sender, target, data, address)

    def arrive(self, sender: Computer, target: Computer, data: bytes, address: Address) -> None:
        """A datagram reaches the computer, if it is still there."""
        if self.tap:
            self.tap(sender, target, data)
        if target.address != address or target.suspended or not target.powered:
            return
        if target.station is None:
            self._refuse(sender, target)
            return
        if self._sim.trace.hashing:
            self._sim.event("arrive", sender.name, target.name, data[:18])
        if self._sim.now < target.stalled_until:
            target.when_awake(partial(target.take, data, sender.address))
        else:
            target.take(data, sender.address)

    def _refuse(self, sender: Computer, target: Computer) -> None:
        if sender.station and not sender.suspended and not self.is_cut(target, sender, udp=True):
            sender.when_awake(partial(sender.refused, target.address))

    def _is_lost(self, sender: Computer, target: Computer) -> bool:
        if self.cut or self.udp_cut:
            link = (sender.name, target.name)
            if link in self.cut or link in self.udp_cut:
                return True
        weather = self.weather
        if weather.burst_loss and self._is_bad((sender.name, target.name)):
            return self._sim.rng.random() < weather.burst_loss
        return weather.loss > 0.0 and self._sim.rng.random() < weather.loss

    def _is_bad(self, link: Link) -> bool:
        now, weather, rng = self._sim.now, self.weather, self._sim.rng
        bad, until = self._bad.get(link, (True, now))
        while until <= now:
            bad = not bad
            until = max(until, now - 60.0) + rng.expovariate(1 / (weather.bad_s if bad else weather.good_s))
        self._bad[link] = bad, until
        return bad

    # --- connections ------------------------------------------------------------------------------------------------

    def tcp_connects(self, sender: Computer, target: Computer) -> bool:
        """Whether a connection can be made, or goes on."""
        there = target.powered and not target.suspended and sender.powered and not sender.suspended
        return there and self.tcp_works and not self.is_cut(sender, target) and not self.is_cut(target, sender)

    def tcp_way_s(self, sender: Computer, target: Computer) -> float:
        """Return how long half of a greeting takes: 3 round trips in all, each repeated until nothing of it is lost."""
        rng, loss = self._sim.rng, self.weather.loss
        total_s = 0.0
        for number in range(ROUND_TRIPS):
            total_s += 0.5 * (LEAST_S + rng.expovariate(1 / MEAN_S))
            again_s = SYN_AGAIN_S if number == 0 else DATA_AGAIN_S
            while loss and rng.random() < loss and total_s < 10.0:
                total_s += again_s
                again_s *= 2
        return total_s + 0.0015  # the handshake's arithmetic

    def is_cut(self, sender: Computer, target: Computer, *, udp: bool = False) -> bool:
        """Whether the way is cut, for datagrams or for connections."""
        link = (sender.name, target.name)
        return link in self.cut or link in (self.udp_cut if udp else self.tcp_cut)
