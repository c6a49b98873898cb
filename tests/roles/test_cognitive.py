"""Memory of conversations at the cognitive node: folded in order, by extraction where the model has no time."""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import ChatItem, RecallRequest, RememberRequest, Speed
from tarsd.config import CatalogModel, Models
from tarsd.errors import EngineUnavailable, Superseded
from tarsd.gossip.messages import MAX_FACT_VALUE_BYTES
from tarsd.memory.forgetting import Forgotten
from tarsd.memory.store import Store
from tarsd.names import AnswerId, ConversationId, TraceId
from tarsd.roles.cognitive import Cognitive
from tarsd.roles.folding import FOLD_S
from tarsd.rpc import CallContext
from tests.engines.scripted_engine import SCRIPTS
from tests.roles.role_help import ME, SERVED, one, services
from tests.roles.scripted_models import script_engines

TALK = ConversationId("c")


class ScriptedChain:
    """Writes a summary that counts the times that it was asked, or raises what the test set."""

    def __init__(self) -> None:
        self.asked: list[tuple[calls.ChatRequest, float]] = []
        self.error: Exception | None = None
        self.kept = True

    async def keep_nothing(self) -> None:
        if self.error is not None:
            raise self.error
        self.kept = False

    async def generate(self, request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[ChatItem, None]:
        self.asked.append((request, deadline_s))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        yield ChatItem("so " * len(self.asked) + "far.")
        yield ChatItem(finish_reason="stop")


@pytest.fixture
async def role(tmp_path: Path) -> AsyncGenerator[tuple[Cognitive, ScriptedChain], None]:
    store = await Store.open(tmp_path / "m.db", ME)
    cognitive, chain = Cognitive(services(store, None, [], data_dir=tmp_path)), ScriptedChain()
    cognitive._residency = chain  # type: ignore[assignment]
    yield cognitive, chain
    await store.close()


async def remember(role: Cognitive, question: str) -> Any:
    request = RememberRequest(TALK, question, "It is 900 euros, said Ana on 3 May 2026.", ["lease.pdf"])
    return await one(role.handlers()[calls.REMEMBER.name], request)


async def test_what_models_keep_of_questions_goes_with_what_is_forgotten_or_it_is_not_said_to_be_gone(
    role: tuple[Cognitive, ScriptedChain],
) -> None:
    cognitive, chain = role
    chain.error = EngineUnavailable("it hangs")
    with pytest.raises(EngineUnavailable):
        await cognitive.let_go(Forgotten(("memory/a",)))
    chain.error = None
    await cognitive.let_go(Forgotten(("memory/a",)))
    assert not chain.kept


async def test_each_exchange_is_folded_into_the_summary_before_it(role: tuple[Cognitive, ScriptedChain]) -> None:
    cognitive, chain = role
    await asyncio.gather(remember(cognitive, "one?"), remember(cognitive, "two?"))
    text = chain.asked[1][0].messages[-1].content
    assert text.startswith("So far. ")
    assert text.endswith("\n\ntwo?\nIt is 900 euros, said Ana on 3 May 2026.")
    recalled = await one(cognitive.handlers()[calls.RECALL.name], RecallRequest(TALK))
    assert (recalled.summary[:11], recalled.exchanges, recalled.documents) == ("So so far. ", 2, ["lease.pdf"])


async def test_summaries_are_background_work_of_bounded_time(role: tuple[Cognitive, ScriptedChain]) -> None:
    cognitive, chain = role
    await remember(cognitive, "one?")
    request, deadline_s = chain.asked[0]
    assert request.background
    assert deadline_s <= FOLD_S


async def test_of_two_hosts_that_ask_for_one_answer_the_newer_is_served(
    role: tuple[Cognitive, ScriptedChain], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    async def for_ever(request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[ChatItem, None]:
        try:
            yield ChatItem(request.partial or "new")
            await asyncio.Event().wait()
        finally:
            closed.append(request.partial)

    cognitive, chain = role
    monkeypatch.setattr(chain, "generate", for_ever)
    chat = cognitive.handlers()[calls.CHAT.name]
    asked = [calls.ChatRequest([calls.Message("user", "hi")], text, answer=AnswerId("a")) for text in ("", "shown")]
    older, newer = (chat(request, CallContext(None, calls.Headers(5, 0, TraceId("t")))) for request in asked)
    await anext(older)
    assert (await anext(newer)).text == "shown"
    assert closed == [""]
    with pytest.raises(Superseded):
        await anext(older)
    await newer.aclose()


@pytest.fixture
async def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Cognitive, None]:
    """A role with a scripted engine that is ready, and more models on demand than can be told."""
    script_engines(monkeypatch)
    store = await Store.open(tmp_path / "m.db", ME)
    given = services(store, None, [], data_dir=tmp_path)
    catalog = tuple(CatalogModel(name=f"{'long' * 15}-{i:03}") for i in range(99))
    config = msgspec.structs.replace(given.config, models=Models(catalog=catalog))
    cognitive = Cognitive(dataclasses.replace(given, config=config))
    await cognitive.start()
    assert await cognitive._residency._here[""].chain.wait_ready(5)
    yield cognitive
    await cognitive.stop()
    await store.close()


async def test_what_is_told_of_chat_fits_a_fact_of_gossip(loaded: Cognitive) -> None:
    chat = loaded.adverts()[calls.CHAT.name]
    assert (chat["engine"], chat["model"], chat["slots"]) == ("llama_cpp", "llama_cpp-model", 1)
    assert "speed" not in chat
    loaded._speeds.note(Speed("llama_cpp", "llama_cpp-model", tokens_per_s=41.25, together_tokens_per_s=90.5))
    chat = loaded.adverts()[calls.CHAT.name]
    assert (chat["speed"], chat["together"]) == (41.25, 90.5)
    names = chat["models"]
    assert isinstance(names, list)
    assert len(names) > 5
    assert len(msgspec.msgpack.encode(chat)) < MAX_FACT_VALUE_BYTES


async def test_the_measured_speed_counts_until_somebody_was_answered(loaded: Cognitive) -> None:
    loaded._speeds.note(Speed("llama_cpp", "llama_cpp-model", tokens_per_s=41.25))
    assert loaded.load().tokens_per_s == 41.25
    SCRIPTS["llama_cpp"].answers = [["word "] * 20]
    request = calls.ChatRequest([calls.Message("user", "hi")])
    items = [item async for item in loaded.handlers()[calls.CHAT.name](request, SERVED)]
    assert items[-1].finish_reason == "stop"
    assert loaded.load().tokens_per_s not in (0.0, 41.25)


async def test_models_are_offered_beside_chat(loaded: Cognitive) -> None:
    offered = set(loaded.adverts())
    assert {calls.MODELS.name, calls.PULL.name, calls.REMOVE_MODEL.name, calls.MEASURE.name} <= offered
    assert offered <= set(loaded.handlers())
    items = [item async for item in loaded.handlers()[calls.MEASURE.name](calls.MeasureRequest(quick=True), SERVED)]
    assert items[-1].speed is not None
    assert loaded.adverts()[calls.CHAT.name]["speed"] == items[-1].speed.tokens_per_s


async def test_a_summary_that_its_time_cut_off_does_not_replace_what_was_remembered(
    role: tuple[Cognitive, ScriptedChain], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(request: calls.ChatRequest, deadline_s: float) -> AsyncGenerator[ChatItem, None]:
        yield ChatItem("The user")
        yield ChatItem(finish_reason="length", limit="deadline")

    cognitive, chain = role
    monkeypatch.setattr(chain, "generate", cut)
    kept = await remember(cognitive, "How much is the rent?")
    assert "900" in kept.summary
