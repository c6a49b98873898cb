"""Carries out greetings: at several addresses, each with a deadline, a bounded number at once."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable

from tarsd.errors import TarsdError
from tarsd.gossip.effects import Greet, KeepGeneration
from tarsd.gossip.greetings import Greeter
from tarsd.gossip.member import Address
from tarsd.gossip.station import Order, Station
from tarsd.gossip.table import Table
from tarsd.identity.peer import PeerIdentity
from tarsd.names import NodeId

log = logging.getLogger(__name__)

AT_ONCE = 16  # guards sockets and CPU: each is a TLS handshake
HINTS_AT_ONCE = AT_ONCE // 2  # false names on the LAN must not hold up those who are known
GREETING_S = 3.0
STAGGER_S = 0.2  # an address that has not answered by then gets company by the next one

Hello = Callable[[Address, bytes, NodeId | None], Awaitable[tuple[PeerIdentity, bytes]]]
Carry = Callable[[list[Order]], None]


class Errands:
    """Goes out to greet, and brings the answers home."""

    def __init__(self, hello: Hello, table: Table, is_ours: Callable[[Address], bool] = lambda _: False) -> None:
        """`is_ours`: whether an address leads to this node itself; nobody else is looked for there."""
        self._hello = hello
        self._table = table
        self._is_ours = is_ours
        self._out: dict[tuple[NodeId | None, tuple[Address, ...]], bool] = {}  # whether it goes to a hint

    def begin(self, greet: Greet) -> bool:
        """Whether this greeting may go out now; if so, `run` it. Else it is dropped: the core asks again."""
        errand = (greet.node, greet.addresses)
        if errand in self._out or len(self._out) >= AT_ONCE:
            return False
        if greet.is_hint and sum(self._out.values()) >= HINTS_AT_ONCE:
            return False
        self._out[errand] = greet.is_hint
        return True

    async def run(self, greet: Greet, station: Station, carry: Carry) -> None:
        """Greet at each address until one answers; `carry` gets what follows from it."""
        log.debug("greeting %s at %s: %s", greet.node or "whoever lives", greet.addresses, greet.why)
        try:
            async with contextlib.aclosing(self._answers(greet, station)) as answers:
                async for orders in answers:
                    carry(orders)
                    return
            carry(station.greeting_failed(greet.node, time.monotonic()))
        finally:
            self._out.pop((greet.node, greet.addresses), None)

    async def _answers(self, greet: Greet, station: Station) -> AsyncGenerator[list[Order], None]:
        """Yield what follows from each answer, as they come; closing it stops the others."""
        pending: set[asyncio.Task[list[Order] | None]] = set()
        try:
            addresses = [found for found in await _resolved(greet.addresses) if not self._is_ours(found)]
            while addresses or pending:
                if addresses:
                    pending.add(asyncio.create_task(self._greet_at(addresses.pop(0), greet.node, station)))
                patience_s = STAGGER_S if addresses else None
                done, pending = await asyncio.wait(pending, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                answers = [orders for task in done if (orders := task.result()) is not None]
                if answers:
                    yield [order for orders in answers for order in orders]
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _greet_at(self, address: Address, node: NodeId | None, station: Station) -> list[Order] | None:
        try:
            async with asyncio.timeout(GREETING_S):
                peer, body = await self._hello(address, station.greeting(), node)
            greeter = Greeter(peer.node_id, peer.name, peer.zone, address[0])
            orders = station.greeting_answered(greeter, address, body, time.monotonic())
            for order in orders:
                if isinstance(order, KeepGeneration):
                    await asyncio.to_thread(self._table.keep_generation, order.generation)
        except (TarsdError, OSError, TimeoutError) as error:
            log.debug("no answer to a greeting at %s: %s", address, error)
            return None
        return orders


def as_address(seed: str) -> Address:
    """Return "host:port" as an address; the config was checked."""
    host, _, port = seed.rpartition(":")
    return host.strip("[]"), int(port)


def plain_host(host: str) -> str:
    """Return an IPv4 address that came in through an IPv6 socket as what it is."""
    return host.removeprefix("::ffff:")


async def _resolved(addresses: tuple[Address, ...]) -> list[Address]:
    """Return `addresses` with names replaced by what they resolve to; datagrams need IP addresses."""
    loop, resolved = asyncio.get_running_loop(), []
    for host, port in addresses:
        if _is_ip(host):
            resolved.append((host, port))
            continue
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(GREETING_S):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            resolved += [(str(entry[4][0]), port) for entry in found]
    return list(dict.fromkeys(resolved))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
