"""What was forgotten is not told again from the chat that is still open."""

from __future__ import annotations

from tarsd import wire
from tarsd.calls import Turn
from tarsd.host.turns import Turns
from tarsd.memory.bodies import MemoryBody
from tarsd.memory.forgetting import Forgotten, Text
from tests.host.test_host import ask, build, says

PIN = Turn("remember that my bank PIN is 9911", "I will remember: “My bank PIN is 9911”")
WEATHER = Turn("will it rain?", "No.")
BODY = wire.encode(MemoryBody("pin", "My bank PIN is 9911", language="en"))
FORGOTTEN = Forgotten(("memory/pin",), (Text("memory", "memory/pin", BODY),))


def test_a_turn_that_tells_what_was_forgotten_is_left_out() -> None:
    turns = Turns()
    assert turns.still_told([PIN, WEATHER]) == (PIN, WEATHER)
    turns.let_go(FORGOTTEN)
    gone = Turn("forget my PIN", "Forgotten for good: “My bank PIN is 9911” (memory/pin)")
    assert turns.still_told([PIN, WEATHER, gone]) == (WEATHER,)


def test_of_a_forgotten_conversation_only_what_came_after_goes_along() -> None:
    for wish, told in (
        ("forget this conversation", "This conversation is forgotten."),
        ("olvida esta conversación", "Esta conversación queda olvidada."),
    ):
        assert Turns().still_told([PIN, Turn(wish, told), WEATHER]) == (WEATHER,)
        assert Turns().still_told([PIN, Turn(wish, "No node can."), WEATHER])[0] == PIN
        assert Turns().still_told([PIN, Turn("what?", told), WEATHER])[0] == PIN


async def test_a_question_is_prepared_without_such_turns() -> None:
    host, peers = build({"p": {"chat": says("No.")}})
    await host.let_go(FORGOTTEN)
    await ask(host, "what was my PIN?", turns=(PIN, WEATHER))
    (chat,) = [request for _, name, request in peers.asked if name == "chat"]
    assert "9911" not in str(chat.messages)
    assert "rain" in str(chat.messages)


async def test_who_keeps_turns_of_open_chats_hears_of_it_before_it_is_said_to_be_gone() -> None:
    host, _ = build({"p": {"chat": says("No.")}})
    heard: list[Forgotten] = []
    host.on_forgotten(heard.append)
    await host.let_go(FORGOTTEN)
    assert heard == [FORGOTTEN]
