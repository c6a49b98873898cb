from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.memory.facts import facts_in, invented, missing
from tarsd.memory.summaries import MAX_MODEL_CHARACTERS, Exchange, fold, mended, sound, title_of

SPANISH = Exchange(
    "Ana pidió el recibo de Iberdrola de 87,30 € de enero.",
    "¿Apuntas que la revisión de la caldera Vaillant es el 14 de marzo a las 18:30 con Pedro Gómez, tel. 612 345 678?",
    "Hecho. El presupuesto es de 1.250,50 €, y la garantía acaba en mayo de 2028.",
)
ENGLISH = Exchange(
    "The lease of Mia Brown ends on 31 August 2027.",
    "What did Dr. Moreno say on Tuesday about the part WM-4471-B?",
    "It costs 39.95 €, and it comes by 9:15 on May 4th.",
)
NAMES = st.sampled_from(["Ana Ruiz", "Pedro", "Vaillant", "900 euros", "14 de marzo", "18:30", "WM-4471-B", "37%"])
WORDS = st.sampled_from(["la", "casa", "roja", "tiene", "luz", "y", "agua,", "pero", "poca", "sal;"])
SENTENCE = st.lists(st.one_of(WORDS, NAMES), min_size=1, max_size=14).map(lambda words: " ".join(words) + ".")
TEXT = st.lists(SENTENCE, max_size=6).map(" ".join)


def lacking(summary: str, exchange: Exchange) -> list[str]:
    """Return the keys of the facts of an exchange that a summary does not tell."""
    told = facts_in(summary)
    return [fact.key for part in exchange for fact in missing(facts_in(part), told) if not fact.weak]


@pytest.mark.parametrize("exchange", [SPANISH, ENGLISH])
@pytest.mark.parametrize("written", ["", "They spoke of the house.", "Hablaron de la casa y de las cuentas."])
def test_every_fact_is_in_the_summary_whatever_a_model_leaves_out(exchange: Exchange, written: str) -> None:
    summary = fold(exchange, written)
    assert lacking(summary, exchange) == []
    assert summary.startswith(written)


def test_only_the_part_of_a_sentence_that_tells_the_fact_is_added() -> None:
    exchange = Exchange("", "", "We talked for a while of this and that, the rent is 900 euros, and then we laughed.")
    assert fold(exchange, "They talked of the rent and they laughed.") == (
        "They talked of the rent and they laughed. The rent is 900 euros."
    )


def test_a_fact_that_a_question_and_its_answer_tell_is_added_once() -> None:
    exchange = Exchange("", "Is it 900 euros for Ana?", "Yes, for Ana it is 900 euros.")
    assert fold(exchange, "They spoke of the rent of the flat.").count("900") == 1


def test_a_sentence_with_an_invented_fact_is_left_out() -> None:
    written = "The lease of Mia Brown ends on 31 August 2027. Miguel Torres pays 950 euros. The part costs 39.95 €."
    summary = fold(ENGLISH, written)
    assert summary.startswith("The lease of Mia Brown ends on 31 August 2027. The part costs 39.95 €.")
    assert "Miguel" not in summary


@pytest.mark.parametrize(
    "written",
    [
        "",
        "  \n ",
        "Miguel Torres pays 950 euros to Lucía Sanz on 7 June. It ends.",
        "the house and the house and the house and the house and the house and the house",
    ],
)
def test_a_summary_that_is_empty_invented_or_goes_round_in_circles_is_none(written: str) -> None:
    assert sound(written, [facts_in(part) for part in ENGLISH]) == ""
    assert lacking(fold(ENGLISH, written), ENGLISH) == []


def test_labels_bullets_repetitions_and_half_sentences_are_taken_off() -> None:
    written = "**Summary:** The lease ends.\n- The lease ends.\n- The part is dear.\nAnd so the"
    assert sound(written, [facts_in(part) for part in ENGLISH]) == "The lease ends. The part is dear."


def test_over_the_bound_the_oldest_and_the_names_go_first() -> None:
    before = "La factura vieja fue de 40 euros. Se habló un buen rato de Roma."
    exchange = Exchange(before, "", "La factura nueva es de 70 euros.")
    assert mended(before, exchange, most_words=7) == "La factura nueva es de 70 euros."
    assert mended(before, exchange, most_words=14) == (
        "La factura vieja fue de 40 euros. La factura nueva es de 70 euros."
    )
    assert mended(before, exchange, most_words=21).startswith(before)


def test_over_the_bound_what_tells_nothing_goes_before_any_fact() -> None:
    exchange = Exchange("", "", "La factura es de 70 euros.")
    summary = fold(exchange, "Hablaron de esto y de aquello durante un rato muy largo.", most_words=10)
    assert summary == "La factura es de 70 euros."


def test_of_a_long_exchange_the_model_reads_the_summary_whole_and_the_beginnings() -> None:
    text = Exchange("before. " * 20, "q" * 20_000, "a" * 20_000).text()
    assert len(text) <= MAX_MODEL_CHARACTERS
    assert text.startswith("before. " * 19)
    assert text.count("q") > text.count("a") > 1000


def test_a_conversation_is_named_by_the_beginning_of_its_first_question() -> None:
    assert title_of("¿Cuándo vence el seguro? Es urgente.") == "Cuándo vence el seguro?"
    assert title_of("one two three four five six seven eight nine, ten eleven") == (
        "one two three four five six seven eight nine…"
    )
    assert title_of("") == ""


@given(TEXT, TEXT, TEXT, TEXT)
def test_within_the_bound_nothing_is_lost_and_nothing_is_invented(
    before: str, question: str, answer: str, written: str
) -> None:
    exchange = Exchange(before, question, answer)
    summary = fold(exchange, written, most_words=2_000)
    assert lacking(summary, exchange) == []
    assert invented(facts_in(summary), [facts_in(part) for part in exchange]) == []


@given(TEXT, TEXT, TEXT, TEXT, st.integers(1, 60))
def test_a_summary_never_grows_over_its_bound(
    before: str, question: str, answer: str, written: str, most_words: int
) -> None:
    summary = fold(Exchange(before, question, answer), written, most_words=most_words)
    assert len(summary.split()) <= most_words


@given(TEXT, TEXT, TEXT)
def test_the_same_exchange_gives_the_same_summary(before: str, question: str, answer: str) -> None:
    exchange = Exchange(before, question, answer)
    assert fold(exchange, "") == fold(exchange, "")


@pytest.mark.parametrize("unit", ["\n", "A", "1 ", "Aa ", "a-", "a.a", "1.1,", "a@a", "1/", "- ", "Ana paga 1 euro. "])
def test_no_text_makes_it_slow(unit: str) -> None:
    """Each of these made some pattern look at every beginning again for every end."""
    text = unit * (8_000 // len(unit))
    began = time.process_time()
    fold(Exchange("", text, text[:2_000]), "")
    assert time.process_time() - began < 10


def test_the_capital_at_the_beginning_makes_no_name_longer() -> None:
    assert fold(Exchange("", "", "Ana Ruiz."), "casa Ana Ruiz.") == "casa Ana Ruiz."
