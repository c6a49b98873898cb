"""One round: a fault script is played while questions are asked, and the checker judges the record of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cluster import Cluster, Plan
from bench.faults import scripted
from bench.faults.checker import Verdict, judge
from bench.faults.record import Ask, Recorder, stream
from bench.faults.script import Fault, Player
from bench.faults.stage import chatting
from bench.lan import Lan

HOSTS = ("pc1", "pc4")
PLANS = (Plan("pc1", ("orchestrator",)), chatting("pc2"), chatting("pc3"), Plan("pc4"))
EVERY_S = 1.5
PIECES, PAUSE_MS = 24, 30


async def play(
    nodes: Cluster,
    lan: Lan,
    script: Sequence[Fault],
    keys: Iterator[str],
    *,
    after_s: float,
    within_s: float,
    gap_s: float,
    record: Path,
) -> Verdict:
    """Ask at both hosts while `script` is played and for `after_s` more; return the verdict.

    `keys` name the questions, each a new one. The record is written to `record`.
    """
    recorder = Recorder()
    player = Player(nodes, lan, recorder.now)
    seconds = max(fault.at_s + fault.for_s for fault in script) + after_s
    async with asyncio.TaskGroup() as open_ones:
        open_ones.create_task(player.play(script))
        for name in HOSTS:
            open_ones.create_task(stream(recorder, nodes.clients[name], name, _asks(keys, seconds), EVERY_S))
    recorder.write(record)
    return judge(recorder.questions, within_s=within_s, gap_s=gap_s, away=player.away)


def _asks(keys: Iterator[str], seconds: float) -> Iterator[Ask]:
    for key in itertools.islice(keys, round(seconds / EVERY_S)):
        yield Ask(text=scripted.question(key, PIECES, PAUSE_MS), expected=scripted.text_of(key, PIECES))
