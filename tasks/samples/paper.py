"""Born-digital sample papers: A4 letters and forms in French, the same bytes at each run.

The Bitstream Vera fonts shipped with reportlab are embedded, so the papers can become PDF/A.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PLAIN, BOLD, ITALIC = "Vera", "VeraBd", "VeraIt"
NOTICE = "Document d'exemple : personnes, véhicules, parcelles et numéros sont fictifs."
_MARGIN = 56.7  # 20 mm in points
_INK = (0.13, 0.17, 0.24)
_ACCENT = (0.12, 0.32, 0.45)
_RULE = (0.78, 0.81, 0.85)


@dataclass(frozen=True, slots=True)
class Paper:
    """Content of one paper: who issues it, its title, fields (label, value), sections (heading, text), signature."""

    issuer: str
    title: str
    subtitle: str
    fields: Sequence[tuple[str, str]]
    sections: Sequence[tuple[str, str]] = ()
    signature: str = ""
    plan: tuple[float, float, float, float] | None = None


def font_file(name: str) -> Path:
    """Give the path of a font shipped with reportlab."""
    import reportlab

    return Path(reportlab.__file__).parent / "fonts" / f"{name}.ttf"


@cache
def register_fonts() -> None:
    """Make the fonts of the samples known to reportlab."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name in (PLAIN, BOLD, ITALIC):
        pdfmetrics.registerFont(TTFont(name, str(font_file(name))))


def draw(paper: Paper, *, password: str = "") -> bytes:
    """Draw the paper; with `password`, protect it so that nobody opens it without."""
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    register_fonts()
    target = io.BytesIO()
    protection = StandardEncryption(password, ownerPassword=f"{password}-owner", strength=128) if password else None
    canvas = Canvas(target, pagesize=A4, invariant=1, initialFontName=PLAIN, encrypt=protection, lang="fr-FR")
    canvas.setTitle(paper.title)
    canvas.setAuthor(paper.issuer)
    canvas.setSubject("Document d'exemple")
    page = _Page(canvas, A4, paper)
    page.fields()
    if paper.plan:
        page.site_plan(*paper.plan)
    for heading, text in paper.sections:
        page.section(heading, text)
    if paper.signature:
        page.sign()
    page.finish()
    canvas.save()
    return target.getvalue()


