"""Two nodes with a model: the one that is answering is killed, and the reader's text goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import aiohttp
import pytest
import pytest_asyncio

from bench.cluster import Cluster, Plan, cluster
from tests.processes.real_nodes import COUNT, COUNTED, ONE_THREAD

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

TOKENS = 120


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def nodes() -> AsyncGenerator[Cluster, None]:
    plans = [Plan("host"), *(Plan(name, ("cognitive",), settings=ONE_THREAD) for name in ("pc1", "pc3"))]
    async with cluster(plans) as running:
        for name in ("pc1", "pc3"):
            await running.wait_capability("host", "chat", of=name)
        yield running


async def pieces(nodes: Cluster) -> AsyncGenerator[dict, None]:
    """Ask the host to count, and yield what comes as OpenAI's chunks."""
    body = {
        "model": "tars",
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": COUNT}],
    }
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=90)) as session,
        session.post(f"{nodes['host'].url}/v1/chat/completions", json=body) as response,
    ):
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


async def who_answers(nodes: Cluster) -> list[str]:
    members = await nodes.clients["host"].members()
    return [name for name, member in members.items() if member["load"] and member["load"]["running"]]


async def test_the_reader_of_a_killed_node_gets_one_unbroken_answer(nodes):
    text, length_tokens, notices, killed, usage, last = "", 0, [], "", {}, {}
    async for piece in pieces(nodes):
        assert "error" not in piece, piece
        usage = piece.get("usage") or usage
        told = piece.get("tarsd") or {}
        notices += told.get("notices", [])
        last = told if "generated_by" in told else last
        for choice in piece["choices"]:
            text += choice["delta"].get("content") or ""
            length_tokens += bool(choice["delta"].get("content"))
        if (
            len(text) > 40 and not killed and len(busy := await who_answers(nodes)) == 1
        ):  # who was asked too has left it
            (killed,) = busy
            shown_before = text
            await nodes[killed].kill()
    survivor = {"pc1": "pc3", "pc3": "pc1"}[killed]
    assert last["generated_by"] == survivor
    assert any(notice == f"{survivor} goes on with the answer." for notice in notices)
    assert text.startswith(shown_before)
    assert len(text) > len(shown_before) + 40
    assert COUNTED.startswith(text), text  # nothing doubled, nothing left out
    assert length_tokens <= TOKENS + 2  # no longer than was asked for
    assert abs(usage["completion_tokens"] - length_tokens) <= 2  # what the killed node made is counted too
