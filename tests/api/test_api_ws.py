"""Journeys over /ws against a real server; the host is scripted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tarsd.errors import Unavailable
from tarsd.host import events
from tests.api.scripted_services import ROUTE, ScriptedHost, answer


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    return json.loads(await asyncio.wait_for(socket.receive_str(), 30))


async def receive_until(socket: aiohttp.ClientWebSocketResponse, *types: str) -> list[dict[str, Any]]:
    found = [await receive(socket)]
    while found[-1]["type"] not in types:
        found.append(await receive(socket))
    return found


async def test_an_answer_arrives_as_its_events_in_order(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        first = await receive(socket)
        await socket.send_json({"type": "ask", "text": "Which pressure?", "language": "en"})
        got = await receive_until(socket, "done")
    assert first["type"] == "session"
    assert first["node"] == "pc1"
    assert [event["type"] for event in got] == ["route", "sources", "token", "token", "done"]
    assert got[1]["sources"][0]["file"] == "boiler-manual.pdf"
    assert got[-1]["generated_by"] == "pc1"
    question = served.host.asked[0]
    assert (question.text, question.language, question.conversation) == ("Which pressure?", "en", first["conversation"])


async def test_the_session_keeps_the_turns_so_that_a_client_sends_only_its_question(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        for text in ("one", "two"):
            await socket.send_json({"type": "ask", "text": text})
            await receive_until(socket, "done")
    assert served.host.asked[0].turns == ()
    assert [(turn.question, turn.answer) for turn in served.host.asked[1].turns] == [
        ("one", "Between 1.2 and 1.8 bar [1].")
    ]


async def test_a_session_outlives_its_connection(serve, client):
    served = await serve()
    for text in ("one", "two"):
        async with client.ws_connect(served.url + "/ws") as socket:
            await socket.send_json({"type": "ask", "text": text, "conversation": "kept"})
            await receive_until(socket, "done")
    assert len(served.host.asked[1].turns) == 1


async def test_another_conversation_starts_without_turns_and_is_announced(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "one", "conversation": "first"})
        await receive_until(socket, "done")
        await socket.send_json({"type": "ask", "text": "two", "conversation": "second"})
        got = await receive_until(socket, "done")
    assert (got[0]["type"], got[0]["conversation"]) == ("session", "second")
    assert served.host.asked[1].turns == ()


async def test_stop_ends_the_answer_and_cancels_the_generation(serve, client):
    served = await serve(ScriptedHost(answer("a", "b"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        await receive_until(socket, "token")
        await socket.send_json({"type": "stop"})
        assert await receive(socket) == {"type": "stopped"}
        assert served.host.left.is_set()
        served.host.hang_after = None
        await socket.send_json({"type": "ask", "text": "again"})
        await receive_until(socket, "done")
    assert [turn.answer for turn in served.host.asked[1].turns] == ["a"]  # as far as it was shown


async def test_stop_without_an_answer_says_nothing(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        await socket.send_json({"type": "stop"})
        await socket.send_json({"type": "ask", "text": "q"})
        assert (await receive(socket))["type"] == "route"


async def test_an_ask_during_an_answer_stops_that_one_first(serve, client):
    served = await serve(ScriptedHost(answer("a"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "one"})
        await receive_until(socket, "token")
        served.host.hang_after = None
        await socket.send_json({"type": "ask", "text": "two"})
        got = await receive_until(socket, "done")
    assert [event["type"] for event in got] == ["stopped", "route", "sources", "token", "done"]


async def test_closing_the_connection_cancels_the_generation(serve, client):
    served = await serve(ScriptedHost(answer("a"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "one"})
        await receive_until(socket, "token")
    await asyncio.wait_for(served.host.left.wait(), 30)


async def test_a_question_right_after_done_lets_the_answer_end_in_peace(serve, client):
    """What the host does after `done` is to remember; the next question must not cancel that."""

    class RememberingHost(ScriptedHost):
        async def ask(self, question):
            async for event in super().ask(question):
                yield event
            await asyncio.sleep(0.05)
            remembered.append(question.text)

    remembered: list[str] = []
    served = await serve(RememberingHost())
    async with client.ws_connect(served.url + "/ws") as socket:
        for text in ("one", "two"):
            await socket.send_json({"type": "ask", "text": text})
            got = await receive_until(socket, "done")
            assert "stopped" not in [event["type"] for event in got]
    await served.server.stop(1.0)
    assert remembered == ["one", "two"]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ("{", "body"),
        ('{"type": "ask", "text": 3}', "text"),
        ('{"type": "ask", "text": ""}', "text"),
        ('{"type": "ask", "text": "q", "language": "english"}', "language"),
        ('{"type": "ask", "text": "q", "conversation": "../x"}', "conversation"),
        ('{"type": "sing"}', "type"),
    ],
)
async def test_a_wrong_message_is_answered_with_its_field_and_the_connection_stays(serve, client, sent, field):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        await socket.send_str(sent)
        error = await receive(socket)
        assert (error["type"], error["name"]) == ("error", "InvalidInput")
        assert error["sentence"].startswith(f"{field}: ")
        await socket.send_json({"type": "ask", "text": "q"})
        await receive_until(socket, "done")


async def test_a_message_over_the_bound_closes_the_connection(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        await socket.send_str("x" * 1_100_000)
        message = await asyncio.wait_for(socket.receive(), 30)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == aiohttp.WSCloseCode.MESSAGE_TOO_BIG


async def test_an_answer_that_ends_without_its_last_part_is_told_as_an_error(serve, client):
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("half")]))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        assert (await receive_until(socket, "error"))[-1]["name"] == "Unavailable"


async def test_an_error_that_is_not_ours_keeps_its_text_to_itself(serve, client, caplog):
    class BrokenHost(ScriptedHost):
        async def ask(self, question):
            raise RuntimeError("secret")
            yield

    served = await serve(BrokenHost())
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        got = await receive_until(socket, "error")
    assert got[-1]["sentence"] == "internal error"
    assert "an answer failed" in caplog.text


async def test_our_errors_reach_the_reader_by_name(serve, client):
    class AloneHost(ScriptedHost):
        async def ask(self, question):
            raise Unavailable("nobody is here")
            yield

    served = await serve(AloneHost())
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        got = await receive_until(socket, "error")
    assert (got[-1]["name"], got[-1]["sentence"]) == ("Unavailable", "nobody is here")


async def test_a_stop_of_the_node_lets_a_running_answer_end_and_then_says_going_away(serve, client):
    served = await serve(ScriptedHost(answer("a", "b"), pace_s=0.05))
    async with client.ws_connect(served.url + "/ws") as busy, client.ws_connect(served.url + "/ws") as idle:
        await receive(idle)
        await busy.send_json({"type": "ask", "text": "q"})
        await receive_until(busy, "token")
        stopping = asyncio.create_task(served.server.stop(5.0))
        assert (await asyncio.wait_for(idle.receive(), 30)).data == aiohttp.WSCloseCode.GOING_AWAY
        await receive_until(busy, "done")
        assert (await asyncio.wait_for(busy.receive(), 30)).data == aiohttp.WSCloseCode.GOING_AWAY
        await stopping


async def test_a_stop_cuts_an_answer_that_outlasts_the_drain(serve, client):
    served = await serve(ScriptedHost(answer("a"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        await receive_until(socket, "token")
        stopping = asyncio.create_task(served.server.stop(0.1))
        while (message := await asyncio.wait_for(socket.receive(), 30)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.data == aiohttp.WSCloseCode.GOING_AWAY
        await asyncio.wait_for(stopping, 30)
    assert served.host.left.is_set()


async def test_chats_are_bounded(serve, client, monkeypatch):
    monkeypatch.setattr("tarsd.api.sockets.MAX_CONNECTIONS", 1)
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        async with client.get(
            served.url + "/ws",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        ) as response:
            assert response.status == 429


async def test_plain_http_on_the_chat_is_told_what_is_missing(serve, client):
    served = await serve()
    async with client.get(served.url + "/ws") as response:
        assert response.status == 400
        assert "Upgrade" in (await response.json())["error"]["message"]
