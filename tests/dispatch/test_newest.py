"""Two streams of the same thing, rule by rule."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tarsd.dispatch.newest import Newest
from tarsd.errors import Superseded


class Source:
    """Gives 0, 1, 2 and then waits for ever; knows whether it was closed."""

    def __init__(self, items: int = 3) -> None:
        self._items = items
        self.is_closed = False

    async def run(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self._items):
                yield number
            await asyncio.Event().wait()
        finally:
            self.is_closed = True


async def rest(stream: AsyncGenerator[int, None]) -> list[int]:
    return [item async for item in stream]


@pytest.mark.parametrize("waits", [True, False], ids=["waits for its source", "waits for its reader"])
async def test_the_older_one_is_closed_before_the_newer_begins_and_its_reader_is_told(waits: bool) -> None:
    newest: Newest[int] = Newest()
    older, newer = Source(items=1), Source()
    stream = newest.give("k", older.run())
    assert await anext(stream) == 0
    reading = asyncio.ensure_future(rest(stream)) if waits else None
    await asyncio.sleep(0)
    second = newest.give("k", newer.run())
    assert await anext(second) == 0
    assert older.is_closed
    with pytest.raises(Superseded):
        await (reading or asyncio.ensure_future(rest(stream)))
    assert await anext(second) == 1
    assert len(newest) == 1
    await second.aclose()
    assert newer.is_closed
    assert len(newest) == 0


async def test_of_three_only_the_last_one_stays() -> None:
    newest: Newest[int] = Newest()
    streams = [newest.give("k", Source().run()) for _ in range(3)]
    assert [await anext(stream) for stream in streams] == [0, 0, 0]
    for stream in streams[:2]:
        with pytest.raises(Superseded):
            await anext(stream)
    assert await anext(streams[2]) == 1
    await streams[2].aclose()


async def test_other_keys_and_no_key_are_left_alone() -> None:
    newest: Newest[int] = Newest()
    streams = [newest.give(key, Source().run()) for key in ("a", "b", "", "")]
    for _ in range(2):
        for stream in streams:
            await anext(stream)
    assert len(newest) == 2
    for stream in streams:
        await stream.aclose()


async def test_a_source_that_ends_or_fails_is_passed_on_as_it_is() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise TimeoutError("its own")

    newest: Newest[int] = Newest()
    stream = newest.give("k", broken())
    assert await anext(stream) == 1
    with pytest.raises(TimeoutError, match="its own"):
        await anext(stream)
    assert len(newest) == 0


async def test_an_older_one_that_its_own_reader_is_closing_is_waited_for() -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    async def slow_to_close() -> AsyncGenerator[int, None]:
        try:
            yield 0
        finally:
            closing.set()
            await may_close.wait()

    newest: Newest[int] = Newest()
    older = newest.give("k", slow_to_close())
    assert await anext(older) == 0
    leaving = asyncio.ensure_future(older.aclose())
    await closing.wait()
    newer = newest.give("k", Source().run())
    beginning = asyncio.ensure_future(anext(newer))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not beginning.done()
    may_close.set()
    assert await beginning == 0
    await asyncio.wait({leaving})
    await newer.aclose()
