from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.memory.extractive import marks_of, sentences, summarize

SPANISH = (
    "Bueno, pues estuvimos hablando un rato de varias cosas sin mucha importancia. "
    "La Sra. Gómez llamará a Luis el 14 de marzo a las 18:30. "
    "En general todo sigue más o menos igual que siempre por aquí. "
    "El presupuesto de la caldera Vaillant es de 1.250,50 € con instalación. "
    "Ya veremos qué pasa con todo eso más adelante."
)
ENGLISH = (
    "Well, we talked for a while about this and that and nothing much. "
    "Dr. Moreno moved the appointment of Mia to Tuesday at 9:15. "
    "It was a rather long conversation in the end, as they always are. "
    "The washing machine from Bosch needs part no. 00631780 for 39.95 €. "
    "We will see how it goes with all of that later on."
)


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (SPANISH, ["Gómez", "Luis", "14 de marzo", "18:30", "Vaillant", "1.250,50 €"]),
        (ENGLISH, ["Moreno", "Mia", "Tuesday", "9:15", "Bosch", "00631780", "39.95 €"]),
    ],
)
def test_names_dates_and_numbers_are_kept_in_a_summary_half_as_long(text: str, facts: list[str]) -> None:
    summary = summarize(text, 32)
    assert [fact for fact in facts if fact not in summary] == []
    assert len(summary.split()) <= 32


def test_the_order_is_that_of_the_text() -> None:
    summary = summarize(SPANISH, 32)
    assert summary.index("Gómez") < summary.index("Vaillant")


def test_a_fact_said_twice_is_kept_once() -> None:
    text = "Ana pays 40 euros. Ana pays 40. Then we laughed and talked of nothing else. Bob came once again in May."
    assert summarize(text, 10) == "Ana pays 40. Bob came once again in May."


def test_abbreviations_end_no_sentence() -> None:
    assert sentences("La Sra. Gómez vino. Se fue.") == ["La Sra. Gómez vino.", "Se fue."]
    assert sentences("See J. Smith, e.g. at noon. Good!") == ["See J. Smith, e.g. at noon.", "Good!"]
    assert sentences("Cuesta 3.50 € hoy. ¿Sí?") == ["Cuesta 3.50 € hoy.", "¿Sí?"]


def test_the_capital_of_a_little_first_word_is_no_name() -> None:
    assert marks_of("The boiler is old.") == frozenset()
    assert marks_of("El Vaillant es viejo.") == {"vaillant"}


def test_one_sentence_that_is_too_long_is_cut() -> None:
    assert summarize("Ana " + "word " * 50, 5) == "Ana word word word word"


def test_a_short_text_stays_as_it_is() -> None:
    assert summarize("Ana came. Bob left.", 80) == "Ana came. Bob left."
    assert summarize("", 80) == ""


@given(st.text(alphabet="aA1 .\n!¿Ñ", max_size=300), st.integers(1, 40))
def test_it_never_grows_over_its_bound_nor_invents_words(text: str, max_words: int) -> None:
    summary = summarize(text, max_words)
    assert len(summary.split()) <= max_words
    assert set(summary.split()) <= set(text.split())
