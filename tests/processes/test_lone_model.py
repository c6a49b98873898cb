"""One node with a model, and its worker is killed in mid-answer: the same node goes on, by the worker's successor."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncGenerator

import aiohttp
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import COUNT, COUNTED, ONE_THREAD, until, workers_of

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

TOKENS = 100


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    async with cluster([Plan("host"), Plan("pc1", ("cognitive",), settings=ONE_THREAD)]) as running:
        await running.wait_capability("host", "chat", of="pc1")
        yield running


async def counted(nodes: Cluster, asked_at: str, model: str) -> tuple[str, int, dict]:
    """Have a node count, kill the model's worker on the way; return the text, its pieces, the last usage."""
    body = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": COUNT}],
    }
    text, pieces, usage, is_killed = "", 0, {}, False
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session,
        session.post(f"{nodes[asked_at].url}/v1/chat/completions", json=body) as response,
    ):
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            piece = json.loads(line.removeprefix(b"data: "))
            assert "error" not in piece, piece
            usage = piece.get("usage") or usage
            for choice in piece["choices"]:
                if found := choice["delta"].get("content"):
                    text, pieces = text + found, pieces + 1
            if len(text) > 40 and not is_killed:
                is_killed = True
                (worker,) = workers_of(nodes["pc1"])
                worker.send_signal(signal.SIGKILL)
    assert is_killed
    return text, pieces, usage


@pytest.mark.parametrize("asked_at", ["host", "pc1"])
@pytest.mark.parametrize("kind", ["assistant", "plain"])
async def test_the_readers_text_goes_on_though_there_is_no_other_node(nodes, asked_at, kind):
    chat = (await nodes.clients["pc1"].members())["pc1"]["capabilities"]["chat"]
    text, pieces, usage = await counted(nodes, asked_at, "tars" if kind == "assistant" else chat["model"])
    assert COUNTED.startswith(text), text  # nothing doubled, nothing left out
    assert TOKENS - 2 <= pieces <= TOKENS
    assert abs(usage["completion_tokens"] - pieces) <= 2
    await until(lambda: len(workers_of(nodes["pc1"])) == 1, 60, "the worker is back")
    await nodes.wait_capability("host", "chat", of="pc1")
