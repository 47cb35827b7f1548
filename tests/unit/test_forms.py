"""The rung for filled forms: what the fields show becomes part of the page, and nothing is lost or made up."""

import io

import pikepdf
import pypdfium2 as pdfium
import pytest
from pikepdf import pdfa

from tasks import forms
from tasks.limits import Limits
from tasks.render import render
from tasks.samples import varied
from tasks.samples.paper import Paper, draw

PAPER = Paper("Service des essais", "Cerfa d'essai", "", (("Numéro", "1"),), (("Objet", "Une demande."),))


def form(value="M. Dupont", *, embedded=True, hidden=False, needs=False):
    """Give a paper with one filled field; its appearance uses the paper's own font, or one that is not embedded."""
    with pikepdf.open(io.BytesIO(draw(PAPER))) as pdf:
        page = pdf.pages[0]
        fonts = page.resources.Font
        own = next(
            each
            for each in fonts.values()
            if "DejaVu" in str(each.get("/BaseFont")) or "Vera" in str(each.get("/BaseFont"))
        )
        helvetica = pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica
        )
        font = own if embedded else pdf.make_indirect(helvetica)
        words = b"" if embedded else b"BT /F 10 Tf 4 4 Td (\\000\\001) Tj ET "
        stream = pdf.make_stream(
            b"/Tx BMC q 0.2 0.4 0.9 rg 2 2 60 12 re f Q q 0 g " + words + b"Q EMC",
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Form,
            BBox=pikepdf.Array([0, 0, 200, 20]),
            Resources=pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font)),
        )
        field = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot,
                Subtype=pikepdf.Name.Widget,
                FT=pikepdf.Name.Tx,
                T=pikepdf.String("nom"),
                V=pikepdf.String(value),
                Rect=pikepdf.Array([100, 300, 300, 320]),
                F=2 if hidden else 4,
                P=page.obj,
                DA=pikepdf.String("/F 10 Tf 0 g"),
                AP=pikepdf.Dictionary(N=stream),
            )
        )
        page.obj.Annots = pikepdf.Array([field])
        pdf.Root.AcroForm = pikepdf.Dictionary(
            Fields=pikepdf.Array([field]),
            DR=pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font)),
        )
        if needs:
            pdf.Root.AcroForm.NeedAppearances = True
        target = io.BytesIO()
        pdf.save(target)
    return target.getvalue()


def rendered(folder, data):
    (folder / "original").write_bytes(data)
    output = folder / "rendition.pdf"
    return render(folder / "original", "application/pdf", output, Limits(), 1), output


def test_what_a_field_shows_is_part_of_the_page(tmp_path):
    report, output = rendered(tmp_path, form())
    assert (report.rung, report.verdict, report.reason) == ("pdfa-forms", "passed", "")
    assert report.difference is not None
    assert report.difference <= 16
    assert "The form was flattened" in report.changes[0]
    assert pdfa.validate_written(output, "2b").passed
    with pikepdf.open(output) as pdf:
        assert "/AcroForm" not in pdf.Root
        assert "/Annots" not in pdf.pages[0].obj
    picture = pdfium.PdfDocument(output)[0].render(scale=1).to_pil()
    assert picture.getpixel((110, int(841.89 - 308)))[2] > 150  # the blue of the field
    assert "Une demande." in pdfium.PdfDocument(output)[0].get_textpage().get_text_range()


def test_a_field_that_nobody_sees_stays_unseen(tmp_path):
    report, output = rendered(tmp_path, form(hidden=True))
    assert report.rung == "pdfa-forms"
    picture = pdfium.PdfDocument(output)[0].render(scale=1).to_pil()
    assert picture.getpixel((110, int(841.89 - 308))) == (255, 255, 255)


def test_a_field_in_a_font_that_is_not_embedded_is_drawn_as_an_image(tmp_path):
    report, _ = rendered(tmp_path, form(embedded=False))
    assert report.rung == "pdfa-raster"


def test_a_signed_paper_keeps_its_text_and_says_where_its_signature_is(tmp_path):
    report, output = rendered(tmp_path, varied.signed(draw(PAPER)))
    assert (report.rung, report.difference) == ("pdfa-forms", 0)
    assert "Electronic signatures can be verified on the original only." in report.changes
    assert "Une demande." in pdfium.PdfDocument(output)[0].get_textpage().get_text_range()


def test_links_stay(tmp_path):
    with pikepdf.open(io.BytesIO(varied.signed(draw(PAPER)))) as pdf:
        link = pikepdf.Dictionary(
            Type=pikepdf.Name.Annot,
            Subtype=pikepdf.Name.Link,
            Rect=pikepdf.Array([10, 10, 50, 50]),
            F=4,
            A=pikepdf.Dictionary(S=pikepdf.Name.URI, URI=pikepdf.String("https://example.org/")),
            Border=pikepdf.Array([0, 0, 0]),
        )
        pdf.pages[0].obj.Annots.append(pdf.make_indirect(link))
        target = io.BytesIO()
        pdf.save(target)
    report, output = rendered(tmp_path, target.getvalue())
    assert report.rung == "pdfa-forms"
    with pikepdf.open(output) as pdf:
        assert [str(each.Subtype) for each in pdf.pages[0].obj.Annots] == ["/Link"]


@pytest.mark.parametrize("spoil", ["drawing", "words"])
def test_a_flattening_that_loses_something_is_not_taken(tmp_path, monkeypatch, spoil):
    """A flattening that draws something else, or drops a word: planted here, in the process that would do it."""
    original, output = tmp_path / "a.pdf", tmp_path / "b.pdf"
    original.write_bytes(form())
    if spoil == "drawing":
        monkeypatch.setattr(
            pikepdf.Pdf, "flatten_annotations", lambda self, _mode: self.pages[0].obj.__delitem__("/Annots")
        )
    else:
        counted = iter(({"mot": 2}, {"mot": 1}))
        monkeypatch.setattr(forms, "_words", lambda _document: forms.Counter(next(counted)))
    answer = forms.flatten_forms(str(original), str(output))
    assert (answer["verdict"], answer["reason"]) == (
        "failed",
        "DRAWING_DIFFERS" if spoil == "drawing" else "TEXT_DIFFERS",
    )
    assert not output.exists()


def test_without_a_form_there_is_nothing_to_do(tmp_path):
    (tmp_path / "a.pdf").write_bytes(draw(PAPER))
    assert forms.flatten_forms(str(tmp_path / "a.pdf"), str(tmp_path / "b.pdf"))["reason"] == "NO_FORM"
