"""Short questions in six languages, and what nobody could tell."""

from __future__ import annotations

import tracemalloc

import pytest

from tarsd.planning.language import detect_language

QUESTIONS = {
    "en": [
        "What does error E20 mean?",
        "and the deposit?",
        "summarize the contract",
        "hi",
        "Who is Marta",
        "wifi password",
    ],
    "es": [
        "¿Cuánto costó la reparación de la caldera?",
        "cuanto se paga de alquiler",
        "resume el contrato",
        "hola",
        "¿y la fianza?",
        "enciende la luz del salón",
        "quien es Marta",
    ],
    "fr": ["Combien coûte la réparation de la chaudière ?", "Où est la vanne d’eau ?", "Bonjour"],
    "de": ["Wie viel kostet die Reparatur?", "Wo ist der Wasserhahn?", "Schreib einen Brief"],
    "pt": ["Quanto custa a reparação da caldeira?", "Onde fica a válvula da água?", "Quem cuida do gato?"],
    "it": ["Quanto costa la riparazione della caldaia?", "Dove si trova la valvola dell'acqua?", "Chi cura il gatto?"],
}


@pytest.mark.parametrize(("language", "question"), [(key, one) for key, many in QUESTIONS.items() for one in many])
def test_a_short_question_has_its_language(language: str, question: str) -> None:
    assert detect_language(question) == language


@pytest.mark.parametrize("text", ["", "12:30", "Marta", "no", "sala", "E20", "東京"])
def test_what_could_be_several_languages_is_nobody_knows(text: str) -> None:
    assert detect_language(text) == ""


def test_upper_case_and_curly_apostrophes_do_not_matter() -> None:
    assert detect_language("QUÉ DICE LA FACTURA") == "es"
    assert detect_language("WHAT’S THAT") == "en"


def test_its_tables_are_small() -> None:
    import importlib

    from tarsd.planning import language

    tracemalloc.start()
    try:
        importlib.reload(language)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
