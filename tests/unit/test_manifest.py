"""The manifest: every member by name, and parts read back as they were written."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from minutier.fingerprint import fingerprint_bytes
from minutier.manifest import FORMAT, Description, Part, encode_manifest, read_parts

ORIGINAL = Part("original", "façade.pdf", "application/pdf", fingerprint_bytes(b"original"))
RENDITION = Part("rendition", "rendition.pdf", "application/pdf", fingerprint_bytes(b"rendition"))
DESCRIPTION = Description(
    archive_id="0193a2f0-7c11-7abc-8def-0123456789ab",
    safe="demo",
    lifecycle_class="default",
    reference="R-1",
    dossier="D-1",
    depositor="mairie",
    deposited_at=datetime(2026, 11, 23, 10, tzinfo=UTC),
    retain_until=datetime(2031, 11, 23, 10, tzinfo=UTC),
    metadata={"titre": "Façade"},
    screening={"verdict": "accepted"},
    rendition={"verdict": "passed"},
    software={"minutier": "1"},
)


def listed(part: Part) -> dict[str, object]:
    digests = {"sha256": part.fingerprint.sha256, "sha3_512": part.fingerprint.sha3_512, "size": part.fingerprint.size}
    return {"role": part.role, "name": part.name, "media_type": part.media_type, **digests}


def test_every_member_of_a_manifest():
    assert json.loads(encode_manifest(DESCRIPTION, [ORIGINAL, RENDITION])) == {
        "format": "minutier-manifest/1",
        "archive_id": "0193a2f0-7c11-7abc-8def-0123456789ab",
        "safe": "demo",
        "class": "default",
        "reference": "R-1",
        "dossier": "D-1",
        "depositor": "mairie",
        "deposited_at": "2026-11-23T10:00:00Z",
        "retention": {"class": "default", "until": "2031-11-23T10:00:00Z"},
        "metadata": {"titre": "Façade"},
        "objects": [listed(ORIGINAL), listed(RENDITION)],
        "screening": {"verdict": "accepted"},
        "rendition": {"verdict": "passed"},
        "software": {"minutier": "1"},
    }
    assert FORMAT == "minutier-manifest/1"


@pytest.mark.parametrize("parts", [[ORIGINAL], [ORIGINAL, RENDITION]])
def test_parts_there_and_back(parts):
    assert read_parts(encode_manifest(DESCRIPTION, parts)) == parts


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"[]", "the manifest lacks"),
        (b"1", "the manifest lacks"),
        (b"{}", "the manifest lacks 'objects'"),
        (b'{"objects":[{}]}', "the manifest lacks 'role'"),
        (b'{"objects":[1]}', "the manifest lacks"),
        (b'{"objects": []}', "canonical"),
        (b"x", "Expecting value"),
    ],
)
def test_what_is_no_manifest_is_a_value_error(data, why):
    with pytest.raises(ValueError, match=why):
        read_parts(data)
