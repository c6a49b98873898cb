"""When a frame is sent on the detour: pure, by the seed."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from bench.faults.relay import REORDER_S, Impairment, Way


def sent(how: Impairment, count: int = 2000, every_s: float = 0.001, size: int = 100) -> list[list[float]]:
    way = Way(how, random.Random(7))
    return [way.send_at(size, n * every_s) for n in range(count)]


def test_without_impairment_a_frame_is_sent_at_once():
    assert sent(Impairment(), 3) == [[0.0], [0.001], [0.002]]


def test_delay_and_jitter_are_added_and_keep_the_order():
    times = [one for (one,) in sent(Impairment(delay_s=0.3, jitter_s=0.05))]
    assert times == sorted(times)
    assert 0.3 <= times[0] <= 0.35
    assert all(0.3 <= at - n * 0.001 <= 0.36 for n, at in enumerate(times))


def test_reordered_frames_are_overtaken():
    times = [one for (one,) in sent(Impairment(reordered=0.2))]
    held = [at for n, at in enumerate(times) if at - n * 0.001 >= REORDER_S]
    assert 300 < len(held) < 500
    assert times != sorted(times)


@pytest.mark.parametrize(("how", "copies"), [(Impairment(doubled=0.25), 2), (Impairment(lost=0.25), 0)])
def test_a_share_is_doubled_or_lost(how, copies):
    assert 400 < sum(len(times) == copies for times in sent(how)) < 600


def test_a_narrow_line_sends_no_faster_and_drops_what_would_wait_too_long():
    times = sent(Impairment(bytes_per_s=10_000), 500)  # 100 kB/s come
    passed = [one for found in times for one in found]
    assert times[0] == [0.01]
    assert all(later - sooner >= 0.0099 for sooner, later in pairwise(passed))
    assert len(passed) < 500
    assert passed[-1] < 0.5 + 1.1
