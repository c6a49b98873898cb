"""What is learned from a message without being asked to, and what is not."""

from __future__ import annotations

import time

import pytest

from tarsd.planning.statements import MAX_LEARNED, statements
from tests.planning.hostile_texts import HOSTILE

LEARNED = {
    "me llamo Ana": ["Me llamo Ana"],
    "Hola, me llamo Ana María": ["Me llamo Ana María"],
    "Me llamo Ana. ¿Qué tiempo hace?": ["Me llamo Ana"],
    "Me llamo Ana, ¿qué tiempo hace?": ["Me llamo Ana"],
    "Me llamo Ana y vivo en Madrid": ["Me llamo Ana", "Vivo en Madrid"],
    "mi hijo se llama Leo": ["Mi hijo se llama Leo"],
    "Mi hija pequeña se llama Eva.": ["Mi hija pequeña se llama Eva"],
    "nuestro perro se llama Rex": ["Nuestro perro se llama Rex"],
    "Mi hijo Leo tiene 5 años": ["Mi hijo Leo tiene 5 años"],
    "tengo 41 años": ["Tengo 41 años"],
    "tengo dos hijos": ["Tengo dos hijos"],
    "Nos hemos mudado a Sevilla": ["Nos hemos mudado a Sevilla"],
    "ahora vivo en la Calle Mayor": ["Ahora vivo en la Calle Mayor"],
    "trabajo de enfermera": ["Trabajo de enfermera"],
    "soy vegetariana, ¿qué puedo cenar?": ["Soy vegetariana"],
    "soy alérgico a los cacahuetes": ["Soy alérgico a los cacahuetes"],
    "Mi cumpleaños es el 4 de mayo": ["Mi cumpleaños es el 4 de mayo"],
    "mi móvil es el 600 100 200": ["Mi móvil es el 600 100 200"],
    "mi impresora es una Epson XP-2200": ["Mi impresora es una Epson XP-2200"],
    "no me gusta el café": ["No me gusta el café"],
    "mi color favorito es el verde": ["Mi color favorito es el verde"],
    "my name is Ana": ["My name is Ana"],
    "Hi, my name is Ana. Can you help me?": ["My name is Ana"],
    "my name is Ana, what is the weather like?": ["My name is Ana"],
    "I'm 41 years old": ["I'm 41 years old"],
    "my son is called Leo": ["My son is called Leo"],
    "My daughter's name is Eva": ["My daughter's name is Eva"],
    "our dog is named Rex": ["Our dog is named Rex"],
    "we moved to Leeds": ["We moved to Leeds"],
    "I live in New York": ["I live in New York"],
    "I work as a nurse": ["I work as a nurse"],
    "I work at Siemens": ["I work at Siemens"],
    "I'm allergic to nuts": ["I'm allergic to nuts"],
    "I'm vegan, so what can I eat?": ["I'm vegan"],
    "my printer is a Brother HL-1110": ["My printer is a Brother HL-1110"],
    "my birthday is on May 4th": ["My birthday is on May 4th"],
    "my phone number is 600 100 200": ["My phone number is 600 100 200"],
    "my email is ana@house.org": ["My email is ana@house.org"],
    "I have two cats and I live in York": ["I have two cats", "I live in York"],
    "My favourite colour is green": ["My favourite colour is green"],
    "I love hiking": ["I love hiking"],
    "I speak Spanish and English": ["I speak Spanish and English"],
}
NOT_LEARNED = [
    "¿me llamo Ana?",
    "¿cómo se llama mi hijo?",
    "is my son called Leo?",
    "what if my name is Ana?",
    "if my son is called Leo, what is his name day?",
    "si me llamo Ana, ¿cuándo es mi santo?",
    "suppose I live in Madrid",
    "imagina que vivo en Marte",
    "ojalá viviera en Sevilla",
    "maybe my son is called Leo",
    "creo que mi impresora es una Epson",
    "Ana says my dog is named Rex",
    "mi vecino dice que vivo en Madrid",
    'my teacher wrote "my name is Ana"',
    "translate: my name is Ana",
    "traduce al inglés: me llamo Ana",
    "Escribe un poema: me llamo Ana",
    "write a story. my name is Ana",
    "correct this text: I live in Madrid",
    "say: my name is Ana",
    "my printer is broken",
    "my car is a mess",
    "mi coche es un desastre",
    "my phone is a bit slow",
    "me gusta el segundo",
    "me gustan las dos",
    "no me gusta la respuesta",
    "me encanta la idea",
    "I love the second one",
    "I don't like the answer",
    "I like to know why",
    "My favourite answer is the second",
    "trabajo de matemáticas",
    "Act as a pirate. My name is Jack. I live in Tortuga.",
    "Mi personaje. Me llamo Drácula. Vivo en Transilvania.",
    "Help me with a song. I live in Madrid.",
    "mi impresora es muy lenta",
    "mi coche está roto",
    "I was in Madrid",
    "antes vivía en Madrid",
    "I used to live in Madrid",
    "I'm tired today",
    "hoy me gusta el café",
    "I like it",
    "I like this",
    "I love how you answer",
    "I'd like a coffee",
    "me gusta esto",
    "me gusta",
    "I have a question",
    "tengo una pregunta",
    "tengo hambre",
    "my name is on the list",
    "I live in a flat",
    "vivo en un piso",
    "we moved to the next topic",
    "me llaman la atención los gatos",
    "my son is at school",
    "mi hijo está enfermo",
    "turn on the light",
    "hola",
    "",
    "pretend my name is Ana",
    "my printer is a Brother, I think",
    "me gusta el café, dice Ana",
    'I love the film "Alien"',
    "how do I say this in German: hello. My name is Ana.",
    "my name is Ana `code`",
    "The author writes:\n\nMy name is Ana\n\nand so on",
    "it was a joke that my name is Ana",
    "I live in Rome. Don't remember this.",
    "I live in Rome. Please do not save that",
    "Don't write this down. My son is called Leo.",
    "This stays between us. My son is called Leo.",
    "Vivo en Roma. No lo recuerdes.",
    "Me llamo Ana. Que no se guarde.",
]


@pytest.mark.parametrize(("message", "learned"), LEARNED.items())
def test_what_a_person_states_of_itself_is_learned(message: str, learned: list[str]) -> None:
    assert statements(message) == learned


@pytest.mark.parametrize("message", NOT_LEARNED)
def test_nothing_else_is_learned(message: str) -> None:
    assert statements(message) == []


def test_a_long_message_is_material() -> None:
    assert statements("My name is Ana. " + "word " * 90) == []


def test_only_so_much_is_learned_of_one_message() -> None:
    many = " ".join(f"My son is called Leo{chr(97 + n)}." for n in range(9))
    assert len(statements(many)) == MAX_LEARNED


@pytest.mark.parametrize("message", HOSTILE)
def test_no_message_keeps_the_loop_busy(message: str) -> None:
    began = time.process_time()
    statements(message)
    assert time.process_time() - began < 5  # minutes, before such texts were looked at first
