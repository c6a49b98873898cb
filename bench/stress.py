"""Stress: questions, documents and faults against real nodes for hours; ends with a verdict on errors and memory.

Two nodes of its own on loopback; or, with `--api URL` (repeatedly), running ones on real PCs, which get no faults and
tell their memory, files and tasks themselves. Ctrl-C ends a run early, with the verdict on what was seen so far.

Daemons are killed in the first half of a run only: each then has a life of half the run, by which growth is judged.
What counts as an error, and as stable, is decided by `stress_verdict`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import signal
import time
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from bench.cluster import ApiError, Client, Cluster, Daemon, DaemonError, Plan, cluster
from bench.harness import Context, Row
from bench.plot import plot
from bench.samples import SAMPLE_S, Sample, account_of, from_account, look
from bench.stress_faults import freeze, kill, kill_worker
from bench.stress_verdict import FAULTS, Event, Record, rows_of

NAME = "stress"
IN_ALL = False  # it has no quick answer

QUESTION_PAUSE_S = 1.0
INGEST_EVERY_S = 60.0
FAULT_EVERY_S = 90.0
FAULT_S = 10.0  # how long a node stays away
HEAL_S = 30.0

# Many short answers find more than few long ones.
SHORT_ANSWERS = '[cognitive]\nmax_tokens = 64\n[[cognitive.engines]]\nkind = "llama_cpp"\nthreads = 1'
QUESTIONS = (
    "When was the boiler serviced?",
    "¿Cuánto cuesta el alquiler al mes?",
    "How do I clean the filter of the washing machine?",
    "¿Qué lleva la receta de lentejas?",
    "Say hello in one short sentence.",
)


@dataclass
class Run:
    """The state of a run that its tasks share."""

    clients: dict[str, Client]
    nodes: Cluster | None
    seed: int
    began: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    away: dict[str, float] = field(default_factory=dict)  # the nodes that a fault keeps away, since when
    was_away: list[tuple[str, float, float]] = field(default_factory=list)  # node, from, to

    def now(self) -> float:
        """Return the seconds since the start."""
        return round(time.monotonic() - self.began, 2)

    def usable(self) -> list[str]:
        """Return the names of the nodes that a person could be sitting at."""
        return [name for name in self.clients if name not in self.away]

    def excused(self, since_s: float, node: str = "") -> bool:
        """Return whether a fault kept `node` (or any) away at some time since then."""
        past = any(end >= since_s for name, _, end in self.was_away if node in ("", name))
        return past or (node in self.away if node else bool(self.away))

    @asynccontextmanager
    async def fault(self, kind: str, node: str) -> AsyncGenerator[None, None]:
        """Record that a fault keeps `node` away while the block runs."""
        start = self.away[node] = self.now()
        self.events.append(Event(at_s=start, kind=kind, node=node))
        try:
            yield
        finally:
            del self.away[node]
            self.was_away.append((node, start, self.now()))


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument("--hours", type=float, default=0.0, help="how long (with --minutes: their sum)")
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--api", action="append", default=[], metavar="URL", help="a running node's API")
    parser.add_argument("--token", default="", help="access token of those nodes")
    parser.add_argument("--seed", type=int, default=1, help="of the order of questions and faults")
    parser.add_argument("--no-faults", action="store_true")


def duration_s(context: Context) -> float:
    """Return how long to run: as told, else 5 minutes, or 35 s with --quick."""
    told = context.options.hours * 3600 + context.options.minutes * 60
    return float(told or (35 if context.quick else 300))


async def run(context: Context) -> list[Row]:
    """Run, write stress.json and stress.png into the bench's folder, return the verdict's rows."""
    seconds = duration_s(context)
    async with _clients(context) as (clients, nodes):
        stress = Run(clients, nodes, context.options.seed)
        with _ctrl_c() as interrupted:
            work = [_ask_on(stress), _ingest_on(stress), _sample_on(stress), interrupted.wait()]
            if nodes is not None and not context.options.no_faults:
                work.append(_fault_on(stress, seconds))
            await _work(work, seconds)
    record = Record(seconds=stress.now(), events=stress.events, samples=stress.samples)
    (context.folder / "stress.json").write_bytes(msgspec.json.encode(record))
    await asyncio.to_thread(plot, stress.samples, stress.events, context.folder / "stress.png")
    print(f"series and plot: {context.folder}/stress.json, stress.png")
    return rows_of(record)


async def _work(work: Sequence[Coroutine[Any, Any, object]], seconds: float) -> None:
    """Do all of it for so long, or until one ends: by Ctrl-C, or by a bug of the bench, which is raised."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def _ctrl_c() -> Iterator[asyncio.Event]:
    """Give the event that Ctrl-C sets while the block runs; afterwards it interrupts as ever."""
    loop, pressed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, pressed.set)
    try:
        yield pressed
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@asynccontextmanager
async def _clients(context: Context) -> AsyncGenerator[tuple[dict[str, Client], Cluster | None], None]:
    async with AsyncExitStack() as stack:
        if context.options.api:
            urls = context.options.api
            clients = {url: await stack.enter_async_context(Client(url, context.options.token)) for url in urls}
            yield clients, None
            return
        plans = [
            Plan("pc1", ("cognitive",), settings=SHORT_ANSWERS),
            Plan("pc2", ("processing", "orchestrator", "monitoring"), settings="[processing]\nthreads = 1"),
        ]
        nodes = await stack.enter_async_context(cluster(plans, context.folder / "nodes"))
        for name in nodes.clients:
            await nodes.wait_capability(name, "chat")
            await nodes.wait_capability(name, "ingest")
        yield nodes.clients, nodes


