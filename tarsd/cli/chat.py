"""`tarsd chat`: a conversation in the terminal.

The terminal is read in the main thread, where Ctrl-C arrives; the connection lives on a loop in a thread of its own, so
that it is kept alive while the person thinks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import aiohttp

from tarsd.api.messages import Ask
from tarsd.api.session import new_conversation
from tarsd.cli import exits
from tarsd.cli.answers import Printer, converse, stop
from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.language import Texts, texts_for
from tarsd.cli.terminal import styled
from tarsd.errors import TarsdError

MAX_UNREAD = 256  # messages that wait for the printer; beyond it the node waits for us
STOP_S = 5.0  # given to a node to say that it stopped

T = TypeVar("T")


class KeptLine:
    """A connection that is read all the time: pings are answered, and a close is noticed, while nobody asks."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[aiohttp.WSMessage | None] = asyncio.Queue(MAX_UNREAD)
        self._reading = asyncio.create_task(self._read())

    @property
    def closed(self) -> bool:
        """Whether nothing more will come."""
        return self._reading.done()

    async def send_str(self, data: str) -> None:
        """Send a message."""
        await self._socket.send_str(data)

    async def __aiter__(self) -> AsyncGenerator[aiohttp.WSMessage, None]:
        while (message := await self._queue.get()) is not None:
            yield message

    async def _read(self) -> None:
        async for message in self._socket:
            await self._queue.put(message)
        await self._queue.put(None)

    async def close(self) -> None:
        """Stop reading."""
        self._reading.cancel()
        await asyncio.wait({self._reading})


class Chat:
    """The connection of a chat; opened again when it was lost."""

    def __init__(self, client: ApiClient, texts: Texts, conversation: str, *, as_json: bool) -> None:
        self._client = client
        self._texts = texts
        self._as_json = as_json
        self._stack = AsyncExitStack()
        self._line: KeptLine | None = None
        self.conversation = conversation

    async def open(self) -> KeptLine:
        """Connect, unless that is done."""
        if self._line is None or self._line.closed:
            await self.close()
            self._line = KeptLine(await self._stack.enter_async_context(self._client.chat()))
        return self._line

    async def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            await self._line.close()
        await self._stack.aclose()
        self._line = None

    async def ask(self, text: str) -> int:
        """Ask and print; return the answer's exit code."""
        question = Ask(text=text, conversation=self.conversation, language=self._texts.code)
        return await converse(await self.open(), question, Printer(self._texts, as_json=self._as_json))

    async def stop(self) -> None:
        """End the running answer."""
        if self._line is not None:
            await stop(self._line)


class _Loop:
    """An event loop in a thread: `do` runs a coroutine there and waits for it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work`; a Ctrl-C while waiting leaves it running."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        """End the loop."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@contextlib.contextmanager
def _running_loop() -> Generator[_Loop, None, None]:
    loop = _Loop()
    try:
        yield loop
    finally:
        loop.close()


def chat(args: argparse.Namespace) -> int:
    """Talk until the person ends it."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives `input` line editing and history
    texts = texts_for(args.lang)
    target = target_of(args)
    with _running_loop() as loop:
        client = loop.do(ApiClient(target).__aenter__())
        connection = Chat(client, texts, args.conversation or new_conversation(), as_json=args.json)
        try:
            loop.do(connection.open())
            if not args.json:
                print(styled(texts.chat_welcome.format(node=target.url), "dim"))
            return _talk(loop, connection, texts)
        finally:
            loop.do(connection.close())
            loop.do(client.__aexit__(None, None, None))


def _talk(loop: _Loop, connection: Chat, texts: Texts) -> int:
    while True:
        try:
            text = input(styled("› ", "cyan")).strip()
        except EOFError:
            print(texts.chat_bye)
            return exits.OK
        except KeyboardInterrupt:
            print()
            continue  # as in a shell: the line is dropped, the chat stays
        match text:
            case "":
                continue
            case "/quit" | "/exit":
                return exits.OK
            case "/new":
                connection.conversation = new_conversation()
                print(styled(texts.chat_new, "dim"))
            case "/help":
                print(texts.chat_help)
            case _:
                _answer(loop, connection, text, texts)


def _answer(loop: _Loop, connection: Chat, text: str, texts: Texts) -> None:
    answering = asyncio.run_coroutine_threadsafe(connection.ask(text), loop.loop)
    try:
        answering.result()
    except KeyboardInterrupt:
        loop.do(connection.stop())
        try:
            answering.result(timeout=STOP_S)
        except (TimeoutError, KeyboardInterrupt):
            answering.cancel()
            loop.do(connection.close())
    except TarsdError as error:
        print(styled(texts.chat_lost.format(reason=error), "red"))
