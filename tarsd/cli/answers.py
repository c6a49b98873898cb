"""One question over the chat WebSocket, and its answer as a person or a program reads it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp
import msgspec

from tarsd import errors
from tarsd.api.messages import Ask, SessionEvent, Stop, StoppedEvent, ToReader
from tarsd.cli import exits
from tarsd.cli.language import Texts
from tarsd.cli.terminal import printable, styled
from tarsd.host.events import DoneEvent, ErrorEvent, NoticeEvent, RouteEvent, Source, SourcesEvent, TokenEvent


class Printer:
    """Prints the events of one answer: the text and its sources as output, everything about them as remarks."""

    def __init__(self, texts: Texts, *, as_json: bool = False) -> None:
        self._texts = texts
        self._as_json = as_json
        self._sources: list[Source] = []
        self._told: set[str] = set()
        self._in_text = False

    def show(self, event: ToReader) -> None:
        """Print one event."""
        if self._as_json:
            print(msgspec.json.encode(event).decode(), flush=True)
            return
        match event:
            case TokenEvent():
                self._in_text = True
                print(printable(event.text), end="", flush=True)
            case SourcesEvent():
                self._sources = event.sources
            case NoticeEvent():
                self._told.add(event.text)
                self._remark(event.text, "yellow")
            case DoneEvent():
                self._end(event)
            case ErrorEvent():
                self._remark(f"tarsd: {event.sentence}", "red")
            case StoppedEvent():
                self._remark(self._texts.stopped, "dim")
            case RouteEvent() | SessionEvent():
                pass

    def _end(self, done: DoneEvent) -> None:
        self._break()
        if self._sources:
            print("\n" + styled(self._texts.sources, "bold"))
        for source in self._sources:
            page = f", {self._texts.page} {source.page}" if source.page else ""
            print(f"  [{source.number}] {printable(source.file)}{page}")
        words = [self._texts.answered_by.format(node=done.generated_by, model=done.model or "-", seconds=done.total_s)]
        if done.prepared_by and done.prepared_by != done.generated_by:
            words.append(self._texts.prepared_by.format(node=done.prepared_by))
        self._remark(", ".join(words), "dim")
        for reason in done.degraded:
            if reason not in self._told:
                self._remark(self._texts.degraded.format(reason=reason), "yellow")

    def _remark(self, text: str, style: str) -> None:
        self._break()
        print(styled(printable(text), style, sys.stderr), file=sys.stderr, flush=True)

    def _break(self) -> None:
        if self._in_text:
            print(flush=True)
        self._in_text = False


class Line(Protocol):
    """An open chat connection."""

    async def send_str(self, data: str) -> None:
        """Send a message; raises `ConnectionError` when the connection is gone."""

    def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]: ...


async def converse(socket: Line, ask: Ask, printer: Printer) -> int:
    """Send a question, print its answer, return its exit code. Raises `PeerLost` when the connection ends first."""
    try:
        await socket.send_str(msgspec.json.encode(ask).decode())
    except ConnectionError as error:
        raise errors.PeerLost(f"the question could not be sent: {error}") from error
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            break
        event: ToReader = msgspec.json.decode(message.data, type=ToReader)
        printer.show(event)
        match event:
            case DoneEvent():
                return exits.OK
            case StoppedEvent():
                return exits.INTERRUPTED
            case ErrorEvent():
                return exits.code_of(errors.from_wire(event.name, event.sentence))
            case _:
                pass
    raise errors.PeerLost("the node closed the connection before the answer was complete")


async def stop(socket: Line) -> None:
    """Ask the node to end the running answer; `converse` then returns. A connection that is gone has ended it."""
    with contextlib.suppress(ConnectionError):
        await socket.send_str(msgspec.json.encode(Stop()).decode())
