"""Pages for people, in French and English side by side, as PDF/A-2b: statements and integrity reports.

Same content, same bytes: no clock, no random identifier. The Bitstream Vera fonts shipped with reportlab are embedded;
a character that they lack is shown as a question mark, because PDF/A allows no missing glyph.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from minutier.errors import IntegrityFailureError
from tasks import pdfa

_PLAIN, _BOLD, _ITALIC = "Vera", "VeraBd", "VeraIt"
_MARGIN = 48.0  # points
_INK, _GREY, _ACCENT, _RULE = "#212b3d", "#626b7c", "#1f5273", "#c7cfd9"
_MAX_TEXT = 800
_TONES = {"good": "#e3f1e6", "bad": "#f8e0de", "open": "#fbf1d7", "plain": "#eef2f6"}


@dataclass(frozen=True, slots=True)
class Heading:
    """A title of a part, in both languages."""

    fr: str
    en: str


@dataclass(frozen=True, slots=True)
class Fields:
    """A table of what is stated: label in French, label in English, value."""

    rows: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Both:
    """One paragraph, in both languages, side by side."""

    fr: str
    en: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A box that must not be overlooked; tone is good, bad, open or plain."""

    fr: str
    en: str
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Command:
    """A command to type, on a line of its own, after a few words on where it is typed."""

    fr: str
    en: str
    line: str


@dataclass(frozen=True, slots=True)
class Grid:
    """A table with columns of given shares of the width; the first row names them. A cell may be of several lines."""

    shares: Sequence[float]
    rows: Sequence[Sequence[str | tuple[str, ...]]]


Block = Heading | Fields | Both | Notice | Command | Grid


@dataclass(frozen=True, slots=True)
class Sheet:
    """A document: its titles, the line below them, its blocks, the line at the foot of each page; date, subject if any.

    The date and the subject are in the file's metadata (XMP), in clear.
    """

    title_fr: str
    title_en: str
    subtitle: str
    blocks: Sequence[Block]
    foot: str
    at: datetime
    subject: str | None = None


def draw(sheet: Sheet) -> bytes:
    """Draw a sheet as PDF/A-2b.

    Raises IntegrityFailureError PAGE_NOT_PDFA when the validator does not approve what was written.
    """
    _register_fonts()
    pages, _ = _drawn(sheet, 0)
    return _as_pdfa(_drawn(sheet, pages)[1])


def _drawn(sheet: Sheet, pages: int) -> tuple[int, bytes]:
    """Draw a sheet of so many pages; give how many it has: the foot of the first one names the last."""
    from reportlab.lib.pagesizes import A4
    from reportlab.platypus import SimpleDocTemplate

    width = A4[0] - 2 * _MARGIN
    target = io.BytesIO()
    document = SimpleDocTemplate(
        target, pagesize=A4, leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=36, bottomMargin=42, invariant=1,
        title=f"{sheet.title_fr} / {sheet.title_en}", author="Minutier", lang="fr-FR", initialFontName=_PLAIN,
        subject=sheet.subject,
    )  # fmt: skip

    def finish(canvas: Any, _: Any) -> None:
        canvas.setFont(_ITALIC, 6.5)
        canvas.setFillColor(_GREY)
        canvas.drawString(_MARGIN, 26, shown(sheet.foot))
        canvas.drawRightString(A4[0] - _MARGIN, 26, f"Page {canvas.getPageNumber()}/{pages}")
        # The date of the file is that of what it says, not of the machine: same content, same bytes.
        canvas.setDateFormatter(lambda *_: f"D:{sheet.at:%Y%m%d%H%M%S}+00'00'")

    story = _title(sheet, width)
    for block in sheet.blocks:
        story += _flow(block, width)
    document.build(story, onFirstPage=finish, onLaterPages=finish)
    return document.page, target.getvalue()


def shown(text: str) -> str:
    """Give a text with a question mark for what the fonts lack, line breaks and control characters included.

    It is cut after 800 characters: a name in a proof may be of any length, and a cell must fit on a page.
    """
    known = _glyphs()
    text = text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
    return "".join(letter if ord(letter) in known and letter.isprintable() else "?" for letter in text)


