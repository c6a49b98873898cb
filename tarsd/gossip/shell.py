"""Gossip as a node owns it: sockets, clock, files and tasks around the pure `Station`. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tarsd import config
from tarsd.errors import Unavailable
from tarsd.gossip.effects import Alarm, Greet, KeepGeneration, MemberChanged, Remember
from tarsd.gossip.errands import Errands, Hello, as_address, plain_host
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.interfaces import own_addresses
from tarsd.gossip.member import Address, Attribute, Load, Member, Met
from tarsd.gossip.membership import Membership
from tarsd.gossip.metronome import Metronome
from tarsd.gossip.network_watch import NetworkWatch
from tarsd.gossip.proof import Ed25519Notary
from tarsd.gossip.roster import Me, tuning_of
from tarsd.gossip.sessions import Sessions
from tarsd.gossip.station import Admit, Datagram, NewKey, Order, Station
from tarsd.gossip.table import Table
from tarsd.gossip.table_keeper import TableKeeper
from tarsd.gossip.udp import Udp
from tarsd.identity import Identity, PeerIdentity
from tarsd.identity.join import inviter_of
from tarsd.names import Capability, NodeId, Zone

log = logging.getLogger(__name__)

GOODBYES = 3  # datagrams get lost
GOODBYE_GAP_S = 0.03
PICTURE_S = 0.05  # a question looks at the members several times, and building them costs more than they change

_Advertised = tuple[dict[Capability, dict[str, Attribute]], tuple[str, ...], str, tuple[str, ...]]


class Gossip:
    """Who is there, what they can do and how they are.

    `hello(address, body, expected)` posts a greeting over mutual TLS and returns who answered and what; it raises
    `TarsdError` or OSError. `handle_hello` answers those that come in. Everything else needs the running loop, but
    no lock: it is used from the loop's thread only.
    """

    def __init__(
        self,
        identity: Identity,
        settings: config.Gossip,
        network: config.Network,
        data_dir: Path,
        *,
        hello: Hello,
        rng: Random | None = None,
    ) -> None:
        self._identity = identity
        self._settings = settings
        self._network = network
        self._rng = rng or Random()  # noqa: S311 - spreads load, keeps no secret
        self._data_dir = data_dir
        self._table = Table(data_dir / "gossip")
        self._inviter: str | None = None  # a place to look at, as long as nobody was ever met
        self._udp = Udp(self._received, self._refused)
        self._watch = NetworkWatch(identity.node_id, identity.cluster, network, self._found, self._network_changed)
        self._errands = Errands(hello, self._table, self._watch.is_ours)
        self._station: Station | None = None
        self._keeper = TableKeeper(self._table, self._met, identity.notices.save)
        self._metronome: Metronome | None = None
        self._callbacks: list[Callable[[Member], None]] = []
        self._pending: _Advertised = ({}, (), "", ())
        self._picture: tuple[Member, ...] = ()
        self._pictured_at = 0.0
        self._load = Load()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed_ticks = 0  # one after another
        self.port = 0
        self.last_tick_s = 0.0  # of the monotonic clock; the watchdog looks at its age

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self, port: int) -> None:
        """Listen on UDP `port` (that of the calls; 0 = any free one), tell of this node and look for others.

        Raises `ConfigError` where the port cannot be had, `StorageError` where the generation cannot be kept.
        """
        generation = await asyncio.to_thread(self._table.next_generation)
        met = await asyncio.to_thread(self._table.read)
        self._inviter = None if met else await asyncio.to_thread(inviter_of, self._data_dir)
        self._station = self._make_station(generation)
        self._metronome = Metronome(self._station.membership)
        self.port = self._udp.open(self._network.listen, port)
        self._admit()
        now = time.monotonic()
        self._carry(self._station.orders(self._station.membership.restore(met, now)))
        self._advertise_pending(self._station.membership, now)
        self.last_tick_s = now
        self._running = asyncio.create_task(self._run(), name="gossip")

    async def stop(self, reason: str = "stop", expect_back_s: float = 0.0) -> None:
        """Say goodbye to everybody, write the table, and end; safe to call when not started."""
        if self._running is None or self._station is None:
            return
        goodbyes = self._station.membership.leave(reason, expect_back_s)
        for attempt in range(GOODBYES):
            if attempt:
                await asyncio.sleep(GOODBYE_GAP_S)
            self._carry(self._station.orders(list(goodbyes)))
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        self._running = None
        self._udp.close()
        await self._keeper.write()

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._keeper.run(), name="gossip table")
                self._tasks.create_task(self._watch.run(self.port), name="gossip network")
                self._carry(self._started())
                await self._tick_for_ever()
        finally:
            self._tasks = None

    def _make_station(self, generation: int) -> Station:
        private, boot = os.urandom(32), os.urandom(8)
        public = X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
        identity = self._identity
        notary = Ed25519Notary(os.urandom(32))
        me = Me(identity.node_id, identity.name, identity.zone, boot, generation, notary)
        tuning = tuning_of(self._settings)
        membership = Membership(me, tuning, public, self._rng, time.monotonic(), book=identity.notices)
        return Station(membership, Sessions(identity.node_id, boot, private))

    def _started(self) -> list[Order]:
        assert self._station is not None
        seeds = [as_address(seed) for seed in (*self._network.seeds, *filter(None, [self._inviter]))]
        addresses = own_addresses(self._network.listen, self.port)
        return self._station.orders(self._station.membership.start(time.monotonic(), self.port, addresses, seeds))

    # --- what the rest of the node asks and tells -----------------------------------------------------------------

    def advertise(
        self,
        capabilities: Mapping[Capability, Mapping[str, Attribute]],
        roles: Iterable[str],
        version: str,
        api: Iterable[str] = (),
    ) -> None:
        """Say what this node can do, and at which URLs (`api`) people reach it; replaces what was said before.

        May be called before `start`.
        """
        adverts = {name: dict(values) for name, values in capabilities.items()}
        self._pending = (adverts, tuple(roles), version, tuple(api))
        if self._station is not None:
            self._advertise_pending(self._station.membership, time.monotonic())

    def set_load(self, load: Load) -> None:
        """Say how much this node has to do; it travels with each datagram."""
        self._load, self._picture = load, ()
        if self._station is not None:
            self._station.membership.set_load(load)

    def announce_busy(self, for_s: float) -> None:
        """Ask the others for patience: this node may be silent for up to `for_s` (at most 60)."""
        if self._station is not None:
            self._carry(self._station.orders(self._station.membership.busy(for_s)))

    def members(self) -> tuple[Member, ...]:
        """Return everybody known, this node first; empty before `start`.

        Every change is in it; figures that only age (load, seconds since) may be `PICTURE_S` old.
        """
        now = time.monotonic()
        if self._station is not None and (not self._picture or now - self._pictured_at > PICTURE_S):
            self._picture, self._pictured_at = self._station.membership.members(now), now
        return self._picture

    def member(self, node: NodeId) -> Member | None:
        """Return one member."""
        return self._station.membership.member(node, time.monotonic()) if self._station else None

    def certified(self) -> dict[NodeId, Zone]:
        """Return the zone of everybody whose certificate was ever seen, in this boot or before; not of this node."""
        return {met.node: met.zone for met in self._station.membership.met()} if self._station else {}

    def rotate_keys(self) -> None:
        """Have a new exchange key and tell everybody present; what the old one sealed is opened for a minute more."""
        if self._station is not None:
            self._carry(self._station.rotate(os.urandom(32), time.monotonic()))

    @property
    def refused_datagrams(self) -> int:
        """How many datagrams were read that nobody we know had sealed."""
        return self._station.refused_datagrams if self._station else 0

    @property
    def throttled_datagrams(self) -> int:
        """How many of the refused datagrams were not even tried, because their source had failed too often."""
        return self._station.throttled_datagrams if self._station else 0

    @property
    def dropped_datagrams(self) -> int:
        """How many datagrams the kernel dropped unread: empty ones, those that named nobody known, or came too fast."""
        return self._udp.dropped

    def subscribe(self, callback: Callable[[Member], None]) -> Callable[[], None]:
        """Call `callback` with each member whose state, facts or incarnation changed; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def observed_failure(self, node: NodeId) -> None:
        """A call to `node` broke: it is probed at once, and suspect after 300 ms of silence."""
        if self._station is not None:
            self._carry(self._station.orders(self._station.membership.call_failed(node, time.monotonic())))

    def observed_success(self, node: NodeId) -> None:
        """A call to `node` worked: that is proof of its life."""
        if self._station is not None:
            self._carry(self._station.orders(self._station.membership.call_worked(node, time.monotonic())))

    async def handle_hello(self, body: bytes, peer: PeerIdentity, address: Address) -> bytes:
        """Answer a greeting that came over mutual TLS from `peer`; raises `WireError` for what is none."""
        if self._station is None or self._running is None:
            raise Unavailable("this node is just starting or stopping")
        greeter = Greeter(peer.node_id, peer.name, peer.zone, plain_host(address[0]))
        answer, orders = self._station.greeted(greeter, body, time.monotonic())
        self._carry(orders)
        return answer

    # --- orders ---------------------------------------------------------------------------------------------------

    def _carry(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Datagram(data, address):
                    if not self._watch.is_ours(address):
                        self._udp.send(data, address)
                case Greet():
                    self._greet(order)
                case MemberChanged(member):
                    self._tell(member)
                case Remember():
                    self._keeper.changed()
                case Alarm(text):
                    log.warning("%s", text)
                case Admit():
                    self._admit()
                case NewKey():
                    self.rotate_keys()
                case KeepGeneration():
                    pass  # `Errands` wrote it before it handed over these orders
        if orders and self._metronome is not None:
            self._metronome.hurry()

    def _greet(self, order: Greet) -> None:
        if self._tasks is not None and self._station is not None and self._errands.begin(order):
            self._tasks.create_task(self._go(order, self._station), name=f"greet {order.node}")

    async def _go(self, order: Greet, station: Station) -> None:
        try:
            await self._errands.run(order, station, self._carry)
        except Exception:  # a bug that one greeting meets must not end all of gossip
            log.exception("greeting %s failed unforeseen", order.node)

    def _admit(self) -> None:
        if self._station is not None:
            self._udp.admit(self._station.senders)

    def _met(self) -> list[Met]:
        return self._station.membership.met() if self._station else []

    def _tell(self, member: Member) -> None:
        self._picture = ()
        log.debug("%s is %s: %s", member.name, member.state, member.reason)
        for callback in list(self._callbacks):
            callback(member)

    def _advertise_pending(self, membership: Membership, now: float) -> None:
        assert self._station is not None
        membership.set_load(self._load)
        capabilities, roles, version, api = self._pending
        self._carry(self._station.orders(membership.advertise(capabilities, roles, version, now, api)))

    def _received(self, data: bytes, source: Address) -> None:
        if self._station is not None:
            self._carry(self._station.datagram(data, source, time.monotonic()))

    def _refused(self, address: Address) -> None:
        if self._station is not None:
            self._carry(self._station.orders(self._station.membership.refused(address, time.monotonic())))

    def _found(self, node: NodeId, addresses: tuple[Address, ...]) -> None:
        if self._station is not None:
            self._carry(self._station.orders(self._station.membership.hint(node, addresses, time.monotonic())))

    def _network_changed(self, addresses: tuple[Address, ...], slept_s: float) -> None:
        if self._station is not None:
            membership, now = self._station.membership, time.monotonic()
            if slept_s:
                effects = membership.resumed(slept_s, addresses, now)
            else:
                effects = membership.network_changed(addresses, now)
            self._carry(self._station.orders(effects))

    # --- time -------------------------------------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        assert self._station is not None
        assert self._metronome is not None
        while True:
            await self._metronome.next()
            now = time.monotonic()
            try:
                self._carry(self._station.tick(now))
            except Exception:  # a bug must not make this node deaf and silent; the watchdog ends it where none works
                log.log(logging.DEBUG if self._failed_ticks else logging.ERROR, "a tick failed", exc_info=True)
                self._failed_ticks += 1
            else:
                self._failed_ticks = 0
                self.last_tick_s = now
