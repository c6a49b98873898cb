from __future__ import annotations

import pytest

from tarsd.memory.telling import Facts, codes_of, without


@pytest.mark.parametrize(
    ("fact", "sentence", "does"),
    [
        ("Ana's birthday is 4 May", "Ana's birthday: the 4 of May.", True),
        ("Ana's birthday is 4 May", "Ana rang about the boiler.", False),
        ("Ana's birthday is 4 May", "Her birthday is on 4 May.", True),
        ("Ana's birthday is 4 May", "Bob's birthday is 4 May.", False),
        ("Ana's birthday is 4 May", "Ana's birthday is 7 June.", False),
        ("The bins go out on Monday", "Ana said that the bins go out on Monday.", True),
        ("El cumpleaños de Ana es el 4 de mayo", "Hablaron del cumpleanos de Ana, el 4 de mayo.", True),
        ("La abuela guarda las lentejas", "La abuela guardaba lentejas.", True),
        ("The account is ES9121000418450200051332", "He gave es9121000418450200051332 to the bank.", True),
        ("Her telephone is 600123456", "Then somebody rang 600123456.", True),
        ("They married in 1999", "The roof is of 1999.", False),
        ("Zanahoria", "Zanahoria!", True),
        ("The safe", "The safe opens with a key.", False),
        ("The of", "The of", False),
    ],
)
def test_a_sentence_tells_a_fact_by_most_of_its_words_or_by_a_code(fact: str, sentence: str, does: bool) -> None:
    assert Facts([fact]).tells(sentence) is does


def test_a_long_fact_is_told_sentence_by_sentence() -> None:
    facts = Facts(["The pump is loud. Its filter must be cleaned monthly."])
    assert facts.tells("Clean its filter monthly.")
    assert not facts.tells("The pump.")


def test_a_text_that_tells_nothing_of_it_is_the_same_text() -> None:
    text = "It  rained.\n\nThe boiler hums."
    assert without(text, Facts(["Ana's birthday is 4 May"])) is text


def test_lines_stay_lines() -> None:
    assert without("- tea\n- Ana's birthday is 4 May\n- soup", Facts(["Ana's birthday is 4 May"])) == "- tea\n- soup"


def test_a_year_is_no_code() -> None:
    assert codes_of("In 1999 the key X7K9Q and 12345 were in room 12b") == {"x7k9q", "12345"}
