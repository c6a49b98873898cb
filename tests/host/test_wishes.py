"""What people ask of the memory in a chat, carried out over the real role and store."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tarsd import calls
from tarsd.calls import Copies, ForgetItem, Removed, Turn, Who
from tarsd.errors import NotFound, PeerLost
from tarsd.host import events
from tarsd.host.events import Event
from tarsd.host.wishes import TOLD
from tarsd.memory.bodies import ProjectBody
from tarsd.memory.recollections import Filter
from tarsd.memory.store import Store
from tarsd.names import AnswerId, ConversationId
from tarsd.roles.memories import Memories
from tests.host.test_host import ask, build, fails, says, text_of
from tests.roles.role_help import ME, SERVED, services

ANA = Who("ana")


class House:
    """A host whose peer keeps memories for real, and forgets for real, but for the receipts' other nodes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.copies = Copies()
        self.away: list[Removed] = []
        given = services(store, None, [])
        object.__setattr__(given, "confirm", self._confirm)
        handlers = Memories(given).handlers()
        scripts = {
            name: (lambda request, handler=handler: handler(request, SERVED)) for name, handler in handlers.items()
        }
        self.host, self.peers = build({"p": {**scripts, "forget": self._forget, "chat": says("No idea.")}})

    async def _confirm(self, records: Any) -> Copies:
        return self.copies

    async def _forget(self, request: calls.ForgetRequest) -> AsyncGenerator[ForgetItem, None]:
        if request.key and not request.preview:
            if request.key not in [each.key for each in await self.store.get_many([request.key], request.who)]:
                raise NotFound("nothing is known of it")
            await self.store.forget(request.key)
        yield ForgetItem("r", [request.key], self.away)

    async def say(self, text: str, **more: Any) -> list[Event]:
        return await ask(self.host, text, **{"who": ANA, **more})

    async def answer(self, text: str, **more: Any) -> str:
        return text_of(await self.say(text, **more))

    async def kept(self, **wanted: Any) -> list[str]:
        page = await self.store.memories(Who(sees_all=True), Filter(**wanted))
        return [each.body.text for each in page.kept]

    def forgotten(self) -> list[str]:
        return [r.key for _, name, r in self.peers.asked if name == "forget" and not r.preview]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House, None]:
    store = await Store.open(tmp_path / "m.db", ME)
    yield House(store)
    await store.close()


async def test_what_is_to_be_remembered_is_written_and_told_without_a_model(house: House) -> None:
    seen = await house.say("recuerda que la llave está bajo la maceta", conversation=ConversationId("c"))
    assert [type(event).__name__ for event in seen] == ["AnswerEvent", "RouteEvent", "TokenEvent", "DoneEvent"]
    assert text_of(seen) == "Lo recordaré: «La llave está bajo la maceta»"
    assert await house.kept() == ["La llave está bajo la maceta"]
    done = seen[-1]
    assert isinstance(done, events.DoneEvent)
    assert (done.finish_reason, done.generated_by, done.degraded) == ("stop", "here", [])
    body = (await house.store.memories(ANA)).kept[0].body
    assert (body.scope, body.person, body.sources[0].conversation) == ("person", "ana", "c")
    assert body.sources[0].answer == seen[0].answer  # type: ignore[union-attr]
    assert not any(name in ("chat", "prepare", "remember") for _, name, _ in house.peers.asked)


async def test_the_answer_speaks_the_language_of_the_question(house: House) -> None:
    assert await house.answer("remember that the key is under the pot") == "I will remember: “The key is under the pot”"
    assert (
        await house.answer("remember that the key is under the pot")
        == "I knew that already: “The key is under the pot”"
    )
    assert await house.answer("call me Annie") == "Very well: “Call me Annie”"


async def test_what_a_memory_takes_the_place_of_is_told(house: House) -> None:
    await house.say("recuerda que la contraseña del wifi es perro42")
    told = await house.answer("recuerda que la contraseña del wifi es gato43")
    assert told == ("Lo recordaré: «La contraseña del wifi es gato43» Sustituye a: «La contraseña del wifi es perro42»")


