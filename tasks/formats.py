"""Format identification by content: a strict reading of the head and the tail, then agreement with the name.

Accepted formats are few on purpose. Formats that are recognised but not accepted are named in the refusal. The second
signature rules (PDF+ZIP, JPEG+PDF, ...) find files that two programs would read as two different documents.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

HEAD_BYTES = 4096
# ISO 32000-1 annex H, implementation notes 13 and 18: readers look for the header and %%EOF within 1024 bytes.
TOLERANCE = 1024
_ZIP_TAIL = 65_535 + 22
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Format:
    """A recognised format: its name for people, media type, extensions that agree with it, and whether it is taken."""

    name: str
    media_type: str
    extensions: frozenset[str]
    accepted: bool = True


def _format(name: str, media_type: str, *extensions: str, accepted: bool = True) -> Format:
    return Format(name, media_type, frozenset(extensions), accepted)


PDF = _format("PDF", "application/pdf", ".pdf")
JPEG = _format("JPEG", "image/jpeg", ".jpg", ".jpeg", ".jpe", ".jfif")
PNG = _format("PNG", "image/png", ".png")
TIFF = _format("TIFF", "image/tiff", ".tif", ".tiff")
DOCX = _format("DOCX", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx")
ODT = _format("ODT", "application/vnd.oasis.opendocument.text", ".odt")
XML = _format("XML", "application/xml", ".xml")
TEXT = _format("plain text", "text/plain", ".txt", ".text", ".log", ".md")
CSV = _format("CSV", "text/csv", ".csv")
ACCEPTED = (PDF, JPEG, PNG, TIFF, DOCX, ODT, XML, TEXT, CSV)

ZIP = _format("ZIP", "application/zip", ".zip", accepted=False)
HTML = _format("HTML", "text/html", ".html", ".htm", ".xhtml", accepted=False)
SVG = _format("SVG", "image/svg+xml", ".svg", accepted=False)

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"PK\x03\x04", ZIP),
    (b"PK\x05\x06", ZIP),
    (b"GIF87a", _format("GIF", "image/gif", ".gif", accepted=False)),
    (b"GIF89a", _format("GIF", "image/gif", ".gif", accepted=False)),
    (b"BM", _format("BMP", "image/bmp", ".bmp", accepted=False)),
    (b"\x00\x00\x00\x0cjP  ", _format("JPEG 2000", "image/jp2", ".jp2", accepted=False)),
    (b"\x7fELF", _format("ELF program", "application/x-elf", accepted=False)),
    (
        b"MZ",
        _format("Windows program", "application/vnd.microsoft.portable-executable", ".exe", ".dll", accepted=False),
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        _format("OLE2 (old Office)", "application/x-ole-storage", ".doc", ".xls", ".ppt", ".msg", accepted=False),
    ),
    (b"{\\rtf", _format("RTF", "application/rtf", ".rtf", accepted=False)),
    (b"Rar!\x1a\x07", _format("RAR", "application/vnd.rar", ".rar", accepted=False)),
    (b"7z\xbc\xaf\x27\x1c", _format("7-Zip", "application/x-7z-compressed", ".7z", accepted=False)),
    (b"\x1f\x8b", _format("gzip", "application/gzip", ".gz", ".tgz", accepted=False)),
    (b"%!PS", _format("PostScript", "application/postscript", ".ps", ".eps", accepted=False)),
)
_BINARY_TAIL_CHECKED = frozenset({PDF, JPEG, PNG, TIFF})
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Sniff:
    """What the bytes say: the format (None = unknown), and the name of a second format they also carry ("" = none)."""

    format: Format | None
    second: str = ""


def sniff(path: Path) -> Sniff:
    """Identify the file by its bytes alone. DOCX and ODT are told from other ZIP files."""
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        size = stream.seek(0, 2)
        found = _by_signature(head, stream)
        if found is None:
            found = _as_text(path, head)
        return Sniff(found, _second_signature(found, head, stream, size))


def agrees(name: str, found: Format) -> bool:
    """Tell whether the extension of `name` agrees with the content; a name without extension claims nothing."""
    extension = PurePath(name).suffix.lower()
    if not extension or extension in found.extensions:
        return True
    # Plain text is what a CSV file is made of; the extension decides between the two.
    return found is TEXT and extension in CSV.extensions


def settle(name: str, found: Format) -> Format:
    """Give the final format: text named .csv is CSV."""
    return CSV if found is TEXT and PurePath(name).suffix.lower() in CSV.extensions else found


def _by_signature(head: bytes, stream: BinaryIO) -> Format | None:
    if re.match(rb"(?:\xef\xbb\xbf)?[\x00\t\n\x0c\r ]{0,1000}%PDF-\d\.\d", head):
        return PDF
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return _package(head, stream) if found is ZIP else found
    return None


def _package(head: bytes, stream: BinaryIO) -> Format:
    """Tell DOCX and ODT from other ZIP files (OPC part 2 §10; ODF 1.3 part 2 §3.3: `mimetype` stored first)."""
    if head[30:38] == b"mimetype" and head[38:].startswith(ODT.media_type.encode()):
        # "…text-template", "…text-master" begin in the same way; the next entry follows the exact media type.
        after = head[38 + len(ODT.media_type) :][:2]
        return ODT if after in (b"PK", b"") else ZIP
    stream.seek(0, 2)
    stream.seek(max(0, stream.tell() - (1 << 20)))
    directory = stream.read()
    if b"word/document.xml" in directory and b"[Content_Types].xml" in directory:
        return DOCX
    # A truncated DOCX has lost its directory: its first entry still names what it was.
    return DOCX if head[30:49] == b"[Content_Types].xml" and b"word/" in head + directory else ZIP


def _as_text(path: Path, head: bytes) -> Format | None:
    if not head or not _decodes(path, head):
        return None
    beginning = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")
    beginning = beginning.lstrip("\ufeff \t\r\n").lower()
    if beginning.startswith(("<!doctype html", "<html")):
        return HTML
    if beginning.startswith("<?xml"):
        without_comments = re.sub(r"<!--.*?(?:-->|\Z)", "", beginning[5:], flags=re.DOTALL)
        root = re.search(r"<([a-z_][\w.-]*:)?([a-z_][\w.-]*)", without_comments)
        return {"svg": SVG, "html": HTML}.get(root.group(2), XML) if root else XML
    return TEXT


def _decodes(path: Path, head: bytes) -> bool:
    """Tell whether the whole file is text: UTF-8, UTF-16 with a mark, or Windows-1252, without control characters."""
    encodings = ["utf-16"] if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ["utf-8", "cp1252"]
    for encoding in encodings:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    if _CONTROL.search(decoder.decode(block)):
                        return False
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return True
    return False


def _second_signature(found: Format | None, head: bytes, stream: BinaryIO, size: int) -> str:
    """Name a second format carried by the same bytes: another program would show another document."""
    stream.seek(max(0, size - _ZIP_TAIL))
    tail = stream.read()
    header = head.find(b"%PDF-", 0, TOLERANCE)
    if header >= 0 and found is not PDF and (found not in (TEXT, XML) or b"%%EOF" in tail[-TOLERANCE:]):
        return "PDF" if found is not None else ""
    if found in (JPEG, PNG, TIFF) and b"%%EOF" in tail[-TOLERANCE:] and b"startxref" in tail[-TOLERANCE:]:
        return "PDF"
    if found in _BINARY_TAIL_CHECKED and _ends_as_zip(tail, found):
        return "ZIP"
    return ""


def _ends_as_zip(tail: bytes, found: Format | None) -> bool:
    """Find a ZIP end record that belongs to the file itself, not to something embedded in it (APPNOTE 4.3.16)."""
    end_of_pdf = tail.rfind(b"%%EOF") if found is PDF else -1
    position = tail.rfind(b"PK\x05\x06")
    while position >= 0:
        if position + 22 <= len(tail):
            comment = int.from_bytes(tail[position + 20 : position + 22], "little")
            if position + 22 + comment == len(tail) or (found is PDF and 0 <= end_of_pdf < position):
                return True
        position = tail.rfind(b"PK\x05\x06", 0, position)
    return False
