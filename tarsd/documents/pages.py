"""What the parse worker is asked and what it yields: plain data that both sides of the worker's border know."""

from __future__ import annotations

from typing import Literal

import msgspec

from tarsd.documents.chunk import Chunk

FileKind = Literal["pdf", "text"]


class OpenRequest(msgspec.Struct, frozen=True):
    """Look into the file at `path`, which a person calls `file`; `language` (ISO 639-1) is what they said it is in."""

    path: str
    file: str
    language: str = ""


class Opened(msgspec.Struct, frozen=True):
    """The file can be read. `pages` is how many page requests it takes (1 for a text file)."""

    kind: FileKind
    pages: int


class PageRequest(msgspec.Struct, frozen=True):
    """Read page `number`, counted from 1; of a text file page 1 is the whole file.

    `language` is a hint for OCR: that of the pages before. `seconds` bounds what OCR may take.
    """

    path: str
    file: str
    number: int
    language: str = ""
    seconds: float = 120.0


class Page(msgspec.Struct, frozen=True):
    """What one page holds, cut into passages; a long page comes as several of these with the same number.

    `number` counts from 1 and is 0 where the format has no pages. `confidence` is tesseract's mean, 0 to 100, for a
    page read by OCR, else 100. `problem` says, for a person, what could not be read and why; "" = nothing.
    """

    number: int
    chunks: list[Chunk]
    ocr: bool = False
    language: str = ""
    confidence: float = 100.0
    problem: str = ""
