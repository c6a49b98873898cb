from __future__ import annotations

import asyncio

import pytest

from tarsd.engines.turnstile import Ticket, Turnstile
from tarsd.errors import DeadlineExceeded, Overloaded


def later(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_one_is_in_and_the_urgent_go_before_the_others() -> None:
    gate = Turnstile(5)
    inside = gate.take(urgent=False)
    slow = [gate.take(urgent=False) for _ in range(2)]
    fast = [gate.take(urgent=True) for _ in range(2)]
    assert inside.position == 0
    assert [ticket.position for ticket in (*fast, *slow)] == [1, 2, 3, 4]
    order: list[Ticket] = [inside]
    for _ in range(4):
        gate.leave(order[-1])
        order.append(next(ticket for ticket in (*fast, *slow) if ticket.position == 0 and ticket not in order))
    assert order[1:] == [*fast, *slow]
    gate.leave(order[-1])
    assert (gate.queued, gate.running) == (0, 0)


async def test_beyond_the_bound_it_is_overloaded_and_says_when_to_come_again() -> None:
    gate = Turnstile(2)
    for _ in range(3):
        gate.take(urgent=False)
    with pytest.raises(Overloaded) as caught:
        gate.take(urgent=True)
    assert caught.value.retry_after_s == 2.0
    assert gate.queued == 2


async def test_who_waits_sees_each_position_and_comes_in() -> None:
    gate = Turnstile(5)
    first, second, third = (gate.take(urgent=True) for _ in range(3))
    waiting = gate.wait(third, later())
    assert await anext(waiting) == 2
    gate.leave(first)
    assert await anext(waiting) == 1
    gate.leave(second)
    assert [position async for position in waiting] == []
    assert third.position == 0


async def test_who_gives_up_leaves_no_hole() -> None:
    gate = Turnstile(5)
    first, second, third = (gate.take(urgent=True) for _ in range(3))
    gate.leave(second)
    assert third.position == 1
    gate.leave(first)
    assert third.position == 0


async def test_a_turn_that_does_not_come_in_time_is_given_back() -> None:
    gate = Turnstile(5)
    gate.take(urgent=True)
    with pytest.raises(DeadlineExceeded):
        async with gate.turn(urgent=True, deadline=later(0.02)):
            pass
    assert gate.queued == 0


async def test_a_cancelled_wait_gives_its_place_back() -> None:
    gate = Turnstile(5)
    inside = gate.take(urgent=True)

    async def wait() -> None:
        async with gate.turn(urgent=True, deadline=later()):
            pass

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert gate.queued == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert gate.queued == 0
    gate.leave(inside)
    assert gate.running == 0
