"""What a reader sees when the node that answers is killed or frozen in mid-answer: characters, and the gap.

Three nodes chat, so that the next run need not wait for the last victim. With the scripted server every character is
known; some runs are made with the bundled model, whose undisturbed answer at temperature 0 is the ruler.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp

from bench.cluster import Cluster, Daemon, Plan, cluster
from bench.faults import scripted
from bench.faults.checker import Verdict, judge
from bench.faults.record import Ask, Question, Recorder
from bench.faults.stage import loopback_cluster, wait_chats
from bench.harness import Context, Row

CHATS = ("pc2", "pc3", "pc4")
PIECES, PAUSE_MS = 50, 40
KILL_GAP_S, FREEZE_GAP_S = 2.0, 2.0  # a freeze costs network.silence_s (2 s) and the hand-over
WITHIN_S, MOST_GAP_S = 30.0, 10.0
BACK_S = 40.0
MODEL_SETTINGS = """\
[[cognitive.engines]]
kind = "llama_cpp"
threads = 1
context_tokens = 1280
"""
COUNT = "Count from 1 to 60. Write the numbers only, separated by commas."
MODEL_TOKENS = 90

How = Literal["kill", "freeze"]


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    found = await _scripted(context, context.pick(2, 20))
    return found + await _with_model(context, context.pick(1, 3))


async def _scripted(context: Context, times: int) -> list[Row]:
    rng = random.Random(1)
    recorder = Recorder()
    gaps: dict[How, list[float]] = {"kill": [], "freeze": []}
    hosts = [Plan("host", ("orchestrator",))]
    async with (
        loopback_cluster(hosts, CHATS, context.folder / "midanswer") as (nodes, ports),
        aiohttp.ClientSession() as session,
        _healing(nodes) as healing,
    ):

        async def answering() -> str:
            for name, port in ports.items():
                if await scripted.is_answering(session, port, key):
                    return name
            return ""

        for number in range(2 * times):
            how: How = "freeze" if number % 2 else "kill"
            key = f"mid{number}"
            ask = Ask(text=scripted.question(key, PIECES, PAUSE_MS), expected=scripted.text_of(key, PIECES))
            await healing.wait_two()
            after = rng.randrange(3, PIECES - 5)
            hurt = _Hurt(nodes, how, after, answering, healing)
            gaps[how].append((await hurt.ask(recorder, ask)).longest_gap_s)
    recorder.write(context.folder / "midanswer.jsonl")
    verdict = judge(recorder.questions, within_s=WITHIN_S, gap_s=MOST_GAP_S)
    print(f"midanswer: {verdict}")
    note = "2 s of silence and the hand-over; scripted server"
    return [
        *_verdict_rows(verdict, "scripted server"),
        Row(figure="kill in mid-answer: gap", unit="s", samples=gaps["kill"], aim=KILL_GAP_S, note="scripted server"),
        Row(figure="freeze in mid-answer: gap", unit="s", samples=gaps["freeze"], aim=FREEZE_GAP_S, note=note),
    ]


async def _with_model(context: Context, times: int) -> list[Row]:
    recorder = Recorder()
    gaps: list[float] = []
    ask = Ask(text=COUNT, front="v1", max_tokens=MODEL_TOKENS)
    plans = [Plan("host"), *(Plan(name, ("cognitive",), settings=MODEL_SETTINGS) for name in CHATS[:2])]
    async with cluster(plans, context.folder / "midanswer-model") as nodes, _healing(nodes) as healing:
        await wait_chats(nodes)
        undisturbed = await Recorder().ask(nodes.clients["host"], "host", ask)

        async def answering() -> str:
            members = await nodes.clients["host"].members()
            return next((name for name, one in members.items() if one["load"] and one["load"]["running"]), "")

        for number in range(2 * times):
            await healing.wait_all()
            hurt = _Hurt(nodes, "freeze" if number % 2 else "kill", MODEL_TOKENS // 4, answering, healing)
            gaps.append((await hurt.ask(recorder, ask)).longest_gap_s)
    recorder.write(context.folder / "midanswer-model.jsonl")
    reference = {COUNT: undisturbed.text}
    verdict = judge(recorder.questions, within_s=60.0, gap_s=30.0, reference=reference)
    counted = undisturbed.text.rstrip(" .,")
    same = sum(question.text.startswith(counted) for question in recorder.questions)
    print(f"midanswer, bundled model: {same} in the words of the undisturbed answer; {verdict}")
    gap = Row(
        figure="kill or freeze in mid-answer: gap", unit="s", samples=gaps, note="bundled model, prompt read anew"
    )
    return [*_verdict_rows(verdict, "bundled model"), gap]


def _verdict_rows(verdict: Verdict, what: str) -> list[Row]:
    broken = [one.rule for one in verdict.violations]
    spoilt = sum(rule in ("whole", "seam", "right") for rule in broken)
    note = f"of {verdict.questions}, {verdict.handed_over} handed over; {what}"
    return [
        Row(
            figure="hurt in mid-answer: answers lost",
            unit="",
            samples=[verdict.questions - verdict.whole],
            aim=0,
            note=note,
        ),
        Row(figure="hurt in mid-answer: with wrong characters", unit="", samples=[spoilt], aim=0, note=note),
    ]


class _Healing:
    """Brings victims back in the background; a run may begin as soon as two are there to take it."""

    def __init__(self, nodes: Cluster) -> None:
        self._nodes = nodes
        self._tasks: set[asyncio.Task[None]] = set()
        self.away: set[str] = set()

    def begin(self, victim: Daemon, how: How) -> None:
        """Bring `victim` back."""
        self.away.add(victim.name)
        task = asyncio.create_task(self._heal(victim, how))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _heal(self, victim: Daemon, how: How) -> None:
        if how == "freeze":
            victim.thaw()
        else:
            await victim.start()
        await self._nodes.wait_capability("host", "chat", BACK_S, of=victim.name)
        self.away.discard(victim.name)

    async def wait_two(self) -> None:
        """Wait until at most one victim is still away."""
        while len(self._tasks) > 1:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await self._wait_chatting(2)

    async def wait_all(self) -> None:
        """Wait until nobody is away."""
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._wait_chatting(len([one for one in self._nodes.daemons if "cognitive" in one.plan.roles]))

    async def _wait_chatting(self, count: int) -> None:
        def enough(members: dict[str, dict[str, object]]) -> bool:
            able = [one for one in members.values() if one["state"] == "alive" and "chat" in one["capabilities"]]  # type: ignore[operator]
            return len(able) >= count

        await self._nodes.clients["host"].wait_members(enough, BACK_S, f"{count} nodes that chat")

    async def close(self) -> None:
        """Wait for the last ones."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def _healing(nodes: Cluster) -> AsyncGenerator[_Healing, None]:
    made = _Healing(nodes)
    try:
        yield made
    finally:
        await made.close()


