"""Reading one UDP socket: woken by each datagram while there are few, in batches while there are many.

Rules
1. At most `READS_PER_TURN` datagrams are read before the loop's other work gets its turn.
2. While more than `CALM_PER_S` come in, the loop is not woken by each: they are read every `POLL_S`. That saves the
   wake-ups, delays an answer by `POLL_S` at most, and bounds what a flood costs: `READS_PER_TURN` every `POLL_S` are
   read, whatever comes; what the buffer cannot hold meanwhile the kernel drops.
3. Refusals are in the kernel's error queue. libuv stops watching a socket that reported an error, so the reader is put
   back after each; asyncio's own loop does not mind.
Source for rule 2: Linux NAPI.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from tarsd.gossip.codec import MAX_DATAGRAM_BYTES
from tarsd.gossip.member import Address
from tarsd.identity.listen import address_of

READS_PER_TURN = 128
CALM_PER_S = 1000.0  # a thousand members gossip less than that to one of them
POLL_S = 0.004
MEASURE_S = 0.1

Received = Callable[[bytes, Address], None]
Refused = Callable[[Address], None]


class Gauge:
    """How many datagrams a second come in, measured over `MEASURE_S`."""

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0
        self._rate = 0.0

    def rate(self, count: int, now: float) -> float:
        """Take `count` more; return the rate of the last measure, or of the one that goes on where that is higher."""
        self._count += count
        passed_s = now - self._since
        if passed_s >= MEASURE_S:
            self._rate = self._count / passed_s
            self._since, self._count = now, 0
        return max(self._rate, self._count / MEASURE_S)


class Inlet:
    """What one bound, non-blocking socket receives."""

    def __init__(
        self, bound: socket.socket, loop: asyncio.AbstractEventLoop, received: Received, refused: Refused
    ) -> None:
        """`received` gets each datagram and its source; `refused` each address where nobody listens."""
        self.bound = bound
        self._loop = loop
        self._received = received
        self._refused = refused
        self._gauge = Gauge()
        self._poll_timer: asyncio.TimerHandle | None = None
        loop.add_reader(bound, self._woken)

    def close(self) -> None:
        """Stop reading and close the socket."""
        if self._poll_timer is not None:
            self._poll_timer.cancel()
            self._poll_timer = None
        self._loop.remove_reader(self.bound)
        self.bound.close()

    def errors(self) -> None:
        """Take what the kernel says of earlier datagrams: where nobody listens."""
        refused: list[Address] = []
        with contextlib.suppress(OSError):
            while len(refused) < READS_PER_TURN:
                _, _, _, source = self.bound.recvmsg(1, 512, socket.MSG_ERRQUEUE)
                refused.append(address_of(source))
        if refused and self._poll_timer is None:
            self._loop.remove_reader(self.bound)
            self._loop.add_reader(self.bound, self._woken)
        for address in refused:
            # Later, never within a send: the membership core may be in the middle of its own orders.
            self._loop.call_soon(self._refused, address)

    def _woken(self) -> None:
        count = self._drain()
        if self._is_open and self._gauge.rate(count, self._loop.time()) > CALM_PER_S:
            self._loop.remove_reader(self.bound)
            self._poll_timer = self._loop.call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        count = self._drain()
        if not self._is_open:
            return
        if self._gauge.rate(count, self._loop.time()) > CALM_PER_S / 2:
            self._poll_timer = self._loop.call_later(POLL_S, self._poll)
        else:
            self._poll_timer = None
            self._loop.add_reader(self.bound, self._woken)

    def _drain(self) -> int:
        """Read up to a turn's worth; returns how many there were."""
        count = 0
        while count < READS_PER_TURN and self._is_open:
            try:
                data, source = self.bound.recvfrom(MAX_DATAGRAM_BYTES + 1)
            except BlockingIOError:
                break
            except OSError:
                count += 1  # the pending refusal; its address is in the error queue
                continue
            count += 1
            self._received(data, address_of(source))
        if self._is_open:
            self.errors()
        return count

    @property
    def _is_open(self) -> bool:
        return self.bound.fileno() >= 0


def as_target(address: Address) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return our address as `sendto` wants it; raises OSError for an interface that is not there."""
    host, separator, interface = address[0].partition("%")
    return (host, address[1], 0, socket.if_nametoindex(interface)) if separator else address
