"""What is seen of others, rule by rule."""

import pytest

from tarsd import calls
from tarsd.dispatch.observations import (
    FAST_ENOUGH_S,
    FEW_SAMPLES,
    HOME_S,
    MAX_HOMES,
    RATE_FRESH_S,
    STREAM_ITEMS,
    Observations,
)
from tarsd.gossip.member import Load
from tarsd.names import ConversationId, NodeId
from tarsd.routing import STALE_LOAD_S, Seen

A, B = NodeId("a"), NodeId("b")
CHAT, SEARCH = calls.CHAT.name, calls.SEARCH.name
TALK = ConversationId("k")


def seen(notes: Observations, node: NodeId = A, capability: calls.Capability = CHAT, now: float = 100.0) -> Seen:
    return notes.seen([node], capability, now)[node]


def test_nothing_is_known_at_first() -> None:
    assert seen(Observations()) == Seen(load_age_s=100.0)


def test_a_failure_counts_until_the_capability_is_served_again() -> None:
    notes = Observations()
    assert notes.failed(A, SEARCH, 90.0)
    assert not notes.failed(A, SEARCH, 95.0)
    assert seen(notes, A, SEARCH).failed_s == 5.0
    assert seen(notes, A, CHAT).failed_s is None
    assert seen(notes, B, SEARCH).failed_s is None
    notes.served(A, SEARCH, 1, 0.1, 0.1, 99.0)
    assert seen(notes, A, SEARCH).failed_s is None
    assert notes.failed(A, SEARCH, 100.0)


def test_an_answers_rate_is_that_of_its_tokens_after_the_first() -> None:
    notes = Observations()
    notes.served(A, CHAT, 101, 2.0, 4.0, 100.0)
    assert seen(notes).rate == 50.0
    notes.served(A, CHAT, 101, 2.0, 3.0, 100.0)
    assert 50.0 < seen(notes).rate < 100.0


def test_a_short_answer_says_nothing_about_the_speed_of_tokens() -> None:
    notes = Observations()
    notes.served(A, CHAT, STREAM_ITEMS - 1, 2.0, 2.1, 100.0)
    assert seen(notes).rate == 0.0


def test_what_has_one_item_is_measured_by_its_time_but_not_below_what_matters() -> None:
    notes = Observations()
    notes.served(A, SEARCH, 1, 0.5, 0.5, 100.0)
    notes.served(B, SEARCH, 1, 0.001, 0.001, 100.0)
    assert seen(notes, A, SEARCH).rate == 2.0
    assert seen(notes, B, SEARCH).rate == 1 / FAST_ENOUGH_S


def test_who_was_slow_once_is_not_slow_for_ever() -> None:
    notes = Observations()
    notes.slow(A, SEARCH, 4.0, 100.0)
    assert seen(notes, A, SEARCH, 100.0 + RATE_FRESH_S).rate == 0.25
    assert seen(notes, A, SEARCH, 101.0 + RATE_FRESH_S).rate == 0.0
    notes.served(A, SEARCH, 1, 0.5, 0.5, 101.0 + RATE_FRESH_S)
    assert seen(notes, A, SEARCH, 101.0 + RATE_FRESH_S).rate == 2.0


def test_overdue_is_what_95_of_100_were_faster_than() -> None:
    notes = Observations()
    for _ in range(FEW_SAMPLES - 1):
        notes.first_item(SEARCH, 0.2)
    assert notes.overdue_s(SEARCH, 0.1, 1.0) == 1.0
    for n in range(100):
        notes.first_item(SEARCH, n / 200)
    assert notes.overdue_s(SEARCH, 0.1, 1.0) == pytest.approx(0.475)
    assert notes.overdue_s(SEARCH, 0.6, 1.0) == 0.6
    assert notes.overdue_s(SEARCH, 0.1, 0.3) == 0.3
    assert notes.overdue_s(CHAT, 0.1, 3.0) == 3.0


def test_open_calls_are_known_by_their_age() -> None:
    notes = Observations()
    notes.began(A, CHAT, 97.0)
    notes.began(A, CHAT, 99.0)
    assert seen(notes).open_s == (3.0, 1.0)
    notes.ended(A, CHAT, 97.0, 100.0)
    notes.ended(A, CHAT, 97.0, 100.0)
    assert seen(notes).open_s == (1.0,)


def test_calls_that_ended_are_known_until_no_report_can_count_them_any_more() -> None:
    notes = Observations()
    notes.began(A, CHAT, 97.0)
    notes.ended(A, CHAT, 97.0, 99.0)
    assert seen(notes).ended_s == ((3.0, 1.0),)
    assert seen(notes, now=99.0 + STALE_LOAD_S).ended_s != ()
    assert seen(notes, now=99.1 + STALE_LOAD_S).ended_s == ()


def test_a_rate_is_of_all_answers_that_run_there_up_to_its_slots() -> None:
    def measured(open_calls: int, slots: int) -> float:
        notes = Observations()
        for _ in range(open_calls):
            notes.began(A, CHAT, 90.0)
        notes.served(A, CHAT, 101, 2.0, 4.0, 100.0, slots=slots)
        return seen(notes).rate

    assert [measured(1, 4), measured(3, 4), measured(9, 4), measured(9, 1)] == [50.0, 150.0, 200.0, 50.0]


def test_answers_of_others_that_run_there_count_in_a_rate_while_their_report_is_fresh() -> None:
    notes = Observations()
    notes.began(A, CHAT, 97.0)
    notes.load_came(A, Load(running=2, slots=4).pack(), 97.0)
    notes.served(A, CHAT, 101, 2.0, 4.0, 97.0 + STALE_LOAD_S, slots=4)
    assert seen(notes).rate == 100.0
    later = Observations()
    later.load_came(A, Load(running=2, slots=4).pack(), 97.0)
    later.served(A, CHAT, 101, 2.0, 4.0, 97.1 + STALE_LOAD_S, slots=4)
    assert seen(later, now=101.0).rate == 50.0


def test_the_load_of_an_answer_is_kept_with_its_age_and_nonsense_is_not() -> None:
    notes = Observations()
    notes.load_came(A, Load(queued=3).pack(), 98.0)
    notes.load_came(A, b"nonsense", 99.0)
    assert seen(notes) == Seen(load=Load(queued=3), load_age_s=2.0)


def test_a_conversation_has_its_home_where_it_was_answered_last_for_a_while() -> None:
    notes = Observations()
    assert notes.home(TALK, 100.0) is None
    notes.answered(TALK, A, 100.0)
    notes.answered(TALK, B, 110.0)
    assert notes.home(TALK, 110.0 + HOME_S) == B
    assert notes.home(TALK, 111.0 + HOME_S) is None


def test_homes_are_bounded() -> None:
    notes = Observations()
    for n in range(MAX_HOMES + 1):
        notes.answered(ConversationId(str(n)), A, 100.0)
    assert notes.home(ConversationId("0"), 100.0) is None
    assert notes.home(ConversationId(str(MAX_HOMES)), 100.0) == A
