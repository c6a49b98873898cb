"""Looks for a word wherever it may have been left: in files, in whatever encoding, and in what crossed the network.

`spellings` are what is looked for: the word as text in every usual encoding (msgpack has it as UTF-8), as JSON escapes
it where it would, in hex, and in base64 at each of the three places where it may begin. Letters count in either case,
as an index of stems would have them.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

_ETH_P_ALL = 3
_ETHERNET_BYTES = 14
_BUFFER_BYTES = 64 << 20
_LAST_WORDS_S = 5.0  # in which what is in that buffer is taken in
MAX_FILE_BYTES = 512 << 20


def spellings(word: str) -> dict[str, bytes]:
    """Return what a trace of a word would look like, by name; all lower case but base64."""
    plain = word.lower()
    found = {encoding: plain.encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")}
    if (escaped := json.dumps(plain)[1:-1]) != plain:
        found["json"] = escaped.encode()
    found["hex"] = word.encode().hex().encode()
    for place in range(3):
        whole = base64.b64encode(b"\0" * place + word.encode())
        # the letters that the bytes before and after it have a part in are left out
        found[f"base64 at {place}"] = whole[0 if place == 0 else 4 : len(whole) // 4 * 4 - 4]
    return found


def traces_in(data: bytes, word: str) -> list[str]:
    """Return the names of the spellings of a word that stand in `data`."""
    lower = data.lower()
    return [name for name, trace in spellings(word).items() if trace in (data if name.startswith("base64") else lower)]


def traces_in_files(paths: Iterable[Path], word: str) -> dict[str, list[str]]:
    """Return the files that have a trace of a word in their name or content, with its spellings."""
    found = {}
    for path in paths:
        in_name = ["name"] if word.lower() in path.name.lower() else []
        if traces := in_name + traces_in(_content(path), word):
            found[str(path)] = traces
    return found


def files_below(folders: Iterable[Path], since: float = 0.0) -> Iterator[Path]:
    """Yield the files in and below folders that were written at or after a time; what goes meanwhile is left out."""
    for folder in folders:
        for parent, _, names in os.walk(folder):  # which passes over what is gone or closed to us
            for path in (Path(parent, name) for name in names):
                if (told := _regular(path)) and told.st_mtime >= since and told.st_size <= MAX_FILE_BYTES:
                    yield path


def _regular(path: Path) -> os.stat_result | None:
    try:
        told = path.lstat()
    except OSError:
        return None
    return told if stat.S_ISREG(told.st_mode) else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class Eavesdropper:
    """Keeps what crosses the loopback from or to some ports, joined for each direction of a connection."""

    def __init__(self, ports: Iterable[int]) -> None:
        self.ports = set(ports)
        self.packets = 0
        self._heard: dict[tuple[int, int, int], bytearray] = defaultdict(bytearray)
        self._ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._ears.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._ears.bind(("lo", 0))
        self._ears.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take in what is there, and end."""
        self._over.set()
        self._thread.join()
        self._ears.close()

    def traces(self, word: str) -> dict[tuple[int, int, int], list[str]]:
        """Return the directions (protocol, from port, to port) in which a trace of a word was heard."""
        return {way: traces for way, data in self._heard.items() if (traces := traces_in(bytes(data), word))}

    def bytes_of(self, port: int) -> int:
        """Return how much was heard to and from a port."""
        return sum(len(data) for (_, one, other), data in self._heard.items() if port in (one, other))

    def _listen(self) -> None:
        deaf_at = float("inf")  # others use the loopback too, and may never be silent
        while time.monotonic() < deaf_at:
            if self._over.is_set():
                deaf_at = min(deaf_at, time.monotonic() + _LAST_WORDS_S)
            try:
                frame = self._ears.recv(1 << 17)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            if payload := self._payload(frame[_ETHERNET_BYTES:]):
                way, data = payload
                self.packets += 1
                self._heard[way] += data

    def _payload(self, packet: bytes) -> tuple[tuple[int, int, int], bytes] | None:
        match packet[:1]:
            case b"" | None:
                return None
            case first if first[0] >> 4 == 4:
                protocol, start = packet[9], (first[0] & 0xF) * 4
            case first if first[0] >> 4 == 6:
                protocol, start = packet[6], 40
            case _:
                return None
        if protocol not in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) or len(packet) < start + 8:
            return None
        source, target = struct.unpack_from(">HH", packet, start)
        if source not in self.ports and target not in self.ports:
            return None
        header = (packet[start + 12] >> 4) * 4 if protocol == socket.IPPROTO_TCP else 8
        return (protocol, source, target), packet[start + header :]
