"""Opens a PDF: PDFium for text and pictures, pypdf for what PDFium refuses.

PDFium was measured 20 times faster than pypdf and truer to the page (.967 against .954); pypdf repairs some files that
PDFium calls broken, but has no raster, so their scanned pages stay unread and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import pypdfium2
import pypdfium2.raw as pdfium

from tarsd.errors import DocumentError

if TYPE_CHECKING:
    from PIL.Image import Image

POINTS_PER_INCH = 72
_MAX_PIXELS = 30_000_000  # 600 dpi of A4 is 35 million; guards against a page of many square metres


class PdfFile(Protocol):
    """An open PDF; page indexes count from 0. Any method may raise `PageBroken`."""

    pages: int

    def text(self, index: int) -> str:
        """Return the text layer as it is."""

    def picture_share(self, index: int) -> float:
        """Return how much of the page its pictures cover, 0 to 1 (overlaps count twice)."""

    def raster(self, index: int, dpi: int) -> Image | None:
        """Return the page as a grey picture; None where this reader cannot draw."""


class PageBroken(Exception):
    """A page that cannot be loaded; the rest of the document may be whole."""


def open_pdf(path: str, file: str) -> PdfFile:
    """Return the PDF, by whichever reader can; raises `DocumentError` with the reason for a person."""
    try:
        return PdfiumFile(path)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise DocumentError(f"{file} is encrypted: save a copy without a password") from error
        reason = str(error)
    try:
        return PypdfFile(path)
    except PermissionError as error:
        raise DocumentError(f"{file} is encrypted: save a copy without a password") from error
    except PageBroken as error:
        raise DocumentError(f"{file} is broken and cannot be repaired: {reason}") from error


class PdfiumFile:
    """A PDF that PDFium opened."""

    def __init__(self, path: str) -> None:
        self._document = pypdfium2.PdfDocument(path)
        self.pages = len(self._document)

    def text(self, index: int) -> str:
        """Return the text layer as it is."""
        return str(self._with_page(index, lambda page: page.get_textpage().get_text_range()))

    def picture_share(self, index: int) -> float:
        """Return how much of the page its pictures cover."""
        return float(self._with_page(index, _picture_share))

    def raster(self, index: int, dpi: int) -> Image | None:
        """Return the page as a grey picture, at fewer dpi where it would be huge."""

        def draw(page: Any) -> Any:
            width, height = page.get_size()
            scale = dpi / POINTS_PER_INCH
            scale = min(scale, (_MAX_PIXELS / max(width * height, 1.0)) ** 0.5)
            picture = page.render(scale=scale, grayscale=True).to_pil().convert("L")
            picture.info["dpi"] = (round(scale * POINTS_PER_INCH),) * 2
            return picture

        return self._with_page(index, draw)

    def _with_page(self, index: int, use: Callable[[Any], Any]) -> Any:
        try:
            page = self._document[index]
            try:
                return use(page)
            finally:
                page.close()
        except (pypdfium2.PdfiumError, ValueError) as error:
            raise PageBroken(str(error)) from error


def _picture_share(page: Any) -> float:
    width, height = page.get_size()
    covered: float = 0.0
    for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = picture.get_bounds()
        covered += max(0.0, min(right, width) - max(left, 0.0)) * max(0.0, min(top, height) - max(bottom, 0.0))
    return float(covered / max(width * height, 1.0))


class PypdfFile:
    """A PDF that only pypdf opens."""

    def __init__(self, path: str) -> None:
        """Open `path`; raises `PermissionError` when it is encrypted, `PageBroken` when it cannot be repaired."""
        from pypdf import PdfReader  # 0.2 s, and rarely needed

        # pypdf promises no exception class for a broken file: KeyError, RecursionError and others were seen.
        try:
            self._reader = PdfReader(path, strict=False)
            locked = self._reader.is_encrypted and not self._reader.decrypt("")
            self.pages = 0 if locked else len(self._reader.pages)
        except Exception as error:
            raise PageBroken(f"{type(error).__name__}: {error}") from error
        if locked:
            raise PermissionError("encrypted")

    def text(self, index: int) -> str:
        """Return the text layer as it is."""
        try:
            return str(self._reader.pages[index].extract_text())
        except Exception as error:
            raise PageBroken(f"{type(error).__name__}: {error}") from error

    def picture_share(self, index: int) -> float:
        """Return 0: nothing could be done with the answer."""
        return 0.0

    def raster(self, index: int, dpi: int) -> Image | None:
        """Return None: pypdf does not draw."""
        return None
