"""The child's end of the pipe: what its main thread writes and its reader thread reads."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from collections.abc import Iterator

from tarsd.errors import to_wire
from tarsd.wire import BEAT, ErrorBody, Frame, FrameReader, Kind, decode, encode
from tarsd.workers import protocol

_READ_BYTES = 256 * 1024


class Channel:
    """The requests that came, the cancels, and what goes back."""

    def __init__(self, pipe: socket.socket) -> None:
        self.requests: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self.leaving = False
        self.cancelled: set[int] = set()  # calls that the parent gave up; the main thread takes them out
        self._stuck_s = 0.0
        self._busy_since = 0.0  # when the main thread was last at a yield with a call open; 0 = none is open
        self._pipe = pipe
        self._reader = FrameReader()
        self._frames = self._read_frames()
        self._writing = threading.Lock()

    def read_start(self) -> protocol.Start:
        """Return what this child is to become."""
        _, body = protocol.split(next(self._frames).body)
        start = decode(body, protocol.Start)
        self._stuck_s = start.stuck_s
        return start

    def read_forever(self) -> None:
        """Serve the parent; its end is ours, at once, since nobody would take what we compute."""
        for frame in self._frames:
            self._take(frame)
        os._exit(0)

    def at_yield(self, *, is_open: bool) -> None:
        """Say that the main thread reached a yield, and whether a call is open."""
        self._busy_since = time.monotonic() if is_open else 0.0

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        """Send one frame of call `number`."""
        self.write(protocol.encode(kind, number, body))

    def send_error(self, number: int, error: BaseException) -> None:
        """End call `number` with `error`."""
        self.write(encode_error(number, error))

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        try:
            with self._writing:
                self._pipe.sendall(data)
        except OSError:
            os._exit(0)  # the parent is gone

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.BEAT:
            if not self._is_stuck():
                self.write(BEAT)
            return
        number, body = protocol.split(frame.body)
        if frame.kind is Kind.REQUEST:
            self.requests.put((number, body))
        elif frame.kind is Kind.CANCEL:
            self.cancelled.add(number)
        elif frame.kind is Kind.END:
            self.leaving = True
            self.requests.put(None)

    def _is_stuck(self) -> bool:
        since = self._busy_since
        return self._stuck_s > 0 and since > 0 and time.monotonic() - since > self._stuck_s

    def _read_frames(self) -> Iterator[Frame]:
        while data := self._pipe.recv(_READ_BYTES):
            yield from self._reader.feed(data)


def encode_error(number: int, error: BaseException) -> bytes:
    """Return the frame that ends call `number` with `error`."""
    return protocol.encode(Kind.ERROR, number, encode(ErrorBody(*to_wire(error))))
