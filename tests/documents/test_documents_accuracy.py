"""Figures: how well and how fast pages are read; `-s` shows them. The outside sets need TARSD_TEST_DATA."""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from PIL import Image

from tarsd.config.schema import Documents
from tarsd.documents import tesseract
from tarsd.documents.ocr import Ocr, PageText
from tarsd.documents.pages import Opened, Page
from tarsd.documents.parser import DocumentParser
from tarsd.documents.pdf import open_pdf
from tarsd.errors import DocumentError
from tests.documents.accuracy import error_rates
from tests.documents.conftest import EXAMPLES

needs_tesseract = pytest.mark.skipif(
    shutil.which("tesseract") is None or not {"eng", "spa", "osd"} <= tesseract.installed(),
    reason="tesseract with eng, spa and osd is not installed",
)

# What neither PDFium nor pypdf can open.
UNREADABLE = {"unreadablemetadata.pdf"}

# CER allowed of each scan: what was measured, and a little for other versions of tesseract.
SCANS = {
    ("phototest.tif", "phototest.gold.txt"): 0.01,
    ("phototest-rotated-L.png", "phototest.gold.txt"): 0.01,
    ("phototest-rotated-R.png", "phototest.gold.txt"): 0.01,
    ("phototest-rotated-180.png", "phototest.gold.txt"): 0.01,
    ("eurotext.tif", "eurotext.txt"): 0.03,
    ("8071_093.3B.tif", "8071_093.3B.txt"): 0.05,
    ("8087_054.3B.tif", "8087_054.3B.txt"): 0.05,
}


def timed(picture: Image.Image, hint: str = "") -> tuple[PageText, float]:
    began = time.perf_counter()
    page = Ocr(("eng", "spa")).read(picture, hint, 60)
    return page, time.perf_counter() - began


@needs_tesseract
def test_the_scanned_example_is_read_almost_without_error() -> None:
    spec = importlib.util.spec_from_file_location("make_examples", EXAMPLES / "make_examples.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    truth = " ".join(text.removeprefix("# ") for text in made.INVOICE)
    picture = open_pdf(str(EXAMPLES / "contrato-y-factura.pdf"), "contrato").raster(1, 200)
    assert picture is not None
    page, seconds = timed(picture)
    cer, wer = error_rates(truth, page.text)
    print(f"\nexample invoice: CER {cer:.4f} WER {wer:.4f} {seconds:.2f} s")
    assert cer < 0.01
    assert wer < 0.03


@needs_tesseract
@pytest.mark.parametrize(("scan", "allowed"), SCANS.items())
def test_scans_with_known_text(outside_data: Path, scan: tuple[str, str], allowed: float) -> None:
    folder = outside_data / "ocr-gt"
    truth = (folder / scan[1]).read_text(encoding="utf-8", errors="replace")
    with Image.open(folder / scan[0]) as image:
        dpi = image.info.get("dpi", (200, 200))
        picture = image.convert("L")
    texts, seconds = [], 0.0
    for part in zones(picture, (folder / scan[0]).with_suffix(".uzn")):
        part.info["dpi"] = dpi
        page, took = timed(part)
        texts.append(page.text)
        seconds += took
    cer, wer = error_rates(truth, "\n".join(texts))
    print(f"\n{scan[0]}: CER {cer:.4f} WER {wer:.4f} {seconds:.2f} s in {len(texts)} zones")
    assert cer <= allowed


def zones(picture: Image.Image, path: Path) -> list[Image.Image]:
    """Return the parts of the page that the known text is of: lines of "left top width height name"."""
    if not path.exists():
        return [picture]
    boxes = [[int(word) for word in line.split()[:4]] for line in path.read_text().splitlines() if line.strip()]
    return [picture.crop((left, top, left + width, top + height)) for left, top, width, height in boxes]


async def test_pdf_samples_are_read_or_refused_with_a_reason(outside_data: Path) -> None:
    folder = outside_data / "pdf-samples"
    times: list[float] = []
    refused: dict[str, str] = {}
    for entry in json.loads((folder / "files.json").read_text())["data"]:
        path = folder / entry["path"]
        if not path.exists():
            continue
        pages: set[int] = set()
        opened: Opened | None = None
        began = time.perf_counter()
        try:
            async with aclosing(DocumentParser(Documents()).parse(path, path.name)) as items:
                async for item in items:
                    if isinstance(item, Opened):
                        opened = item
                    elif isinstance(item, Page):
                        pages.add(item.number)
                        times.append(time.perf_counter() - began)
                    began = time.perf_counter()
        except DocumentError as error:
            refused[path.name] = str(error)
        if entry["encrypted"]:
            assert "encrypted" in refused[path.name]
        elif path.name in UNREADABLE:
            assert "broken" in refused[path.name]
        else:
            assert opened is not None, refused
            assert opened.pages == entry["pages"]
            assert pages == set(range(1, entry["pages"] + 1))
    print(
        f"\n{len(times)} pages, median {statistics.median(times):.3f} s, slowest {max(times):.2f} s; refused: {refused}"
    )