async def test_whose_a_memory_is(house: House) -> None:
    await house.store.append("project", "", ProjectBody("roof", "Roof"))
    await house.say("remember that tiles cost 900 euros", project="roof")
    await house.say("call me Ana", project="roof")
    await house.say("remember for everybody that the gas is off on Tuesday")
    await house.say("remember that the key is red", who=Who())
    page = await house.store.memories(Who(sees_all=True))
    assert {(each.body.text, each.body.scope, each.body.person, each.body.project) for each in page.kept} == {
        ("Tiles cost 900 euros", "project", "ana", "roof"),
        ("Call me Ana", "person", "ana", ""),
        ("The gas is off on Tuesday", "household", "ana", ""),
        ("The key is red", "household", "", ""),
    }


async def test_a_write_with_too_few_copies_is_told(house: House) -> None:
    house.copies = Copies(1, 2, "nobody else is there")
    seen = await house.say("remember that the key is red")
    notice = next(event for event in seen if isinstance(event, events.NoticeEvent))
    assert (notice.code, notice.text) == ("degraded", "It is on 1 of 2 PCs so far.")
    assert seen[-1].degraded == [notice.text]  # type: ignore[union-attr]


async def test_in_a_temporary_chat_nothing_is_written_or_forgotten(house: House) -> None:
    await house.say("remember that the key is red")
    for wish in ("remember that the car is blue", "forget the key"):
        assert (await house.answer(wish, temporary=True)).startswith("This is a temporary chat")
    assert await house.kept() == ["The key is red"]


async def test_what_is_clear_is_forgotten_with_its_history(house: House) -> None:
    await house.say("remember that the wifi password is hunter2")
    await house.say("remember that the wifi password is hunter3")
    told = await house.answer("forget the wifi password")
    assert told.startswith("Forgotten for good: “The wifi password is hunter3” (memory/")
    assert await house.kept(history=True) == []
    assert len(house.forgotten()) == 2


async def test_nothing_like_it_is_said(house: House) -> None:
    await house.say("remember that the key is red")
    assert await house.answer("forget the wifi password") == "Nothing like that is remembered."
    assert house.forgotten() == []


async def test_several_are_listed_and_the_person_chooses(house: House) -> None:
    await house.say("remember that the garage key is red")
    await house.say("remember that the shed key is blue")
    listed = await house.answer("forget the key")
    assert listed.startswith("Several things like that are remembered.")
    assert house.forgotten() == []
    turn = Turn("forget the key", listed)
    second = next(line for line in listed.splitlines() if line.startswith("2. "))[3:]
    assert (await house.answer("the second one", turns=(turn,))).startswith(f"Forgotten for good: “{second}”")
    assert len(await house.kept()) == 1
    assert second not in await house.kept()


async def test_what_is_not_clear_is_asked_before_it_is_forgotten(house: House) -> None:
    await house.answer("remember that my daughter Eva's birthday is on May 3")
    asked = await house.answer("forget my birthday")
    assert asked.startswith("Is this to be forgotten for good?\n1. My daughter Eva's birthday is on May 3")
    assert house.forgotten() == []
    before = Turn("forget my birthday", asked)
    assert text_of(await house.say("no", turns=(before,))) == "No idea."
    assert house.forgotten() == []
    assert "Forgotten for good" in await house.answer("yes, please", turns=(before,))
    assert await house.kept() == []


async def test_a_number_means_a_list_only_where_something_was_to_be_forgotten(house: House) -> None:
    turn = Turn("list two things", "1. The key is red\n2. The car is blue")
    assert await house.answer("2", turns=(turn,)) == "No idea."


async def test_others_memories_are_not_forgotten(house: House) -> None:
    await house.say("remember that the key is red", who=Who("leo"))
    assert await house.answer("forget the key") == "Nothing like that is remembered."
    assert await house.kept() == ["The key is red"]


async def test_who_forgets_later_is_told(house: House) -> None:
    house.away = [Removed("here", "done"), Removed("pc2", "pending")]
    await house.say("remember that the key is red")
    seen = await house.say("forget that the key is red")
    assert seen[-1].degraded == ["pc2 will forget it too as soon as it is back."]  # type: ignore[union-attr]


