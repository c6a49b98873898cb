"""Decides whether a PDF page's own text can be used, and cleans it. Pure.

Rules
1. A page whose layer has no letters or digits has no text layer.
2. A layer is junk when a tenth of its characters belong to no writing (private use, controls, U+FFFD): a font
   without a map to Unicode; or when its Latin letters hold too few vowels for any language: a shifted alphabet.
3. A short layer over pictures that cover half of the page is a stamp or page number on a scan.
"""

from __future__ import annotations

import re
import unicodedata

_SHORT_LETTERS = 100
_PICTURE_SHARE = 0.5
_JUNK_SHARE = 0.1
_MIN_VOWEL_SHARE = 0.22  # the lowest of ordinary text is near 0.33 (Czech); Latin shifted as fonts do it has 0.14
_VOWEL_SAMPLE = 100

_LIGATURES = str.maketrans(
    {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "ft", "\ufb06": "st"}
)
# PDFium marks the hyphen of a word that it saw broken over two lines with U+FFFE, older ones with U+0002.
_BROKEN_WORD = re.compile(r"[\ufffe\x02\u00ad][ \t]*\n?|(?<=[^\W\d_])-[ \t]*\n(?=[a-zà-öø-ÿ])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b\u2028\u2029\ufeff]")


def clean(text: str) -> str:
    """Return `text` in NFC with \\n line ends, words joined that a line end broke, and no blanks at line ends."""
    text = unicodedata.normalize("NFC", text.translate(_LIGATURES)).replace("\r\n", "\n").replace("\r", "\n")
    text = _BROKEN_WORD.sub("", text)
    text = _CONTROL.sub(" ", text).replace("\u00a0", " ")
    text = re.sub(r"[ \t]+(?=\n|$)", "", text)
    return re.sub(r"\n{3,}", "\n\n", text)


def is_usable(text: str, picture_share: float) -> bool:
    """Claim that a page's text layer says what the page says; `picture_share` is how much pictures cover of it."""
    letters = count_letters(text)
    if letters == 0 or is_junk(text):
        return False
    return letters >= _SHORT_LETTERS or picture_share < _PICTURE_SHARE


def count_letters(text: str) -> int:
    """Return how many letters and digits `text` has."""
    return sum(map(str.isalnum, text))


def is_junk(text: str) -> bool:
    """Claim that `text` cannot be read by anybody (rule 2)."""
    solid = [character for character in text if not character.isspace() and character not in "\ufffe\x02\u00ad"]
    foreign = sum(character == "\ufffd" or unicodedata.category(character) in ("Co", "Cc", "Cn") for character in solid)
    return foreign > _JUNK_SHARE * len(solid) or _lacks_vowels(solid)


def _lacks_vowels(characters: list[str]) -> bool:
    plain = unicodedata.normalize("NFD", "".join(characters)).lower()
    latin = [character for character in plain if "a" <= character <= "z"]
    if len(latin) < _VOWEL_SAMPLE or 2 * len(latin) < len(characters):
        return False
    return sum(character in "aeiouy" for character in latin) < _MIN_VOWEL_SHARE * len(latin)
