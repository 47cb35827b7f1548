"""PDF/A conversion proper. These functions run in the isolated child only (tasks/isolate.py), JSON in, JSON out.

Rungs: the original itself when it claims PDF/A and keeps its rules; a structural rewriting that leaves the drawing
alone (`pikepdf.pdfa`). What is written is validated after writing. Images: tasks/image_pages.py; the last rung for what
is not rewritten so: tasks/raster.py.
"""

from __future__ import annotations

import importlib
import io
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import drawing, pdf_bytes

if TYPE_CHECKING:
    import pikepdf
    from pikepdf import pdfa

# What the validator reads of an embedded TrueType font; fontTools imports each on first use.
_FONT_TABLES = [
    "_c_m_a_p",
    "_g_l_y_f",
    "_h_e_a_d",
    "_h_h_e_a",
    "_h_m_t_x",
    "_l_o_c_a",
    "_m_a_x_p",
    "_p_o_s_t",
    "ttProgram",
]
_MAX_FINDINGS = 10
# ISO 32000-1 table 15, and the keys of a cross-reference stream (table 17) that the writer makes anew.
_TRAILER_KEYS = frozenset(
    [
        "/Size",
        "/Prev",
        "/Root",
        "/Encrypt",
        "/Info",
        "/ID",
        "/XRefStm",
        "/Type",
        "/Index",
        "/W",
        "/Filter",
        "/DecodeParms",
        "/Length",
    ]
)
# ISO 32000-1 table 30, without /AA (actions), /Thumb (previews), /Trans and /Dur (slide shows), /PieceInfo (private).
_PAGE_KEYS = frozenset(
    [
        "/Type",
        "/Parent",
        "/LastModified",
        "/Resources",
        "/MediaBox",
        "/CropBox",
        "/BleedBox",
        "/TrimBox",
        "/ArtBox",
        "/BoxColorInfo",
        "/Contents",
        "/Rotate",
        "/Group",
        "/B",
        "/Annots",
        "/Metadata",
        "/StructParents",
        "/ID",
        "/PZ",
        "/SeparationInfo",
        "/Tabs",
        "/TemplateInstantiated",
        "/PresSteps",
        "/UserUnit",
        "/VP",
        "/AF",
    ]
)
_CLAIM = {
    "part": re.compile(r"pdfaid:part\s*(?:=\s*[\"']|>)\s*([1-4])"),
    "conformance": re.compile(r"pdfaid:conformance\s*(?:=\s*[\"']|>)\s*([ABUabu])"),
}


def warm() -> None:
    """Import the engines and run the validator once, so that no document pays for its lazy parts."""
    import img2pdf  # noqa: F401
    import pikepdf
    from pikepdf import pdfa

    for table in _FONT_TABLES:
        importlib.import_module(f"fontTools.ttLib.tables.{table}")

    for flavour in ("1b", "2b", "3b"):
        with pikepdf.new() as pdf:
            pdf.add_blank_page()
            pdfa.save(pdf, io.BytesIO(), flavour)


def versions() -> dict[str, str]:
    """Give the versions of the engines that make and check renditions."""
    import img2pdf
    import pikepdf
    import PIL

    return {
        "pikepdf": pikepdf.__version__,
        "qpdf": pikepdf.__libqpdf_version__,
        "img2pdf": str(img2pdf.__version__),
        "pillow": PIL.__version__,
    }


def answer(verdict: str, rung: str, reason: str = "", **more: Any) -> dict[str, Any]:
    """Give what a conversion answers, with the versions of what made it."""
    return {"verdict": verdict, "rung": rung, "reason": reason, "tools": versions(), **more}


def convert_pdf(original: str, output: str) -> dict[str, Any]:
    """Pass a conforming PDF/A through, else write a structural rendition to `output`."""
    import pikepdf

    try:
        with pikepdf.open(original, attempt_recovery=False, suppress_warnings=True) as pdf:
            pages = len(pdf.pages)
            if pages == 0:
                return answer("failed", "original-only", "NO_PAGES", pages=0)
            passed = _pass_through(pdf, Path(original))
            if passed:
                return {**passed, "pages": pages}
            if "/NeedsRendering" in pdf.Root:
                # Dynamic XFA: the page only says "please wait"; the content is in a part that PDF/A does not know.
                return answer("not_checked", "original-only", "XFA_DYNAMIC", pages=pages)
            return {**_structural(pdf, Path(original), Path(output)), "pages": pages}
    except pikepdf.PasswordError:
        return answer("failed", "original-only", "ENCRYPTED")
    except pikepdf.PdfError as error:
        return answer("failed", "original-only", "DAMAGED", findings=[str(error).replace(original, "")[:200]])


def claim(pdf: pikepdf.Pdf) -> str:
    """Read the PDF/A claim of the XMP metadata: "2b", "1a"… or "" for none (ISO 19005-1 6.7.11, -2 6.6.4)."""
    metadata = pdf.Root.get("/Metadata")
    if metadata is None or not hasattr(metadata, "read_bytes"):
        return ""
    text = metadata.read_bytes().decode("utf-8", "replace")
    part, level = (_CLAIM[name].search(text) for name in ("part", "conformance"))
    return f"{part.group(1)}{level.group(1).lower()}" if part and level else ""


