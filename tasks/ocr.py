"""Text recognised under the images of scanned pages (tesseract), as PDF/A. These functions run in the isolated child.

The page is drawn once, tesseract reads the drawing and gives a page of invisible text, which is laid under the
untouched page: what a reader sees stays what it was, which is compared afterwards. Recognised text may be wrong; the
image is the document, and the report says so.
"""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import raster, sandbox
from tasks.pdfa import answer, denied, save_pdfa

PROGRAM = "tesseract"
LANGUAGE = "fra"
DPI = 300
MAX_PAGES = 200
_LEAST_CHARACTERS = 8
"""A page with fewer characters than this has no text of its own: a stamp or a page number put on a scan."""
_MOST = 1
"""Largest difference of tiles that invisible text may make to a page, 0 to 255: rounding."""


@dataclass(slots=True)
class _Read:
    words: int = 0
    confidence: float = 0.0
    pages: int = 0


def recognise(original: str, output: str, language: str = LANGUAGE) -> dict[str, Any]:
    """Write a copy of a PDF with recognised text under every page that has none.

    "not_checked" with a reason where there is nothing to do: NO_OCR (no engine), HAS_TEXT, NO_WORDS, TOO_MANY_PAGES.
    `words` are those found, `confidence` is their mean, in percent.
    """
    import pikepdf
    from pikepdf import pdfa

    if not sandbox.version_of(PROGRAM):
        return answer("not_checked", "original-only", "NO_OCR")
    scans = textless_pages(original)
    if not scans or len(scans) > MAX_PAGES:
        return answer("not_checked", "original-only", "TOO_MANY_PAGES" if scans else "HAS_TEXT")
    found = _Read()
    with (
        tempfile.TemporaryDirectory(prefix=".ocr-", dir=Path(output).parent) as directory,
        pikepdf.open(original, attempt_recovery=False, suppress_warnings=True) as pdf,
    ):
        for number in scans:
            layer = _read_page(original, number, Path(directory), language, found)
            if layer is not None:
                with pikepdf.open(layer) as text:
                    page = pdf.pages[number]
                    page.add_underlay(text.pages[0], pikepdf.Rectangle(page.cropbox))
        if not found.words:
            return _with_engine(answer("not_checked", "original-only", "NO_WORDS", pages=len(pdf.pages)))
        pages, flavour = len(pdf.pages), "3b" if len(pdf.attachments) else "2b"
        try:
            prepared = save_pdfa(pdf, Path(output), flavour)
        except pdfa.PdfaError as error:
            return _with_engine(denied(error.report, "original-only", flavour) | {"pages": pages})
    worst = raster.largest_difference(original, output)
    more: dict[str, Any] = {"flavour": flavour, "pages": pages, "difference": worst, "words": found.words}
    if worst > _MOST:
        Path(output).unlink()
        return _with_engine(answer("failed", "original-only", "DRAWING_DIFFERS", drawing="different", **more))
    confidence = round(found.confidence / found.words)
    said = f"Text was recognised under {found.pages} page(s), in {language}, with a mean confidence of {confidence} %."
    changes = [said, "It may be wrong: the image is the document.", *prepared]
    return _with_engine(answer("passed", "pdfa-ocr", changes=changes, confidence=confidence, **more))


def textless_pages(original: str) -> list[int]:
    """Give the pages, from 0, that draw something and have no text of their own."""
    import pypdfium2

    document = pypdfium2.PdfDocument(original)
    found = []
    for number in range(len(document)):
        page = document[number]
        if page.get_textpage().count_chars() < _LEAST_CHARACTERS and next(page.get_objects(max_depth=3), None):
            found.append(number)
    return found


def _read_page(original: str, number: int, folder: Path, language: str, found: _Read) -> Path | None:
    """Give the page of invisible text that tesseract made of a page, None when it found no word; counts its words."""
    import pypdfium2

    page = pypdfium2.PdfDocument(original)[number]
    dpi = min(DPI, raster.resolution(page.get_size(), DPI))
    picture = page.render(scale=dpi / 72, grayscale=True, may_draw_forms=False).to_pil().convert("L")
    picture.save(folder / "page.pgm")  # not packed: packing costs more than reading it
    options = ["-l", language, "--dpi", str(dpi), "-c", "textonly_pdf=1"]
    for name in ("text.pdf", "text.tsv"):
        (folder / name).unlink(missing_ok=True)
    sandbox.run_program([PROGRAM, "page.pgm", "text", *options, "pdf", "tsv"], folder)
    words = _confidences(folder / "text.tsv")
    if not words or not (folder / "text.pdf").is_file():
        return None
    found.words += len(words)
    found.confidence += sum(words)
    found.pages += 1
    return folder / "text.pdf"


def _confidences(table: Path) -> list[float]:
    """Read the confidence of each word, in percent, in what tesseract tells (TSV, level 5)."""
    if not table.is_file():
        return []
    rows = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8")), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [float(row["conf"]) for row in rows if row["level"] == "5" and (row["text"] or "").strip()]


def _with_engine(found: dict[str, Any]) -> dict[str, Any]:
    found["tools"] = {**found["tools"], "tesseract": sandbox.version_of(PROGRAM), "sandbox": sandbox.walls()}
    return found