def _as_pdfa(drawn: bytes) -> bytes:
    """Prepare and validate; in this process, since no stranger's bytes are read: the drawing is our own."""
    with tempfile.TemporaryDirectory(prefix="minutier-page-") as folder:
        source, output = Path(folder) / "drawn.pdf", Path(folder) / "page.pdf"
        source.write_bytes(drawn)
        answer = pdfa.convert_pdf(str(source), str(output))
        if answer["verdict"] != "passed" or not output.is_file():
            raise IntegrityFailureError(
                "PAGE_NOT_PDFA",
                f"The page for people is not PDF/A: {answer.get('findings') or answer['reason']}.",
                remedy="This is a fault of Minutier: report it. Nothing was written.",
                clause="ISO 19005-2",
            )
        return output.read_bytes()


@cache
def _register_fonts() -> None:
    import reportlab
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(reportlab.__file__).parent / "fonts"
    for name in (_PLAIN, _BOLD, _ITALIC):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(_PLAIN, normal=_PLAIN, bold=_BOLD, italic=_ITALIC, boldItalic=_BOLD)


@cache
def _glyphs() -> frozenset[int]:
    """Give the characters that all three fonts have."""
    from reportlab.pdfbase import pdfmetrics

    _register_fonts()
    faces = [pdfmetrics.getFont(name).face.charToGlyph for name in (_PLAIN, _BOLD, _ITALIC)]
    return frozenset(set(faces[0]).intersection(*faces[1:]))


def _text(text: str, size: float = 7.6, *, font: str = _PLAIN, color: str = _INK, small: str = "") -> Any:
    """Make a paragraph; `small` follows in grey on the same line."""
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle("x", fontName=font, fontSize=size, leading=size * 1.32, textColor=color)
    more = f' <font size="{size - 1.4}" color="{_GREY}">{escape(shown(small))}</font>' if small else ""
    return Paragraph(escape(shown(text)) + more, style)


def _cell(lines: str | tuple[str, ...], size: float, **style: str) -> list[Any]:
    return [_text(line, size, **style) for line in ((lines,) if isinstance(lines, str) else lines)]


def _table(rows: list[list[Any]], widths: Sequence[float], *styles: tuple[Any, ...]) -> Any:
    from reportlab.platypus import Table

    whole = ((0, 0), (-1, -1))
    # The font too: that of a table by default is not embedded.
    common = [("VALIGN", *whole, "TOP"), ("FONTNAME", *whole, _PLAIN), ("LEFTPADDING", *whole, 4)]
    common += [("RIGHTPADDING", *whole, 6), ("TOPPADDING", *whole, 1.8), ("BOTTOMPADDING", *whole, 2.4)]
    return Table(rows, colWidths=list(widths), style=[*common, *styles], hAlign="LEFT")


def _title(sheet: Sheet, width: float) -> list[Any]:
    from reportlab.platypus import Spacer

    rule = ("LINEBELOW", (0, -1), (-1, -1), 1.5, _ACCENT)
    head = [[_text(sheet.title_fr, 14, font=_BOLD)], [_text(sheet.title_en, 10, color=_GREY)]]
    return [_table([*head, [_text(sheet.subtitle, 7.6, color=_ACCENT)]], [width], rule), Spacer(1, 5)]


def _flow(block: Block, width: float) -> list[Any]:
    from reportlab.platypus import Spacer

    half = width / 2
    if isinstance(block, Heading):
        row = [_text(block.fr, 8.8, font=_BOLD, color=_ACCENT), _text(block.en, 8.8, font=_BOLD, color=_ACCENT)]
        title = _table([row], [half, half])
        title.keepWithNext = True
        return [Spacer(1, 4), title]
    if isinstance(block, Both):
        return [_table([[_text(block.fr), _text(block.en)]], [half, half])]
    if isinstance(block, Notice):
        row = [_text(block.fr, 8, font=_BOLD), _text(block.en, 8, font=_BOLD)]
        return [_table([row], [half, half], ("BACKGROUND", (0, 0), (-1, -1), _TONES[block.tone])), Spacer(1, 3)]
    if isinstance(block, Command):
        row = [_text(block.fr, small=block.en), _text(block.line)]
        shade = ("BACKGROUND", (1, 0), (1, 0), _TONES["plain"])
        return [_table([row], [width * 0.34, width * 0.66], shade)]
    line = ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE)
    if isinstance(block, Fields):
        rows = [[_text(fr, small=en), _text(value)] for fr, en, value in block.rows]
        return [_table(rows, [width * 0.34, width * 0.66], line)]
    header = [_cell(name, 6.8, font=_BOLD, color=_GREY) for name in block.rows[0]]
    body = [[_cell(cell, 7.2) for cell in row] for row in block.rows[1:]]
    return [_table([header, *body], [width * share for share in block.shares], line)]
