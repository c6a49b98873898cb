"""The chat WebSocket `/ws`: JSON text messages, one answer at a time.

From the reader; all but `type`, `text` and (to resume) `answer` may be left out
    {"type": "ask", "text", "conversation", "language": "es", "answer", "turns": [{"question", "answer"}, …],
     "project", "temporary": true}
    {"type": "resume", "answer", "text", "conversation", "language", "turns", "shown": "the text that the reader has",
     "sources": ["passage of each source"], "project", "temporary"}
    {"type": "stop"}                                                        end the running answer

To the reader
    {"type": "session", "conversation", "node": "pc1", "version", "peers": ["http://…"], "pass"}   first, and when the
                                                                            conversation changes
    {"type": "answer" | "route" | "memories" | "sources" | "token" | "notice" | "done" | "error", …}
                                                                            events of `tarsd.host.events`
    {"type": "stopped"}                                                     instead of `done`, after a stop
    {"type": "beat"}                                                        an answer runs, there is nothing to say
    {"type": "peers", "peers": […]}                                         the session's peers have changed

Rules
1. Each `ask` ends in exactly one `done`, `error` or `stopped`; an `ask` during an answer stops that one first.
2. The session keeps the recent turns, so a client sends only its new question; a stopped answer counts as far as shown.
   A client that had the conversation at another node sends its `turns` along: they replace what is kept here.
3. A message that is not of these shapes counts as an `ask`: its `error` names the field, and the connection stays.
4. Closing the connection cancels the answer. A reader that takes nothing for `SEND_S` counts as gone.
5. Messages are bounded by `MAX_MESSAGE_BYTES`, connections by `sockets.MAX_CONNECTIONS`.
6. `resume` goes on with an answer whose node was lost, at any node: all that the lost one knew of it comes from the
   client, and only what follows `shown` is streamed. Where the answer ended here before its reader was lost, just its
   end is sent.
7. A reader with a named token: each question counts against its rates, and one that is refused ends in its `error`. A
   token that was removed or has expired meanwhile asks nothing more.
8. While an answer runs the reader hears something each `BEAT_S`. Nothing for `SILENCE_S`: the node is lost, whatever
   TCP says; a client then goes to one of `peers`, with its pass as subprotocol: `tarsd, tarsd.pass.<pass>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextlib import aclosing

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from tarsd import errors
from tarsd.api.allowance import Meter
from tarsd.api.guard import CHAT_PATH, HOLDER, TokenNeeded
from tarsd.api.messages import (
    BEAT_S,
    PROTOCOL,
    Ask,
    BeatEvent,
    FromReader,
    PeersEvent,
    Resume,
    SessionEvent,
    Stop,
    StoppedEvent,
    ToReader,
)
from tarsd.api.replies import SEND_S, decode_json, name_of, with_beats
from tarsd.api.running import RUNNING
from tarsd.api.scopes import needs_of, opens
from tarsd.api.services import SERVICES
from tarsd.api.session import Ended, Session, new_conversation
from tarsd.api.sockets import OPEN_SOCKETS
from tarsd.api.token_book import TOKENS
from tarsd.api.tokens import Token
from tarsd.api.who import who_asks
from tarsd.calls import Who
from tarsd.host.events import AnswerEvent, DoneEvent, ErrorEvent, Question, TokenEvent
from tarsd.names import AnswerId, ConversationId, RecordId

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 1024 * 1024  # a question with all its turns and a long answer's text
FINISH_S = 1.0  # given to an answer for its end after `done`, before the next question cancels it
HEARTBEAT_S = 20.0  # a phone that left the house is noticed within 1.5 of these


class _ReaderGoneError(Exception):
    """The reader closed the connection or takes no data."""


class ChatConnection:
    """One reader: reads messages, owns the task of the running answer."""

    def __init__(self, socket: web.WebSocketResponse, app: web.Application, holder: Token | None, who: Who) -> None:
        self._socket = socket
        self._holder = holder
        self._who = who
        self._tokens = app[TOKENS]
        self._services = app[SERVICES]
        self._running = app[RUNNING]
        self._sockets = app[OPEN_SOCKETS]
        self._session = self._sockets.sessions.open(new_conversation(), time.monotonic(), person=who.person)
        self._pass = ""
        self._told_peers: list[str] = []
        self._answer: asyncio.Task[None] | None = None
        self._told_end = False

    @property
    def answering(self) -> bool:
        """Whether an answer runs."""
        return self._answer is not None and not self._answer.done()

    async def run(self) -> None:
        """Serve the reader until one side closes; cancelling ends the running answer."""
        # a pass knows no scope, rate or end: whoever is bound by a named token gets none
        self._pass = "" if self._holder is not None else self._sockets.passes.give()
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
            self._sockets.passes.end(self._pass)
            await self._end_answer()

    async def tell_peers(self, peers: list[str]) -> None:
        """Tell the reader where else it can go, if that is news to it."""
        if not self._pass or peers == self._told_peers:
            return
        self._told_peers = peers
        with contextlib.suppress(_ReaderGoneError):
            await self._send(PeersEvent(peers))

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
        if isinstance(message, Stop):
            return
        try:
            self._admit()
        except errors.TarsdError as error:
            await self._send(_refusal(error))
            return
        await self._start(message)

    def _admit(self) -> None:
        """Count a question of a named token (rule 7); raises `NotAllowed` or `LimitReached`."""
        if self._holder is None:
            return
        now = time.monotonic()
        token = self._tokens.still(self._holder, now)
        if token is None or not opens(token.scopes, needs_of(CHAT_PATH)):
            raise TokenNeeded(f"token {self._holder.name!r} opens the chat no more: it was removed, or has expired")
        self._tokens.allowance(token, now).admit()

    async def _refuse(self, error: errors.InvalidInput) -> None:
        # ends a running answer as an `ask` does: else nobody could tell which of the two has failed
        await self._stop()
        await self._send(_refusal(error))

    async def _start(self, asked: Ask | Resume) -> None:
        wanted = ConversationId(asked.conversation) or self._session.conversation
        changed = wanted != self._session.conversation
        self._session = session = self._sockets.sessions.open(
            wanted, time.monotonic(), person=self._who.person, temporary=asked.temporary
        )
        if changed:
            await self._send_session()
        if isinstance(asked, Resume) and (rest := session.rest_of(asked.answer, asked.shown)):
            await self._send_rest(rest)
            return
        if asked.turns is not None:
            session.replace_turns(asked.turns)
        self._told_end = False
        self._answer = asyncio.create_task(self._answer_to(asked, session), name="answer")

    async def _send_rest(self, rest: Ended) -> None:
        await self._send(AnswerEvent(rest.answer))
        if rest.text:
            await self._send(TokenEvent(rest.text))
        await self._send(rest.done)

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

    async def _answer_to(self, asked: Ask | Resume, session: Session) -> None:
        shown = [asked.shown] if isinstance(asked, Resume) else []
        question = Question(
            text=asked.text,
            conversation=session.conversation,
            turns=tuple(session.turns),
            language=asked.language,
            answer=AnswerId(asked.answer),
            shown="".join(shown),
            sources=tuple(map(RecordId, asked.sources)) if isinstance(asked, Resume) else (),
            who=self._who,
            project=asked.project,
            temporary=asked.temporary,
        )
        try:
            with self._running, Meter() as meter:
                await self._relay(question, shown, session, meter)
        except _ReaderGoneError:
            log.debug("a reader left in the middle of an answer")
        finally:
            session.remember(asked.text, "".join(shown))

    async def _relay(self, question: Question, shown: list[str], session: Session, meter: Meter) -> None:
        answer = question.answer
        try:
            async with aclosing(with_beats(self._services.host.ask(question), BEAT_S)) as events:
                async for event in events:
                    match event:
                        case None if self._told_end:
                            continue
                        case AnswerEvent():
                            answer = event.answer
                        case TokenEvent():
                            shown.append(event.text)
                            meter.sent(event.text)
                        case ErrorEvent(name="Superseded"):
                            shown.clear()  # the newer reader's exchange is the one that counts
                        case DoneEvent():
                            session.ended = Ended(answer, "".join(shown), event)
                            meter.ended(event.usage.prompt_tokens, event.usage.completion_tokens)
                    self._told_end = isinstance(event, DoneEvent | ErrorEvent)
                    await self._send(event or BeatEvent())
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
        self._told_peers = self._sockets.peers()
        services = self._services
        await self._send(
            SessionEvent(self._session.conversation, services.node_name, services.version, self._told_peers, self._pass)
        )

    async def _send(self, event: ToReader) -> None:
        """Send one event; waits while the reader is slow, raises `_ReaderGoneError` (rule 4)."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._socket.send_str(msgspec.json.encode(event).decode())
        except (TimeoutError, ConnectionError) as error:
            raise _ReaderGoneError from error


def _refusal(error: BaseException) -> ErrorEvent:
    name, sentence, retry_after_s = errors.to_wire(error)
    name = "InvalidInput" if isinstance(error, errors.InvalidInput) else name_of(error) or name
    return ErrorEvent(name=name, sentence=sentence, retry_after_s=retry_after_s)


async def chat(request: web.Request) -> web.StreamResponse:
    """GET /ws."""
    socket = web.WebSocketResponse(
        heartbeat=HEARTBEAT_S, max_msg_size=MAX_MESSAGE_BYTES, timeout=2.0, protocols=(PROTOCOL,)
    )
    if not socket.can_prepare(request):
        raise errors.InvalidInput("Upgrade: /ws speaks WebSocket only")
    sockets = request.app[OPEN_SOCKETS]
    connection = ChatConnection(socket, request.app, request.get(HOLDER), who_asks(request))
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
