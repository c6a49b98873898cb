from __future__ import annotations

from tarsd.memory.cache import QueryCache


def test_an_answer_is_kept_until_something_is_written() -> None:
    cache: QueryCache[str] = QueryCache()
    cache.put(("q", 5), "answer", cache.generation)
    assert cache.get(("q", 5)) == "answer"
    assert cache.get(("q", 6)) is None
    cache.clear()
    assert cache.get(("q", 5)) is None
    assert cache.hit_rate() == 1 / 3


def test_an_answer_found_while_something_was_written_is_not_kept() -> None:
    cache: QueryCache[str] = QueryCache()
    before = cache.generation
    cache.clear()
    cache.put("q", "from before the write", before)
    assert cache.get("q") is None


def test_the_one_asked_longest_ago_makes_room() -> None:
    cache: QueryCache[int] = QueryCache(2)
    for number in (1, 2):
        cache.put(number, number, cache.generation)
    cache.get(1)
    cache.put(3, 3, cache.generation)
    assert (cache.get(1), cache.get(2), cache.get(3)) == (1, None, 3)
