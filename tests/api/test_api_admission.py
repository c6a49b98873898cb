"""What has too much to do says so everywhere, and when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tarsd.errors import Overloaded, Unavailable
from tarsd.host import events
from tests.api import scripted_services as scripted

FULL = Overloaded("3 are waiting already", retry_after_s=7.2)
QUESTION = {"model": "tars", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def busy_host() -> scripted.ScriptedHost:
    """A host that prepares a question, and finds then that every queue is full."""
    full = events.ErrorEvent("Overloaded", str(FULL), FULL.retry_after_s)
    return scripted.ScriptedHost(script=[scripted.ROUTE, scripted.SOURCES, full])


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_is_429_with_the_time_to_come_again_for_openai_clients(
    serve: Any, client: Any, stream: bool
) -> None:
    served = await serve(busy_host())
    async with client.post(f"{served.url}/v1/chat/completions", json=QUESTION | {"stream": stream}) as reply:
        body = await reply.json()
    assert (reply.status, reply.headers["Retry-After"]) == (429, "8")
    assert (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "Overloaded")


async def test_below_api_the_body_tells_it_too(serve: Any, client: Any) -> None:
    served = await serve(replies={"search": [FULL]})
    async with client.get(f"{served.url}/api/search", params={"q": "boiler"}) as reply:
        body = await reply.json()
    assert (reply.status, reply.headers["Retry-After"]) == (429, "8")
    assert body["error"] == {"name": "Overloaded", "message": "3 are waiting already", "retry_after_s": 7.2}


async def test_what_nobody_can_do_now_is_503_with_a_time_to_come_again(serve: Any, client: Any) -> None:
    served = await serve(replies={"search": [Unavailable("no node offers search right now")]})
    async with client.get(f"{served.url}/api/search", params={"q": "boiler"}) as reply:
        body = await reply.json()
    assert (reply.status, int(reply.headers["Retry-After"]) >= 1) == (503, True)
    assert "retry_after_s" not in body["error"]


async def test_the_node_hears_when_the_clients_are_not_told_of_peers_any_more(serve, monkeypatch):
    served = await serve()
    assert served.server.problem() == ""
    await served.server.stop(0.0)
    assert served.server.problem() == ""

    async def broken(sockets):
        return

    monkeypatch.setattr("tarsd.api.sockets.OpenSockets.run", broken)
    served = await serve()
    await asyncio.sleep(0)
    assert served.server.problem() == "peers for clients ended"
