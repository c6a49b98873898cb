from __future__ import annotations

from tarsd.calls import RecallItem
from tarsd.memory.bodies import DOCUMENT, MEMORY, Body, DocumentBody, MemoryBody, key_of
from tarsd.memory.forgetting import Forgotten, Text
from tarsd.memory.lately import LATELY_S, Cleaner, LatelyForgotten
from tarsd.names import ConversationId
from tarsd.wire import encode

TALK = ConversationId("talk")
SECRET = MemoryBody("a", "The code of the safe is 4711")
TOLD = RecallItem("It rained. The safe's code is 4711.", 2)


def forgotten(*bodies: Body, graves: tuple[str, ...] = ()) -> Forgotten:
    kinds = {MemoryBody: MEMORY, DocumentBody: DOCUMENT}
    texts = tuple(Text(kinds[type(body)], key_of(body), encode(body)) for body in bodies)  # type: ignore[index]
    return Forgotten(graves, texts)


def cleaned(state: RecallItem, *bodies: Body, graves: tuple[str, ...] = ()) -> RecallItem | None:
    return Cleaner(forgotten(*bodies, graves=graves)).clean(TALK, state)


def test_the_sentence_goes_and_the_rest_of_the_conversation_stays() -> None:
    assert cleaned(TOLD, SECRET) == RecallItem("It rained.", 2)


def test_a_conversation_that_tells_nothing_of_it_is_the_same() -> None:
    state = RecallItem("The boiler hums.", 2, title="Boiler")
    assert cleaned(state, SECRET) is state


def test_a_title_that_tells_it_goes() -> None:
    assert cleaned(RecallItem("It rained.", 2, title="The safe's code is 4711"), SECRET) == RecallItem("It rained.", 2)


def test_a_conversation_that_told_nothing_else_is_dropped() -> None:
    assert cleaned(RecallItem("The safe's code is 4711.", 2), SECRET) is None


def test_a_forgotten_conversation_is_dropped() -> None:
    assert cleaned(TOLD, graves=("conversation/talk",)) is None
    assert cleaned(TOLD, graves=("conversation/other",)) is TOLD


def test_one_person_forgets_no_other_persons_conversation() -> None:
    anas = RecallItem(TOLD.summary, 2, person="ana")
    assert cleaned(anas, graves=("conversation/talk/bob", "conversation/talk/-")) is anas
    assert cleaned(anas, graves=("conversation/talk/ana",)) is None


def test_a_conversation_that_leaned_on_a_forgotten_document_is_dropped() -> None:
    document = DocumentBody("d" * 64, "safe.pdf")
    assert cleaned(RecallItem("It rained.", 2, ["safe.pdf"]), document) is None
    assert cleaned(RecallItem("It rained.", 2, document_ids=["d" * 64]), graves=("document/" + "d" * 64,)) is None


def test_what_was_one_persons_is_not_looked_for_in_anothers_conversations() -> None:
    bobs = RecallItem(TOLD.summary, 2, person="bob")
    assert cleaned(bobs, MemoryBody("a", SECRET.text, scope="person", person="ana")) is bobs
    assert cleaned(bobs, MemoryBody("a", SECRET.text, scope="person", person="bob")) is not bobs


def test_an_exchange_that_is_folded_in_just_after_does_not_bring_it_back() -> None:
    now = [0.0]
    lately = LatelyForgotten(clock=lambda: now[0])
    lately.add(Cleaner(forgotten(SECRET)).facts)
    said = "It rained. Ana asked to forget the code of the safe, 4711."
    assert lately.without(said) == "It rained."
    now[0] = LATELY_S
    assert lately.without(said) == said
