"""One answer carried to its end: hand-over, a lost engine that comes back, and when there is nobody to wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from tarsd.calls import ChatItem, ChatRequest, Message, Usage
from tarsd.dispatch import Dispatch
from tarsd.errors import EngineUnavailable, InvalidInput, Overloaded, PeerLost, Unavailable, WorkerLost
from tarsd.host.carrying import Said, carried_plainly
from tests.dispatch.test_dispatch import ScriptedMembership
from tests.host.test_host import PREPARED, ScriptedPeers, build, fails, gives, text_of
from tests.host.test_host import ask as ask_host

WHOLE = "one two three four five six"


def writes(words: int, then: Exception | None = None) -> Any:
    """A chat that writes so many words of `WHOLE` after what was said, then fails; all of them where `then` is None."""

    async def script(request: ChatRequest) -> AsyncGenerator[ChatItem, None]:
        rest = WHOLE[len(request.partial) :].split(" ")
        yield ChatItem(engine="llama_cpp", model="m")
        for at, word in enumerate(rest):
            if then is not None and at == words:
                raise then
            yield ChatItem(word if at == len(rest) - 1 else word + " ")
        yield ChatItem(finish_reason="stop", usage=Usage(10, len(rest)))

    return script


class Lost:
    """An engine whose worker is lost once in mid-answer: it is not offered for a while, then it works again."""

    def __init__(self, peers: ScriptedPeers, *, away_s: float) -> None:
        self._peers = peers
        self._away_s = away_s
        self.requests: list[ChatRequest] = []

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[ChatItem, None]:
        self.requests.append(request)
        async with aclosing(writes(2 if len(self.requests) == 1 else 99)(request)) as items:
            async for at, item in _numbered(items):
                if len(self.requests) == 1 and at == 3:
                    members = self._peers.members[:]
                    self._peers.members[:] = [msgspec.structs.replace(m, capabilities={}) for m in members]
                    asyncio.get_running_loop().call_later(self._away_s, self._return, members)
                    raise WorkerLost("it was killed")
                yield item

    def _return(self, members: Any) -> None:
        self._peers.members[:] = members


async def _numbered(items: AsyncGenerator[ChatItem, None]) -> AsyncGenerator[tuple[int, ChatItem], None]:
    at = 0
    async for item in items:
        yield at, item
        at += 1


def request(**more: Any) -> ChatRequest:
    return ChatRequest([Message("user", "count")], max_tokens=20, **more)


async def carry(peers: ScriptedPeers, asked: ChatRequest | None = None, **more: Any) -> list[Said]:
    membership = ScriptedMembership(*peers.members)
    membership.members = lambda: peers.members  # type: ignore[method-assign]
    dispatch = Dispatch(membership, peers, {})  # type: ignore[arg-type]
    parts = carried_plainly(dispatch, membership.members, asked or request(), **more)
    async with aclosing(parts):
        return [part async for part in parts]


def text(parts: list[Said]) -> str:
    return "".join(part.item.text for part in parts)


async def test_the_next_node_continues_and_the_usage_counts_both() -> None:
    peers = ScriptedPeers({"a": {"chat": writes(2, PeerLost("gone"))}, "b": {"chat": writes(99)}})
    parts = await carry(peers)
    assert text(parts) == WHOLE
    assert [part.node for part in parts if part.item.engine] == ["a", "b"]
    assert parts[-1].losses == 1
    assert parts[-1].item.usage == Usage(10, 6)
    assert peers.asked[-1][2].partial == "one two "
    assert peers.asked[-1][2].max_tokens == 18


async def test_an_engine_that_comes_back_goes_on_where_it_was_lost() -> None:
    peers = ScriptedPeers({"a": {}})
    peers.scripts["a"]["chat"] = lost = Lost(peers, away_s=0.3)
    peers.members[:] = ScriptedPeers({"a": {"chat": writes(1)}}).members
    parts = await carry(peers)
    assert text(parts) == WHOLE
    assert [asked.partial for asked in lost.requests] == ["", "one two "]


async def test_who_waits_for_an_engine_for_longer_than_a_moment_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsd.host.carrying.TELL_AFTER_S", 0.15)
    told = []
    for away_s in (0.01, 0.5):
        peers = ScriptedPeers({"a": {}})
        peers.scripts["a"]["chat"] = Lost(peers, away_s=away_s)
        peers.members[:] = ScriptedPeers({"a": {"chat": writes(1)}}).members
        parts = await carry(peers)
        assert text(parts) == WHOLE
        told.append([part.node for part in parts if part.item.loading])
    assert told == [[], [""]]


async def test_an_engine_that_does_not_come_back_is_waited_for_no_longer_than_said() -> None:
    peers = ScriptedPeers({"a": {"chat": writes(1)}})
    peers.scripts["a"]["chat"] = Lost(peers, away_s=60)
    began = time.monotonic()
    with pytest.raises(WorkerLost, match="killed"):
        await carry(peers, patience_s=0.3)
    assert 0.25 < time.monotonic() - began < 5


async def test_a_node_that_is_lost_is_not_waited_for() -> None:
    peers = ScriptedPeers({"a": {"chat": writes(2, PeerLost("gone"))}})
    with pytest.raises(PeerLost, match="gone"):
        async with asyncio.timeout(30):
            await carry(peers, patience_s=60)


async def test_where_nobody_offers_it_there_is_nobody_to_wait_for() -> None:
    with pytest.raises(Unavailable, match="no node offers chat"):
        async with asyncio.timeout(30):
            await carry(ScriptedPeers({"a": {}}), patience_s=60)


async def test_an_engine_that_fails_each_time_ends_the_answer_with_its_first_reason() -> None:
    peers = ScriptedPeers({"a": {"chat": fails(EngineUnavailable("out of order"))}})
    with pytest.raises(EngineUnavailable, match="out of order"):
        await carry(peers, patience_s=0.5)
    assert 2 <= len(peers.asked) <= 4


async def test_a_full_queue_is_told_at_once_where_nothing_was_said() -> None:
    peers = ScriptedPeers({"a": {"chat": fails(Overloaded("full", 7.0))}})
    with pytest.raises(Overloaded) as caught:
        await carry(peers)
    assert caught.value.retry_after_s == 7.0


async def test_what_would_fail_everywhere_is_not_tried_again() -> None:
    peers = ScriptedPeers({"a": {"chat": fails(InvalidInput("messages: empty"))}, "b": {"chat": writes(99)}})
    with pytest.raises(InvalidInput):
        await carry(peers)
    assert len(peers.asked) == 1


async def test_a_persons_question_goes_on_by_the_same_node_and_the_reader_is_told() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": writes(1)}})
    peers.scripts["c"]["chat"] = lost = Lost(peers, away_s=0.2)
    seen = await ask_host(host)
    assert text_of(seen) == WHOLE
    assert len(lost.requests) == 2
    assert [event.code for event in seen if type(event).__name__ == "NoticeEvent"] == ["handover"]
    assert type(seen[-1]).__name__ == "DoneEvent"


@pytest.mark.parametrize(
    ("wait_s", "told"), [(0.0, "En espera: 2 por delante."), (3.2, "unos 3 s"), (43.0, "unos 45 s")]
)
async def test_the_wait_is_told_as_people_tell_one(wait_s: float, told: str) -> None:
    async def waits(asked: ChatRequest) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem(queue_position=2, wait_s=wait_s)
        yield ChatItem(loading=True)
        yield ChatItem("sí", engine="e", model="m")
        yield ChatItem(finish_reason="length", limit="context")

    prepared = msgspec.structs.replace(PREPARED, language="es")
    host, _ = build({"p": {"prepare": gives(prepared)}, "c": {"chat": waits}})
    seen = await ask_host(host)
    queued, loading = [event for event in seen if type(event).__name__ == "NoticeEvent"]
    assert told in queued.text
    assert queued.wait_s == wait_s
    assert "cargando" in loading.text
    assert (seen[-1].finish_reason, seen[-1].limit) == ("length", "context")
