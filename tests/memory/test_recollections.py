"""What is remembered, asked for by key, filter and words, each person seeing only what is theirs."""

from __future__ import annotations

import random

import pytest
from memory_help import add_document, sha

from tarsd.calls import Who
from tarsd.memory import access, recollections
from tarsd.memory.bodies import MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.recollections import Filter
from tarsd.memory.store import Store

ANA, LEO, NOBODY = Who("ana"), Who("leo"), Who()
ROOF = ProjectBody("roof", "Roof", members=["ana"], person="leo", began_at=2.0)
GARDEN = ProjectBody("garden", "Garden", person="leo", began_at=3.0)


def memory(identity: str, text: str = "The key is under the pot.", **more) -> MemoryBody:
    return MemoryBody(identity, text, **more)


async def write(store: Store, *all_bodies) -> None:
    kinds = {MemoryBody: "memory", SummaryBody: "summary", ProjectBody: "project"}
    await store.append_many([(kinds[type(body)], "", body) for body in all_bodies])


def ids(page) -> list[str]:
    return [each.body.id for each in page.kept]


async def test_a_memory_is_found_by_its_key(store: Store) -> None:
    body = memory("m")
    await write(store, body, SummaryBody("s", "Roof", "It leaks."))
    assert await store.memory("memory/m") == body
    assert await store.memory("memory/x") is None
    assert await store.memory("summary/s") is None
    assert (await store.summary("summary/s")).text == "It leaks."
    assert await store.summary("memory/m") is None


async def test_several_come_in_the_order_that_was_asked_for_and_only_ones_own(store: Store) -> None:
    await write(store, memory("a"), memory("b", scope="person", person="ana"), memory("c"))
    keys = ["memory/c", "memory/b", "memory/gone", "memory/a"]
    assert [each.key for each in await store.get_many(keys)] == ["memory/c", "memory/b", "memory/a"]
    assert [each.key for each in await store.get_many(keys, LEO)] == ["memory/c", "memory/a"]
    assert await store.get_many([]) == []


async def test_a_page_is_newest_first_and_counts_all(store: Store) -> None:
    await write(store, *(memory(f"m{n}", made_at=float(n)) for n in range(5)), SummaryBody("s", "t", "x", ended_at=2.5))
    page = await store.memories(ANA, limit=3)
    assert (ids(page), page.total) == (["m4", "m3", "s"], 6)
    assert ids(await store.memories(ANA, limit=3, offset=3)) == ["m2", "m1", "m0"]
    assert ids(await store.memories(ANA, Filter(("summary",)))) == ["s"]
    assert (await store.memories(ANA, Filter(()))).total == 0


async def test_what_was_replaced_is_history(store: Store) -> None:
    await write(
        store,
        memory("old", replaced_by="memory/new", replaced_why="contradicted", made_at=1.0),
        memory("new", made_at=2.0),
    )
    assert ids(await store.memories(ANA)) == ["new"]
    assert ids(await store.memories(ANA, Filter(history=True))) == ["new", "old"]
    replaced = await store.replaced_by(["memory/new", "memory/old"])
    assert {key: [each.key for each in old] for key, old in replaced.items()} == {"memory/new": ["memory/old"]}


async def test_filters_choose_by_sort_scope_project_conversation_and_time(store: Store) -> None:
    await write(
        store,
        ROOF,
        memory("wish", sort="preference", made_at=1.0),
        memory("mine", scope="person", person="ana", made_at=2.0),
        memory("tiles", scope="project", project="roof", made_at=3.0),
        memory("over", valid_until=50.0, made_at=4.0),
        SummaryBody("talk", "t", "x", conversation="c", ended_at=5.0),
    )
    assert ids(await store.memories(ANA, Filter(sort="preference"))) == ["wish"]
    assert ids(await store.memories(ANA, Filter(scope="person"))) == ["mine"]
    assert ids(await store.memories(ANA, Filter(project="roof"))) == ["tiles"]
    assert ids(await store.memories(ANA, Filter(conversation="c"))) == ["talk"]
    assert ids(await store.memories(ANA, Filter(("memory",), valid_at=60.0))) == ["tiles", "mine", "wish"]
    assert ids(await store.memories(ANA, Filter(("memory",), valid_at=40.0)))[0] == "over"


