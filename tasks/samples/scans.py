"""Scanned-looking samples: typed pages, slightly turned, on paper that is not quite white. Same bytes at each run."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from tasks.samples.paper import BOLD, NOTICE, PLAIN, font_file

DPI = 100
_A4 = (827, 1170)


def _page(title: str, lines: Sequence[str], seed: int) -> bytes:
    """Draw one page and give it as the pixels of an 8-bit grey image, through Pillow."""
    from PIL import Image, ImageChops, ImageDraw, ImageFont

    chance = random.Random(seed)  # noqa: S311 - sample noise, no secret
    paper = 244 + chance.randrange(8)
    image = Image.new("L", _A4, paper)
    draw = ImageDraw.Draw(image)
    heading = ImageFont.truetype(str(font_file(BOLD)), 26)
    text = ImageFont.truetype(str(font_file(PLAIN)), 17)
    small = ImageFont.truetype(str(font_file(PLAIN)), 11)
    draw.text((80, 90), title, font=heading, fill=40)
    draw.line((80, 132, 747, 132), fill=90, width=2)
    for index, line in enumerate(lines):
        draw.text((80, 165 + 34 * index), line, font=text, fill=45 + chance.randrange(20))
    stamp = 165 + 34 * len(lines) + 50
    draw.ellipse((520, stamp, 700, stamp + 110), outline=120, width=4)
    draw.text((556, stamp + 44), "REÇU - VU", font=text, fill=120)
    draw.text((80, 1110), NOTICE, font=small, fill=110)
    angle = chance.choice((-1, 1)) * (0.4 + chance.random())
    image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=paper)
    grain = Image.frombytes("L", (_A4[0] // 2, _A4[1] // 2), chance.randbytes((_A4[0] // 2) * (_A4[1] // 2)))
    grain = grain.resize(_A4, Image.Resampling.BILINEAR).point([value // 14 for value in range(256)])
    target = io.BytesIO()
    ImageChops.subtract(image, grain).save(target, "PNG", compress_level=1)
    return target.getvalue()


def jpeg(title: str, lines: Sequence[str], seed: int) -> bytes:
    """Give the scan as a grey JPEG that states its resolution."""
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(_page(title, lines, seed))) as image:
        image.save(target, "JPEG", quality=55, dpi=(DPI, DPI))
    return target.getvalue()


def png(title: str, lines: Sequence[str], seed: int) -> bytes:
    """Give the scan as a black and white PNG without any stated resolution."""
    from PIL import Image

    target = io.BytesIO()
    with Image.open(io.BytesIO(_page(title, lines, seed))) as image:
        image.point([0] * 160 + [255] * 96).convert("1").save(target, "PNG")
    return target.getvalue()


def pdf(title: str, pages: Sequence[Sequence[str]], seed: int) -> bytes:
    """Give the scan as an image-only PDF, as office scanners write it."""
    import img2pdf

    pictures = [jpeg(title, lines, seed + index) for index, lines in enumerate(pages)]
    document: bytes = img2pdf.convert(pictures, nodate=True, engine=img2pdf.Engine.internal, producer="Scanner")
    return document
