"""A talk outlives its node: against two real API servers with scripted hosts, and as commands in processes."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tarsd.api.messages import BeatEvent, StoppedEvent
from tarsd.cli.client import ApiClient, Target
from tarsd.cli.talk import KeptLine, MovedEvent, Talk
from tarsd.errors import NotAllowed, PeerLost, Unavailable
from tarsd.host import events
from tests.api import scripted_services as scripted
from tests.api.scripted_services import DONE, ROUTE, ScriptedHost, answer, member
from tests.api.two_nodes import Pair
from tests.processes.real_nodes import until

STARTING = events.ErrorEvent("Unavailable", "no node offers chat right now")


@pytest.fixture
async def pair(serve) -> Pair:
    return Pair(serve)


@pytest.fixture
async def talk_to() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def begin(url: str, token: str = "") -> Talk:
            client = await stack.enter_async_context(ApiClient(Target(url, token)))
            talk = client.talk(language="en")
            stack.push_async_callback(talk.close)
            return talk

        yield begin


class Listener:
    """Asks, and keeps what came."""

    def __init__(self, talk: Talk, text: str) -> None:
        self.events: list[Any] = []
        self._talk = talk
        self.task = asyncio.create_task(self._listen(text))

    async def _listen(self, text: str) -> None:
        async for event in self._talk.ask(text):
            self.events.append(event)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, events.TokenEvent))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def shown(self, text: str) -> None:
        await until(lambda: self.text == text, 60, f"{text!r} is shown, not {self.text!r}")

    async def end(self) -> Any:
        async with asyncio.timeout(60):
            await self.task
        return self.events[-1]


async def test_another_node_goes_on_where_the_lost_one_stopped(pair, talk_to):
    near, far = ScriptedHost(answer("Between 1.2 ", "x"), hang_after=3), ScriptedHost(answer("and 1.8 ", "bar."))
    await pair.start(near, far)
    listener = Listener(await talk_to(pair.near.url), "Which pressure?")
    await listener.shown("Between 1.2 ")
    await pair.near.server.stop(0.0)
    assert isinstance(await listener.end(), events.DoneEvent)
    assert listener.text == "Between 1.2 and 1.8 bar."
    assert listener.of(MovedEvent) == [MovedEvent("pc1", "pc3")]
    (question,) = far.asked
    assert question.shown == "Between 1.2 "
    assert question.answer == near.asked[0].answer
    assert question.conversation == near.asked[0].conversation


async def test_before_any_text_the_question_is_asked_again_by_its_name(pair, talk_to):
    near, far = ScriptedHost(hang_after=1), ScriptedHost()
    await pair.start(near, far)
    listener = Listener(await talk_to(pair.near.url), "q")
    await until(lambda: near.asked, 60, "the near one is asked")
    await pair.near.server.stop(0.0)
    await listener.end()
    assert far.asked[0].answer == near.asked[0].answer != ""
    assert far.asked[0].shown == ""


async def test_a_node_without_a_word_is_lost_although_its_connection_stays(pair, talk_to, monkeypatch):
    monkeypatch.setattr("tarsd.api.ws.BEAT_S", 3600.0)
    monkeypatch.setattr("tarsd.cli.talk.SILENCE_S", 1.0)
    await pair.start(ScriptedHost(answer("half "), hang_after=3), ScriptedHost(answer("and half")))
    listener = Listener(await talk_to(pair.near.url), "q")
    await listener.end()
    assert listener.text == "half and half"
    await asyncio.wait_for(pair.near.host.left.wait(), 60)


async def test_a_node_that_beats_is_waited_for(pair, talk_to, monkeypatch):
    monkeypatch.setattr("tarsd.api.ws.BEAT_S", 0.05)
    monkeypatch.setattr("tarsd.cli.talk.SILENCE_S", 1.0)
    await pair.start(ScriptedHost([ROUTE, DONE], pace_s=1.2), ScriptedHost())
    listener = Listener(await talk_to(pair.near.url), "q")
    await listener.end()
    assert listener.of(MovedEvent) == []
    assert pair.far.host.asked == []


async def test_an_older_node_that_never_beats_is_waited_for(talk_to, monkeypatch):
    monkeypatch.setattr("tarsd.cli.talk.SILENCE_S", 0.1)

    async def older(request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        await line.send_json({"type": "session", "conversation": "c", "node": "pc1", "version": "0.1.0"})
        await line.receive_json()
        await asyncio.sleep(0.5)
        for kind in ({"type": "of a newer one"}, {"type": "stopped"}):
            await line.send_json(kind)
        return line

    async with Serving(older) as url:
        listener = Listener(await talk_to(url), "q")
        assert isinstance(await listener.end(), StoppedEvent)


class Serving:
    """A server with one handler at /ws."""

    def __init__(self, handler: Any) -> None:
        self._app = web.Application()
        self._app.add_routes([web.get("/ws", handler)])

    async def __aenter__(self) -> str:
        self._runner = web.AppRunner(self._app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


async def test_a_node_that_accepts_and_says_nothing_is_passed_over(pair, talk_to, monkeypatch):
    """As a frozen one does: its kernel still takes connections."""
    monkeypatch.setattr("tarsd.cli.talk.JOIN_S", 1.0)
    await pair.start(ScriptedHost(answer("half "), hang_after=3), ScriptedHost(answer("and half")))
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        url = f"http://127.0.0.1:{frozen.getsockname()[1]}"
        pair.members("pc1").append(member("pc2", api=(url,)))
        listener = Listener(await talk_to(pair.near.url), "q")
        await listener.shown("half ")
        await pair.near.server.stop(0.0)
        await listener.end()
    assert listener.text == "half and half"


async def test_later_questions_go_on_at_the_other_node_with_what_was_said(pair, talk_to):
    near, far = ScriptedHost(answer("one")), ScriptedHost(answer("two"))
    await pair.start(near, far)
    talk = await talk_to(pair.near.url)
    await Listener(talk, "first").end()
    await pair.near.server.stop(0.0)
    for text in ("second", "third"):
        await Listener(talk, text).end()
    assert [len(question.turns) for question in far.asked] == [1, 2]
    assert far.asked[0].turns[0].question == "first"
    assert far.asked[1].conversation == near.asked[0].conversation
    talk.begin("another")
    await Listener(talk, "fourth").end()
    assert (far.asked[2].conversation, far.asked[2].turns) == ("another", ())


async def test_the_lost_node_may_be_the_one_that_comes_back(serve, talk_to):
    served = await serve(ScriptedHost(answer("half "), hang_after=3))
    listener = Listener(await talk_to(served.url), "q")
    await listener.shown("half ")
    await served.server.stop(0.0)
    again = ScriptedHost(answer("and half"))
    await serve(again, settings=scripted.settings(port=served.port))
    await listener.end()
    assert listener.text == "half and half"
    assert again.asked[0].shown == "half "


async def test_a_node_that_is_just_coming_up_is_tried_again(pair, talk_to):
    far = ScriptedHost([ROUTE, STARTING])
    await pair.start(ScriptedHost(answer("half "), hang_after=3), far)
    listener = Listener(await talk_to(pair.near.url), "q")
    await listener.shown("half ")
    await pair.near.server.stop(0.0)
    await until(lambda: len(far.asked) > 1, 60, "it is asked again")
    far.script = answer("and half")
    await listener.end()
    assert listener.text == "half and half"
    assert listener.of(events.ErrorEvent) == []


async def test_nobody_left_is_an_error_in_the_end_and_no_flood_before(pair, talk_to, monkeypatch):
    monkeypatch.setattr("tarsd.cli.talk.GIVE_UP_S", 1.0)
    far = ScriptedHost([ROUTE, STARTING])
    await pair.start(ScriptedHost(answer("half "), hang_after=3), far)
    listener = Listener(await talk_to(pair.near.url), "q")
    await listener.shown("half ")
    await pair.near.server.stop(0.0)
    with pytest.raises(Unavailable, match="no node offers chat"):
        await listener.end()
    assert 2 <= len(far.asked) <= 8


async def test_a_first_node_that_is_not_there_fails_at_once(talk_to, unused_tcp_port):
    with pytest.raises(Unavailable, match="is it running"):
        await Listener(await talk_to(f"http://127.0.0.1:{unused_tcp_port}"), "q").end()


async def test_a_stop_ends_the_answer_also_when_there_is_no_node_to_end_it(pair, talk_to):
    await pair.start(ScriptedHost(answer("half"), hang_after=3), ScriptedHost())
    talk = await talk_to(pair.near.url)
    listener = Listener(talk, "q")
    await listener.shown("half")
    await pair.far.server.stop(0.0)
    await pair.near.server.stop(0.0)
    await talk.stop()
    assert isinstance(await listener.end(), StoppedEvent)


async def test_a_stop_at_a_frozen_node_is_not_taken_for_a_loss(pair, talk_to, monkeypatch):
    monkeypatch.setattr("tarsd.cli.talk.SILENCE_S", 2.0)

    async def frozen(request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        session = {"type": "session", "conversation": "c", "node": "pc2", "version": "0.1.0"}
        await line.send_json(session | {"pass": "x" * 43, "peers": [pair.far.url]})
        await line.send_json({"type": "token", "text": "half"})
        await asyncio.sleep(3600)
        return line

    await pair.start(ScriptedHost(), ScriptedHost())
    async with Serving(frozen) as url:
        talk = await talk_to(url)
        listener = Listener(talk, "q")
        await listener.shown("half")
        await talk.stop()
        assert isinstance(await listener.end(), StoppedEvent)
        await talk.close()
    assert pair.far.host.asked == []


async def test_a_stop_while_the_next_node_is_joined_asks_it_nothing(pair, talk_to):
    joining, go_on = asyncio.Event(), asyncio.Event()
    got: list[str] = []

    async def slow(request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        joining.set()
        await go_on.wait()
        session = {"type": "session", "conversation": "c", "node": "pc0", "version": "0.1.0", "pass": "x" * 43}
        await line.send_json(session | {"peers": []})
        async for message in line:
            got.append(message.data)
            await line.send_json({"type": "token", "text": " and half"})
        return line

    await pair.start(ScriptedHost(answer("half"), hang_after=3), ScriptedHost())
    async with Serving(slow) as url:
        pair.members("pc1").insert(0, member("pc0", api=(url,)))
        talk = await talk_to(pair.near.url)
        listener = Listener(talk, "q")
        await listener.shown("half")
        await pair.near.server.stop(0.0)
        await asyncio.wait_for(joining.wait(), 60)
        await talk.stop()
        go_on.set()
        assert isinstance(await listener.end(), StoppedEvent)
        await talk.close()
    assert listener.text == "half"
    assert {json.loads(data)["type"] for data in got} <= {"stop"}


class Line:
    """A connection whose messages a test gives."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def give(self, message: dict[str, Any] | None) -> None:
        self._queue.put_nowait(message)

    async def send_str(self, data: str) -> None:
        self.give(None)

    async def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]:
        while (message := await self._queue.get()) is not None:
            yield aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, json.dumps(message), None)


