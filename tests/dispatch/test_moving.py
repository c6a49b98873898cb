"""Calls that wait in a queue while another node is free: when they go there, who goes first, and what it costs."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ChatItem
from tarsd.dispatch import Dispatch
from tarsd.dispatch.budget import Budget
from tarsd.dispatch.dispatch import LOOK_AFTER_S
from tarsd.gossip.member import Load
from tarsd.names import ConversationId, TraceId
from tests.dispatch.test_dispatch import ScriptedClient, ScriptedMembership
from tests.dispatch.test_hedging import CHAT, TALK, Never, Stuck, all_of, asked, soon, text
from tests.test_routing import member

BUSY = Load(running=1, queued=9)


@pytest.fixture(autouse=True)
def _never_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moves here moves because a place got free, not because time went by."""
    monkeypatch.setattr("tarsd.dispatch.dispatch.HEDGE_CHAT_LEAST_S", 60.0)
    monkeypatch.setattr("tarsd.dispatch.dispatch.HEDGE_CHAT_MOST_S", 60.0)


def build(scripts: dict[str, Any], loads: dict[str, Load], **speeds: float) -> tuple[Dispatch, ScriptedClient]:
    """Nodes of which `a` is everybody's home; the budget is spent: a move must not need it."""
    members = [
        member(name, capabilities={calls.CHAT.name: {"speed": speeds.get(name, 50.0)}}, load=loads.get(name, Load()))
        for name in scripts
    ]
    client = ScriptedClient({m.node: scripts[m.name] for m in members})
    dispatch = Dispatch(ScriptedMembership(*members), client, {})
    dispatch.budget = Never(0.0)
    dispatch.observations.answered(TALK, members[0].node, dispatch.now())
    return dispatch, client


def told(items: list[ChatItem]) -> str:
    return "".join(item.text for item in items)


async def test_a_call_that_is_told_its_place_goes_to_a_node_that_is_free_and_costs_no_budget() -> None:
    first = Stuck(ChatItem(queue_position=2))
    dispatch, client = build({"a": first, "b": text("yes")}, {})
    got = await asyncio.wait_for(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)), 30)
    assert (told(got), asked(client)) == ("yes", "ab")
    assert first.closed.is_set()  # it gave its place up
    assert not dispatch.waiting


async def test_a_call_that_has_no_place_yet_is_not_moved() -> None:
    first = Stuck(then=(ChatItem("late", finish_reason="stop"),))
    dispatch, client = build({"a": first, "b": text("b")}, {})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)))
    dispatch.budget = Budget(dispatch.now())
    await soon(first.asked)
    dispatch.look_for_free()
    await asyncio.sleep(3 * LOOK_AFTER_S)
    first.go_on.set()
    assert (told(await asking), asked(client)) == ("late", "a")


async def test_a_call_stays_in_the_queue_of_a_fast_node_where_the_free_one_would_take_longer() -> None:
    first = Stuck(ChatItem(queue_position=1), then=(ChatItem("fast", finish_reason="stop"),))
    dispatch, client = build({"a": first, "b": text("slow")}, {}, a=100.0, b=40.0)
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)))
    await soon(first.asked)
    await asyncio.sleep(3 * LOOK_AFTER_S)
    first.go_on.set()
    assert (told(await asking), asked(client)) == ("fast", "a")


async def test_the_place_is_kept_until_the_free_one_begins() -> None:
    first = Stuck(ChatItem(queue_position=1), then=(ChatItem("late", finish_reason="stop"),))
    second = Stuck()
    dispatch, client = build({"a": first, "b": second}, {})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)))
    await soon(second.asked)
    assert not first.closed.is_set()
    first.go_on.set()
    assert (told(await asking), asked(client)) == ("late", "ab")
    assert second.closed.is_set()


class Queue:
    """A node where everybody waits at a place of its own."""

    def __init__(self) -> None:
        self.waiting = 0
        self.all_wait = asyncio.Event()

    async def __call__(self, headers: calls.Headers) -> AsyncGenerator[Any, None]:
        self.waiting += 1
        if self.waiting == 3:
            self.all_wait.set()
        yield ChatItem(queue_position=self.waiting)
        await asyncio.Event().wait()


class Answering:
    """A node whose answers end when they are let; tells who was asked."""

    def __init__(self) -> None:
        self.at_once = 0
        self.most_at_once = 0
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Semaphore(0)

    async def __call__(self, headers: calls.Headers) -> AsyncGenerator[Any, None]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked.put_nowait(headers.trace)
        try:
            yield ChatItem(f"to {headers.trace}")
            await self.go_on.acquire()
            yield ChatItem(finish_reason="stop")
        finally:
            self.at_once -= 1


async def test_a_place_that_gets_free_is_taken_by_one_call_the_one_that_was_asked_first() -> None:
    queue, slot = Queue(), Answering()
    dispatch, _ = build({"a": queue, "b": slot}, {"b": BUSY})
    asking = [
        asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK, trace=TraceId(n))))
        for n in ("1", "2", "3")
    ]
    await soon(queue.all_wait)
    assert slot.asked.empty()
    _now_free(dispatch)
    for n in ("1", "2", "3"):
        assert await asyncio.wait_for(slot.asked.get(), 30) == n
        slot.go_on.release()
    assert [told(await one) for one in asking] == ["to 1", "to 2", "to 3"]
    assert slot.most_at_once == 1


async def test_as_many_calls_go_as_there_are_free_places_before_the_first_of_them_begins() -> None:
    moved: asyncio.Queue[str] = asyncio.Queue()

    async def reads_the_prompt(headers: calls.Headers) -> AsyncGenerator[Any, None]:
        moved.put_nowait(headers.trace)
        await asyncio.Event().wait()
        yield

    queue = Queue()
    dispatch, _ = build({"a": queue, "b": reads_the_prompt}, {"b": BUSY})
    asking = [asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK))) for _ in range(3)]
    await soon(queue.all_wait)
    _now_free(dispatch, slots=2)
    for _ in range(2):
        await asyncio.wait_for(moved.get(), 30)
    await asyncio.sleep(3 * LOOK_AFTER_S)
    assert moved.empty()
    for one in asking:
        one.cancel()
    await asyncio.wait(asking)


def _now_free(dispatch: Dispatch, slots: int = 1) -> None:
    membership: Any = dispatch._membership
    membership.change(lambda m: msgspec.structs.replace(m, load=Load(slots=slots)))
    dispatch.look_for_free()


async def test_background_work_keeps_its_place() -> None:
    first = Stuck(ChatItem(queue_position=1), then=(ChatItem("late", finish_reason="stop"),))
    dispatch, client = build({"a": first, "b": text("b")}, {})
    request = msgspec.structs.replace(CHAT, background=True, conversation=ConversationId("x"))
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, request, conversation=TALK)))
    await soon(first.asked)
    dispatch.look_for_free()
    await asyncio.sleep(3 * LOOK_AFTER_S)
    first.go_on.set()
    assert (told(await asking), asked(client)) == ("late", "a")
