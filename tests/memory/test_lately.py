from __future__ import annotations

from tarsd.calls import RecallItem, RememberRequest
from tarsd.memory.bodies import DOCUMENT, MEMORY, Body, DocumentBody, MemoryBody, key_of
from tarsd.memory.conversations import Conversations
from tarsd.memory.forgetting import Forgotten, Text
from tarsd.memory.lately import LATELY_S, LatelyForgotten, cleaned
from tarsd.names import ConversationId
from tarsd.wire import encode

TALK, OTHER = ConversationId("talk"), ConversationId("other")
SECRET = MemoryBody("a", "The code of the safe is 4711")


def forgotten(*bodies: Body, graves: tuple[str, ...] = ()) -> Forgotten:
    kinds = {MemoryBody: MEMORY, DocumentBody: DOCUMENT}
    texts = tuple(Text(kinds[type(body)], key_of(body), encode(body)) for body in bodies)  # type: ignore[index]
    return Forgotten(graves, texts)


def conversations(summary: str, **more: object) -> Conversations:
    kept = Conversations()
    kept.remember(RememberRequest(TALK, "", "", **more), summary)  # type: ignore[arg-type]
    kept.remember(RememberRequest(OTHER, "", ""), "The boiler hums.")
    return kept


def test_the_sentence_goes_and_the_rest_of_the_conversation_stays() -> None:
    kept = conversations("It rained. The safe's code is 4711.")
    assert LatelyForgotten(kept).let_go(forgotten(SECRET)) == 1
    assert kept.recall(TALK).summary == "It rained."
    assert kept.recall(OTHER).summary == "The boiler hums."


def test_a_conversation_that_told_nothing_else_is_dropped() -> None:
    kept = conversations("The safe's code is 4711.")
    LatelyForgotten(kept).let_go(forgotten(SECRET))
    assert [name for name, _ in kept.list()] == [OTHER]


def test_a_forgotten_conversation_is_dropped() -> None:
    kept = conversations("It rained.")
    assert LatelyForgotten(kept).let_go(forgotten(graves=("conversation/talk",))) == 1
    assert [name for name, _ in kept.list()] == [OTHER]


def test_one_person_forgets_no_other_persons_conversation() -> None:
    kept = conversations("It rained.", person="ana")
    assert LatelyForgotten(kept).let_go(forgotten(graves=("conversation/talk/bob", "conversation/talk/-"))) == 0
    assert LatelyForgotten(kept).let_go(forgotten(graves=("conversation/talk/ana",))) == 1


def test_a_conversation_that_leaned_on_a_forgotten_document_is_dropped() -> None:
    kept = conversations("It rained.", documents=["safe.pdf"])
    LatelyForgotten(kept).let_go(forgotten(DocumentBody("d" * 64, "safe.pdf")))
    assert [name for name, _ in kept.list()] == [OTHER]


def test_what_was_one_persons_is_not_looked_for_in_anothers_conversations() -> None:
    kept = conversations("It rained. The safe's code is 4711.", person="bob")
    anas = MemoryBody("a", SECRET.text, scope="person", person="ana")
    assert LatelyForgotten(kept).let_go(forgotten(anas)) == 0


def test_an_exchange_that_is_folded_in_just_after_does_not_bring_it_back() -> None:
    now = [0.0]
    lately = LatelyForgotten(Conversations(), clock=lambda: now[0])
    lately.let_go(forgotten(SECRET))
    said = "It rained. Ana asked to forget the code of the safe, 4711."
    assert lately.without(said) == "It rained."
    now[0] = LATELY_S
    assert lately.without(said) == said


def test_a_title_that_tells_it_goes_too() -> None:
    state = RecallItem("It rained.", 2, title="What is the code of the safe, 4711?")
    assert cleaned(TALK, state, forgotten(SECRET)) == RecallItem("It rained.", 2)


def test_a_conversation_that_leaned_on_a_document_by_its_digest_is_dropped() -> None:
    state = RecallItem("It rained.", 2, document_ids=["d" * 64])
    assert cleaned(TALK, state, forgotten(graves=("document/" + "d" * 64,))) is None


def test_a_conversation_that_tells_nothing_of_it_is_the_same() -> None:
    state = RecallItem("The boiler hums.", 2, title="Boiler")
    assert cleaned(TALK, state, forgotten(SECRET)) is state
