"""Reads the picture of a page: turns it upright, chooses the language, judges what came out.

Rules
1. The language is found out, never assumed: with a hint (the pages before, or what the person said) that language is
   tried alone, else the wanted languages together. When what was read is in another language that is installed, the
   page is read again in it, and the reading that tesseract is surer of counts.
2. Only languages that are both wanted and installed are used; none of them, or no tesseract, is a reason per page.
3. Orientation comes from tesseract's own detector; where that cannot tell and the reading is poor, the other three are
   tried.
4. A reading of very low confidence is no text but a photograph seen as letters: it is dropped, and said so.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tarsd.documents import language as languages
from tarsd.documents import tesseract
from tarsd.documents.tesseract import ISO_NAMES, OcrFailed, Reading
from tarsd.documents.textlayer import clean, count_letters

if TYPE_CHECKING:
    from PIL.Image import Image

_TOGETHER = 3  # more languages in one pass cost time and begin to be mixed up
_POOR = 60.0
_NO_TEXT = 40.0
_BLANK_CONTRAST = 24  # grey levels; paper without print varies less, the faintest print more
_ENOUGH_LETTERS = 200  # to tell a person that a language is missing
_TESSERACT_NAMES = {iso: name for name, iso in ISO_NAMES.items()}


@dataclass(frozen=True)
class PageText:
    """A page's text; `problem` says for a person what is missing of it."""

    text: str
    ocr: bool = False
    language: str = ""
    confidence: float = 100.0
    problem: str = ""


def is_blank(picture: Image) -> bool:
    """Claim that there is nothing on the page."""
    small = picture.convert("L").reduce(4)  # evens out the scanner's noise
    low, high = small.getextrema()
    return bool(high - low < _BLANK_CONTRAST)


class Ocr:
    """Reads pictures in the wanted languages (tesseract's names) as far as they are installed."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._installed = tuple(name for name in wanted if name in tesseract.installed())

    def read(self, picture: Image, hint: str, seconds: float) -> PageText:
        """Return the page's text; `hint` is ISO 639-1 or "". Raises `OcrFailed` when it cannot be had."""
        if not self._installed:
            raise OcrFailed(self._why_not())
        until = time.monotonic() + seconds
        upright, reading = self._first_reading(picture, self._first_choice(hint), until)
        detected = languages.detect(reading.text)
        other = _TESSERACT_NAMES.get(detected, "")
        if other in self._installed and other not in self._first_choice(hint):
            again = tesseract.recognise(upright, (other,), until - time.monotonic())
            reading = max(reading, again, key=lambda one: one.confidence)
            detected = languages.detect(reading.text)
        return self._judge(reading, detected)

    def _first_choice(self, hint: str) -> tuple[str, ...]:
        name = _TESSERACT_NAMES.get(hint, "")
        return (name,) if name in self._installed else self._installed[:_TOGETHER]

    def _first_reading(self, picture: Image, names: tuple[str, ...], until: float) -> tuple[Image, Reading]:
        """Return the upright picture and what it says (rule 3)."""
        turn = tesseract.rotation(picture, until - time.monotonic())
        upright = _turned(picture, turn or 0)
        reading = tesseract.recognise(upright, names, until - time.monotonic())
        if turn is None and reading.confidence < _POOR:
            for other in (180, 90, 270):
                turned = _turned(picture, other)
                again = tesseract.recognise(turned, names, until - time.monotonic())
                if again.confidence > reading.confidence:
                    upright, reading = turned, again
        return upright, reading

    def _judge(self, reading: Reading, detected: str) -> PageText:
        if reading.confidence < _NO_TEXT:
            return PageText(
                "", ocr=True, confidence=reading.confidence, problem="no text could be made out in its picture"
            )
        problem = ""
        name = _TESSERACT_NAMES.get(detected, "")
        if name and name not in self._installed and count_letters(reading.text) >= _ENOUGH_LETTERS:
            problem = (
                f"it seems to be in {detected!r} and was read without tesseract's {name!r} data: words may be wrong"
            )
        return PageText(clean(reading.text), True, detected, reading.confidence, problem)

    def _why_not(self) -> str:
        if not tesseract.installed():
            return "it is a picture, and tesseract, which reads pictures, is not installed"
        return f"it is a picture, and of tesseract's languages {', '.join(self._wanted)} none is installed"


def _turned(picture: Image, clockwise: int) -> Image:
    if clockwise == 0:
        return picture
    turned = picture.rotate(-clockwise, expand=True)
    turned.info.update(picture.info)
    return turned
