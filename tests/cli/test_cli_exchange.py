"""A question and its answer as far as it is here, rule by rule."""

from __future__ import annotations

import pytest

from tarsd import errors
from tarsd.api.messages import MAX_TURN_CHARACTERS, Ask, PastTurn, Resume, StoppedEvent
from tarsd.cli.exchange import Exchange
from tarsd.host import events
from tarsd.names import AnswerId, RecordId
from tests.api.scripted_services import DONE, ROUTE, SOURCES

BEFORE = [PastTurn("one", "first")]
OTHER = events.SourcesEvent([events.Source(1, "other.pdf", 1, 0, 5, "Other", "d9")])
STARTING = events.ErrorEvent("Unavailable", "no node offers chat right now")


def exchange() -> Exchange:
    return Exchange("Which pressure?", "en", BEFORE, 100.0)


def test_the_first_node_is_asked_and_told_the_turns_only_when_it_lacks_them():
    asked = exchange()
    first, second = (asked.message("talk", with_turns=lacking) for lacking in (False, True))
    assert first == Ask("Which pressure?", "talk", "en", asked.answer, None)
    assert second == Ask("Which pressure?", "talk", "en", asked.answer, BEFORE)


def test_another_one_is_told_all_that_the_lost_one_knew():
    asked = exchange()
    for event in (
        events.AnswerEvent(AnswerId("named-by-the-node")),
        ROUTE,
        events.TokenEvent("1.2 "),
        events.TokenEvent("and"),
    ):
        assert asked.take(event, 101.0) is event
    asked.interrupted(102.0)
    expected = Resume("named-by-the-node", "Which pressure?", "talk", "en", BEFORE, "1.2 and")
    assert asked.message("talk", with_turns=False) == expected


def test_each_answer_has_a_name_of_its_own_that_nobody_guesses():
    assert len({exchange().answer for _ in range(50)}) == 50
    assert len(exchange().answer) >= 20


@pytest.mark.parametrize(("last", "over"), [(DONE, True), (StoppedEvent(), True), (STARTING, True), (ROUTE, False)])
def test_it_is_over_with_its_last_event(last, over):
    asked = exchange()
    asked.take(last, 101.0)
    assert asked.over is over


def test_the_sources_that_the_text_cites_stay():
    asked = exchange()
    assert asked.take(SOURCES, 101.0) is SOURCES
    assert asked.take(OTHER, 101.0) is OTHER  # nothing was said yet
    asked.take(events.TokenEvent("as [1] says"), 101.0)
    assert asked.take(SOURCES, 101.0) is None


def test_the_next_node_is_told_which_passages_the_text_cites():
    asked = exchange()
    asked.take(events.SourcesEvent([events.Source(1, "a.pdf", 1, 0, 5, "A", "d", RecordId("o.1:7"))]), 101.0)
    asked.take(events.TokenEvent("as [1]"), 101.0)
    message = asked.message("talk", with_turns=False)
    assert isinstance(message, Resume)
    assert message.sources == ["o.1:7"]


def test_sources_that_come_late_are_shown():
    asked = exchange()
    asked.take(events.TokenEvent("a"), 101.0)
    assert asked.take(SOURCES, 101.0) is SOURCES


def test_a_node_that_cannot_go_on_yet_is_no_end_until_new_text_came():
    asked = exchange()
    asked.take(events.TokenEvent("half"), 101.0)
    asked.interrupted(102.0)
    with pytest.raises(errors.Unavailable, match="no node offers chat"):
        asked.take(STARTING, 103.0)
    asked.interrupted(103.0)
    assert (asked.over, asked.lost_at, asked.losses) == (False, 102.0, 2)
    asked.take(events.TokenEvent(" and half"), 104.0)
    assert (asked.lost_at, asked.losses) == (None, 0)
    assert asked.take(STARTING, 105.0) is STARTING
    assert asked.over


@pytest.mark.parametrize("name", ["Superseded", "InvalidInput", "NotAllowed", "DeadlineExceeded"])
def test_what_would_be_the_same_anywhere_is_the_end(name):
    asked = exchange()
    asked.interrupted(102.0)
    asked.take(events.ErrorEvent(name, "no"), 103.0)
    assert asked.over


def test_the_time_told_is_that_of_the_whole_answer():
    asked = exchange()
    assert asked.take(DONE, 104.5) is DONE
    asked.interrupted(102.0)
    shown = asked.take(DONE, 104.5)
    assert isinstance(shown, events.DoneEvent)
    assert shown.total_s == 4.5


def test_a_text_beyond_what_a_node_takes_ends_here():
    asked = exchange()
    asked.take(events.TokenEvent("x" * (events.MAX_SHOWN_CHARACTERS + 1)), 101.0)
    with pytest.raises(errors.InvalidInput, match="too long"):
        asked.message("talk", with_turns=True)


def test_its_turn_is_cut_to_what_a_node_takes():
    asked = exchange()
    asked.take(events.TokenEvent("x" * 9000), 101.0)
    assert asked.turn() == PastTurn("Which pressure?", "x" * MAX_TURN_CHARACTERS)
