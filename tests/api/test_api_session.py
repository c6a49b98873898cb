"""The open chats, as pure state."""

from __future__ import annotations

from tarsd.api.session import (
    KEEP_S,
    MAX_SESSIONS,
    MAX_TURN_CHARACTERS,
    MAX_TURNS,
    Ended,
    Session,
    Sessions,
    new_conversation,
)
from tarsd.calls import Usage
from tarsd.host.events import DoneEvent
from tarsd.memory.bodies import MEMORY, MemoryBody
from tarsd.memory.forgetting import Forgotten, Text
from tarsd.names import AnswerId, ConversationId
from tarsd.wire import encode


def test_a_session_holds_the_last_turns_each_cut_to_the_bound():
    session = Session(ConversationId("c"))
    for number in range(MAX_TURNS + 3):
        session.remember(f"{number}" * (MAX_TURN_CHARACTERS + 1), "a" * (MAX_TURN_CHARACTERS + 1))
    assert len(session.turns) == MAX_TURNS
    assert session.turns[0].question.startswith("3")
    assert len(session.turns[0].question) == len(session.turns[0].answer) == MAX_TURN_CHARACTERS


def test_an_answer_that_never_began_is_no_exchange():
    session = Session(ConversationId("c"))
    session.remember("q", "")
    assert not session.turns


def test_a_session_is_kept_for_a_while_and_then_dropped():
    sessions = Sessions()
    first = sessions.open(ConversationId("c"), 0.0)
    assert sessions.open(ConversationId("c"), KEEP_S) is first
    assert sessions.open(ConversationId("c"), 2 * KEEP_S + 1) is not first


def test_the_session_unused_longest_goes_first():
    sessions = Sessions()
    opened = [sessions.open(ConversationId(f"c{n}"), 0.0) for n in range(MAX_SESSIONS)]
    sessions.open(opened[0].conversation, 1.0)
    sessions.open(ConversationId("one more"), 1.0)
    assert sessions.open(opened[0].conversation, 1.0) is opened[0]
    assert sessions.open(opened[1].conversation, 1.0) is not opened[1]


def test_a_session_is_its_persons_and_a_temporary_chat_is_another():
    sessions, conversation = Sessions(), ConversationId("kitchen")
    sessions.open(conversation, 0.0, person="ana").remember("my PIN is 9911", "Noted.")
    sessions.open(conversation, 0.0, person="ana", temporary=True).remember("a surprise for Leo", "Nice.")
    assert not sessions.open(conversation, 1.0, person="leo").turns
    assert not sessions.open(conversation, 1.0).turns
    assert [turn.question for turn in sessions.open(conversation, 1.0, person="ana").turns] == ["my PIN is 9911"]


def pin_forgotten() -> Forgotten:
    body = MemoryBody("a", "Ana's PIN is 9911 of the bank card")
    return Forgotten(("memory/a",), (Text(MEMORY, "memory/a", encode(body)),))


def test_turns_and_the_last_answer_that_tell_what_is_forgotten_go_and_do_not_come_again():
    sessions = Sessions()
    chat = sessions.open(ConversationId("c"), 0.0, person="ana")
    chat.remember("What is Ana's PIN of the bank card?", "Ana's PIN of the bank card is 9911.")
    chat.remember("And the weather?", "It rains.")
    chat.ended = Ended(
        AnswerId("a"),
        "Ana's PIN of the bank card is 9911.",
        DoneEvent("stop", "n", "n", "e", "m", [], Usage(), 0.1, 0.2),
    )
    sessions.let_go(pin_forgotten())
    assert chat.ended is None
    chat.remember("Forget Ana's PIN", "Forgotten for good: Ana's PIN is 9911 of the bank card")
    chat.remember("Thanks", "Welcome.")
    assert [turn.question for turn in chat.turns] == ["And the weather?", "Thanks"]


def test_of_a_conversation_that_is_forgotten_no_turn_is_kept():
    sessions = Sessions()
    for person in ("ana", "leo"):
        sessions.open(ConversationId("c"), 0.0, person=person).remember("How are you?", "Fine.")
    sessions.let_go(Forgotten(("conversation/c/ana",)))
    assert not sessions.open(ConversationId("c"), 0.0, person="ana").turns
    assert sessions.open(ConversationId("c"), 0.0, person="leo").turns


def test_conversations_cannot_be_guessed():
    assert len({new_conversation() for _ in range(100)}) == 100
    assert len(new_conversation()) >= 20
