"""A detour in userspace for the frames of one cable: delay, jitter, reordering, duplication, loss, a narrow line.

`tc netem` is missing in many kernels; this needs only veth pairs and packet sockets. It works on frames, so UDP and
TCP, IPv4 and IPv6, multicast and ARP go through it alike, and no node's settings know of it. Frames are passed on with
their offload headers (`PACKET_VNET_HDR`), since checksums of local packets are not filled in yet.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass

from bench.lan import Lan, inside

_SOL_PACKET, _PACKET_VNET_HDR = 263, 15
_ETH_P_ALL = 0x0003
_OUTGOING = 4
_LONGEST = 70_000  # a frame that the receiver's card would cut into many
_AT_ONCE = 64
_QUEUE_S = 1.0  # a narrow line drops what would wait for longer


@dataclass(frozen=True)
class Impairment:
    """What happens to frames, each way; shares are from 0 to 1."""

    delay_s: float = 0.0
    jitter_s: float = 0.0  # evenly spread on top of the delay; frames keep their order
    reordered: float = 0.0  # share that is overtaken: held back for `REORDER_S`
    doubled: float = 0.0
    lost: float = 0.0
    bytes_per_s: float = 0.0  # 0 = as fast as it goes


REORDER_S = 0.03


class Way:
    """One direction: when each frame is to be sent. Pure: `now` and `rng` come in."""

    def __init__(self, how: Impairment, rng: random.Random) -> None:
        self._how = how
        self._rng = rng
        self._free_at = 0.0  # when the narrow line has sent what it holds
        self._last_at = 0.0

    def send_at(self, size_bytes: int, now: float) -> list[float]:
        """Return the times at which a frame is sent: none, one or two of them."""
        how, rng = self._how, self._rng
        if rng.random() < how.lost:
            return []
        if how.bytes_per_s:
            if self._free_at - now > _QUEUE_S:
                return []
            self._free_at = max(now, self._free_at) + size_bytes / how.bytes_per_s
        at = max(now, self._free_at) + how.delay_s + rng.random() * how.jitter_s
        if rng.random() < how.reordered:
            times = [at + REORDER_S]
        else:
            at = self._last_at = max(at, self._last_at)
            times = [at]
        if rng.random() < how.doubled:
            times.append(times[0] + rng.random() * REORDER_S)
        return times


class _Direction:
    """Carries frames from one packet socket to another."""

    def __init__(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        self._source = source
        self._target = target
        self._way = way
        self._loop = asyncio.get_running_loop()

    def carry(self) -> None:
        """Take what came."""
        for _ in range(_AT_ONCE):
            try:
                frame, address = self._source.recvfrom(_LONGEST)
            except (BlockingIOError, OSError):
                return
            if address[2] == _OUTGOING:
                continue
            for at in self._way.send_at(len(frame), self._loop.time()):
                self._loop.call_at(at, self._send, frame)

    def _send(self, frame: bytes) -> None:
        with suppress(OSError):  # full, down or closed: the frame is lost, as on a real line
            self._target.send(frame)


@asynccontextmanager
async def detour(lan: Lan, number: int, how: Impairment, seed: int = 1) -> AsyncGenerator[None, None]:
    """Lead a PC's cable through this process while the block runs."""
    loop = asyncio.get_running_loop()
    near, far = lan.open_cable(number)
    try:
        with closing(_packets(lan.switch, near)) as one, closing(_packets(lan.switch, far)) as other:
            rng = random.Random(seed)
            ways = ((one, other), (other, one))
            for source, target in ways:
                loop.add_reader(source, _Direction(source, target, Way(how, rng)).carry)
            try:
                yield
            finally:
                for source, _ in ways:
                    loop.remove_reader(source)
    finally:
        lan.close_cable(number)


def _packets(namespace: str, interface: str) -> socket.socket:
    with inside(namespace):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        made.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
        made.bind((interface, 0))
    made.setblocking(False)
    return made
