"""A small swarm: whatever chaos a seed brings, no invariant breaks, and afterwards all is well again."""

from __future__ import annotations

import pytest

from bench.simulator.scenario import Given, Scenario, options_for

# Seed, nodes, seconds of chaos: at most a minute of CPU in all. The long one: `python -m bench.simulator --seeds 1000`.
SWARM = [
    *((seed, 2, 40.0) for seed in range(8)),
    *((seed, 3, 40.0) for seed in range(10, 18)),
    *((seed, 5, 30.0) for seed in range(20, 28)),
    *((seed, 10, 20.0) for seed in range(30, 34)),
    *((seed, 17, 15.0) for seed in range(40, 43)),
    (50, 40, 10.0),
]


ONCE_ILL = [(17, 40), (30, 17)]  # another boot of one introduced, in the state hash; one that only helpers heard


@pytest.mark.parametrize(("seed", "nodes"), ONCE_ILL)
def test_what_once_went_wrong_is_well(seed: int, nodes: int) -> None:
    outcome = Scenario(options_for(seed, Given(nodes=nodes))).run()
    assert not outcome.failure, f"replay: python -m bench.simulator --seed {seed} --nodes {nodes}"


@pytest.mark.parametrize(("seed", "nodes", "chaos_s"), SWARM)
def test_after_any_chaos_all_is_well_again(seed: int, nodes: int, chaos_s: float) -> None:
    outcome = Scenario(options_for(seed, Given(nodes=nodes, chaos_s=chaos_s))).run()
    story = "\n".join(outcome.story)
    again = f"python -m bench.simulator --seed {seed} --nodes {nodes} --chaos {chaos_s}"
    assert not outcome.failure, f"{story}\n{outcome.failure}\n{outcome.where}\nreplay: {again}"
    assert outcome.healed_s is not None
