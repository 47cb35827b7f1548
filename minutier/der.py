"""DER (ITU-T X.690), strict: one value has exactly one sequence of bytes, and everything else is refused.

Only what RFC 3161, RFC 4998 and RFC 5652 need: low tag numbers, definite minimal lengths, minimal integers. Reading
raises `DerError`; writing gives bytes. Nothing here knows a certificate or a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8_STRING, UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x0A, 0x0C, 0x17, 0x18, 0x30, 0x31

_TIME = re.compile(rb"(\d{14})(?:\.(\d{0,5}[1-9]))?Z")
_MAX_LENGTH_OCTETS = 4
_MAX_INTEGER_OCTETS = 128


class DerError(ValueError):
    """The bytes are not the strict DER form of what was expected."""


@dataclass(frozen=True, slots=True)
class Element:
    """One DER element: its identifier octet, its content octets and its whole encoding."""

    tag: int
    content: bytes
    encoded: bytes

    def children(self) -> list[Element]:
        """Read the content of a constructed element as a run of elements."""
        if not self.tag & 0x20:
            raise DerError(f"element 0x{self.tag:02x} is primitive: it has no children")
        result, offset = [], 0
        while offset < len(self.content):
            element = _element(self.content, offset)
            result.append(element)
            offset += len(element.encoded)
        return result

    def reader(self, tag: int = SEQUENCE) -> Reader:
        """Read the children of an element that must carry `tag`."""
        self.require(tag)
        return Reader(self.children())

    def require(self, tag: int) -> Element:
        """Give the element itself, or raise DerError when it does not carry `tag`."""
        if self.tag != tag:
            raise DerError(f"tag 0x{tag:02x} was expected, 0x{self.tag:02x} found")
        return self

    def retagged(self, tag: int) -> Element:
        """Give the same content under another tag (IMPLICIT tagging, X.690 §8.14)."""
        return Element(tag, self.content, tlv(tag, self.content))

    def set_members(self, tag: int = SET) -> list[Element]:
        """Read a SET OF: not empty, members in ascending order of their encodings (X.690 §11.6), none twice."""
        self.require(tag)
        members = self.children()
        encodings = [member.encoded for member in members]
        if not members or any(left >= right for left, right in pairwise(encodings)):
            raise DerError("a SET OF is not empty, and is sorted without duplicates in DER")
        return members

    def as_integer(self) -> int:
        """Read an INTEGER in its minimal two's complement form, of at most 128 octets: none here is longer."""
        data = self.require(INTEGER).content
        if len(data) > _MAX_INTEGER_OCTETS:  # Python writes no longer ones in decimal, and a message would fail
            raise DerError("INTEGER is too long")
        if not data or (len(data) > 1 and (data[0], data[1] & 0x80) in ((0, 0), (0xFF, 0x80))):
            raise DerError("INTEGER is not minimal")
        return int.from_bytes(data, "big", signed=True)

    def as_boolean(self) -> bool:
        """Read a BOOLEAN; DER spells true as 0xFF only."""
        data = self.require(BOOLEAN).content
        if data not in (b"\x00", b"\xff"):
            raise DerError("BOOLEAN is 0x00 or 0xFF")
        return data == b"\xff"

    def as_octets(self) -> bytes:
        """Give the content of an OCTET STRING."""
        return self.require(OCTET_STRING).content

    def as_oid(self) -> str:
        """Read an OBJECT IDENTIFIER as dotted numbers."""
        data = self.require(OID).content
        if not data or data[-1] & 0x80:
            raise DerError("OBJECT IDENTIFIER is cut")
        arcs, value, first = [], 0, True
        for octet in data:
            if first and octet == 0x80:
                raise DerError("OBJECT IDENTIFIER arc is not minimal")
            value, first = value << 7 | octet & 0x7F, not octet & 0x80
            if first:
                arcs.append(value)
                value = 0
        top = min(arcs[0] // 40, 2)
        return ".".join(str(arc) for arc in (top, arcs[0] - 40 * top, *arcs[1:]))

    def as_time(self) -> datetime:
        """Read a GeneralizedTime in UTC with seconds and at most six decimals (RFC 3161 §2.4.2), no trailing zero."""
        match = _TIME.fullmatch(self.require(GENERALIZED_TIME).content)
        if match is None:
            raise DerError("GeneralizedTime is YYYYMMDDhhmmss[.fraction]Z")
        try:
            # Exactly fourteen digits: strptime has no room for one-digit fields.
            whole = datetime.strptime(match.group(1).decode(), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise DerError(f"GeneralizedTime: {error}") from error
        return whole + timedelta(microseconds=int((match.group(2) or b"0").ljust(6, b"0")))


class Reader:
    """Walks over the fields of a SEQUENCE in order, with optional ones, and insists on the end."""

    def __init__(self, elements: Iterable[Element]) -> None:
        self._elements = list(elements)
        self._at = 0

    def next(self, tag: int | None = None) -> Element:
        """Take the next field; DerError at the end or when it does not carry `tag`."""
        if self._at >= len(self._elements):
            raise DerError("a field is missing")
        element = self._elements[self._at]
        if tag is not None:
            element.require(tag)
        self._at += 1
        return element

    def optional(self, tag: int) -> Element | None:
        """Take the next field when it carries `tag`, else None."""
        if self._at < len(self._elements) and self._elements[self._at].tag == tag:
            return self.next()
        return None

    def end(self) -> None:
        """Raise DerError when a field is left."""
        if self._at != len(self._elements):
            raise DerError(f"unexpected field 0x{self._elements[self._at].tag:02x}")


def read(data: bytes) -> Element:
    """Read exactly one element that fills `data`."""
    element = _element(data, 0)
    if len(element.encoded) != len(data):
        raise DerError(f"{len(data) - len(element.encoded)} bytes follow the element")
    return element


def _element(data: bytes, start: int) -> Element:
    if len(data) - start < 2:
        raise DerError("element is cut")
    tag, length, offset = data[start], data[start + 1], start + 2
    if tag & 0x1F == 0x1F:
        raise DerError("high tag numbers are not used here")
    if length == 0x80 or length > 0x80 + _MAX_LENGTH_OCTETS:
        raise DerError("length is indefinite or too long")
    if length > 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[offset : offset + count], "big")
        if data[offset : offset + 1] == b"\x00" or length < 0x80:
            raise DerError("length is not minimal")
        offset += count
    if len(data) - offset < length:
        raise DerError("element is cut")
    return Element(tag, data[offset : offset + length], data[start : offset + length])


def tlv(tag: int, *parts: bytes) -> bytes:
    """Write one element: identifier octet, minimal length, joined contents."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """Write a SEQUENCE of encoded elements."""
    return tlv(SEQUENCE, *parts)


def set_of(*parts: bytes, tag: int = SET) -> bytes:
    """Write a SET OF: members sorted by their encodings (X.690 §11.6)."""
    return tlv(tag, *sorted(parts))


def context(number: int, *parts: bytes) -> bytes:
    """Write a constructed context-specific element `[number]`."""
    return tlv(0xA0 | number, *parts)


def integer(value: int) -> bytes:
    """Write an INTEGER."""
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return tlv(INTEGER, value.to_bytes(size, "big", signed=True))


def octets(data: bytes) -> bytes:
    """Write an OCTET STRING."""
    return tlv(OCTET_STRING, data)


def boolean(value: bool) -> bytes:
    """Write a BOOLEAN."""
    return tlv(BOOLEAN, b"\xff" if value else b"\x00")


def null() -> bytes:
    """Write a NULL."""
    return tlv(NULL)


def oid(dotted: str) -> bytes:
    """Write an OBJECT IDENTIFIER given as dotted numbers."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    content = bytearray()
    for arc in (40 * first + second, *rest):
        piece = [arc & 0x7F]
        while arc := arc >> 7:
            piece.append(arc & 0x7F | 0x80)
        content += bytes(reversed(piece))
    return tlv(OID, bytes(content))


def generalized_time(moment: datetime) -> bytes:
    """Write a GeneralizedTime in UTC; the fraction appears only when there is one, without trailing zeros."""
    utc = moment.astimezone(UTC)
    fraction = f".{utc.microsecond:06d}".rstrip("0") if utc.microsecond else ""
    return tlv(GENERALIZED_TIME, f"{utc.year:04d}{utc:%m%d%H%M%S}{fraction}Z".encode())


def cms_time(moment: datetime) -> bytes:
    """Write a CMS Time: UTCTime up to 2049, GeneralizedTime after (RFC 5652 §11.3); whole seconds."""
    utc = moment.astimezone(UTC).replace(microsecond=0)
    return tlv(UTC_TIME, f"{utc:%y%m%d%H%M%S}Z".encode()) if utc.year < 2050 else generalized_time(utc)


def read_cms_time(element: Element) -> datetime:
    """Read a CMS Time (RFC 5652 §11.3): UTCTime means 1950 to 2049."""
    if element.tag != UTC_TIME:
        return element.as_time()
    century = b"19" if element.content[:1] >= b"5" else b"20"
    return Element(GENERALIZED_TIME, century + element.content, b"").as_time()
