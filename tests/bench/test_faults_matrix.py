"""The scripts of the endless fault bench: bounded, the same for a seed, and with every kind of the matrix."""

from __future__ import annotations

import itertools
import random

from bench.faults.play import PLANS
from bench.faults_run import MATRIX, scripts


def first(count: int, seed: int = 1):
    return list(itertools.islice(scripts(random.Random(seed)), count))


def test_a_seed_gives_the_same_scripts():
    assert first(50) == first(50)
    assert first(50) != first(50, seed=2)


def test_each_time_round_every_fault_of_the_matrix_is_done():
    for begin in (0, len(MATRIX)):
        done = [
            (one[0].kind, one[0].for_s, one[0].amount) for one in first(2 * len(MATRIX))[begin : begin + len(MATRIX)]
        ]
        assert sorted(done) == sorted(MATRIX)


def test_a_script_hurts_different_nodes_that_exist_and_ends():
    names = {plan.name for plan in PLANS}
    for script in first(200):
        targets = [name for fault in script for name in fault.target.split(",") if name]
        assert set(targets) <= names
        assert len(targets) == len(set(targets))
        assert all(0 < fault.for_s <= 60 for fault in script)
