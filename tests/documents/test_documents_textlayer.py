"""Each rule of `tarsd.documents.textlayer`."""

from __future__ import annotations

import pytest

from tarsd.documents.textlayer import clean, is_junk, is_usable

ENGLISH = "The quick brown fox jumps over the lazy dog while the cat looks on. " * 4
CZECH = "Smlouva začíná prvním zářím a trvá jeden rok. Čtvrtek je den, kdy se vyváží papír. " * 3


def test_ordinary_text_is_usable() -> None:
    assert is_usable(ENGLISH, 0.0)
    assert is_usable(ENGLISH, 1.0)
    assert is_usable("Total: 12", 0.0)


def test_an_empty_layer_is_none() -> None:
    assert not is_usable(" \n .", 0.0)


def test_a_stamp_on_a_scan_is_no_text_layer() -> None:
    assert not is_usable("Scanned with a phone, page 3", 0.9)


@pytest.mark.parametrize("bad", ["\ue012", "\ufffd", "\x01"])
def test_characters_of_no_writing_are_junk(bad: str) -> None:
    assert is_junk("ordinary words " + bad * 10)
    assert not is_junk(ENGLISH + bad)


def test_a_shifted_alphabet_is_junk() -> None:
    shifted = "".join(chr(ord(letter) - 29) if letter.isalpha() else letter for letter in ENGLISH.lower())
    assert is_junk(shifted)


@pytest.mark.parametrize(
    "text", [CZECH, "Γειά σου Κόσμε " * 20, "12,50 3.400 " * 40, "Übung macht den Meister, sagt man. " * 5]
)
def test_other_languages_and_numbers_are_not_junk(text: str) -> None:
    assert not is_junk(text)


def test_pdfium_hyphen_marks_are_not_held_against_a_page() -> None:
    assert not is_junk("ab\ufffe " * 10)


def test_words_broken_over_two_lines_are_joined() -> None:
    assert clean("exam\ufffe\r\nple, calen-\ntador, exam\x02ple") == "example, calentador, example"


def test_a_dash_before_a_capital_or_number_stays() -> None:
    assert clean("Costa-\nRica 10-\n20") == "Costa-\nRica 10-\n20"


def test_text_is_composed_and_blanks_at_line_ends_go() -> None:
    assert clean("o\u0301 \ufb01n  \r\n\r\n\r\n\r\nx\x00y\u00a0z") == "ó fin\n\nx y z"
