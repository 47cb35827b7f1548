"""A rendition that shows other pages than the original is never accepted, whoever made it: here the real Ghostscript.

Ghostscript ends with 0 and writes a valid, blank PDF/A out of files that no reader opens. No rung uses it; these are
what it made, put in the place of what our rungs write.
"""

import io
import shutil
import subprocess
from pathlib import Path

import pikepdf
import pypdfium2
import pytest

from minutier.errors import RefusedDocumentError
from tasks import drawing, pdfa, raster
from tasks.limits import Limits
from tasks.render import render
from tasks.samples.paper import Paper, draw
from tasks.screen import screen

PAPER = Paper("Mairie", "Arrêté", "", (("Numéro", "42"),), (("Objet", "Un permis est accordé. " * 30),), "Le maire")
needs_gs = pytest.mark.skipif(shutil.which("gs") is None, reason="Ghostscript is absent")


def ghostscript(source: Path, target: Path) -> Path:
    """Convert with Ghostscript; it must say that all went well."""
    command = ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-dPDFA=2", "-sDEVICE=pdfwrite"]
    command += [f"-sOutputFile={target}", str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert target.stat().st_size > 0
    return target


def damaged(folder: Path) -> Path:
    path = folder / "damaged.pdf"
    path.write_bytes(draw(PAPER)[:60])
    return path


@needs_gs
def test_what_ghostscript_makes_of_nothing_is_not_our_rendition(tmp_path):
    blank = ghostscript(damaged(tmp_path), tmp_path / "blank.pdf")
    pypdfium2.PdfDocument(blank)  # readers open it
    with pytest.raises(RefusedDocumentError):
        screen(damaged(tmp_path), "damaged.pdf", Limits(), None)
    report = render(damaged(tmp_path), "application/pdf", tmp_path / "out.pdf", Limits(), 1)
    assert (report.verdict, report.rung) == ("failed", "original-only")
    assert not (tmp_path / "out.pdf").exists()


@needs_gs
def test_a_fabricated_page_is_seen_by_both_comparisons(tmp_path):
    original = tmp_path / "original.pdf"
    original.write_bytes(draw(PAPER))
    good = ghostscript(original, tmp_path / "good.pdf")
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=pypdfium2.PdfDocument(original)[0].get_size())
        pdf.save(tmp_path / "empty.pdf")
    blank = ghostscript(tmp_path / "empty.pdf", tmp_path / "blank.pdf")
    assert raster.largest_difference(str(original), str(good)) < 24
    assert raster.largest_difference(str(original), str(blank)) > 100
    assert not drawing.equal(original, blank)


@pytest.mark.parametrize("planted", ["blank", "other", "fewer", "more"])
def test_a_converter_that_writes_other_pages_is_caught(tmp_path, monkeypatch, planted):
    """Planted in each rung that compares: what it writes is taken away, and the original stays alone."""
    original = tmp_path / "original.pdf"
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.pages.append(pdf.pages[0])
        pdf.save(original)
    real = pikepdf.pdfa.save

    def fabricate(pdf, *arguments, **options):
        if planted == "fewer":
            del pdf.pages[1]
        elif planted == "more":
            pdf.pages.append(pdf.pages[0])
        else:
            page = pdf.pages[0]
            page.contents_add(b"1 1 1 rg 0 0 2000 2000 re f" if planted == "blank" else b"0 0 0 rg 9 9 40 40 re f")
        return real(pdf, *arguments, **options)

    monkeypatch.setattr("pikepdf.pdfa.save", fabricate)
    structural = pdfa.convert_pdf(str(original), str(tmp_path / "structural.pdf"))
    drawn = raster.rasterise(str(original), str(tmp_path / "drawn.pdf"))
    assert (structural["verdict"], structural["reason"]) == ("failed", "DRAWING_DIFFERS")
    assert (drawn["verdict"], drawn["reason"]) == ("failed", "DRAWING_DIFFERS")
    assert not (tmp_path / "drawn.pdf").exists()
