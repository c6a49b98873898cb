"""An answer as a person or a program reads it: its text as output, everything about it as remarks.

Rules
1. The output is the answer's text, unbroken, also when its node was lost in the middle: `tarsd ask > file` is whole.
2. A remark that comes in the middle begins on a line of its own only where both are seen on one terminal.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from tarsd import errors
from tarsd.api.messages import BeatEvent, PeersEvent, SessionEvent, StoppedEvent
from tarsd.cli import exits
from tarsd.cli.language import Texts
from tarsd.cli.talk import Heard, MovedEvent
from tarsd.cli.terminal import printable, styled
from tarsd.host.events import (
    AnswerEvent,
    DoneEvent,
    ErrorEvent,
    MemoriesEvent,
    NoticeEvent,
    RouteEvent,
    Source,
    SourcesEvent,
    TokenEvent,
)


class Printer:
    """Prints the events of one answer."""

    def __init__(self, texts: Texts, *, as_json: bool = False) -> None:
        self._texts = texts
        self._as_json = as_json
        self._sources: list[Source] = []
        self._remembered: list[str] = []
        self._told: set[str] = set()
        self._in_text = False

    def show(self, event: Heard) -> None:
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
            case MemoriesEvent():
                self._remembered = [one.title or one.text for one in event.memories if one.sort == "fact"]
            case NoticeEvent():
                self._told.add(event.text)
                self._aside(event.text, "yellow")
            case MovedEvent():
                if event.lost != event.node:
                    self._aside(self._texts.moved.format(lost=event.lost, node=event.node), "yellow")
            case DoneEvent():
                self._end(event)
            case ErrorEvent():
                self._remark(f"tarsd: {event.sentence}", "red")
            case StoppedEvent():
                self._remark(self._texts.stopped, "dim")
            case AnswerEvent() | RouteEvent() | SessionEvent() | PeersEvent() | BeatEvent():
                pass

    def cut(self) -> None:
        """The answer ends here, without a last event."""
        self._break()

    def _end(self, done: DoneEvent) -> None:
        self._break()
        if self._sources:
            print("\n" + styled(self._texts.sources, "bold"))
        for source in self._sources:
            page = f", {self._texts.page} {source.page}" if source.page else ""
            print(f"  [{source.number}] {printable(source.file)}{page}")
        for text in self._remembered:
            print(f"  {styled(self._texts.remembered, 'bold')}: {printable(text)}")
        words = [self._texts.answered_by.format(node=done.generated_by, model=done.model or "-", seconds=done.total_s)]
        if done.prepared_by and done.prepared_by != done.generated_by:
            words.append(self._texts.prepared_by.format(node=done.prepared_by))
        self._remark(", ".join(words), "dim")
        if done.finish_reason == "length":
            self._remark(self._texts.limits.get(done.limit) or self._texts.limits["max_tokens"], "yellow")
        for reason in done.degraded:
            if reason not in self._told:
                self._remark(self._texts.degraded.format(reason=reason), "yellow")

    def _aside(self, text: str, style: str) -> None:
        """Print a remark in the middle of the text (rule 2)."""
        if sys.stdout.isatty():
            self._break()
        print(styled(printable(text), style, sys.stderr), file=sys.stderr, flush=True)

    def _remark(self, text: str, style: str) -> None:
        self._break()
        print(styled(printable(text), style, sys.stderr), file=sys.stderr, flush=True)

    def _break(self) -> None:
        if self._in_text:
            print(flush=True)
        self._in_text = False


async def print_answer(events: AsyncGenerator[Heard, None], printer: Printer) -> int:
    """Print the events of one answer and return its exit code; raises `TarsdError` when every node is lost."""
    code = exits.FAILED
    try:
        async with aclosing(events):
            async for event in events:
                printer.show(event)
                match event:
                    case DoneEvent():
                        code = exits.OK
                    case StoppedEvent():
                        code = exits.INTERRUPTED
                    case ErrorEvent():
                        code = exits.code_of(errors.from_wire(event.name, event.sentence))
                    case _:
                        pass
    except errors.TarsdError:
        printer.cut()
        raise
    return code
