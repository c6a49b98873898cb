"""The UDP sockets of gossip, one for each address listened at, driven by the event loop's readiness callbacks.

Not a transport, because a transport hides the kernel's error queue. With IP_RECVERR the kernel says which address
refused a datagram (ICMP port unreachable): so a killed peer is known in milliseconds. What cannot be opened for sure is
dropped by the kernel (`sieve`); how the rest is read stands in `inlet`.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from collections.abc import Collection, Sequence

from tarsd.errors import ConfigError
from tarsd.gossip import sieve
from tarsd.gossip.inlet import Inlet, Received, Refused, as_target
from tarsd.gossip.member import Address

log = logging.getLogger(__name__)

# From <linux/in.h> and <linux/in6.h>; Python's socket module does not name them.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
BUFFER_BYTES = 1 << 20  # the kernel gives at most net.core.rmem_max, and counts about 800 bytes for a small datagram
_SKIPPABLE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class Udp:
    """Sends and receives datagrams; loses them as UDP does."""

    def __init__(self, received: Received, refused: Refused) -> None:
        """`received` gets each datagram and its source; `refused` each address where nobody listens."""
        self._received = received
        self._refused = refused
        self._inlets: list[Inlet] = []

    def open(self, listen: Sequence[str], port: int) -> int:
        """Bind each address to `port` (0 = any, the same for all) and begin; returns the port.

        Raises `ConfigError` where none of the addresses exists here, or the port is taken.
        """
        loop = asyncio.get_running_loop()
        for host in listen:
            try:
                bound = _bind(host, port)
            except OSError as error:
                if error.errno in _SKIPPABLE:
                    log.info("gossip does not listen at %s: %s", host, error.strerror)
                    continue
                self.close()
                raise ConfigError(f"network.port = {port}: UDP at {host}: {error.strerror}") from error
            port = bound.getsockname()[1]
            self._inlets.append(Inlet(bound, loop, self._received, self._refused))
        if not self._inlets:
            raise ConfigError(f"network.listen = {list(listen)!r}: none of these addresses exists on this computer")
        return port

    def close(self) -> None:
        """Stop; safe to call twice."""
        for inlet in self._inlets:
            inlet.close()
        self._inlets = []

    def admit(self, senders: Collection[bytes]) -> None:
        """Only datagrams whose header names one of `senders` are wanted from now on; before the first call, all are."""
        for inlet in self._inlets:
            sieve.attach(inlet.bound, senders)

    @property
    def dropped(self) -> int:
        """How many datagrams the kernel dropped: unwanted ones, and those that came faster than they were read."""
        return sum(sieve.dropped(inlet.bound) for inlet in self._inlets)

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram, or lose it: a full buffer or a missing route is like loss on the way."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        for inlet in self._inlets:
            if inlet.bound.family == family:
                _send(inlet, data, address)
                return


def _send(inlet: Inlet, data: bytes, address: Address) -> None:
    for _ in range(2):
        try:
            inlet.bound.sendto(data, as_target(address))
            return
        except ConnectionRefusedError:
            # Not about this datagram: the kernel hands over an earlier refusal at the next call. Take it and go on.
            inlet.errors()
        except OSError as error:
            log.debug("no datagram to %s: %s", address[0], error)
            return


def _bind(host: str, port: int) -> socket.socket:
    is_v6 = ipaddress.ip_address(host.partition("%")[0]).version == 6
    bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound
