"""The real model under two names, each with a process of its own: as two models of one family are changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tarsd.calls import SearchRequest
from tarsd.config import Processing
from tarsd.engines.bundled import embedding_folder
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.memory.bodies import DOCUMENT, PASSAGE, DocumentBody, PassageBody
from tarsd.memory.store import Store
from tarsd.memory.vectors import VectorIndex
from tarsd.roles.embedding import Embedding
from tarsd.roles.searching import Searching
from tarsd.roles.serving import Serving
from tests.roles.role_help import ME, one

pytestmark = pytest.mark.model
SHA = "c" * 64
TEXTS = ["The cat sleeps on the sofa.", "The rent is due in March.", "Water boils at a hundred degrees."]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not holds():  # noqa: ASYNC110 - a process loads a model
            await asyncio.sleep(0.05)


async def test_searches_are_answered_by_meaning_before_and_after_a_change_of_model(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).symlink_to(embedding_folder())
    store = await Store.open(tmp_path / "m.db", ME)
    try:
        await store.append_many([(PASSAGE, "", PassageBody(SHA, n, 0, 9, text, "en")) for n, text in enumerate(TEXTS)])
        await store.append(DOCUMENT, "", DocumentBody(SHA, "notes.txt", passages=len(TEXTS)))
        for name in ("first", "second"):
            serving = Serving(
                store,
                lambda folder: EmbeddingEngine(Processing(embedding_model=folder, threads=1)),
                lambda: VectorIndex(store, tmp_path / "v"),
                str(tmp_path / name),
            )
            embedding, searching = Embedding(store, serving), Searching(store, serving)
            await embedding.start()
            try:
                if name == "second":
                    await until(lambda: serving.old is not None or serving.model() == "second")  # noqa: B023
                await until(lambda: serving.model() == name and not embedding.problem)  # noqa: B023
                async with asyncio.timeout(60):
                    await serving.chosen.index.settled()
                found = await one(searching.passages, SearchRequest("Where does the kitten take a nap?", 1, "en"))
                assert (found.degraded, found.hits[0].passage.text) == ("", TEXTS[0])
                assert found.hits[0].found_by == ["vectors"]
            finally:
                await embedding.stop()
        assert await store.models() == {"first": 3, "second": 3}
    finally:
        await store.close()
