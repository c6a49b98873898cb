from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.engines.text import RepetitionFilter, StopFilter, Utf8


def test_a_character_is_shown_when_its_last_byte_came() -> None:
    text = Utf8()
    assert [text.feed(bytes([byte])) for byte in "ñ🙂".encode()] == ["", "ñ", "", "", "", "🙂"]
    assert text.finish() == ""


def test_a_character_that_a_limit_cut_is_left_out() -> None:
    text = Utf8()
    assert text.feed("a🙂".encode()[:4]) == "a"
    assert text.finish() == ""


@given(st.text(), st.integers(1, 5))
def test_text_in_any_pieces_comes_out_whole(text: str, size: int) -> None:
    reader, data = Utf8(), text.encode()
    shown = "".join(reader.feed(data[at : at + size]) for at in range(0, len(data), size)) + reader.finish()
    assert shown == text


def test_a_stop_string_is_not_shown_even_when_it_comes_in_pieces() -> None:
    stops = StopFilter(["</end>"])
    assert [stops.feed(piece) for piece in ("all ", "right<", "/en", "d> more")] == ["all ", "right", "", ""]
    assert stops.stopped
    assert stops.feed("even more") == ""
    assert stops.finish() == ""


def test_the_earliest_of_several_stop_strings_counts() -> None:
    stops = StopFilter(["later", "now"])
    assert stops.feed("it is now or later") == "it is "
    assert stops.stopped_by == "now"


def test_what_only_looked_like_a_stop_string_is_shown() -> None:
    stops = StopFilter(["###"])
    assert stops.feed("a ##") == "a "
    assert stops.feed(" b") == "## b"
    assert stops.feed("#") == ""
    assert stops.finish() == "#"


def test_without_stop_strings_nothing_waits() -> None:
    assert StopFilter(["", ""]).feed("x") == "x"


@given(
    st.text("ab<", max_size=40),
    st.lists(st.text("ab<", min_size=1, max_size=4), min_size=1, max_size=3),
    st.integers(1, 4),
)
def test_whatever_the_pieces_exactly_the_text_before_the_first_stop_is_shown(
    text: str, stops: list[str], size: int
) -> None:
    reader = StopFilter(stops)
    shown = "".join(reader.feed(text[at : at + size]) for at in range(0, len(text), size))
    shown += reader.finish()
    assert not any(stop in shown for stop in stops)
    assert text.startswith(shown)
    if not any(stop in text for stop in stops):
        assert shown == text


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["The house", " has seven", " rooms."], " rooms."),
        ([" The", " house has", " seven rooms."], " rooms."),
        ([" rooms", "."], " rooms."),
        (["The house", " is old."], "The house is old."),
        (["The house"], "The house"),
    ],
)
def test_a_repeated_beginning_is_dropped_and_anything_else_is_shown(pieces: list[str], shown: str) -> None:
    repetition = RepetitionFilter("The house has seven")
    assert "".join(map(repetition.feed, pieces)) + repetition.finish() == shown


def test_without_a_beginning_nothing_waits() -> None:
    assert RepetitionFilter("").feed("T") == "T"


@pytest.mark.parametrize(
    ("partial", "pieces", "shown"),
    [
        ("The rent ", ["The", " rent", " is"], "is"),  # repeated, with the space that is shown already
        ("The rent ", ["The rent", "\n900"], "900"),  # repeated, with other white space
        ("The rent ", [" is", " 900"], "is 900"),  # trimmed by the server: its first space is one too many
        ("The rent", [" is"], " is"),
        ("1", ["1", "0"], "10"),  # eleven: a letter that comes twice is no repetition
        ("ha ", ["ha ", "ha"], "ha ha"),
        ("The rent ", ["The rent"], ""),
        ("Well\n", ["\nSo"], "\nSo"),
        ("def f():\n   ", [" return 1"], " return 1"),  # cut within an indentation: all of it counts
        ("def f():\n ", ["   return 1"], "   return 1"),
        ("a:\t ", [" b"], " b"),
        ("a ", ["  b"], "  b"),
    ],
)
def test_the_seam_of_a_continued_answer_is_even(partial: str, pieces: list[str], shown: str) -> None:
    repetition = RepetitionFilter(partial)
    assert "".join(map(repetition.feed, pieces)) + repetition.finish() == shown


_WORDS = st.lists(
    st.sampled_from(["The", " rent", " is", " 900", " €", ".", " Sí", "\n", "🙂"]), min_size=4, max_size=12
)


@given(_WORDS, st.data(), st.integers(1, 7))
def test_a_server_may_repeat_or_continue_the_join_is_the_same(words: list[str], data: st.DataObject, size: int) -> None:
    whole = "".join(["Answer:", *words])
    cut = data.draw(st.integers(4, len(whole) - 1))
    partial, rest = whole[:cut], whole[cut:]
    if partial.endswith(" ") or rest.strip().startswith(partial.strip()):
        return  # the first is the seam's own rule, the second cannot be told from a repetition
    for said in (rest, partial + rest):
        repetition = RepetitionFilter(partial)
        pieces = [said[at : at + size] for at in range(0, len(said), size)]
        assert partial + "".join(map(repetition.feed, pieces)) + repetition.finish() == whole
