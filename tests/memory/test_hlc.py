from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tarsd.memory.hlc import COUNTER_BITS, DRIFT_MS, Clock, milliseconds, stamp

times = st.integers(0, 2**46)


@given(st.lists(times, min_size=2))
def test_stamps_only_grow_whatever_the_wall_clock_does(walls: list[int]) -> None:
    clock = Clock()
    stamps = [clock.tick(now) for now in walls]
    assert stamps == sorted(set(stamps))


@given(times, st.integers(0, DRIFT_MS))
def test_what_is_written_after_reading_is_later(now: int, ahead: int) -> None:
    clock = Clock()
    seen = stamp(now + ahead, 5)
    assert clock.observe(seen, now)
    assert clock.tick(now) > seen


def test_a_clock_that_is_far_ahead_is_not_followed() -> None:
    clock = Clock()
    assert not clock.observe(stamp(1_000_000 + DRIFT_MS + 1), 1_000_000)
    assert milliseconds(clock.tick(1_000_000)) == 1_000_000


def test_forgetting_passes_any_stamp() -> None:
    clock = Clock()
    clock.pass_by_force(stamp(10**12))
    assert clock.tick(0) > stamp(10**12)


def test_a_full_counter_runs_into_the_time() -> None:
    clock = Clock(stamp(7, (1 << COUNTER_BITS) - 1))
    assert clock.tick(7) == stamp(8)
