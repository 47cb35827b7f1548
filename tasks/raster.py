"""The last rung: every page drawn as an image, for a PDF whose structure PDF/A does not take. Isolated child only.

What is written is validated, then drawn again and compared with the original, tile by tile, so that no page can be
lost, blank or another one. Text is no longer text in it, which the report says: the original stays beside it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.pdfa import answer, denied, notices, save_pdfa

if TYPE_CHECKING:
    from PIL.Image import Image

_DPI, _LEAST_DPI = 200, 72
_QUALITY = 90
_PAGE_PIXELS = 40_000_000
MAX_PAGES = 300
# Tiles of 3 mm, half over each other, of both drawings at the resolution of the images: at another one, hairlines have
# another weight. The means of a tile differ by 10 at most for the renditions of 37 real files and of a large plan, and
# by more than 24 where a glyph is gone. What is drawn here cannot be exchanged, only lost or moved.
_TILE = 24
MOST_DIFFERENT = 16


def rasterise(original: str, output: str) -> dict[str, Any]:
    """Write a rendition of page images to `output`; "failed" with a reason where it is not the original's drawing."""
    import img2pdf
    import pikepdf
    import pypdfium2
    from pikepdf import pdfa

    try:
        source = pypdfium2.PdfDocument(original)
        source.init_forms()
        pages = len(source)
        if not 0 < pages <= MAX_PAGES:
            return answer("failed", "original-only", "TOO_MANY_PAGES" if pages else "NO_PAGES", pages=pages)
        pictures, sizes, lowest = [], [], _DPI
        for number in range(pages):
            page = source[number]
            size = page.get_size()
            dpi = resolution(size)
            lowest = min(lowest, dpi)
            pictures.append(_jpeg(_drawn(page, dpi), dpi))
            sizes.append(size)
    except pypdfium2.PdfiumError as error:
        return answer("failed", "original-only", "NOT_DRAWN", findings=[str(error)[:200]])
    # Page by page: each has the size of its original.
    laid = pikepdf.new()
    for picture, size in zip(pictures, sizes, strict=True):
        one = img2pdf.convert(
            [picture],
            engine=img2pdf.Engine.pikepdf,
            nodate=True,
            layout_fun=img2pdf.get_layout_fun(
                pagesize=size,
                imgsize=((img2pdf.ImgSize.abs, size[0]), (img2pdf.ImgSize.abs, size[1])),
                fit=img2pdf.FitMode.fill,
            ),
        )
        with pikepdf.open(io.BytesIO(one)) as single:
            laid.pages.extend(single.pages)
    with laid:
        try:
            prepared = save_pdfa(laid, Path(output), "2b")
        except pdfa.PdfaError as error:
            return denied(error.report, "original-only", "2b") | {"pages": pages}
    worst = largest_difference(source, output)
    more: dict[str, Any] = {"flavour": "2b", "pages": pages, "difference": worst}
    if worst > MOST_DIFFERENT:
        Path(output).unlink()
        return answer("failed", "original-only", "DRAWING_DIFFERS", drawing="different", **more)
    drawn = f"Every page was drawn as an image, at {lowest} dots per inch or more: its text cannot be searched."
    return answer("passed", "pdfa-raster", changes=[drawn, *_left_behind(original), *prepared], **more)


def _left_behind(original: str) -> list[str]:
    """Say what page images cannot carry over: attachments, bookmarks, signatures, restrictions."""
    import pikepdf

    with pikepdf.open(original, attempt_recovery=False, suppress_warnings=True) as pdf:
        sentences = notices(pdf)
        if len(pdf.attachments):
            sentences.append(f"{len(pdf.attachments)} attached file(s) are in the original only.")
        if "/Outlines" in pdf.Root:
            sentences.append("Bookmarks are in the original only.")
    return sentences


def resolution(size: tuple[float, float], most: int = _DPI) -> int:
    """Give the dots per inch for a page of a size in points: large plans get fewer, lest they take all memory."""
    inches = max(size[0] * size[1] / 72**2, 1e-6)
    return max(_LEAST_DPI, min(most, int((_PAGE_PIXELS / inches) ** 0.5)))


def _drawn(page: Any, dpi: int) -> Image:
    """Draw a page, its annotations and filled fields included."""
    picture: Image = page.render(scale=dpi / 72, may_draw_forms=True, draw_annots=True).to_pil()
    return picture.convert("L") if _is_grey(picture) else picture.convert("RGB")


def _is_grey(picture: Image) -> bool:
    from PIL import ImageChops

    if picture.mode == "L":
        return True
    red, green, blue = picture.convert("RGB").split()
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(green, blue).getbbox())


def _jpeg(picture: Image, dpi: int) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_QUALITY, dpi=(dpi, dpi), subsampling=0)
    return target.getvalue()


def largest_difference(original: Any, output: str) -> int:
    """Give the largest difference, 0 to 255, between the means of tiles of the original and of the rendition."""
    import pypdfium2

    source = pypdfium2.PdfDocument(original) if isinstance(original, str) else original
    written = pypdfium2.PdfDocument(output)
    if len(written) != len(source):
        return 255
    return max(_page_difference(source[number], written[number]) for number in range(len(source)))


def _page_difference(one: Any, other: Any) -> int:
    from PIL import Image, ImageChops

    dpi = resolution(one.get_size())
    first, second = _drawn(one, dpi).convert("L"), _drawn(other, dpi).convert("L")
    if max(abs(first.width - second.width), abs(first.height - second.height)) > 1:
        return 255
    second = second.crop((0, 0, first.width, first.height))
    worst = 0
    for shift in (0, _TILE // 2):
        if min(first.size) <= shift:
            continue  # a page smaller than half a tile was looked at whole
        box = (shift, shift, first.width, first.height)
        small = [
            each.crop(box).resize(
                (max(1, (each.width - shift) // _TILE), max(1, (each.height - shift) // _TILE)), Image.Resampling.BOX
            )
            for each in (first, second)
        ]
        worst = max(worst, int(ImageChops.difference(*small).getextrema()[1]))  # type: ignore[arg-type]
    return worst
