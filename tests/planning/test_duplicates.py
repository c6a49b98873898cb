"""What is one memory twice, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compaction_changes import substituted
from bench.compaction_texts import Said, everything
from tarsd.memory.bodies import MemoryBody
from tarsd.planning.duplicates import (
    Found,
    all_pairs,
    are_duplicates,
    found,
    groups,
    is_mistyped,
    is_one_move,
    merge,
    say_the_same,
)
from tarsd.planning.wording import Token, read

SAID = everything()


def memory(name: str, text: str, language: str = "en", **fields: Any) -> Found:
    return found(f"memory/{name}", MemoryBody(name, text, language=language, **fields))


def same(one: str, other: str, language: str = "en") -> bool:
    answer = say_the_same(read(one, language), read(other, language))
    assert answer == say_the_same(read(other, language), read(one, language))  # symmetric, always
    return answer


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("The bus leaves at 5 pm", "the bus leaves at 17:00.", "en"),
        ("El bus sale a las 5 de la tarde", "El autobús sale a las 17:00", "es"),
        ("The sofa cost €1,200", "The sofa cost 1200 euros.", "en"),
        ("We water the ferns twice a week", "Every week we water the ferns 2 times", "en"),
        ("Don't forget that the ladder is in the loft", "The ladder is in the loft", "en"),
        ("The plumber is called Ruiz.", "Plumber: Ruiz", "en"),
        ("In the loft is the ladder", "The ladder is in the loft.", "en"),
        ("The refrigerator needs a new lamp", "The fridge needs a new lamp", "en"),
        ("El trastero está abierto", "el trasstero esta abierto", "es"),
        ("The accountant is Ruiz", "The acountant is Ruiz", "en"),
    ],
)
def test_the_same_said_again_is_one(one: str, other: str, language: str) -> None:
    assert same(one, other, language)


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("The bus leaves at 5 pm", "The bus leaves at 5 am", "en"),
        ("Ana likes coffee", "Ana does not like coffee", "en"),
        ("Ana likes coffee", "Ana likes coffee without sugar", "en"),
        ("The key opens the shed", "The key opens the garage", "en"),
        ("Luis pays Ana 20 euros", "Ana pays Luis 20 euros", "en"),
        ("Glass on Monday, paper on Tuesday", "Paper on Monday, glass on Tuesday", "en"),
        ("Maria lives in Cádiz", "Maria lived in Cádiz", "en"),
        ("My doctor is Ruiz", "Her doctor is Ruiz", "en"),
        ("The password is x-Aa1", "The password is x-aA1", "en"),
        ("The password is Hunter", "The password is hunter", "en"),
        ("The letter is in the box", "The letter is on the box", "en"),
        ("Marina has the keys", "Martina has the keys", "en"),
        ("Julia tiene las llaves", "Julio tiene las llaves", "es"),
        ("El vecino riega", "La vecina riega", "es"),
        ("Trabajo en Indra", "Trabaja en Indra", "es"),
        ("The train goes from Madrid to Toledo", "The train goes from Toledo to Madrid", "en"),
        ("The shelf is 5 m long", "The shelf is 5 cm long", "en"),
        ("We sign contracts", "We sign contacts", "en"),
        ("The cat chases the dog", "The dog chases the cat", "en"),
        ("The lamp costs 1.5 euros", "The lamp costs 15 euros", "en"),
    ],
)
def test_what_differs_in_one_fact_is_two(one: str, other: str, language: str) -> None:
    assert not same(one, other, language)


@pytest.mark.parametrize("said", SAID, ids=lambda said: said.text[:30])
def test_nothing_that_only_looks_like_it_is_taken_for_it(said: Said) -> None:
    for other in (*said.other, *substituted(said)):
        assert not same(said.text, other, said.language), other


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": "person"},
        {"person": "ana"},
        {"project": "kitchen"},
        {"sort": "preference"},
        {"valid_until": 5.0},
        {"valid_from": 5.0},
        {"language": "es"},
    ],
    ids=str,
)
def test_never_across_what_belongs_apart(fields: dict[str, Any]) -> None:
    one, other = memory("a", "The boiler is old"), memory("b", "The boiler is old", **fields)
    assert are_duplicates(one, memory("b", "The boiler is old"))
    assert not are_duplicates(one, other)
    assert groups([one, other], [(one.key, other.key)], []) == []


texts = st.sampled_from([(text, said.language) for said in SAID for text in (said.text, *said.again, *said.other)])


@given(texts, texts)
def test_the_rule_is_symmetric_and_everything_is_itself(one: tuple[str, str], other: tuple[str, str]) -> None:
    mine, theirs = read(*one), read(*other)
    assert say_the_same(mine, theirs) == say_the_same(theirs, mine)
    assert say_the_same(mine, mine)


@given(st.lists(st.text(max_size=60), min_size=2, max_size=2), st.sampled_from(["", "en", "es", "xx"]))
def test_any_text_is_read_and_compared(two: list[str], language: str) -> None:
    one, other = (read(text, language) for text in two)
    assert say_the_same(one, other) == say_the_same(other, one)


@given(st.permutations(range(len(SAID[0].again) + 1)), st.randoms(use_true_random=False))
def test_a_merge_is_the_same_in_any_order_and_is_done_once(order: list[int], chance: Any) -> None:
    all_texts = (SAID[0].text, *SAID[0].again)
    memories = [memory(str(number), all_texts[number], made_at=float(number)) for number in order]
    pairs = all_pairs([each.key for each in memories])
    chance.shuffle(pairs)
    (group,) = groups(memories, pairs, [])
    merged = merge(group)
    expected = merge([memory(str(number), text, made_at=float(number)) for number, text in enumerate(all_texts)])
    assert merged == expected
    current = found(merged.key, merged.made)
    assert groups([current], [(current.key, current.key)], []) == []  # idempotent: one alone has no twin
    assert all(body.replaced_by == merged.key for _, body in merged.replaced)


def test_what_people_want_apart_stays_apart() -> None:
    one, other = memory("a", "The boiler is old"), memory("b", "the boiler is old")
    pair = [(one.key, other.key)]
    assert len(groups([one, other], pair, [])) == 1
    assert groups([one, other], pair, [frozenset({one.key, other.key})]) == []
    assert len(groups([one, other], pair, [frozenset({one.key, "memory/c"})])) == 1


def test_no_chain_leads_from_one_person_to_another() -> None:
    sayings = ("My doctor is Ruiz", "The doctor is Ruiz", "Her doctor is Ruiz")
    one, middle, last = (memory(str(number), text) for number, text in enumerate(sayings))
    assert are_duplicates(one, middle)
    assert are_duplicates(middle, last)
    (group,) = groups([one, middle, last], all_pairs([one.key, middle.key, last.key]), [])
    assert [each.key for each in group] == [one.key, middle.key]


def test_the_longest_of_the_newest_stays() -> None:
    made = merge(
        [
            memory("a", "Please remember that the boiler is serviced every May", made_at=1.0),
            memory("b", "The boiler is serviced every May.", made_at=2.0),
            memory("c", "boiler serviced every may", made_at=3.0),
        ]
    ).made
    assert made.text == "The boiler is serviced every May."
    assert (made.made_at, made.sources[0].keys) == (3.0, ["memory/a", "memory/b", "memory/c"])


@pytest.mark.parametrize(
    ("places", "answer"),
    [([0, 1, 2], True), ([2, 0, 1], True), ([0, 2, 1], True), ([2, 1, 0], False), ([1, 0, 3, 2], False)],
)
def test_one_block_may_stand_elsewhere(places: list[int], answer: bool) -> None:
    assert is_one_move(places) is answer


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ("allergic", "alergic", True),
        ("library", "libary", True),
        ("revisa", "rebisa", True),
        ("house", "horse", False),
        ("desert", "dessert", False),
        ("daniel", "daniela", False),
        ("caballo", "cabello", False),
        ("lamp", "lammp", False),
    ],
)
def test_a_typing_mistake_is_told_from_another_word(one: str, other: str, answer: bool) -> None:
    first, second = (Token(word, word, may_be_mistyped=True) for word in (one, other))
    assert is_mistyped(first, second) is is_mistyped(second, first) is answer


def test_a_name_is_never_mistyped() -> None:
    assert not same("The keys are with Cristina", "The keys are with Christina")


def test_a_long_text_is_the_same_only_to_the_letter() -> None:
    long = " ".join(f"word{number} stays" for number in range(400))
    assert same(long, long)
    assert not same(long, long.replace("word77 ", "word78 "))
    middle = " ".join("same again and again over" for _ in range(60))
    assert same(middle, middle)
    assert not same(middle, "over " + middle.removesuffix(" over"))
