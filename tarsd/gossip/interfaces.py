"""Which addresses this computer has, for telling others and for multicast. Hints: the others try them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence

import psutil

from tarsd import config
from tarsd.gossip.discovery import Discovery
from tarsd.gossip.member import Address
from tarsd.gossip.messages import MAX_ADDRESSES
from tarsd.names import NodeId

LOOK_EVERY_S = 3.0
SUSPENDED_S = 1.0

# Bridges and pairs that lead to containers and virtual machines of this computer only; told when there is nothing else.
_INNER = ("docker", "br-", "veth", "virbr", "cni", "lxc", "podman", "lo")


def own_hosts(listen: Sequence[str]) -> tuple[str, ...]:
    """Return the IP addresses at which others may reach a listener: `listen` itself, or every interface's."""
    hosts = [host for host in listen if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified]
    families = {6 if ":" in host else 4 for host in listen if host not in hosts}
    if families:
        outer = _interface_hosts(families, inner=False)
        hosts += outer or _interface_hosts(families, inner=True)
    return tuple(dict.fromkeys(hosts))


def own_addresses(listen: Sequence[str], port: int) -> tuple[Address, ...]:
    """Return the same with the port, at most as many as a greeting carries."""
    return tuple((host, port) for host in own_hosts(listen))[:MAX_ADDRESSES]


def multicast_hosts(network: config.Network) -> tuple[str, ...]:
    """Return the IPv4 addresses of the interfaces where mDNS is to be spoken."""
    hosts = network.mdns_interfaces or own_hosts(network.listen)
    return tuple(host for host in hosts if ":" not in host)


def _interface_hosts(families: set[int], *, inner: bool) -> list[str]:
    states, hosts = psutil.net_if_stats(), []
    for interface, addresses in psutil.net_if_addrs().items():
        if interface in states and states[interface].isup and (inner or not interface.startswith(_INNER)):
            hosts += [entry.address for entry in addresses if _reachable(entry.family, entry.address, families)]
    return hosts


def _reachable(family: int, host: str, families: set[int]) -> bool:
    if family == socket.AF_INET:
        return 4 in families and not ipaddress.IPv4Address(host).is_loopback
    # A link-local address means nothing without the interface, whose name is ours alone.
    return (
        family == socket.AF_INET6 and 6 in families and not ipaddress.IPv6Address(host.partition("%")[0]).is_link_local
    )


class NetworkWatch:
    """Keeps mDNS running on the interfaces there are, and notices when they change or the computer slept."""

    def __init__(
        self,
        node: NodeId,
        cluster: str,
        network: config.Network,
        found: Callable[[NodeId, tuple[Address, ...]], None],
        changed: Callable[[tuple[Address, ...]], None],
    ) -> None:
        """`found` gets each hint of mDNS; `changed` the own addresses whenever others must be looked for at once."""
        self._node = node
        self._cluster = cluster
        self._network = network
        self._found = found
        self._changed = changed

    async def run(self, port: int) -> None:
        """Watch until cancelled."""
        addresses, slept_s = own_addresses(self._network.listen, port), _slept_s()
        while True:
            async with asyncio.TaskGroup() as tasks:
                discovery = tasks.create_task(self._discover(port), name="mdns")
                while addresses == (now := own_addresses(self._network.listen, port)):
                    await asyncio.sleep(LOOK_EVERY_S)
                    if (now_slept_s := _slept_s()) - slept_s > SUSPENDED_S:
                        slept_s = now_slept_s
                        self._changed(addresses)
                discovery.cancel()
            addresses = now
            self._changed(addresses)

    async def _discover(self, port: int) -> None:
        hosts = multicast_hosts(self._network)
        if self._network.mdns and hosts:
            await Discovery(self._node, self._cluster, port, hosts, self._found).run()


def _slept_s() -> float:
    """Return for how long this computer was suspended since it started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
