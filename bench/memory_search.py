"""Search among many memories: the whole path with the real model, its parts bare, the cache, recall and memory.

The store, the worker of the index and the embedding model are real; the network is left out. Texts are made from
templates in two languages. `EMBEDDED` of them are embedded by the model; the vectors of the others are these with
noise: the search costs the same, and neighbours are as close as repeated notes of a household. Queries are always
embedded.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from bench.harness import Context, Row
from tarsd.calls import Headers, SearchMemoriesItem, SearchMemoriesRequest
from tarsd.config import Processing
from tarsd.engines.sentence_transformers import EmbeddingEngine
from tarsd.memory import stemming
from tarsd.memory.bodies import MEMORY, MemoryBody
from tarsd.memory.store import Store
from tarsd.memory.vector_table import record_id
from tarsd.memory.vectors import VectorIndex
from tarsd.names import NodeId, TraceId
from tarsd.roles.embedding import Embedding
from tarsd.roles.searching import Searching
from tarsd.roles.serving import Serving
from tarsd.rpc import CallContext

ENTRIES_QUICK, ENTRIES = 10_000, 100_000
EMBEDDED_QUICK, EMBEDDED = 256, 5_000
QUERIES_QUICK, QUERIES = 40, 300
LIMIT, NEAREST = 20, 10
NOISE = 0.25
SEARCH_MS, CACHED_MS = 50.0, 5.0
START_S = 600.0
NODE = NodeId("b" * 32)
SERVED = CallContext(caller=None, headers=Headers(deadline_s=10, hops=1, trace=TraceId("bench")))

NAMES = [
    "Ana",
    "Luis",
    "Marta",
    "Pedro",
    "Inés",
    "Carmen",
    "John",
    "Mary",
    "Susan",
    "Peter",
    "Alice",
    "Tom",
    "Rosa",
    "Diego",
    "Helen",
]
THINGS = {
    "en": [
        "boiler",
        "lease",
        "insurance",
        "warranty",
        "roof",
        "dentist",
        "school",
        "car",
        "garden",
        "passport",
        "loan",
        "piano",
        "bicycle",
        "fence",
    ],
    "es": [
        "caldera",
        "contrato",
        "seguro",
        "garantía",
        "tejado",
        "dentista",
        "colegio",
        "coche",
        "jardín",
        "pasaporte",
        "préstamo",
        "piano",
    ],
}
FORMS = {
    "en": (
        "{name} paid {n} euros for the {thing} on {day} {month}",
        "the {thing} of {name} is due in {month}, number {n}",
        "{name} wants the {thing} renewed before {day} {month}",
    ),
    "es": (
        "{name} pagó {n} euros por el {thing} el {day} de {month}",
        "el {thing} de {name} vence en {month}, número {n}",
        "{name} quiere renovar el {thing} antes del {day} de {month}",
    ),
}
MONTHS = {
    "en": ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October"],
    "es": ["enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre"],
}


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    entries = context.pick(ENTRIES_QUICK, ENTRIES)
    rng = random.Random(5)
    folder = context.folder / "search"
    folder.mkdir(parents=True, exist_ok=True)
    store = await Store.open(folder / "memory.db", NODE)
    serving = Serving(
        store, lambda _: EmbeddingEngine(Processing()), lambda: VectorIndex(store, folder / "vectors"), ""
    )
    embedding, searching = Embedding(store, serving), Searching(store, serving)
    try:
        engine = serving.chosen.engine
        await engine.start()
        vectors = await _fill(store, engine, entries, context.pick(EMBEDDED_QUICK, EMBEDDED), rng)
        searching.start()
        await embedding.start()
        await _settled(embedding, serving)
        found: list[Row] = []
        async with context.watched(found):
            found += await _measured(context, store, searching, serving, vectors, folder, rng)
        return found
    finally:
        searching.stop()
        await embedding.stop()
        await store.close()


async def _fill(store: Store, engine: Any, entries: int, embedded: int, rng: random.Random) -> np.ndarray:
    """Write the memories and their vectors; return these."""
    made = [_text(rng) for _ in range(entries)]
    bodies = [MemoryBody(f"m{n}", text, language=language) for n, (language, text) in enumerate(made)]
    records = await store.append_many([(MEMORY, "", body) for body in bodies])
    real: list[bytes] = []
    for at in range(0, min(embedded, entries), 256):
        item = await engine.embed([text for _, text in made[at : at + 256]], "passage", START_S)
        real += item.vectors
    base = np.frombuffer(b"".join(real), "<f4").reshape(len(real), -1)
    noise = np.random.default_rng(5)
    found = base[np.arange(entries) % len(real)].copy()
    found[len(real) :] += noise.standard_normal((entries - len(real), base.shape[1]), "f4") * (
        NOISE / np.sqrt(base.shape[1])
    )
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    named = [(record_id(each.origin, each.seq), row.tobytes()) for each, row in zip(records, found, strict=True)]
    await store.put_vectors(engine.model, named)
    return found


def _text(rng: random.Random) -> tuple[str, str]:
    language = rng.choice(("en", "es"))
    form = rng.choice(FORMS[language])
    text = form.format(
        name=rng.choice(NAMES), thing=rng.choice(THINGS[language]), n=rng.randint(1, 99_999),
        day=rng.randint(1, 28), month=rng.choice(MONTHS[language]),
    )  # fmt: skip
    return language, text


async def _settled(embedding: Embedding, serving: Serving) -> None:
    async with asyncio.timeout(START_S):
        while embedding.problem:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.1)
        await serving.chosen.index.settled()


async def _measured(
    context: Context,
    store: Store,
    searching: Searching,
    serving: Serving,
    vectors: np.ndarray,
    folder: Path,
    rng: random.Random,
) -> list[Row]:
    count = context.pick(QUERIES_QUICK, QUERIES)
    queries = [_text(rng)[1] for _ in range(count)]
    engine, entries = serving.chosen.engine, f"{len(vectors):,} entries"

    async def search(query: str) -> None:
        async for item in searching.memories(SearchMemoriesRequest(query, LIMIT), SERVED):
            assert isinstance(item, SearchMemoriesItem)
            assert not item.degraded, item.degraded

    await search("warm")
    whole = [await _ms(search, query) for query in queries]
    cached = [await _ms(search, query) for query in queries[-100:]]
    embedded = [(await engine.embed([query], "query", 10)).vectors[0] for query in queries]
    words = [await _ms(lambda query: store.recollections_by_keywords(query, LIMIT, "en"), query) for query in queries]
    index = serving.chosen.index
    near = [await _ms(lambda vector: index.search_recollections(vector, LIMIT), vector) for vector in embedded]
    model = [await _ms(lambda query: engine.embed([query], "query", 10), query) for query in queries]
    bare = _bare_faiss(vectors, embedded)
    fts = _bare_fts(folder, len(vectors), queries)
    worker = index.worker
    note = f"{EMBEDDED_QUICK if context.quick else EMBEDDED:,} texts embedded, the others' vectors are these with noise"
    found = [
        Row(
            figure=f"memory search p95, {entries}, query embedded", unit="ms", samples=_p95s(whole), aim=SEARCH_MS,
            note=f"median {statistics.median(whole):.1f}; {note}",
        ),
        Row(figure="the same, cached, p95", unit="ms", samples=_p95s(cached), aim=CACHED_MS),
        Row(figure="of it: the query's embedding", unit="ms", samples=model),
        Row(figure="of it: keywords", unit="ms", samples=words, reference=fts, reference_name="bare FTS5"),
        Row(figure="of it: vectors", unit="ms", samples=near, reference=bare["flat"], reference_name="bare Flat"),
    ]  # fmt: skip
    found += [Row(figure=f"bare FAISS {name}", unit="ms", samples=taken) for name, taken in bare.items()]
    found += [
        Row(
            figure=f"recall@{NEAREST} of the index against exact search", unit="share",
            samples=[await _recall(index, vectors, embedded)], aim=0.99, aim_is=">=",
        ),
        Row(
            figure="worker of the index (RSS)", unit="MiB",
            samples=[worker.rss_bytes() / (1 << 20)] if worker is not None else [], missing="it has no process",
        ),
    ]  # fmt: skip
    return found


async def _ms(work: Callable[[Any], Awaitable[object]], what: Any) -> float:
    began = time.perf_counter()
    await work(what)
    return (time.perf_counter() - began) * 1000


def _p95s(samples: list[float]) -> list[float]:
    """Return the 95th percentile of each fifth of the samples: one figure with its spread."""
    fifth = max(20, len(samples) // 5)
    parts = [samples[at : at + fifth] for at in range(0, len(samples), fifth)]
    return [statistics.quantiles(part, n=20)[-1] for part in parts if len(part) >= fifth]


def _bare_faiss(vectors: np.ndarray, queries: list[bytes]) -> dict[str, list[float]]:
    """Return how long FAISS takes in this process, by kind of index. HNSW cannot remove: it is shown for its speed."""
    faiss.omp_set_num_threads(1)
    dimension = vectors.shape[1]
    lists = int(4 * len(vectors) ** 0.5)
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.train(vectors)
    ivf.nprobe = 8
    kinds = {
        "flat": faiss.IndexFlatIP(dimension),
        f"IVF{lists}, nprobe 8": ivf,
        "HNSW16 (no removal)": faiss.IndexHNSWFlat(dimension, 16, faiss.METRIC_INNER_PRODUCT),
    }
    asked = [np.frombuffer(query, "<f4").reshape(1, -1).copy() for query in queries]
    taken: dict[str, list[float]] = {}
    for name, index in kinds.items():
        index.add(vectors)
        exact = kinds["flat"]
        shares: list[float] = []
        times: list[float] = []
        for query in asked:
            began = time.perf_counter()
            _, ids = index.search(query, NEAREST)
            times.append((time.perf_counter() - began) * 1000)
            shares.append(len(set(ids[0]) & set(exact.search(query, NEAREST)[1][0])) / NEAREST)
        taken[name if name == "flat" else f"{name}, recall {statistics.mean(shares):.2f}"] = times
    return taken


def _bare_fts(folder: Path, entries: int, queries: list[str]) -> list[float]:
    """Return how long SQLite's own full-text search takes for the same texts and terms."""
    taken: list[float] = []
    with sqlite3.connect(folder / "bare.db") as database:
        database.execute("CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(stems, tokenize = 'ascii')")
        database.execute("DELETE FROM words")
        rng = random.Random(5)
        for _ in range(entries):
            language, text = _text(rng)
            database.execute("INSERT INTO words VALUES (?)", (stemming.index_text(text, language),))
        for query in queries:
            terms = stemming.query_terms(query, "en", ("en", "es"))
            began = time.perf_counter()
            database.execute(
                "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?",
                (" OR ".join(f'"{term}"' for term in terms), 4 * LIMIT),
            ).fetchall()
            taken.append((time.perf_counter() - began) * 1000)
    return taken


async def _recall(index: VectorIndex, vectors: np.ndarray, queries: list[bytes]) -> float:
    shares = []
    for query in queries:
        exact = np.argsort(-(vectors @ np.frombuffer(query, "<f4")), kind="stable")[:NEAREST]
        wanted = {f"{MEMORY}/m{place}" for place in exact}
        found = {each.key for each, _ in await index.search_recollections(query, NEAREST)}
        shares.append(len(wanted & found) / NEAREST)
    return statistics.mean(shares)
