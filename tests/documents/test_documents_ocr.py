"""Each rule of `tarsd.documents.ocr`, with the real tesseract."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image, ImageDraw

from tarsd.documents import tesseract
from tarsd.documents.ocr import Ocr, is_blank
from tarsd.documents.tesseract import OcrFailed, Reading
from tests.documents.conftest import EXAMPLES

pytestmark = pytest.mark.skipif(
    shutil.which("tesseract") is None or not {"eng", "spa", "osd"} <= tesseract.installed(),
    reason="tesseract with eng, spa and osd is not installed",
)


def raster(path: Path, page: int, dpi: int = 200) -> Image.Image:
    picture = pypdfium2.PdfDocument(path)[page].render(scale=dpi / 72, grayscale=True).to_pil().convert("L")
    picture.info["dpi"] = (dpi, dpi)
    return picture


@pytest.fixture(scope="module")
def invoice() -> Image.Image:
    return raster(EXAMPLES / "contrato-y-factura.pdf", 1)


@pytest.fixture(scope="module")
def manual() -> Image.Image:
    return raster(EXAMPLES / "washing-machine-manual.pdf", 4)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The languages of every pass that tesseract is asked for, in order."""
    passes: list[tuple[str, ...]] = []
    real = tesseract.recognise

    def recognise(picture: Image.Image, languages: tuple[str, ...], seconds: float) -> Reading:
        passes.append(languages)
        return real(picture, languages, seconds)

    monkeypatch.setattr(tesseract, "recognise", recognise)
    return passes


def test_without_a_hint_the_language_is_found_out(invoice: Image.Image, asked: list[tuple[str, ...]]) -> None:
    page = Ocr(("eng", "spa")).read(invoice, "", 60)
    assert page.language == "es"
    assert "próxima revisión" in page.text
    assert asked == [("eng", "spa")]


def test_a_wrong_hint_is_noticed_and_the_page_read_again(invoice: Image.Image, asked: list[tuple[str, ...]]) -> None:
    page = Ocr(("eng", "spa")).read(invoice, "en", 60)
    assert asked == [("eng",), ("spa",)]
    assert "señora" in page.text


def test_a_right_hint_costs_one_pass(manual: Image.Image, asked: list[tuple[str, ...]]) -> None:
    page = Ocr(("spa", "eng")).read(manual, "en", 60)
    assert asked == [("eng",)]
    assert page.language == "en"
    assert page.problem == ""


def test_what_is_wanted_but_not_installed_is_left_out(manual: Image.Image, asked: list[tuple[str, ...]]) -> None:
    Ocr(("xho", "eng")).read(manual, "", 60)
    assert asked == [("eng",)]


def test_a_missing_language_is_told(invoice: Image.Image) -> None:
    page = Ocr(("eng",)).read(invoice, "", 60)
    assert "'es'" in page.problem
    assert "'spa'" in page.problem


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_is_read_upright(manual: Image.Image, turn: int) -> None:
    turned = manual.rotate(turn, expand=True)
    turned.info["dpi"] = (200, 200)
    assert "Clean the pump filter" in Ocr(("eng",)).read(turned, "", 60).text


def test_a_turned_page_is_read_upright_where_the_detector_is_missing(
    manual: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tesseract, "rotation", lambda picture, seconds: None)
    assert "Clean the pump filter" in Ocr(("eng",)).read(manual.rotate(180), "", 60).text


def test_a_photograph_is_no_text() -> None:
    photo = Image.effect_noise((800, 1000), 90).convert("L")
    page = Ocr(("eng",)).read(photo, "", 60)
    assert page.text == ""


def test_a_reading_that_tesseract_is_unsure_of_is_dropped(manual: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tesseract, "recognise", lambda picture, languages, seconds: Reading("~}i |l", 20.0))
    page = Ocr(("eng",)).read(manual, "", 60)
    assert (page.text, page.problem) == ("", "no text could be made out in its picture")


def test_the_time_for_a_page_is_bounded(manual: Image.Image) -> None:
    with pytest.raises(OcrFailed, match="OCR took longer"):
        Ocr(("eng",)).read(manual, "", 0.05)


def test_threads_of_tesseract_do_not_fight(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "tesseract"
    words = r"header\n5\t1\t1\t1\t1\t1\t0\t0\t0\t0\t90\t%s\n"
    fake.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '{words}' $OMP_THREAD_LIMIT\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert tesseract.recognise(Image.new("L", (10, 10)), ("eng",), 5).text == "1"


def test_lines_and_paragraphs_are_kept() -> None:
    def row(paragraph: int, line: int, word: str, confidence: float) -> str:
        return f"5\t1\t1\t{paragraph}\t{line}\t1\t0\t0\t0\t0\t{confidence}\t{word}"

    table = "\n".join(["level", "4\t1\t1\t1\t1\t0\t0\t0\t0\t0\t-1\t", row(1, 1, "one", 90), row(1, 1, "two", 60)])
    table += "\n" + "\n".join([row(1, 2, "three", 90), row(2, 1, "four", 90), row(2, 1, " ", 95)])
    reading = tesseract._assemble(table)
    assert reading.text == "one two\nthree\n\nfour"
    assert reading.confidence == pytest.approx((12 * 90 + 3 * 60) / 15)


def test_paper_without_print_is_blank(make_page: Callable[[int], Image.Image]) -> None:
    assert is_blank(make_page(0))
    assert not is_blank(make_page(1))


@pytest.fixture
def make_page() -> Callable[[int], Image.Image]:
    def make(words: int) -> Image.Image:
        page = Image.blend(Image.new("L", (800, 1000), 240), Image.effect_noise((800, 1000), 20), 0.1)
        for number in range(words):
            ImageDraw.Draw(page).text((100, 100 + 40 * number), "Hello", fill=60, font_size=30)
        return page

    return make
