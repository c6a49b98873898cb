"""Finding nodes on the LAN by mDNS: address hints, never liveness and never authority.

Rules
1. One service type, `_tarsd._udp.local.`; the instance is the node's id; TXT says id, cluster and protocol version.
2. What another cluster announces is passed over; what is announced for our own id too.
3. A goodbye or a silent neighbour means nothing: a killed node stays listed for up to 75 minutes. It is told once, when
   it is first seen, and again when its announcement changes.
4. Names are unique by construction, so registration does not probe for a second first.
5. A link-local address counts only with the interface on which it was heard.
Everything in here may fail (no multicast, no interface) without harm: seeds and the table of everybody met remain.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence

from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from tarsd.gossip.member import Address
from tarsd.gossip.messages import PROTOCOL_MAX
from tarsd.names import NodeId

log = logging.getLogger(__name__)
# It warns, with a traceback, of each packet that an interface which just went away does not take.
logging.getLogger("zeroconf").setLevel(logging.ERROR)

SERVICE = "_tarsd._udp.local."
_ASK_MS = 3000
_GOODBYE_S = 1.0
_ASKING_MAX = 64  # guards against a LAN that announces thousands of names


class Discovery:
    """Announces this node and reports others; `run` does it until cancelled."""

    def __init__(
        self,
        node: NodeId,
        cluster: str,
        port: int,
        interfaces: Sequence[str],
        announced: Sequence[str],
        found: Callable[[NodeId, tuple[Address, ...]], None],
    ) -> None:
        """Speak and listen on the interfaces that have the addresses `interfaces`; `found` gets each hint.

        `announced`: where this node is reached. IPv4 and IPv6 alike; for multicast the link-local ones are best.
        """
        self._node = node
        self._cluster = cluster
        self._interfaces = list(interfaces)
        self._found = found
        self._asking: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._info = AsyncServiceInfo(
            SERVICE,
            f"{node}.{SERVICE}",
            addresses=[_packed(host) for host in announced],
            port=port,
            properties={"id": node, "cluster": cluster, "v": str(PROTOCOL_MAX)},
            server=f"tarsd-{node}.local.",
        )

    async def run(self) -> None:
        """Announce and browse until cancelled; then say goodbye. Returns early where multicast cannot be had."""
        try:
            zeroconf = AsyncZeroconf(interfaces=self._interfaces, ip_version=_version(self._interfaces))
        except (OSError, RuntimeError) as error:  # RuntimeError: an address went away while we looked
            log.warning("no mDNS at %s: %s", ", ".join(self._interfaces), error)
            return
        try:
            async with asyncio.TaskGroup() as self._tasks:
                browser = AsyncServiceBrowser(zeroconf.zeroconf, [SERVICE], handlers=[self._seen])
                try:
                    await (await zeroconf.async_register_service(self._info, cooperating_responders=True))
                    await asyncio.Event().wait()
                finally:
                    await browser.async_cancel()
        except* (OSError, Error) as errors:
            log.warning("mDNS stopped: %s", errors.exceptions[0])
        finally:
            await self._goodbye(zeroconf)

    async def _goodbye(self, zeroconf: AsyncZeroconf) -> None:
        try:
            async with asyncio.timeout(_GOODBYE_S):
                # Two awaits: the first only queues the goodbye.
                await (await zeroconf.async_unregister_service(self._info))
        except (OSError, Error, TimeoutError, KeyError) as error:
            log.debug("no mDNS goodbye: %s", error)
        finally:
            await zeroconf.async_close()

    def _seen(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed or self._tasks is None:
            return
        if name.startswith(f"{self._node}.") or name in self._asking or len(self._asking) >= _ASKING_MAX:
            return
        self._asking.add(name)
        self._tasks.create_task(self._resolve(zeroconf, name))

    async def _resolve(self, zeroconf: Zeroconf, name: str) -> None:
        try:
            info = AsyncServiceInfo(SERVICE, name)
            if await info.async_request(zeroconf, _ASK_MS):
                self._report(info)
        except (OSError, Error) as error:
            log.debug("mDNS: %s was not resolved: %s", name, error)
        finally:
            self._asking.discard(name)

    def _report(self, info: AsyncServiceInfo) -> None:
        properties = info.decoded_properties
        node = properties.get("id") or ""
        if properties.get("cluster") != self._cluster or not _is_node_id(node) or node == self._node or not info.port:
            return
        hosts = [host for scoped in info.parsed_scoped_addresses() if (host := _usable(scoped))]
        addresses = tuple((host, info.port) for host in hosts)
        if addresses:
            self._found(NodeId(node), addresses)


def _is_node_id(text: str) -> bool:
    return len(text) == 32 and all(letter in "0123456789abcdef" for letter in text)


def _packed(host: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])


def _version(interfaces: Sequence[str]) -> IPVersion:
    versions = {":" in host for host in interfaces}
    if len(versions) == 2:
        return IPVersion.All
    return IPVersion.V6Only if True in versions else IPVersion.V4Only


def _usable(scoped: str) -> str:
    """Return a host as the sockets want it, its interface by name; "" for a link-local one of an unknown interface."""
    host, _, number = scoped.partition("%")
    if not ipaddress.ip_address(host).is_link_local or ":" not in host:
        return host
    try:
        return f"{host}%{socket.if_indextoname(int(number))}"
    except (OSError, ValueError):
        return ""