async def _ask_on(stress: Run) -> None:
    rng = random.Random(stress.seed)
    while True:
        if usable := stress.usable():
            name, text = rng.choice(usable), rng.choice(QUESTIONS)
            stress.events.append(await _ask(stress, name, text))
        await asyncio.sleep(QUESTION_PAUSE_S)


async def _ask(stress: Run, name: str, text: str) -> Event:
    event = Event(at_s=stress.now(), kind="question", node=name)
    try:
        answer = await stress.clients[name].ask(text)
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        event.ok = stress.excused(event.at_s, name)
        event.detail = f"{type(error).__name__}: {error}"
        return event
    event.cut = not answer.finished and bool(answer.text) and stress.excused(event.at_s)
    event.ok = answer.finished or event.cut or stress.excused(event.at_s, name)
    event.total_s = round(answer.total_s, 3)
    event.first_token_s = round(answer.first_token_s, 3) if answer.text else 0.0
    event.degraded = bool(answer.end.get("degraded"))
    event.detail = "; ".join(answer.end["degraded"]) if answer.finished else str(answer.end)
    return event


async def _ingest_on(stress: Run) -> None:
    """Give a node a document that it does not know yet, again and again."""
    rng = random.Random(stress.seed + 1)
    number = 0
    while True:
        if usable := stress.usable():
            number += 1
            name = rng.choice(usable)
            stress.events.append(await _ingest(stress, name, number))
        await asyncio.sleep(INGEST_EVERY_S)


async def _ingest(stress: Run, name: str, number: int) -> Event:
    event = Event(at_s=stress.now(), kind="ingest", node=name)
    note = f"# Note {number}\n\nOn day {number} the meter showed {number * 37} units. Rain until {number % 24}:00.\n"
    stage, began = "", stress.now()
    try:
        async for item in stress.clients[name].ingest_bytes(f"note-{number}.md", note.encode(), within_s=60):
            stage = item["stage"]
            event.detail = item.get("reason", "")
    except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
        event.detail = f"{type(error).__name__}: {error}"
    # With the only processing node away a document is refused, and says so; the person sends it again later.
    event.total_s = round(stress.now() - began, 2) if stage == "done" else 0.0
    event.ok = stage in ("done", "duplicate") or stress.excused(event.at_s)
    return event


async def _sample_on(stress: Run) -> None:
    while True:
        for name in stress.usable():
            account = await account_of(stress.clients[name])
            if stress.nodes is None:
                sample = from_account(name, account, stress.began)
            elif sample := await asyncio.to_thread(look, stress.nodes[name], stress.began):
                sample.tasks = account.get("tasks", 0)
            if sample:
                stress.samples.append(sample)
        await asyncio.sleep(SAMPLE_S)


async def _fault_on(stress: Run, seconds: float) -> None:
    """Hurt a node, let it come back, give it time; the last part of the run is left in peace."""
    assert stress.nodes is not None
    pause = min(FAULT_EVERY_S, seconds / 8)
    turns = itertools.cycle(itertools.product(FAULTS, reversed(stress.nodes.daemons)))  # a short run sees many kinds
    while True:
        await asyncio.sleep(pause)
        if stress.now() > seconds - pause:
            await asyncio.Event().wait()  # until the run ends
        kind, daemon = next(turns)
        if kind == "kill" and stress.now() >= seconds / 2:
            kind = "freeze"
        stress.events.append(await _fault(stress, stress.nodes, daemon, kind, min(FAULT_S, pause / 3)))


async def _fault(stress: Run, nodes: Cluster, daemon: Daemon, kind: str, away_s: float) -> Event:
    """Hurt a node and return how it healed; one that does not is an error of the daemon's, not the bench's end."""
    event = Event(at_s=stress.now(), kind="reloaded" if kind == "worker" else "healed", node=daemon.name)
    healing_s = stress.now()
    try:
        async with stress.fault(kind, daemon.name):
            match kind:
                case "kill":
                    await kill(daemon, away_s)
                    healing_s = stress.now()
                case "freeze":
                    await freeze(daemon, away_s)
                    healing_s = stress.now()
                case _:
                    await kill_worker(nodes.clients[daemon.name], daemon, HEAL_S)
        await nodes.wait_full(HEAL_S)
        event.total_s = round(stress.now() - healing_s, 2)
    except (DaemonError, TimeoutError) as error:
        event.ok, event.detail = False, f"not healed after {kind}: {error}"
    return event
