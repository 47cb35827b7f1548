"""The manifest: canonical JSON that names a document, its parts and what was done (docs/format/manifest-v1.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from minutier import canonical
from minutier.events import format_time
from minutier.fingerprint import Fingerprint

FORMAT = "minutier-manifest/1"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the document as the depositor knows it: `role` is original or rendition; digests of clear bytes."""

    role: str
    name: str
    media_type: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Description:
    """All that the manifest says besides its parts. String dictionaries are recorded as they are."""

    archive_id: str
    safe: str
    lifecycle_class: str
    reference: str
    dossier: str
    depositor: str
    deposited_at: datetime
    retain_until: datetime
    metadata: dict[str, str]
    screening: dict[str, str | int | list[str]]
    rendition: dict[str, str | int | list[str] | dict[str, str]]
    software: dict[str, str]


def encode_manifest(description: Description, parts: list[Part]) -> bytes:
    """Give the bytes to seal: one line of canonical JSON."""
    return canonical.encode(
        {
            "format": FORMAT,
            "archive_id": description.archive_id,
            "safe": description.safe,
            "class": description.lifecycle_class,
            "reference": description.reference,
            "dossier": description.dossier,
            "depositor": description.depositor,
            "deposited_at": format_time(description.deposited_at),
            "retention": {
                "class": description.lifecycle_class,
                "until": format_time(description.retain_until),
            },
            "metadata": description.metadata,
            "objects": [
                {
                    "role": part.role,
                    "name": part.name,
                    "media_type": part.media_type,
                    "sha256": part.fingerprint.sha256,
                    "sha3_512": part.fingerprint.sha3_512,
                    "size": part.fingerprint.size,
                }
                for part in parts
            ],
            "screening": description.screening,
            "rendition": description.rendition,
            "software": description.software,
        }
    )


def read_parts(manifest: bytes) -> list[Part]:
    """Give the parts that a manifest describes; ValueError when the bytes are not a canonical manifest."""
    try:
        return [
            Part(
                item["role"],
                item["name"],
                item["media_type"],
                Fingerprint(item["sha256"], item["sha3_512"], item["size"]),
            )
            for item in canonical.decode(manifest)["objects"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the manifest lacks {error}") from error
