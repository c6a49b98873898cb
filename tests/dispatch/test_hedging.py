"""Calls that are asked twice: when, whom, who wins, and what it may cost."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ChatItem, RecallItem, RecallRequest
from tarsd.dispatch import Dispatch
from tarsd.dispatch.attempt import QUEUE_ITEMS
from tarsd.dispatch.budget import Budget
from tarsd.errors import DeadlineExceeded, InvalidInput, Overloaded, PeerLost, Unavailable
from tarsd.gossip.member import Load, State
from tarsd.names import ConversationId
from tests.dispatch.test_dispatch import Script, ScriptedClient, ScriptedMembership, answers, fails
from tests.test_routing import member

ASK = RecallRequest(ConversationId("c"))
CHAT = calls.ChatRequest([calls.Message("user", "hi")])
TALK = ConversationId("k")
CAPABILITIES = {calls.RECALL.name: {}, calls.CHAT.name: {}, calls.REMEMBER.name: {}, calls.EMBED.name: {}}


class Stuck:
    """A script that yields `first`, then waits until it is let go on; notes whether it was closed before."""

    def __init__(self, *first: Any, then: tuple[Any, ...] = (RecallItem("late"),)) -> None:
        self._first = first
        self._then = then
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()

    async def __call__(self, headers: calls.Headers) -> AsyncGenerator[Any, None]:
        self.asked.set()
        try:
            for item in self._first:
                yield item
            await self.go_on.wait()
            for item in self._then:
                yield item
        finally:
            self.closed.set()


class Never(Budget):
    """A budget that is spent."""

    def take(self, now: float, *, urgent: bool) -> bool:
        return False


def text(*words: str) -> Script:
    async def script(headers: calls.Headers) -> AsyncGenerator[Any, None]:
        for word in words:
            yield ChatItem(word, engine="e", model="m")
        yield ChatItem(finish_reason="stop")

    return script


Build = Callable[..., tuple[Dispatch, ScriptedClient, ScriptedMembership]]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """Peers of which the first is asked first; what takes longer than a moment is overdue. `free`: none is in doubt."""
    for name in ("HEDGE_LEAST_S", "HEDGE_MOST_S", "HEDGE_CHAT_LEAST_S", "HEDGE_CHAT_MOST_S"):
        monkeypatch.setattr(f"tarsd.dispatch.dispatch.{name}", 0.005)

    def make(scripts: dict[str, Any], *, loads: tuple[Load, ...] = (), free: bool = False) -> Any:
        members = [
            member(
                name,
                capabilities=CAPABILITIES,
                hold_s=0.0 if free else float(place),  # else asked in this order
                load=loads[place] if loads else Load(),
            )
            for place, name in enumerate(scripts)
        ]
        membership = ScriptedMembership(*members)
        client = ScriptedClient({m.node: scripts[m.name] for m in members})
        dispatch = Dispatch(membership, client, {})
        dispatch.observations.answered(TALK, members[0].node, dispatch.now())
        return dispatch, client, membership

    return make


async def all_of(call: Any) -> list[Any]:
    async with call:
        return [item async for item in call]


def asked(client: ScriptedClient) -> str:
    return "".join(node[0] for node, _ in client.asked)


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 30)


async def test_an_overdue_call_is_answered_by_the_next_node_and_the_first_is_cancelled(build: Build) -> None:
    stuck = Stuck()
    dispatch, client, _ = build({"a": stuck, "b": answers("b")})
    call = dispatch.call(calls.RECALL, ASK)
    assert await all_of(call) == [RecallItem("b")]
    assert stuck.closed.is_set()
    assert call.member is not None
    assert (asked(client), call.member.name) == ("ab", "b")
    assert not dispatch.waiting


async def test_the_first_node_wins_when_its_item_comes_first_and_the_other_is_cancelled(build: Build) -> None:
    first, second = Stuck(), Stuck()
    dispatch, _, _ = build({"a": first, "b": second})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    await soon(second.asked)
    first.go_on.set()
    assert await asking == [RecallItem("late")]
    assert second.closed.is_set()


@pytest.mark.parametrize("winner", ["a", "b"])
async def test_who_was_asked_too_and_was_not_needed_may_go_on_with_the_answer_when_it_is_lost(
    build: Build, winner: str
) -> None:
    nodes = {name: Stuck(then=(ChatItem("half"),)) for name in "ab"}
    dispatch, _, membership = build(nodes, free=True)
    call = dispatch.call(calls.CHAT, CHAT, conversation=TALK)
    asking = asyncio.ensure_future(all_of(call))
    for node in nodes.values():
        await soon(node.asked)
    nodes[winner].go_on.set()
    assert [item.text for item in await asking] == ["half"]
    assert call.tried == {m.node for m in membership.members() if m.name == winner}


async def test_who_was_asked_too_and_failed_is_not_asked_to_go_on_with_it(build: Build) -> None:
    first = Stuck(then=(ChatItem("half"),))
    dispatch, client, membership = build({"a": first, "b": fails(PeerLost("gone"))}, free=True)
    call = dispatch.call(calls.CHAT, CHAT, conversation=TALK)
    asking = asyncio.ensure_future(all_of(call))
    await soon(first.asked)
    async with asyncio.timeout(30):
        while asked(client) != "ab" or call._rival is None or call._rival.error is None:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)
    first.go_on.set()
    await asking
    assert call.tried == {m.node for m in membership.members()}


async def test_a_stream_goes_on_with_the_node_that_began_first(build: Build) -> None:
    words = [str(n) for n in range(100)]
    dispatch, client, _ = build({"a": Stuck(), "b": text(*words)}, free=True)
    got = await all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK))
    assert asked(client) == "ab"
    assert [item.text for item in got][:-1] == words
    assert got[-1].finish_reason == "stop"


@pytest.mark.parametrize("spec", [calls.REMEMBER, calls.INGEST, calls.RECORDS, calls.NIGHTLY, calls.JOBS, calls.STATUS])
def test_what_has_effects_or_takes_long_is_never_hedged(spec: calls.CallSpec[Any, Any]) -> None:
    assert not spec.hedge


@pytest.mark.parametrize(
    ("spec", "request_"),
    [
        (calls.REMEMBER, calls.RememberRequest(ConversationId("c"), "q", "a")),
        (calls.CHAT, msgspec.structs.replace(CHAT, background=True)),
        (calls.EMBED, calls.EmbedRequest(["text"], "passage")),
    ],
)
async def test_background_work_is_not_hedged(build: Build, spec: Any, request_: Any) -> None:
    stuck = Stuck()
    dispatch, client, _ = build({"a": stuck, "b": answers("b")})
    with pytest.raises(DeadlineExceeded):
        await all_of(dispatch.call(spec, request_, deadline_s=0.1))
    assert asked(client) == "a"


async def test_a_place_in_a_queue_is_shown_but_is_no_beginning(build: Build) -> None:
    waiting = ChatItem(queue_position=2)
    dispatch, client, _ = build({"a": Stuck(waiting), "b": text("yes")}, free=True)
    got = await all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK))
    assert got[0] == waiting
    assert "".join(item.text for item in got) == "yes"
    assert asked(client) == "ab"


async def test_who_is_lost_while_a_question_waits_in_its_queue_costs_the_next_one(build: Build) -> None:
    async def lost(headers: calls.Headers) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem(queue_position=1)
        raise PeerLost("gone")

    dispatch, _, _ = build({"a": lost, "b": text("yes")})
    got = await all_of(dispatch.call(calls.CHAT, CHAT))
    assert [item.queue_position for item in got] == [1, 0, 0]
    assert "".join(item.text for item in got) == "yes"


async def test_nobody_with_work_of_its_own_is_asked_to_generate_a_second_answer(build: Build) -> None:
    stuck = Stuck(then=(ChatItem("late", finish_reason="stop"),))
    dispatch, client, membership = build({"a": stuck, "b": text("b")}, loads=(Load(), Load(running=1)), free=True)
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)))
    await soon(stuck.asked)
    await asyncio.sleep(0.03)  # several times overdue
    assert asked(client) == "a"
    membership.change(lambda m: msgspec.structs.replace(m, load=Load()))
    assert "".join(item.text for item in await asyncio.wait_for(asking, 30)) == "b"


async def test_when_gossip_doubts_who_was_asked_the_next_is_asked_at_once_busy_or_not(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarsd.dispatch.dispatch.HEDGE_CHAT_MOST_S", 60.0)
    stuck = Stuck()
    dispatch, _, membership = build({"a": stuck, "b": text("b")}, loads=(Load(), Load(running=1, queued=3)))
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT)))
    await soon(stuck.asked)
    dispatch.member_changed(membership.members()[0])
    await asyncio.sleep(0)
    assert not asking.done()
    dispatch.member_changed(msgspec.structs.replace(membership.members()[0], state=State.SUSPECT))
    assert "".join(item.text for item in await asyncio.wait_for(asking, 30)) == "b"


async def test_a_doubt_in_the_middle_of_an_answer_changes_nothing(build: Build) -> None:
    stuck = Stuck(ChatItem("x"), then=(ChatItem("y", finish_reason="stop"),))
    dispatch, client, membership = build({"a": stuck, "b": text("b")})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.CHAT, CHAT)))
    await soon(stuck.asked)
    await asyncio.sleep(0)
    dispatch.member_changed(msgspec.structs.replace(membership.members()[0], state=State.SUSPECT))
    stuck.go_on.set()
    assert "".join(item.text for item in await asking) == "xy"
    assert asked(client) == "a"


async def test_the_first_fails_while_the_second_is_at_it_then_no_third_is_asked(build: Build) -> None:
    class Failing(Stuck):
        async def __call__(self, headers: calls.Headers) -> AsyncGenerator[Any, None]:
            async for _ in super().__call__(headers):
                raise PeerLost("gone")
            yield

    first, second = Failing(), Stuck()
    dispatch, client, _ = build({"a": first, "b": second, "c": answers("c")})
    overdue_s = iter([0.005])  # the second is never overdue
    dispatch.overdue_s = lambda spec: next(overdue_s, 60.0)  # type: ignore[method-assign]
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    await soon(second.asked)
    first.go_on.set()
    await soon(first.closed)
    second.go_on.set()
    assert await asking == [RecallItem("late")]
    assert asked(client) == "ab"


async def test_a_second_node_that_fails_leaves_the_first_at_it(build: Build) -> None:
    first = Stuck()
    dispatch, client, membership = build({"a": first, "b": fails(PeerLost("gone"))})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    await soon(membership.failed)
    first.go_on.set()
    assert await asking == [RecallItem("late")]
    assert asked(client) == "ab"


async def test_a_reader_who_leaves_cancels_both(build: Build) -> None:
    first, second = Stuck(), Stuck()
    dispatch, _, _ = build({"a": first, "b": second})
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    await soon(second.asked)
    asking.cancel()
    await asyncio.wait({asking})
    assert first.closed.is_set()
    assert second.closed.is_set()
    assert not dispatch.waiting


async def test_a_wrong_request_is_told_by_whoever_says_so(build: Build) -> None:
    dispatch, _, _ = build({"a": fails(PeerLost("gone")), "b": fails(InvalidInput("bad"))})
    with pytest.raises(InvalidInput):
        await all_of(dispatch.call(calls.RECALL, ASK))


async def test_who_began_second_is_cancelled_at_once_not_at_the_end(build: Build) -> None:
    class Talking(Stuck):
        async def __call__(self, headers: calls.Headers) -> AsyncGenerator[Any, None]:
            async for item in super().__call__(headers):
                yield item
                await asyncio.Event().wait()

    first, second = Talking(then=(ChatItem("late"),)), Stuck()
    dispatch, _, _ = build({"a": first, "b": second}, free=True)
    async with dispatch.call(calls.CHAT, CHAT, conversation=TALK) as call:
        reading = asyncio.ensure_future(anext(call))
        await soon(second.asked)
        first.go_on.set()
        assert (await reading).text == "late"
        await soon(second.closed)
        assert not first.closed.is_set()


async def test_the_deadline_ends_both(build: Build) -> None:
    first, second = Stuck(), Stuck()
    dispatch, _, _ = build({"a": first, "b": second})
    with pytest.raises(DeadlineExceeded):
        await all_of(dispatch.call(calls.RECALL, ASK, deadline_s=0.1))
    assert first.closed.is_set()
    assert second.closed.is_set()


async def test_no_hedge_when_the_budget_is_spent(build: Build) -> None:
    first = Stuck()
    dispatch, client, _ = build({"a": first, "b": answers("b")})
    dispatch.budget = Never(0.0)
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    await soon(first.asked)
    await asyncio.sleep(0.03)
    first.go_on.set()
    assert await asking == [RecallItem("late")]
    assert asked(client) == "a"


async def test_when_the_budget_is_spent_the_first_error_is_told(build: Build) -> None:
    dispatch, client, _ = build({"a": fails(Overloaded("full", 7.0)), "b": answers("b")})
    dispatch.budget = Never(0.0)
    with pytest.raises(Overloaded, match=r"full .*too much has failed of late") as caught:
        await all_of(dispatch.call(calls.RECALL, ASK))
    assert caught.value.retry_after_s == 7.0
    assert asked(client) == "a"


async def test_a_call_that_repeats_a_lost_one_takes_from_the_budget_itself(build: Build) -> None:
    dispatch, client, _ = build({"a": answers("a")})
    dispatch.budget = Never(0.0)
    assert await all_of(dispatch.call(calls.RECALL, ASK)) == [RecallItem("a")]
    with pytest.raises(Unavailable, match="too much has failed"):
        await all_of(dispatch.call(calls.RECALL, ASK, again=True))
    assert asked(client) == "a"


async def test_a_person_who_lost_a_node_may_take_what_background_work_may_not(build: Build) -> None:
    urgencies: list[bool] = []

    class Noting(Budget):
        def take(self, now: float, *, urgent: bool) -> bool:
            urgencies.append(urgent)
            return True

    dispatch, _, _ = build({"a": fails(PeerLost("gone")), "b": answers("b")})
    dispatch.budget = Noting(0.0)
    await all_of(dispatch.call(calls.RECALL, ASK))
    await all_of(dispatch.call(calls.EMBED, calls.EmbedRequest(["text"], "passage")))
    assert urgencies == [True, False]


async def test_when_all_are_full_the_shortest_time_to_come_again_is_told(build: Build) -> None:
    dispatch, _, _ = build(
        {
            "a": fails(Overloaded("full", 9.0)),
            "b": fails(Overloaded("full", 4.0)),
            "c": fails(PeerLost("gone")),
        }
    )
    with pytest.raises(Overloaded) as caught:
        await all_of(dispatch.call(calls.CHAT, CHAT))
    assert caught.value.retry_after_s == 4.0


async def test_who_was_overtaken_is_asked_later_next_time(build: Build) -> None:
    stuck = Stuck()
    dispatch, client, membership = build({"a": stuck, "b": answers("b")}, free=True)
    dispatch.overdue_s = lambda spec: 0.2  # type: ignore[method-assign]
    await all_of(dispatch.call(calls.RECALL, ASK, conversation=TALK))
    assert asked(client) == "ab"
    dispatch.observations.answered(TALK, membership.members()[0].node, dispatch.now())
    await all_of(dispatch.call(calls.RECALL, ASK, conversation=TALK))
    assert asked(client) == "abb"


async def test_a_conversation_is_asked_where_it_was_answered_last(build: Build) -> None:
    dispatch, client, _ = build({"a": text("a"), "b": text("b")}, free=True)
    talk = ConversationId("another")
    await all_of(dispatch.call(calls.CHAT, CHAT, conversation=talk))
    home = asked(client)
    for n in range(10):
        await all_of(dispatch.call(calls.CHAT, CHAT, conversation=talk, trace=calls.TraceId(str(n))))
    assert asked(client) == home * 11


@pytest.mark.parametrize("errors", [[Overloaded("full", 7.0)], [Overloaded("full", 7.0), PeerLost("gone")]])
async def test_what_a_node_said_that_was_asked_beside_counts_when_nobody_is_left(
    build: Build, errors: list[Unavailable]
) -> None:
    first = Stuck(then=())
    beside = dict(zip("bc", map(fails, errors), strict=False))

    async def lost(headers: calls.Headers) -> AsyncGenerator[Any, None]:
        async for item in first(headers):
            yield item
        raise PeerLost("silent")

    dispatch, client, _ = build({"a": lost} | beside)
    asking = asyncio.ensure_future(all_of(dispatch.call(calls.RECALL, ASK)))
    async with asyncio.timeout(30):
        while len(client.asked) <= len(errors):  # noqa: ASYNC110 - another task has no event for us
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)  # it fails
    first.go_on.set()
    with pytest.raises(Overloaded) as caught:
        await asking
    assert caught.value.retry_after_s == 7.0


async def test_who_began_while_the_reader_was_busy_with_a_place_in_a_queue_is_read_next(build: Build) -> None:
    dispatch, client, _ = build({"a": Stuck(ChatItem(queue_position=2)), "b": text("yes")}, free=True)
    async with dispatch.call(calls.CHAT, CHAT, conversation=TALK) as call, asyncio.timeout(30):
        assert (await anext(call)).queue_position == 2
        while asked(client) != "ab":  # noqa: ASYNC110 - another task has no event for us
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)  # it begins
        assert "".join([item.text async for item in call]) == "yes"


async def test_places_in_the_queue_of_who_is_asked_beside_do_not_keep_its_answer_back(build: Build) -> None:
    async def waits_long(headers: calls.Headers) -> AsyncGenerator[ChatItem, None]:
        for position in range(2 * QUEUE_ITEMS, 0, -1):
            yield ChatItem(queue_position=position)
        yield ChatItem("yes", finish_reason="stop")

    dispatch, client, _ = build({"a": Stuck(), "b": waits_long}, free=True)
    got = await asyncio.wait_for(all_of(dispatch.call(calls.CHAT, CHAT, conversation=TALK)), 30)
    assert (asked(client), [item.text for item in got]) == ("ab", ["yes"])
