from __future__ import annotations

import sys
from typing import Any

import pytest

from tarsd.calls import RecallItem, RememberRequest
from tarsd.memory.conversations import (
    LONG,
    MAX_ANSWERS,
    MAX_RELATIONS,
    MAX_SUMMARY_CHARS,
    MAX_TITLE_CHARS,
    QUIET_S,
    Conversation,
    Conversations,
    is_due,
)
from tarsd.memory.synthesis import body_of
from tarsd.names import AnswerId, ConversationId

A, B, C = ConversationId("a"), ConversationId("b"), ConversationId("c")


def told(conversation: ConversationId = A, **more: Any) -> RememberRequest:
    return RememberRequest(conversation, "How is the boiler?", "Old.", **more)


@pytest.mark.parametrize("told_in", [["", "roof"], ["roof", ""], ["roof", "bath"], ["roof", "", "roof"]])
def test_what_was_not_all_said_in_one_project_is_its_persons(told_in: list[str]) -> None:
    kept = Conversations()
    for project in told_in:
        last = kept.remember(told(person="ana", project=project), "Ana asked for the boiler.")
    body = body_of(A, last, b"")
    assert (last.projects, body.scope, body.project) == ((), "person", "")


def test_a_conversation_is_recalled_with_its_last_summary_and_all_that_it_is_about() -> None:
    kept = Conversations(clock=lambda: 5.0)
    first = told(documents=["boiler.pdf"], document_ids=["b0"], project="heating", person="ana", of=AnswerId("1"))
    kept.remember(first, "Ana asked for the boiler.", language="en", title="How is the boiler?")
    second = told(
        documents=["prices.pdf", "boiler.pdf"],
        document_ids=["f0", "b0"],
        person="ana",
        project="heating",
        recalled=["memory/m"],
    )
    kept.remember(second, "Ana knows the boiler's pressure.", title="And the pressure?")
    assert kept.recall(A, "ana") == RecallItem(
        "Ana knows the boiler's pressure.",
        2,
        ["prices.pdf", "boiler.pdf"],
        ["f0", "b0"],
        ["heating"],
        "ana",
        "en",
        "How is the boiler?",
        5.0,
        5.0,
        [AnswerId("1")],
        ["memory/m"],
    )


def test_an_unknown_conversation_has_no_exchanges() -> None:
    assert Conversations().recall(A) == RecallItem()


def test_the_one_touched_longest_ago_makes_room_and_has_ended() -> None:
    ended: list[tuple[ConversationId, Conversation]] = []
    kept = Conversations(2, on_ended=lambda *each: ended.append(each))
    for conversation in (A, B, A, C):
        kept.remember(told(conversation), "s")
    assert [conversation for conversation, _ in kept.list()] == [C, A]
    assert kept.recall(B).exchanges == 0
    assert [(conversation, each.summary) for conversation, each in ended] == [(B, "s")]


def test_an_answer_that_counted_is_known_again_for_a_while_and_only_in_its_conversation() -> None:
    kept = Conversations()
    kept.remember(told(of=AnswerId("1")), "s")
    assert kept.repeated(told(of=AnswerId("1"))) == dict(kept.list())[A]
    assert kept.repeated(told(of=AnswerId("2"))) is None
    assert kept.repeated(told(B, of=AnswerId("1"))) is None
    kept.remember(told(), "s")
    assert kept.repeated(told(of=AnswerId(""))) is None  # exchanges that older nodes tell of have no name
    for number in range(MAX_ANSWERS):
        kept.remember(told(of=AnswerId(f"n{number}")), "s")
    assert kept.repeated(told(of=AnswerId("1"))) is None


def test_it_began_with_its_first_exchange_and_was_touched_by_its_last() -> None:
    now = iter([10.0, 20.0])
    kept = Conversations(clock=lambda: next(now))
    kept.remember(told(), "s")
    conversation = kept.remember(told(), "t")
    assert (conversation.began_at, conversation.touched_at) == (10.0, 20.0)


def test_nobody_goes_on_with_the_conversation_of_another_person_by_its_id() -> None:
    kept = Conversations()
    kept.remember(told(person="ana"), "Ana's salary")
    kept.remember(told(person="ben"), "Ben's question")
    assert (kept.recall(A, "ana").summary, kept.recall(A, "ben").summary) == ("Ana's salary", "Ben's question")
    assert kept.recall(A).exchanges == 0
    assert kept.forget(A, "ben")
    assert kept.recall(A, "ana").exchanges == 1


