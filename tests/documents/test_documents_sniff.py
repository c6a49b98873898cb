"""Each rule of `tarsd.documents.sniff`."""

from __future__ import annotations

import pytest

from tarsd.documents.sniff import decode_text, kind_of
from tarsd.errors import DocumentError

SPANISH = "El niño pagó 20 € en la cigüeña.\n"


def test_the_content_decides_that_it_is_a_pdf() -> None:
    assert kind_of(b"\n\n%PDF-1.4 ...", "letter.txt") == "pdf"


@pytest.mark.parametrize("file", ["note.txt", "NOTE.MD", "a.markdown"])
def test_text_files_are_known_by_their_name(file: str) -> None:
    assert kind_of(b"hello", file) == "text"


@pytest.mark.parametrize(
    ("head", "file", "reason"),
    [
        (b"", "a.pdf", "is empty"),
        (b"hello", "a.pdf", "is not one"),
        (b"\x89PNG", "photo.png", "PDF, TXT and Markdown"),
        (b"\x7fELF\0\0\0\1", "a.txt", "binary"),
    ],
)
def test_what_is_not_read_gets_its_reason(head: bytes, file: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        kind_of(head, file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_text_is_decoded_whatever_the_editor_wrote(encoding: str) -> None:
    data = SPANISH.encode(encoding)
    assert kind_of(data, "a.txt") == "text"
    assert decode_text(data) == SPANISH


def test_line_ends_become_one() -> None:
    assert decode_text(b"a\r\nb\rc") == "a\nb\nc"