async def test_frozen_nodes_are_not_tried_one_after_the_other_beyond_the_time_to_give_up(monkeypatch):
    monkeypatch.setattr("tarsd.cli.talk.GIVE_UP_S", 0.3)
    monkeypatch.setattr("tarsd.cli.talk.JOIN_S", 0.2)
    tried: list[str] = []

    @asynccontextmanager
    async def connect(url: str, passes: Sequence[str]) -> AsyncIterator[Line]:
        tried.append(url)
        if len(tried) > 1:
            await asyncio.Event().wait()
        line = Line()
        line.give({"type": "session", "conversation": "c", "node": "pc1", "version": "1", "peers": peers})
        yield line

    peers = [f"http://192.168.1.{number}:7711" for number in range(2, 18)]
    talk = Talk("http://192.168.1.1:7711", connect)
    with pytest.raises(PeerLost, match="closed the connection"):
        await Listener(talk, "q").end()
    assert 2 <= len(tried) <= 4
    await talk.close()


async def test_what_came_while_we_ourselves_were_held_up_is_no_silence():
    socket = Line()
    line = KeptLine(socket, lambda peers: None)
    receiving = asyncio.create_task(line.receive(0.02))
    for _ in range(5):
        await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251 - this PC was busy, and the word came in time
    socket.give({"type": "beat"})
    assert isinstance(await receiving, BeatEvent)
    with pytest.raises(PeerLost, match="not a word"):
        await line.receive(0.02)
    await line.close()


