"""In which language people are answered who ask something of the memory."""

from __future__ import annotations

import pytest

from tarsd.planning.wish_language import wish_language


@pytest.mark.parametrize(
    ("wish", "language"),
    [
        ("forget Iñaki", "en"),
        ("Remember that Íñigo vive en Málaga", "en"),
        ("hey TARS, don’t forget that el fontanero es Paco", "en"),
        ("call me Ángel", "en"),
        ("what do you know about me?", "en"),
        ("olvida lo de la abuela", "es"),
        ("Oye TARS, recuerda que the door is open", "es"),
        ("llámame Ana", "es"),
        ("sé breve", "es"),
        ("¿Puedes olvidar Wi-Fi?", "es"),
        ("1", ""),
        ("Leo comes on Monday", ""),
    ],
)
def test_the_verb_tells_and_not_what_stands_behind_it(wish: str, language: str) -> None:
    assert wish_language(wish) == language
