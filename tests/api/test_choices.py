"""Several answers at the same time: their pieces by number, and all of them ended with the first that fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from tarsd.api.choices import Choice, together, wholes_of
from tarsd.api.inference import Piece
from tarsd.calls import Usage
from tarsd.errors import PeerLost, Unavailable

END = Piece("", finish_reason="stop", usage=Usage(1, 2))


class Answer:
    """Yields its pieces; then waits for ever if it hangs. Knows whether it was closed."""

    def __init__(self, *pieces, hangs=False):
        self._pieces = pieces
        self._hangs = hangs
        self.taken = 0
        self.closed = asyncio.Event()

    async def pieces(self):
        try:
            for piece in self._pieces:
                if isinstance(piece, Exception):
                    raise piece
                self.taken += 1
                yield piece
            if self._hangs:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_pieces_of_each_answer_keep_their_order_and_number():
    answers = [Answer(Piece("a"), Piece("b"), END), Answer(Piece("c"), END)]
    found = [choice async for choice in together([answer.pieces() for answer in answers])]
    assert [choice.piece.text for choice in found if choice.number == 0] == ["a", "b", ""]
    assert [choice.piece.text for choice in found if choice.number == 1] == ["c", ""]


async def test_a_slow_answer_does_not_hold_the_other_one_up():
    slow, quick = Answer(hangs=True), Answer(Piece("a"), END)
    async with aclosing(together([slow.pieces(), quick.pieces()])) as found:
        assert await anext(found) == Choice(1, Piece("a"))
    assert slow.closed.is_set()


async def test_the_first_that_fails_ends_all():
    bad, good = Answer(Piece("a"), PeerLost("pc2 went away")), Answer(Piece("b"), hangs=True)
    with pytest.raises(PeerLost, match="pc2 went away"):
        await wholes_of([bad.pieces(), good.pieces()])
    assert good.closed.is_set()


async def test_who_reads_slowly_holds_the_answers_back():
    talker = Answer(*(Piece("x") for _ in range(1000)))
    async with aclosing(together([talker.pieces(), Answer(hangs=True).pieces()])) as found:
        await anext(found)
        for _ in range(50):
            await asyncio.sleep(0)
        assert talker.taken < 200
    assert talker.closed.is_set()


@pytest.mark.parametrize("number", [1, 2])
async def test_an_answer_without_its_last_part_is_no_answer(number):
    answers = [Answer(Piece("a"), END).pieces() for _ in range(number - 1)]
    with pytest.raises(Unavailable, match="without its last part"):
        await wholes_of([*answers, Answer(Piece("a")).pieces()])
