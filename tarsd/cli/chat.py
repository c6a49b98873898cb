"""`tarsd chat`: a conversation in the terminal.

The terminal is read in the main thread, where Ctrl-C arrives; the talk lives on a loop in a thread of its own, so that
its connection is kept alive while the person thinks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from tarsd.api.session import new_conversation
from tarsd.cli import exits
from tarsd.cli.answers import Printer, print_answer
from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.language import Texts, texts_for
from tarsd.cli.talk import Talk
from tarsd.cli.terminal import styled
from tarsd.errors import TarsdError

STOP_S = 5.0  # given to a node to say that it stopped

T = TypeVar("T")


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
        talk = loop.do(_talk_with(client, args, texts))
        try:
            loop.do(talk.open())
            if not args.json:
                print(styled(texts.chat_welcome.format(node=target.url), "dim"))
                if args.temporary:
                    print(styled(texts.chat_temporary, "yellow"))
            return _converse(loop, talk, texts, as_json=args.json)
        finally:
            loop.do(talk.close())
            loop.do(client.__aexit__(None, None, None))


async def _talk_with(client: ApiClient, args: argparse.Namespace, texts: Texts) -> Talk:
    return client.talk(
        conversation=args.conversation or new_conversation(),
        language=texts.code,
        project=args.project,
        temporary=args.temporary,
    )


def _converse(loop: _Loop, talk: Talk, texts: Texts, *, as_json: bool) -> int:
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
                talk.begin(new_conversation())
                print(styled(texts.chat_new, "dim"))
            case "/help":
                print(texts.chat_help)
            case _:
                _answer(loop, talk, text, Printer(texts, as_json=as_json), texts)


def _answer(loop: _Loop, talk: Talk, text: str, printer: Printer, texts: Texts) -> None:
    answering = asyncio.run_coroutine_threadsafe(print_answer(talk.ask(text), printer), loop.loop)
    try:
        answering.result()
    except KeyboardInterrupt:
        loop.do(talk.stop())
        try:
            answering.result(timeout=STOP_S)
        except (TimeoutError, KeyboardInterrupt):
            answering.cancel()
            loop.do(talk.close())
    except TarsdError as error:
        print(styled(texts.chat_lost.format(reason=error), "red"))
