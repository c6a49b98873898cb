"""Where the documents of these tests come from: the repository's examples, PDFs made on the spot, outside data."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from tarsd.config.schema import Documents

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

MakePdf = Callable[..., Path]


@pytest.fixture
def worker_classes(monkeypatch: pytest.MonkeyPatch) -> str:
    """The module of this folder's worker classes, importable in a child process."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return "parse_worker_classes"


@pytest.fixture
def settings() -> Documents:
    return Documents()


@pytest.fixture
def make_pdf(tmp_path: Path) -> MakePdf:
    """Return a function that writes a PDF: each page is a text, or a picture that covers it, or nothing (None)."""

    def make(*pages: str | Image.Image | None, name: str = "made.pdf", encrypt: str | None = None) -> Path:
        path = tmp_path / name
        canvas = Canvas(str(path), pagesize=(595, 842), encrypt=encrypt)
        for page in pages:
            if isinstance(page, str):
                lines = canvas.beginText(60, 780)
                lines.textLines(page)
                canvas.drawText(lines)
            elif page is not None:
                picture = io.BytesIO()
                page.save(picture, "PNG")
                canvas.drawImage(ImageReader(picture), 0, 0, 595, 842)
            canvas.showPage()
        canvas.save()
        return path

    return make


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """The folder of test data that is no part of the repository (PDF samples, scans with their text)."""
    folder = os.environ.get("TARSD_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TARSD_TEST_DATA names no folder with pdf-samples and ocr-gt")
    return Path(folder)