class TestLettingIn:
    """A client of one node is let in at another that it never signed in at."""

    far: Any = {"settings": scripted.settings(listen="0.0.0.0"), "access_token": "of-the-far-one"}

    async def test_by_the_pass_of_its_own_node(self, pair, talk_to):
        await pair.start(ScriptedHost(answer("half "), hang_after=3), ScriptedHost(answer("and half")), **self.far)
        listener = Listener(await talk_to(pair.near.url), "q")
        await listener.shown("half ")
        await asyncio.sleep(0)
        await pair.near.server.stop(0.0)
        await listener.end()
        assert listener.text == "half and half"

    async def test_without_one_it_needs_a_token(self, pair, talk_to):
        await pair.start(ScriptedHost(), ScriptedHost(), **self.far)
        with pytest.raises(NotAllowed):
            await Listener(await talk_to(pair.far.url), "q").end()
        assert isinstance(await Listener(await talk_to(pair.far.url, "of-the-far-one"), "q").end(), events.DoneEvent)

    async def test_the_token_of_its_own_node_goes_to_no_other(self, pair, talk_to):
        seen: list[dict[str, str]] = []

        async def curious(request: web.Request) -> web.Response:
            seen.append(dict(request.headers))
            return web.Response(status=403)

        await pair.start(ScriptedHost(answer("half "), hang_after=3), ScriptedHost(answer("and half")))
        async with Serving(curious) as url:
            pair.members("pc1").insert(0, member("pc0", api=(url,)))
            listener = Listener(await talk_to(pair.near.url, "my-token"), "q")
            await listener.shown("half ")
            await pair.near.server.stop(0.0)
            await listener.end()
        (headers,) = seen
        assert "my-token" not in json.dumps(headers)
        assert headers["Sec-WebSocket-Protocol"].startswith("tarsd,tarsd.pass.")


