"""Which remembered thing a wish to forget means, and which of a list a person chooses."""

from __future__ import annotations

import pytest

from tarsd.calls import Memory, Turn
from tarsd.planning.picking import MOST_LISTED, choice, chosen, is_clear, listed, meant


def fact(text: str, key: str = "memory/m", language: str = "en", **more) -> Memory:
    return Memory(key, "memory", text, language=language, **more)


KEY = fact("The key is under the pot", "memory/key")
SHED = fact("The shed key is blue", "memory/shed")
WIFI = fact("The wifi password is hunter2", "memory/wifi")
LIST = Turn("forget the key", f"Several things like that. Which one?\n{listed([KEY, SHED])}\nAnswer with a number.")


def test_the_very_sentence_is_clear() -> None:
    assert meant("the key is under the pot.", [SHED, KEY]) == [KEY]


def test_one_that_alone_has_all_the_words_is_clear() -> None:
    assert meant("the wifi password", [KEY, WIFI, fact("The wifi is slow")]) == [WIFI]
    assert meant("las contraseñas", [fact("La contraseña del wifi es perro", language="es")])[0].text.endswith("perro")


def test_several_are_left_to_the_person() -> None:
    assert meant("the key", [KEY, SHED, WIFI]) == [KEY, SHED]
    assert len(meant("the key", [KEY] * 20)) == MOST_LISTED


@pytest.mark.parametrize(
    ("what", "text", "clear"),
    [
        ("my birthday", "My daughter Eva's birthday is on May 3", False),
        ("the car", "The insurance of the car ends in May", False),
        ("the wifi password", "The wifi password is hunter2", True),
        ("my phone number", "My phone number is 600 100 200", True),
        ("the key of the bike", "The key is under the pot", False),
        ("the car", "the car.", True),
    ],
)
def test_what_tells_of_much_else_is_not_clear(what: str, text: str, clear: bool) -> None:
    assert is_clear(what, fact(text)) == clear


def test_a_list_of_one_is_answered_by_yes() -> None:
    assert choice("sí", [Turn("olvida la llave", f"¿Se olvida esto?\n{listed([KEY])}\nResponde.")]) == [1]
    assert choice("yes", [LIST]) == []
    assert choice("no", [Turn("forget the key", listed([KEY]))]) == []


def test_what_has_too_few_of_the_words_is_not_meant() -> None:
    assert meant("the key of the garage door", [KEY, SHED]) == []
    assert meant("the", [KEY]) == []


def test_summaries_are_meant_only_where_no_memory_is() -> None:
    summary = Memory("summary/s", "summary", "They spoke of the key.", language="en")
    assert meant("the key", [summary, KEY]) == [KEY]
    assert meant("the key", [summary, WIFI]) == [summary]


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("2", [2]),
        ("the second one", [2]),
        ("la segunda", [2]),
        ("1 y 2", [1, 2]),
        ("number 1, please", [1]),
        ("all", [1, 2]),
        ("las dos", [1, 2]),
        ("la dos", [2]),
        ("todas", [1, 2]),
        ("both of them", [1, 2]),
        ("one", [1]),
        ("3", []),
        ("what is 2 and 2?", []),
        ("none", []),
        ("", []),
    ],
)
def test_a_list_is_answered_by_numbers(message: str, numbers: list[int]) -> None:
    assert choice(message, [LIST]) == numbers


def test_without_a_list_a_number_chooses_nothing() -> None:
    assert choice("2", []) == []
    assert choice("2", [Turn("forget the key", "Which one?")]) == []


def test_both_of_more_than_two_are_nobody_knows_which() -> None:
    longer = Turn("forget the key", listed([KEY, SHED, WIFI]))
    assert choice("las dos", [longer]) == []


def test_only_what_still_stands_as_it_was_listed_is_chosen() -> None:
    assert chosen([1, 2], [LIST], [SHED, KEY]) == [KEY, SHED]
    assert chosen([1, 2], [LIST], [fact("The key is elsewhere", "memory/key"), SHED]) == [SHED]
