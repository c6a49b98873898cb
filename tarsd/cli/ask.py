"""`tarsd ask`: one question, one answer."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tarsd.cli.answers import Printer, print_answer
from tarsd.cli.client import ApiClient, target_of
from tarsd.cli.language import Texts, texts_for
from tarsd.cli.talk import Talk
from tarsd.errors import InvalidInput
from tarsd.host.events import MAX_QUESTION_CHARACTERS


def ask(args: argparse.Namespace) -> int:
    """Ask the question in the arguments, or on standard input."""
    text = " ".join(args.text) or ("" if sys.stdin.isatty() else sys.stdin.read(MAX_QUESTION_CHARACTERS + 1))
    if not text.strip():
        raise InvalidInput('there is no question: tarsd ask "…"')
    return asyncio.run(_ask(args, text.strip(), texts_for(args.lang)))


async def _ask(args: argparse.Namespace, text: str, texts: Texts) -> int:
    async with ApiClient(target_of(args)) as client:
        talk = client.talk(
            conversation=args.conversation, language=texts.code, project=args.project, temporary=args.temporary
        )
        try:
            return await _answered(talk, text, Printer(texts, as_json=args.json))
        finally:
            await talk.close()


async def _answered(talk: Talk, text: str, printer: Printer) -> int:
    answering = asyncio.create_task(print_answer(talk.ask(text), printer))
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > 1:
            answering.cancel()  # the node does not answer: leave without its word
        else:
            stopping.append(asyncio.ensure_future(talk.stop()))

    stopping: list[asyncio.Future[None]] = []
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
    try:
        return await answering
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        await asyncio.gather(*stopping, return_exceptions=True)
