"""Questions that wait at the only node with a model: one that comes up takes of them, and nobody asked it to wait."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bench.cluster import Plan, cluster
from bench.daemon import free_ports
from bench.faults import scripted
from bench.inference_client import Messages, ask, connections

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

KEYS = [f"key{number}" for number in range(6)]
PIECES, PAUSE_MS, TOKENS = 25, 100, 100  # one after another they take 15 s


async def test_a_node_that_comes_up_takes_questions_out_of_anothers_queue(tmp_path: Path) -> None:
    ports = dict(zip(("pc2", "pc3"), free_ports(2), strict=True))
    plans = [
        Plan("host"),
        *(Plan(name, ("cognitive",), settings=scripted.settings(port) + "slots = 1\n") for name, port in ports.items()),
    ]
    async with AsyncExitStack() as stack:
        for port in ports.values():
            await stack.enter_async_context(scripted.running(port))
        nodes = await stack.enter_async_context(cluster(plans, tmp_path))
        await nodes["pc3"].stop()
        await nodes.wait_state("host", "pc3", ("left", "dead"))
        await nodes.wait_capability("host", "chat", of="pc2")
        session = await stack.enter_async_context(connections())
        asking = [asyncio.create_task(ask(session, nodes["host"].url, *one, TOKENS)) for one in questions()]
        await nodes["pc3"].start()
        replies = await asyncio.gather(*asking)
        assert [reply.error for reply in replies if not reply.whole] == []
        assert [reply.text for reply in replies] == [scripted.text_of(key, PIECES) for key in KEYS]
        moved = re.search(r'capability="chat",result="moved"\} (\d+)', await nodes.clients["host"].get_text("/metrics"))
        assert moved is not None
        assert int(moved[1]) >= 2


def questions() -> list[tuple[str, Messages]]:
    return [(scripted.MODEL, [{"role": "user", "content": scripted.question(key, PIECES, PAUSE_MS)}]) for key in KEYS]
