"""What Ollama's durations mean, by pieces and a clock of the test's own."""

from __future__ import annotations

from tarsd.api.inference import Piece
from tarsd.api.ollama_replies import Durations

SECOND = 1_000_000_000


def durations(*pieces, end):
    found = Durations(10.0)
    for at, piece in pieces:
        found.note(piece, at)
    told = found.told(end)
    return [told[f"{name}_duration"] / SECOND for name in ("total", "load", "prompt_eval", "eval")]


def test_an_answer_at_once_is_prompt_and_text():
    assert durations((11.0, Piece("a")), (14.0, Piece(finish_reason="stop")), end=14.0) == [4.0, 0.0, 1.0, 3.0]


def test_loading_is_counted_apart_from_reading_the_prompt():
    loading, begun = Piece(loading=True), Piece()
    assert durations((11.0, loading), (13.0, loading), (15.0, begun), (16.0, Piece("a")), end=18.0) == [
        8.0,
        4.0,
        1.0,
        2.0,
    ]


def test_waiting_for_others_is_in_the_total_only():
    assert durations((12.0, Piece(queue_position=1)), (13.0, Piece("a")), end=14.0) == [4.0, 0.0, 1.0, 1.0]


def test_an_answer_without_text_reads_its_prompt_until_the_end():
    assert durations((12.0, Piece(finish_reason="stop")), end=12.0) == [2.0, 0.0, 2.0, 0.0]
