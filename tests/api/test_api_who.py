"""On whose behalf a question is asked: by the token, through every front end, and by nothing that a client says."""

from __future__ import annotations

import time

import aiohttp
import pytest

from tarsd.api import tokens
from tarsd.api.scopes import Scope
from tarsd.calls import Who
from tests.api.test_api_tokens import bearer

ASKED = [{"role": "user", "content": "hi"}]
FORGED = {"who": {"person": "luis", "sees_all": True}, "person": "luis", "user": "luis"}
FRONT_ENDS = [
    ("/v1/chat/completions", {"model": "tars", "messages": ASKED}),
    ("/v1/responses", {"model": "tars", "input": "hi"}),
    ("/v1/messages", {"model": "tars", "messages": ASKED, "max_tokens": 9}),
    ("/api/chat", {"model": "tars", "messages": ASKED, "stream": False}),
    ("/api/generate", {"model": "tars", "prompt": "hi", "stream": False}),
]


@pytest.fixture
def token_of(tmp_path):
    """A function that makes a named token of a person for the server of the test."""

    def made(person: str, *scopes: Scope) -> str:
        shown, token = tokens.minted(f"of-{person or 'nobody'}", scopes or [Scope.CHAT], time.time(), person=person)
        tokens.add(tmp_path / tokens.FILE, token)
        return shown

    return made


async def asked_over_the_chat(client, served, token: str, **more) -> None:
    async with client.ws_connect(f"{served.url}/ws", headers=bearer(token) if token else {}) as socket:
        await socket.send_json({"type": "ask", "text": "hi"} | more)
        while (await socket.receive_json(timeout=5))["type"] != "done":
            pass


@pytest.mark.parametrize(("path", "body"), FRONT_ENDS)
async def test_every_api_asks_on_behalf_of_the_tokens_person(serve, token_of, path, body):
    ana = token_of("ana")
    served = await serve()
    async with aiohttp.ClientSession() as client:
        for headers, person in ((bearer(ana), "ana"), ({}, "")):
            async with client.post(served.url + path, json=body | FORGED, headers=headers) as reply:
                assert reply.status == 200
            assert served.host.asked[-1].who == Who(person)


async def test_the_chat_asks_on_behalf_of_the_tokens_person(serve, token_of):
    ana = token_of("ana")
    served = await serve()
    async with aiohttp.ClientSession() as client:
        await asked_over_the_chat(client, served, ana, **FORGED)
        await asked_over_the_chat(client, served, "", **FORGED)
    assert [question.who for question in served.host.asked] == [Who("ana"), Who("")]


async def test_an_administrator_asks_as_a_person_too_so_that_no_answer_leans_on_anothers_memories(serve, token_of):
    ana = token_of("ana", Scope.ADMIN)
    served = await serve()
    async with aiohttp.ClientSession() as client:
        await asked_over_the_chat(client, served, "the-admin-token")
        await asked_over_the_chat(client, served, ana)
    assert [question.who for question in served.host.asked] == [Who(""), Who("ana")]


async def test_a_chat_says_which_project_it_is_of_and_that_it_is_temporary(serve):
    served = await serve()
    async with aiohttp.ClientSession() as client:
        await asked_over_the_chat(client, served, "", project="kitchen", temporary=True)
        await asked_over_the_chat(client, served, "")
        resumed = {"type": "resume", "answer": "a" * 16, "shown": "x", "project": "kitchen", "temporary": True}
        await asked_over_the_chat(client, served, "", **resumed)
    said = [(question.project, question.temporary) for question in served.host.asked]
    assert said == [("kitchen", True), ("", False), ("kitchen", True)]


async def test_a_conversation_of_that_name_is_another_one_for_another_person_and_in_a_temporary_chat(serve, token_of):
    ana = token_of("ana")
    served = await serve()
    async with aiohttp.ClientSession() as client:
        for token, more in ((ana, {}), (ana, {}), (ana, {"temporary": True}), ("", {})):
            await asked_over_the_chat(client, served, token, conversation="kitchen", **more)
    assert [len(question.turns) for question in served.host.asked] == [0, 1, 0, 0]
