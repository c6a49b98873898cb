"""In which language a wish to the memory is said: its verb tells, whatever stands behind it. Pure.

"Forget Iñaki" is English and "recuerda que the door is open" is Spanish: what is to be remembered or forgotten may be
names and words of any language, and a language told by them would answer people in one that they did not speak.
"""

from __future__ import annotations

import re

LOOKED_AT_WORDS = 6  # a greeting, the assistant's name, "could you", and then the verb

_ENGLISH_VERBS = """
    remember memorise memorize note forget keep bear don't delete erase remove drop wipe stop call answer reply respond
    speak talk write use explain be always never can could would will what tell show want
"""
_SPANISH_VERBS = """
    recuerda recuérda recuérdate recuerdate recordar recuerdes acuérdate acuerdate acordarte acuerdes memoriza memorizar
    apunta apúntate apuntar apuntes anota anótate anotar toma tomar ten guarda olvida olvídate olvidate olvidar olvides
    olvidarte borra borrar bórrate elimina eliminar quita quitar saca deja llámame llamame llámanos llamarme responde
    respóndeme respondeme contesta contéstame contestame habla háblame hablame trátame tratame tutéame tuteame usa sé
    siempre nunca puedes podrías podrias quieres quiero qué que dime cuéntame muéstrame
"""
_ENGLISH, _SPANISH = frozenset(_ENGLISH_VERBS.split()), frozenset(_SPANISH_VERBS.split())
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def wish_language(message: str) -> str:
    """Return "en" or "es" by the first word of a wish that belongs to one of them, "" where none does."""
    for word in _WORD.findall(message.casefold())[:LOOKED_AT_WORDS]:
        plain = word.replace("’", "'")
        if plain in _SPANISH:
            return "es"
        if plain in _ENGLISH:
            return "en"
    return ""
