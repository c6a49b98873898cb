"""What a reader sees when the node that was asked is killed or frozen in mid-answer: another node hosts the rest.

The client is the one of `tarsd ask`. The model is a scripted server at another node, so that every character is known.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from bench.client import Answer, Client
from bench.cluster import Cluster, Plan
from bench.faults import scripted
from bench.faults.checker import judge
from bench.faults.record import ASIDE, Ask, Question
from bench.faults.stage import loopback_cluster
from bench.harness import Context, Row

ASKED = "pc1"
PIECES, PAUSE_MS = 50, 40
ENOUGH = 15  # pieces shown before the node is hurt
KILL_GAP_S, FREEZE_GAP_S = 2.0, 2.0
WITHIN_S, MOST_GAP_S = 30.0, 10.0
BACK_S = 30.0


async def rows(context: Context) -> list[Row]:
    """Return the rows."""
    gaps: dict[str, list[float]] = {"kill": [], "freeze": []}
    questions: list[Question] = []
    hosts = [Plan(ASKED, ("orchestrator",)), Plan("pc2", ("orchestrator",))]
    async with loopback_cluster(hosts, ("pc3",), context.folder / "survive") as (nodes, _):
        for number in range(context.pick(2, 10)):
            how = "freeze" if number % 2 else "kill"
            question = await _hurt_host(nodes, how, number)
            questions.append(question)
            gaps[how].append(question.longest_gap_s)
    verdict = judge(questions, within_s=WITHIN_S, gap_s=MOST_GAP_S)
    print(f"survive: {verdict}")
    spoilt = sum(one.rule in ("whole", "right") for one in verdict.violations)
    moved = sum(any(event["type"] == "moved" for _, event in one.events) for one in questions)
    note = f"of {len(questions)}, {moved} moved to another host; scripted server"
    return [
        Row(
            figure="host lost in mid-answer: answers lost",
            unit="",
            samples=[len(questions) - verdict.whole],
            aim=0,
            note=note,
        ),
        Row(figure="host lost in mid-answer: with wrong characters", unit="", samples=[spoilt], aim=0, note=note),
        Row(figure="host killed in mid-answer: gap", unit="s", samples=gaps["kill"], aim=KILL_GAP_S),
        Row(figure="host frozen in mid-answer: gap", unit="s", samples=gaps["freeze"], aim=FREEZE_GAP_S),
    ]


async def _hurt_host(nodes: Cluster, how: str, number: int) -> Question:
    """Ask, hurt the node that was asked, return the record once the node is back."""
    await _wait_told(nodes.clients[ASKED], 2)
    key = f"survive{number}"
    ask = Ask(text=scripted.question(key, PIECES, PAUSE_MS), expected=scripted.text_of(key, PIECES))
    pieces = itertools.count(1)
    enough = asyncio.Event()

    def hear(event: dict[str, Any]) -> None:
        if event["type"] == "token" and next(pieces) >= ENOUGH:
            enough.set()

    asking = asyncio.create_task(nodes.clients[ASKED].ask_surviving(ask.text, within_s=WITHIN_S, heard=hear))
    waiting = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait({asking, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if how == "kill":
            await nodes[ASKED].kill()
            answer = await asking
            await nodes[ASKED].start()
        else:
            nodes[ASKED].freeze()
            try:
                answer = await asking
            finally:
                nodes[ASKED].thaw()
    finally:
        waiting.cancel()
        asking.cancel()
    await nodes.wait_full(BACK_S)
    return _record(number, ask, answer)


def _record(number: int, ask: Ask, answer: Answer) -> Question:
    events = [(at, event) for at, event in answer.events if event["type"] not in ASIDE]
    return Question(
        number=number, node=ASKED, ask=ask, asked_at=0.0, events=events, ended_at=answer.total_s,
        lost="" if events else "no event",
    )  # fmt: skip


async def _wait_told(client: Client, count: int) -> None:
    """Wait until the node tells its readers of `count` others to go to."""
    async with asyncio.timeout(BACK_S):
        while True:
            async with client.session.ws_connect(client.url + "/ws") as socket:
                if len(json.loads(await socket.receive_str()).get("peers", ())) >= count:
                    return
            await asyncio.sleep(0.1)
