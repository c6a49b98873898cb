from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.windows import windows


def words(count: int) -> tuple[str, list[tuple[int, int]]]:
    text, offsets = "", []
    for number in range(count):
        word = f"w{number}"
        offsets.append((len(text), len(text) + len(word)))
        text += word + " "
    return text.rstrip(), offsets


def test_a_text_that_fits_is_one_window() -> None:
    text, offsets = words(10)
    assert windows(text, offsets, 10) == [(text, 10)]
    assert windows("", [], 10) == [("", 1)]


@given(st.integers(1, 400), st.integers(2, 60))
def test_windows_cover_the_text_fit_and_overlap(count: int, room: int) -> None:
    text, offsets = words(count)
    found = [window.split() for window, _ in windows(text, offsets, room)]
    assert all(len(window) <= room for window in found)
    seen = [int(word[1:]) for window in found for word in window]
    assert set(seen) == set(range(count))
    for before, after in pairwise(found):
        shared = len(set(before) & set(after))
        assert shared >= room // 8
        assert len(after) == room
