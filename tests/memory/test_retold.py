"""What summaries tell again, in words alone, of what was forgotten on the other side of a split."""

from __future__ import annotations

from typing import Any

import pytest

from tarsd.memory.bodies import MemoryBody, ProjectBody, SummaryBody
from tarsd.memory.retold import retold

PIN = "Ana's card has the PIN 9911"
PROJECTS = {"flat": ProjectBody("flat", "Flat", members=["ana", "leo"], person="ana")}


def memory(**place: Any) -> MemoryBody:
    return MemoryBody("m", PIN, **place)


def summary(text: str = f"It rained. {PIN}.", identity: str = "s", **place: Any) -> SummaryBody:
    return SummaryBody(identity, "A talk", text, **place)


def test_it_goes_on_without_the_sentence_that_tells_it() -> None:
    found = retold([memory()], [summary()], [], {})
    assert (found.forgotten, found.rewritten["summary/s"].text) == ([], "It rained.")


def test_one_that_told_nothing_else_is_forgotten() -> None:
    assert retold([memory()], [summary(f"{PIN}.")], [], {}).forgotten == ["summary/s"]


def test_what_tells_something_else_stays_as_it_is() -> None:
    assert retold([memory()], [summary("It rained. Ben's card is red.")], [], {}).keys == []


def test_an_older_version_that_told_it_is_erased() -> None:
    found = retold([memory()], [summary("It rained.")], [summary()], {})
    assert found.rewritten == {"summary/s": summary("It rained.")}


ANAS = {"scope": "person", "person": "ana"}
LEOS = {"scope": "person", "person": "leo"}
FLAT = {"scope": "project", "project": "flat", "person": "leo"}
BATH = {"scope": "project", "project": "bath", "person": "leo"}


@pytest.mark.parametrize(
    ("forgotten", "told", "is_found"),
    [
        (ANAS, ANAS, True),
        (ANAS, {}, True),
        (ANAS, FLAT, True),
        (ANAS, LEOS, False),
        (ANAS, BATH, False),
        (FLAT, FLAT, True),
        (FLAT, {}, True),
        (FLAT, BATH, False),
        (FLAT, LEOS, False),
        ({}, {}, True),
        ({}, ANAS, False),
        ({}, FLAT, False),
    ],
)
def test_it_is_looked_for_in_what_whoever_forgot_it_could_see(forgotten: Any, told: Any, is_found: bool) -> None:
    found = retold([memory(**forgotten)], [summary(**told)], [], PROJECTS)
    assert bool(found.keys) == is_found


def test_what_several_places_forgot_goes_from_the_same_summary() -> None:
    other = MemoryBody("o", "The gate code is 7788", **ANAS)
    told = summary(f"It rained. {PIN}. The gate code is 7788.")
    assert retold([memory(), other], [told], [], {}).rewritten["summary/s"].text == "It rained."
