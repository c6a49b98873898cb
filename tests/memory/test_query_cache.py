from __future__ import annotations

import pytest

from tarsd.memory.cache import QueryCache

CALL = "search"


def put(cache: QueryCache[str], query: str, value: str, size_bytes: int = 10) -> bytes:
    key = cache.key(CALL, query, 5)
    cache.put(key, value, size_bytes, cache.generation)
    return key


def test_an_answer_is_kept_until_something_is_written() -> None:
    cache: QueryCache[str] = QueryCache()
    key = put(cache, "q", "answer")
    assert cache.get(CALL, key) == "answer"
    assert cache.get(CALL, cache.key(CALL, "q", 6)) is None
    assert cache.clear() == 1
    assert cache.get(CALL, key) is None
    assert cache.size_bytes == 0
    assert cache.counted[CALL].hit_rate == 1 / 3


def test_an_answer_found_while_something_was_written_is_not_kept() -> None:
    cache: QueryCache[str] = QueryCache()
    before = cache.generation
    cache.clear()
    key = cache.key(CALL, "q")
    cache.put(key, "from before the write", 10, before)
    assert cache.get(CALL, key) is None


def test_the_one_asked_longest_ago_makes_room() -> None:
    cache: QueryCache[str] = QueryCache(2)
    one, two = put(cache, "one", "1"), put(cache, "two", "2")
    cache.get(CALL, one)
    three = put(cache, "three", "3")
    assert [cache.get(CALL, key) for key in (one, two, three)] == ["1", None, "3"]


def test_what_is_kept_is_bounded_in_bytes_and_a_greater_one_is_not_kept_at_all() -> None:
    cache: QueryCache[str] = QueryCache(limit_bytes=2500)
    one, two, three = (put(cache, query, query, 800) for query in ("one", "two", "three"))
    assert [cache.get(CALL, key) for key in (one, two, three)] == [None, "two", "three"]
    four = put(cache, "four", "4", 2500)
    assert [cache.get(CALL, key) for key in (two, three, four)] == ["two", "three", None]
    put(cache, "two", "again", 800)
    assert cache.size_bytes == 2000


@pytest.mark.parametrize(("one", "other", "same"), [
    ("What is the RENT?", " what  is the\nrent? ", True),
    ("El Niño", "el nin\u0303o", True),
    ("año", "ano", False),
])  # fmt: skip
def test_case_and_spaces_do_not_tell_questions_apart_but_accents_do(one: str, other: str, same: bool) -> None:
    cache: QueryCache[str] = QueryCache()
    assert (cache.key(CALL, one, 5) == cache.key(CALL, other, 5)) is same


def test_calls_are_kept_and_counted_apart() -> None:
    cache: QueryCache[str] = QueryCache()
    put(cache, "q", "passages")
    assert cache.get("search_memories", cache.key("search_memories", "q", 5)) is None
    assert (cache.counted["search_memories"].misses, cache.counted[CALL].misses) == (1, 0)


def test_no_text_of_a_question_is_kept_and_a_key_cannot_be_guessed() -> None:
    cache: QueryCache[str] = QueryCache()
    key = put(cache, "where is the lighthouse?", "answer")
    assert "lighthouse" not in repr(vars(cache))
    assert key != QueryCache[str]().key(CALL, "where is the lighthouse?", 5)
