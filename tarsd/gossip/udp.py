"""The UDP sockets of gossip, one for each address listened at, driven by the event loop's readiness callbacks.

Not a transport, because a transport hides the kernel's error queue. With IP_RECVERR the kernel says which address
refused a datagram (ICMP port unreachable): so a killed peer is known in milliseconds. libuv stops watching a socket
that reported an error, so the reader is put back after each; asyncio's own loop does not mind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence

from tarsd.errors import ConfigError
from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.member import Address

log = logging.getLogger(__name__)

# From <linux/in.h> and <linux/in6.h>; Python's socket module does not name them.
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_READS_PER_TURN = 64  # guards the event loop against a flood: other work gets its turn in between
_SKIPPABLE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class Udp:
    """Sends and receives datagrams; loses them as UDP does."""

    def __init__(self, received: Callable[[bytes, Address], None], refused: Callable[[Address], None]) -> None:
        """`received` gets each datagram and its source; `refused` each address where nobody listens."""
        self._received = received
        self._refused = refused
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self, listen: Sequence[str], port: int) -> int:
        """Bind each address to `port` (0 = any, the same for all) and begin; returns the port.

        Raises `ConfigError` where none of the addresses exists here, or the port is taken.
        """
        self._loop = asyncio.get_running_loop()
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
            self._sockets.append(bound)
            self._loop.add_reader(bound, self._readable, bound)
        if not self._sockets:
            raise ConfigError(f"network.listen = {list(listen)!r}: none of these addresses exists on this computer")
        return port

    def close(self) -> None:
        """Stop; safe to call twice."""
        for bound in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(bound)
            bound.close()
        self._sockets = []

    def send(self, data: bytes, address: Address) -> None:
        """Send one datagram, or lose it: a full buffer or a missing route is like loss on the way."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        for bound in self._sockets:
            if bound.family == family:
                self._send(bound, data, address)
                return

    def _send(self, bound: socket.socket, data: bytes, address: Address) -> None:
        for _ in range(2):
            try:
                bound.sendto(data, address)
                return
            except ConnectionRefusedError:
                # Not about this datagram: the kernel hands over an earlier refusal at the next call. Take it and go on.
                self._errors(bound)
            except OSError as error:
                log.debug("no datagram to %s: %s", address[0], error)
                return

    def _readable(self, bound: socket.socket) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                data, source = bound.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                continue  # the pending refusal; its address is in the error queue
            self._received(data, (source[0], source[1]))
            if bound.fileno() < 0:
                return
        self._errors(bound)

    def _errors(self, bound: socket.socket) -> None:
        refused: list[Address] = []
        with contextlib.suppress(OSError):
            while len(refused) < _READS_PER_TURN:
                _, _, _, address = bound.recvmsg(1, 512, socket.MSG_ERRQUEUE)
                refused.append((address[0], address[1]))
        if not refused or self._loop is None:
            return
        self._loop.remove_reader(bound)
        self._loop.add_reader(bound, self._readable, bound)
        for address in refused:
            # Later, never within a send: the membership core may be in the middle of its own orders.
            self._loop.call_soon(self._refused, address)


def _bind(host: str, port: int) -> socket.socket:
    is_v6 = ipaddress.ip_address(host.partition("%")[0]).version == 6
    bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
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