def everybodys() -> list[MemoryBody]:
    rng = random.Random(5)
    scopes = ["person", "household", "project"]
    return [
        memory(
            f"m{n}",
            "key",
            scope=rng.choice(scopes),
            person=rng.choice(["ana", "leo", "eva", ""]),
            project=rng.choice(["roof", "garden", "gone"]),
            sort=rng.choice(["fact", "preference"]),
            made_at=float(n),
        )
        for n in range(80)
    ]


@pytest.mark.parametrize("who", [ANA, LEO, Who("eva"), NOBODY, Who("eva", sees_all=True)])
async def test_sql_shows_exactly_what_the_rules_of_access_allow(
    store: Store, who: Who, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = everybodys()
    await write(store, ROOF, GARDEN, *written)
    allowed = {b.id for b in written if access.may_see(who, b, {"roof": ROOF, "garden": GARDEN})}
    monkeypatch.setattr(recollections, "may_see", lambda *_: True)  # what SQL alone lets through
    page = await store.memories(who, limit=100)
    assert (set(ids(page)), page.total) == (allowed, len(allowed))
    found = await store.search_memories_by_keywords("key", 100, "", who)
    assert {key.removeprefix("memory/") for key, _ in found} == allowed


async def test_bodies_are_checked_again_after_sql(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(store, memory("m", sort="preference"))
    monkeypatch.setattr(recollections, "may_see", lambda *_: False)
    assert ids(await store.memories(ANA)) == []
    assert await store.get_many(["memory/m"], ANA) == []
    assert await store.profile(ANA) == []


async def test_the_profile_are_wishes_of_the_person_the_household_and_the_project(store: Store) -> None:
    await write(
        store,
        ROOF,
        memory("fact", made_at=1.0),
        memory("ours", sort="preference", made_at=2.0),
        memory("mine", sort="instruction", scope="person", person="ana", made_at=3.0),
        memory("his", sort="instruction", scope="person", person="leo", made_at=4.0),
        memory("roof", sort="instruction", scope="project", project="roof", made_at=5.0),
        memory("past", sort="instruction", valid_until=50.0, made_at=6.0),
        memory("old", sort="instruction", replaced_by="memory/ours", made_at=7.0),
    )

    async def profile(*asked, **more) -> list[str]:
        return [each.body.id for each in await store.profile(*asked, **more)]

    assert await profile(ANA, now=60.0) == ["mine", "ours"]
    assert await profile(ANA, "roof", now=60.0) == ["roof", "mine", "ours"]
    assert await profile(ANA, now=40.0) == ["past", "mine", "ours"]
    assert await profile(Who("ana", sees_all=True), now=60.0) == ["mine", "ours"]
    assert await profile(ANA, now=60.0, limit=1) == ["mine"]


async def test_words_find_current_memories_and_summaries_of_any_language(store: Store) -> None:
    await write(
        store,
        memory("en", "The keys are under the flower pot.", language="en"),
        memory("es", "Las llaves están bajo la maceta.", language="es"),
        memory("old", "The keys were in the garage.", language="en", replaced_by="memory/en"),
        SummaryBody("s", "Locksmith", "New keys cost 20 euros.", language="en"),
    )
    found = await store.search_memories_by_keywords("Where is my key?", 10, "en")
    assert {key for key, _ in found} == {"memory/en", "summary/s"}
    assert all(score > 0 for _, score in found)
    assert [key for key, _ in await store.search_memories_by_keywords("¿dónde está la llave?", 10, "es")] == [
        "memory/es"
    ]
    assert [key for key, _ in await store.search_memories_by_keywords("LLAVES", 10, "en")] == ["memory/es"]
    assert len(await store.search_memories_by_keywords("keys", 1, "en")) == 1
    assert await store.search_memories_by_keywords("?!", 10) == []


async def test_projects_are_their_members_and_count_what_belongs_to_them(store: Store) -> None:
    await write(
        store,
        ROOF,
        GARDEN,
        memory("a", scope="project", project="roof"),
        memory("b", scope="project", project="roof", replaced_by="memory/a"),
        SummaryBody("s", "t", "x", project="garden"),
    )
    assert [(e.body.id, e.memories, e.summaries) for e in await store.projects(ANA)] == [
        ("garden", 0, 1),
        ("roof", 1, 0),
    ]
    assert [e.body.id for e in await store.projects(Who("eva"))] == ["garden"]
    assert await store.project("roof") == ROOF
    assert await store.project("gone") is None


async def test_documents_are_named_by_their_files(store: Store) -> None:
    await add_document(store, "lease", ["The rent is 900 euros."])
    assert await store.files([sha("lease"), sha("gone")]) == {sha("lease"): "lease.pdf"}