def _pass_through(pdf: pikepdf.Pdf, original: Path) -> dict[str, Any] | None:
    """Accept the original as its own rendition when claim, validator and byte rules agree; None otherwise."""
    from pikepdf import pdfa

    claimed = claim(pdf)
    flavour = f"{claimed[:1]}b"
    if not claimed or flavour not in {"1b", "2b", "3b"} or pdf_bytes.syntax_faults(original.read_bytes()):
        return None
    changes = []
    if claimed.endswith("b"):
        approved = pdfa.validate_written(original, flavour).passed
    else:
        approved = _floor_holds(pdf, claimed, flavour)
        changes.append(f"The original claims PDF/A-{claimed}; only its level B floor was verified.")
    if not approved:
        return None
    return answer("passed", "pdfa-original", flavour=flavour, changes=changes, drawing="equal")


def _floor_holds(pdf: pikepdf.Pdf, claimed: str, flavour: str) -> bool:
    """Check the level B floor of a level A or U claim: with the claim lowered to B, in memory only."""
    from pikepdf import pdfa

    metadata = pdf.Root.Metadata
    kept = metadata.read_bytes()
    level = claimed[1].upper().encode()
    lowered = re.sub(rb"(pdfaid:conformance\s*(?:=\s*[\"']|>)\s*)" + level, rb"\1B", kept)
    try:
        metadata.write(lowered)
        return bool(pdfa.check(pdf, flavour).passed)
    finally:
        metadata.write(kept)


def _structural(pdf: pikepdf.Pdf, original: Path, output: Path) -> dict[str, Any]:
    """Rewrite structure and metadata only; accept when the validator passes and every page draws the same."""
    from pikepdf import pdfa

    flavour = "3b" if len(pdf.attachments) else "2b"
    changes = notices(pdf) + drop_private(pdf)
    try:
        prepared = save_pdfa(pdf, output, flavour)
    except pdfa.PdfaError as error:
        return denied(error.report, "original-only", flavour)
    if not drawing.equal(original, output):
        return answer("failed", "original-only", "DRAWING_DIFFERS", flavour=flavour, drawing="different")
    return answer("passed", "pdfa-structural", flavour=flavour, changes=changes + prepared, drawing="equal")


def denied(report: pdfa.Report, rung: str, flavour: str) -> dict[str, Any]:
    """Give the answer for what the validator did not approve."""
    verdict = "not_checked" if report.verdict == "not_checked" else "failed"
    reason = "PDFA_NOT_CHECKED" if verdict == "not_checked" else "PDFA_NOT_PASSED"
    findings = [f"{finding.rule}: {finding.message}"[:200] for finding in report.findings]
    return answer(verdict, rung, reason, flavour=flavour, findings=list(dict.fromkeys(findings))[:_MAX_FINDINGS])


def save_pdfa(pdf: pikepdf.Pdf, output: Path, flavour: str) -> list[str]:
    """Prepare, write and validate; give what was changed. PdfaError when not approved.

    The same original gives the same bytes (no clock, identifier from the content).
    """
    from pikepdf import pdfa

    prepared = pdfa.prepare(pdf, flavour)
    metadata = pdf.Root.Metadata
    # The date of the preparation would make every run different; the manifest holds it.
    stamp = rb"<xmp:MetadataDate>[^<]*</xmp:MetadataDate>|\s+xmp:MetadataDate=\"[^\"]*\""
    metadata.write(re.sub(stamp, b"", metadata.read_bytes()))
    pdfa.save(pdf, output, flavour, repair=False, deterministic_id=True)
    sentences = [f"{text}." for text in prepared.describe()]
    return [text.replace("the local time zone", "UTC") for text in sentences]


def notices(pdf: pikepdf.Pdf) -> list[str]:
    """Say what the rendition cannot carry over from the original."""
    import pikepdf

    sentences = []
    if pdf.is_encrypted:
        sentences.append("Usage restrictions (owner password) are dropped in the rendition.")
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and int(form.get("/SigFlags", 0)) & 1:
        sentences.append("Electronic signatures can be verified on the original only.")
    return sentences


def drop_private(pdf: pikepdf.Pdf) -> list[str]:
    """Remove what PDF/A forbids and no page shows: private keys, actions, previews, slide shows, an empty form."""
    import pikepdf

    sentences = []
    for key in sorted(set(pdf.trailer.keys()) - _TRAILER_KEYS):
        del pdf.trailer[key]
        sentences.append(f"Removed the private trailer key {key}.")
    for key, words in (("/OpenAction", "opening action"), ("/AA", "additional actions")):
        if key in pdf.Root:
            del pdf.Root[key]
            sentences.append(f"Removed the {words} of the document.")
    form = pdf.Root.get("/AcroForm")
    fields = form.get("/Fields") if isinstance(form, pikepdf.Dictionary) else None
    if (
        isinstance(form, pikepdf.Dictionary)
        and "/XFA" not in form
        and not (isinstance(fields, pikepdf.Array) and len(fields))
    ):
        del pdf.Root["/AcroForm"]
        sentences.append("Removed a form without any field.")
    removed: Counter[str] = Counter()
    for page in pdf.pages:
        for key in sorted(set(page.obj.keys()) - _PAGE_KEYS):
            del page.obj[key]
            removed[key] += 1
    sentences += [f"Removed {key} from {count} page(s)." for key, count in sorted(removed.items())]
    return sentences
