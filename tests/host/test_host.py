"""The way of a question, rule by rule, with scripted capabilities."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ChatItem, Message, Passage, PrepareItem, RememberItem, Turn, Usage, Who
from tarsd.dispatch import Dispatch
from tarsd.errors import Overloaded, PeerLost, StorageError
from tarsd.gossip.member import Load, Member
from tarsd.host import events
from tarsd.host.events import MAX_QUESTION_CHARACTERS, Event, Question
from tarsd.host.host import Host
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.recollections import Kept
from tarsd.names import ConversationId, NodeId, RecordId, Route
from tests.dispatch.test_dispatch import ScriptedMembership
from tests.dispatch.test_hedging import Never
from tests.test_routing import member

PASSAGE = Passage("o:1", "sha", "lease.pdf", 2, 0, 22, "The rent is 900 euros.")
PREPARED = PrepareItem(Route.NEEDS_CONTEXT, [Message("user", "How much is the rent?")], [PASSAGE])
Script = Callable[[Any], AsyncGenerator[Any, None]]


def says(*pieces: str, then: Exception | None = None, model: str = "m") -> Script:
    """A chat that continues `partial` with the pieces that are not shown yet, then ends or fails."""

    async def script(request: calls.ChatRequest) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem(engine="llama_cpp", model=model)
        for piece in "".join(pieces)[len(request.partial) :].split("|"):
            yield ChatItem(piece)
        if then is not None:
            raise then
        yield ChatItem(finish_reason="stop", usage=Usage(5, 7))

    return script


def gives(item: Any) -> Script:
    async def script(request: Any) -> AsyncGenerator[Any, None]:
        yield item

    return script


def fails(error: Exception) -> Script:
    async def script(request: Any) -> AsyncGenerator[Any, None]:
        raise error
        yield

    return script


class ScriptedPeers:
    """Serves capabilities by node name and keeps what it was asked."""

    def __init__(self, scripts: dict[str, dict[str, Script]]) -> None:
        self.scripts = scripts
        self.asked: list[tuple[str, str, Any]] = []
        self.members: list[Member] = [
            member(
                name,
                capabilities={calls.Capability(c): {"context_tokens": 4096} for c in offers},
                load=Load(queued=place),  # so that they are asked in the order in which they are named
            )
            for place, (name, offers) in enumerate(scripts.items())
        ]

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        name = expected[0]
        self.asked.append((name, spec.name, request))
        async with aclosing(self.scripts[name][spec.name](request)) as items:
            async for item in items:
                yield item


class ScriptedRecords:
    def __init__(self, *passages: Passage) -> None:
        self._passages = passages
        self.kept: list[Kept] = []

    async def document_count(self) -> int:
        return len(self._passages)

    async def keyword_search(self, query: str, limit: int, language: str = "") -> Sequence[tuple[RecordId, float]]:
        return [(RecordId(p.id), 1.0) for p in self._passages]

    async def profile(self, who: Who, project: str = "", *, now: float = 0.0) -> list[Kept]:
        return [each for each in self.kept if isinstance(each.body, MemoryBody) and each.body.sort != "fact"]

    async def get_many(self, keys: Sequence[str], who: Who) -> list[Kept]:
        return [each for each in self.kept if each.key in keys]

    async def search_memories_by_keywords(
        self, query: str, limit: int, language: str, who: Who
    ) -> list[tuple[str, float]]:
        return [(each.key, 1.0) for each in self.kept]

    async def passages(self, ids: Sequence[RecordId]) -> Sequence[Passage]:
        return [p for p in self._passages if p.id in ids]


def build(scripts: dict[str, dict[str, Script]], *passages: Passage) -> tuple[Host, ScriptedPeers]:
    peers = ScriptedPeers(scripts)
    membership = ScriptedMembership(*peers.members)
    membership.members = lambda: peers.members  # type: ignore[method-assign]
    dispatch = Dispatch(membership, peers, {})  # type: ignore[arg-type]
    return Host("here", dispatch, membership.members, ScriptedRecords(*passages)), peers


async def ask(host: Host, text: str = "How much is the rent?", **more: Any) -> list[Event]:
    return [event async for event in host.ask(Question(text, **more))]


def text_of(seen: list[Event]) -> str:
    return "".join(event.text for event in seen if isinstance(event, events.TokenEvent))


async def test_an_answer_comes_as_route_sources_tokens_done() -> None:
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("9|00")}})
    seen = await ask(host)
    assert [type(event).__name__ for event in seen] == [
        "AnswerEvent",
        "RouteEvent",
        "SourcesEvent",
        "TokenEvent",
        "TokenEvent",
        "DoneEvent",
    ]
    done = seen[-1]
    assert isinstance(done, events.DoneEvent)
    assert (done.generated_by, done.prepared_by, done.degraded) == ("c", "p", [])
    assert done.usage == Usage(5, 7)


async def test_nobody_prepares_then_the_host_does_and_says_so() -> None:
    host, _ = build({"c": {"chat": says("900")}}, PASSAGE)
    seen = await ask(host)
    assert isinstance(seen[1], events.RouteEvent)
    assert seen[1].prepared_by == "here"
    assert any(isinstance(e, events.NoticeEvent) and e.code == "degraded" for e in seen)
    assert any(isinstance(e, events.SourcesEvent) and e.sources[0].file == "lease.pdf" for e in seen)
    assert isinstance(seen[-1], events.DoneEvent)
    assert seen[-1].degraded


async def test_a_lost_node_is_continued_by_the_next_from_the_text_shown() -> None:
    whole = "The rent| is 900| euros."
    lost = says("The rent| is", then=PeerLost("gone"))
    host, peers = build(
        {"p": {"prepare": gives(PREPARED)}, "a": {"chat": lost}, "b": {"chat": says(whole.replace("|", ""))}}
    )
    seen = await ask(host)
    assert text_of(seen) == whole.replace("|", "")
    assert peers.asked[-1][2].partial == "The rent is"
    notices = [e for e in seen if isinstance(e, events.NoticeEvent)]
    assert [(n.code, n.text) for n in notices] == [("handover", "b goes on with the answer.")]


async def test_what_was_shown_before_a_hand_over_counts_as_part_of_the_answer() -> None:
    lost = says("The| rent| is", then=PeerLost("gone"))
    scripts = {"p": {"prepare": gives(PREPARED)}, "a": {"chat": lost}, "b": {"chat": says("The rent is 900")}}
    host, peers = build(scripts)
    done = (await ask(host, max_tokens=20))[-1]
    assert peers.asked[-1][2].max_tokens == 20 - 3
    assert isinstance(done, events.DoneEvent)
    assert done.usage == Usage(5, 7 + 3)


async def test_another_model_that_goes_on_is_named() -> None:
    host, _peers = build(
        {"a": {"chat": says("One", then=PeerLost("gone"), model="x")}, "b": {"chat": says("One two", model="y")}}
    )
    seen = await ask(host, "Write a poem")
    assert [e.text for e in seen if isinstance(e, events.NoticeEvent)][1:] == [
        "b goes on with the answer, with another model (y)."
    ]
    assert text_of(seen) == "One two"


async def test_nobody_generates_then_the_passages_are_the_answer() -> None:
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": fails(PeerLost("gone"))}})
    seen = await ask(host)
    assert "The rent is 900 euros." in text_of(seen)
    assert isinstance(seen[-1], events.DoneEvent)
    assert seen[-1].finish_reason == "passages"
    assert seen[-1].degraded == ["gone"]


async def test_a_cut_answer_ends_with_an_error_never_with_done() -> None:
    host, peers = build(
        {"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("The", then=PeerLost("gone")), "remember": gives(None)}}
    )
    seen = await ask(host, conversation=ConversationId("k"))
    assert isinstance(seen[-1], events.ErrorEvent)
    assert "cut off" in seen[-1].sentence
    assert "remember" not in [capability for _, capability, _ in peers.asked]


async def test_a_full_queue_is_told_with_the_time_to_come_again() -> None:
    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": fails(Overloaded("full", 4.0))}})
    seen = await ask(host)
    assert isinstance(seen[-1], events.ErrorEvent)
    assert seen[-1].name == "Overloaded"


async def test_waiting_is_shown_in_the_language_of_the_question() -> None:
    async def waits(request: Any) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem(queue_position=2)
        yield ChatItem("sí", engine="e", model="m")
        yield ChatItem(finish_reason="stop")

    prepared = msgspec.structs.replace(PREPARED, language="es")
    host, _ = build({"p": {"prepare": gives(prepared)}, "c": {"chat": waits}})
    notice = next(e for e in await ask(host) if isinstance(e, events.NoticeEvent))
    assert (notice.code, notice.position, notice.text) == ("waiting", 2, "En espera: 2 por delante.")


async def test_a_finished_answer_is_remembered_behind_the_readers_back() -> None:
    remembered = asyncio.Event()

    async def remember(request: Any) -> AsyncGenerator[RememberItem, None]:
        remembered.set()
        yield RememberItem("s", 1)

    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("900"), "remember": remember}})
    await ask(host, conversation=ConversationId("k"))
    await asyncio.wait_for(remembered.wait(), 30)
    request = peers.asked[-1][2]
    assert (request.question, request.answer, request.documents) == ("How much is the rent?", "900", ["lease.pdf"])
    await host.stop()


async def test_the_context_of_the_smallest_model_counts() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("900")}})
    await ask(host, turns=(Turn("a", "b"),))
    assert peers.asked[0][2].context_tokens == 4096
    assert peers.asked[0][2].turns == [Turn("a", "b")]


@pytest.mark.parametrize("text", ["", "  \n", "x" * (MAX_QUESTION_CHARACTERS + 1)])
async def test_a_question_that_is_none_is_refused_by_field(text: str) -> None:
    host, _ = build({"c": {"chat": says("900")}})
    (error,) = await ask(host, text)
    assert isinstance(error, events.ErrorEvent)
    assert error.sentence.startswith("text: ")


async def test_a_reader_who_leaves_ends_the_generation() -> None:
    closed = asyncio.Event()

    async def endless(request: Any) -> AsyncGenerator[ChatItem, None]:
        try:
            while True:
                yield ChatItem("x", engine="e", model="m")
                await asyncio.sleep(0)
        finally:
            closed.set()

    host, _peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": endless}})
    answer = host.ask(Question("How much is the rent?"))
    async for event in answer:
        if isinstance(event, events.TokenEvent):
            break
    await answer.aclose()
    await asyncio.wait_for(closed.wait(), 30)


async def test_an_orchestrator_that_is_broken_costs_its_preparation_not_the_question() -> None:
    host, _ = build({"p": {"prepare": fails(StorageError("disk"))}, "c": {"chat": says("900")}}, PASSAGE)
    seen = await ask(host)
    assert isinstance(seen[-1], events.DoneEvent)
    assert (seen[-1].prepared_by, text_of(seen)) == ("here", "900")


async def test_a_stream_that_ends_without_its_last_part_is_a_cut_answer() -> None:
    async def endless_end(request: Any) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem("half", engine="e", model="m")

    host, _ = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": endless_end}})
    seen = await ask(host)
    assert isinstance(seen[-1], events.ErrorEvent)
    assert text_of(seen) == "half"


async def test_a_spent_budget_of_second_attempts_holds_for_the_hosts_own_tries_too() -> None:
    gone = {name: {"chat": fails(PeerLost(f"{name} is gone"))} for name in "abc"}
    host, peers = build({"p": {"prepare": gives(PREPARED)}} | gone)
    host._dispatch.budget = Never(0.0)
    seen = await ask(host)
    (asked,) = [name for name, capability, _ in peers.asked if capability == "chat"]
    assert isinstance(seen[-1], events.DoneEvent)
    assert f"{asked} is gone" in seen[-1].degraded[0]


async def test_what_waits_to_be_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarsd.host.remembering.MAX_TASKS", 2)

    async def hangs(request: Any) -> AsyncGenerator[RememberItem, None]:
        await asyncio.Event().wait()
        yield RememberItem("s", 1)

    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("900"), "remember": hangs}})
    for number in range(4):
        await ask(host, conversation=ConversationId(f"k{number}"))
    for _ in range(10):
        await asyncio.sleep(0)
    remembered = [request.conversation for _, capability, request in peers.asked if capability == "remember"]
    assert remembered == ["k0", "k1"]
    await host.stop()


async def test_an_answer_may_be_as_long_as_all_who_may_answer_allow() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "a": {"chat": says("900")}, "b": {"chat": says("900")}})
    allowed = {"p": {}, "a": {"max_tokens": 2000}, "b": {"max_tokens": 1500}}
    peers.members[:] = [
        msgspec.structs.replace(
            m, capabilities={c: dict(given) | allowed[m.name] for c, given in m.capabilities.items()}
        )
        for m in peers.members
    ]
    await ask(host)
    await ask(host, max_tokens=30)
    assert [asked.max_tokens for _, capability, asked in peers.asked if capability == "chat"] == [1500, 30]
    assert [asked.max_tokens for _, capability, asked in peers.asked if capability == "prepare"] == [1500, 30]


def remembering(host: Host, *bodies: MemoryBody) -> None:
    host._records.kept = [Kept(f"memory/{body.id}", body) for body in bodies]  # type: ignore[attr-defined]


async def test_alone_the_host_uses_what_its_own_copy_remembers() -> None:
    host, _ = build({})
    remembering(
        host,
        MemoryBody("key", "La llave está bajo la maceta", language="es", made_at=86400.0),
        MemoryBody("wish", "Llámame Ana", sort="instruction"),
    )
    seen = await ask(host, "¿Dónde está la llave?")
    shown = [event for event in seen if isinstance(event, events.MemoriesEvent)]
    assert [(each.key, each.text, each.when, each.sort) for each in shown[0].memories] == [
        ("memory/wish", "Llámame Ana", 0.0, "instruction"),
        ("memory/key", "La llave está bajo la maceta", 86400.0, "fact"),
    ]
    assert "La llave está bajo la maceta" in text_of(seen)
    assert isinstance(seen[-1], events.DoneEvent)


async def test_a_temporary_chat_is_told_nothing_that_is_remembered() -> None:
    host, _ = build({})
    remembering(host, MemoryBody("key", "The key is under the pot", language="en"))
    seen = await ask(host, "Where is the key?", temporary=True)
    assert not any(isinstance(event, events.MemoriesEvent) for event in seen)
    assert "pot" not in text_of(seen)


async def test_the_preparer_is_told_who_asks_and_in_which_project() -> None:
    host, peers = build({"p": {"prepare": gives(PREPARED)}, "c": {"chat": says("900")}})
    await ask(host, who=Who("ana"), project="roof")
    request = next(request for _, name, request in peers.asked if name == "prepare")
    assert (request.who, request.project, request.temporary) == (Who("ana"), "roof", False)
