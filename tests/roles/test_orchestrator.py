"""The orchestrator: what it asks of others, and that it answers without them."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import (
    Hit,
    Passage,
    PrepareRequest,
    RecallItem,
    RecallRequest,
    SearchItem,
    SearchMemoriesItem,
    Turn,
    Who,
)
from tarsd.errors import PeerLost
from tarsd.memory.bodies import DOCUMENT, DocumentBody, MemoryBody
from tarsd.memory.store import Store
from tarsd.names import ConversationId, NodeId, Route
from tarsd.roles.orchestrator import MEANING_S, Orchestrator
from tests.roles.role_help import ME, one, services
from tests.test_routing import member

PASSAGE = Passage("o:1", "d", "lease.pdf", 2, 0, 22, "The rent is 900 euros.")


HANGS = object()  # an answer that never comes


class ScriptedPeer:
    """Answers search and recall by what a test wrote down; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def call(
        self, addresses: Any, expected: NodeId, spec: Any, request: Any, headers: Any, upload: Any = None
    ) -> AsyncGenerator[Any, None]:
        self.asked.append((spec.name, request))
        answer = self.answers[spec.name]
        if isinstance(answer, Exception):
            raise answer
        if answer is HANGS:
            async with asyncio.timeout(headers.deadline_s):
                await asyncio.Event().wait()
        yield answer


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "m.db", ME)
    await opened.append(DOCUMENT, "", DocumentBody("a" * 64, "lease.pdf"))
    yield opened
    await opened.close()


async def prepare(store: Store, peer: ScriptedPeer, question: str, **more: Any) -> calls.PrepareItem:
    offered = [calls.SEARCH, calls.RECALL, *([calls.SEARCH_MEMORIES] if "search_memories" in peer.answers else [])]
    able = member("b", capabilities={spec.name: {} for spec in offered})
    role = Orchestrator(services(store, peer, [able]))
    item = await one(role.handlers()[calls.PREPARE.name], PrepareRequest(question, **more))
    assert isinstance(item, calls.PrepareItem)
    return item


async def test_a_question_comes_back_with_its_passages(store: Store) -> None:
    peer = ScriptedPeer(search=SearchItem([Hit(PASSAGE, 1.0)]))
    item = await prepare(store, peer, "How much is the rent of the flat per month?")
    assert (item.route, item.sources, item.language, item.degraded) == (Route.NEEDS_CONTEXT, [PASSAGE], "en", "")
    assert "The rent is 900 euros." in item.messages[-1].content
    assert peer.asked[0][1].language == "en"


async def test_small_talk_searches_nothing(store: Store) -> None:
    peer = ScriptedPeer()
    item = await prepare(store, peer, "hola")
    assert (item.route, peer.asked) == (Route.INFERENCE_ONLY, [])


async def test_a_search_that_fails_costs_the_passages_not_the_question(store: Store) -> None:
    item = await prepare(store, ScriptedPeer(search=PeerLost("gone")), "How much is the rent of the flat?")
    assert (item.sources, item.degraded) == ([], "the documents could not be searched: gone")


async def test_what_a_search_lacked_is_passed_on(store: Store) -> None:
    peer = ScriptedPeer(search=SearchItem([Hit(PASSAGE, 1.0)], degraded="vectors: loading"))
    english = await prepare(store, peer, "How much is the rent of the flat?")
    assert english.degraded == "found by keywords only, not by meaning"
    spanish = await prepare(store, peer, "¿Cuánto es el alquiler del piso al mes?")
    assert spanish.degraded == "encontrado solo por palabras clave, no por significado"


async def test_a_conversation_is_recalled_when_its_turns_are_not_at_hand(store: Store) -> None:
    peer = ScriptedPeer(recall=RecallItem("They spoke of the rent.", 3))
    item = await prepare(store, peer, "hola", conversation=ConversationId("c"))
    assert "They spoke of the rent." in item.messages[0].content
    with_turns = await prepare(store, peer, "hola", conversation=ConversationId("c"), turns=[Turn("a", "b")])
    assert "They spoke of the rent." not in with_turns.messages[0].content


async def test_a_conversation_that_cannot_be_recalled_is_told(store: Store) -> None:
    item = await prepare(store, ScriptedPeer(recall=PeerLost("gone")), "hola", conversation=ConversationId("c"))
    assert item.degraded.endswith("gone")


