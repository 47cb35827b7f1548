"""Renditions: each rung, the drawing comparison, determinism, and faults that never become exceptions."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pikepdf
import pypdfium2 as pdfium
import pytest
from pikepdf import pdfa
from PIL import Image

from minutier import canonical
from tasks import drawing, pdf_bytes, raster
from tasks import pdfa as conversion
from tasks import render as render_module
from tasks.isolate import IsolationFaultError, close_workers
from tasks.limits import Limits
from tasks.render import RenditionReport, render
from tasks.samples import scans
from tasks.samples.paper import Paper, draw

LIMITS = Limits()
PDF = "application/pdf"
PAPER = Paper("Émetteur", "Titre", "Sous-titre", (("Champ", "valeur"),), (("Texte", "Un texte court. " * 40),), "Signé")


def _render(
    tmp_path: Path, data: bytes, media_type: str = PDF, limits: Limits = LIMITS
) -> tuple[RenditionReport, Path]:
    original, output = tmp_path / "original", tmp_path / "rendition.pdf"
    original.write_bytes(data)
    before = hashlib.sha256(data).digest()
    report = render(original, media_type, output, limits, 1)
    assert hashlib.sha256(original.read_bytes()).digest() == before
    assert output.exists() == report.has_file
    assert {path.name for path in tmp_path.iterdir()} <= {"original", "rendition.pdf"}
    canonical.encode(report.as_dict())
    return report, output


def _change(data: bytes, change: str = "") -> bytes:
    """Give the document with private keys, actions and dates without a zone, as office programs write them."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(data)) as pdf:
        pdf.trailer["/DocChecksum"] = pikepdf.Name("/ABCDEF")
        pdf.Root.OpenAction = pikepdf.Array([pdf.pages[0].obj, pikepdf.Name.Fit])
        pdf.pages[0].obj["/Thumb"] = pdf.make_stream(b"preview")
        pdf.docinfo["/CreationDate"] = "D:20260302093000"
        if change == "attachment":
            pdf.attachments["donnees.xml"] = b"<a/>"
        if change == "javascript":
            action = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=pikepdf.String("app.beep()"))
            pdf.Root.Names = pikepdf.Dictionary(
                JavaScript=pikepdf.Dictionary(Names=pikepdf.Array([pikepdf.String("a"), action]))
            )
        pdf.save(target)
    return target.getvalue()


def test_a_born_digital_paper_is_rewritten_and_draws_the_same(tmp_path: Path) -> None:
    report, output = _render(tmp_path, _change(draw(PAPER)))
    assert (report.verdict, report.rung, report.flavour, report.reason) == ("passed", "pdfa-structural", "2b", "")
    assert report.drawing_equal is True
    assert report.pages == 1
    assert dict(report.validators)["pikepdf.pdfa"] == pikepdf.__version__
    assert pdfa.validate_written(output, "2b").passed
    assert "Removed the private trailer key /DocChecksum." in report.changes
    assert "Removed the opening action of the document." in report.changes
    assert "Removed /Thumb from 1 page(s)." in report.changes
    with pikepdf.open(output) as pdf:
        assert str(pdf.docinfo["/CreationDate"]).endswith(("Z", "+00'00'", "+00'00"))
        assert b"MetadataDate" not in pdf.Root.Metadata.read_bytes()
    assert any("Assumed UTC" in sentence for sentence in report.changes)


def test_the_same_original_gives_the_same_bytes(tmp_path: Path) -> None:
    for data, kind in ((_change(draw(PAPER)), PDF), (scans.jpeg("Reçu", ["Ligne"], 1), "image/jpeg")):
        first = _render(tmp_path, data, kind)[1].read_bytes()
        assert _render(tmp_path, data, kind)[1].read_bytes() == first


def test_attachments_are_kept_in_pdfa_3(tmp_path: Path) -> None:
    report, output = _render(tmp_path, _change(draw(PAPER), "attachment"))
    assert (report.verdict, report.flavour) == ("passed", "3b")
    with pikepdf.open(output) as pdf:
        assert pdf.attachments["donnees.xml"].get_file().read_bytes() == b"<a/>"


def test_scripts_are_removed_and_said_so(tmp_path: Path) -> None:
    report, _ = _render(tmp_path, _change(draw(PAPER), "javascript"))
    assert report.verdict == "passed"
    assert any("JavaScript" in sentence for sentence in report.changes)


