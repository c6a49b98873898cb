"""Hears every frame of a LAN of namespaces, and looks for a word in them.

A socket of the packet family in the bridge's namespace sees each frame twice: as it comes from a PC and as it goes on
to another one. Those that come are kept whole, and the payloads of each direction of a connection are joined too, so
that a word over two packets is found.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict
from typing import Self

from bench.lan import Lan, inside
from tests.processes.traces import traces_in

_ETH_P_ALL = 3
_ETHERNET_BYTES = 14
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_BUFFER_BYTES = 256 << 20
_MAX_FRAME_BYTES = 1 << 20  # a cable between namespaces carries segments that no real card would
_OUTGOING = 4

Way = tuple[int, bytes, int, int]  # protocol, both addresses, port from, port to


class LanEars:
    """Listens from `with` to its end."""

    def __init__(self, lan: Lan) -> None:
        self._lan = lan
        self.frames: list[bytes] = []
        self.ports: set[str] = set()  # where frames came from
        self.missed = 0
        self._joined: dict[Way, bytearray] = defaultdict(bytearray)

    def __enter__(self) -> Self:
        with inside(self._lan.switch):
            self._ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._ears.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._ears.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        _, self.missed = struct.unpack("II", self._ears.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._ears.close()

    @property
    def size_bytes(self) -> int:
        """How much was heard."""
        return sum(map(len, self.frames))

    def traces(self, word: str) -> set[str]:
        """Return the ways in which a word was written in any frame, or over several of one connection."""
        heard = [*self.frames, *map(bytes, self._joined.values())]
        return {trace for data in heard for trace in traces_in(data, word)}

    def _listen(self) -> None:
        while True:
            try:
                frame, (port, _, kind, *_) = self._ears.recvfrom(_MAX_FRAME_BYTES)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            if kind == _OUTGOING or not port.startswith("port"):
                continue
            self.ports.add(port)
            self.frames.append(frame)
            if payload := _payload(frame):
                self._joined[payload[0]] += payload[1]


def _payload(frame: bytes) -> tuple[Way, bytes] | None:
    kind, packet = int.from_bytes(frame[12:14]), frame[_ETHERNET_BYTES:]
    match kind:
        case 0x0800:
            protocol, start, addresses = packet[9], (packet[0] & 0xF) * 4, packet[12:20]
        case 0x86DD:
            protocol, start, addresses = packet[6], 40, packet[8:40]
        case _:
            return None
    if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or len(packet) < start + 20:
        return None
    source, target = struct.unpack_from(">HH", packet, start)
    header = (packet[start + 12] >> 4) * 4 if protocol == socket.IPPROTO_TCP else 8
    return (protocol, addresses, source, target), packet[start + header :]
