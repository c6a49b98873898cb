"""Figures of the gossip core under virtual time: how fast it detects and heals, whom it accuses, what it costs.

The real core runs in `bench.simulator`; times are simulated seconds, so a busy machine does not change them, and one
seed gives the same figure anywhere. Only "simulated seconds per second" and "CPU" are taken from the clock.

    --quick           about 3 minutes on two cores: fewer seeds, 300 instead of 1,000 nodes, 4 node-hours
    otherwise         about 40 minutes, plus what --node-hours asks for (1,000 for each of five sizes take hours)
    --sim PART        detection, large, false, heal, idle, spread, speed, lifeguard
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from bench.harness import Context, Row
from bench.simulator import measures, steady
from bench.stats import percentile

PROCESSES = 2
SEEDS_FROM = 20_000
MESH = (2, 3, 5, 10, 16)
LOSSES = (0.0, 0.10, 0.25)
FALSE_SIZES = (2, 5, 10, 30, 100)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Runner:
    """Runs simulations in at most two processes."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn"))

    async def each(self, function: Callable[..., Any], calls: Sequence[dict[str, Any]]) -> list[Any]:
        """Call `function` with each of `calls`, in the order of the calls."""
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(self._pool, _call, function, call) for call in calls)))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)


def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    return function(**arguments)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this part."""
    parser.add_argument("--sim", action="append", choices=sorted(PARTS), help="this part of `sim`; may be repeated")
    parser.add_argument("--node-hours", type=float, metavar="H", help="simulate so many for each size (false deaths)")


async def rows(context: Context) -> list[Row]:
    """Measure the parts that were asked for (`--sim`; all of them without it)."""
    found: list[Row] = []
    for part in context.options.sim or PARTS:
        runner = Runner()  # for each part anew: so the memory of the large clusters is given back
        try:
            found += await PARTS[part](context, runner)
        finally:
            runner.close()
    return found


def _at_the_99th(figure: str, samples: Sequence[float], aim: float | None, note: str = "") -> Row:
    """Return a row whose figure is the 99th percentile: what the aims are for."""
    spread = f"p50 {statistics.median(samples):.2f}, max {max(samples):.2f}, {len(samples)} times"
    return Row(
        figure=figure, unit="s", samples=[percentile(samples, 0.99)], aim=aim, note=f"{spread}{note and '; '}{note}"
    )


# --- detection --------------------------------------------------------------------------------------------------


async def detection(context: Context, runner: Runner) -> list[Row]:
    """The plug is pulled, or the process killed, at 2 to 16 nodes."""
    seeds, repeats = context.pick(2, 8), context.pick(4, 25)
    sizes = MESH if not context.quick else (2, 5, 16)
    found: list[Row] = []
    for loss in LOSSES:
        samples = await _detected(runner, sizes, loss, seeds, repeats)
        percent = f"{loss:.0%} loss"
        for count in sizes:
            name = f"power-off at {count} nodes, {percent}"
            found.append(_at_the_99th(f"{name}: stop routing", [one.unroutable_s for one in samples[count]], 1.5))
            found.append(_at_the_99th(f"{name}: dead", [one.dead_s for one in samples[count]], 3.5))
    killed = await _detected(runner, sizes, 0.0, seeds, repeats, killed=True)
    for count in sizes:
        seen = [one.unroutable_s for one in killed[count]]
        found.append(_at_the_99th(f"kill -9 at {count} nodes: seen by all", seen, 0.3, "by gossip alone"))
    return found


async def _detected(
    runner: Runner, sizes: Sequence[int], loss: float, seeds: int, repeats: int, *, killed: bool = False
) -> dict[int, list[measures.Detection]]:
    each = [(count, seed) for count in sizes for seed in range(seeds)]
    calls = [
        {"count": count, "loss": loss, "seed": SEEDS_FROM + seed, "repeats": repeats, "killed": killed}
        for count, seed in each
    ]
    found: dict[int, list[measures.Detection]] = {count: [] for count in sizes}
    for (count, _), result in zip(each, await runner.each(measures.detection, calls), strict=True):
        found[count] += result
    return found


async def large(context: Context, runner: Runner) -> list[Row]:
    """The plug is pulled at 100 and 1,000 nodes."""
    found: list[Row] = []
    most = context.pick(300, 1000)
    for loss in (0.0, 0.25):
        for count, seeds, repeats, aim in ((100, context.pick(2, 6), context.pick(2, 8), 7.0), (most, 2, 2, 8.0)):
            samples = (await _detected(runner, (count,), loss, seeds, repeats))[count]
            name = f"power-off at {count:,} nodes, {loss:.0%} loss: dead known to all"
            found.append(_at_the_99th(name, [one.dead_s for one in samples], aim))
    return found


# --- false deaths -------------------------------------------------------------------------------------------------


async def false(context: Context, runner: Runner) -> list[Row]:
    """Nobody dies, a quarter of all datagrams is lost."""
    hours = getattr(context.options, "node_hours", None) or context.pick(4, 20)
    calls = [
        {"count": count, "loss": 0.25, "seed": SEEDS_FROM + part, "node_hours": hours / PROCESSES}
        for count in FALSE_SIZES
        for part in range(PROCESSES)
    ]
    results = await runner.each(steady.false_deaths, calls)
    found = []
    for index, count in enumerate(FALSE_SIZES):
        parts = results[index * PROCESSES : (index + 1) * PROCESSES]
        simulated = sum(part.node_hours for part in parts)
        suspicions = sum(part.suspicions for part in parts) / simulated
        figure = f"false deaths at {count} nodes, 25% loss"
        note = f"in {simulated:g} node-hours; {suspicions:.2f} suspicions per node-hour"
        found.append(Row(figure=figure, unit="", samples=[sum(part.deaths for part in parts)], aim=0.0, note=note))
    return found


# --- healing --------------------------------------------------------------------------------------------------------


async def heal(context: Context, runner: Runner) -> list[Row]:
    """Two nodes, cut off from each other for a while."""
    cuts = [("1 s", 1.0, 20), ("20 s", 20.0, 20), ("60 s", MINUTE, 20), ("10 min", 10 * MINUTE, 10), ("1 h", HOUR, 6)]
    if not context.quick:
        cuts.append(("1 day", DAY, 2))
    found = []
    for name, cut_s, times in cuts:
        for one_way in (False, True):
            times = max(2, times // 4) if context.quick else times
            calls = [{"cut_s": cut_s, "seed": SEEDS_FROM + seed, "one_way": one_way} for seed in range(times)]
            healed = await runner.each(measures.heal, calls)
            way = "one way" if one_way else "both ways"
            row = _at_the_99th(f"two nodes cut off {way} for {name}: healed after", healed, None)
            row.samples, row.aim = [max(healed)], 5.0  # "always": so the worst
            found.append(row)
    return found


# --- cost -------------------------------------------------------------------------------------------------------------


async def idle(context: Context, runner: Runner) -> list[Row]:
    """What a healthy cluster sends, and computes."""
    for_s = float(context.pick(20, 120))
    sizes = ((2, True, 500), (10, True, 4000), (16, True, 6500), (context.pick(300, 1000), False, 1200))
    found: list[Row] = []
    async with context.watched(found):
        for count, sealed, aim in sizes:
            span_s = for_s if count <= 16 else for_s / 4
            call = {"count": count, "seed": SEEDS_FROM, "for_s": span_s, "sealed": sealed}
            (cost,) = await runner.each(steady.idle, [call])
            name = f"idle at {count:,} nodes"
            note = "with IP and UDP headers" + ("" if sealed else ", plain sessions of the same size")
            found.append(
                Row(figure=f"{name}: sent", unit="B/s/node", samples=[cost.bytes_per_s_per_node], aim=aim, note=note)
            )
            share = 100 * cost.cpu_share_per_node
            note = "of one core for each node: core, sealing and simulator, no sockets"
            found.append(
                Row(figure=f"{name}: CPU", unit="%", samples=[share], aim=0.5 if count == 16 else None, note=note)
            )
    return found


async def speed(context: Context, runner: Runner) -> list[Row]:
    """How much faster than life the simulation is."""
    found: list[Row] = []
    async with context.watched(found):
        for count in (100, 1000):
            call = {"count": count, "seed": SEEDS_FROM, "for_s": context.pick(5, 20) + 0.0, "sealed": False}
            (cost,) = await runner.each(steady.idle, [call])
            aim = 5.0 if count == 1000 else None
            figure = f"simulated seconds per second at {count:,} nodes"
            found.append(Row(figure=figure, unit="s/s", samples=[cost.simulated_s_per_s], aim=aim, aim_is=">="))
    return found


# --- spread -----------------------------------------------------------------------------------------------------------


async def spread(context: Context, runner: Runner) -> list[Row]:
    """One node says something new of itself."""
    found = []
    for loss in (0.0, 0.25):
        for count, seeds, repeats, aim in (
            (16, 2, context.pick(5, 20), 0.5),
            (100, 2, context.pick(3, 10), 0.7),
            (context.pick(300, 1000), context.pick(1, 2), context.pick(2, 3), 1.0),
        ):
            calls = [
                {"count": count, "loss": loss, "seed": SEEDS_FROM + seed, "repeats": repeats} for seed in range(seeds)
            ]
            samples = [sample for result in await runner.each(measures.spread, calls) for sample in result]
            name = f"one fact known to all of {count:,} nodes, {loss:.0%} loss"
            found.append(_at_the_99th(name, samples, 3.0 if loss else aim))
    return found


# --- Lifeguard --------------------------------------------------------------------------------------------------------


async def lifeguard(context: Context, runner: Runner) -> list[Row]:
    """128 nodes, some of which stall in turn for 8.2 s."""
    stalled = (1, 4, 16, 32) if not context.quick else (1, 8)
    for_s = float(context.pick(30, 120))
    calls = [{"stalled": count, "seed": SEEDS_FROM, "for_s": for_s} for count in stalled]
    results = await runner.each(steady.lifeguard, calls)
    return [
        Row(
            figure=f"128 nodes, {count} of them stalling: healthy ones taken for dead by healthy ones",
            unit="",
            samples=[result.at_healthy],
            aim=0.0,
            note=f"by anybody: {result.in_all}; in {for_s:.0f} s",
        )
        for count, result in zip(stalled, results, strict=True)
    ]


Part = Callable[[Context, Runner], Awaitable[list[Row]]]
PARTS: dict[str, Part] = {
    "detection": detection,
    "large": large,
    "false": false,
    "heal": heal,
    "idle": idle,
    "spread": spread,
    "speed": speed,
    "lifeguard": lifeguard,
}
