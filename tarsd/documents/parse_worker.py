"""The class that runs in the parse worker: opens one document and reads it page by page.

It lives in a child process without network and with little memory, since PDFs from outside are its input. It serves one
document in its life: what a document does to it, it does to itself alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tarsd.config.schema import Documents
from tarsd.documents import language as languages
from tarsd.documents import sniff
from tarsd.documents.chunk import Chunk, chunk, sections
from tarsd.documents.ocr import Ocr, PageText, is_blank
from tarsd.documents.pages import Opened, OpenRequest, Page, PageRequest
from tarsd.documents.pdf import PageBroken, PdfFile, open_pdf
from tarsd.documents.tesseract import OcrFailed
from tarsd.documents.textlayer import clean, count_letters, is_junk, is_usable
from tarsd.errors import DocumentError
from tarsd.wire import MIB, decode, encode

if TYPE_CHECKING:
    from PIL.Image import Image

# A text file is held in memory whole, and costs about eight times its size there.
MAX_TEXT_MIB = 32
_SECTION_CHARACTERS = 100_000
_MAX_PAGE_CHARACTERS = 2_000_000  # of one PDF page: guards the worker's time against a text bomb
_CHUNKS_PER_MESSAGE = 200  # keeps a message far below the frame's bound


class ParseWorker:
    """Reads documents; built in the child with the msgpack of `config.Documents`."""

    def __init__(self, settings: bytes) -> None:
        self._settings = decode(settings, Documents)
        self._ocr: Ocr | None = None
        self._pdf: tuple[str, PdfFile] | None = None

    def open(self, request: bytes) -> Iterator[bytes]:
        """Yield one `Opened`; raises `DocumentError`."""
        asked = decode(request, OpenRequest)
        if _kind(asked.path, asked.file) == "text":
            _read_text(asked.path, asked.file)
            yield encode(Opened("text", 1))
            return
        pages = self._open_pdf(asked.path, asked.file).pages
        if pages == 0:
            raise DocumentError(f"{asked.file} has no pages")
        if pages > self._settings.max_pages:
            raise DocumentError(
                f"{asked.file} has {pages} pages; documents.max_pages allows {self._settings.max_pages}"
            )
        yield encode(Opened("pdf", pages))

    def page(self, request: bytes) -> Iterator[bytes]:
        """Yield a `Page` or several of them for the page that is asked for; raises `DocumentError`."""
        asked = decode(request, PageRequest)
        if _kind(asked.path, asked.file) == "text":
            yield from self._text_file(asked)
        else:
            yield from self._pdf_page(asked)

    def _text_file(self, asked: PageRequest) -> Iterator[bytes]:
        text = _read_text(asked.path, asked.file)
        for start, end in sections(text, _SECTION_CHARACTERS):
            chunks = self._chunks(PageText(text[start:end], language=asked.language), 0, start)
            yield from _messages(0, chunks, PageText(""))

    def _pdf_page(self, asked: PageRequest) -> Iterator[bytes]:
        page = self._read_page(self._open_pdf(asked.path, asked.file), asked)
        yield from _messages(asked.number, self._chunks(page, asked.number, 0), page)

    def _read_page(self, pdf: PdfFile, asked: PageRequest) -> PageText:
        """Return the page's text: of its text layer, or by OCR where that is missing or junk."""
        index = asked.number - 1
        try:
            layer = clean(pdf.text(index)[:_MAX_PAGE_CHARACTERS])
            if is_usable(layer, pdf.picture_share(index)):
                return PageText(layer, language=languages.detect(layer))
            picture = pdf.raster(index, self._settings.ocr_dpi)
        except PageBroken as error:
            return PageText("", problem=f"the page is broken: {error}")
        if is_junk(layer):
            layer = ""
        if picture is None:
            return PageText(
                layer,
                problem="" if layer else "it has no text layer, and only its text can be read: the file is damaged",
            )
        if is_blank(picture):
            return PageText(layer)
        try:
            page = self._read_picture(picture, asked)
        except OcrFailed as error:
            return PageText(layer, problem=str(error))
        return page if count_letters(page.text) >= count_letters(layer) else PageText(layer)

    def _read_picture(self, picture: Image, asked: PageRequest) -> PageText:
        if self._ocr is None:
            self._ocr = Ocr(self._settings.ocr_languages)
        return self._ocr.read(picture, asked.language, asked.seconds)

    def _chunks(self, page: PageText, number: int, offset: int) -> Iterator[Chunk]:
        """Yield the passages with their languages; a short one has that of its page."""
        settings = self._settings
        usual = page.language or languages.detect(page.text)
        for one in chunk(page.text, number, words=settings.passage_words, overlap=settings.passage_overlap_words):
            language = languages.detect(one.text) or usual
            yield Chunk(number, one.start + offset, one.end + offset, one.text, language)

    def _open_pdf(self, path: str, file: str) -> PdfFile:
        if self._pdf is None or self._pdf[0] != path:
            self._pdf = path, open_pdf(path, file)
        return self._pdf[1]


def _messages(number: int, chunks: Iterator[Chunk], page: PageText) -> Iterator[bytes]:
    """Yield `Page` messages; at least one, since a page without text is an answer too."""
    batch: list[Chunk] = []
    sent = False
    for one in chunks:
        batch.append(one)
        if len(batch) == _CHUNKS_PER_MESSAGE:
            yield _message(number, batch, page)
            batch, sent = [], True
    if batch or not sent:
        yield _message(number, batch, page)


def _message(number: int, batch: list[Chunk], page: PageText) -> bytes:
    language = page.language or (batch[0].language if batch else "")
    return encode(Page(number, batch, page.ocr, language, page.confidence, page.problem))


def _kind(path: str, file: str) -> str:
    with Path(path).open("rb") as stream:
        return sniff.kind_of(stream.read(sniff.HEAD_BYTES), file)


def _read_text(path: str, file: str) -> str:
    data = Path(path).read_bytes()
    if len(data) > MAX_TEXT_MIB * MIB:
        raise DocumentError(f"{file} is a text file of {len(data) // MIB} MiB; up to {MAX_TEXT_MIB} MiB are read")
    text = sniff.decode_text(data)
    if not text.strip():
        raise DocumentError(f"{file} holds no text")
    return text
