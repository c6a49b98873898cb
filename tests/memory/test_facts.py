from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarsd.memory.facts import dates_of, facts_in, invented, missing, names_of, number_of

LETTERS = st.text(alphabet="aA1 .,:-/\n€¿Ñéo5", max_size=200)


def told(text: str) -> list[tuple[str, str]]:
    return [(fact.sort, text[fact.start : fact.end]) for fact in facts_in(text).found]


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "La Sra. Gómez llamará a Luis el 14 de marzo a las 18:30.",
            [("name", "Gómez"), ("name", "Luis"), ("date", "14 de marzo"), ("time", "18:30")],
        ),
        (
            "Call María José García de la Torre at +34 612 345 678 before May 4th, 2026 at 5:30 pm.",
            [
                ("name", "María José García de la Torre"),
                ("phone", "+34 612 345 678"),
                ("date", "May 4th, 2026"),
                ("time", "5:30 pm"),
            ],
        ),
        (
            "IBAN ES91 2100 0418 4502 0005 1332, ana.lopez@casa.es, 1.250,50 €",
            [
                ("name", "IBAN"),
                ("account", "ES91 2100 0418 4502 0005 1332"),
                ("address", "ana.lopez@casa.es"),
                ("amount", "1.250,50 €"),
            ],
        ),
        (
            "The plate is 1234 KLM, the part WM-4471-B, and 912 34 56 78 answers on Tuesday.",
            [("code", "1234 KLM"), ("code", "WM-4471-B"), ("phone", "912 34 56 78"), ("day", "Tuesday")],
        ),
        ("Son 3 kg, 25%, 21 ºC y 90 m².", [("number", n) for n in ("3", "25", "21", "90")]),
        ("Hablé con Marta Ruiz y Pedro a las 10 h.", [("name", "Marta Ruiz"), ("name", "Pedro"), ("time", "10 h")]),
        ("1. First\n2) Second", [("name", "Second")]),
    ],
)
def test_each_sort_of_fact_is_found_whole(text: str, facts: list[tuple[str, str]]) -> None:
    assert told(text) == facts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.250,50 €", "€1,250.50"),
        ("1.250 euros", "1250 EUR"),
        ("14 de marzo de 2026", "March 14, 2026"),
        ("14 de marzo de 2026", "2026-03-14"),
        ("el 4/5/2026", "on 4th of May 2026"),
        ("a las 17:30", "at 5:30 pm"),
        ("a las 9 h", "at 9:00"),
        ("el lunes", "on Monday"),
        ("612 345 678", "612345678"),
        ("ES91 2100 0418 4502 0005 1332", "ES9121000418450200051332"),
        ("con JOSÉ PÉREZ", "con José Pérez"),
    ],
)
def test_the_same_fact_in_other_words_is_the_same(one: str, other: str) -> None:
    assert missing(facts_in(one), facts_in(other)) == []
    assert missing(facts_in(other), facts_in(one)) == []


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("14 de marzo", "14 de mayo"),
        ("14 de marzo de 2026", "14 de marzo"),
        ("18:30", "18:35"),
        ("María López", "María Pérez"),
        ("María López", "María"),
        ("900 euros", "90 euros"),
        ("612 345 678", "612 345 679"),
        ("on Monday", "on Tuesday"),
    ],
)
def test_another_fact_and_a_poorer_one_do_not_tell_it(wanted: str, text: str) -> None:
    assert missing(facts_in(f"con {wanted}"), facts_in(f"con {text}")) != []


def test_a_fuller_date_and_a_fuller_name_tell_the_shorter_one() -> None:
    assert missing(facts_in("the 14 March and then Ana"), facts_in("on 14 March 2026 with Ana Ruiz")) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("The boiler is old.", []),
        ("El Vaillant es viejo.", ["Vaillant"]),
        ("Llama a Pedro. Necesito pan.", ["Pedro"]),
        ("Juan Pérez vino.", ["Juan Pérez"]),
        ("Hecho: todo listo.", []),
        ("Dr. Moreno called.", ["Moreno"]),
    ],
)
def test_a_capital_at_the_head_of_a_sentence_says_little(text: str, names: list[str]) -> None:
    assert [fact[1] for fact in told(text) if fact[0] == "name"] == names


def test_a_name_alone_at_the_head_is_weak_until_it_stands_elsewhere_too() -> None:
    (alone,) = facts_in("Bruna pays.").found
    assert alone.weak
    assert not any(fact.weak for fact in facts_in("Bruna pays. I saw Bruna.").found)


@pytest.mark.parametrize(
    ("summary", "found"),
    [
        ("Ana pays 900 euros on 3 May.", []),
        ("Ana pays 950 euros.", ["950 euros"]),
        ("It was Miguel who pays.", ["Miguel"]),
        ("Ana pays on 4 May.", ["4 May"]),
        ("Ana pays on 3 May 2025.", ["3 May 2025"]),
        ("At 19:00 it is paid.", ["19:00"]),
        ("Somebody pays.", []),
        ("It is 5 pm.", []),
    ],
)
def test_what_no_source_tells_is_invented(summary: str, found: list[str]) -> None:
    sources = [facts_in("Ana asked at 17:00."), facts_in("The rent is 900 euros, to be paid by Ana on 3 May.")]
    assert [summary[fact.start : fact.end] for fact in invented(facts_in(summary), sources)] == found


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("1.250,50", "1250.5"),
        ("1,250.50", "1250.5"),
        ("1.250", "1250"),
        ("87,30", "87.3"),
        ("0.125", "0.125"),
        ("12.345.678", "12345678"),
        ("007", "7"),
        ("1 250", "1250"),
    ],
)
def test_a_number_has_one_spelling(digits: str, number: str) -> None:
    assert number_of(digits) == number


def test_dates_with_a_year_and_names_are_told_for_what_is_written_down() -> None:
    text = "El 14 de marzo de 2026 y en mayo de 2027 con Marta Ruiz; el 3 de abril con Pedro y con Marta Ruiz."
    facts = facts_in(text)
    assert dates_of(facts) == ["2026-03-14", "2027-05"]
    assert names_of(text, facts) == ["Marta Ruiz", "Pedro"]


@given(LETTERS)
def test_a_text_tells_all_of_its_own_facts_and_invents_none(text: str) -> None:
    facts = facts_in(text)
    assert missing(facts, facts) == []
    assert invented(facts, [facts]) == []


@given(LETTERS)
def test_facts_stand_in_order_and_apart(text: str) -> None:
    found = facts_in(text).found
    assert all(0 <= fact.start < fact.end <= len(text) for fact in found)
    assert all(one.end <= other.start for one, other in itertools.pairwise(found))
