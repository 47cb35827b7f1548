"""Samples of what people really send: photographs taken with a telephone, large plans, office files, signed papers.

Same bytes at each run, under the same versions of the libraries that draw.
"""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minutier.seal import seal
from tasks.samples import scans

_WRITTEN = (2026, 3, 2, 9, 0, 0)
_PARTS = "http://schemas.openxmlformats.org"
_WORDS = f"{_PARTS}/wordprocessingml/2006/main"
_ODT = "application/vnd.oasis.opendocument.text"
_ROOM = 16_000
"""Hexadecimal digits kept for a signature."""


def photograph(title: str, lines: Sequence[str], seed: int) -> bytes:
    """Give a page photographed on a table: askew, in perspective, half in the shadow, as a colour JPEG."""
    from PIL import Image, ImageChops, ImageFilter

    chance = random.Random(seed)  # noqa: S311 - sample noise, no secret
    with Image.open(io.BytesIO(scans.jpeg(title, lines, seed))) as page:
        sheet = page.convert("RGB")
    width, height = 1200, 1600
    table = Image.new("RGB", (width, height), (116, 84, 58))

    def near(x: int, y: int) -> tuple[int, int]:
        return x + chance.randrange(-60, 60), y + chance.randrange(-60, 60)

    corners = (near(-130, -110), near(-90, 1280), near(950, 1300), near(910, -90))
    lying = sheet.transform((width, height), Image.Transform.QUAD, [c for each in corners for c in each],
                            Image.Resampling.BICUBIC)  # fmt: skip
    covered = Image.new("L", sheet.size, 255).transform(
        (width, height), Image.Transform.QUAD, [c for each in corners for c in each], Image.Resampling.BICUBIC
    )
    table.paste(lying, mask=covered)
    shade = Image.linear_gradient("L").resize((width, height)).rotate(chance.choice((90, 180, 270)), expand=False)
    light = shade.point([150 + value * 105 // 255 for value in range(256)]).filter(ImageFilter.GaussianBlur(40))
    shaded = ImageChops.multiply(table, Image.merge("RGB", (light, light, light)))
    target = io.BytesIO()
    shaded.save(target, "JPEG", quality=70)
    return target.getvalue()


def fax(title: str, pages: Sequence[Sequence[str]], seed: int) -> bytes:
    """Give pages as one black and white TIFF, as multi-page scanners and fax gateways write it (Group 4)."""
    from PIL import Image

    pictures = []
    for number, lines in enumerate(pages):
        with Image.open(io.BytesIO(scans.png(title, lines, seed + number))) as page:
            pictures.append(page.convert("1"))
    target = io.BytesIO()
    pictures[0].save(target, "TIFF", save_all=True, append_images=pictures[1:], compression="group4", dpi=(100, 100))
    return target.getvalue()


def large_plan(title: str, seed: int, strokes: int = 4000) -> bytes:
    """Give a plan of A1 in one page, as drawing programs export it: thousands of fine lines, text at every angle."""
    from reportlab.lib.pagesizes import A1, landscape
    from reportlab.pdfgen.canvas import Canvas

    from tasks.samples.paper import PLAIN, register_fonts

    register_fonts()
    chance, (width, height) = random.Random(seed), landscape(A1)  # noqa: S311 - a drawing, no secret
    target = io.BytesIO()
    canvas = Canvas(target, pagesize=(width, height), invariant=1, pageCompression=1)
    canvas.setTitle(title)
    canvas.setLineWidth(0.18)
    for _ in range(strokes):
        x, y = chance.uniform(60, width - 60), chance.uniform(60, height - 60)
        if chance.random() < 0.5:
            canvas.line(x, y, x + chance.uniform(-90, 90), y)
        else:
            canvas.line(x, y, x, y + chance.uniform(-90, 90))
    canvas.setFont(PLAIN, 7)
    for number in range(strokes // 40):
        canvas.saveState()
        canvas.translate(chance.uniform(80, width - 80), chance.uniform(80, height - 80))
        canvas.rotate(chance.choice((0, 45, 90)))
        canvas.drawString(0, 0, f"{number / 10:.2f} m")
        canvas.restoreState()
    canvas.setFont(PLAIN, 24)
    canvas.drawString(80, 40, title)
    canvas.save()
    return target.getvalue()


def docx(paragraphs: Sequence[str]) -> bytes:
    """Give a text as a word processor of Microsoft writes it (ECMA-376), small."""
    body = "".join(f"<w:p><w:r><w:t>{escape(each)}</w:t></w:r></w:p>" for each in paragraphs)
    relation = f"{_PARTS}/officeDocument/2006/relationships/officeDocument"
    return _package({
        "[Content_Types].xml": f'<Types xmlns="{_PARTS}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument'
        '.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PARTS}/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{relation}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{_WORDS}"><w:body>{body}</w:body></w:document>',
    })  # fmt: skip


def odt(paragraphs: Sequence[str]) -> bytes:
    """Give a text as LibreOffice writes it (ODF 1.3), small."""
    names = "urn:oasis:names:tc:opendocument:xmlns"
    body = "".join(f"<text:p>{escape(each)}</text:p>" for each in paragraphs)
    return _package({
        "mimetype": _ODT,
        "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{names}:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{_ODT}"/>'
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/></manifest:manifest>',
        "content.xml": f'<office:document-content xmlns:office="{names}:office:1.0" xmlns:text="{names}:text:1.0"'
        f' office:version="1.3"><office:body><office:text>{body}</office:text></office:body>'
        "</office:document-content>",
    })  # fmt: skip


def _package(parts: dict[str, str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, text in parts.items():
            made.writestr(zipfile.ZipInfo(name, _WRITTEN), text.encode())
    return target.getvalue()


@dataclass(frozen=True)
class _SampleSigner:
    """A key that everybody knows, so that a signed sample is the same at each run; it vouches for nobody."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _sample_signer() -> _SampleSigner:
    number = int.from_bytes(hashlib.sha256(b"minutier sample signer").digest(), "big") >> 1
    key = ec.derive_private_key(number, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Signataire d'exemple - SPECIMEN")])
    start = datetime(*_WRITTEN, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(20260302)
        .not_valid_before(start - timedelta(days=1))
        .not_valid_after(start + timedelta(days=3650))
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return _SampleSigner(key, (certificate,))


def signed(document: bytes) -> bytes:
    """Give a PDF with an electronic signature over all of it (ISO 32000-1 §12.8, ETSI.CAdES.detached)."""
    import pikepdf

    with pikepdf.open(io.BytesIO(document)) as pdf:
        value = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Sig,
                Filter=pikepdf.Name("/Adobe.PPKLite"),
                SubFilter=pikepdf.Name("/ETSI.CAdES.detached"),
                ByteRange=pikepdf.Array([0, 9_999_999_999, 9_999_999_999, 9_999_999_999]),
                Contents=pikepdf.String(b"\xff" * (_ROOM // 2)),
            )
        )
        field = pdf.make_indirect(
            pikepdf.Dictionary(
                Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Widget, FT=pikepdf.Name.Sig,
                T=pikepdf.String("signature"), V=value, Rect=pikepdf.Array([0, 0, 0, 0]), F=132, P=pdf.pages[0].obj,
            )
        )  # fmt: skip
        pdf.pages[0].obj.Annots = pikepdf.Array([field])
        pdf.Root.AcroForm = pikepdf.Dictionary(Fields=pikepdf.Array([field]), SigFlags=3)
        target = io.BytesIO()
        pdf.save(target, object_stream_mode=pikepdf.ObjectStreamMode.disable, deterministic_id=True)
    data = target.getvalue()
    hole = data.index(b"<" + b"ff" * 100)
    end = data.index(b">", hole) + 1
    wide = b"[ 0 9999999999 9999999999 9999999999 ]"
    covered = f"[ 0 {hole} {end} {len(data) - end} ]".encode().ljust(len(wide))
    data = data.replace(wide, covered, 1)
    signature = seal(data[:hole] + data[end:], _sample_signer(), datetime(*_WRITTEN, tzinfo=UTC))
    return data[:hole] + b"<" + signature.hex().encode().ljust(end - hole - 2, b"0") + b">" + data[end:]
