"""The scripted server, asked as an engine asks it, and the record of what comes back."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bench.faults import scripted

PIECES = scripted.pieces_of("k", 9)
TEXT = scripted.text_of("k", 9)


async def said(messages, **more):
    async with TestClient(TestServer(scripted.app())) as client:
        body = {"messages": messages, "stream": True} | more
        reply = await client.post("/v1/chat/completions", json=body)
        chunks = [json.loads(line[6:]) for line in (await reply.text()).splitlines() if line.startswith("data: {")]
    choices = [chunk["choices"][0] for chunk in chunks]
    return [c["delta"]["content"] for c in choices if c["delta"]], choices[-1]["finish_reason"]


ASKED = {"role": "user", "content": f"Please. {scripted.question('k', 9, 0)}"}


async def test_the_answer_is_a_function_of_the_question():
    assert await said([ASKED]) == (PIECES, "stop")
    assert len(set(PIECES)) == 9


@pytest.mark.parametrize("shown", [1, 5, 7, 30, len(TEXT) - 1])
async def test_a_partial_answer_is_continued_where_it_stops(shown):
    pieces, reason = await said([ASKED, {"role": "assistant", "content": TEXT[:shown]}])
    assert (TEXT[:shown] + "".join(pieces), reason) == (TEXT, "stop")


async def test_a_partial_answer_that_is_no_beginning_is_told():
    doubled = TEXT[:14] + TEXT[7:20]
    assert await said([ASKED, {"role": "assistant", "content": doubled}]) == ([scripted.WRONG], "stop")


async def test_an_answer_is_no_longer_than_was_asked_for():
    assert await said([ASKED], max_tokens=4) == (PIECES[:4], "length")


async def test_each_pause_is_longer_on_a_slower_server_and_beside_others(monkeypatch):
    slept = []
    sleep = asyncio.sleep

    async def noted(seconds):
        slept.append(round(seconds, 3))
        await sleep(0)

    monkeypatch.setattr(scripted.asyncio, "sleep", noted)
    served = scripted.app(2.0, 0.5)
    async with TestClient(TestServer(served)) as client:
        body = {"messages": [{"role": "user", "content": scripted.question("k", 2, 100)}], "stream": True}
        await (await client.post("/v1/chat/completions", json=body)).text()
        for other in range(3):
            served[scripted._ANSWERING].add(("other", other))
        await (await client.post("/v1/chat/completions", json=body)).text()
    assert [seconds for seconds in slept if seconds >= 0.1] == [0.2, 0.2, 0.5, 0.5]
