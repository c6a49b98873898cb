"""Going on with an answer over /ws, whose node was lost or whose connection broke; the host is scripted."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
import pytest

from tarsd.api.messages import MAX_SOURCES, MAX_TURN_CHARACTERS, MAX_TURNS
from tarsd.dispatch.newest import Newest
from tarsd.errors import Superseded, to_wire
from tarsd.host import events
from tarsd.host.events import MAX_SHOWN_CHARACTERS
from tarsd.names import AnswerId
from tests.api.scripted_services import DONE, ROUTE, ScriptedHost, answer
from tests.api.test_api_ws import receive, receive_until

NAME = "an-answer-that-nobody-guesses"
RESUME = {"type": "resume", "answer": NAME, "text": "Which pressure?", "conversation": "talk", "shown": "Between "}
TURN = {"question": "q", "answer": "a"}
NAMED = events.AnswerEvent(AnswerId(NAME))


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_host_is_asked_for_what_follows_the_text_shown(serve, client):
    served = await serve(ScriptedHost([NAMED, ROUTE, events.TokenEvent("1.2 and 1.8 bar."), DONE]))
    turns = [{"question": "one", "answer": "first"}]
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        await socket.send_json(RESUME | {"turns": turns, "language": "es", "sources": ["o.1:7"]})
        got = await receive_until(socket, "done")
    assert [event["type"] for event in got] == ["session", "answer", "route", "token", "done"]
    assert got[3]["text"] == "1.2 and 1.8 bar."
    (question,) = served.host.asked
    assert (question.answer, question.shown, question.text) == (NAME, "Between ", "Which pressure?")
    assert (question.conversation, question.language, question.sources) == ("talk", "es", ("o.1:7",))
    assert [(turn.question, turn.answer) for turn in question.turns] == [("one", "first")]


async def test_the_whole_answer_counts_as_a_turn_not_just_its_end(serve, client):
    served = await serve(ScriptedHost(answer("1.8 bar.")))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json(RESUME)
        await receive_until(socket, "done")
        await socket.send_json({"type": "ask", "text": "next", "conversation": "talk"})
        await receive_until(socket, "done")
    assert [turn.answer for turn in served.host.asked[1].turns] == ["Between 1.8 bar."]


async def test_the_turns_that_a_client_brings_replace_those_kept_here(serve, client):
    """The half answer was kept here when the connection broke; and the client may have been elsewhere since."""
    served = await serve(ScriptedHost(answer("half"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q", "conversation": "talk"})
        await receive_until(socket, "token")
    await asyncio.wait_for(served.host.left.wait(), 30)
    served.host.hang_after = None
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json(RESUME)
        await receive_until(socket, "done")
        await socket.send_json(
            {"type": "ask", "text": "q", "conversation": "talk", "turns": [{"question": "e", "answer": "f"}]}
        )
        await receive_until(socket, "done")
    assert served.host.asked[1].turns == ()
    assert [turn.question for turn in served.host.asked[2].turns] == ["e"]


async def test_an_answer_that_ended_here_is_not_made_again(serve, client):
    whole = [NAMED, ROUTE, events.TokenEvent("Between "), events.TokenEvent("1.8 bar."), DONE]
    served = await serve(ScriptedHost(whole))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "Which pressure?", "conversation": "talk"})
        await receive_until(socket, "done")
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        for shown, rest in (("Between ", ["1.8 bar."]), ("Between 1.8 bar.", [])):
            await socket.send_json(RESUME | {"shown": shown})
            got = await receive_until(socket, "done")
            assert [event["text"] for event in got if event["type"] == "token"] == rest
            assert got[-1]["generated_by"] == "pc1"
        await socket.send_json({"type": "ask", "text": "next", "conversation": "talk"})
        await receive_until(socket, "done")
    assert [question.text for question in served.host.asked] == ["Which pressure?", "next"]
    assert len(served.host.asked[1].turns) == 1  # counted once


@pytest.mark.parametrize("changes", [{"answer": "another-answer"}, {"shown": "Something else"}, {"conversation": "x"}])
async def test_only_that_answer_is_ended_from_what_is_kept(serve, client, changes):
    served = await serve(ScriptedHost([NAMED, *answer("Between 1.8")]))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "Which pressure?", "conversation": "talk"})
        await receive_until(socket, "done")
        await socket.send_json(RESUME | changes)
        await receive_until(socket, "done")
    assert len(served.host.asked) == 2


async def test_a_client_may_name_its_answer_so_that_it_can_ask_again_elsewhere(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q", "answer": NAME})
        await receive_until(socket, "done")
    assert served.host.asked[0].answer == NAME


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"answer": ""}, "answer"),
        ({"answer": "short"}, "answer"),
        ({"answer": "x" * 65}, "answer"),
        ({"answer": "../../etc/passwd"}, "answer"),
        ({"text": ""}, "text"),
        ({"text": "x" * 32_001}, "text"),
        ({"conversation": "a b"}, "conversation"),
        ({"language": "english"}, "language"),
        ({"shown": "x" * (MAX_SHOWN_CHARACTERS + 1)}, "shown"),
        ({"shown": None}, "shown"),
        ({"sources": ["o:1"] * (MAX_SOURCES + 1)}, "sources"),
        ({"sources": ["no passage"]}, "sources[0]"),
        ({"sources": ["o:" + "9" * 16]}, "sources[0]"),
        ({"turns": [TURN] * (MAX_TURNS + 1)}, "turns"),
        ({"turns": [TURN, {"question": "q" * (MAX_TURN_CHARACTERS + 1), "answer": "a"}]}, "turns[1].question"),
        ({"turns": [{"question": "q"}]}, "turns[0]"),
    ],
)
async def test_bad_input_names_its_field_and_the_connection_stays(serve, client, wrong, field):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await receive(socket)
        await socket.send_json(RESUME | wrong)
        error = await receive(socket)
        assert (error["type"], error["name"]) == ("error", "InvalidInput")
        assert error["sentence"].startswith(f"{field}: ")
        await socket.send_json(RESUME)
        await receive_until(socket, "done")


async def test_the_largest_resume_is_taken(serve, client):
    served = await serve()
    turns = [{"question": "q" * MAX_TURN_CHARACTERS, "answer": "ñ" * MAX_TURN_CHARACTERS}] * MAX_TURNS
    large = RESUME | {"text": "x" * 32_000, "shown": "é" * MAX_SHOWN_CHARACTERS, "turns": turns}
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_str(msgspec.json.encode(large).decode())
        await receive_until(socket, "done")
    assert len(served.host.asked[0].shown) == MAX_SHOWN_CHARACTERS


async def test_while_an_answer_runs_the_reader_hears_a_beat_and_never_after_it(serve, client, monkeypatch):
    monkeypatch.setattr("tarsd.api.ws.BEAT_S", 0.02)

    class SlowToEnd(ScriptedHost):
        async def ask(self, question: events.Question) -> Any:
            yield ROUTE
            await go_on.wait()
            yield DONE
            await asyncio.sleep(0.2)  # it remembers; the reader has its answer

    go_on = asyncio.Event()
    served = await serve(SlowToEnd())
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "q"})
        await receive_until(socket, "beat")
        await receive_until(socket, "beat")
        go_on.set()
        await receive_until(socket, "done")
        await socket.send_json({"type": "ask", "text": "q"})
        assert (await receive(socket))["type"] == "route"


async def test_a_resume_during_an_answer_stops_that_one_first(serve, client):
    served = await serve(ScriptedHost(answer("a"), hang_after=3))
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_json({"type": "ask", "text": "one", "conversation": "talk"})
        await receive_until(socket, "token")
        served.host.hang_after = None
        await socket.send_json(RESUME)
        got = await receive_until(socket, "done")
    assert got[0]["type"] == "stopped"
    assert served.host.left.is_set()


async def test_plain_programs_may_still_send_their_question_alone(serve, client):
    served = await serve()
    async with client.ws_connect(served.url + "/ws") as socket:
        await socket.send_str('{"type": "ask", "text": "q", "later": "unknown fields are ignored"}')
        await receive_until(socket, "done")


async def test_a_reader_that_resumes_at_the_same_node_leaves_one_turn_not_two(serve, client):
    """Its connection broke without a close: the node still gives the answer to the old one too."""

    class Giving(ScriptedHost):
        def __init__(self) -> None:
            super().__init__()
            self.answers: Newest[Any] = Newest()

        async def _events(self, question: events.Question) -> Any:
            yield ROUTE
            if question.answer == NAME and not question.shown:
                yield events.TokenEvent("Between ")
                await asyncio.Event().wait()
            yield events.TokenEvent("1.8 bar.")
            yield DONE

        async def ask(self, question: events.Question) -> Any:
            self.asked.append(question)
            try:
                async with aclosing(self.answers.give(question.answer, self._events(question))) as given:
                    async for event in given:
                        yield event
            except Superseded as error:
                yield events.ErrorEvent(*to_wire(error))

    served = await serve(Giving())
    async with client.ws_connect(served.url + "/ws") as old, client.ws_connect(served.url + "/ws") as new:
        await old.send_json({"type": "ask", "text": "Which pressure?", "conversation": "talk", "answer": NAME})
        await receive_until(old, "token")
        await new.send_json(RESUME)
        await receive_until(new, "done")
        assert (await receive_until(old, "error"))[-1]["name"] == "Superseded"
        await new.send_json({"type": "ask", "text": "next", "conversation": "talk", "answer": "another-answer"})
        await receive_until(new, "done")
    turns = [(turn.question, turn.answer) for turn in served.host.asked[-1].turns]
    assert turns == [("Which pressure?", "Between 1.8 bar.")]
