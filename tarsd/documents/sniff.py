"""Decides by its first bytes what a file is, and turns the bytes of a text file into text. Pure.

Rules
1. The content decides, not the name: a PDF has its mark near its beginning. Mail programs and scanners put bytes in
   front of it; PDFium bears 1 KiB of them, pypdf any number.
2. Text is UTF-8 or UTF-16 where the bytes say so, else Windows-1252, what editors of Western Europe wrote before.
3. A file with zero bytes that is no UTF-16 is not text.
"""

from __future__ import annotations

import codecs

from tarsd.documents.pages import FileKind
from tarsd.errors import DocumentError

HEAD_BYTES = 4096
_TEXT_NAMES = (".txt", ".text", ".md", ".markdown")


def kind_of(head: bytes, file: str) -> FileKind:
    """Return what a file that begins with `head` is; raises `DocumentError` for what tars does not read."""
    if not head:
        raise DocumentError(f"{file} is empty")
    if b"%PDF-" in head:
        return "pdf"
    name = file.lower()
    if name.endswith(".pdf"):
        raise DocumentError(f"{file} is named like a PDF but is not one")
    if not name.endswith(_TEXT_NAMES):
        raise DocumentError(f"{file}: tars reads PDF, TXT and Markdown files, and this is none of them")
    if _utf16(head) is None and b"\0" in head:
        raise DocumentError(f"{file} is named like a text file but holds binary data")
    return "text"


def decode_text(data: bytes) -> str:
    """Return the text of a file of kind "text", with \\n line ends."""
    text = data.decode(_utf16(data[:HEAD_BYTES]) or _single_bytes(data), errors="replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if 2 * odd > len(head) // 2 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if 2 * even > len(head) // 2 and odd == 0 else None


def _single_bytes(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"
