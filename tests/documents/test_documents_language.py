"""The language of a passage, as the parse worker finds it."""

from __future__ import annotations

import pytest

from tarsd.documents.language import detect


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("es", "La presión del agua debe estar entre 1,2 y 1,5 bar con la caldera fría."),
        ("en", "Clean the pump filter every two months, or at once when the display shows E20."),
        ("fr", "Le contrat commence le premier septembre et dure une année entière."),
        ("de", "Die Garantie gilt drei Jahre ab dem Kauf und umfasst Material und Arbeit."),
        ("pt", "A renda é paga por transferência entre os dias um e cinco de cada mês."),
        ("it", "La caldaia deve essere controllata ogni anno da un tecnico autorizzato."),
        ("ca", "El contracte comença l'u de setembre i els veïns han d'avisar amb trenta dies."),
    ],
)
def test_a_sentence_is_enough(language: str, text: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize("text", ["", "E20", "12 345 678 910 11 12 13 14 15", "Ana"])
def test_too_little_text_has_no_language(text: str) -> None:
    assert detect(text) == ""