class _Hurt:
    """One question, in the middle of which the node that answers is hurt."""

    def __init__(
        self, nodes: Cluster, how: How, after: int, answering: Callable[[], Awaitable[str]], healing: _Healing
    ) -> None:
        self._nodes = nodes
        self._how: How = how
        self._after = after  # events
        self._answering = answering
        self._healing = healing
        self._heard = 0
        self._due = asyncio.Event()

    def _hear(self) -> None:
        self._heard += 1
        if self._heard >= self._after:
            self._due.set()

    async def ask(self, recorder: Recorder, ask: Ask) -> Question:
        """Ask at the host and hurt whoever answers; return the record."""
        client = self._nodes.clients["host"]
        asking = asyncio.create_task(recorder.ask(client, "host", ask, within_s=60, heard=self._hear))
        due = asyncio.create_task(self._due.wait())
        try:
            await asyncio.wait({asking, due}, return_when=asyncio.FIRST_COMPLETED)
            victim = await self._victim(asking)
            if victim is not None:
                await self._strike(victim)
            question = await asking
            if victim is not None:
                self._healing.begin(victim, self._how)
            return question
        finally:
            due.cancel()
            asking.cancel()

    async def _victim(self, asking: asyncio.Task[Question]) -> Daemon | None:
        while not asking.done():
            if name := await self._answering():
                return self._nodes[name]
            await asyncio.sleep(0.01)
        return None

    async def _strike(self, victim: Daemon) -> None:
        if self._how == "kill":
            await victim.kill()
        else:
            victim.freeze()
