"""How soon, how safe and how whole the copies of records are, between real daemons on loopback.

Rules
1. Each daemon is a whole node in a process of its own, which writes when it is told to (`bench/memory_node`).
2. Lag is from a write's commit at one node until its record is visible at the other, both by the machine's clock.
3. "Alone" is when nobody knows it yet: the other node was killed, or frozen, just before.
4. A split is made by running one node while the other is off, then the reverse: loopback has no cable to pull. Healing
   counts from the moment that the second one is ready again, until both have the same rows, by hash.
5. A new node joins by an invitation; it is in sync when its log, what is visible and its keyword entries are the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.cluster import JOIN_S, Daemon, DaemonError, Plan, form, logs_in_notes
from bench.harness import Context, Row
from bench.stats import percentile

CONNECT_S = 10.0
POLL_S = 0.05
SYNC_S = 600.0
_SETTINGS = "[memory]\ncopies_wait_ms = 500\n"


class WritingDaemon(Daemon):
    """A daemon that takes the bench's commands."""

    @property
    def _socket(self) -> Path:
        return self.folder / "bench.sock"

    def _command(self, *arguments: str) -> list[str]:
        if arguments == ("run",):
            return [sys.executable, "-m", "bench.memory_node", str(self.config), str(self._socket)]
        return super()._command(*arguments)

    async def do(self, what: str, **wanted: Any) -> dict[str, Any]:
        """Have a command done and return its answer; raises `DaemonError`."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps({"do": what} | wanted).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise DaemonError(f"{self.name} did not do {what}:\n{self.log_tail()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        until = time.monotonic() + CONNECT_S
        while True:
            try:
                return await asyncio.open_unix_connection(self._socket, limit=2**26)
            except OSError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(POLL_S)


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    found: list[Row] = []
    async with context.watched(found), _pair(context.folder / "pair") as (one, other):
        found += await _copies(context, one, other)
        found += await _alone(context, one, other)
        found += await _heal(context, one, other)
    async with context.watched(found):
        found += await _new_node(context)
    return found


async def _copies(context: Context, one: WritingDaemon, other: WritingDaemon) -> list[Row]:
    await one.do("write", count=20, prefix="warm")
    told = await one.do("write", count=context.pick(100, 1000), prefix="lag")
    await _same(one, other)
    arrived = (await other.do("arrivals"))["arrived"]
    lags = [1000 * max(0.0, arrived[key] - at) for key, at in told["committed"].items()]
    took = [1000 * each for each in told["took_s"]]
    note = f"{sum(each >= 2 for each in told['copies'])} of {len(took)} with 2 copies"
    many = await one.do("together", count=context.pick(200, 2000), writers=8)
    return [
        _p99("replication lag p99", lags, 250),
        Row(figure="ack with 2 copies p50", unit="ms", samples=took, aim=5, note=note),
        _p99("ack with 2 copies p99", took, 50),
        Row(figure="acked writes, one after another", unit="1/s", samples=[1000 * len(took) / sum(took)]),
        Row(figure="acked writes, 8 at a time", unit="1/s", samples=[many["count"] / many["seconds"]]),
    ]


def _p99(figure: str, samples: Sequence[float], aim: float) -> Row:
    spread = f"p50 {percentile(samples, 0.5):.1f}, greatest {max(samples):.1f}, {len(samples)} samples"
    return Row(figure=figure, unit="ms", samples=[percentile(samples, 0.99)], aim=aim, note=spread)


async def _alone(context: Context, one: WritingDaemon, other: WritingDaemon) -> list[Row]:
    killed, frozen = [], []
    silent = 0
    for number in range(context.pick(1, 5)):
        for took, leave, back in ((killed, other.kill, other.start), (frozen, other.freeze, other.thaw)):
            if (leaving := leave()) is not None:
                await leaving
            told = await one.do("write", count=20, prefix=f"{leave.__name__}{number}-")
            took.append(1000 * max(told["took_s"]))
            silent += sum(not each for each in told["degraded"])
            if (coming := back()) is not None:
                await coming
            await _same(one, other)
            await _paired(one, number)
    note = f"{silent} WITHOUT the note" if silent else "all with the note"
    return [
        Row(figure=f"ack alone, slowest of 20 after the other was {how}", unit="ms", samples=took, aim=500, note=note)
        for how, took in (("killed", killed), ("frozen", frozen))
    ]


async def _paired(one: WritingDaemon, number: int) -> None:
    """Write until there are two copies again."""
    async with asyncio.timeout(CONNECT_S):
        while (await one.do("write", prefix=f"paired{number}-{time.monotonic()}"))["copies"] != [2]:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


async def _heal(context: Context, one: WritingDaemon, other: WritingDaemon) -> list[Row]:
    each = context.pick(1000, 10_000)
    took = []
    for number in range(context.pick(1, 3)):
        await other.stop()
        await one.do("fill", count=each, prefix=f"one{number}-")
        await one.stop()
        await other.start()
        await other.do("fill", count=each, prefix=f"other{number}-")
        await one.start()
        began = time.monotonic()
        await _same(one, other)
        took.append(time.monotonic() - began)
        if await one.do("hashes") != await other.do("hashes"):
            raise DaemonError("the rows differ after healing")
    return [Row(figure=f"heal a split, {each} new records a side", unit="s", samples=took, aim=10)]


async def _new_node(context: Context) -> list[Row]:
    count = context.pick(10_000, 100_000)
    async with _pair(context.folder / "new", names=("one",)) as (one,):
        await one.do("fill", count=count, size=2000)
        new = WritingDaemon(Plan("new", settings=_SETTINGS), context.folder / "new" / "new")
        try:
            token = (await one.command("invite")).split()[0]
            await new.command("join", token, within_s=JOIN_S)
            await new.start()
            began = time.monotonic()
            await _same(one, new)
            took = time.monotonic() - began
            if await one.do("hashes") != await new.do("hashes"):
                raise DaemonError("the rows differ at the new node")
        finally:
            await new.stop()
    return [Row(figure=f"new node, {count} records of 2 kB, in sync", unit="s", samples=[took], aim=60)]


async def _same(one: WritingDaemon, other: WritingDaemon, within_s: float = SYNC_S) -> None:
    """Wait until both have the same records."""
    async with asyncio.timeout(within_s):
        while (await one.do("standing"))["mark"] != (await other.do("standing"))["mark"]:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)  # they are other processes


@asynccontextmanager
async def _pair(folder: Path, names: Sequence[str] = ("one", "other")) -> AsyncGenerator[list[WritingDaemon], None]:
    daemons = [WritingDaemon(Plan(name, settings=_SETTINGS), folder / name) for name in names]
    async with AsyncExitStack() as stack:
        for daemon in daemons:
            stack.push_async_callback(daemon.stop)
        stack.enter_context(logs_in_notes(daemons))
        await form(daemons)
        yield daemons
