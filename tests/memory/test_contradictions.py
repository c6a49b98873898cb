"""Which later memory takes the place of an older one: the same thing, another value; all else stands side by side."""

from __future__ import annotations

import pytest

from tarsd.memory.bodies import MemoryBody
from tarsd.memory.contradictions import claim, contradicts

# the older memory, the later one that says otherwise
OTHERWISE = [
    ("La contraseña del wifi es perro42", "La contraseña del wifi es gato43"),
    ("La contraseña del wifi es perro42", "la contraseña del wifi ahora es gato43."),
    ("La contraseña del wifi es Perro42", "La contraseña del wifi es perro42"),
    ("La clave del wifi es perro42", "La contraseña del wifi ha cambiado a gato43"),
    ("The wifi password is hunter2", "The wifi password is hunter3"),
    ("The wifi password is hunter2", "The password of the wifi is hunter3"),
    ("The wifi password: hunter2", "The wifi password has changed to hunter3"),
    ("Ana's phone is 5", "Ana's phone is 6"),
    ("Ana's phone number is 600 100 200", "Ana's phone number is now 600 100 201"),
    ("El teléfono de Ana es 600 100 200", "El teléfono de Ana es el 600 100 201"),
    ("Mi móvil es 600100200", "Mi móvil ahora es 600100201"),
    ("My phone number is 600100200", "My phone number is 600100201"),
    ("El cumpleaños de Leo es el 4 de mayo", "El cumpleaños de Leo es el 5 de mayo"),
    ("Leo's birthday is 4 May", "Leo's birthday is May 5th"),
    ("La dirección de Ana es Calle Mayor 5", "La dirección de Ana es Gran Vía 7"),
    ("The rent is 900 euros", "The rent is 950 euros"),
    ("El alquiler del piso es de 900 €", "El alquiler del piso es de 950 €"),
    ("Leo tiene 5 años", "Leo tiene 6 años"),
    ("Leo is 5 years old", "Leo is 6 years old"),
    ("I live in Madrid", "I moved to Sevilla"),
    ("Vivo en Madrid", "Ahora vivo en Sevilla"),
    ("Vivo en Madrid", "Me he mudado a Sevilla"),
    ("Ana vive en Madrid", "Ana se ha mudado a Sevilla"),
    ("We live in Leeds", "We have moved to York"),
    ("El código de la alarma es 1234", "El código de la alarma es 4321"),
    ("El correo de Ana es ana@casa.es", "El correo de Ana es ana@nueva.es"),
    ("La matrícula del coche es 1234 BCD", "La matrícula del coche es 5678 FGH"),
]

