"""A temporary chat is told as one to whoever answers, through every front end."""

from __future__ import annotations

import aiohttp
import pytest

from tarsd.api.temporary import HEADER
from tests.api.test_api_who import FRONT_ENDS


@pytest.mark.parametrize(("path", "body"), FRONT_ENDS)
@pytest.mark.parametrize(("headers", "expected"), [({HEADER: "1"}, True), ({HEADER: "0"}, False), ({}, False)])
async def test_a_header_makes_a_question_of_every_api_temporary(serve, path, body, headers, expected):
    served = await serve()
    async with (
        aiohttp.ClientSession() as client,
        client.post(served.url + path, json=body, headers=headers) as reply,
    ):
        assert reply.status == 200
    assert served.host.asked[-1].temporary is expected


@pytest.mark.parametrize(("path", "body"), FRONT_ENDS)
async def test_a_header_that_says_neither_is_refused_by_its_name(serve, path, body):
    served = await serve()
    async with (
        aiohttp.ClientSession() as client,
        client.post(served.url + path, json=body, headers={HEADER: "please"}) as reply,
    ):
        assert (reply.status, HEADER in await reply.text()) == (400, True)
    assert served.host.asked == []


@pytest.mark.parametrize("said", [True, False])
async def test_the_chat_says_it_with_each_question(serve, said):
    served = await serve()
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{served.url}/ws") as socket:
        await socket.send_json({"type": "ask", "text": "hi", "temporary": said})
        while (await socket.receive_json(timeout=5))["type"] != "done":
            pass
    assert served.host.asked[-1].temporary is said
