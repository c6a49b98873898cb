from __future__ import annotations

import asyncio
import contextlib

import pytest

from tarsd.gossip.metronome import BUSY_TICK_S, IDLE_TICK_S, TICK_S, Metronome

pytestmark = pytest.mark.looptime


class Core:
    """As much of the membership core as says when something is due."""

    def __init__(self, due_in_s: float = 1.0, *, is_busy: bool = False) -> None:
        self.due_in_s, self.is_busy = due_in_s, is_busy
        self.asked = 0

    def due(self, now: float) -> float:
        self.asked += 1
        return now + self.due_in_s


async def waited(metronome: Metronome) -> float:
    before = asyncio.get_running_loop().time()
    await metronome.next()
    return asyncio.get_running_loop().time() - before


@pytest.mark.parametrize(
    ("core", "after_s"),
    [
        (Core(0.07), 0.07),
        (Core(0.0), TICK_S),
        (Core(-1.0), TICK_S),
        (Core(60.0), IDLE_TICK_S),
        (Core(60.0, is_busy=True), BUSY_TICK_S),
    ],
)
async def test_the_core_is_asked_when_something_is_due_but_neither_too_often_nor_too_late(
    core: Core, after_s: float
) -> None:
    assert await waited(Metronome(core)) == pytest.approx(after_s)


async def test_what_arrives_shortens_the_wait() -> None:
    core = Core(60.0)
    metronome = Metronome(core)
    asyncio.get_running_loop().call_later(0.01, lambda: (setattr(core, "due_in_s", 0.0), metronome.hurry()))
    assert await waited(metronome) == pytest.approx(0.01 + TICK_S)
    core.due_in_s = 60.0
    asyncio.get_running_loop().call_later(0.01, metronome.hurry)
    assert await waited(metronome) == pytest.approx(IDLE_TICK_S), "nothing was due earlier"


async def test_hurry_asks_nothing_when_the_next_tick_is_near_or_nobody_waits() -> None:
    core = Core(0.0)
    metronome = Metronome(core)
    metronome.hurry()
    assert core.asked == 0
    asyncio.get_running_loop().call_later(0.01, metronome.hurry)
    await metronome.next()
    assert core.asked == 1


async def test_cancelling_leaves_no_timer() -> None:
    metronome = Metronome(Core())
    waiting = asyncio.create_task(metronome.next())
    await asyncio.sleep(0.01)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    assert metronome._timer is None
    metronome.hurry()
