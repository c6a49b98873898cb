"""Several answers to one request, generated at the same time: what each yields comes with its number.

One that fails fails all of them: a client asked for so many and cannot take fewer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from tarsd.api.inference import Piece, Whole

_AHEAD = 64  # pieces that wait for a slow reader, of all answers together


class Choice(NamedTuple):
    """A piece of the answer with this number."""

    number: int
    piece: Piece


class _Ended(NamedTuple):
    error: Exception | None


Answers = Sequence[AsyncGenerator[Piece, None]]


async def together(answers: Answers) -> AsyncGenerator[Choice, None]:
    """Yield the pieces of all answers as they come; raises what the first that fails raises. Closing it ends all."""
    if len(answers) == 1:
        async with aclosing(answers[0]) as pieces:
            async for piece in pieces:
                yield Choice(0, piece)
        return
    found: asyncio.Queue[Choice | _Ended] = asyncio.Queue(_AHEAD)
    tasks = [asyncio.create_task(_follow(number, pieces, found)) for number, pieces in enumerate(answers)]
    try:
        running = len(tasks)
        while running:
            match await found.get():
                case _Ended(None):
                    running -= 1
                case _Ended(Exception() as error):
                    raise error
                case Choice() as choice:
                    yield choice
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(number: int, pieces: AsyncGenerator[Piece, None], found: asyncio.Queue[Choice | _Ended]) -> None:
    error: Exception | None = None
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                await found.put(Choice(number, piece))
    except Exception as raised:  # it is raised again where the pieces are read
        error = raised
    await found.put(_Ended(error))


async def wholes_of(answers: Answers) -> list[Whole]:
    """Return all answers whole, in order; raises what any of them raises, and `Unavailable` for one that was cut."""
    wholes = [Whole() for _ in answers]
    async with aclosing(together(answers)) as choices:
        async for choice in choices:
            wholes[choice.number].take(choice.piece)
    for whole in wholes:
        whole.check()
    return wholes
