"""Drawing digest: one SHA-256 per page over everything that decides what the page shows.

Equal digests mean: same content streams once decoded, same resources, boxes, rotation and visible annotations. What a
PDF/A preparation may change without touching the drawing (image interpolation hint, WinAnsi base encoding of a TrueType
font that already drew with it, filters, links to the rest of the document) is left out. Runs in the isolated child.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import pikepdf

_PAGE_KEYS = ("/Contents", "/Resources", "/MediaBox", "/CropBox", "/Rotate", "/UserUnit", "/Group")
_ANNOTATION_KEYS = ("/Subtype", "/Rect", "/AS", "/C", "/Border", "/BS")
# Writing details, and links that lead back to the rest of the document.
_LEFT_OUT = frozenset(
    [
        "/Length",
        "/Interpolate",
        "/CIDSet",
        "/Metadata",
        "/PieceInfo",
        "/LastModified",
        "/Parent",
        "/P",
        "/AA",
        "/A",
        "/StructParent",
        "/StructParents",
        "/DL",
        "/ProcSet",
        "/Name",
    ]
)
_FILTERS = frozenset(["/Filter", "/DecodeParms", "/F", "/FFilter", "/FDecodeParms"])
# ISO 32000-1 table 165: Invisible, Hidden, NoView, ToggleNoView.
_NOT_VIEWABLE = 0x01 | 0x02 | 0x20 | 0x100


def equal(first: Path | BinaryIO, second: Path) -> bool:
    """Tell whether two files draw the same pages.

    Flate images are compared packed first, which is ten times faster on scans; when that differs (the writer packs
    LZW again as Flate, say), unpacked.
    """
    import pikepdf

    with pikepdf.open(first, suppress_warnings=True) as one, pikepdf.open(second) as two:
        return digests(one) == digests(two) or digests(one, unpack=True) == digests(two, unpack=True)


def digests(pdf: pikepdf.Pdf, *, unpack: bool = False) -> list[str]:
    """Give one digest (hexadecimal SHA-256) per page, in page order; `unpack` reads Flate images unpacked."""
    walk = _Walk(unpack=unpack)
    return [walk.page(page) for page in pdf.pages]


class _Walk:
    """Digests of objects, each indirect object computed once; an object met inside itself counts as a mark."""

    def __init__(self, *, unpack: bool) -> None:
        self._unpack = unpack
        self._known: dict[tuple[int, int], bytes] = {}

    def page(self, page: pikepdf.Page) -> str:
        import pikepdf

        total = hashlib.sha256()
        for key in _PAGE_KEYS:
            value = page.obj.get(key)
            if value is None:
                continue
            total.update(key.encode())
            total.update(self._contents(value) if key == "/Contents" else self.of(value))
        annotations = page.obj.get("/Annots")
        if isinstance(annotations, pikepdf.Array):
            for annotation in annotations:
                total.update(self._annotation(annotation))
        return total.hexdigest()

    def _contents(self, value: pikepdf.Object) -> bytes:
        """Digest content streams joined as a reader joins them: how they are split shows nothing."""
        import pikepdf

        parts = list(value) if isinstance(value, pikepdf.Array) else [value]
        joined = hashlib.sha256()
        for part in parts:
            if isinstance(part, pikepdf.Stream):
                joined.update(part.read_bytes() + b"\n")
        return joined.digest()

    def _annotation(self, annotation: Any) -> bytes:
        import pikepdf

        if not isinstance(annotation, pikepdf.Dictionary) or annotation.get("/Subtype") == pikepdf.Name.Popup:
            return b""
        flags = annotation.get("/F", 0)
        if isinstance(flags, int) and flags & _NOT_VIEWABLE:
            return b""
        total = hashlib.sha256()
        for key in _ANNOTATION_KEYS:
            if key in annotation:
                total.update(key.encode() + self.of(annotation.get(key)))
        appearance = annotation.get("/AP")
        if isinstance(appearance, pikepdf.Dictionary) and "/N" in appearance:
            total.update(self.of(appearance.get("/N")))
        return total.digest()

    def of(self, value: Any) -> bytes:
        """Digest any object."""
        import pikepdf

        if not isinstance(value, pikepdf.Object) or isinstance(value, pikepdf.Name | pikepdf.String):
            return _scalar(value)
        identity = value.objgen if value.is_indirect else (0, 0)
        if identity in self._known:
            return self._known[identity]
        if identity != (0, 0):
            self._known[identity] = b"met again"
        if isinstance(value, pikepdf.Array):
            result = hashlib.sha256(b"[" + b"".join(self.of(item) for item in value)).digest()
        elif isinstance(value, pikepdf.Stream):
            result = self._stream(value)
        elif isinstance(value, pikepdf.Dictionary):
            result = self._entries(value, _LEFT_OUT)
        else:
            result = hashlib.sha256(value.unparse()).digest()
        if identity != (0, 0):
            self._known[identity] = result
        return result

    def _entries(self, value: pikepdf.Object, left_out: frozenset[str]) -> bytes:
        import pikepdf

        total = hashlib.sha256(b"<")
        for key in sorted(set(value.keys()) - left_out):
            item = value.get(key)
            if item is None or (key == "/BaseEncoding" and item == pikepdf.Name.WinAnsiEncoding):
                continue
            total.update(key.encode("utf-8", "surrogateescape") + b" " + self.of(item))
        return total.digest()

    def _stream(self, value: pikepdf.Stream) -> bytes:
        import pikepdf

        packed = value.get("/Subtype") == pikepdf.Name.Image and value.get("/Filter") == pikepdf.Name.FlateDecode
        left_out = _LEFT_OUT
        if packed and not self._unpack:
            data = value.read_raw_bytes()
        else:
            try:
                data, left_out = value.read_bytes(), _LEFT_OUT | _FILTERS
            except pikepdf.PdfError:
                # An image codec (or damage): the packed bytes themselves are what must stay.
                data = value.read_raw_bytes()
        return hashlib.sha256(self._entries(value, left_out) + hashlib.sha256(data).digest()).digest()


def _scalar(value: Any) -> bytes:
    if isinstance(value, Decimal):
        value = value.normalize()
        value = int(value) if value == value.to_integral_value() else value
    text = bytes(value) if not isinstance(value, bool | int | Decimal) and value is not None else str(value).encode()
    return hashlib.sha256(type(value).__name__.encode() + b" " + text).digest()