# --- as commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "remark"),
    [("C.UTF-8", "pc1 does not answer; pc3 goes on."), ("es_ES.UTF-8", "pc1 no responde; sigue pc3.")],
)
async def test_ask_prints_one_unbroken_text_and_remarks_who_goes_on(pair, start, lang, remark):
    await pair.start(ScriptedHost(answer("Between 1.2 "), hang_after=3), ScriptedHost(answer("and 1.8 ", "bar.")))
    running = await start("ask", "q", TARSD_API=pair.near.url, LANG=lang)
    await running.read_until("Between 1.2 ")
    await pair.near.server.stop(0.0)
    ended = await running.ended()
    assert ended.code == 0
    assert ended.out.startswith("and 1.8 bar.\n")
    assert ended.err.startswith(f"{remark}\n")


async def test_ask_as_json_tells_of_the_move_and_of_no_beats(pair, start, monkeypatch):
    monkeypatch.setattr("tarsd.api.ws.BEAT_S", 0.02)
    await pair.start(ScriptedHost(answer("a"), hang_after=3), ScriptedHost(answer("b")))
    running = await start("ask", "q", "--json", TARSD_API=pair.near.url)
    before = await running.read_until('"text":"a"}\n')
    await pair.near.server.stop(0.0)
    told = [json.loads(line) for line in (before + (await running.ended()).out).splitlines()]
    assert [event["type"] for event in told] == [
        "session",
        "route",
        "sources",
        "token",
        "moved",
        "session",
        "route",
        "token",
        "done",
    ]
    assert told[4] == {"type": "moved", "lost": "pc1", "node": "pc3"}


async def test_chat_goes_on_at_another_node(pair, start):
    far = ScriptedHost(answer("and half"))
    await pair.start(ScriptedHost(answer("half "), hang_after=3), far)
    running = await start("chat", TARSD_API=pair.near.url)
    running.write("one\n")
    await running.read_until("half ")
    await pair.near.server.stop(0.0)
    await running.read_until("and half")
    running.write("two\n")
    ended = await running.ended()
    assert ended.code == 0
    assert [question.text for question in far.asked] == ["one", "two"]
    assert [turn.answer for turn in far.asked[1].turns] == ["half and half"]


async def test_ask_ends_its_line_when_nobody_goes_on(serve, start, monkeypatch):
    served = await serve(ScriptedHost([ROUTE, events.TokenEvent("half"), events.ErrorEvent("Unavailable", "cut")]))
    running = await start("ask", "q", TARSD_API=served.url)
    ended = await running.ended()
    assert (ended.code, ended.out, ended.err) == (69, "half\n", "tarsd: cut\n")
