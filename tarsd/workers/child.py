"""The child's side of a worker: `python -m tarsd.workers.child FD`, started by `tarsd.workers.process` only.

The main thread builds the worker's class and runs its calls, one at a time; a reader thread takes requests and cancels
and answers beats, so a parent sees a life sign while native code computes with the GIL released.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator

from tarsd.errors import EngineUnavailable, TarsdError, WireError, WorkerLost, to_wire
from tarsd.wire import BEAT, ErrorBody, Frame, FrameReader, Kind, decode, encode
from tarsd.workers import limits, protocol

_READ_BYTES = 256 * 1024

Method = Callable[[bytes], Iterator[bytes]]


class _Channel:
    """The pipe to the parent: what the main thread writes and the reader thread reads."""

    def __init__(self, pipe: socket.socket) -> None:
        self.requests: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self.leaving = False
        self.cancelled = -1  # the last call that the parent gave up
        self._pipe = pipe
        self._reader = FrameReader()
        self._frames = self._read_frames()
        self._writing = threading.Lock()

    def read_start(self) -> protocol.Start:
        _, body = protocol.split(next(self._frames).body)
        return decode(body, protocol.Start)

    def read_forever(self) -> None:
        """Serve the parent; its end is ours, at once, since nobody would take what we compute."""
        for frame in self._frames:
            self._take(frame)
        os._exit(0)

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        self._write(protocol.encode(kind, number, body))

    def send_error(self, number: int, error: BaseException) -> None:
        self.send(Kind.ERROR, number, encode(ErrorBody(*to_wire(error))))

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.BEAT:
            self._write(BEAT)
            return
        number, body = protocol.split(frame.body)
        if frame.kind is Kind.REQUEST:
            self.requests.put((number, body))
        elif frame.kind is Kind.CANCEL:
            self.cancelled = number
        elif frame.kind is Kind.END:
            self.leaving = True
            self.requests.put(None)

    def _read_frames(self) -> Iterator[Frame]:
        while data := self._pipe.recv(_READ_BYTES):
            yield from self._reader.feed(data)

    def _write(self, data: bytes) -> None:
        try:
            with self._writing:
                self._pipe.sendall(data)
        except OSError:
            os._exit(0)  # the parent is gone


def _build(start: protocol.Start) -> object:
    """Import and build the worker's class; raises `TarsdError` with the reason why not."""
    module, _, name = start.target.partition(":")
    try:
        return getattr(importlib.import_module(module), name)(start.settings)
    except TarsdError:
        raise
    except Exception as error:
        traceback.print_exc()
        raise EngineUnavailable(f"{type(error).__name__}: {error}") from error


def _run(worker: object, channel: _Channel, number: int, body: bytes) -> None:
    """Run one call to its end; an error of ours goes to the parent, of another one only its class."""
    name, request = protocol.split_request(body)
    method: Method | None = None if name.startswith("_") else getattr(worker, name, None)
    if method is None:
        channel.send_error(number, TarsdError(f"{type(worker).__name__} has no method {name}"))
        return
    try:
        _send_items(method(request), channel, number)
        channel.send(Kind.END, number)
    except MemoryError:
        # What half-built state native code is in now nobody knows: go, and be started afresh.
        channel.send_error(number, WorkerLost(f"{name} outgrew the worker's memory limit"))
        os._exit(1)
    except TarsdError as error:
        channel.send_error(number, error)
    except Exception as error:
        traceback.print_exc()
        channel.send_error(number, TarsdError(f"internal error in {name}: {type(error).__name__}"))


def _send_items(items: Iterator[bytes], channel: _Channel, number: int) -> None:
    for item in items:
        if channel.cancelled == number or channel.leaving:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            if channel.leaving:
                raise WorkerLost("the worker is being stopped")
            return
        if item:  # an empty one is only a place where the call can be cancelled
            channel.send(Kind.ITEM, number, item)


def main() -> None:
    """Become the worker that the parent asks for, and serve until it says END or goes away."""
    pipe = socket.socket(fileno=int(sys.argv[1]))
    pipe.set_inheritable(False)
    os.dup2(2, 1)  # what native code prints is for the log
    channel = _Channel(pipe)
    try:
        start = channel.read_start()
    except (StopIteration, WireError):
        return
    limits.die_with_parent(start.parent_pid)
    try:
        limits.apply(start.limits)
        threading.Thread(target=channel.read_forever, name="reader", daemon=True).start()
        worker = _build(start)
    except TarsdError as error:
        channel.send_error(protocol.START, error)
        return
    gc.collect()
    gc.freeze()  # what a model's import made stays; collections need not walk it between two tokens
    channel.send(Kind.END, protocol.START)
    while (task := channel.requests.get()) is not None:
        _run(worker, channel, *task)
    close = getattr(worker, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # native libraries' atexit handlers have been seen to crash or to wait for their threads
