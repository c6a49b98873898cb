"""Rules of tarsd/memory/keywords.py, held against SQLite's own ranking of every text."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_help import OpenStore

from tarsd.memory.bodies import MEMORY, MemoryBody
from tarsd.memory.keywords import best, split
from tarsd.memory.store import Store

COUNTS = st.lists(st.tuples(st.text("abc", min_size=1, max_size=4), st.integers(0, 50)), unique_by=lambda each: each[0])
ALL = 1_000


async def filled(store: Store, texts: Sequence[str]) -> None:
    await store.append_many([(MEMORY, "", MemoryBody(f"m{n}", text)) for n, text in enumerate(texts)])


async def ranked(store: Store, words: Sequence[str]) -> dict[int, float]:
    """Return what SQLite says when it ranks every text that holds any word."""
    match = " OR ".join(f'"{word}"' for word in words)
    rows = await store.rows("SELECT rowid, -bm25(keywords) FROM keywords WHERE keywords MATCH ?", (match,))
    return dict(rows)


async def holding(store: Store, words: Sequence[str]) -> set[int]:
    return set(await ranked(store, words))


async def found(store: Store, words: Sequence[str], limit: int, most: int) -> dict[int, float]:
    return await best(store._database, words, "1", (), limit, most)


@given(COUNTS, st.integers(1, 60))
def test_no_rare_word_is_commoner_than_a_common_one(counts: list[tuple[str, int]], most: int) -> None:
    rare, common = split(counts, most)
    count = dict(counts)
    assert sorted([*rare, *common]) == sorted(word for word in count if count[word])
    assert max((count[word] for word in rare), default=0) <= min((count[word] for word in common), default=ALL)


@given(COUNTS, st.integers(1, 60))
def test_as_many_words_are_rare_as_stand_in_so_many_texts_but_at_least_one(
    counts: list[tuple[str, int]], most: int
) -> None:
    rare, common = split(counts, most)
    count = dict(counts)
    texts = sum(count[word] for word in rare)
    assert texts <= most or len(rare) == 1
    assert not common or texts + min(count[word] for word in common) > most
    assert rare or not common


async def test_texts_with_a_rare_word_are_ranked_as_if_all_were_by_all_words(open_store: OpenStore) -> None:
    store, rng = await open_store(), random.Random(3)
    words, weights = [f"word{n}" for n in range(30)], [1 / (n + 1) for n in range(30)]
    await filled(store, [" ".join(rng.choices(words, weights, k=rng.randint(2, 9))) for _ in range(400)])
    cut = 0
    for _ in range(40):
        asked = rng.sample(words, 5)
        counts = [(word, len(await holding(store, [word]))) for word in asked]
        rare, common = split(counts, 60)
        cut += bool(common)
        everything, sought = await ranked(store, asked), await holding(store, rare)
        right = sorted((score for number, score in everything.items() if number in sought), reverse=True)[:20]
        scores = await found(store, asked, 20, 60)
        right = right if len(right) == 20 else sorted(everything.values(), reverse=True)[:20]
        assert list(scores.values()) == pytest.approx(right)
        assert scores == pytest.approx({number: everything[number] for number in scores})
    assert cut > 20


async def test_a_text_with_common_words_alone_is_not_even_ranked_where_enough_others_are(
    open_store: OpenStore,
) -> None:
    store = await open_store()
    await filled(store, ["common common"] * 50 + ["rare and long and longer"] * 5)
    assert set(await found(store, ["common", "rare"], 5, 10)) == await holding(store, ["rare"])


async def test_where_the_rare_words_bring_too_few_the_common_ones_fill_up(open_store: OpenStore) -> None:
    store = await open_store()
    await filled(store, ["common"] * 50 + ["rare common"])
    scores = await found(store, ["common", "rare"], 5, 10)
    assert len(scores) == 5
    assert next(iter(scores)) in await holding(store, ["rare"])


async def test_a_question_of_common_words_only_finds_something(open_store: OpenStore) -> None:
    store = await open_store()
    await filled(store, ["common other"] * 50 + ["common"] * 10)
    assert len(await found(store, ["common", "other"], 5, 10)) == 5


async def test_a_question_of_unknown_words_finds_nothing(open_store: OpenStore) -> None:
    store = await open_store()
    await filled(store, ["common"])
    assert await found(store, ["unknown"], 5, 10) == {}
    assert await found(store, [], 5, 10) == {}


async def test_what_the_condition_does_not_want_takes_no_place(open_store: OpenStore) -> None:
    store = await open_store()
    await filled(store, ["rare common"] * 3 + ["common"] * 50)
    unwanted = max(await holding(store, ["rare"]))
    scores = await best(store._database, ["rare", "common"], "keywords.rowid > ?", (unwanted,), 5, 10)
    assert len(scores) == 5
    assert min(scores) > unwanted
