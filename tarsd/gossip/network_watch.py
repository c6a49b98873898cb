"""Notices at once when the network of this computer changes, or when the computer slept, and keeps mDNS running on it.

Rules
1. The kernel says when a link or an address changes (`netlink`); where it may not, we look every `LOOK_EVERY_S`.
2. A change is told at once, and what follows within `GAP_S` together: interfaces come up in several steps.
3. A cable that was out and in again, or a computer that slept, is a change though the addresses are the same.
4. After each change mDNS starts anew: the others hear of our addresses, and we ask for theirs. Where multicast cannot
   be had it is tried again, ever more rarely.
5. `is_ours` knows each address that leads to this node itself; nobody is ever looked for there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from tarsd import config
from tarsd.gossip.discovery import Discovery
from tarsd.gossip.interfaces import announced_hosts, local_hosts, multicast_hosts, own_addresses, times_up
from tarsd.gossip.member import Address
from tarsd.gossip.netlink import LinkNews
from tarsd.names import NodeId

log = logging.getLogger(__name__)

LOOK_EVERY_S = 3.0
LOOK_ANYWAY_S = 30.0  # though the kernel said nothing
SLEPT_LOOK_S = 0.5  # two clocks are read: cheap, but each look wakes the processor
SLEPT_S = 1.0
GAP_S = 0.25
MDNS_AGAIN_S = (2.0, 60.0)


class Seen(NamedTuple):
    """The network as it is at one moment."""

    addresses: tuple[Address, ...]
    speaking: tuple[str, ...]  # addresses of the interfaces for multicast
    ups: dict[str, int]


class NetworkWatch:
    """Watches the network of this computer for one node."""

    def __init__(
        self,
        node: NodeId,
        cluster: str,
        network: config.Network,
        found: Callable[[NodeId, tuple[Address, ...]], None],
        changed: Callable[[tuple[Address, ...], float], None],
    ) -> None:
        """`found` gets each hint of mDNS.

        `changed` gets the own addresses whenever others must be looked for at once, and for how long we slept.
        """
        self._node = node
        self._cluster = cluster
        self._network = network
        self._found = found
        self._changed = changed
        self._port = 0
        self._local: frozenset[str] = frozenset()

    def is_ours(self, address: Address) -> bool:
        """Whether `address` is this node's own (rule 5); not before `run`."""
        return address[1] == self._port and address[0].partition("%")[0] in self._local

    async def run(self, port: int) -> None:
        """Watch until cancelled."""
        self._port = port
        self._local = local_hosts()
        news, renew = asyncio.Event(), asyncio.Event()
        heard = LinkNews(news.set)
        hears = heard.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_discovering(renew), name="mdns")
                await self._look_on(news, renew, LOOK_ANYWAY_S if hears else LOOK_EVERY_S)
        finally:
            heard.close()

    async def _look_on(self, news: asyncio.Event, renew: asyncio.Event, every_s: float) -> None:
        clock = asyncio.get_running_loop().time
        seen, slept_s, next_look = self._look(), _slept_s(), clock() + every_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLEPT_LOOK_S):
                    await news.wait()
            away_s = _slept_s() - slept_s
            if not (news.is_set() or away_s > SLEPT_S or clock() >= next_look):
                continue
            news.clear()
            now_seen, slept_s, next_look = self._look(), slept_s + away_s, clock() + every_s
            away_s = away_s if away_s > SLEPT_S else 0.0
            if away_s or now_seen != seen:
                log.info("%s; own addresses: %s", _why(away_s), ", ".join(now_seen.speaking) or "none")
                seen = now_seen
                self._changed(seen.addresses, away_s)
                renew.set()
                await asyncio.sleep(GAP_S)

    def _look(self) -> Seen:
        self._local = local_hosts()
        listen = self._network.listen
        return Seen(own_addresses(listen, self._port), multicast_hosts(self._network), times_up())

    async def _keep_discovering(self, renew: asyncio.Event) -> None:
        while True:
            renew.clear()
            async with asyncio.TaskGroup() as tasks:
                discovering = tasks.create_task(self._discover())
                await renew.wait()
                discovering.cancel()

    async def _discover(self) -> None:
        again_s, longest_s = MDNS_AGAIN_S
        while self._network.mdns:
            speaking, announced = multicast_hosts(self._network), announced_hosts(self._network.listen)
            if speaking:
                await Discovery(self._node, self._cluster, self._port, speaking, announced, self._found).run()
            await asyncio.sleep(again_s)
            again_s = min(again_s * 2, longest_s)


def _why(away_s: float) -> str:
    return f"slept for {away_s:.0f} s" if away_s else "the network changed"


def _slept_s() -> float:
    """Return for how long this computer was suspended since it started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
