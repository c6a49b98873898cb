"""An answer that is asked for again, by its id and with the text its reader has."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd import calls
from tarsd.calls import ChatItem, RememberItem, Usage
from tarsd.dispatch.budget import Budget
from tarsd.errors import Overloaded, PeerLost
from tarsd.gossip.member import Load
from tarsd.host import events
from tarsd.host.events import MAX_SHOWN_CHARACTERS, Event, Question
from tarsd.host.host import Host
from tarsd.names import AnswerId, ConversationId, RecordId
from tarsd.planning.prompt import passages_answer
from tests.host.test_host import PASSAGE, PREPARED, Script, ask, build, fails, gives, says, text_of

WHOLE = "The rent is 900 € — «sí», per month 🏠."
RESUMED = AnswerId("a-1")


def pieces(text: str, *cuts: int, then: Exception | None = None) -> Script:
    """A model that writes `text` in the pieces between `cuts`, from where `partial` ends: the same text each time."""

    async def script(request: calls.ChatRequest) -> AsyncGenerator[ChatItem, None]:
        assert text.startswith(request.partial)
        rest = text[len(request.partial) :]
        yield ChatItem(engine="llama_cpp", model="m")
        places = sorted({0, *(cut for cut in cuts if cut < len(rest)), len(rest)})
        for start, end in pairwise(places):
            yield ChatItem(rest[start:end])
        if then is not None:
            raise then
        yield ChatItem(finish_reason="stop", usage=Usage(5, 7))

    return script


async def test_every_answer_is_named_first_and_differently() -> None:
    host, peers = build({"c": {"chat": says("900")}})
    first, second = (await ask(host))[0], (await ask(host))[0]
    assert isinstance(first, events.AnswerEvent)
    assert isinstance(second, events.AnswerEvent)
    assert len(first.answer) >= 16
    assert first.answer != second.answer
    assert peers.asked[-1][2].answer == second.answer


async def test_a_resumed_answer_keeps_the_passages_that_its_text_cites() -> None:
    """Another search may find others; then [1] would mean two things in one text."""
    other = msgspec.structs.replace(PASSAGE, id="o:2", file="other.pdf")
    found_now = msgspec.structs.replace(PREPARED, sources=[other])
    host, peers = build({"p": {"prepare": gives(found_now)}, "c": {"chat": pieces(WHOLE)}}, other, PASSAGE)
    seen = await ask(host, answer=RESUMED, shown=WHOLE[:12], sources=(RecordId(PASSAGE.id),))
    (told,) = [event for event in seen if isinstance(event, events.SourcesEvent)]
    assert [source.passage for source in told.sources] == [PASSAGE.id]
    assert [capability for _, capability, _ in peers.asked] == ["chat"]
    assert PASSAGE.text in peers.asked[0][2].messages[-1].content
    done = seen[-1]
    assert isinstance(done, events.DoneEvent)
    assert (done.degraded, done.prepared_by) == ([], "here")


@pytest.mark.parametrize("changes", [{"sources": (RecordId("o:9"),)}, {"sources": ()}, {"shown": ""}])
async def test_where_they_are_not_here_it_is_prepared_as_a_new_question(changes: dict[str, Any]) -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": pieces(WHOLE)}}, PASSAGE)
    asked = {"answer": RESUMED, "shown": WHOLE[:12], "sources": (RecordId(PASSAGE.id),)} | changes
    await ask(host, **asked)
    assert [capability for _, capability, _ in peers.asked] == ["prepare", "chat"]


async def test_a_resumed_answer_is_prepared_again_and_gives_only_new_text() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": pieces(WHOLE, 3, 9)}})
    seen = await ask(host, answer=RESUMED, shown=WHOLE[:12])
    assert [type(event).__name__ for event in seen[:3]] == ["AnswerEvent", "RouteEvent", "SourcesEvent"]
    assert seen[0] == events.AnswerEvent(RESUMED)
    assert text_of(seen) == WHOLE[12:]
    assert isinstance(seen[-1], events.DoneEvent)
    assert [capability for _, capability, _ in peers.asked] == ["prepare", "chat"]


async def test_what_the_reader_has_counts_against_the_answers_length() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": pieces(WHOLE)}})
    await ask(host, answer=RESUMED, shown=WHOLE[:12], max_tokens=20)
    assert peers.asked[-1][2].max_tokens == 20 - 3


async def test_a_resumed_answer_is_remembered_whole_and_by_its_id() -> None:
    remembered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def remember(request: Any) -> AsyncGenerator[RememberItem, None]:
        remembered.set_result(request)
        yield RememberItem("s", 1)

    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": pieces(WHOLE), "remember": remember}})
    await ask(host, answer=RESUMED, shown=WHOLE[:7], conversation=ConversationId("k"))
    request = await asyncio.wait_for(remembered, 30)
    assert (request.answer, request.of) == (WHOLE, RESUMED)
    await host.stop()


@given(
    shown=st.integers(0, len(WHOLE)),
    cuts=st.lists(st.integers(1, len(WHOLE)), max_size=6),
    again=st.lists(st.integers(1, len(WHOLE)), max_size=6),
    after=st.integers(0, len(WHOLE)),
)
async def test_the_join_is_exact_wherever_a_reader_and_a_node_were_lost(
    shown: int, cuts: list[int], again: list[int], after: int
) -> None:
    lost_at = min(len(WHOLE), shown + after)
    lost = pieces(WHOLE[:lost_at], *cuts, then=PeerLost("gone"))
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "a": {"chat": lost}, "b": {"chat": pieces(WHOLE, *again)}})
    seen = await ask(host, answer=RESUMED, shown=WHOLE[:shown])
    assert WHOLE[:shown] + text_of(seen) == WHOLE
    assert isinstance(seen[-1], events.DoneEvent)


async def test_a_resumed_answer_that_nobody_can_go_on_with_is_cut() -> None:
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": fails(PeerLost("gone"))}})
    seen = await ask(host, answer=RESUMED, shown="The")
    assert text_of(seen) == ""
    assert isinstance(seen[-1], events.ErrorEvent)
    assert seen[-1].name == "PeerLost"


async def test_a_resumed_answer_that_finds_queues_full_says_when_to_come_again() -> None:
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": fails(Overloaded("full", 4.0))}})
    seen = await ask(host, answer=RESUMED, shown="The")
    assert isinstance(seen[-1], events.ErrorEvent)
    assert (seen[-1].name, seen[-1].retry_after_s) == ("Overloaded", 4.0)


async def test_an_answer_made_of_passages_goes_on_too() -> None:
    whole = passages_answer([PASSAGE], "en")
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": fails(PeerLost("gone"))}})
    seen = await ask(host, answer=RESUMED, shown=whole[:20])
    assert text_of(seen) == whole[20:]
    assert isinstance(seen[-1], events.DoneEvent)


async def test_more_text_than_an_answer_can_have_is_refused() -> None:
    host, _ = build({"c": {"chat": says("900")}})
    (error,) = await ask(host, answer=RESUMED, shown="x" * (MAX_SHOWN_CHARACTERS + 1))
    assert isinstance(error, events.ErrorEvent)
    assert error.sentence.startswith("shown: ")


def waits_after(text: str, closed: asyncio.Event) -> Script:
    """A model that writes `text` and then thinks for ever, the first time; it goes on when asked again."""

    async def script(request: calls.ChatRequest) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem(engine="llama_cpp", model="m")
        if request.partial:
            async for item in pieces(WHOLE)(request):
                yield item
            return
        try:
            yield ChatItem(text)
            await asyncio.Event().wait()
        finally:
            closed.set()

    return script


async def _until_text(answer: AsyncGenerator[Event, None]) -> None:
    async for event in answer:
        if isinstance(event, events.TokenEvent):
            return


@pytest.mark.parametrize("reads", [True, False])
async def test_of_two_readers_of_one_answer_the_newer_one_stays(reads: bool) -> None:
    closed = asyncio.Event()
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": waits_after(WHOLE[:5], closed)}})
    older = host.ask(Question("How much is the rent?", answer=RESUMED))
    await _until_text(older)
    rest = asyncio.ensure_future(_all(older)) if reads else None
    await asyncio.sleep(0)  # the older one waits for its model now, or for its reader
    newer = await ask(host, answer=RESUMED, shown=WHOLE[:5])
    await asyncio.wait_for(closed.wait(), 30)
    assert WHOLE[:5] + text_of(newer) == WHOLE
    (ended,) = await asyncio.wait_for(rest or asyncio.ensure_future(_all(older)), 30)
    assert isinstance(ended, events.ErrorEvent)
    assert ended.name == "Superseded"
    assert len(host._answers) == 0


async def _all(answer: AsyncGenerator[Event, None]) -> list[Event]:
    return [event async for event in answer]


async def test_other_answers_go_on_beside_each_other() -> None:
    closed = asyncio.Event()
    host: Host
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": waits_after(WHOLE[:5], closed)}})
    older = host.ask(Question("How much is the rent?", answer=RESUMED))
    await _until_text(older)
    await ask(host, answer=AnswerId("a-2"), shown=WHOLE[:5])
    assert not closed.is_set()
    await older.aclose()


async def test_going_on_with_a_lost_answer_takes_from_the_budget_of_second_attempts() -> None:
    class Spent(Budget):
        def take(self, now: float, *, urgent: bool) -> bool:
            return False

    lost = pieces(WHOLE[:9], then=PeerLost("gone"))
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "a": {"chat": lost}, "b": {"chat": pieces(WHOLE)}})
    host._dispatch.budget = Spent(0.0)
    seen = await ask(host)
    assert text_of(seen) == WHOLE[:9]
    assert isinstance(seen[-1], events.ErrorEvent)
    assert [name for name, capability, _ in peers.asked if capability == "chat"] == ["a"]


async def test_a_conversation_is_answered_by_the_node_that_has_its_prefix() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "a": {"chat": pieces(WHOLE)}, "b": {"chat": pieces(WHOLE)}})
    peers.members[:] = [msgspec.structs.replace(member, load=Load()) for member in peers.members]
    for _ in range(12):
        assert isinstance((await ask(host, conversation=ConversationId("k")))[-1], events.DoneEvent)
    assert len({name for name, capability, _ in peers.asked if capability == "chat"}) == 1
    await host.stop()
