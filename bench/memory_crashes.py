"""Whether acknowledged records survive: real kill -9, of a store and of whole daemons, and simulated power failures.

Rules
1. A record counts as acknowledged when the writer was told so before it died; of a pair of daemons, when it was told
   that two have it.
2. The killed process is a real one with a real store, at a random moment of writing, starting, compacting, forgetting,
   backing up and of the night's work; after each kill the database is opened and held against what was said.
3. A simulated crash is a disk as it may be after a power failure: what was not synced is there, not there, torn or
   noise (`bench/crashes/images` describes the model and what it leaves out).
4. Aims are zero. A broken promise names its seed: `python -m bench.memory_crashes --seed N --simulated COUNT` does
   the same again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random, SystemRandom

from bench.cluster import DaemonError, Plan, form, logs_in_notes
from bench.crashes.kills import Tally, kills
from bench.crashes.simulated import simulate
from bench.harness import Context, Row
from bench.memory_replication import WritingDaemon

_SETTINGS = "[memory]\ncopies_wait_ms = 2000\n"
_SYNC_S = 60.0
_POLL_S = 0.1


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    seed = SystemRandom().randrange(10**6)
    home = context.folder / "crashes"
    killed = await asyncio.to_thread(kills, home / "kills", context.pick(10, 480), seed)
    found = _rows("kill -9 of a store", killed, seed)
    found += _rows(
        "kill -9 of a daemon of two", await _pair(home / "pair", context.pick(2, 40), seed), seed, of_pair=True
    )
    simulated = await asyncio.to_thread(simulate, home / "simulated", context.pick(200, 10_000), seed)
    return found + _rows("simulated power failure", simulated, seed)


def _rows(what: str, tally: Tally, seed: int, *, of_pair: bool = False) -> list[Row]:
    for each in tally.broken[:20]:
        print(f"crashes: {each}", file=sys.stderr)
    note = f"{tally.crashes} crashes, seed {seed}, {tally.forgotten} forgotten"
    counted = {"acknowledged records lost": tally.lost, "databases corrupt": tally.corrupt}
    if not of_pair:  # there only the writes are followed
        counted["un-written records that appeared"] = tally.appeared
        counted["forgotten texts that came back"] = tally.returned
    return [
        Row(figure=f"{what}: acknowledged records", unit="records", samples=[tally.acknowledged], note=note),
        *(Row(figure=f"{what}: {name}", unit="", samples=[len(broken)], aim=0.0) for name, broken in counted.items()),
    ]


async def _pair(folder: Path, count: int, seed: int) -> Tally:
    """Kill one of two daemons while one of them is written to; it starts again each time."""
    random, tally = Random(seed), Tally()
    plans = [Plan(name, settings=_SETTINGS) for name in ("one", "two")]
    daemons = [WritingDaemon(plan, folder / plan.name) for plan in plans]
    names: set[str] = set()
    async with AsyncExitStack() as stack:
        stack.enter_context(logs_in_notes(daemons))
        for daemon in daemons:
            stack.push_async_callback(daemon.stop)
        await form(daemons)
        for number in range(count):
            writer, victim = random.choice(daemons), random.choice(daemons)
            writing = asyncio.create_task(_write(writer, f"{seed}p{number}x"))
            await asyncio.sleep(random.uniform(0.0, 0.6))  # the moment of the kill is what is drawn
            await victim.kill()
            names |= await writing
            await victim.start()
            tally.crashes += 1
            await _compare(daemons, names, tally, f"kill {number} of seed {seed}")
    tally.acknowledged = len(names)
    return tally


async def _write(writer: WritingDaemon, prefix: str) -> set[str]:
    """Write one by one until a second has passed or the daemon dies; return the keys that were told to be on both."""
    safe: set[str] = set()
    until = asyncio.get_running_loop().time() + 1.0
    number = 0
    try:
        while asyncio.get_running_loop().time() < until:
            told = await writer.do("write", prefix=f"{prefix}{number}n")
            if told["copies"][0] >= 2:
                safe |= set(told["committed"])
            number += 1
    except (DaemonError, OSError, ValueError):
        pass  # it was the one that was killed
    return safe


async def _compare(daemons: list[WritingDaemon], names: set[str], tally: Tally, name: str) -> None:
    until = asyncio.get_running_loop().time() + _SYNC_S
    while (one := await daemons[0].do("hashes")) != (other := await daemons[1].do("hashes")):
        if asyncio.get_running_loop().time() > until:
            tally.corrupt.append(f"{name}: the nodes differ: {one} {other}")
            return
        await asyncio.sleep(_POLL_S)
    for daemon in daemons:
        shown = set((await daemon.do("keys"))["keys"])
        tally.lost += [f"{name}: {daemon.plan.name} lost {each}" for each in sorted(names - shown)]
        problems = (await daemon.do("problems"))["problems"]
        tally.corrupt += [f"{name}: {daemon.plan.name}: {each}" for each in problems]


def main() -> None:
    """Do the crashes of a seed again."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--simulated", type=int, default=0, metavar="COUNT")
    parser.add_argument("--kills", type=int, default=0, metavar="COUNT")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for tally in (
            simulate(Path(folder) / "simulated", options.simulated, options.seed),
            kills(Path(folder) / "kills", options.kills, options.seed),
        ):
            print(f"{tally.crashes} crashes, {tally.acknowledged} acknowledged, {len(tally.broken)} broken")
            print("\n".join(tally.broken))


if __name__ == "__main__":
    main()
