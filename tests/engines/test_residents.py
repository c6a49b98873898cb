"""Which models leave memory: the rules, for any set of models."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.residents import Occupant, expired, make_room, next_end, relief

_NUMBERS = count()


def named(occupant: Occupant) -> Occupant:
    return Occupant(
        f"m{next(_NUMBERS)}",
        occupant.needs_bytes,
        occupant.is_busy,
        occupant.idle_since,
        occupant.keep_s,
        occupant.is_fixed,
    )


OCCUPANTS = st.lists(
    st.builds(
        Occupant,
        st.just(""),
        st.integers(0, 100),
        st.booleans(),
        st.floats(0, 1000),
        st.sampled_from([-1.0, 0.0, 5.0, 300.0]),
        st.booleans(),
    ).map(named),
    max_size=8,
)
SIZES = st.integers(0, 300)


@given(OCCUPANTS, SIZES, SIZES)
def test_nobody_that_is_busy_or_fixed_leaves(occupants: list[Occupant], needed: int, bound: int) -> None:
    by_name = {one.name: one for one in occupants}
    for name in make_room(occupants, needed, bound).unload:
        assert not by_name[name].is_busy
        assert not by_name[name].is_fixed


@given(OCCUPANTS, SIZES, SIZES)
def test_what_is_said_to_fit_does_fit_and_no_more_leave_than_it_takes(
    occupants: list[Occupant], needed: int, bound: int
) -> None:
    room = make_room(occupants, needed, bound)
    stay = sum(one.needs_bytes for one in occupants if one.name not in room.unload)
    if not room.fits:
        assert room.unload == ()
        return
    assert stay + needed <= bound
    if room.unload:
        last = next(one for one in occupants if one.name == room.unload[-1])
        assert stay + last.needs_bytes + needed > bound


@given(OCCUPANTS, SIZES, SIZES)
def test_it_is_refused_only_where_unloading_all_that_may_leave_would_not_do(
    occupants: list[Occupant], needed: int, bound: int
) -> None:
    room = make_room(occupants, needed, bound)
    stuck = sum(one.needs_bytes for one in occupants if one.is_busy or one.is_fixed)
    assert room.fits == (stuck + needed <= bound)
    fixed = sum(one.needs_bytes for one in occupants if one.is_fixed)
    assert room.could_fit == (fixed + needed <= bound)


@given(OCCUPANTS, SIZES, SIZES)
def test_the_least_recently_used_leave_first_and_those_that_are_to_stay_last(
    occupants: list[Occupant], needed: int, bound: int
) -> None:
    room = make_room(occupants, needed, bound)
    idle = {one.name: one for one in occupants if one.may_leave}
    for name in room.unload:
        for other in idle.keys() - set(room.unload):
            assert (idle[name].keep_s < 0, idle[name].idle_since) <= (idle[other].keep_s < 0, idle[other].idle_since)


@given(OCCUPANTS, st.floats(0, 2000))
def test_whose_time_is_over_is_idle_and_its_time_was(occupants: list[Occupant], now: float) -> None:
    gone = set(expired(occupants, now))
    for one in occupants:
        over = not one.is_busy and not one.is_fixed and one.keep_s >= 0 and one.idle_since + one.keep_s <= now
        assert (one.name in gone) == over


@given(OCCUPANTS)
def test_at_the_next_end_somebody_leaves_and_before_it_nobody(occupants: list[Occupant]) -> None:
    end = next_end(occupants)
    if end is None:
        assert expired(occupants, 1e9) == []
        return
    assert expired(occupants, end)
    assert expired(occupants, end - 0.001) == []


@given(OCCUPANTS, SIZES, SIZES)
def test_low_memory_takes_the_least_recently_used_idle_one(
    occupants: list[Occupant], available: int, reserve: int
) -> None:
    leaves = relief(occupants, available, reserve)
    idle = [one for one in occupants if one.may_leave]
    if available >= reserve or not idle:
        assert leaves is None
    else:
        first = min(idle, key=lambda one: (one.keep_s < 0, one.idle_since))
        assert leaves == first.name
