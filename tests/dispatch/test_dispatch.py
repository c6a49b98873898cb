"""Dispatch, rule by rule, with scripted peers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import RecallItem, RecallRequest
from tarsd.dispatch import Dispatch
from tarsd.dispatch.call import Aim
from tarsd.errors import DeadlineExceeded, InvalidInput, Overloaded, PeerLost, Unavailable
from tarsd.gossip.member import Member
from tarsd.names import ConversationId, NodeId
from tests.test_routing import member

ASK = RecallRequest(ConversationId("c"))
Script = Callable[[calls.Headers], AsyncGenerator[Any, None]]


class ScriptedMembership:
    def __init__(self, *members: Member) -> None:
        self._members = members
        self.failures: list[NodeId] = []
        self.failed = asyncio.Event()

    def change(self, how: Callable[[Member], Member]) -> None:
        self._members = tuple(how(m) for m in self._members)

    def members(self) -> Sequence[Member]:
        return self._members

    def observed_failure(self, node: NodeId) -> None:
        self.failures.append(node)
        self.failed.set()

    def observed_success(self, node: NodeId) -> None:
        pass


class ScriptedClient:
    """Answers for peers: each node's script is an async generator function of the headers."""

    def __init__(self, scripts: dict[NodeId, Script]) -> None:
        self._scripts = scripts
        self.asked: list[tuple[NodeId, calls.Headers]] = []

    async def call(
        self,
        addresses: Sequence[tuple[str, int]],
        expected: NodeId,
        spec: Any,
        request: Any,
        headers: calls.Headers,
        upload: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[Any, None]:
        self.asked.append((expected, headers))
        async for item in self._scripts[expected](headers):
            yield item


def answers(text: str) -> Script:
    async def script(headers: calls.Headers) -> AsyncGenerator[RecallItem, None]:
        yield RecallItem(text)

    return script


def fails(error: Exception, *, after: str = "") -> Script:
    async def script(headers: calls.Headers) -> AsyncGenerator[RecallItem, None]:
        if after:
            yield RecallItem(after)
        raise error

    return script


def peers(*names: str) -> list[Member]:
    return [member(name, capabilities={calls.RECALL.name: {}}) for name in names]


def build(scripts: dict[str, Script], **own: Any) -> tuple[Dispatch, ScriptedClient, ScriptedMembership]:
    members = peers(*scripts)
    membership = ScriptedMembership(*members, *own.get("extra", ()))
    client = ScriptedClient({m.node: scripts[m.name] for m in members})
    return Dispatch(membership, client, own.get("handlers", {})), client, membership


async def test_a_lost_peer_costs_the_next_one() -> None:
    dispatch, client, membership = build(
        {"a": fails(PeerLost("gone")), "b": fails(PeerLost("gone")), "c": answers("yes")}
    )
    assert (await dispatch.one(calls.RECALL, ASK)).summary == "yes"
    assert len({node for node, _ in client.asked}) == len(client.asked)
    assert set(membership.failures) == {node for node, _ in client.asked[:-1]}


async def test_a_loss_after_the_first_item_is_the_callers_to_mend() -> None:
    dispatch, _client, _ = build({"a": fails(PeerLost("cut"), after="half")})
    seen = []
    call = dispatch.call(calls.RECALL, ASK)
    seen.append((await anext(call)).summary)
    with pytest.raises(PeerLost, match="cut"):
        await anext(call)
    assert seen == ["half"]


async def test_what_would_fail_everywhere_is_tried_once() -> None:
    dispatch, client, _ = build({"a": fails(InvalidInput("bad")), "b": fails(InvalidInput("bad"))})
    with pytest.raises(InvalidInput):
        await dispatch.one(calls.RECALL, ASK)
    assert len(client.asked) == 1


async def test_the_last_failure_is_told_when_nobody_is_left() -> None:
    dispatch, _, _ = build({"a": fails(Overloaded("full", 7.0))})
    with pytest.raises(Overloaded) as caught:
        await dispatch.one(calls.RECALL, ASK)
    assert caught.value.retry_after_s == 7.0


async def test_nobody_offers_it() -> None:
    dispatch, _, _ = build({})
    with pytest.raises(Unavailable, match="no node offers recall"):
        await dispatch.one(calls.RECALL, ASK)


async def test_this_node_serves_itself_by_its_own_handler() -> None:
    async def handler(request: RecallRequest, context: Any) -> AsyncGenerator[RecallItem, None]:
        assert context.caller is None
        yield RecallItem("own")

    me = member("m", is_self=True, capabilities={calls.RECALL.name: {}})
    dispatch, client, _ = build({"a": answers("peer")}, extra=[me], handlers={calls.RECALL.name: handler})
    assert (await dispatch.one(calls.RECALL, ASK)).summary == "own"
    assert client.asked == []


async def test_without_hops_no_peer_is_asked() -> None:
    dispatch, client, _ = build({"a": answers("peer")})
    served = calls.Headers(deadline_s=5, hops=0, trace=calls.TraceId("t"))
    with pytest.raises(Unavailable):
        await dispatch.one(calls.RECALL, ASK, within=served)
    assert client.asked == []


async def test_a_nested_call_takes_over_trace_and_remaining_time() -> None:
    dispatch, client, _ = build({"a": answers("peer")})
    served = calls.Headers(deadline_s=1.5, hops=1, trace=calls.TraceId("t"))
    await dispatch.one(calls.RECALL, ASK, within=served)
    (_, headers) = client.asked[0]
    assert headers.hops == 0
    assert headers.trace == "t"
    assert 1.0 < headers.deadline_s <= 1.5


async def test_only_one_node_is_asked_when_named() -> None:
    dispatch, client, _ = build({"a": fails(PeerLost("gone")), "b": answers("b")})
    with pytest.raises(PeerLost):
        await dispatch.one(calls.RECALL, ASK, only=peers("a")[0].node)
    assert [node for node, _ in client.asked] == [peers("a")[0].node]


async def test_the_time_runs_out_over_all_attempts_together() -> None:
    async def stuck(headers: calls.Headers) -> AsyncGenerator[RecallItem, None]:
        await asyncio.Event().wait()
        yield RecallItem("never")

    dispatch, client, membership = build({"a": fails(PeerLost("gone")), "b": stuck, "c": stuck})
    dispatch.observations.failed(membership.members()[1].node, calls.RECALL.name, dispatch.now())
    dispatch.observations.failed(membership.members()[2].node, calls.RECALL.name, dispatch.now())
    with pytest.raises(DeadlineExceeded):
        await dispatch.one(calls.RECALL, ASK, deadline_s=0.5)
    (_, first), (_, second) = client.asked
    assert second.deadline_s < first.deadline_s <= 0.5


async def test_closing_a_call_closes_the_peers_generator() -> None:
    closed = asyncio.Event()

    async def endless(headers: calls.Headers) -> AsyncGenerator[RecallItem, None]:
        try:
            while True:
                yield RecallItem("x")
        finally:
            closed.set()

    class ClosingClient(ScriptedClient):
        def call(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            return endless(args[4])

    membership = ScriptedMembership(*peers("a"))
    dispatch = Dispatch(membership, ClosingClient({}), {})
    async with dispatch.call(calls.RECALL, ASK) as call:
        async for _ in call:
            break
    assert closed.is_set()


async def test_an_upload_is_made_anew_for_each_attempt() -> None:
    made: list[int] = []

    def upload() -> AsyncIterator[bytes]:
        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"x"

        made.append(1)
        return chunks()

    dispatch, _, _ = build({"a": fails(PeerLost("gone")), "b": fails(PeerLost("gone"))})
    with pytest.raises(PeerLost):
        await dispatch.one(calls.RECALL, ASK, upload=upload)
    assert len(made) == 2


async def test_our_own_handler_keeps_the_deadline_too() -> None:
    async def stuck(request: RecallRequest, context: Any) -> AsyncGenerator[RecallItem, None]:
        await asyncio.Event().wait()
        yield RecallItem("never")

    me = member("m", is_self=True, capabilities={calls.RECALL.name: {}})
    dispatch, _, _ = build({}, extra=[me], handlers={calls.RECALL.name: stuck})
    with pytest.raises(DeadlineExceeded):
        await dispatch.one(calls.RECALL, ASK, deadline_s=0.05)


async def test_a_failure_in_one_capability_says_nothing_about_another() -> None:
    both = {calls.RECALL.name: {}, calls.SEARCH.name: {}}
    membership = ScriptedMembership(member("a", is_self=True, capabilities=both), member("b", capabilities=both))
    dispatch = Dispatch(membership, ScriptedClient({}), {})
    dispatch.failed(membership.members()[0], calls.SEARCH.name, Overloaded("running already"), 0.1)

    def order(spec: calls.CallSpec[Any, Any]) -> str:
        headers = calls.Headers(5, 1, calls.TraceId("t"))
        return "".join(m.name for m in dispatch.candidates(spec.name, headers, Aim()))

    assert (order(calls.RECALL), order(calls.SEARCH)) == ("ab", "ba")


async def test_a_call_left_after_its_first_item_counts_as_served() -> None:
    seen: list[tuple[str, str]] = []
    membership = ScriptedMembership(*peers("a"))
    client = ScriptedClient({peers("a")[0].node: answers("yes")})
    dispatch = Dispatch(
        membership, client, {}, observe=lambda capability, result, seconds: seen.append((capability, result))
    )
    await dispatch.one(calls.RECALL, ASK)
    assert seen == [("recall", "ok")]
