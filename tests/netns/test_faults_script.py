"""Four real nodes on a LAN of their own, a stream of questions at two of them, and one fault after another.

Each question is recorded, and the checker judges the record. The model is a scripted server on each PC that chats, so
that every character of every answer is known; `test_faults_model` does the like with the bundled model.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from bench.cluster import Cluster
from bench.faults.checker import Verdict
from bench.faults.play import PLANS, play
from bench.faults.script import Fault
from bench.faults.stage import lan_cluster
from bench.lan import Lan, why_not
from tests.processes.real_nodes import tracebacks

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]

BEFORE_S, AFTER_S = 1.8, 3.0  # the fault begins in the middle of answers
WITHIN_S, GAP_S = 15.0, 5.0  # the silence is 2 s; the rest is a busy test machine
LOSSY_WITHIN_S, LOSSY_GAP_S = 30.0, 15.0  # TCP waits ever longer for what is lost again
KEYS = (f"k{number}" for number in itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncGenerator[tuple[Cluster, Lan], None]:
    if reason := why_not():
        pytest.skip(reason)
    async with lan_cluster(PLANS) as made:
        yield made


async def judged(
    stage: tuple[Cluster, Lan], *script: Fault, within_s: float = WITHIN_S, gap_s: float = GAP_S
) -> Verdict:
    """Ask at both hosts while the script is played, wait until the LAN is whole again, and judge."""
    nodes, lan = stage
    verdict = await play(
        nodes,
        lan,
        script,
        KEYS,
        after_s=AFTER_S,
        within_s=within_s,
        gap_s=gap_s,
        record=nodes.folder / f"{script[0].kind}.jsonl",
    )
    print(f"{'; '.join(map(str, script))}: {verdict}")
    await nodes.wait_full(60)
    assert verdict.violations == [], str(verdict)
    return verdict


async def test_a_killed_node_costs_no_answer(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "kill", "pc2", 3))
    assert (verdict.flagged, verdict.excused) == (0, 0)


@pytest.mark.parametrize("for_s", [1, 3, 10])
async def test_a_frozen_node_costs_no_answer(stage, for_s):
    verdict = await judged(stage, Fault(BEFORE_S, "freeze", "pc3", for_s))
    assert (verdict.flagged, verdict.excused) == (0, 0)


@pytest.mark.parametrize("kind", ["unplug", "deaf", "mute"])
async def test_a_node_behind_a_broken_link_costs_no_answer(stage, kind):
    verdict = await judged(stage, Fault(BEFORE_S, kind, "pc2", 5))
    assert verdict.flagged == 0


async def test_a_lan_that_loses_a_quarter_of_all_packets_answers_or_says_so(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "loss", "", 8, 25), within_s=LOSSY_WITHIN_S, gap_s=LOSSY_GAP_S)
    assert verdict.whole > verdict.questions / 2


async def test_a_slow_line_is_not_taken_for_a_crash(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "delay", "pc3", 6, 150))
    assert verdict.flagged == 0
    assert verdict.whole == verdict.questions


async def test_frames_out_of_order_and_doubled_change_no_answer(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "jumble", "pc2", 5, 20))
    assert verdict.whole == verdict.questions


async def test_both_halves_of_a_split_lan_answer(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "split", "pc1,pc2", 6))
    assert verdict.flagged == 0  # each half has a host and a model


async def test_a_host_that_is_cut_off_alone_says_what_is_missing(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "silence", "pc4", 6))
    assert 0 < verdict.flagged <= verdict.questions / 2


async def test_a_killed_host_loses_its_own_questions_only(stage):
    verdict = await judged(stage, Fault(BEFORE_S, "kill", "pc4", 2))
    assert verdict.flagged == 0
    assert 0 < verdict.excused < verdict.questions / 2


async def test_one_fault_while_another_lasts_is_answered_or_told(stage):
    await judged(stage, Fault(BEFORE_S, "kill", "pc2", 4), Fault(3.5, "freeze", "pc3", 3))


async def test_nothing_of_this_was_a_surprise_to_any_daemon(stage):
    assert tracebacks(stage[0]) == {}
