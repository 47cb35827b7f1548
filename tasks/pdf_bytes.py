"""PDF read as bytes: is the file whole, and does its syntax keep the byte-level rules of PDF/A (ISO 19005 clause 6.1)?

Parsers repair silently, so neither question may be asked of a parser. `damage` is tolerant (what readers accept);
`syntax_faults` is severe (a fault only costs a rewriting of the rendition, a miss would approve a bad file).
"""

from __future__ import annotations

import re
from pathlib import Path

from tasks.formats import TOLERANCE

_XREF = re.compile(rb"[\x00\t\n\x0c\r ]*(?:xref\b|\d{1,10}[\x00\t\n\x0c\r ]+\d{1,5}[\x00\t\n\x0c\r ]+obj\b)")
# One way only to read a run of line ends: with two, a hostile tail takes exponential time.
_STARTXREF = re.compile(rb"startxref[\x00\t\n\x0c\r ]+(\d{1,15})[\x00\t\n\x0c\r ]*(?:%[^\r\n]*[\r\n][\r\n\t ]*)*\Z")
_LINEARIZED = re.compile(
    rb"/Linearized\b[^>]{0,200}?/L[\t\n\r ]+(\d{1,15})|/L[\t\n\r ]+(\d{1,15})[^>]{0,200}?/Linearized"
)
_MAX_FAULTS = 5


def damage(path: Path) -> str:
    """Say in one sentence why a PDF is not whole ("" = whole): end marker, cross-reference, stated length."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(2 * TOLERANCE)
        stream.seek(max(0, size - 4 * TOLERANCE))
        tail = stream.read()
        end = tail.rfind(b"%%EOF")
        if end < 0 or len(tail) - end - 5 > TOLERANCE:
            return "The end of file marker (%%EOF) is missing: the end of the file is lost."
        start = tail.rfind(b"startxref", 0, end)
        match = _STARTXREF.match(tail[start:end]) if start >= 0 else None
        if match is None:
            return "The cross-reference pointer (startxref) before the end marker is missing or unreadable."
        shift = max(0, head.find(b"%PDF-"))
        offset = int(match.group(1))
        for position in dict.fromkeys((offset, offset + shift)):
            stream.seek(min(position, size))
            if position and _XREF.match(stream.read(64)):
                break
        else:
            return "The cross-reference pointer (startxref) leads to no cross-reference: bytes are lost or added."
    linearized = _LINEARIZED.search(head)
    if linearized:
        stated = int(linearized.group(1) or linearized.group(2))
        if size < stated:
            return f"The file says it has {stated} bytes and has {size}."
    return ""


_HEADER = re.compile(rb"%PDF-1\.[0-7](?:\r\n|\n|\r)%[\x80-\xff]{4}")
_OBJECT = re.compile(rb"(?<![0-9])(\d{1,10})(\s+)(\d{1,5})(\s+)obj\b")
_STREAM = re.compile(rb">>[\x00\t\n\x0c\r ]*stream(\r\n|\n|\r|)")
_ENDSTREAM = re.compile(rb"(\r\n|\n|\r|)endstream(.)", re.DOTALL)
_LENGTH = re.compile(rb"/Length(?![0-9A-Za-z])\s*(\d+)(?:\s+(\d+)\s+R)?")
_TABLE = re.compile(rb"xref(\r\n|\n|\r)")
_SECTION = re.compile(rb"(\d+) (\d+)(?:\r\n|\n|\r)")
_ENTRY = re.compile(rb"\d{10} \d{5} [nf](?: \r| \n|\r\n)")


def syntax_faults(data: bytes) -> list[str]:
    """List byte-level faults of a PDF/A candidate (at most five): clauses 6.1.2 to 6.1.8 of ISO 19005-1, -2 and -3."""
    faults: list[str] = []
    if not _HEADER.match(data):
        faults.append("6.1.2: the header line, or the comment of four high bytes after it, is not as required")
    if not re.search(rb"%%EOF(?:\r\n|\n|\r)?\Z", data):
        faults.append("6.1.3: bytes follow the last end of file marker")
    faults += _object_faults(data)
    faults += _table_faults(data)
    return faults[:_MAX_FAULTS]


def _object_faults(data: bytes) -> list[str]:
    """Walk over objects and streams in file order, skipping stream bodies by their stated length."""
    faults: list[str] = []
    position = 0
    while len(faults) < _MAX_FAULTS and (match := _OBJECT.search(data, position)):
        position = match.end()
        number = match.group(1).decode()
        before, after = data[max(0, match.start() - 1) : match.start()], data[match.end() : match.end() + 1]
        if (
            before not in (b"\n", b"\r")
            or match.group(2) != b" "
            or match.group(4) != b" "
            or after not in (b"\n", b"\r")
        ):
            faults.append(f"6.1.8: object {number} does not begin on its own line with single spaces")
        end = data.find(b"endobj", position)
        body = _STREAM.search(data, position, end if end >= 0 else len(data))
        if end < 0:
            faults.append(f"6.1.8: object {number} has no endobj")
            break
        if body:
            fault, end = _stream_fault(data, position, body, number)
            faults += [fault] if fault else []
            if end < 0:
                break
        if data[end - 1 : end] not in (b"\n", b"\r") or data[end + 6 : end + 7] not in (b"\n", b"\r"):
            faults.append(f"6.1.8: endobj of object {number} is not on its own line")
        position = end + 6
    return faults


def _stream_fault(data: bytes, start: int, opening: re.Match[bytes], number: str) -> tuple[str, int]:
    """Check one stream; give the fault ("" = none) and the position of its endobj (-1 = lost)."""
    length = _LENGTH.search(data, start, opening.start())
    if opening.group(1) not in (b"\r\n", b"\n") or length is None:
        return f"6.1.7: stream of object {number} has no proper line end or no Length", -1
    stated = int(length.group(1))
    if length.group(2):
        indirect = re.search(rb"(?<![0-9])%d %d obj\s+(\d+)\s" % (stated, int(length.group(2))), data)
        if indirect is None:
            return f"6.1.7: Length of object {number} cannot be followed", -1
        stated = int(indirect.group(1))
    closing = _ENDSTREAM.match(data, opening.end() + stated)
    if closing is None or not closing.group(1) or closing.group(2) not in (b"\n", b"\r"):
        return f"6.1.7: Length of object {number} does not match its bytes", -1
    return "", data.find(b"endobj", closing.end() - 1)


def _table_faults(data: bytes) -> list[str]:
    """Check classic cross-reference tables (6.1.4) reached by a line `xref`; streams are the parser's business."""
    for match in re.finditer(rb"(?<=[\r\n])xref", data):
        head = _TABLE.match(data, match.start())
        position = head.end() if head else -1
        section = _SECTION.match(data, position) if head else None
        if section is None:
            return ["6.1.4: xref is not followed by one line end and a subsection header"]
        while section is not None:
            position = section.end()
            for _ in range(int(section.group(2))):
                entry = _ENTRY.match(data, position)
                if entry is None:
                    return ["6.1.4: a cross-reference entry is not twenty bytes long as required"]
                position = entry.end()
            section = _SECTION.match(data, position)
        if not re.compile(rb"[\r\n]*trailer\b").match(data, position):
            return ["6.1.4: something other than the trailer follows the cross-reference table"]
    return []
