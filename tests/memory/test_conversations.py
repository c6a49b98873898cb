from __future__ import annotations

import sys

from tarsd.calls import RecallItem
from tarsd.memory.conversations import MAX_ANSWERS, MAX_RELATIONS, MAX_SUMMARY_CHARS, Conversations
from tarsd.names import AnswerId, ConversationId

A, B, C = ConversationId("a"), ConversationId("b"), ConversationId("c")


def test_a_conversation_is_recalled_with_its_last_summary() -> None:
    kept = Conversations()
    kept.remember(A, "Ana asked for the boiler.", ["boiler.pdf"])
    kept.remember(A, "Ana knows the boiler's pressure.", ["prices.pdf", "boiler.pdf"])
    assert kept.recall(A) == RecallItem("Ana knows the boiler's pressure.", 2, ["prices.pdf", "boiler.pdf"])


def test_an_unknown_conversation_has_no_exchanges() -> None:
    assert Conversations().recall(A) == RecallItem()


def test_the_one_touched_longest_ago_makes_room() -> None:
    kept = Conversations(2)
    for conversation in (A, B, A, C):
        kept.remember(conversation, "s")
    assert [conversation for conversation, _ in kept.list()] == [C, A]
    assert kept.recall(B).exchanges == 0


def test_an_answer_that_counted_is_known_again_for_a_while_and_only_in_its_conversation() -> None:
    kept = Conversations()
    kept.remember(A, "s", of=AnswerId("1"))
    assert kept.repeated(A, AnswerId("1")) == dict(kept.list())[A]
    assert kept.repeated(A, AnswerId("2")) is None
    assert kept.repeated(B, AnswerId("1")) is None
    kept.remember(A, "s")
    assert kept.repeated(A, AnswerId("")) is None  # exchanges that older nodes tell of have no name
    for number in range(MAX_ANSWERS):
        kept.remember(A, "s", of=AnswerId(f"n{number}"))
    assert kept.repeated(A, AnswerId("1")) is None


def test_times_and_person_stay_with_it() -> None:
    now = iter([10.0, 20.0])
    kept = Conversations(clock=lambda: next(now))
    kept.remember(A, "s", person="Ana", projects=["roof"])
    conversation = kept.remember(A, "t")
    assert (conversation.began_at, conversation.touched_at) == (10.0, 20.0)
    assert (conversation.person, conversation.projects) == ("Ana", ("roof",))


def test_a_new_holder_is_seeded_but_never_set_back() -> None:
    kept = Conversations()
    kept.seed(A, RecallItem("from the host", 3, ["x.pdf"]))
    assert kept.recall(A) == RecallItem("from the host", 3, ["x.pdf"])
    kept.seed(A, RecallItem("older", 2, []))
    kept.seed(B, RecallItem())
    assert kept.recall(A).summary == "from the host"
    assert len(kept) == 1
    assert kept.remember(A, "more").exchanges == 4


def test_ten_full_conversations_fit_a_megabyte() -> None:
    kept = Conversations(10)
    for number in range(20):
        name = ConversationId(str(number))
        kept.remember(name, "ñ" * 100_000, [f"{name}-{each}" + "d" * 1000 for each in range(200)])
    sizes = [sys.getsizeof(each.summary) + sum(map(sys.getsizeof, each.documents)) for _, each in kept.list()]
    assert len(sizes) == 10
    assert sum(sizes) < 1_000_000
    assert all(len(each.summary) == MAX_SUMMARY_CHARS for _, each in kept.list())
    assert all(len(each.documents) == MAX_RELATIONS for _, each in kept.list())


def test_a_forgotten_conversation_is_gone() -> None:
    kept = Conversations()
    kept.remember(A, "s")
    assert kept.forget(A)
    assert not kept.forget(A)
    assert kept.recall(A).exchanges == 0
