"""Another model was chosen: the index of the one before serves until the new one is whole. Engines are fakes, the store
and the processes that hold the indexes are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tarsd.calls import SearchItem, SearchMemoriesItem, SearchMemoriesRequest, SearchRequest
from tarsd.memory.bodies import DOCUMENT, MEMORY, PASSAGE, DiaryBody, DocumentBody, MemoryBody, PassageBody, memory_key
from tarsd.memory.store import Store
from tarsd.memory.vectors import VectorIndex
from tarsd.roles.embedding import Embedding
from tarsd.roles.searching import Searching
from tarsd.roles.serving import Serving
from tests.roles.fake_embedding import FakeEngine
from tests.roles.role_help import ME, one

SHA = "a" * 64
TEXTS = [f"passage number{n} speaks of word{n}" for n in range(40)]


class Node:
    """The parts that search, with engines by their folders: a folder that is not in `models` is gone."""

    def __init__(self, store: Store, folder: Path, chosen: str, models: dict[str, str]) -> None:
        self.engines: dict[str, FakeEngine] = {}

        def make(wanted: str) -> FakeEngine:
            return self.engines.setdefault(wanted, FakeEngine(models.get(wanted, "")))

        self.store = store
        self.serving = Serving(store, make, lambda: VectorIndex(store, folder), chosen)
        self.embedding = Embedding(store, self.serving)
        self.searching = Searching(store, self.serving)

    async def search(self, query: str, *, temporary: bool = False) -> SearchItem:
        item = await one(self.searching.passages, SearchRequest(query, 5, temporary=temporary))
        assert isinstance(item, SearchItem)
        return item

    async def memories(self, query: str, limit: int = 5) -> SearchMemoriesItem:
        item = await one(self.searching.memories, SearchMemoriesRequest(query, limit))
        assert isinstance(item, SearchMemoriesItem)
        return item

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():  # noqa: ASYNC110 - several parts move, and none tells of all
                await asyncio.sleep(0.01)

    async def whole(self) -> None:
        """Wait until all is embedded and in the index."""
        await self.until(lambda: not self.embedding.problem and not self.serving.progress())
        await self.embedding.missing()
        async with asyncio.timeout(30):
            await self.serving.chosen.index.settled()


@asynccontextmanager
async def running(node: Node) -> AsyncIterator[Node]:
    node.searching.start()
    await node.embedding.start()
    try:
        yield node
    finally:
        node.searching.stop()
        await node.embedding.stop()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    opened = await Store.open(tmp_path / "m.db", ME)
    places = enumerate(TEXTS, 1)
    await opened.append_many([(PASSAGE, "", PassageBody(SHA, page, 0, 9, text, "en")) for page, text in places])
    await opened.append(DOCUMENT, "", DocumentBody(SHA, "lease.pdf", passages=len(TEXTS)))
    yield opened
    await opened.close()


MODELS = {"/old": "old", "/new": "new"}


async def embedded_by_old(store: Store, folder: Path) -> None:
    async with running(Node(store, folder, "/old", MODELS)) as node:
        await node.whole()


def files(folder: Path) -> int:
    return len(list(folder.glob("*.vectors")))


async def test_the_old_index_serves_until_the_new_one_is_whole(store: Store, tmp_path: Path) -> None:
    await embedded_by_old(store, tmp_path / "v")
    node = Node(store, tmp_path / "v", "/new", MODELS)
    node.serving.chosen.engine.gate.clear()  # type: ignore[attr-defined]
    node.engines["/new"].let_through = 16
    async with running(node):
        await node.until(lambda: node.serving.old is not None and node.engines["/new"].embedded == 16)
        async with asyncio.timeout(30):
            await node.serving.serving().index.settled()
        found = await node.search("word7")
        assert (found.degraded, found.hits[0].found_by) == ("", ["keywords", "vectors"])
        assert (node.serving.model(), node.serving.progress()) == ("old", "re-embedding 16 of 40")
        node.engines["/new"].gate.set()
        await node.whole()
        assert (node.serving.model(), node.serving.progress()) == ("new", "")
        assert (await node.search("word7")).hits[0].found_by == ["keywords", "vectors"]
        assert not node.engines["/old"].is_loaded
        await node.until(lambda: files(tmp_path / "v") <= 1)  # none of the old model's vectors stays in a file
        assert await store.models() == {"old": 40, "new": 40}  # until the night


async def test_what_comes_meanwhile_is_found_by_the_old_model_too(store: Store, tmp_path: Path) -> None:
    await embedded_by_old(store, tmp_path / "v")
    node = Node(store, tmp_path / "v", "/new", MODELS)
    node.serving.chosen.engine.gate.clear()  # type: ignore[attr-defined]
    await store.append(MEMORY, "", MemoryBody("m1", "the lighthouse keeper is called Ines"))
    async with running(node):
        await node.until(lambda: node.engines.get("/old", FakeEngine("")).embedded == 1)
        await node.until(lambda: bool(node.serving.old and node.serving.old.index.status().vectors == 41))
        assert (await node.memories("lighthouse keeper")).found[0][0] == memory_key("m1")
        assert node.serving.model() == "old"


async def test_a_restart_goes_on_where_it_was(store: Store, tmp_path: Path) -> None:
    await embedded_by_old(store, tmp_path / "v")
    first = Node(store, tmp_path / "v", "/new", MODELS)
    first.serving.chosen.engine.gate.clear()  # type: ignore[attr-defined]
    first.engines["/new"].let_through = 32
    async with running(first):
        await first.until(lambda: first.serving.progress() == "re-embedding 32 of 40")
    async with running(Node(store, tmp_path / "v", "/new", MODELS)) as again:
        await again.whole()
        assert again.engines["/new"].embedded == 8
        assert again.serving.model() == "new"


async def test_keywords_serve_alone_where_the_old_model_is_gone(store: Store, tmp_path: Path) -> None:
    await embedded_by_old(store, tmp_path / "v")
    node = Node(store, tmp_path / "v", "/new", {"/new": "new"})
    node.serving.chosen.engine.gate.clear()  # type: ignore[attr-defined]
    node.engines["/new"].let_through = 16
    async with running(node):
        await node.until(lambda: node.serving.progress() == "re-embedding 16 of 40")
        found = await node.search("word7")
        assert (found.degraded, found.hits[0].found_by) == ("vectors: re-embedding 16 of 40", ["keywords"])
        node.engines["/new"].gate.set()
        await node.whole()
        assert (await node.search("word7")).degraded == ""


async def test_the_old_model_serves_where_the_new_one_cannot_be_loaded(store: Store, tmp_path: Path) -> None:
    await embedded_by_old(store, tmp_path / "v")
    async with running(Node(store, tmp_path / "v", "/gone", MODELS)) as node:
        await node.until(lambda: node.serving.old is not None)
        async with asyncio.timeout(30):
            await node.serving.serving().index.settled()
        assert (await node.search("word7")).hits[0].found_by == ["keywords", "vectors"]
        await node.until(lambda: "no such folder" in node.embedding.problem)


async def test_memories_are_found_among_many_passages_and_never_once_replaced(store: Store, tmp_path: Path) -> None:
    await store.append(MEMORY, "", MemoryBody("m1", "word1 word2 word3 word4"))
    await store.append(MEMORY, "", MemoryBody("m2", "nothing of that sort"))
    async with running(Node(store, tmp_path / "v", "/old", MODELS)) as node:
        await node.whole()
        assert {key for key, _ in (await node.memories("word1")).found} == {memory_key("m1"), memory_key("m2")}
        assert (await node.memories("word1")).found[0][0] == memory_key("m1")
        assert all(hit.passage.text in TEXTS for hit in (await node.search("word1 word2")).hits)
        await store.append(MEMORY, "", MemoryBody("m1", "word1 word2 word3 word4", replaced_by=memory_key("m2")))
        await node.whole()
        assert [key for key, _ in (await node.memories("word1")).found] == [memory_key("m2")]
        assert node.serving.chosen.index.status().vectors == len(TEXTS) + 1


async def test_a_question_is_answered_from_the_cache_until_texts_change(store: Store, tmp_path: Path) -> None:
    async with running(Node(store, tmp_path / "v", "/old", MODELS)) as node:
        await node.whole()
        first = await node.search("word7")
        await store.append("diary", "", DiaryBody("d1", "compact_memory", "m"))
        await store.put_vectors("of another model", [])
        assert await node.search(" WORD7 ") is first
        await store.append(MEMORY, "", MemoryBody("m1", "word7 is remembered"))
        assert await node.search("word7") is not first
        assert node.searching.status()["calls"]["search"] == {"hits": 1, "misses": 2, "hit_rate": 0.333}


async def test_a_temporary_question_neither_fills_nor_reads_the_cache(store: Store, tmp_path: Path) -> None:
    async with running(Node(store, tmp_path / "v", "/old", MODELS)) as node:
        await node.whole()
        await node.search("word7", temporary=True)
        first = await node.search("word7")
        assert await node.search("word7", temporary=True) is not first
        assert node.searching.status()["calls"]["search"] == {"hits": 0, "misses": 1, "hit_rate": 0.0}
