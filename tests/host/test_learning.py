"""What a host learns after an answer: from the person's own words alone, and never twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tarsd import calls
from tarsd.calls import Copies, Memory, PrepareItem, SaveItem, Turn, Who
from tarsd.host.host import Host
from tarsd.host.learning import is_recalled
from tarsd.names import ConversationId
from tests.host.test_host import PREPARED, ScriptedPeers, ask, build, gives, says

ANA = Who("ana")


class Household:
    """A host that learns, and the saves that came of it."""

    def __init__(self, prepared: PrepareItem = PREPARED, *, learns: bool = True, answer: str = "Fine.") -> None:
        self.saved: list[calls.SaveRequest] = []
        host, self.peers = build({"p": {"prepare": gives(prepared), "chat": says(answer), "save": self._save}})
        self.host = Host("here", host._dispatch, host._members, host._records, learns=learns)

    async def _save(self, request: calls.SaveRequest) -> AsyncGenerator[SaveItem, None]:
        self.saved.append(request)
        yield SaveItem(Memory("memory/m", "memory", request.text), Copies())

    async def learn(self, text: str, **more: Any) -> list[calls.SaveRequest]:
        await ask(self.host, text, **{"who": ANA, **more})
        await asyncio.gather(*self.host._learning._tasks)
        return self.saved


async def test_what_a_person_states_is_saved_with_its_exchange() -> None:
    (request,) = await Household().learn("Mi hijo se llama Leo", conversation=ConversationId("c"))
    assert (request.text, request.made_by, request.scope, request.who) == (
        "Mi hijo se llama Leo",
        "automatic",
        "person",
        ANA,
    )
    assert request.conversation == "c"
    assert request.answer


async def test_what_nobody_in_particular_states_is_the_households() -> None:
    (request,) = await Household().learn("We moved to Leeds", who=Who())
    assert request.scope == "household"


async def test_what_nobody_in_particular_states_in_a_project_is_the_projects() -> None:
    (request,) = await Household().learn("We moved to Leeds", who=Who(), project="flat")
    assert (request.scope, request.project) == ("project", "flat")


async def test_what_a_person_states_in_a_project_stays_its_own() -> None:
    (request,) = await Household().learn("We moved to Leeds", project="flat")
    assert (request.scope, request.project) == ("person", "")


async def test_nothing_is_learned_from_the_answer_or_earlier_turns() -> None:
    house = Household(answer="My name is Max.")
    assert await house.learn("Who are you really?", turns=(Turn("my name is Eva", "My name is Max"),)) == []


@pytest.mark.parametrize("more", [{"temporary": True}])
async def test_nothing_is_learned_in_a_temporary_chat(more: dict[str, Any]) -> None:
    assert await Household().learn("my son is called Leo", **more) == []


async def test_nothing_is_learned_where_that_is_switched_off() -> None:
    assert await Household(learns=False).learn("my son is called Leo") == []


async def test_what_was_recalled_is_not_learned_again() -> None:
    known = Memory("memory/m", "memory", "My son is called Leo and my dog is named Rex", language="en")
    prepared = PrepareItem(PREPARED.route, PREPARED.messages, memories=[known])
    assert await Household(prepared).learn("my son is called Leo") == []
    assert [r.text for r in await Household(prepared).learn("my son is called Max")] == ["My son is called Max"]


async def test_a_wish_is_not_learned_beside() -> None:
    saved = await Household().learn("remember that my son is called Leo")
    assert [request.made_by for request in saved] == ["person"]


def test_a_sentence_that_says_more_than_what_was_recalled_is_new() -> None:
    known = Memory("memory/m", "memory", "My printer is a Brother", language="en")
    assert is_recalled("My printer is a Brother", [known])
    assert not is_recalled("My printer is a Brother HL-1110", [known])
    assert not is_recalled("My printer is a Brother", [])


async def test_stopping_ends_what_is_still_learned() -> None:
    async def never(request: Any) -> AsyncGenerator[SaveItem, None]:
        await asyncio.Event().wait()
        yield SaveItem(Memory("memory/m", "memory", ""), Copies())

    house = Household()
    peers: ScriptedPeers = house.peers
    peers.scripts["p"]["save"] = never
    await ask(house.host, "my son is called Leo")
    await asyncio.wait_for(house.host.stop(), 30)
    assert house.host._learning._tasks == set()