def test_a_new_holder_is_seeded_but_never_set_back() -> None:
    kept = Conversations()
    state = RecallItem("from the host", 3, ["x.pdf"], began_at=1.0, touched_at=9.0, answers=[AnswerId("3")])
    assert kept.seed(A, state)
    assert kept.recall(A) == state
    assert not kept.seed(A, RecallItem("older", 2, []))
    assert not kept.seed(B, RecallItem())
    assert kept.recall(A).summary == "from the host"
    assert len(kept) == 1
    assert kept.repeated(told(of=AnswerId("3")))
    assert kept.remember(told(), "more").exchanges == 4


def test_of_two_holders_after_a_partition_the_one_with_more_exchanges_wins_and_none_counts_twice() -> None:
    """Both went on from three exchanges: one counted two more, the other one."""
    common = RecallItem("three", 3, touched_at=1.0)
    long, short = Conversations(clock=lambda: 2.0), Conversations(clock=lambda: 3.0)
    for side, answers in ((long, ("4", "5")), (short, ("x",))):
        side.seed(A, common)
        for answer in answers:
            side.remember(told(of=AnswerId(answer)), f"up to {answer}")
    assert not long.seed(A, short.recall(A))
    assert short.seed(A, long.recall(A))
    assert long.recall(A) == short.recall(A)
    assert (short.recall(A).summary, short.recall(A).exchanges) == ("up to 5", 5)


def test_of_as_many_exchanges_both_sides_choose_those_told_later() -> None:
    one, other = RecallItem("one", 4, touched_at=5.0), RecallItem("other", 4, touched_at=6.0)
    chosen = []
    for first, second in ((one, other), (other, one)):
        kept = Conversations()
        kept.seed(A, first)
        kept.seed(A, second)
        chosen.append(kept.recall(A).summary)
    assert chosen == ["other", "other"]


@pytest.mark.parametrize(
    ("exchanges", "written", "quiet_s", "due"),
    [
        (LONG, 0, 0, True),
        (LONG - 1, 0, 0, False),
        (LONG + 3, 4, 0, False),
        (2 * LONG, LONG, 0, True),
        (2, 0, QUIET_S, True),
        (2, 0, QUIET_S - 1, False),
        (1, 0, QUIET_S, False),
        (5, 5, QUIET_S, False),
    ],
)
def test_a_long_one_and_a_quiet_one_are_due_to_be_written(
    exchanges: int, written: int, quiet_s: float, due: bool
) -> None:
    kept = Conversation("s", exchanges, (), 0.0, 100.0, kept_exchanges=written)
    assert is_due(kept, 100.0 + quiet_s) is due


def test_what_was_written_is_not_due_again_before_it_goes_on() -> None:
    now = [0.0]
    kept = Conversations(clock=lambda: now[0])
    kept.remember(told(), "s")
    kept.remember(told(), "t")
    now[0] = QUIET_S
    ((conversation, due),) = kept.due()
    kept.was_written(conversation, due)
    assert kept.due() == []
    kept.remember(told(), "u")
    now[0] *= 2
    assert [each for each, _ in kept.due()] == [A]


def test_ten_full_conversations_fit_a_megabyte() -> None:
    kept = Conversations(10)
    for number in range(20):
        names = [f"{number}-{each}" + "d" * 1000 for each in range(200)]
        name = ConversationId(str(number))
        kept.remember(told(name, documents=names, document_ids=names, recalled=names), "ñ" * 100_000, title="t" * 999)
    kept.seed(A, RecallItem("ñ" * 100_000, 3, names, names, names, "", "x" * 999, "t" * 999, recalled=names))
    sizes = [
        sum(map(sys.getsizeof, (each.summary, each.title, each.language)))
        + sum(
            sum(map(sys.getsizeof, some)) for some in (each.documents, each.document_ids, each.projects, each.recalled)
        )
        for _, each in kept.list()
    ]
    assert len(sizes) == 10
    assert sum(sizes) < 1_000_000
    assert all(len(each.summary) == MAX_SUMMARY_CHARS for _, each in kept.list())
    assert all(len(each.title) == MAX_TITLE_CHARS for _, each in kept.list())
    assert all(len(each.documents) == MAX_RELATIONS for _, each in kept.list())


def test_a_forgotten_conversation_is_gone() -> None:
    kept = Conversations()
    kept.remember(told(), "s")
    assert kept.forget(A)
    assert not kept.forget(A)
    assert kept.recall(A).exchanges == 0
