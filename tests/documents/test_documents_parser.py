"""Documents read by the real parse worker, in a process of its own."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from contextlib import aclosing
from pathlib import Path

import pytest

from tarsd.config.schema import Documents
from tarsd.documents import parse_worker
from tarsd.documents.chunk import Chunk
from tarsd.documents.pages import Opened, Page
from tarsd.documents.parser import MAX_LOST_IN_A_ROW, DocumentParser
from tarsd.errors import DocumentError
from tests.documents.conftest import EXAMPLES

needs_tesseract = pytest.mark.skipif(shutil.which("tesseract") is None, reason="tesseract is not installed")


async def read(path: Path, settings: Documents, *, file: str = "", target: str = "") -> tuple[Opened, list[Page]]:
    parser = DocumentParser(settings, target=target) if target else DocumentParser(settings)
    async with aclosing(parser.parse(path, file or path.name)) as items:
        got = [item async for item in items]
    assert isinstance(got[0], Opened)
    return got[0], [item for item in got[1:] if isinstance(item, Page)]


def text_of(pages: list[Page], number: int) -> str:
    return " ".join(chunk.text for page in pages if page.number == number for chunk in page.chunks)


def passages(pages: list[Page]) -> list[Chunk]:
    return [chunk for page in pages for chunk in page.chunks]


async def test_each_page_of_a_manual_is_read(settings: Documents) -> None:
    opened, pages = await read(EXAMPLES / "washing-machine-manual.pdf", settings)
    assert opened == Opened("pdf", 5)
    assert [page.number for page in pages] == [1, 2, 3, 4, 5]
    assert "1,400 turns per minute" in text_of(pages, 1)
    assert "60 to 90 cm" in " ".join(text_of(pages, 2).split())
    assert "E20" in text_of(pages, 5)
    assert {chunk.language for chunk in passages(pages)} == {"en"}
    assert not any(page.ocr or page.problem for page in pages)


@needs_tesseract
async def test_a_scanned_spanish_page_is_read_in_spanish(settings: Documents) -> None:
    _, (contract, invoice) = await read(EXAMPLES / "contrato-y-factura.pdf", settings)
    assert not contract.ocr
    assert "30 días de antelación" in " ".join(text_of([contract], 1).split())
    assert invoice.ocr
    assert invoice.language == "es"
    assert invoice.confidence > 85
    text = " ".join(text_of([invoice], 2).split())
    for fact in ("322,47", "Javier Ortuño", "próxima revisión", "señora", "12 de marzo de 2026"):
        assert fact in text


@pytest.mark.parametrize(
    ("file", "language", "fact"),
    [
        ("house-notes.md", "en", "Turn it clockwise"),
        ("lentejas-de-la-abuela.txt", "es", "320 gramos de lenteja pardina"),
    ],
)
async def test_text_files_have_places_in_the_whole_file(
    settings: Documents, file: str, language: str, fact: str
) -> None:
    path = EXAMPLES / file
    text = path.read_text()
    opened, pages = await read(path, settings)
    assert opened == Opened("text", 1)
    chunks = passages(pages)
    assert {chunk.page for chunk in chunks} == {0}
    assert {chunk.language for chunk in chunks} == {language}
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert any(fact in chunk.text for chunk in chunks)


async def test_a_long_text_file_keeps_its_places(settings: Documents, tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {number} tells something about the house." for number in range(8000))
    path = tmp_path / "long.txt"
    path.write_text(text)
    _, pages = await read(path, settings)
    chunks = passages(pages)
    assert len(pages) > 1
    assert all(chunk.text == text[chunk.start : chunk.end] for chunk in chunks)
    assert all(f"Paragraph {number} " in " ".join(chunk.text for chunk in chunks) for number in (0, 4321, 7999))


async def test_a_broken_pdf_has_its_reason(settings: Documents, tmp_path: Path) -> None:
    path = tmp_path / "broken.pdf"
    path.write_bytes(b"%PDF-1.7\n" + b"nothing of a PDF " * 100)
    with pytest.raises(DocumentError, match=r"broken\.pdf is broken and cannot be repaired"):
        await read(path, settings)


async def test_a_pdf_that_pdfium_refuses_is_read_by_pypdf(settings: Documents, tmp_path: Path) -> None:
    path = tmp_path / "mailed.pdf"
    path.write_bytes(b"x" * 2000 + (EXAMPLES / "contrato-y-factura.pdf").read_bytes())
    opened, (contract, invoice) = await read(path, settings)
    assert opened.pages == 2
    assert "30 días de antelación" in " ".join(text_of([contract], 1).split())
    assert "the file is damaged" in invoice.problem


async def test_a_cut_off_pdf_is_read_or_refused_with_a_reason(settings: Documents, tmp_path: Path) -> None:
    whole = (EXAMPLES / "washing-machine-manual.pdf").read_bytes()
    path = tmp_path / "cut.pdf"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DocumentError, match=r"cut\.pdf"):
        await read(path, settings)


async def test_an_encrypted_pdf_has_its_reason(settings: Documents, make_pdf) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DocumentError, match="encrypted: save a copy without a password"):
        await read(make_pdf("secret", encrypt="opensesame"), settings)


@pytest.mark.parametrize(
    ("file", "data", "reason"),
    [
        ("empty.pdf", b"", "is empty"),
        ("letter.pdf", b"Dear Ana", "is not one"),
        ("blank.txt", b" \n\n ", "holds no text"),
        ("photo.jpg", b"\xff\xd8\xff", "PDF, TXT and Markdown"),
    ],
)
async def test_what_cannot_be_read_has_its_reason(
    settings: Documents, tmp_path: Path, file: str, data: bytes, reason: str
) -> None:
    path = tmp_path / "spooled.bin"
    path.write_bytes(data)
    with pytest.raises(DocumentError, match=reason):
        await read(path, settings, file=file)


async def test_a_pdf_of_blank_pages_has_its_reason(settings: Documents, make_pdf) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DocumentError, match="holds no text: its pages are blank"):
        await read(make_pdf(None, None), settings)


async def test_too_many_pages_are_refused(make_pdf) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DocumentError, match=r"3 pages; documents\.max_pages allows 2"):
        await read(make_pdf("one", "two", "three"), Documents(max_pages=2))


async def test_a_missing_tesseract_is_a_reason_of_its_page_only(
    settings: Documents, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _, (contract, invoice) = await read(EXAMPLES / "contrato-y-factura.pdf", settings)
    assert contract.chunks
    assert invoice.chunks == []
    assert "tesseract, which reads pictures, is not installed" in invoice.problem


@needs_tesseract
async def test_a_language_that_is_not_installed_is_a_reason_of_its_page(settings: Documents) -> None:
    _, (_, invoice) = await read(EXAMPLES / "contrato-y-factura.pdf", Documents(ocr_languages=("xho",)))
    assert "of tesseract's languages xho none is installed" in invoice.problem


async def test_a_page_that_hangs_is_cut_and_the_rest_is_read(worker_classes: str) -> None:
    began = time.monotonic()
    _, pages = await read(EXAMPLES, Documents(parse_page_s=1), target=f"{worker_classes}:Hangs")
    assert [(page.number, page.problem) for page in pages] == [
        (1, ""),
        (2, "it took longer than 1 s"),
        (3, ""),
        (4, ""),
    ]
    assert time.monotonic() - began < 60  # it would hang for ten minutes


async def test_a_page_that_kills_the_worker_is_recorded_and_the_rest_is_read(worker_classes: str) -> None:
    _, pages = await read(EXAMPLES, Documents(), target=f"{worker_classes}:Dies")
    assert [bool(page.problem) for page in pages] == [False, True, False, False]
    assert "brings down the reader" in pages[1].problem


async def test_a_page_that_wants_all_memory_is_recorded_and_the_rest_is_read(worker_classes: str) -> None:
    _, pages = await read(EXAMPLES, Documents(parse_memory_mib=256), target=f"{worker_classes}:Greedy")
    assert [bool(page.problem) for page in pages] == [False, True, False, False]
    assert "memory" in pages[1].problem


async def test_the_worker_has_no_network(worker_classes: str) -> None:
    _, pages = await read(EXAMPLES, Documents(), target=f"{worker_classes}:Curious")
    assert [bool(page.problem) for page in pages] == [False, True, False, False]
    assert "PermissionError" in pages[1].problem


async def test_a_document_that_kills_again_and_again_is_given_up(worker_classes: str) -> None:
    with pytest.raises(DocumentError, match=f"given up at page {MAX_LOST_IN_A_ROW}"):
        await read(EXAMPLES, Documents(), target=f"{worker_classes}:DiesAlways")


async def test_pages_that_kill_are_borne_while_others_between_them_are_read(worker_classes: str) -> None:
    _, pages = await read(EXAMPLES, Documents(), target=f"{worker_classes}:DiesOften")
    assert [page.number for page in pages if not page.problem] == [3, 6]


async def test_a_document_that_kills_at_its_opening_has_failed(worker_classes: str) -> None:
    with pytest.raises(DocumentError, match="brings down the reader"):
        await read(EXAMPLES, Documents(), target=f"{worker_classes}:DiesOpening")


async def test_who_stops_reading_leaves_no_worker(settings: Documents) -> None:
    import psutil

    before = set(psutil.Process().children())
    items = DocumentParser(settings).parse(EXAMPLES / "washing-machine-manual.pdf", "manual.pdf")
    await anext(items)
    await items.aclose()
    assert set(psutil.Process().children()) <= before


async def test_the_daemon_imports_nothing_that_reads_documents() -> None:
    heavy = ("numpy", "PIL", "pypdf", "pypdfium2", "py3langid")
    code = f"import sys, tarsd.documents.jobs; print([name for name in {heavy} if name in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"


def test_a_page_with_a_mass_of_text_comes_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse_worker, "_CHUNKS_PER_MESSAGE", 2)
    chunks = [Chunk(1, number, number + 1, "x") for number in range(5)]
    messages = list(parse_worker._messages(1, iter(chunks), parse_worker.PageText("")))
    assert len(messages) == 3
    assert len(list(parse_worker._messages(1, iter([]), parse_worker.PageText("")))) == 1
