"""Which addresses this computer has, for telling others and for multicast. Hints: the others try them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from tarsd import config
from tarsd.gossip.member import Address
from tarsd.gossip.messages import MAX_ADDRESSES

# Bridges and pairs that lead to containers and virtual machines of this computer only; told when there is nothing else.
# Docker gives its bridge the same address on every PC, so that address told to others would lead them to themselves.
_INNER = ("docker", "br-", "veth", "virbr", "cni", "lxc", "podman", "lo")
_SYS = Path("/sys/class/net")
_INET6 = Path("/proc/net/if_inet6")
_UNUSABLE = 0x08 | 0x20 | 0x40  # IFA_F_DADFAILED, DEPRECATED, TENTATIVE: not ours, going away, or not ours yet


def own_hosts(listen: Sequence[str]) -> tuple[str, ...]:
    """Return the IP addresses at which others may reach a listener, IPv4 first: `listen` itself, or every interface's.

    Link-local addresses are not among them: they mean nothing without an interface, whose name is ours alone.
    """
    hosts = [host for host in listen if not ipaddress.ip_address(host.partition("%")[0]).is_unspecified]
    families = {6 if ":" in host else 4 for host in listen if host not in hosts}
    if families:
        found = [host for host in _hosts(inner=False) if _is_told(host, families)]
        hosts += found or [host for host in _hosts(inner=True) if _is_told(host, families)]
    return tuple(sorted(dict.fromkeys(hosts), key=lambda host: ":" in host))


def own_addresses(listen: Sequence[str], port: int) -> tuple[Address, ...]:
    """Return the same with the port, at most as many as a greeting carries."""
    return tuple((host, port) for host in own_hosts(listen))[:MAX_ADDRESSES]


def local_hosts() -> frozenset[str]:
    """Return every address that leads to this computer itself, whatever its interface leads to."""
    return frozenset(host.partition("%")[0] for host in _hosts(inner=True)) | {"127.0.0.1", "::1"}


def link_local_hosts(listen: Sequence[str]) -> tuple[str, ...]:
    """Return the link-local IPv6 addresses, with their interfaces, at which a listener hears."""
    if not any(":" in host and ipaddress.ip_address(host.partition("%")[0]).is_unspecified for host in listen):
        return ()
    return tuple(host for host in _hosts(inner=False) if ":" in host and _is_link_local(host))


def announced_hosts(listen: Sequence[str]) -> tuple[str, ...]:
    """Return what to announce on the LAN: where a listener is reached, and where that is no address of a home network
    (nothing at all, or the provider's IPv6 addresses, to which a firewall may forbid calls) the link-local ones too.
    """
    hosts = own_hosts(listen)
    if any(ipaddress.ip_address(host.partition("%")[0]).is_private for host in hosts):
        return hosts
    return (*hosts, *link_local_hosts(listen))


def multicast_hosts(network: config.Network) -> tuple[str, ...]:
    """Return the addresses of the interfaces where mDNS is to be spoken: IPv4, and link-local IPv6."""
    if network.mdns_interfaces:
        return network.mdns_interfaces
    return (*(host for host in own_hosts(network.listen) if ":" not in host), *link_local_hosts(network.listen))


def times_up() -> dict[str, int]:
    """Return how often each interface that leads outside came up: a cable out and in again changes nothing else."""
    counts = {}
    for interface in psutil.net_if_stats():
        if not interface.startswith(_INNER):
            with contextlib.suppress(OSError, ValueError):
                counts[interface] = int((_SYS / interface / "carrier_up_count").read_text(encoding="ascii"))
    return counts


def _hosts(*, inner: bool) -> Iterator[str]:
    """Yield the addresses of the interfaces that are up; `inner` includes those that lead nowhere else."""
    states, unusable = psutil.net_if_stats(), _unusable_hosts()
    for interface, addresses in psutil.net_if_addrs().items():
        if interface in states and states[interface].isup and (inner or not interface.startswith(_INNER)):
            for entry in addresses:
                if entry.family in (socket.AF_INET, socket.AF_INET6) and entry.address not in unusable:
                    yield entry.address


def _unusable_hosts() -> set[str]:
    """Return the IPv6 addresses that nothing can be bound to yet, or that nobody should be told any more.

    A new address is tentative for a second or two; the kernel tells again when it is ours.
    """
    hosts: set[str] = set()
    with contextlib.suppress(OSError, ValueError):
        for line in _INET6.read_text(encoding="ascii").splitlines():
            packed, _, _, _, flags, interface = line.split()
            if int(flags, 16) & _UNUSABLE:
                host = str(ipaddress.IPv6Address(bytes.fromhex(packed)))
                hosts |= {host, f"{host}%{interface}"}
    return hosts


def _is_told(host: str, families: set[int]) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return (
        address.version in families and not address.is_loopback and not (address.version == 6 and _is_link_local(host))
    )


def _is_link_local(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_link_local
