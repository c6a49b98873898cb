from __future__ import annotations

import pytest

from tarsd.memory.stemming import MAX_QUERY_WORDS, MAX_WORD_CHARS, index_text, query_terms, words


@pytest.mark.parametrize("text", ["¿Cuándo caducó la garantía?", "CUANDO caduco la GARANTIA", "Cua\u0301ndo caducó"])
def test_accents_and_case_make_no_difference(text: str) -> None:
    assert set(query_terms(text, "es", ["es"])) <= set(query_terms("¿Cuándo caducó la garantía?", "es", ["es"]))
    assert query_terms(text, "es", ["es"])


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("es", "canciones", "canción"),
        ("es", "lavadoras", "lavadora"),
        ("en", "warranties", "warranty"),
        ("de", "Rechnungen", "Rechnung"),
    ],
)
def test_forms_of_a_word_have_one_stem_in_its_language(language: str, one: str, other: str) -> None:
    assert index_text(one, language) == index_text(other, language) != ""


def test_text_of_an_unknown_language_keeps_its_words() -> None:
    assert index_text("Canciones nuevas", "") == "canciones nuevas"
    assert index_text("Canciones nuevas", "xx") == "canciones nuevas"


def test_a_question_has_the_stems_of_every_language_present() -> None:
    terms = query_terms("canciones", "en", ["es", ""])
    assert {index_text("canciones", each) for each in ("en", "es", "")} <= set(terms)
    assert query_terms("canciones", "es", ["es"]) == ["cancion"]


def test_little_words_are_left_out_unless_there_is_nothing_else() -> None:
    assert query_terms("where is the boiler", "en", ["en"]) == ["boiler"]
    assert query_terms("to be or not to be", "en", ["en"])
    assert query_terms("dónde está la caldera", "", ["es"]) == ["caldera", "calder"]


def test_marks_that_are_letters_stay() -> None:
    assert words("हिन्दी") != words("हनद")


def test_a_question_without_words_has_no_terms() -> None:
    assert query_terms(' "" * ( ) : -- ', "en", ["en"]) == []


def test_words_and_questions_are_bounded() -> None:
    assert max(map(len, words("x" * 10_000))) == MAX_WORD_CHARS
    long = " ".join(f"w{number}" for number in range(1000))
    assert len(query_terms(long, "en", [])) == MAX_QUERY_WORDS