class _Page:
    """A cursor that goes down the page and turns it."""

    def __init__(self, canvas: Any, size: tuple[float, float], paper: Paper) -> None:
        self._canvas, self._paper = canvas, paper
        self._width, self._height = size
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        canvas, paper = self._canvas, self._paper
        self._number += 1
        top = self._height - _MARGIN
        canvas.setFillColorRGB(*_ACCENT)
        canvas.setFont(BOLD, 9)
        canvas.drawString(_MARGIN, top, paper.issuer)
        canvas.rect(_MARGIN, top - 8, self._width - 2 * _MARGIN, 1.5, stroke=0, fill=1)
        canvas.setFillColorRGB(*_INK)
        if self._number == 1:
            canvas.setFont(BOLD, 16)
            canvas.drawString(_MARGIN, top - 42, paper.title)
            canvas.setFont(PLAIN, 10)
            canvas.drawString(_MARGIN, top - 60, paper.subtitle)
        self._y = top - (92 if self._number == 1 else 40)

    def _turn(self, needed: float) -> None:
        if self._y - needed < _MARGIN + 30:
            self.finish()
            self._begin()

    def fields(self) -> None:
        canvas = self._canvas
        for label, value in self._paper.fields:
            lines = self._wrap(value, PLAIN, 10, self._width - 2 * _MARGIN - 170)
            self._turn(14 * len(lines) + 8)
            canvas.setFont(PLAIN, 8.5)
            canvas.setFillColorRGB(0.4, 0.44, 0.5)
            canvas.drawString(_MARGIN, self._y, label)
            canvas.setFont(PLAIN, 10)
            canvas.setFillColorRGB(*_INK)
            for line in lines:
                canvas.drawString(_MARGIN + 170, self._y, line)
                self._y -= 14
            canvas.setStrokeColorRGB(*_RULE)
            canvas.line(_MARGIN, self._y + 6, self._width - _MARGIN, self._y + 6)
            self._y -= 6
        self._y -= 12

    def section(self, heading: str, text: str) -> None:
        canvas = self._canvas
        self._turn(60)
        canvas.setFont(BOLD, 11)
        canvas.setFillColorRGB(*_ACCENT)
        canvas.drawString(_MARGIN, self._y, heading)
        canvas.setFillColorRGB(*_INK)
        self._y -= 18
        for line in self._wrap(text, PLAIN, 10, self._width - 2 * _MARGIN):
            self._turn(14)
            canvas.setFont(PLAIN, 10)
            canvas.drawString(_MARGIN, self._y, line)
            self._y -= 14.5
        self._y -= 12

    def sign(self) -> None:
        self._turn(90)
        self._y -= 14
        self._canvas.setFont(PLAIN, 10)
        self._canvas.drawString(_MARGIN + 250, self._y, self._paper.signature)
        # A hand-drawn flourish stands for the signature.
        path = self._canvas.beginPath()
        x, y = _MARGIN + 262, self._y - 38
        path.moveTo(x, y)
        path.curveTo(x + 14, y + 34, x + 30, y - 18, x + 44, y + 16)
        path.curveTo(x + 58, y + 30, x + 66, y - 14, x + 92, y + 4)
        path.curveTo(x + 108, y + 12, x + 116, y + 10, x + 132, y + 2)
        self._canvas.setStrokeColorRGB(0.1, 0.2, 0.5)
        self._canvas.setLineWidth(1.3)
        self._canvas.drawPath(path)
        self._canvas.setLineWidth(1)

    def site_plan(self, plot_x: float, plot_y: float, house_x: float, house_y: float) -> None:
        """Draw a plot and the house on it, with sides in metres, a scale and the north."""
        canvas, scale = self._canvas, 9.0
        left, bottom = _MARGIN + 60, self._y - plot_y * scale - 20
        canvas.setStrokeColorRGB(*_INK)
        canvas.setFillColorRGB(0.93, 0.96, 0.91)
        canvas.rect(left, bottom, plot_x * scale, plot_y * scale, fill=1)
        canvas.setFillColorRGB(0.86, 0.83, 0.79)
        x, y = left + (plot_x - house_x) * scale / 2, bottom + (plot_y - house_y) * scale * 0.6
        canvas.rect(x, y, house_x * scale, house_y * scale, fill=1)
        canvas.setFillColorRGB(*_INK)
        canvas.setFont(PLAIN, 8)
        canvas.drawCentredString(left + plot_x * scale / 2, bottom - 14, f"{plot_x:g} m".replace(".", ","))
        canvas.drawString(left + plot_x * scale + 8, bottom + plot_y * scale / 2, f"{plot_y:g} m".replace(".", ","))
        canvas.drawCentredString(x + house_x * scale / 2, y + house_y * scale / 2 + 4, "Construction projetée")
        size = f"{house_x:g} × {house_y:g} m".replace(".", ",")
        canvas.drawCentredString(x + house_x * scale / 2, y + house_y * scale / 2 - 8, size)
        canvas.setFont(BOLD, 10)
        canvas.drawCentredString(left - 34, bottom + plot_y * scale - 12, "N")
        canvas.line(left - 34, bottom + plot_y * scale - 52, left - 34, bottom + plot_y * scale - 18)
        canvas.setFont(ITALIC, 8)
        canvas.drawString(left, bottom - 30, "Échelle 1/315 sur une feuille A4, cotes en mètres.")
        self._y = bottom - 56

    def finish(self) -> None:
        canvas = self._canvas
        canvas.setFont(ITALIC, 7.5)
        canvas.setFillColorRGB(0.4, 0.44, 0.5)
        canvas.drawString(_MARGIN, _MARGIN - 14, NOTICE)
        canvas.drawRightString(self._width - _MARGIN, _MARGIN - 14, f"Page {self._number}")
        canvas.showPage()

    def _wrap(self, text: str, font: str, size: float, width: float) -> list[str]:
        from reportlab.lib.utils import simpleSplit

        return [str(line) for line in simpleSplit(text, font, size, width)]
