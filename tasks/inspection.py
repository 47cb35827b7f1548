"""What a document holds, found by parsing it. These functions run in the isolated child only (tasks/isolate.py).

They take and give JSON-able values. A refusal is `{"refused": code, "detail": sentence}`; anything else is facts.
"""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from tasks import formats
from tasks.malware import carries_test_signature

if TYPE_CHECKING:
    import pikepdf

_MAX_DEPTH = 32
_MAX_FIELDS = 20_000
_BLOCK = 1 << 20


def warm() -> None:
    """Import the engines and touch their lazy parts, once, in the worker."""
    import pikepdf
    from PIL import Image

    Image.preinit()
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        list(_flags(pdf))


def _refused(code: str, detail: str) -> dict[str, Any]:
    return {"refused": code, "detail": detail}


# --- PDF ---------------------------------------------------------------------------------------------------------


def inspect_pdf(path: str, max_pages: int, max_bytes: int, extract: str = "") -> dict[str, Any]:
    """Open a PDF as it is written, without recovery; give its pages and flags.

    With `extract` (a directory), write every attachment and an uncompressed copy there, for the antivirus: engines
    miss what is inside some compressed objects.
    """
    import pikepdf

    try:
        with pikepdf.open(path, attempt_recovery=False, suppress_warnings=True) as pdf:
            pages = len(pdf.pages)
            if pages == 0:
                return _refused("NO_PAGES", "it has no page")
            if pages > max_pages:
                return _refused("TOO_LARGE", f"it has {pages} pages, the limit is {max_pages}")
            _touch_pages(pdf)
            infected = _attachments(pdf, max_bytes, extract)
            if infected:
                return _refused("MALWARE", infected)
            if extract:
                pdf.save(
                    Path(extract) / "expanded",
                    compress_streams=False,
                    stream_decode_level=pikepdf.StreamDecodeLevel.generalized,
                    object_stream_mode=pikepdf.ObjectStreamMode.disable,
                    encryption=False,
                )
            return {"pages": pages, "flags": sorted(_flags(pdf)), "format": f"PDF {pdf.pdf_version}"}
    except pikepdf.PasswordError:
        return _refused("ENCRYPTED", "it needs a password to be opened")
    except pikepdf.PdfError as error:
        text = str(error)
        if "encrypt" in text.lower() or "security handler" in text.lower():
            return _refused("ENCRYPTED", "it is encrypted in a way that cannot be opened without a key")
        return _refused("DAMAGED", _plain(text, path))


def _plain(text: str, path: str) -> str:
    """Keep the parser's reason, without the path of the spool."""
    return text.replace(path, "").strip(" :()")[:200] or "its structure cannot be read"


def _touch_pages(pdf: pikepdf.Pdf) -> None:
    """Read every page's dictionary and media box, so that lost objects are found now; PdfError when one is lost."""
    import pikepdf

    for number, page in enumerate(pdf.pages, start=1):
        kind = page.obj.get("/Type", pikepdf.Name.Page)
        if kind != pikepdf.Name.Page:
            raise pikepdf.PdfError(f"page {number} is not a page")


def _attachments(pdf: pikepdf.Pdf, max_bytes: int, extract: str) -> str:
    """Scan attachments; give a sentence when one carries the test signature ("" = none)."""
    total = 0
    for index, (_, specification) in enumerate(pdf.attachments.items()):
        if not _holds_file(specification):
            continue
        data = specification.get_file().read_bytes()
        total += len(data)
        if total > max_bytes:
            raise MemoryError
        if carries_test_signature(data):
            return "an attachment carries the antivirus test signature"
        if extract:
            (Path(extract) / f"attachment-{index}").write_bytes(data)
    return ""


def _holds_file(specification: pikepdf.AttachedFileSpec) -> bool:
    """Tell a file that is inside from a mere address (ISO 32000-1 §7.11.3: /EF is optional)."""
    import pikepdf

    return isinstance(specification.obj.get("/EF"), pikepdf.Dictionary)


def _flags(pdf: pikepdf.Pdf) -> Iterator[str]:
    import pikepdf

    root = pdf.Root
    form = root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary):
        if "/XFA" in form:
            yield "xfa"
        if _signed(form):
            yield "signed"
    if pdf.is_encrypted:
        yield "encrypted-owner"
    if len(pdf.attachments) or "/AF" in root:
        yield "attachments"
    names = root.get("/Names")
    if (isinstance(names, pikepdf.Dictionary) and "/JavaScript" in names) or any(map(_is_script, _actions(pdf))):
        yield "javascript"


def _signed(form: pikepdf.Object) -> bool:
    """Find a signature field with a value (ISO 32000-1 §12.7.4.5); /SigFlags alone is only a promise."""
    import pikepdf

    waiting = [(field, 0) for field in _items(form.get("/Fields"))]
    seen = 0
    while waiting and seen < _MAX_FIELDS:
        field, depth = waiting.pop()
        seen += 1
        if not isinstance(field, pikepdf.Dictionary):
            continue
        value = field.get("/V")
        if isinstance(value, pikepdf.Dictionary) and "/ByteRange" in value:
            return True
        if depth < _MAX_DEPTH:
            waiting += [(kid, depth + 1) for kid in _items(field.get("/Kids"))]
    return False


def _items(value: Any) -> list[Any]:
    import pikepdf

    return list(value) if isinstance(value, pikepdf.Array) else []


