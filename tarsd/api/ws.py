"""The chat WebSocket `/ws`: JSON text messages, one answer at a time.

From the reader
    {"type": "ask", "text": "…", "conversation": "…", "language": "es"}   conversation and language may be left out
    {"type": "stop"}                                                        end the running answer

To the reader
    {"type": "session", "conversation": "…", "node": "pc1", "version": "…"}   first, and when the conversation changes
    {"type": "route" | "sources" | "token" | "notice" | "done" | "error", …}   the events of `tarsd.host.events`
    {"type": "stopped"}                                                        instead of `done`, after a stop

Rules
1. Each `ask` ends in exactly one `done`, `error` or `stopped`; an `ask` during an answer stops that one first.
2. The session keeps the recent turns, so a client sends only its new question; a stopped answer counts as far as shown.
3. A message that is not of these shapes counts as an `ask`: its `error` names the field, and the connection stays.
4. Closing the connection cancels the answer. A reader that takes nothing for `SEND_S` counts as gone.
5. Messages are bounded by `MAX_MESSAGE_BYTES`, connections by `MAX_CONNECTIONS`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from tarsd import errors
from tarsd.api.messages import Ask, FromReader, SessionEvent, StoppedEvent, ToReader
from tarsd.api.replies import SEND_S, decode_json
from tarsd.api.running import RUNNING
from tarsd.api.services import SERVICES
from tarsd.api.session import Session, Sessions, new_conversation
from tarsd.host.events import DoneEvent, ErrorEvent, Question, TokenEvent
from tarsd.names import ConversationId

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 256 * 1024
MAX_CONNECTIONS = 128
FINISH_S = 1.0  # given to an answer for its end after `done`, before the next question cancels it
HEARTBEAT_S = 20.0  # a phone that left the house is noticed within 1.5 of these


class _ReaderGoneError(Exception):
    """The reader closed the connection or takes no data."""


class OpenSockets:
    """The open chat connections of this node."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self._open: set[ChatConnection] = set()

    def add(self, connection: ChatConnection) -> None:
        """Count a connection; raises `Overloaded` at the bound (rule 5)."""
        if len(self._open) >= MAX_CONNECTIONS:
            raise errors.Overloaded(f"{MAX_CONNECTIONS} chats are open here already", retry_after_s=5.0)
        self._open.add(connection)

    def discard(self, connection: ChatConnection) -> None:
        """Count a connection no more."""
        self._open.discard(connection)

    async def close(self, *, idle_only: bool) -> None:
        """Close the connections, or those without an answer, with "going away": clients reconnect elsewhere."""
        leaving = [one for one in self._open if not (idle_only and one.answering)]
        await asyncio.gather(*(one.close(WSCloseCode.GOING_AWAY) for one in leaving))


OPEN_SOCKETS = web.AppKey("open_sockets", OpenSockets)