async def test_the_holder_of_a_conversation_is_given_what_the_host_knows_of_it(store: Store) -> None:
    seed = RecallItem("Ana asked for the rent.", 3, person="ana")
    peer = ScriptedPeer(recall=seed)
    item = await prepare(store, peer, "hola", conversation=ConversationId("k"), who=Who("ana"), seed=seed)
    assert peer.asked == [("recall", RecallRequest(ConversationId("k"), "ana", seed))]
    assert "Ana asked for the rent." in item.messages[0].content


async def test_a_holder_that_is_lost_costs_nothing_while_the_host_knows_the_conversation(store: Store) -> None:
    seed = RecallItem("Ana asked for the rent.", 3)
    peer = ScriptedPeer(recall=PeerLost("gone"))
    item = await prepare(store, peer, "hola", conversation=ConversationId("k"), seed=seed)
    assert "Ana asked for the rent." in item.messages[0].content
    assert item.degraded == ""


async def test_in_a_temporary_chat_nothing_is_recalled_and_its_searches_leave_no_trace(store: Store) -> None:
    peer = ScriptedPeer(recall=RecallItem("Ana asked for the rent.", 3), search=SearchItem([]))
    question = "How much is the rent of the flat per month?"
    await prepare(store, peer, question, conversation=ConversationId("k"), temporary=True)
    assert {name for name, _ in peer.asked} == {"search"}
    assert all(request.temporary for _, request in peer.asked)


async def test_what_is_remembered_comes_with_the_question_on_every_route(store: Store) -> None:
    await store.append_many(
        [
            ("memory", "", MemoryBody("key", "La llave está bajo la maceta", language="es")),
            ("memory", "", MemoryBody("wish", "Llámame Ana", sort="instruction", scope="person", person="ana")),
            ("memory", "", MemoryBody("his", "La llave de Leo", language="es", scope="person", person="leo")),
        ]
    )
    peer = ScriptedPeer(search=SearchItem([]))
    item = await prepare(store, peer, "¿dónde está la llave de casa?", who=calls.Who("ana"))
    assert [memory.text for memory in item.memories] == ["Llámame Ana", "La llave está bajo la maceta"]
    assert "Llámame Ana" in item.messages[0].content
    assert "La llave está bajo la maceta" in item.messages[-1].content
    assert item.degraded == ""
    command = await prepare(store, peer, "enciende la luz de la maceta", who=calls.Who("ana"))
    assert command.route is Route.INFERENCE_ONLY
    assert [memory.text for memory in command.memories] == ["Llámame Ana"]


async def test_a_temporary_chat_uses_nothing_that_is_remembered(store: Store) -> None:
    await store.append("memory", "", MemoryBody("key", "The key is under the pot", language="en"))
    peer = ScriptedPeer(search=SearchItem([]), search_memories=SearchMemoriesItem([("memory/key", 1.0)]))
    item = await prepare(store, peer, "Where is the key?", temporary=True)
    assert item.memories == []
    assert not any(name == "search_memories" for name, _ in peer.asked)


async def test_what_meaning_finds_is_used_and_its_failure_is_not(store: Store) -> None:
    await store.append("memory", "", MemoryBody("key", "The key is under the pot", language="en"))
    failed = ScriptedPeer(search=SearchItem([]), search_memories=PeerLost("gone"))
    item = await prepare(store, failed, "Where is the key?")
    assert ([memory.key for memory in item.memories], item.degraded) == (["memory/key"], "")
    asked = [request for name, request in failed.asked if name == "search_memories"]
    assert asked[0].query == "Where is the key?"


async def test_nobody_waits_long_for_a_search_by_meaning_that_hangs(store: Store) -> None:
    await store.append("memory", "", MemoryBody("key", "The key is under the pot", language="en"))
    async with asyncio.timeout(30 * MEANING_S):
        item = await prepare(store, ScriptedPeer(search=SearchItem([]), search_memories=HANGS), "Where is the key?")
    assert [memory.key for memory in item.memories] == ["memory/key"]


async def test_what_was_searched_without_meaning_proves_none(store: Store) -> None:
    await store.append("memory", "", MemoryBody("key", "La llave está bajo la maceta", language="es"))
    for degraded, expected in (("vectors: loading", []), ("", ["memory/key"])):
        found = SearchMemoriesItem([("memory/key", 1.0)], degraded, ["memory/key"])
        peer = ScriptedPeer(search=SearchItem([]), search_memories=found)
        item = await prepare(store, peer, "Where did I put my keys?")
        assert [memory.key for memory in item.memories] == expected
