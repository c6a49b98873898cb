"""One seed is one run, byte for byte, and a failure can be run again from what was printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.simulator.__main__ import given, main, parser, replay, told
from bench.simulator.scenario import Given, Scenario, options_for

REPOSITORY = Path(__file__).resolve().parents[2]


def run_in_a_process(hash_seed: str, *arguments: str) -> str:
    """Return what the simulator prints in a process of its own."""
    command = [sys.executable, "-m", "bench.simulator", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seed", "3", "--nodes", "5", "--chaos", "20", "--gap", "1"),
        ("--seed", "4", "--nodes", "18", "--chaos", "6", "--gap", "0.5"),
        ("--seed", "5", "--nodes", "4", "--chaos", "15", "--gap", "1", "--later", "2", "--faults", "clone,leave,loss"),
    ],
)
def test_two_processes_with_other_hash_seeds_have_one_trace(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    traces, printed = [], []
    for hash_seed in ("1", "4711"):
        file = tmp_path / hash_seed
        printed.append(run_in_a_process(hash_seed, *arguments, "--story", "--trace", str(file)))
        traces.append(file.read_bytes())
    assert len(traces[0]) > 10_000
    assert traces[0] == traces[1]
    hashes = [re.findall(r"sha256 ([0-9a-f]{64})", text) for text in printed]
    assert hashes[0] == hashes[1]
    assert len(hashes[0]) == 1


def test_another_seed_is_another_run() -> None:
    laid_down = Given(nodes=3, chaos_s=5.0)
    hashes = {Scenario(options_for(seed, laid_down)).run().sha256 for seed in (1, 2, 1)}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    "laid_down",
    [
        Given(),
        Given(nodes=4, later=2),
        Given(nodes=4, faults=("loss", "kill"), chaos_s=7.5, gap_s=0.5, heal_within_s=1.0),
        Given(faults=(), sealed=False),
    ],
)
def test_the_printed_command_has_the_same_options(laid_down: Given) -> None:
    options = options_for(11, laid_down)
    outcome = Scenario(options_for(11, Given(nodes=2, faults=(), chaos_s=1.0))).run()
    command = replay(type(outcome)(**{**_fields(outcome), "options": options}), laid_down)
    again = parser().parse_args(shlex.split(command)[3:])
    assert options_for(again.seed, given(again)) == options


def test_a_failure_tells_its_options_its_story_and_how_to_run_it_again() -> None:
    laid_down = Given(nodes=3, faults=("kill",), chaos_s=20.0, gap_s=2.0, heal_within_s=-1.0)
    outcomes = (Scenario(options_for(seed, laid_down)).run() for seed in range(50))
    outcome = next(outcome for outcome in outcomes if "liveness" in outcome.failure)
    text = told(outcome, laid_down)
    assert f"replay: python -m bench.simulator --seed {outcome.options.seed} --nodes 3" in text
    assert "is killed" in text
    assert "faults        ('kill',)" in text


def test_a_swarm_says_how_many_went_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--nodes", "2", "--chaos", "3"]) == 0
    assert "3 of 3 seeds went well" in capsys.readouterr().out


def test_a_fault_that_is_not_on_the_menu_is_named() -> None:
    with pytest.raises(SystemExit, match="not on the menu: earthquake"):
        main(["--faults", "earthquake"])


def _fields(outcome: object) -> dict[str, object]:
    return {name: getattr(outcome, name) for name in outcome.__struct_fields__}