class ChatConnection:
    """One reader: reads messages, owns the task of the running answer."""

    def __init__(self, socket: web.WebSocketResponse, app: web.Application) -> None:
        self._socket = socket
        self._services = app[SERVICES]
        self._running = app[RUNNING]
        self._sessions = app[OPEN_SOCKETS].sessions
        self._session = self._sessions.open(new_conversation(), time.monotonic())
        self._answer: asyncio.Task[None] | None = None
        self._told_end = False

    @property
    def answering(self) -> bool:
        """Whether an answer runs."""
        return self._answer is not None and not self._answer.done()

    async def run(self) -> None:
        """Serve the reader until one side closes; cancelling ends the running answer."""
        try:
            await self._send_session()
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._take(message.data)
                else:
                    await self._refuse(errors.InvalidInput("message: expected JSON text, got binary"))
        except _ReaderGoneError:
            log.debug("a reader left")
        finally:
            await self._end_answer()

    async def close(self, code: WSCloseCode) -> None:
        """Close with `code`; a reader that does not answer the close is dropped after 1 s."""
        try:
            async with asyncio.timeout(1.0):
                await self._socket.close(code=code, message=b"this node is stopping")
        except TimeoutError:
            log.debug("a reader did not answer the close")

    async def _take(self, data: str) -> None:
        try:
            message: FromReader = decode_json(data, FromReader)  # type: ignore[arg-type]  # a union is a type to msgspec
        except errors.InvalidInput as error:
            await self._refuse(error)
            return
        await self._stop()
        if isinstance(message, Ask):
            await self._start(message)

    async def _refuse(self, error: errors.InvalidInput) -> None:
        # ends a running answer as an `ask` does: else nobody could tell which of the two has failed
        await self._stop()
        await self._send(_refusal(error))

    async def _start(self, ask: Ask) -> None:
        wanted = ConversationId(ask.conversation) or self._session.conversation
        changed = wanted != self._session.conversation
        self._session = self._sessions.open(wanted, time.monotonic())
        if changed:
            await self._send_session()
        self._told_end = False
        self._answer = asyncio.create_task(self._answer_to(ask, self._session), name="answer")

    async def _stop(self) -> None:
        if self.answering and not self._told_end:
            await self._end_answer()
            await self._send(StoppedEvent())
        else:
            await self._end_answer()

    async def _end_answer(self) -> None:
        if self._answer is not None:
            if self._told_end:
                # the reader has its `done`; what is left of the answer is to remember it, which leaving must not cancel
                await asyncio.wait({self._answer}, timeout=FINISH_S)
            self._answer.cancel()
            await asyncio.wait({self._answer})
            self._answer = None

    async def _answer_to(self, ask: Ask, session: Session) -> None:
        question = Question(
            text=ask.text, conversation=session.conversation, turns=tuple(session.turns), language=ask.language
        )
        shown: list[str] = []
        try:
            with self._running:
                await self._relay(question, shown)
        except _ReaderGoneError:
            log.debug("a reader left in the middle of an answer")
        finally:
            session.remember(ask.text, "".join(shown))

    async def _relay(self, question: Question, shown: list[str]) -> None:
        try:
            async with aclosing(self._services.host.ask(question)) as events:
                async for event in events:
                    if isinstance(event, TokenEvent):
                        shown.append(event.text)
                    self._told_end = isinstance(event, DoneEvent | ErrorEvent)
                    await self._send(event)
            if not self._told_end:
                raise errors.Unavailable("the answer ended without its last part")
        except _ReaderGoneError:
            raise
        except Exception as error:
            if not isinstance(error, errors.TarsdError):
                log.error("an answer failed: %s", errors.place_of(error))
            if not self._told_end:
                self._told_end = True
                await self._send(_refusal(error))

    async def _send_session(self) -> None:
        await self._send(SessionEvent(self._session.conversation, self._services.node_name, self._services.version))

    async def _send(self, event: ToReader) -> None:
        """Send one event; waits while the reader is slow, raises `_ReaderGoneError` (rule 4)."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_str(msgspec.json.encode(event).decode())
        except (TimeoutError, ConnectionError) as error:
            raise _ReaderGoneError from error


def _refusal(error: BaseException) -> ErrorEvent:
    name, sentence = errors.to_wire(error)
    if isinstance(error, errors.InvalidInput):
        name = "InvalidInput"
    return ErrorEvent(name=name, sentence=sentence, retry_after_s=getattr(error, "retry_after_s", 0.0))


async def chat(request: web.Request) -> web.StreamResponse:
    """GET /ws."""
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, timeout=2.0)
    if not socket.can_prepare(request):
        raise errors.InvalidInput("Upgrade: /ws speaks WebSocket only")
    sockets = request.app[OPEN_SOCKETS]
    connection = ChatConnection(socket, request.app)
    sockets.add(connection)
    try:
        await socket.prepare(request)
        await connection.run()
    finally:
        sockets.discard(connection)
    return socket


def routes() -> list[web.RouteDef]:
    """The route of the chat."""
    return [web.get("/ws", chat)]
