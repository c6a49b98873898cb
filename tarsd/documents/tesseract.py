"""The tesseract program: what is installed of it (asked through pytesseract), and one call of it. Pages go in and words
come out by pipe: pytesseract's own way would leave a person's page in /tmp when the worker is killed.

`OMP_THREAD_LIMIT=1` since its threads fight each other: 2-3 s a dense page with it, 16-21 s without.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pytesseract

if TYPE_CHECKING:
    from PIL.Image import Image

# ISO 639-1 to tesseract's names, for the languages that `documents.language` can tell.
ISO_NAMES = {
    "eng": "en",
    "spa": "es",
    "fra": "fr",
    "deu": "de",
    "por": "pt",
    "ita": "it",
    "cat": "ca",
    "glg": "gl",
    "eus": "eu",
    "nld": "nl",
    "swe": "sv",
    "dan": "da",
    "nor": "no",
    "fin": "fi",
    "pol": "pl",
    "ces": "cs",
    "ron": "ro",
    "hun": "hu",
    "tur": "tr",
    "rus": "ru",
    "ukr": "uk",
    "ell": "el",
    "ara": "ar",
    "heb": "he",
    "jpn": "ja",
    "chi_sim": "zh",
    "kor": "ko",
}
_MIN_ORIENTATION_CONFIDENCE = 1.0


class OcrFailed(Exception):
    """A page could not be read by OCR; the text says why."""


@dataclass(frozen=True)
class Reading:
    """What tesseract read: text with its lines and paragraphs, and the mean confidence (0 to 100) over its letters."""

    text: str
    confidence: float


@cache
def installed() -> frozenset[str]:
    """Return tesseract's installed language names, "osd" among them; empty when there is no tesseract."""
    try:
        return frozenset(pytesseract.get_languages(config=""))
    except (pytesseract.TesseractError, pytesseract.TesseractNotFoundError, OSError):
        return frozenset()


def rotation(picture: Image, seconds: float) -> int | None:
    """Return by how many degrees, clockwise, `picture` must be turned to stand upright; None when it cannot be told."""
    if "osd" not in installed():
        return None
    try:
        report = _run(["stdin", "stdout", "--psm", "0", "-l", "osd"], _png(picture), seconds)
    except OcrFailed:
        return None  # "Too few characters": a page of a few words
    turn = re.search(r"^Rotate: (\d+)", report, re.MULTILINE)
    confidence = re.search(r"^Orientation confidence: ([\d.]+)", report, re.MULTILINE)
    if turn is None or confidence is None or float(confidence[1]) < _MIN_ORIENTATION_CONFIDENCE:
        return None
    return int(turn[1])


def recognise(picture: Image, languages: tuple[str, ...], seconds: float) -> Reading:
    """Return the text of an upright `picture`; raises `OcrFailed`."""
    table = _run(["stdin", "stdout", "-l", "+".join(languages), "--psm", "3", "tsv"], _png(picture), seconds)
    return _assemble(table)


def _png(picture: Image) -> bytes:
    data = io.BytesIO()
    picture.save(data, "PNG", compress_level=1, dpi=picture.info.get("dpi", (200, 200)))
    return data.getvalue()


def _run(arguments: list[str], data: bytes, seconds: float) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["tesseract", *arguments],  # noqa: S607 - where the system's PATH has it
            input=data,
            capture_output=True,
            timeout=max(seconds, 0.01),
            check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except FileNotFoundError as error:
        raise OcrFailed("tesseract is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise OcrFailed(f"OCR took longer than {seconds:.0f} s") from error
    except (subprocess.CalledProcessError, OSError) as error:
        raise OcrFailed(f"tesseract failed: {_last_line(error)}") from error
    return done.stdout.decode("utf-8", errors="replace")


def _last_line(error: subprocess.CalledProcessError | OSError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {error.returncode}"
    return str(error)


def _assemble(table: str) -> Reading:
    """Return the words of tesseract's TSV as text, with its lines, and blank lines between its paragraphs."""
    pieces: list[str] = []
    previous: list[str] = []
    weight = total = 0.0
    for row in table.splitlines()[1:]:
        cells = row.split("\t", 11)
        if len(cells) < 12 or cells[0] != "5" or not (word := cells[11].strip()):
            continue
        place = cells[1:5]  # page, block, paragraph, line
        if previous:
            pieces.append(" " if place == previous else "\n" if place[:3] == previous[:3] else "\n\n")
        pieces.append(word)
        previous = place
        weight += len(word)
        total += len(word) * float(cells[10])
    return Reading("".join(pieces), total / weight if weight else 0.0)
