from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.batching.slices import ALONE_S, LEAST, SHARED_S, Slices, shares


@given(st.lists(st.integers(1, 300), min_size=1, max_size=8), st.integers(1, 512))
def test_a_slice_is_given_whole_and_nobody_goes_without(left: list[int], size: int) -> None:
    given_ = shares(left, size)
    assert sum(given_) == min(size, sum(left))
    assert all(0 <= one <= most for one, most in zip(given_, left, strict=True))
    if size >= len(left):
        assert all(given_)


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=8))
def test_every_prompt_is_read_in_bounded_steps_whoever_is_beside_it(left: list[int]) -> None:
    steps = 0
    while any(left):
        open_ = [at for at, tokens in enumerate(left) if tokens]
        for at, tokens in zip(open_, shares([left[at] for at in open_], LEAST), strict=True):
            assert tokens >= 1
            left[at] -= tokens
        steps += 1
    assert steps <= 2000


@given(st.floats(1e-5, 0.5), st.floats(0.0, 0.12))
def test_steps_settle_near_the_time_that_they_may_take(token_s: float, others_s: float) -> None:
    slices = Slices(512)
    for _ in range(60):
        size = slices.size(is_shared=True)
        slices.took(size, others_s + size * token_s, is_shared=True)
    size = slices.size(is_shared=True)
    assert LEAST <= size <= 512
    assert size == LEAST or others_s + size * token_s <= SHARED_S * 1.01


def test_alone_a_slice_may_take_longer_than_beside_answers() -> None:
    slices = Slices(512)
    for is_shared in (False, True):
        for _ in range(20):
            size = slices.size(is_shared=is_shared)
            slices.took(size, size * 0.005, is_shared=is_shared)
    assert slices.size(is_shared=False) == ALONE_S / 0.005
    assert LEAST <= slices.size(is_shared=True) <= SHARED_S / 0.005


def test_a_slice_grows_to_twice_at_most_and_the_end_of_a_prompt_says_nothing() -> None:
    slices = Slices(512)
    size = slices.size(is_shared=False)
    slices.took(size, 1e-6, is_shared=False)
    assert slices.size(is_shared=False) == 2 * size
    slices.took(3, 60.0, is_shared=False)
    assert slices.size(is_shared=False) == 2 * size


def test_a_first_step_that_nobody_waited_for_sets_the_size_at_once() -> None:
    slices = Slices(512)
    slices.warmed_up(16, ALONE_S / 8)
    assert slices.size(is_shared=False) == 128
    assert slices.size(is_shared=True) == LEAST
    slices = Slices(512)
    slices.warmed_up(16, 60.0)
    assert slices.size(is_shared=False) == 16
