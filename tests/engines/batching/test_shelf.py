from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.batching.shelf import SAVE_LEAST_TOKENS, Shelf


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), max_size=40))
def test_it_never_holds_more_than_its_bound(put: list[tuple[int, int]]) -> None:
    shelf = Shelf(100)
    for first, size in put:
        shelf.put([first] * 50, bytes(size))
        assert shelf.held_bytes <= 100
        assert shelf.held_bytes == sum(len(shelf._kept[key].state) for key, _ in shelf.rows())


def test_the_oldest_goes_and_what_a_longer_row_contains_too() -> None:
    shelf = Shelf(100)
    shelf.put([1], bytes(40))
    shelf.put([2], bytes(40))
    shelf.put([3], bytes(40))
    assert [tokens for _, tokens in shelf.rows()] == [[2], [3]]
    shelf.put([2, 5], bytes(10))
    assert [tokens for _, tokens in shelf.rows()] == [[3], [2, 5]]


def test_a_row_is_given_once() -> None:
    shelf = Shelf(100)
    shelf.put([1], b"state")
    ((key, _),) = shelf.rows()
    assert shelf.take(key) == b"state"
    assert shelf.rows() == []
    assert shelf.held_bytes == 0


def test_short_rows_and_those_over_the_bound_are_not_wanted() -> None:
    shelf = Shelf(100)
    assert shelf.wants([1] * SAVE_LEAST_TOKENS, 100)
    assert not shelf.wants([1] * (SAVE_LEAST_TOKENS - 1), 100)
    assert not shelf.wants([1] * SAVE_LEAST_TOKENS, 101)
