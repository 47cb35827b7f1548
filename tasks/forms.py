"""The rung for filled forms: what their fields show becomes part of the page, and stays text. Isolated child only.

PDF/A as it is written here has no interactive form, and a form that stays one may show something else tomorrow. What
is written is validated, drawn again and compared with the original, and no word of the original may be missing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.pdfa import answer, denied, drop_private, notices, save_pdfa
from tasks.raster import MOST_DIFFERENT, largest_difference

if TYPE_CHECKING:
    import pikepdf

_FLATTENED = "The form was flattened: what its fields show is part of the page, and can be filled no more."


def flatten_forms(original: str, output: str) -> dict[str, Any]:
    """Write a rendition whose form is part of its pages; "failed" with a reason where it is not the original's drawing.

    `NO_FORM`: there is no form with fields, or one that only an XFA reader can show.
    """
    import pikepdf
    import pypdfium2
    from pikepdf import pdfa

    with pikepdf.open(original, attempt_recovery=False, suppress_warnings=True) as pdf:
        pages = len(pdf.pages)
        form = pdf.Root.get("/AcroForm")
        if not isinstance(form, pikepdf.Dictionary) or not form.get("/Fields") or "/NeedsRendering" in pdf.Root:
            return answer("failed", "original-only", "NO_FORM", pages=pages)
        flavour = "3b" if len(pdf.attachments) else "2b"
        # Taken before: they speak of the form.
        changes = [_FLATTENED, *notices(pdf)]
        if form.get("/NeedAppearances", False):
            pdf.generate_appearance_streams()
        pdf.flatten_annotations("all")
        _drop_empty_fields(pdf)
        if "/AcroForm" in pdf.Root:
            del pdf.Root["/AcroForm"]
        changes += drop_private(pdf)
        try:
            changes += save_pdfa(pdf, Path(output), flavour)
        except pdfa.PdfaError as error:
            return denied(error.report, "original-only", flavour) | {"pages": pages}
    try:
        source = pypdfium2.PdfDocument(original)
        source.init_forms()
        worst = largest_difference(source, output)
        missing = _words(source) - _words(pypdfium2.PdfDocument(output))
    except pypdfium2.PdfiumError as error:
        Path(output).unlink()
        return answer("failed", "original-only", "NOT_DRAWN", pages=pages, findings=[str(error)[:200]])
    more: dict[str, Any] = {"flavour": flavour, "pages": pages, "difference": worst}
    if worst > MOST_DIFFERENT or missing:
        Path(output).unlink()
        reason = "DRAWING_DIFFERS" if worst > MOST_DIFFERENT else "TEXT_DIFFERS"
        return answer("failed", "original-only", reason, drawing="different", **more)
    return answer("passed", "pdfa-forms", changes=changes, **more)


def _drop_empty_fields(pdf: pikepdf.Pdf) -> None:
    """Remove the fields that show nothing, such as a signature without a picture: flattening leaves them."""
    import pikepdf

    for page in pdf.pages:
        kept = [each for each in page.obj.get("/Annots", []) if each.get("/Subtype") != "/Widget" or "/AP" in each]
        if kept:
            page.obj.Annots = pikepdf.Array(kept)
        elif "/Annots" in page.obj:
            del page.obj["/Annots"]


def _words(document: Any) -> Counter[str]:
    """Count the words of the pages, without those in fields: what is in the original must be in the rendition."""
    return Counter(
        word for number in range(len(document)) for word in document[number].get_textpage().get_text_range().split()
    )
