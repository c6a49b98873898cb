"""Three real nodes on a LAN of their own, two of them with the bundled model: what a reader sees of a hand-over.

The answer of the undisturbed cluster at temperature 0 is the ruler: the checker finds doubled and missing text at a
seam by it. Every question is asked at the node without a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan
from bench.faults.checker import Verdict, judge
from bench.faults.record import Ask, Recorder
from bench.faults.script import Fault, Kind, Player
from bench.faults.stage import lan_cluster, wait_chats
from bench.lan import Lan, why_not
from tests.processes.real_nodes import COUNT, COUNTED, ONE_THREAD, tracebacks, until

pytestmark = [pytest.mark.netns, pytest.mark.model, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

PLANS = (Plan("pc1"), *(Plan(name, ("cognitive",), settings=ONE_THREAD) for name in ("pc2", "pc3")))
COUNTING = Ask(text=COUNT, front="v1", max_tokens=100)
ENOUGH = 30  # characters shown before the fault
WITHIN_S, GAP_S = 90.0, 45.0  # a busy test machine reads the prompt anew


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncGenerator[tuple[Cluster, Lan], None]:
    if reason := why_not():
        pytest.skip(reason)
    async with lan_cluster(PLANS) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reference(stage: tuple[Cluster, Lan]) -> str:
    asked = await Recorder().ask(stage[0].clients["pc1"], "pc1", COUNTING)
    assert asked.end["type"] == "done"
    assert len(asked.text) > 2 * ENOUGH
    return asked.text


async def who_answers(nodes: Cluster) -> str:
    members = await nodes.clients["pc1"].members()
    busy = [name for name, one in members.items() if one["load"] and one["load"]["running"]]
    return busy[0] if len(busy) == 1 else ""  # who was asked too, because the first was slow, leaves it soon


async def hurt(stage: tuple[Cluster, Lan], kind: Kind, for_s: float, reference: str) -> Verdict:
    """Ask, do a fault to whoever answers once some text is there, and judge."""
    nodes, lan = stage
    await nodes.wait_full(60)
    await wait_chats(nodes)
    recorder = Recorder()
    asking = asyncio.create_task(recorder.ask(nodes.clients["pc1"], "pc1", COUNTING))
    try:
        await until(lambda: recorder.questions and len(recorder.questions[0].text) >= ENOUGH, 60, "the answer began")
        victim = await until(lambda: who_answers(nodes), 60, "somebody answers")
        player = Player(nodes, lan, recorder.now)
        await asyncio.gather(player.play([Fault(0, kind, victim, for_s)]), asking)
    finally:
        asking.cancel()
    (question,) = recorder.questions
    verdict = judge([question], within_s=WITHIN_S, gap_s=GAP_S, away=player.away, reference={COUNT: reference})
    print(f"{kind} {victim}: {verdict}; {question.text[-30:]!r}")
    assert verdict.violations == [], str(verdict)
    assert verdict.whole == 1
    assert COUNTED.startswith(question.text.rstrip("."))  # nothing doubled, nothing left out
    return verdict


@pytest.mark.parametrize(("kind", "for_s"), [("kill", 0.5), ("freeze", 5), ("unplug", 5), ("mute", 5)])
async def test_an_answer_goes_on_at_the_other_node_without_a_seam(stage, reference, kind, for_s):
    verdict = await hurt(stage, kind, for_s, reference)
    assert verdict.handed_over == 1


async def test_a_freeze_shorter_than_the_silence_is_waited_out(stage, reference):
    verdict = await hurt(stage, "freeze", 1, reference)
    assert verdict.handed_over == 0


async def test_nothing_of_this_was_a_surprise_to_any_daemon(stage):
    assert tracebacks(stage[0]) == {}
