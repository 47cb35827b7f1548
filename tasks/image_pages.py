"""Images laid on pages as PDF/A (`img2pdf`): their own bytes where PDF/A allows them. In the isolated child only."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import drawing
from tasks.pdfa import answer, denied, save_pdfa

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_DPI = 200


def convert_image(original: str, output: str, max_pixels: int) -> dict[str, Any]:
    """Lay every frame of an image on a page: its own bytes where PDF/A allows them, else a flattened RGB copy."""
    import img2pdf
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = max_pixels
    source = Path(original).read_bytes()
    try:
        with Image.open(io.BytesIO(source)) as image:
            pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            jpeg = image.format in {"JPEG", "MPO"}
            changes = _dpi_notice(image)
        attempts = [[source]] if not _needs_flattening(source) else []
        result: dict[str, Any] = {}
        for frames in [*attempts, None]:
            sentences = list(changes)
            try:
                pictures = frames or _flatten(source, pages, sentences)
                result = _lay(pictures, Path(output), sentences, source if jpeg and frames else b"")
            except (img2pdf.ImageOpenError, img2pdf.AlphaChannelError, img2pdf.JpegColorspaceError):
                result = answer("failed", "original-only", "IMAGE_NOT_CONVERTIBLE")
            if result["verdict"] == "passed":
                break
        return {**result, "pages": pages}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return answer("failed", "original-only", "TOO_MANY_PIXELS")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        return answer("failed", "original-only", "DAMAGED", findings=[type(error).__name__])


def _dpi_notice(image: Image) -> list[str]:
    if "dpi" in image.info:
        return []
    return [f"The image states no resolution: {DEFAULT_DPI} dots per inch were assumed for the page size."]


def _needs_flattening(source: bytes) -> bool:
    """Tell whether an image has an alpha channel, a palette with transparency, or more than 8 bits per sample.

    A TIFF that says how to turn it is flattened too: Pillow turns its pixels, and img2pdf would turn the page again.
    """
    from PIL import Image

    with Image.open(io.BytesIO(source)) as image:
        if image.format == "TIFF" and _turned(image):
            return True
        return image.mode in {"RGBA", "LA", "PA", "La", "RGBa", "I", "F", "I;16"} or "transparency" in image.info


def _turned(image: Any) -> bool:
    """Tell whether a frame has another orientation (tag 274, TIFF 6.0) than upright."""
    for frame in range(image.n_frames):
        image.seek(frame)
        if image.tag_v2.get(274, 1) != 1:
            return True
    image.seek(0)
    return False


def _flatten(source: bytes, pages: int, sentences: list[str]) -> list[bytes]:
    """Give every frame as an 8-bit RGB or grey PNG on white; add the sentences that say so."""
    from PIL import Image, ImageOps

    frames = []
    with Image.open(io.BytesIO(source)) as image:
        dpi = image.info.get("dpi")
        for number in range(pages):
            if pages > 1:
                image.seek(number)
            if image.format != "TIFF":  # Pillow turns a TIFF by itself when it loads it
                ImageOps.exif_transpose(image, in_place=True)
            picture: Image.Image = image
            if "transparency" in image.info or image.mode in {"RGBA", "LA", "PA", "La", "RGBa"}:
                layer = image.convert("RGBA")
                picture = Image.new("RGBA", layer.size, "white")
                picture.alpha_composite(layer)
                sentences.append("Transparency was flattened on white.")
            elif image.mode not in {"1", "L", "RGB"}:
                sentences.append(f"Colours ({image.mode}) were converted to 8-bit RGB or grey.")
            grey = image.mode in {"1", "L", "LA", "I", "I;16", "F"}
            target = io.BytesIO()
            options: dict[str, Any] = {"dpi": dpi} if dpi else {}
            if image.mode in {"I", "I;16"}:
                picture = picture.point(lambda value: value / 256).convert("L")
            picture.convert("L" if grey else "RGB").save(target, "PNG", compress_level=3, **options)
            frames.append(target.getvalue())
    sentences[:] = list(dict.fromkeys(sentences))
    return frames


def _lay(pictures: list[bytes], output: Path, sentences: list[str], verbatim: bytes) -> dict[str, Any]:
    """Write the pages and validate them; `verbatim` (a JPEG) must be inside byte for byte."""
    import img2pdf
    import pikepdf
    from pikepdf import pdfa

    laid = img2pdf.convert(
        pictures,
        engine=img2pdf.Engine.pikepdf,
        rotation=img2pdf.Rotation.ifvalid,
        nodate=True,
        layout_fun=img2pdf.get_fixed_dpi_layout_fun((DEFAULT_DPI, DEFAULT_DPI))
        if any("no resolution" in sentence for sentence in sentences)
        else img2pdf.default_layout_fun,
    )
    with pikepdf.open(io.BytesIO(laid)) as pdf:
        try:
            prepared = save_pdfa(pdf, output, "2b")
        except pdfa.PdfaError as error:
            return denied(error.report, "original-only", "2b")
    if not drawing.equal(io.BytesIO(laid), output) or (verbatim and not _holds(output, verbatim)):
        return answer("failed", "original-only", "DRAWING_DIFFERS", flavour="2b", drawing="different")
    return answer("passed", "pdfa-image", flavour="2b", changes=sentences + prepared, drawing="equal")


def _holds(output: Path, jpeg: bytes) -> bool:
    """Tell whether the image of the first page is exactly the given JPEG."""
    import pikepdf

    with pikepdf.open(output) as pdf:
        return any(image.read_raw_bytes() == jpeg for image in pdf.pages[0].get_images().values())
