"""`python -m bench.simulator`: run one scenario, a swarm of seeds, or a failure again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from bench.simulator.faults import MENU
from bench.simulator.scenario import Given, Outcome, Scenario, options_for

ABOUT = """\
Simulates the real gossip core of several nodes under faults, in virtual time, all of it decided by one seed.

  one scenario, everything drawn from the seed     python -m bench.simulator --seed 7
  … with some of it laid down                      python -m bench.simulator --seed 7 --nodes 3 --faults partition,kill
  a swarm: many seeds, two at a time               python -m bench.simulator --seeds 100 --jobs 2
  other seeds than the last swarm                  python -m bench.simulator --seeds 100 --seed 5000
  a failure again                                  the command that was printed with it
  … with every event and datagram in a file        … --trace FILE

The same seed and options give the same run, byte for byte: its SHA-256 says so. A failure prints its options, the story
of the nodes concerned, and the command that replays it. Ends with 1 when a seed failed.
"""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    menu = "\n".join(f"  {name:10} {(fault.__doc__ or '').splitlines()[0]}" for name, fault in MENU.items())
    result = argparse.ArgumentParser(
        prog="python -m bench.simulator",
        description=f"{ABOUT}\nfaults:\n{menu}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--seed", type=int, default=0, help="the seed, or the first of --seeds (default 0)")
    add("--seeds", type=int, default=1, metavar="COUNT", help="how many seeds, one after another (default 1)")
    add("--jobs", type=int, default=1, metavar="COUNT", help="how many seeds at a time (default 1)")
    add("--nodes", type=int, metavar="N", help="how many nodes, 2 to 1,000")
    add("--faults", metavar="A,B", help="only these faults; an empty text for none")
    add("--chaos", type=float, metavar="S", help="for how many simulated seconds faults happen")
    add("--gap", type=float, metavar="S", help="mean time between two faults")
    add("--later", type=int, metavar="N", help="how many nodes speak a later version of the protocol")
    add("--heal-within", type=float, metavar="S", help="by when all must be well again (default 10, above 16 nodes 30)")
    add("--plain", action="store_true", default=None, help="without sealing (the default above 16 nodes)")
    add("--sealed", action="store_true", default=None, help="with real keys and sealing (the default up to 16 nodes)")
    add("--trace", type=Path, metavar="FILE", help="write every event there; for one seed")
    add("--story", action="store_true", help="tell the story of a run that went well, too")
    return result


def given(options: argparse.Namespace) -> Given:
    """Return what the command line lays down; exits with 2 for a fault that is not on the menu."""
    faults = None
    if options.faults is not None:
        faults = tuple(name for name in options.faults.split(",") if name)
        if unknown := [name for name in faults if name not in MENU]:
            raise SystemExit(f"not on the menu: {', '.join(unknown)}; there are {', '.join(MENU)}")
    sealed = False if options.plain else True if options.sealed else None
    return Given(
        nodes=options.nodes,
        sealed=sealed,
        chaos_s=options.chaos,
        gap_s=options.gap,
        faults=faults,
        later=options.later,
        heal_within_s=options.heal_within,
    )


def replay(outcome: Outcome, laid_down: Given) -> str:
    """Return the command that runs this again."""
    options = outcome.options
    words = [f"python -m bench.simulator --seed {options.seed} --nodes {options.nodes}"]
    words += [f"--chaos {options.chaos_s:g}"] if laid_down.chaos_s is not None else []
    words += [f"--gap {options.gap_s:g}"] if laid_down.gap_s is not None else []
    words += [f"--faults '{','.join(options.faults)}'"] if laid_down.faults is not None else []
    words += [f"--later {options.later}"] if laid_down.later is not None or laid_down.nodes is not None else []
    words += [f"--heal-within {options.heal_within_s:g}"] if laid_down.heal_within_s is not None else []
    words += [] if laid_down.sealed is None else ["--sealed" if options.sealed else "--plain"]
    return " ".join(words)


def run_seed(seed: int, laid_down: Given) -> Outcome:
    """Run one seed; in a process of a swarm."""
    return Scenario(options_for(seed, laid_down)).run()


def told(outcome: Outcome, laid_down: Given, *, story: list[str] | None = None) -> str:
    """Return what a person reads of a run."""
    options = outcome.options
    head = (
        f"seed {options.seed}: {options.nodes} nodes, {outcome.virtual_s - 1000:.0f} s, {outcome.datagrams} datagrams"
    )
    if not outcome.failure and story is None:
        return f"{head}, healed after {outcome.healed_s} s, sha256 {outcome.sha256[:16]}"
    expanded = "\n".join(f"  {name:13} {value}" for name, value in msgspec.structs.asdict(options).items())
    verdict = f"FAILED: {outcome.failure}\n{outcome.where}" if outcome.failure else "all is well"
    lines = "\n".join(story if story is not None else outcome.story)
    return (
        f"{head}\n{expanded}\n{lines}\n{verdict}\nhealed after {outcome.healed_s} s, {outcome.events} events, "
        f"sha256 {outcome.sha256}\nreplay: {replay(outcome, laid_down)}"
    )


def one(options: argparse.Namespace, laid_down: Given) -> Outcome:
    """Run one seed and tell of it."""
    into = options.trace.open("w", encoding="utf-8") if options.trace else None
    try:
        scenario = Scenario(options_for(options.seed, laid_down), into)
        outcome = scenario.run()
    finally:
        if into:
            into.close()
    story = scenario.sim.trace.story() if options.story else outcome.story
    print(told(outcome, laid_down, story=story))
    return outcome


def swarm(options: argparse.Namespace, laid_down: Given) -> Iterator[Outcome]:
    """Run many seeds."""
    seeds = range(options.seed, options.seed + options.seeds)
    if options.jobs <= 1:
        yield from (run_seed(seed, laid_down) for seed in seeds)
        return
    with ProcessPoolExecutor(options.jobs) as pool:
        yield from pool.map(run_seed, seeds, [laid_down] * len(seeds))


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 1 when something failed."""
    options = parser().parse_args(arguments)
    laid_down = given(options)
    if options.seeds == 1:
        return 1 if one(options, laid_down).failure else 0
    failed = []
    for outcome in swarm(options, laid_down):
        print(told(outcome, laid_down), flush=True)
        if outcome.failure:
            failed.append(replay(outcome, laid_down))
    print(f"\n{options.seeds - len(failed)} of {options.seeds} seeds went well")
    for command in failed:
        print(f"failed: {command}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
