"""What of an answer may reach those who see a conversation's summary."""

from __future__ import annotations

from typing import Any

import pytest

from tarsd.memory.bodies import MemoryBody, Scope, SummaryBody
from tarsd.memory.narrower import is_narrower, tellable

QUESTION = "What does the kitchen cost us?"
SALARY = MemoryBody("s", "Ana earns 2345 euros a month", scope="person", person="ana")
BRIEF = MemoryBody("b", "Ana wants prices in Swiss francs", sort="preference", scope="person", person="ana")
OVEN = MemoryBody("o", "The oven costs 900 euros", scope="project", project="kitchen", person="ana")
KNOWN = {"memory/s": SALARY, "memory/b": BRIEF, "memory/o": OVEN}


def told(answer: str, *given: str, before: tuple[str, ...] = (), question: str = QUESTION, **place: Any) -> str:
    place = {"scope": "project", "project": "kitchen"} | place
    return tellable(question, answer, KNOWN, given, before, **place)


@pytest.mark.parametrize(
    ("body", "scope", "narrower"),
    [
        (SALARY, "person", False),
        (SALARY, "project", True),
        (SALARY, "household", True),
        (OVEN, "project", False),
        (OVEN, "household", True),
        (MemoryBody("x", "x", scope="project", project="bath"), "project", True),
        (MemoryBody("x", "x", scope="household"), "project", False),
        (SummaryBody("x", "x", "x", scope="person", person="ana"), "household", True),
    ],
)
def test_who_sees_less_is_narrower(body: Any, scope: Scope, narrower: bool) -> None:
    assert is_narrower(body, scope, "kitchen" if scope == "project" else "") == narrower


def test_an_answer_that_was_given_a_narrower_fact_is_left_out_whole_in_whatever_words_it_tells_it() -> None:
    assert told("The oven is 900. More than a third of what you make.", "memory/o", "memory/s") == ""


def test_an_answer_that_was_given_what_all_may_see_is_whole() -> None:
    assert told("The oven is 900.\nThe sink is 80.", "memory/o") == "The oven is 900.\nThe sink is 80."


def test_what_is_the_persons_own_may_be_told_to_it() -> None:
    assert told("You earn 2345.", "memory/s", scope="person", project="") == "You earn 2345."


def test_an_answer_that_was_given_something_unknown_is_left_out() -> None:
    assert told("The oven is 900.", "memory/not-here-yet") == ""


def test_of_the_profile_only_the_sentences_go_that_share_a_word_with_it() -> None:
    assert told("The oven is 900. In francs that is 880.", "memory/o", "memory/b") == "The oven is 900."


def test_a_word_that_the_person_itself_said_gives_nothing_away() -> None:
    question = "What is the oven in francs?"
    assert told("In francs the oven is 880.", "memory/b", question=question) == "In francs the oven is 880."


def test_what_an_earlier_answer_was_given_is_not_told_from_the_open_chat() -> None:
    assert told("Of the 2345 a third goes there. The sink is 80.", before=("memory/s",)) == "The sink is 80."


def test_what_an_earlier_answer_was_given_and_is_forgotten_now_holds_nothing_up() -> None:
    assert told("The sink is 80.", before=("memory/gone",)) == "The sink is 80."
