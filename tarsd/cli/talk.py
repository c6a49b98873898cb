"""A person's talk with the cluster, which outlives the node that took it; `tarsd ask` and `tarsd chat` are this.

Rules
1. While an answer runs, a closed connection or `SILENCE_S` without a word is the loss of its node. (A node that tells
   no pass is an older one, which does not beat: there only the connection counts.)
2. Then one of the peers that it told goes on with the answer, else the first node again, round and round, until
   `GIVE_UP_S` after the loss. Each gets what the lost one knew: the question, its turns, the text shown.
3. What it sends is folded by `exchange`: nothing is shown twice. It is patient with a node that is just coming up.
4. A stop ends the answer here when there is no node to end it.
5. Nobody told where else to go before the first connection: when that fails, the talk fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

import aiohttp
import msgspec

from tarsd import errors
from tarsd.api.messages import (
    MAX_TURNS,
    SILENCE_S,
    Ask,
    BeatEvent,
    PastTurn,
    PeersEvent,
    Resume,
    SessionEvent,
    Stop,
    StoppedEvent,
    ToReader,
)
from tarsd.cli.exchange import Exchange

GIVE_UP_S = 10.0
JOIN_S = 1.5  # a node's time to take us, greeting included: a frozen one accepts a connection and says nothing
FIRST_JOIN_S = 5.0
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 1.0
MAX_UNREAD = 256  # messages that wait for their reader; beyond it the node waits for us


class MovedEvent(msgspec.Struct, frozen=True, tag_field="type", tag="moved"):
    """`lost` was lost, and `node` goes on; both names are the same when it came back."""

    lost: str
    node: str


Heard = ToReader | MovedEvent


class Socket(Protocol):
    """An open chat connection."""

    async def send_str(self, data: str) -> None:
        """Send a message; raises `ConnectionError` when the connection is gone."""

    def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]: ...


# Opens the chat of the node at a base URL, showing these passes. Raises `TarsdError`.
Connect = Callable[[str, Sequence[str]], AbstractAsyncContextManager[Socket]]


class KeptLine:
    """A connection that is read all the time: pings are answered, and a close is noticed, while nobody asks."""

    def __init__(self, socket: Socket, peers_changed: Callable[[list[str]], None]) -> None:
        self._socket = socket
        self._peers_changed = peers_changed
        self._queue: asyncio.Queue[ToReader | None] = asyncio.Queue(MAX_UNREAD)
        self._reading = asyncio.create_task(self._read())
        self.asked: Exchange | None = None  # what was last asked here

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._reading.done()

    async def send(self, message: Ask | Resume | Stop) -> None:
        """Send a message; raises `PeerLost`."""
        try:
            await self._socket.send_str(msgspec.json.encode(message).decode())
        except ConnectionError as error:
            raise errors.PeerLost(f"the connection was lost: {error}") from error

    async def receive(self, within_s: float | None) -> ToReader:
        """Return the next event; raises `PeerLost` at the end, or when nothing came within the time."""
        event: ToReader | None
        try:
            async with asyncio.timeout(within_s):
                event = await self._queue.get()
        except TimeoutError:
            if self._queue.empty():  # else it came while we ourselves were held up
                raise errors.PeerLost(f"not a word for {within_s:.0f} s") from None
            event = self._queue.get_nowait()
        if event is None:
            self._queue.put_nowait(None)  # for whoever asks again
            raise errors.PeerLost("the node closed the connection before the answer was complete")
        return event

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            try:
                event: ToReader = msgspec.json.decode(message.data, type=ToReader)
            except msgspec.DecodeError:
                continue  # an event that only a newer client knows
            if isinstance(event, PeersEvent):
                self._peers_changed(event.peers)
            else:
                await self._queue.put(event)
        await self._queue.put(None)

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait({self._reading})


class Talk:
    """A conversation with whichever node is there; `home` is the base URL of the first one."""

    def __init__(
        self,
        home: str,
        connect: Connect,
        *,
        conversation: str = "",
        language: str = "",
        project: str = "",
        temporary: bool = False,
    ) -> None:
        self._home = self._at = home
        self._connect = connect
        self._language = language
        self._project = project
        self._temporary = temporary
        self._conversation = conversation
        self._stack = AsyncExitStack()
        self._line: KeptLine | None = None
        self._session: SessionEvent | None = None
        self._peers: list[str] = []
        self._passes: deque[str] = deque(maxlen=2)  # the node that gave the newest may have died before it told of it
        self._turns: deque[PastTurn] = deque(maxlen=MAX_TURNS)
        self._tell_turns = False
        self._stopping = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def node(self) -> str:
        """The name of the node that is, or was last, connected."""
        return self._session.node if self._session else ""

    def begin(self, conversation: str) -> None:
        """Go on with another conversation; nothing of the one before is told any more."""
        self._conversation = conversation
        self._turns.clear()

    async def open(self) -> SessionEvent:
        """Connect to the first node; raises `TarsdError` (rule 5)."""
        return await self._join(self._home, FIRST_JOIN_S)

    async def close(self) -> None:
        """Close the connection, and those left behind."""
        self._leave()
        await asyncio.gather(*self._leaving)

    async def stop(self) -> None:
        """End the running answer: `ask` then ends with `stopped`."""
        self._stopping.set()
        if self._line is not None:
            with contextlib.suppress(errors.PeerLost):
                await self._line.send(Stop())

    async def ask(self, text: str) -> AsyncGenerator[Heard, None]:
        """Yield the events of the answer, the last is done, error or stopped. Raises `TarsdError` when all are lost."""
        exchange = Exchange(
            text,
            self._language,
            self._turns,
            time.monotonic(),
            project=self._project,
            temporary=self._temporary,
        )
        self._stopping.clear()
        try:
            if self._session is None:
                yield await self.open()
            while not exchange.over:
                try:
                    if (event := await self._next(exchange)) is not None:
                        yield event
                except errors.Unavailable as error:
                    exchange.interrupted(time.monotonic())
                    if (moved := await self._go_on(exchange, error)) is None:
                        yield StoppedEvent()
                        return
                    yield moved
        finally:
            if exchange.shown:
                self._turns.append(exchange.turn())

    async def _next(self, exchange: Exchange) -> Heard | None:
        """Return the next event, if its reader is to see it; raises `Unavailable` when the node is lost."""
        line, session = self._line, self._session
        if line is None or session is None:
            raise errors.PeerLost("the connection was lost")
        if line.asked is not exchange:
            if self._stopping.is_set():  # it came while there was no node to tell: rule 4
                exchange.over = True
                return StoppedEvent()
            line.asked = exchange
            await line.send(exchange.message(self._conversation, with_turns=self._tell_turns))
            self._tell_turns = False
        event = await line.receive(SILENCE_S if session.pass_ else None)
        match event:
            case BeatEvent():
                return None
            case SessionEvent():
                self._take_session(event)
                return event
            case _:
                return exchange.take(event, time.monotonic())

    async def _go_on(self, exchange: Exchange, why: errors.Unavailable) -> MovedEvent | None:
        """Connect to the next node that takes us (rule 2); None after a stop, raises `why` when none does."""
        lost = self.node
        candidates = list(dict.fromkeys([*(url for url in self._peers if url != self._at), self._home, self._at]))
        self._leave()
        for attempt in itertools.count(exchange.losses - 1):
            if time.monotonic() - (exchange.lost_at or 0.0) > GIVE_UP_S:
                break
            if attempt and await self._stopped_within(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**attempt)):
                return None
            for url in candidates:
                if self._stopping.is_set():
                    return None
                if time.monotonic() - (exchange.lost_at or 0.0) > GIVE_UP_S:
                    raise why
                with contextlib.suppress(errors.TarsdError):
                    await self._join(url, JOIN_S)
                    return MovedEvent(lost, self.node)
        raise why

    async def _stopped_within(self, wait_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s * random.uniform(0.7, 1.3)):  # noqa: S311 - spreads, keeps no secret
                await self._stopping.wait()
        return self._stopping.is_set()

    async def _join(self, url: str, within_s: float) -> SessionEvent:
        self._leave()
        try:
            async with asyncio.timeout(within_s):
                socket = await self._stack.enter_async_context(self._connect(url, tuple(self._passes)))
                self._line = KeptLine(socket, self._take_peers)
                session = await self._line.receive(None)
        except BaseException as error:
            self._leave()
            if isinstance(error, TimeoutError):
                raise errors.PeerLost(f"{url} does not answer") from error
            raise
        if not isinstance(session, SessionEvent):
            self._leave()
            raise errors.Unavailable(f"{url} does not speak as a tarsd node")
        self._tell_turns = self._session is not None
        self._at = url
        self._take_session(session)
        return session

    def _leave(self) -> None:
        """Close the connection in the background: a lost node answers no close, and nobody shall wait for it."""
        stack, line = self._stack, self._line
        self._stack, self._line = AsyncExitStack(), None

        async def close() -> None:
            if line is not None:
                await line.close()
            with contextlib.suppress(errors.TarsdError, aiohttp.ClientError, OSError):
                await stack.aclose()

        task = asyncio.create_task(close())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _take_peers(self, peers: list[str]) -> None:
        self._peers = peers

    def _take_session(self, session: SessionEvent) -> None:
        self._session = session
        self._take_peers(session.peers)
        if session.pass_ and session.pass_ not in self._passes:
            self._passes.append(session.pass_)
        if not self._conversation:
            self._conversation = session.conversation
