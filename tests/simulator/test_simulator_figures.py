"""The experiments behind the figures: each measures what it says."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from bench import network_sim
from bench.harness import Context
from bench.simulator import measures, steady
from bench.simulator.faults import say
from bench.simulator.simulation import NotInTime, Simulation
from bench.simulator.warm import met_cluster
from bench.simulator.watch import Unanimity
from tarsd.gossip.member import State


def test_detection_is_timed_from_the_event_to_the_last_to_know() -> None:
    found = measures.detection(3, 0.0, 1, 3)
    assert len(found) == 3
    assert all(0.4 <= one.unroutable_s <= 1.5 for one in found)
    assert all(one.unroutable_s + 1.9 <= one.dead_s <= 3.5 for one in found)


def test_a_killed_process_is_seen_before_one_without_power() -> None:
    killed = measures.detection(3, 0.0, 1, 2, killed=True)
    assert max(one.unroutable_s for one in killed) < 0.6


def test_a_cut_that_healed_is_timed_from_the_mending() -> None:
    assert measures.heal(20.0, 1) <= 5.0


def test_a_fact_is_known_when_the_last_knows_it() -> None:
    assert all(0.0 < spread_s < 0.5 for spread_s in measures.spread(3, 0.0, 1, 2))


def test_a_quiet_cluster_accuses_nobody_and_says_for_how_long() -> None:
    told: list[float] = []
    verdicts = steady.false_deaths(3, 0.0, 1, 0.2, lambda so_far: told.append(so_far.node_hours))
    assert verdicts == (0.2, 0, 0)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(0.2)


def test_a_false_death_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def burying(seed: int, count: int, loss: float) -> tuple[Simulation, list[object]]:
        sim, nodes = measures.cluster(seed, count, loss)
        sim.later(1.0, bury, nodes[0], nodes[1])
        return sim, nodes

    def bury(viewer: object, victim: object) -> None:
        roster = viewer.membership.roster
        roster.set_state(roster.peers[victim.node], State.DEAD, viewer.now, "a bug")
        viewer.carry(viewer.membership_orders(roster.drain()))

    monkeypatch.setattr(steady, "cluster", burying)
    assert steady.false_deaths(3, 0.0, 1, 0.1).deaths == 1


def test_stalled_members_are_counted_apart_from_healthy_ones() -> None:
    found = steady.lifeguard(2, 1, count=6, for_s=20.0)
    assert found.at_healthy == 0
    assert found.in_all >= found.at_healthy


def test_what_is_sent_and_spent_is_measured() -> None:
    cost = steady.idle(2, 1, 10.0, sealed=True)
    assert 200 < cost.bytes_per_s_per_node < 700
    assert cost.cpu_share_per_node > 0
    assert cost.simulated_s_per_s > 1


def test_unanimity_is_lost_when_one_changes_its_mind() -> None:
    sim = Simulation(sealed=False)
    nodes = sim.cluster(3)
    gone = Unanimity(sim, nodes[:2], nodes[2], measures.not_routable)
    assert not gone.is_reached
    sim.partition([nodes[2]], nodes[:2])
    gone.wait(5.0)
    sim.heal()
    sim.run(5.0)
    assert not gone.is_reached
    with pytest.raises(NotInTime, match="pc1 pc2"):
        gone.wait(1.0)


@pytest.mark.parametrize("count", [3, 20, 160])
def test_a_cluster_that_met_is_whole(count: int) -> None:
    sim = Simulation(sealed=False)
    sim.trace.hashing = False
    nodes = met_cluster(sim, count)
    assert all(len(node.membership.roster.here()) == count - 1 for node in nodes)
    say(nodes[0], "small")
    sim.run(0.5)
    assert nodes[0].membership.me.facts.version > 0


async def test_a_part_gives_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_sim, "FALSE_SIZES", (2, 5))
    parser = argparse.ArgumentParser()
    network_sim.arguments(parser)
    options = parser.parse_args(["--sim", "false", "--node-hours", "0.02"])
    rows = await network_sim.rows(Context(quick=True, options=options, folder=tmp_path))
    assert [row.figure for row in rows] == [f"false deaths at {n} nodes, 25% loss" for n in (2, 5)]
    assert all(row.verdict == "met" for row in rows)
