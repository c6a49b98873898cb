"""`tarsd members --watch`: what happens among the members, as it happens.

Rules
1. Nothing is polled: the node sends a line whenever something changed, and one a second in any case.
2. On a terminal there is one screen, redrawn at each line and at each change of its size; elsewhere a line for each
   change, for logs; with --json the node's own lines as they came.
3. The node may go away: that is said, and the connection is tried again until it is back. Only where it was not there
   at first does the command end with its error, as any other does.
4. Whatever ends it, the terminal is left as it was found.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

import msgspec

from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.exits import OK
from tarsd.cli.language import texts_for
from tarsd.cli.members_view import Cell, Line, happening, screen, why
from tarsd.cli.terminal import styled
from tarsd.cli.watch_words import WatchWords, watch_words
from tarsd.errors import NotAllowed, TarsdError

AGAIN_S = 0.5
SILENT_S = 3.0  # a line comes each second
_DATE = "%Y-%m-%d %H:%M:%S"


class View(Protocol):
    """Where what is watched goes; entered while it is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Mapping[str, Any]) -> None:
        """Take what the node told."""
        ...

    def lost(self, reason: str) -> None:
        """The node went away and is being tried again."""
        ...

    def passed(self) -> None:
        """Time passed, or the terminal has another size."""
        ...


def watch(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_watch(args, view_for(args)))
    return OK


def view_for(args: argparse.Namespace) -> View:
    """Return the view that fits the arguments and what standard output is."""
    if args.json:
        return JsonView()
    words = watch_words(texts_for(args.lang).code)
    return LiveView(words, addresses=args.addresses) if sys.stdout.isatty() else LogView(words)


async def _watch(args: argparse.Namespace, view: View) -> None:
    loop, own = asyncio.get_running_loop(), asyncio.current_task()
    assert own is not None
    with view:
        ticking = asyncio.create_task(_tick(view))
        try:
            loop.add_signal_handler(signal.SIGWINCH, view.passed)
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, own.cancel)
            await _follow(args, view)
        finally:
            ticking.cancel()


async def _tick(view: View) -> None:
    while True:
        await asyncio.sleep(1.0)
        view.passed()


async def _follow(args: argparse.Namespace, view: View) -> None:
    seen = False
    while True:
        try:
            # the target is found anew: a restarted node may have another port and another token
            async with _snapshots(args) as snapshots:
                async for snapshot in snapshots:
                    seen = True
                    view.show(snapshot)
            reason = "it is stopping"
        except NotAllowed:
            raise
        except TarsdError as error:
            if not seen:
                raise
            reason = str(error)
        view.lost(reason)
        await asyncio.sleep(AGAIN_S)


@asynccontextmanager
async def _snapshots(args: argparse.Namespace) -> AsyncGenerator[AsyncIterator[dict[str, Any]], None]:
    async with ApiClient(target_of(args)) as client, aclosing(_lines(client)) as lines:
        yield lines


def _lines(client: ApiClient) -> AsyncGenerator[dict[str, Any], None]:
    return client.lines("GET", "/api/members", params={"watch": 1})


class JsonView:
    """One line of JSON for each line of the node."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left behind."""

    def show(self, snapshot: Mapping[str, Any]) -> None:
        """Print it."""
        print(msgspec.json.encode(snapshot).decode(), flush=True)

    def lost(self, reason: str) -> None:
        """Say so beside the output, which belongs to a program."""
        print(f"tarsd: {reason}", file=sys.stderr, flush=True)

    def passed(self) -> None:
        """Lines do not age."""