def _actions(pdf: pikepdf.Pdf) -> Iterator[Any]:
    """Give the actions of the document, its pages, their annotations and form fields."""
    import pikepdf

    holders: list[Any] = [pdf.Root]
    for page in pdf.pages:
        holders.append(page.obj)
        holders += _items(page.obj.get("/Annots"))
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary):
        holders += _items(form.get("/Fields"))
    for holder in holders:
        if isinstance(holder, pikepdf.Dictionary):
            yield from (holder.get(key) for key in ("/OpenAction", "/A") if key in holder)
            more = holder.get("/AA")
            if isinstance(more, pikepdf.Dictionary):
                yield from (more.get(key) for key in more.keys())  # noqa: SIM118 - a pikepdf dictionary iterates otherwise


def _is_script(action: Any) -> bool:
    import pikepdf

    for _ in range(_MAX_DEPTH):
        if not isinstance(action, pikepdf.Dictionary):
            return False
        if "/JS" in action:
            return True
        following = action.get("/Next")
        if isinstance(following, pikepdf.Array):
            return any("/JS" in item for item in following if isinstance(item, pikepdf.Dictionary))
        action = following
    return False


# --- images ------------------------------------------------------------------------------------------------------


def inspect_image(path: str, max_pages: int, max_pixels: int) -> dict[str, Any]:
    """Read an image's headers and check that its data is all there, without decoding its pixels."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked on every frame below; nothing is decoded here
    try:
        with Image.open(path) as image:
            pages = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            if pages > max_pages:
                return _refused("TOO_LARGE", f"it has {pages} pages, the limit is {max_pages}")
            for frame in range(pages):
                if pages > 1:
                    image.seek(frame)
                width, height = image.size
                if width * height > max_pixels:
                    return _refused("TOO_LARGE", f"it has {width} × {height} pixels, the limit is {max_pixels} in all")
                if image.format == "TIFF" and _tiff_lost(image, Path(path).stat().st_size):
                    return _refused("DAMAGED", "part of its image data is beyond the end of the file")
            whole = {"JPEG": _jpeg_whole, "MPO": _jpeg_whole, "PNG": _png_whole}.get(image.format or "")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError) as error:
        return _refused("DAMAGED", f"its headers cannot be read ({type(error).__name__})")
    reason = whole(Path(path)) if whole else ""
    return _refused("DAMAGED", reason) if reason else {"pages": pages, "flags": []}


def _tiff_lost(image: Any, size: int) -> bool:
    """Tell whether a strip or tile lies beyond the end of the file (TIFF 6.0: tags 273/279 and 324/325)."""
    tags = image.tag_v2
    for where, length in ((273, 279), (324, 325)):
        if where in tags and length in tags:
            return any(start + count > size for start, count in zip(tags[where], tags[length], strict=False))
    return False


def _jpeg_whole(path: Path) -> str:
    """Find the end marker after the beginning of the scan (ITU-T T.81 B.1.1.3); an embedded preview has its own."""
    data = path.read_bytes()
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:
            return "" if data.find(b"\xff\xd9", position) >= 0 else "its end marker is missing: the end is lost"
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return "its segments cannot be followed to the image data"


def _png_whole(path: Path) -> str:
    """Walk over the chunks to IEND (PNG §5.3)."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        position = 8
        while position + 12 <= size:
            stream.seek(position)
            head = stream.read(8)
            position += 12 + int.from_bytes(head[:4], "big")
            if head[4:] == b"IEND":
                return "" if position <= size else "its last chunk is cut"
    return "its end chunk (IEND) is missing: the end is lost"


# --- packages and XML --------------------------------------------------------------------------------------------


def inspect_package(
    path: str, format_name: str, max_bytes: int, max_expansion: int, max_members: int
) -> dict[str, Any]:
    """Read a DOCX or ODT to its end: every member's checksum, within a limit of expansion."""
    try:
        with zipfile.ZipFile(path) as package:
            members = package.infolist()
            packed = max(1, Path(path).stat().st_size)
            stated = sum(member.file_size for member in members)
            if len(members) > max_members or stated > max_bytes * 4 or stated > packed * max_expansion:
                return _refused("TOO_LARGE", "it expands beyond the limits of a document")
            if any(member.flag_bits & 1 for member in members):
                return _refused("ENCRYPTED", "it needs a password to be opened")
            names = {member.filename for member in members}
            needed = "word/document.xml" if format_name == formats.DOCX.name else "content.xml"
            if needed not in names:
                return _refused("DAMAGED", f"its main part ({needed}) is missing")
            for member in members:
                if _member_infected(package, member):
                    return _refused("MALWARE", "a part of it carries the antivirus test signature")
            return {"pages": 0, "flags": ["macros"] if any(n.endswith("vbaProject.bin") for n in names) else []}
    except RuntimeError as error:
        if isinstance(error, NotImplementedError):
            return _refused("DAMAGED", "it is packed in a way that office programs do not use")
        return _refused("ENCRYPTED", "it needs a password to be opened")
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError) as error:
        return _refused("DAMAGED", f"its container cannot be read ({type(error).__name__})")


def _member_infected(package: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    kept = b""
    with package.open(member) as stream:
        while block := stream.read(_BLOCK):
            if carries_test_signature(kept + block):
                return True
            kept = block[-128:]
    return False


def inspect_xml(path: str) -> dict[str, Any]:
    """Check that XML is well-formed; entities are neither fetched nor (by expat's own limit) blown up."""
    parser = expat.ParserCreate()
    depth = 0

    def start(_name: str, _attributes: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > 1000:
            raise ValueError("nested too deeply")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        with Path(path).open("rb") as stream:
            parser.ParseFile(stream)
    except (expat.ExpatError, ValueError, LookupError) as error:
        return _refused("DAMAGED", f"it is not well-formed XML ({re.sub(r'[^ -~]', '?', str(error))[:100]})")
    return {"pages": 0, "flags": []}
