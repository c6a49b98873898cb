"""What is near enough by meaning to answer a question that shares no word with it."""

from __future__ import annotations

from tarsd.memory.fusion import ENGLISH, EVERY
from tarsd.memory.nearness import near_enough
from tarsd.names import RecordId


def near(*scores: float, language: str = "en", model: frozenset[str] | None = ENGLISH) -> list[str]:
    return near_enough({RecordId(f"m{n}"): score for n, score in enumerate(scores)}, language, model)


def test_the_nearest_is_not_near_by_that_alone() -> None:
    assert near(0.15, 0.14, 0.14) == []
    assert near(0.25) == []


def test_near_ones_come_nearest_first() -> None:
    assert near(0.1, 0.36, 0.82) == ["m2", "m1"]


def test_a_model_of_another_language_knows_nothing_of_it() -> None:
    assert near(0.58, 0.5, language="es") == []
    assert near(0.58, 0.5, language="") == []


def test_with_a_model_that_calls_everything_near_it_stands_out() -> None:
    assert near(0.78, 0.77, 0.76, 0.75, language="es", model=EVERY) == []
    assert near(0.95, 0.77, 0.76, 0.75, language="es", model=EVERY) == ["m0"]
    assert near(0.95, language="es", model=EVERY) == []