class LogView:
    """One line for each change: first everybody as they are, then what happens."""

    def __init__(self, words: WatchWords) -> None:
        self._words = words
        self._told: set[tuple[int, float]] | None = None
        self._is_lost = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left behind."""

    def show(self, snapshot: Mapping[str, Any]) -> None:
        """Print what was not printed yet."""
        happenings = snapshot.get("happenings", [])
        if self._is_lost:
            self._say(self._words.again)
        if self._told is None:
            self._told = {_key(one) for one in happenings}
            for member in snapshot["members"]:
                state = self._words.states.get(member["state"], member["state"])
                self._say(f"{member['name']}  {state}  {why(member, self._words)}")
        for one in happenings:
            if _key(one) not in self._told:
                print(_plain(happening(one, self._words, _DATE)), flush=True)
        # A node that started again counts from 1; its clock tells those numbers from the former ones.
        self._told = {_key(one) for one in happenings}
        self._is_lost = False

    def lost(self, reason: str) -> None:
        """Say so, once."""
        if not self._is_lost:
            self._say(self._words.lost.format(reason=reason))
        self._is_lost = True

    def passed(self) -> None:
        """Lines do not age."""

    def _say(self, text: str) -> None:
        print(f"{time.strftime(_DATE)}  {text}".rstrip(), flush=True)


def _key(told: Mapping[str, Any]) -> tuple[int, float]:
    return told["number"], told["at"]


def _plain(line: Line) -> str:
    return "".join(cell.text for cell in line).rstrip()


class LiveView:
    """One screen on a terminal, written over without flicker, in the terminal's second buffer."""

    # second buffer, no cursor, no wrapping; and back
    _ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H\x1b[2J", "\x1b[?7h\x1b[?25h\x1b[?1049l"

    def __init__(self, words: WatchWords, *, addresses: bool = False, stream: TextIO | None = None) -> None:
        self._words = words
        self._addresses = addresses
        self._stream = stream or sys.stdout
        self._snapshot: Mapping[str, Any] | None = None
        self._heard_at = 0.0
        self._reason = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._snapshot is not None:
            self._write(self._LEAVE)
            # what was seen last stays for the eye, as any command's output does
            self._write("\n".join(self._text(line) for line in self._lines(height=40)) + "\n")

    def show(self, snapshot: Mapping[str, Any]) -> None:
        """Draw it."""
        if self._snapshot is None:
            self._write(self._ENTER)
        self._snapshot, self._heard_at, self._reason = snapshot, time.monotonic(), ""
        self._draw()

    def lost(self, reason: str) -> None:
        """Say so above the last that was seen."""
        self._reason = self._words.lost.format(reason=reason)
        self._draw()

    def passed(self) -> None:
        """Draw again where that shows anything new: a node that fell silent, another size."""
        self._draw()

    def _draw(self) -> None:
        if self._snapshot is None:
            return
        lines = self._lines(self._size().lines)
        # Each line is cleared behind its text, and the rest below: no blank screen in between.
        self._write("\x1b[H" + "\x1b[K\r\n".join(self._text(line) for line in lines) + "\x1b[K\x1b[J")

    def _lines(self, height: int) -> list[Line]:
        assert self._snapshot is not None
        return screen(self._snapshot, self._words, height=height, addresses=self._addresses, trouble=self._trouble())

    def _trouble(self) -> str:
        silent_s = time.monotonic() - self._heard_at
        if self._reason or silent_s < SILENT_S or self._snapshot is None:
            return self._reason
        return self._words.silent.format(node=self._snapshot["node"], seconds=silent_s)

    def _text(self, line: Line) -> str:
        room = self._size().columns
        parts = []
        for cell in line:
            text = _cut(cell, room)
            room -= len(text)
            parts.append(styled(text, cell.style, self._stream) if cell.style and text.strip() else text)
        return "".join(parts).rstrip()

    def _size(self) -> os.terminal_size:
        """Ask the terminal itself: COLUMNS and LINES of the environment do not follow a new size."""
        try:
            return os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            return os.terminal_size((120, 40))

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _cut(cell: Cell, room: int) -> str:
    if len(cell.text.rstrip()) <= room:
        return cell.text[: max(room, 0)]
    return cell.text[: room - 1] + "…" if room > 0 else ""
