import random

import pytest

from bench.stats import blocks, growth, paired_ratios, percentile, theil_sen, warm_from

HOUR = 3600.0


def series(slope_per_hour, *, seconds=7200, step=10, noise=0.0, start=100.0, seed=1):
    rng = random.Random(seed)
    times = [float(at) for at in range(0, seconds, step)]
    return times, [start + slope_per_hour * at / HOUR + rng.gauss(0, noise) for at in times]


def test_a_percentile_is_a_sample_that_was_measured():
    samples = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert percentile(samples, 0.5) == 3.0
    assert percentile(samples, 0.99) == 5.0
    assert percentile(samples, 0.0) == 1.0
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_p99_of_a_hundred_is_the_second_largest():
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0


def test_ratios_pair_neighbours_in_time():
    assert paired_ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    with pytest.raises(ValueError, match="zip"):
        paired_ratios([1.0], [])


def test_the_slope_of_a_line_is_found_exactly():
    slope = theil_sen([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 7.0])
    assert (slope.low, slope.per_s, slope.high) == (2.0, 2.0, 2.0)
    assert slope.per_hour == (7200.0, 7200.0, 7200.0)


def test_one_wild_point_does_not_tilt_the_slope():
    times, values = series(0.0, noise=0.1)
    values[len(values) // 2] = 10_000.0
    assert abs(theil_sen(*blocks(times, values)).per_s * HOUR) < 0.1


def test_the_interval_holds_the_truth_about_19_times_of_20():
    held = 0
    for seed in range(100):
        times, values = series(3.0, noise=2.0, seed=seed, step=60)
        slope = theil_sen(times, values)
        held += slope.low * HOUR <= 3.0 <= slope.high * HOUR
    assert 88 <= held <= 100


def test_two_points_have_no_slope():
    with pytest.raises(ValueError, match="at least 3"):
        theil_sen([0.0, 1.0], [1.0, 2.0])


def test_blocks_are_medians_of_equal_runs():
    assert blocks([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 10.0, 20.0], count=2) == ([0.5, 2.5], [2.0, 15.0])


def test_flat_memory_is_stable():
    assert growth(*series(0.0, noise=0.5), limit_per_hour=1.0).verdict == "stable"


def test_a_leak_is_seen():
    found = growth(*series(5.0, noise=0.5), limit_per_hour=1.0)
    assert found.verdict == "grows"
    assert found.slope is not None
    assert 4 < found.slope.per_hour[1] < 6


def test_memory_that_settles_in_the_warm_up_is_stable():
    times, values = series(0.0, noise=0.5)
    settled = [value - max(0.0, 30 - at / 45) for at, value in zip(times, values, strict=True)]
    assert growth(times, settled, limit_per_hour=1.0).verdict == "stable"


def test_the_warm_up_is_a_fifth_and_an_hour_at_most():
    """A day's run must not leave out nearly five hours."""
    assert warm_from([float(minute * 60) for minute in range(101)]) == 20
    assert warm_from([float(minute * 60) for minute in range(24 * 60)]) == 60
    assert warm_from([]) == 0


def test_a_short_run_is_undecided_however_clear_its_slope():
    found = growth(*series(60.0, seconds=300, step=1, noise=0.01), limit_per_hour=1.0)
    assert found.verdict == "undecided"
    assert found.slope is not None


def test_nothing_and_a_noisy_series_are_undecided_not_stable():
    assert growth([], [], limit_per_hour=1.0).verdict == "undecided"
    assert growth(*series(0.0, seconds=1200, step=1, noise=5.0, seed=2), limit_per_hour=1.0).verdict == "undecided"
