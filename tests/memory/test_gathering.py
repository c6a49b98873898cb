"""What goes along is found by links; the same as if all that is remembered had been read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_help import OpenStore

from tarsd.memory.bodies import (
    MEMORY,
    SUMMARY,
    Body,
    MemoryBody,
    Source,
    SummaryBody,
    document_key,
    key_of,
    memory_key,
    project_key,
    summary_key,
)
from tarsd.memory.closure import Remembered, Target, closure
from tarsd.memory.gathering import gather
from tarsd.memory.links import as_named, links_of
from tarsd.memory.store import Entry, Store

SHA = "d" * 64
FACTS = ["The safe opens with 471122", "Ana lives in Lugo", "The boiler leaks", "Luis has a boat", "Rain on Monday"]
MEMORIES, SUMMARIES = 24, 5
KEYS = [memory_key(f"m{n}") for n in range(MEMORIES)] + [summary_key(f"s{n}") for n in range(SUMMARIES)]
TARGETS = [
    *(Target(key) for key in KEYS),
    Target(document_key(SHA), file="boiler.pdf", passages=["The boiler leaks"]),
    Target(project_key("roof")),
    Target(conversation="c1"),
    Target(conversation="c1", person="ana"),
]


def source(random: Random) -> Source:
    match random.randrange(5):
        case 0:
            return Source(conversation=random.choice(("c1", "c2")))
        case 1:
            return Source(document=random.choice((SHA, "e" * 64)))
        case 2:
            return Source(conversation="c1", keys=random.sample(KEYS, 1))
        case _:
            return Source(keys=random.sample(KEYS, random.randint(1, 2)))


def sources(random: Random) -> list[Source]:
    return [source(random) for _ in range(random.choice((0, 0, 0, 1, 2)))]


def memory(random: Random, number: int) -> MemoryBody:
    replaced = random.random() < 0.25
    return MemoryBody(
        f"m{number}",
        random.choice(FACTS),
        scope=random.choice(("household", "project")),
        project=random.choice(("", "", "", "roof")),
        made_by=random.choice(("person", "automatic", "nightly")),
        person=random.choice(("", "ana")),
        sources=sources(random),
        replaced_by=random.choice(KEYS[:MEMORIES]) if replaced else "",
        replaced_why=random.choice(("merged", "contradicted")) if replaced else "",
    )


def summary(random: Random, number: int) -> SummaryBody:
    text = ". ".join(random.sample(FACTS, random.randint(1, 3)))
    return SummaryBody(
        f"s{number}",
        "Talk",
        text,
        project=random.choice(("", "", "roof")),
        conversation=random.choice(("", "", "c1")),
        person=random.choice(("", "ana")),
        documents=random.choice(([], ["boiler.pdf"])),
        sources=sources(random),
        replaced_by=random.choice(("", "", random.choice(KEYS))),
    )


def house(random: Random) -> list[Remembered]:
    return [
        *(memory(random, number) for number in range(MEMORIES)),
        *(summary(random, number) for number in range(SUMMARIES)),
    ]


class House:
    """A memory that gives by links what it holds."""

    def __init__(self, remembered: Sequence[Remembered], older: Sequence[SummaryBody]) -> None:
        self._remembered, self._older = remembered, list(older)

    async def naming(self, keys: list[str]) -> list[Remembered]:
        named = set(as_named(keys))
        return [body for body in self._remembered if links_of(body) & named or key_of(body) in keys]

    async def bodies_below(self, key: str) -> list[Body]:
        return [body for body in self._remembered if key_of(body).startswith(f"{key}/")]

    async def older_summaries(self) -> list[SummaryBody]:
        return self._older


@settings(deadline=None)  # it starts threads, which takes as long as the machine likes
@given(st.integers(0, 2**32), st.sampled_from(TARGETS))
def test_what_is_found_by_links_is_what_is_found_among_everything(seed: int, target: Target) -> None:
    random = Random(seed)
    remembered = house(random)
    older = [summary(random, number) for number in range(SUMMARIES) if random.random() < 0.2]
    unseen = set(random.sample(KEYS, 4))

    def may_see(body: Remembered) -> bool:
        return key_of(body) not in unseen

    found, read = asyncio.run(gather(House(remembered, older), target, may_see))
    assert found == closure(target, remembered, may_see, older)
    assert found.rewritten.keys() <= read.keys()


@pytest.mark.parametrize("seed", range(4))
async def test_a_store_gives_the_same(store: Store, seed: int) -> None:
    remembered = house(Random(seed))
    entries: list[Entry] = [(MEMORY if isinstance(body, MemoryBody) else SUMMARY, "", body) for body in remembered]
    await store.append_many(entries)
    for target in TARGETS:
        found, _ = await gather(store, target, lambda body: True)
        assert found == closure(target, remembered, lambda body: True)


async def test_what_names_nothing_of_it_is_not_even_read(store: Store) -> None:
    await store.append_many([(MEMORY, "", MemoryBody(f"m{n}", "a thing")) for n in range(50)])
    await store.append(MEMORY, "", MemoryBody("made", "a third", sources=[Source(keys=[memory_key("m1")])]))
    _, read = await gather(store, Target(memory_key("m1")), lambda body: True)
    assert set(read) == {memory_key("m1"), memory_key("made")}


async def test_links_follow_what_is_visible_and_are_built_anew_with_the_rest(open_store: OpenStore) -> None:
    store = await open_store()
    key = memory_key("a")
    await store.append(MEMORY, "", MemoryBody("b", "first", sources=[Source(keys=[key])]))
    assert [key_of(body) for body in await store.naming([key])] == [memory_key("b")]
    await store.rebuild_derived()
    assert [key_of(body) for body in await store.naming([key])] == [memory_key("b")]
    await store.append(MEMORY, "", MemoryBody("b", "second"))
    assert await store.naming([key]) == []
    assert await store.rows("SELECT * FROM links") == []


async def test_a_database_of_a_version_without_links_gets_them_at_its_start(open_store: OpenStore) -> None:
    store = await open_store()
    key = memory_key("a")
    await store.append(MEMORY, "", MemoryBody("b", "first", sources=[Source(keys=[key])]))
    async with store._database.writing():
        await store._database.run("DELETE FROM links")
        await store._database.run("DELETE FROM meta WHERE name = 'linked'")
    await store.close()
    store = await open_store()
    assert [key_of(body) for body in await store.naming([key])] == [memory_key("b")]