async def test_a_conversation_is_forgotten_as_a_whole(house: House) -> None:
    told = await house.answer("olvida esta conversación", conversation=ConversationId("c"))
    assert told == "Esta conversación queda olvidada."
    request = next(request for _, name, request in house.peers.asked if name == "forget")
    assert (request.conversation, request.key, request.who) == ("c", "", ANA)


async def test_everything_is_not_forgotten_at_a_word(house: House) -> None:
    await house.say("remember that the key is red")
    assert "tarsd memory" in await house.answer("forget everything you know about me")
    assert await house.kept() == ["The key is red"]


async def test_what_fails_is_said_in_the_answer() -> None:
    host, _ = build({"p": {"save": fails(PeerLost("gone"))}})
    told = text_of(await ask(host, "remember that the key is red"))
    assert told.startswith("That could not be done: ")
    host, _ = build({})
    assert text_of(await ask(host, "forget the key")).startswith("That could not be done: ")


async def test_a_wish_that_was_answered_is_not_carried_out_again(house: House) -> None:
    seen = await house.say("remember that the key is red", answer=AnswerId("a"), shown="I will remember: …")
    assert (text_of(seen), type(seen[-1]).__name__) == ("", "DoneEvent")
    assert await house.kept() == []


async def test_a_question_that_is_no_wish_goes_to_the_model(house: House) -> None:
    assert await house.answer("do you remember that film?") == "No idea."


def test_the_new_event_is_sent_with_its_type() -> None:
    event = events.MemoriesEvent([events.RememberedMemory("memory/m", "The key is red", when=5.0)])
    assert msgspec.to_builtins(event) == {
        "type": "memories",
        "memories": [{"key": "memory/m", "text": "The key is red", "title": "", "when": 5.0, "sort": "fact"}],
    }


async def test_what_is_known_of_a_person_is_told_without_a_model_and_nothing_of_others(house: House) -> None:
    assert await house.answer("¿qué sabes de mí?") == "Aún no se recuerda nada."
    await house.say("remember that I work at Acme")
    await house.say("remember that Leo hides a gift", who=Who("leo"))
    await house.say("remember for everybody that the gas is off on Tuesday")
    told = await house.answer("what do you know about me?")
    assert told == "This is what I remember:\n- The gas is off on Tuesday\n- I work at Acme"
    assert await house.answer("what do you know about me?", temporary=True) == told


async def test_of_very_many_memories_it_is_told_how_many_more_there_are(house: House) -> None:
    for number in range(TOLD + 3):
        await house.say(f"remember that drawer {number} holds tool {number}")
    told = await house.answer("what do you know about me?")
    assert told.count("- Drawer") == TOLD
    assert told.endswith("And 3 more: all of it can be seen with `tarsd memory`, or on the page.")


async def test_a_person_is_answered_in_the_language_of_the_wish_not_of_what_it_names(house: House) -> None:
    await house.say("recuerda que mi hermano se llama Iñaki")
    assert "Is this to be forgotten" in await house.answer("forget Iñaki")
    assert "No se recuerda nada así" in await house.answer("olvida lo de la abuela")


async def test_what_is_asked_behind_a_wish_is_answered_too_and_alone(house: House) -> None:
    english = "remember that the key is red. And what is rain?", "The key is red.", "And what is rain?"
    spanish = "recuerda que la llave es roja. ¿Y qué es la lluvia?", "La llave es roja.", "¿Y qué es la lluvia?"
    for (said, kept, rest), told in ((english, "I will remember"), (spanish, "Lo recordaré")):
        found = await house.say(said, conversation=ConversationId("c"))
        assert kept in await house.kept()
        asked = [request for _, name, request in house.peers.asked if name == "chat"][-1]
        assert asked.messages[-1].content.endswith(rest)
        text = text_of(found)
        assert text.startswith("No idea.")
        assert told in text
        assert kept in text
        assert isinstance(found[-1], events.DoneEvent)


async def test_what_came_of_a_wish_is_told_once_where_the_answer_is_resumed(house: House) -> None:
    said = "remember that the key is red. And what is rain?"
    whole = await house.answer(said)
    again = await house.say(said, shown=whole, answer=AnswerId("a" * 16))
    assert "The key is red" not in text_of(again)
    assert (await house.kept()).count("The key is red.") == 1
