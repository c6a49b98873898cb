"""What is due tonight, rule by rule."""

from datetime import datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tarsd.planning.nightly import JOBS, due, next_night

AT = time(3, 0)
NOON = datetime(2026, 5, 10, 12, 0)


def test_a_job_that_ran_before_the_night_is_due() -> None:
    assert due(NOON, AT, {"health_check": NOON - timedelta(days=1)}) == ["health_check"]


def test_a_job_that_ran_since_the_night_is_not() -> None:
    assert due(NOON, AT, {"health_check": datetime(2026, 5, 10, 3, 0, 1)}) == []


def test_missed_nights_are_one_run() -> None:
    assert due(NOON, AT, dict.fromkeys(JOBS, NOON - timedelta(days=30))) == list(JOBS)


def test_before_three_the_night_is_still_to_come() -> None:
    assert due(datetime(2026, 5, 10, 2, 59), AT, {"health_check": datetime(2026, 5, 9, 12, 0)}) == []


def test_a_job_that_never_ran_waits_for_its_first_night() -> None:
    assert due(NOON, AT, {}) == []


def test_a_clock_that_went_back_does_not_repeat_the_night() -> None:
    assert due(NOON, AT, {"health_check": NOON + timedelta(hours=3)}) == []


def test_a_run_far_in_the_future_does_not_stop_the_nights() -> None:
    assert due(NOON, AT, {"health_check": NOON + timedelta(days=400)}) == ["health_check"]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.times())
def test_the_next_night_is_within_a_day(now: datetime, at: time) -> None:
    assert timedelta(0) < next_night(now, at) - now <= timedelta(days=1)