# two memories that stand side by side
DISTINCT = [
    ("La contraseña del wifi es perro42", "La contraseña del wifi de invitados es gato43"),
    ("La contraseña del wifi es perro42", "La contraseña de Netflix es gato43"),
    ("La contraseña del wifi es perro42", "La contraseña del wifi es perro42."),
    ("La contraseña del wifi es perro42", "La contraseña del wifi es larga"),
    ("La contraseña del wifi es perro42", "La contraseña del wifi ya no es perro42"),
    ("La contraseña del wifi es perro42", "La contraseña del wifi era gato43"),
    ("La contraseña del wifi es perro42", "¿La contraseña del wifi es gato43?"),
    ("La contraseña del wifi es perro42", "Si la contraseña del wifi es gato43, avisa"),
    ("La contraseña del wifi es perro42", "La contraseña del wifi está en el cajón"),
    ("The wifi password is hunter2", "The wifi password is secret"),
    ("The wifi password is hunter2", "The guest wifi password is hunter3"),
    ("The wifi password is hunter2", "The wifi password was hunter3"),
    ("The wifi password is hunter2", "Maybe the wifi password is hunter3"),
    ("Ana's phone is 5", "Leo's phone is 6"),
    ("Ana's phone is 5", "Ana's phone is broken"),
    ("Ana's phone is 5", "Ana's mobile is 6"),
    ("My phone is 5", "Ana's phone is 6"),
    ("The phone bill is 30 euros", "The phone bill is 40 euros"),
    ("El teléfono de Ana es 5", "El teléfono del trabajo de Ana es 6"),
    ("El cumpleaños de Leo es el 4 de mayo", "El cumpleaños de Ana es el 5 de mayo"),
    ("Leo's birthday is 4 May", "Leo's birthday is 4 May 2019"),
    ("Leo's birthday is 4 May", "Leo's birthday is at the pool"),
    ("The dentist is on 4 May", "The dentist is on 9 June"),
    ("The car is red", "The car is old"),
    ("The key is under the pot", "The key is blue"),
    ("The key is under the pot", "The key is in the drawer"),
    ("La llave del garaje está en el cajón", "La llave de casa está bajo la maceta"),
    ("Mi hijo se llama Leo", "Mi hijo se llama Max"),
    ("My son is called Leo", "My son is called Max"),
    ("La dirección de Ana es Calle Mayor 5", "La dirección de Ana es Calle Mayor 5, Madrid"),
    ("The table is 120 cm", "The table is 80 cm"),
    ("El contrato de alquiler es de 2020", "El contrato de alquiler es de 2021"),
    ("El recibo del teléfono es 30", "El recibo del teléfono es 40"),
    ("The rent is 900 euros", "The rent is due on the 5th"),
    ("The rent was 850 euros", "The rent is 900 euros"),
    ("I live in Madrid", "I live in Spain"),
    ("Vivo en Madrid", "Vivo en Chamberí"),
    ("Ana lives in Madrid", "Leo moved to Sevilla"),
    ("I moved to Madrid", "I moved to Madrid, Calle Mayor"),
    ("Leo tiene 5 años", "Ana tiene 6 años"),
    ("Leo tiene 5 años", "Leo tiene 2 hermanos"),
    ("Leo is 5 years old", "The dog is 6 years old"),
    ("Me gusta el café", "No me gusta el café"),
    ("Ana likes tea", "Ana likes coffee"),
    ("The red box holds 10 screws", "The blue box holds 12 screws"),
    ("El código de la alarma es 1234", "El código postal es 28001"),
    ("El precio del pan es 2 euros", "El precio de la leche es 1 euro"),
    ("The wifi password is hunter2 and the alarm code is 12", "The wifi password is hunter3"),
    ("La contraseña del wifi es perro42. La del portal es 12.", "La contraseña del wifi es gato43"),
    ("The rent is 900 euros", "The rent is 2 days late"),
    ("Ana's phone is 600100200", "Ana's phone is 5 days old"),
    ("Ana's phone is 600100200", "Ana's phone is +34 600 100 200"),
    ("The booking code is ABC1", "The booking code is XYZ2"),
    ("El código es 1234", "El código es 4321"),
    ("The meeting is at 9", "The meeting is at 10"),
]

OTHER_WISHES = [
    ("Llámame Ana", "Llámame Anita"),
    ("Call me Ana", "Call me Annie"),
    ("Responde siempre en inglés", "Responde siempre en español"),
    ("Answer briefly", "Answer in detail"),
    ("Trátame de tú: tutéame", "Trátame de usted"),
]
SIDE_BY_SIDE = [
    ("Llámame Ana", "Responde siempre en inglés"),
    ("Answer briefly", "Answer in English"),
    ("Answer briefly", "Answer in short sentences"),
    ("No me gusta el café", "Me gusta el té"),
    ("Answer in English or Spanish", "Answer in French"),
]


def memory(text: str, sort: str = "fact") -> MemoryBody:
    spanish = any(mark in f" {text.casefold()} " for mark in "ñáéíóú¿") or any(
        f" {word} " in f" {text.casefold()} " for word in ("el", "la", "mi", "vivo", "tiene", "vive")
    )
    return MemoryBody("m", text, sort=sort, language="es" if spanish else "en")


@pytest.mark.parametrize(("older", "later"), OTHERWISE)
def test_a_later_memory_that_says_otherwise_contradicts(older: str, later: str) -> None:
    assert contradicts(memory(later), memory(older))


@pytest.mark.parametrize(("older", "later"), DISTINCT)
def test_distinct_memories_stand_side_by_side(older: str, later: str) -> None:
    assert not contradicts(memory(later), memory(older))


@pytest.mark.parametrize("sentence", [pair[0] for pair in OTHERWISE])
def test_a_memory_never_contradicts_itself(sentence: str) -> None:
    assert not contradicts(memory(sentence), memory(sentence))


@pytest.mark.parametrize(("older", "later"), OTHER_WISHES)
def test_a_later_wish_takes_the_place_of_the_earlier(older: str, later: str) -> None:
    assert contradicts(memory(later, "preference"), memory(older, "instruction"))


@pytest.mark.parametrize(("older", "later"), SIDE_BY_SIDE)
def test_other_wishes_stand_side_by_side(older: str, later: str) -> None:
    assert not contradicts(memory(later, "preference"), memory(older, "preference"))


def test_a_wish_contradicts_no_fact() -> None:
    assert not contradicts(memory("Llámame Eva", "preference"), memory("Llámame Ana"))


def test_one_thing_is_the_same_in_two_languages_where_its_words_are() -> None:
    assert claim("La contraseña del wifi es perro42", "") == claim("The wifi password is perro42", "")
