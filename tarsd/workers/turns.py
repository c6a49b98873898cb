"""How a child's main thread runs the calls that are open: each gets its turn, all share `worker.tick()`.

Rules
1. Without a `tick` there is one call at a time, read to its end; an empty item is a place where it can be cancelled.
2. With one, a round is: new calls begin, cancelled ones are closed, `tick()` does the work for all, and each is read
   until it yields an empty item. What a round brings is written at once.
3. An error in a call ends that call; one in `tick` ends all that are open. Out of memory ends the child: what
   half-built state native code is in then nobody knows.
4. Told to leave, the child closes what is open and tells its readers so.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator

from tarsd.errors import TarsdError, WorkerLost, place_of
from tarsd.wire import Kind
from tarsd.workers import protocol
from tarsd.workers.channel import Channel, encode_error

Method = Callable[[bytes], Iterator[bytes]]


def serve(worker: object, channel: Channel) -> None:
    """Run calls until the parent says END."""
    tick = getattr(worker, "tick", None)
    calls = Turns(worker, channel)
    while calls.take_new(wait=not calls.is_open):
        channel.at_yield(is_open=calls.is_open)
        if tick is not None and calls.is_open:
            calls.guarded_tick(tick)
            channel.at_yield(is_open=calls.is_open)
        calls.read_all()
        channel.at_yield(is_open=calls.is_open)
    calls.leave()


class Turns:
    """The calls that are open."""

    def __init__(self, worker: object, channel: Channel) -> None:
        self._worker = worker
        self._channel = channel
        self._open: dict[int, Iterator[bytes]] = {}
        self._frames: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Whether any call is."""
        return bool(self._open)

    def take_new(self, *, wait: bool) -> bool:
        """Begin the calls that came and close those that were cancelled; False: the child is to leave."""
        requests, given_up = self._channel.requests, set(self._channel.cancelled)  # their requests came before them
        while wait or not requests.empty():
            wait = False
            if (task := requests.get()) is None:
                return False
            self._begin(*task)
        for number in given_up & self._open.keys():
            self._close(number, protocol.encode(Kind.END, number))
        self._channel.cancelled -= given_up  # one that crossed with its call's end is of no use any more
        self._flush()
        return not self._channel.leaving

    def guarded_tick(self, tick: Callable[[], None]) -> None:
        """Do the work of one round (rule 3)."""
        try:
            tick()
        except MemoryError:
            self._give_up("a step outgrew the worker's memory limit")
        except Exception as error:
            for number in list(self._open):
                self._close(number, self._told(number, "tick", error))
            self._flush()

    def read_all(self) -> None:
        """Read each call until it has nothing more for now."""
        for number, items in list(self._open.items()):
            self._read(number, items)
        self._flush()

    def leave(self) -> None:
        """Close what is open and tell its readers."""
        for number in list(self._open):
            self._close(number, encode_error(number, WorkerLost("the worker is being stopped")))
        self._flush()

    def _begin(self, number: int, body: bytes) -> None:
        name, request = protocol.split_request(body)
        method: Method | None = None if name.startswith("_") else getattr(self._worker, name, None)
        if method is None:
            error = TarsdError(f"{type(self._worker).__name__} has no method {name}")
            self._frames.append(encode_error(number, error))
            return
        try:
            self._open[number] = iter(method(request))
        except Exception as error:
            self._frames.append(self._told(number, name, error))

    def _read(self, number: int, items: Iterator[bytes]) -> None:
        try:
            for item in items:
                if item:
                    self._frames.append(protocol.encode(Kind.ITEM, number, item))
                elif not self._is_alone:
                    return
                self._flush_alone()
                if self._is_to_end(number):
                    return
            self._close(number, protocol.encode(Kind.END, number))
        except MemoryError:
            self._give_up("a call outgrew the worker's memory limit", number)
        except Exception as error:
            self._close(number, self._told(number, "a call", error))

    @property
    def _is_alone(self) -> bool:
        """Whether calls run one after another (rule 1)."""
        return not hasattr(self._worker, "tick")

    def _flush_alone(self) -> None:
        if self._is_alone:
            self._channel.at_yield(is_open=True)
            self._flush()

    def _is_to_end(self, number: int) -> bool:
        """Tell whether the call that has the thread for itself was given up; the next `take_new` closes it."""
        return self._is_alone and (number in self._channel.cancelled or self._channel.leaving)

    def _close(self, number: int, frame: bytes) -> None:
        close = getattr(self._open.pop(number), "close", None)
        self._channel.cancelled.discard(number)
        if close is not None:
            try:
                close()
            except Exception:
                traceback.print_exc()
        self._frames.append(frame)

    def _told(self, number: int, what: str, error: Exception) -> bytes:
        """Return the frame that ends a call: an error of ours as it is, of another one only its class."""
        if isinstance(error, TarsdError):
            return encode_error(number, error)
        print(place_of(error), flush=True)  # noqa: T201 - the child's output is the log's
        return encode_error(number, TarsdError(f"internal error in {what}: {type(error).__name__}"))

    def _give_up(self, sentence: str, *numbers: int) -> None:
        for number in numbers or tuple(self._open):
            self._frames.append(encode_error(number, WorkerLost(sentence)))
        self._flush()
        os._exit(1)

    def _flush(self) -> None:
        if self._frames:
            frames, self._frames = self._frames, []
            self._channel.write(b"".join(frames))
