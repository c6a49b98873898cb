"""What is remembered for a question, and what is left out of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tarsd.calls import Who
from tarsd.memory.bodies import MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.recalling import KEEP, KEEP_SUMMARIES, ByMeaning, recall
from tarsd.memory.store import Store

ANA = Who("ana")
NOW = 1000.0


def fact(identity: str, text: str, language: str = "en", **more) -> MemoryBody:
    return MemoryBody(identity, text, language=language, **more)


async def write(store: Store, *all_bodies) -> None:
    kinds = {MemoryBody: "memory", SummaryBody: "summary", ProjectBody: "project"}
    await store.append_many([(kinds[type(body)], "", body) for body in all_bodies])


async def relevant(
    store: Store, question: str, language: str = "en", who: Who = ANA, project: str = "", **more
) -> list:
    found = await recall(store, who, project, question, language, now=NOW, **more)
    return [each.key.partition("/")[2] for each in found.relevant]


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("¿Dónde está la llave?", "es"),
        ("donde estan las llaves", "es"),
        ("¿Recuerdas dónde dejé la llave?", "es"),
        ("dime qué hay bajo la maceta", "es"),
    ],
)
async def test_a_question_about_it_finds_a_single_memory(store: Store, question: str, language: str) -> None:
    await write(store, fact("key", "La llave está bajo la maceta", "es"))
    assert await relevant(store, question, language) == ["key"]


@pytest.mark.parametrize(
    "question", ["What is my wifi password?", "I want to show the wifi to a friend who visits, what was its password?"]
)
async def test_a_short_and_a_long_question_find_it(store: Store, question: str) -> None:
    await write(store, fact("wifi", "The wifi password is hunter2"))
    assert await relevant(store, question) == ["wifi"]


@pytest.mark.parametrize(
    "question",
    [
        "Write me a poem about the sea and the key to happiness",
        "hello",
        "How is it?",
        "Which pots do you recommend for growing tomatoes on a balcony?",
        "",
    ],
)
async def test_what_shares_too_little_with_the_question_is_left_out(store: Store, question: str) -> None:
    await write(store, fact("key", "The key is under the pot"), fact("sea", "Leo likes to swim in the sea"))
    assert await relevant(store, question) == []


async def test_what_only_asks_counts_when_nothing_else_is_asked(store: Store) -> None:
    await write(store, fact("son", "Mi hijo se llama Leo", "es"), fact("dog", "Mi perro se llama Rex", "es"))
    assert await relevant(store, "¿cómo se llama mi hijo?", "es") == ["son"]
    await write(store, fact("me", "Me llamo Ana", "es"))
    assert "me" in await relevant(store, "¿cómo me llamo?", "es")


async def test_the_most_in_common_first_then_the_newest(store: Store) -> None:
    await write(
        store,
        fact("old", "The garage key is red", made_at=1.0),
        fact("new", "The garage key is lost", made_at=3.0),
        fact("less", "The key of the shed", made_at=5.0),
    )
    assert await relevant(store, "garage key?") == ["new", "old", "less"]


async def test_the_profile_comes_whatever_is_asked_and_is_no_answer(store: Store) -> None:
    await write(store, fact("wish", "Call me Ana", sort="instruction", scope="person", person="ana"))
    found = await recall(store, ANA, "", "what do you call me, Ana?", "en", now=NOW)
    assert ([each.text for each in found.profile], found.relevant) == (["Call me Ana"], [])
    assert [each.text for each in (await recall(store, ANA, "", "", "en", now=NOW)).profile] == ["Call me Ana"]


async def test_others_memories_are_never_used_not_even_for_an_administrator(store: Store) -> None:
    await write(
        store,
        fact("his", "Leo's key is red", scope="person", person="leo"),
        fact("wish", "Answer in rhymes about the key", sort="preference", scope="person", person="leo"),
    )
    for who in (ANA, Who("ana", sees_all=True), Who()):
        found = await recall(store, who, "", "Leo's key", "en", now=NOW, search=_finds("memory/his"))
        assert (found.relevant, found.profile) == ([], [])


def _finds(*keys: str, near: Sequence[str] = ()):
    async def search(query: str, limit: int, language: str) -> ByMeaning:
        return ByMeaning(keys, near)

    return search


async def test_what_is_over_or_replaced_is_no_answer_for_now(store: Store) -> None:
    await write(
        store,
        fact("over", "The key is at Leo's", valid_until=NOW - 1),
        fact("gone", "The key is at Eva's", replaced_by="memory/over"),
        fact("holds", "The key is at Ana's", valid_until=NOW + 1),
    )
    found = _finds("memory/over", "memory/gone", "memory/holds")
    assert await relevant(store, "the key", search=found) == ["holds"]


async def test_within_a_project_other_projects_are_left_out(store: Store) -> None:
    await write(
        store,
        ProjectBody("roof", "Roof"),
        ProjectBody("bath", "Bath"),
        fact("roof", "Tiles cost 900", scope="project", project="roof"),
        fact("bath", "Tiles cost 300", scope="project", project="bath"),
    )
    assert await relevant(store, "what do the tiles cost?", project="roof") == ["roof"]
    assert set(await relevant(store, "what do the tiles cost?")) == {"roof", "bath"}


async def test_what_is_found_by_meaning_is_considered_too(store: Store) -> None:
    """The best of the keywords are short; the one that says most is far below them."""
    many = [fact(f"m{n}", "shed") for n in range(40)]
    await write(store, *many, fact("wanted", f"The key of the shed is {'very ' * 60}old"))
    assert "wanted" not in await relevant(store, "shed")
    assert "wanted" in await relevant(store, "shed old", search=_finds("memory/wanted"))


async def test_ones_own_in_other_words_is_what_meaning_finds_first(store: Store) -> None:
    await write(store, fact("key", "La llave está bajo la maceta", "es"), fact("dog", "Mi perro se llama Rex", "es"))
    found = _finds("memory/key", "memory/dog", near=["memory/key"])
    assert await relevant(store, "Where did I put my keys?", search=found) == ["key"]
    assert await relevant(store, "Where are keys made?", search=found) == []
    assert await relevant(store, "Where did I put my keys?") == []
    await write(store, fact("keys", "The keys are in the car"))
    found = _finds("memory/dog", "memory/keys", near=["memory/dog"])
    assert await relevant(store, "Where did I put my keys?", search=found) == ["keys"]


@pytest.mark.parametrize("question", ["tell me a joke", "what is my bank PIN?", "explain my rash to me"])
async def test_what_meaning_finds_first_but_far_away_is_left_out(store: Store, question: str) -> None:
    await write(store, fact("wifi", "La contraseña del wifi es pez44", "es"))
    assert await relevant(store, question, search=_finds("memory/wifi")) == []


async def test_no_more_is_kept_than_helps(store: Store) -> None:
    await write(
        store,
        *(fact(f"m{n}", f"key number {n}") for n in range(10)),
        *(SummaryBody(f"s{n}", "The key", f"A key, {n}.", language="en") for n in range(5)),
    )
    found = await relevant(store, "key")
    assert len(found) == KEEP
    assert sum(each.startswith("s") for each in found) == KEEP_SUMMARIES