def test_restrictions_are_dropped_and_said_so(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.save(target, encryption=pikepdf.Encryption(owner="propriétaire", user=""))
    report, output = _render(tmp_path, target.getvalue())
    assert report.verdict == "passed"
    assert any("Usage restrictions" in sentence for sentence in report.changes)
    with pikepdf.open(output) as pdf:
        assert not pdf.is_encrypted


def test_a_conforming_original_is_its_own_rendition(tmp_path: Path) -> None:
    _, output = _render(tmp_path, draw(PAPER))
    pdfa_bytes = output.read_bytes()
    output.unlink()
    report, _ = _render(tmp_path, pdfa_bytes)
    assert (report.verdict, report.rung, report.flavour) == ("passed", "pdfa-original", "2b")
    # One byte after the end keeps the file readable and breaks clause 6.1.3: it is then rewritten.
    report, _ = _render(tmp_path, pdfa_bytes + b"\n\n")
    assert report.rung == "pdfa-structural"


def test_a_level_u_claim_is_verified_down_to_level_b(tmp_path: Path) -> None:
    path = tmp_path / "u.pdf"
    _, output = _render(tmp_path, draw(PAPER))
    with pikepdf.open(output) as pdf:
        metadata = pdf.Root.Metadata
        metadata.write(metadata.read_bytes().replace(b"<pdfaid:conformance>B<", b"<pdfaid:conformance>U<"))
        pdf.save(path, **pdfa.resolve_save_kwargs("2b"))
    data = path.read_bytes()
    path.unlink()
    report, _ = _render(tmp_path, data)
    assert (report.rung, report.flavour) == ("pdfa-original", "2b")
    assert any("level B floor" in sentence for sentence in report.changes)


def test_a_font_that_is_not_embedded_costs_the_rendition_not_the_original(tmp_path: Path) -> None:
    from reportlab.pdfgen.canvas import Canvas

    target = io.BytesIO()
    canvas = Canvas(target, invariant=1)
    canvas.drawString(100, 700, "Helvetica, non incorporée")
    canvas.save()
    report, output = _render(tmp_path, target.getvalue())
    assert (report.rung, report.verdict, report.reason) == ("pdfa-raster", "passed", "")
    assert 0 < len(report.findings) <= 10
    assert report.difference is not None
    assert report.difference <= 24
    assert "cannot be searched" in report.changes[0]
    assert pdfa.validate_written(output, "2b").passed
    with pikepdf.open(output) as pdf:
        assert [float(each) for each in pdf.pages[0].mediabox] == pytest.approx([0, 0, 595.28, 841.89], abs=1)


def _text(*lines: str) -> bytes:
    """Draw lines in a font that is not embedded, and begin a page after each that is empty."""
    from reportlab.pdfgen.canvas import Canvas

    target = io.BytesIO()
    canvas = Canvas(target, invariant=1)
    for number, line in enumerate(lines):
        canvas.drawString(100, 700 - 20 * number, line)
        if not line:
            canvas.showPage()
    canvas.save()
    return target.getvalue()


@pytest.mark.parametrize(
    "altered",
    [
        _text("Loyer : 1 200 euro par mois"),
        _text(""),
        _text("Loyer : 1 200 euros par mois", "", "une page de plus"),
    ],
    ids=["one-glyph-less", "blank", "one-page-more"],
)
def test_a_rendition_that_draws_something_else_is_seen(tmp_path: Path, altered: bytes) -> None:
    original, other = tmp_path / "original", tmp_path / "other"
    original.write_bytes(_text("Loyer : 1 200 euros par mois"))
    other.write_bytes(altered)
    assert raster.largest_difference(pdfium.PdfDocument(original), str(original)) == 0
    assert raster.largest_difference(pdfium.PdfDocument(original), str(other)) > raster.MOST_DIFFERENT


def test_a_large_plan_is_drawn_with_fewer_dots() -> None:
    assert raster.resolution((595, 842)) == 200
    assert raster.resolution((2384, 3370)) == 160
    assert raster.resolution((14400, 14400)) == 72


def test_what_page_images_cannot_carry_is_said(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(_text("jointe"))) as pdf:
        pdf.attachments["donnees.xml"] = b"<a/>"
        pdf.Root.Outlines = pikepdf.Dictionary(Type=pikepdf.Name.Outlines, Count=0)
        pdf.save(target)
    report, output = _render(tmp_path, target.getvalue())
    assert report.rung == "pdfa-raster"
    assert "1 attached file(s) are in the original only." in report.changes
    assert "Bookmarks are in the original only." in report.changes
    with pikepdf.open(output) as pdf:
        assert not len(pdf.attachments)


def test_dynamic_xfa_is_not_checked(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.Root.NeedsRendering = True
        pdf.save(target)
    assert _render(tmp_path, target.getvalue())[0].reason == "XFA_DYNAMIC"


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4\n", b"PK\x03\x04", draw(PAPER)[:5000]])
def test_damage_is_a_verdict(tmp_path: Path, data: bytes) -> None:
    report, _ = _render(tmp_path, data)
    assert (report.verdict, report.rung, report.reason) == ("failed", "original-only", "DAMAGED")


@pytest.mark.parametrize("code", ["TIMEOUT", "CPU", "MEMORY", "CRASH", "ERROR"])
def test_faults_of_the_child_are_verdicts(tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> object:
        raise IsolationFaultError(code, "No result.")

    monkeypatch.setattr(render_module, "run_isolated", fault)
    report, _ = _render(tmp_path, draw(PAPER))
    assert (report.verdict, report.rung, report.reason) == ("failed", "original-only", code)


def test_too_little_memory_is_a_verdict(tmp_path: Path) -> None:
    data = scans.png("Reçu", ["Ligne"], 1)
    # A new worker: one that has answered much has memory of its own to spare, which its children may use up first.
    close_workers()
    report, _ = _render(tmp_path, data, "image/png", Limits(memory_bytes=1 << 20))
    assert report.verdict == "failed"
    assert report.rung == "original-only"


def test_a_stale_output_never_survives(tmp_path: Path) -> None:
    (tmp_path / "rendition.pdf").write_bytes(b"from an earlier run")
    report, output = _render(tmp_path, b"%PDF-1.4\n")
    assert not report.has_file
    assert not output.exists()


@pytest.mark.parametrize("media_type", ["text/plain", "text/csv", "application/xml"])
def test_formats_without_converter(tmp_path: Path, media_type: str) -> None:
    report, _ = _render(tmp_path, b"texte", media_type)
    assert (report.verdict, report.rung, report.reason) == ("not_checked", "original-only", "NO_CONVERTER")


def _picture(kind: str, mode: str, **options: object) -> bytes:
    target = io.BytesIO()
    image = Image.linear_gradient("L").resize((120, 90)).convert("RGB").convert(mode)
    image.save(target, kind, **options)
    return target.getvalue()


@pytest.mark.parametrize(
    ("media_type", "data", "sentence"),
    [
        ("image/jpeg", _picture("JPEG", "RGB", dpi=(300, 300)), ""),
        ("image/jpeg", _picture("JPEG", "L"), "no resolution"),
        ("image/jpeg", _picture("JPEG", "CMYK", dpi=(300, 300)), "CMYK"),
        ("image/png", _picture("PNG", "RGB", dpi=(150, 150)), ""),
        ("image/png", _picture("PNG", "1"), "no resolution"),
        ("image/png", _picture("PNG", "P"), "no resolution"),
        ("image/png", _picture("PNG", "RGBA"), "Transparency"),
        ("image/tiff", _picture("TIFF", "RGB", compression="tiff_lzw", dpi=(200, 200)), ""),
        ("image/tiff", _picture("TIFF", "1", compression="group4", dpi=(200, 200)), ""),
    ],
)
def test_images(tmp_path: Path, media_type: str, data: bytes, sentence: str) -> None:
    report, output = _render(tmp_path, data, media_type)
    assert (report.verdict, report.rung, report.flavour, report.drawing_equal) == ("passed", "pdfa-image", "2b", True)
    assert pdfa.validate_written(output, "2b").passed
    assert any(sentence in change for change in report.changes)


def test_a_jpeg_is_inside_byte_for_byte(tmp_path: Path) -> None:
    data = _picture("JPEG", "RGB", dpi=(300, 300))
    _, output = _render(tmp_path, data, "image/jpeg")
    with pikepdf.open(output) as pdf:
        assert [image.read_raw_bytes() for image in pdf.pages[0].get_images().values()] == [data]


def test_every_frame_of_a_tiff_is_a_page(tmp_path: Path) -> None:
    target = io.BytesIO()
    frames = [Image.new("L", (80, 60), shade) for shade in (0, 128, 255)]
    frames[0].save(target, "TIFF", save_all=True, append_images=frames[1:], dpi=(200, 200))
    report, output = _render(tmp_path, target.getvalue(), "image/tiff")
    assert (report.verdict, report.pages) == ("passed", 3)
    with pikepdf.open(output) as pdf:
        assert len(pdf.pages) == 3


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("TIFF", "RGB", {}),
        ("TIFF", "1", {"compression": "group4"}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {}),
    ],
)
def test_a_picture_that_says_turn_me_is_turned_once(
    tmp_path: Path, kind: str, mode: str, options: dict[str, str]
) -> None:
    target, exif = io.BytesIO(), Image.Exif()
    exif[274] = 6  # a quarter turn clockwise
    picture = Image.new("RGB", (80, 40), "white")
    picture.paste("black", (0, 0, 40, 40))  # the left half: it comes to the top
    placing = {"tiffinfo": {274: 6}} if kind == "TIFF" else {"exif": exif}
    picture.convert(mode).save(target, kind, dpi=(72, 72), **placing, **options)
    report, output = _render(tmp_path, target.getvalue(), f"image/{kind.lower()}")
    assert report.verdict == "passed"
    page = pdfium.PdfDocument(output)[0].render().to_pil().convert("L")
    assert page.height > page.width
    assert page.getpixel((page.width // 2, page.height // 4)) < 100
    assert page.getpixel((page.width // 2, page.height * 3 // 4)) > 150


def test_a_form_whose_fields_are_no_list_is_a_verdict(tmp_path: Path) -> None:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=1)
        pdf.save(target)
    assert _render(tmp_path, target.getvalue())[0].reason != "ERROR"


def test_a_decompression_bomb_is_a_verdict(tmp_path: Path) -> None:
    target = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(target, "PNG")
    report, _ = _render(tmp_path, target.getvalue(), "image/png", Limits(max_pixels=1_000_000))
    assert (report.verdict, report.reason) == ("failed", "TOO_MANY_PIXELS")


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Titre", b"Tigre"), (b"0.13 .17 .24 rg", b"0.93 .17 .24 rg"), (b" re f", b" re n")],
)
def test_the_drawing_digest_sees_a_changed_page(tmp_path: Path, old: bytes, new: bytes) -> None:
    from reportlab.pdfgen.canvas import Canvas

    target = io.BytesIO()
    canvas = Canvas(target, invariant=1, pageCompression=0)
    canvas.setFillColorRGB(0.13, 0.17, 0.24)
    canvas.drawString(100, 700, "Titre")
    canvas.rect(100, 600, 50, 20, stroke=0, fill=1)
    canvas.save()
    first, second = tmp_path / "a.pdf", tmp_path / "b.pdf"
    first.write_bytes(target.getvalue())
    with pikepdf.open(first) as pdf:
        content = pdf.pages[0].Contents.read_bytes()
        changed = content.replace(old, new) if old in content else content + b"\n0 0 9 9 re f\n"
        assert changed != content
        pdf.pages[0].Contents = pdf.make_stream(changed)
        pdf.save(second)
    assert drawing.equal(first, first)
    assert not drawing.equal(first, second)


def test_the_drawing_digest_sees_a_turned_or_cropped_page_and_a_new_annotation(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pdf", tmp_path / "b.pdf"
    first.write_bytes(draw(PAPER))

    def turn(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].Rotate = 90

    def crop(pdf: pikepdf.Pdf) -> None:
        pdf.pages[0].CropBox = [0, 0, 300, 300]

    def annotate(pdf: pikepdf.Pdf) -> None:
        look = pdf.make_stream(
            b"0 0 20 20 re f", Type=pikepdf.Name.XObject, Subtype=pikepdf.Name.Form, BBox=[0, 0, 20, 20]
        )
        stamp = pikepdf.Dictionary(Subtype=pikepdf.Name.Stamp, Rect=[9, 9, 29, 29], AP=pikepdf.Dictionary(N=look), F=4)
        pdf.pages[0].Annots = pdf.make_indirect(pikepdf.Array([stamp]))

    for change in (turn, crop, annotate):
        with pikepdf.open(first) as pdf:
            change(pdf)
            pdf.save(second)
        assert not drawing.equal(first, second), change.__name__


def test_a_repacked_document_draws_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pdf", tmp_path / "b.pdf"
    first.write_bytes(scans.pdf("Reçu", [["Ligne"]], 3))
    with pikepdf.open(first) as pdf:
        pdf.save(second, compress_streams=False, stream_decode_level=pikepdf.StreamDecodeLevel.generalized)
    assert first.read_bytes() != second.read_bytes()
    assert drawing.equal(first, second)


@pytest.mark.parametrize(
    ("old", "new", "clause"),
    [
        (b"%PDF-1.", b"%PDF_1.", "6.1.2"),
        (b"%%EOF\n", b"%%EOF\n\n", "6.1.3"),
        (b"\nendstream", b"\n\nendstream", "6.1.7"),
        (b" 0 obj\n", b"  0 obj\n", "6.1.8"),
    ],
)
def test_byte_level_faults_of_a_pdfa_file_are_found(tmp_path: Path, old: bytes, new: bytes, clause: str) -> None:
    source, target = tmp_path / "a.pdf", tmp_path / "b.pdf"
    source.write_bytes(draw(PAPER))
    assert conversion.convert_pdf(str(source), str(target))["verdict"] == "passed"
    data = target.read_bytes()
    assert pdf_bytes.syntax_faults(data) == []
    assert old in data
    assert any(fault.startswith(clause) for fault in pdf_bytes.syntax_faults(data.replace(old, new, 1)))
