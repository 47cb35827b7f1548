"""The sealed record of a document: its manifest and its seals in one stored object (docs/format/record-v1.md).

One object where there were two or three: each object costs every replica a write, a lock and a reading back.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from minutier import canonical

FORMAT = "minutier-record/1"


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """What a record holds: the manifest's bytes as sealed, its seal and its second seal, if any (CMS in DER)."""

    manifest: bytes
    seal: bytes
    second_seal: bytes | None = None


def encode_sealed_record(record: SealedRecord) -> bytes:
    """Give the canonical bytes of a record; the same parts always give the same bytes."""
    second = {"second_seal": _text(record.second_seal)} if record.second_seal is not None else {}
    return canonical.encode(
        {"format": FORMAT, "manifest": _text(record.manifest), "seal": _text(record.seal), **second}
    )


def decode_sealed_record(data: bytes) -> SealedRecord:
    """Read a record; ValueError unless it has exactly these members, in canonical form. Nothing is verified."""
    value = canonical.decode(data)
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise ValueError(f"not a {FORMAT}")
    if not {"format", "manifest", "seal"} <= value.keys() <= {"format", "manifest", "seal", "second_seal"}:
        raise ValueError("a record has the members format, manifest, seal and perhaps second_seal")
    second = _bytes(value["second_seal"]) if "second_seal" in value else None
    return SealedRecord(_bytes(value["manifest"]), _bytes(value["seal"]), second)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("the parts of a record are base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a part of the record is not base64") from error
    if _text(data) != text:
        raise ValueError("a part of the record is not in canonical base64")
    return data
