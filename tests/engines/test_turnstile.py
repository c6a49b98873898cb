from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines import turnstile
from tarsd.engines.turnstile import Ticket, Turnstile, expected_wait_s
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
    assert (await anext(waiting)).position == 2
    gate.leave(first)
    assert (await anext(waiting)).position == 1
    gate.leave(second)
    assert [place async for place in waiting] == []
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


async def test_so_many_are_in_at_a_time_and_the_next_comes_in_when_any_leaves() -> None:
    gate = Turnstile(5, at_once=3)
    tickets = [gate.take(urgent=True) for _ in range(5)]
    assert [ticket.position for ticket in tickets] == [0, 0, 0, 1, 2]
    gate.leave(tickets[1])
    assert [ticket.position for ticket in tickets[3:]] == [0, 1]
    assert (gate.running, gate.queued) == (3, 1)


async def test_background_work_comes_in_alone_and_only_while_nobody_is_there() -> None:
    gate = Turnstile(5, at_once=3)
    first, second = gate.take(urgent=False), gate.take(urgent=False)
    assert (first.position, second.position) == (0, 1)
    person = gate.take(urgent=True)
    assert person.position == 0
    assert first.wanted.is_set()
    gate.leave(first)
    assert second.position == 1
    gate.leave(person)
    assert second.position == 0
    assert not second.wanted.is_set()


async def test_a_person_goes_past_background_work_that_waits() -> None:
    gate = Turnstile(1, at_once=2)
    gate.take(urgent=True)
    waiting = gate.take(urgent=False)
    assert gate.take(urgent=True).position == 0
    assert waiting.position == 1


async def test_more_places_let_those_in_who_wait() -> None:
    gate = Turnstile(5)
    tickets = [gate.take(urgent=True) for _ in range(4)]
    gate.widen(3)
    assert [ticket.position for ticket in tickets] == [0, 0, 0, 1]
    gate.widen(1)
    gate.leave(tickets[0])
    assert (gate.running, tickets[3].position) == (2, 1)


async def test_the_place_is_told_again_though_nothing_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turnstile, "RETELL_S", 0.01)
    gate = Turnstile(5)
    gate.take(urgent=True)
    ticket = gate.take(urgent=True)
    waiting = gate.wait(ticket, later())
    assert [(await anext(waiting)).position for _ in range(3)] == [1, 1, 1]


async def test_the_wait_that_is_told_follows_how_long_others_stayed() -> None:
    gate = Turnstile(5)
    loop = asyncio.get_running_loop()
    ticket = gate.take(urgent=True)
    ticket.entered_at = loop.time() - 20  # it was in for 20 s
    gate.leave(ticket)
    gate.take(urgent=True)
    place = await anext(gate.wait(gate.take(urgent=True), later()))
    assert place.wait_s == pytest.approx(20, abs=1)
    place = await anext(gate.wait(gate.take(urgent=True), later()))
    assert place.wait_s == pytest.approx(40, abs=1)


async def test_background_work_that_stepped_back_says_nothing_about_how_long_one_stays() -> None:
    gate = Turnstile(5)
    ticket = gate.take(urgent=True)
    ticket.entered_at -= 10
    gate.leave(ticket)
    short = gate.take(urgent=False)
    person = gate.take(urgent=True)
    gate.leave(short)
    assert person.position == 0
    place = await anext(gate.wait(gate.take(urgent=True), later()))
    assert place.wait_s == pytest.approx(10, abs=1)


@given(
    stayed=st.lists(st.floats(0, 100), max_size=8),
    usual=st.floats(0.1, 100),
    more=st.integers(0, 4),
    position=st.integers(1, 40),
)
def test_who_is_further_back_never_expects_less(stayed: list[float], usual: float, more: int, position: int) -> None:
    at_once = max(1, len(stayed) + more)
    here = expected_wait_s(stayed, usual, at_once, position)
    assert here >= 0
    assert expected_wait_s(stayed, usual, at_once, position + 1) >= here
    assert expected_wait_s(stayed, usual, at_once + 1, position) <= here
    assert here <= usual * position + 0.5
