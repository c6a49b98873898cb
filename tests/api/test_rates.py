"""Token buckets: the rules, and what no history of requests can do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.api.rates import Bucket, Rate, rate_of

rates = st.builds(Rate, st.integers(1, 10_000), st.sampled_from([1.0, 60.0, 3600.0, 86400.0]))
steps = st.lists(st.tuples(st.floats(0, 5000), st.integers(1, 50)), max_size=60)


def test_a_bucket_begins_full_and_fills_evenly():
    bucket = Bucket(Rate(60, 60.0), now=100.0)
    assert all(bucket.take(1, 100.0) for _ in range(60))
    assert not bucket.take(1, 100.0)
    assert bucket.wait_s(1, 100.0) == pytest.approx(1.0)
    assert bucket.take(1, 101.0)
    assert bucket.left(100_000.0) == 60  # and never holds more


def test_what_does_not_fit_takes_nothing():
    bucket = Bucket(Rate(10, 60.0), now=0.0)
    assert not bucket.take(11, 0.0)
    assert bucket.left(0.0) == 10


def test_what_was_used_already_is_owed():
    bucket = Bucket(Rate(100, 100.0), now=0.0)
    bucket.spend(150, 0.0)
    assert bucket.left(0.0) == -50
    assert bucket.wait_s(1, 0.0) == pytest.approx(51.0)
    assert bucket.wait_s(1, 51.0) == pytest.approx(0.0)


def test_a_changed_rate_keeps_the_share_that_was_left():
    bucket = Bucket(Rate(10, 60.0), now=0.0)
    bucket.spend(8, 0.0)
    bucket.change(Rate(100, 60.0), 0.0)
    assert bucket.left(0.0) == pytest.approx(20)


@given(rates, steps)
def test_never_more_is_taken_than_a_full_bucket_and_what_flowed_in(rate, history):
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for pause_s, amount in history:
        now += pause_s
        taken += amount if bucket.take(amount, now) else 0
        assert 0 <= bucket.left(now) <= rate.amount
    assert taken <= rate.amount + now * rate.amount / rate.per_s + 1e-6 * (1 + taken)


@given(rates, steps)
def test_after_the_told_wait_there_is_enough_and_not_long_before(rate, history):
    bucket, now = Bucket(rate, 0.0), 0.0
    for pause_s, amount in history:
        now += pause_s
        bucket.spend(amount, now)
    wait_s = bucket.wait_s(1, now)
    if wait_s > 1.0:
        assert bucket.left(now + wait_s * 0.5) < 1
    assert bucket.left(now + wait_s) >= 1 - 1e-6


def test_a_clock_that_stands_still_or_goes_back_gives_nothing():
    bucket = Bucket(Rate(1, 1.0), now=10.0)
    assert bucket.take(1, 10.0)
    assert not bucket.take(1, 5.0)
    assert not bucket.take(1, 10.0)
    assert bucket.take(1, 11.0)


@pytest.mark.parametrize("text", ["60/m", "1/s", "50000/h", "9/d"])
def test_a_rate_is_read_as_it_is_written(text):
    assert str(rate_of(text)) == text


@pytest.mark.parametrize("text", ["", "60", "0/m", "-1/m", "1.5/m", "60/w", "60/mm", "99999999999/s", "٣/m", "60 /m"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="is not a rate such as 60/m"):
        rate_of(text)


def test_a_rate_can_be_said():
    assert Rate(60, 60.0).words("requests") == "60 requests a minute"
