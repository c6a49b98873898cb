"""The parent's end of the pipe to one worker: its calls, its beats, its silence. Knows no process.

Rules
1. `at_once` calls are with the child at a time; the others wait here, in order, at most `max_pending` in all.
2. A call that nobody reads any more is cancelled, and its place is free when the child says END.
3. Items that readers do not take are bounded: past `_PAUSE_BYTES` the pipe is not read, so the child waits. Where calls
   share the pipe the bound is far higher, so that one slow reader does not hold up the others.
4. Any byte from the child is a sign of life. Silence is counted only while the pipe is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable

from tarsd.errors import DeadlineExceeded, Overloaded, TarsdError, WireError, WorkerLost, from_wire
from tarsd.wire import BEAT, KIB, MIB, ErrorBody, Frame, FrameReader, Kind, decode
from tarsd.workers import protocol

_PAUSE_BYTES = 512 * KIB
_PAUSE_SHARED_BYTES = 64 * MIB  # four answers of the greatest length; a chat's reader lags by far less
_FRAME_COST_BYTES = 512  # what an item costs beside its body; many empty ones are bounded too


class _Call:
    """One call while it is with the child."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.items: deque[bytes] = deque()
        self.held_bytes = 0
        self.ended = False  # the reader gets no more, because of END, ERROR, a lost child or the deadline
        self.error: TarsdError | None = None
        self.abandoned_at: float | None = None
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: bytes) -> None:
        self.items.append(item)
        self.held_bytes += len(item) + _FRAME_COST_BYTES
        self._wake()

    def take(self) -> bytes:
        item = self.items.popleft()
        self.held_bytes -= len(item) + _FRAME_COST_BYTES
        return item

    def end(self, error: TarsdError | None = None) -> None:
        if not self.ended:
            self.ended = True
            self.error = error
            self._wake()

    async def changed(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Link(asyncio.Protocol):
    """The calls of one child; `on_lost` is told once, with the reason, when the pipe is over."""

    def __init__(self, name: str, max_pending: int, on_lost: Callable[[str], None], at_once: int = 1) -> None:
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last_heard = 0.0
        self._name = name
        self._max_pending = max_pending
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._turn = asyncio.Semaphore(at_once)
        self._pause_bytes = _PAUSE_BYTES if at_once == 1 else _PAUSE_SHARED_BYTES
        self._held_bytes = 0
        self._pending = 0
        self._number = protocol.START
        self._active: dict[int, _Call] = {}
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._lost = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the open pipe."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "pause_reading")
        self._transport = transport  # type: ignore[assignment]
        self.last_heard = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Take what the child sent."""
        self.last_heard = self._loop.time()
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except WireError as error:
            self.lose(f"it sent what is no frame: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is open: the child closed the pipe, or the parent did."""
        self._transport = None
        self.lose("it ended")

    def lose(self, reason: str) -> None:
        """Give the child up: every call fails with `WorkerLost(reason)`."""
        if self._lost:
            return
        self._lost = reason
        self._on_lost(reason)  # before the readers wake, so that they find the worker away
        error = WorkerLost(f"worker {self._name}: {reason}")
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # a start that was itself given up asks no more
        for call in list(self._active.values()):
            self._finish(call, error)
        if self._transport is not None:
            self._transport.abort()

    def beat(self) -> None:
        """Ask the child for a sign of life."""
        self._write(BEAT)

    def send(self, frame: bytes) -> None:
        """Write one frame; what is lost already is not written."""
        self._write(frame)

    def silent_s(self) -> float:
        """Return how long the child has been silent while it was listened to."""
        return self._loop.time() - self.last_heard if self._reading else 0.0

    def unstopped_s(self) -> float:
        """Return for how long the child has not left a call that was cancelled."""
        since = min(
            (call.abandoned_at for call in self._active.values() if call.abandoned_at is not None), default=None
        )
        return 0.0 if since is None else self._loop.time() - since

    def forgive(self) -> None:
        """Count silence from now on: it was this process that did not listen."""
        self.last_heard = self._loop.time()
        for call in self._active.values():
            if call.abandoned_at is not None:
                call.abandoned_at = self.last_heard

    async def call(self, method: str, request: bytes, deadline_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the items of one call; see `Worker.call`."""
        deadline = self._loop.time() + deadline_s
        call = await self._begin(method, request, deadline)
        timer = self._loop.call_at(deadline, call.end, self._too_late(method, deadline_s))
        try:
            while True:
                while call.items:
                    item = call.take()
                    self._balance(-len(item) - _FRAME_COST_BYTES)
                    yield item
                if call.ended:
                    break
                await call.changed()
            if call.error is not None:
                raise call.error
        finally:
            timer.cancel()
            self._leave(call)

    async def _begin(self, method: str, request: bytes, deadline: float) -> _Call:
        """Wait for the turn and hand the request to the child."""
        if self._pending >= self._max_pending:
            raise Overloaded(f"worker {self._name}: {self._pending} calls are waiting already")
        self._pending += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._turn.acquire()
        except TimeoutError:
            self._pending -= 1
            raise self._too_late(method, 0) from None
        except BaseException:
            self._pending -= 1
            raise
        if self._lost:
            self._free()
            raise WorkerLost(f"worker {self._name}: {self._lost}")
        self._number = self._number % protocol.MAX_NUMBER + 1  # calls end long before their number comes again
        try:
            frame = protocol.encode_request(self._number, method, request)
        except WireError:
            self._free()
            raise
        call = self._active[self._number] = _Call(self._number, self._loop)
        self._write(frame)
        return call

    def _too_late(self, method: str, deadline_s: float) -> DeadlineExceeded:
        within = f" in {deadline_s:g} s" if deadline_s else " in time"
        return DeadlineExceeded(f"worker {self._name}: {method} was not done{within}")

    def _leave(self, call: _Call) -> None:
        """Drop what the reader did not take, and tell the child if it is still at it."""
        call.items.clear()
        self._balance(-call.held_bytes)
        call.held_bytes = 0
        if call.number in self._active and call.abandoned_at is None:
            call.abandoned_at = self._loop.time()
            self._write(protocol.encode(Kind.CANCEL, call.number))

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.BEAT:
            return
        number, body = protocol.split(frame.body)
        if number == protocol.START:
            self._take_start(frame.kind, body)
            return
        call = self._active.get(number)
        if call is None:
            raise WireError(f"call {number} is not open")
        if frame.kind is Kind.ITEM:
            if call.abandoned_at is None:
                call.put(body)
                self._balance(len(body) + _FRAME_COST_BYTES)
        elif frame.kind is Kind.END:
            self._finish(call, None)
        elif frame.kind is Kind.ERROR:
            self._finish(call, _error(body))
        else:
            raise WireError(f"a worker does not send {frame.kind.name}")

    def _take_start(self, kind: Kind, body: bytes) -> None:
        if self.started.done():
            raise WireError("it started twice")
        if kind is Kind.END:
            self.started.set_result(None)
        else:
            self.started.set_exception(_error(body))

    def _finish(self, call: _Call, error: TarsdError | None) -> None:
        del self._active[call.number]
        call.end(error)
        self._free()

    def _free(self) -> None:
        self._pending -= 1
        self._turn.release()

    def _balance(self, more_bytes: int) -> None:
        """Stop reading the pipe above the bound, go on below half of it (rule 3)."""
        self._held_bytes += more_bytes
        if self._transport is None:
            return
        if self._reading and self._held_bytes > self._pause_bytes:
            self._reading = False
            self._transport.pause_reading()
        elif not self._reading and self._held_bytes < self._pause_bytes // 2:
            self._reading = True
            self.last_heard = self._loop.time()
            self._transport.resume_reading()

    def _write(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)


def _error(body: bytes) -> TarsdError:
    error = decode(body, ErrorBody)
    return from_wire(error.name, error.sentence, error.retry_after_s)
