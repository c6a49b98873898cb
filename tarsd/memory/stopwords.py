"""The little words that say nothing about what a question seeks, lower case and without accents."""

from __future__ import annotations

_SPANISH = (
    "a al algo ante aquel aquella aquellos como con contra cual cuales cuando cuanta cuantas cuanto cuantos de del "
    "desde donde el ella ellas ello ellos en entre era eran es esa ese eso esos esta estaba estan este esto estos "
    "fue fueron ha haber habia hace hacia han hasta hay la las le les lo los mas me mi mientras mucho muy nada ni "
    "no nos o os otra otro otros para pero por porque que quien quienes se segun ser si sido sin sobre son su sus "
    "tambien tan tanto te tenia tiene tienen toda todo todos tras tu un una uno unos y ya yo"
)
_ENGLISH = (
    "a about after all also an and any are as at be because been before being between both but by can could did do "
    "does during each for from had has have he her his how i if in into is it its me more most my no not of on one "
    "or other our out over s she should so some such than that the their them then there these they this those "
    "through to up was we were what when where which while who whom whose why will with would you your"
)

LITTLE_WORDS: dict[str, frozenset[str]] = {"es": frozenset(_SPANISH.split()), "en": frozenset(_ENGLISH.split())}
