"""The files of a proof one at a time: their paths, the inclusion, the index."""

from __future__ import annotations

import hashlib
import json

import pytest

from minutier import proof
from minutier.evidence import decode_record
from tests.support.bundle import make_parts
from tests.support.full_bundle import make_full_parts


def test_the_inclusion_member_by_member():
    assert json.loads(proof.encode_inclusion(3, 7, b"\xab" * 32, [b"\x01" * 32, b"\xff" * 32])) == {
        "format": "minutier-inclusion/1",
        "index": 3,
        "size": 7,
        "root": "ab" * 32,
        "path": ["01" * 32, "ff" * 32],
    }


def test_the_index_of_bytes_and_of_files_on_disk(tmp_path):
    (tmp_path / "b").write_bytes(b"on disk")
    assert json.loads(proof.encode_index("ID", {"b": tmp_path / "b", "a": b"in memory"})) == {
        "format": "minutier-proof/2",
        "archive_id": "ID",
        "files": [
            {"path": "a", "sha256": hashlib.sha256(b"in memory").hexdigest(), "size": 9},
            {"path": "b", "sha256": hashlib.sha256(b"on disk").hexdigest(), "size": 7},
        ],
    }


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("document/original", "original"), ("document/original.pdf", "original"),
        ("document/original.0123456789", "original"),
        ("document/original.01234567890", ""), ("document/original.PDF", ""), ("document/original.", ""),
        ("revocation/root.crl", "crl"), ("revocation/A-b_9.crl", "crl"), ("revocation/.crl", ""), ("root.crl", ""),
        ("revocation/" + "a" * 40 + ".crl", "crl"), ("revocation/" + "a" * 41 + ".crl", ""),
        ("revocation/tsa.ocsp", "ocsp"), ("revocation/" + "a" * 41 + ".ocsp", ""), ("revocation/tsa.ocsp2", ""),
        ("renewals/02.tst", "renewal"), ("renewals/02.path.txt", "renewal"), ("renewals/123.tst", "renewal"),
        ("renewals/2.tst", ""), ("renewals/1234.tst", ""), ("renewals/02.txt", ""), ("", ""),
    ],
)  # fmt: skip
def test_which_file_a_path_is_of(path, kinds):
    found = {
        "original": proof.is_original(path), "crl": proof.is_crl(path), "ocsp": proof.is_ocsp(path),
        "renewal": proof.is_renewal(path),
    }  # fmt: skip
    assert {kind for kind, holds in found.items() if holds} == ({kinds} if kinds else set())


def test_the_evidence_is_about_the_document_the_manifest_and_its_seals():
    parts = make_full_parts()
    assert {path for path in proof.bundle_files(parts) if proof.is_member(path)} == {
        "document/original.pdf", "document/rendition.pdf", "manifest.json", "manifest.json.p7s",
        "manifest.json.mldsa65.p7s",
    }  # fmt: skip
    assert proof.is_member("document/anything")
    assert not proof.is_member("documents")


def test_a_statement_names_its_manifest_in_clear():
    digest = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert proof.statement_mark(b"abc") == b"manifest.json sha256:" + digest


def test_the_files_of_each_archive_time_stamp():
    assert proof.renewal_paths(1) == ("path.txt", "token.tst")
    assert proof.renewal_paths(2) == ("renewals/02.path.txt", "renewals/02.tst")
    assert proof.renewal_paths(123) == ("renewals/123.path.txt", "renewals/123.tst")
    record = decode_record(make_full_parts().record)
    files = proof.evidence_files(record)
    assert [files[proof.renewal_paths(number)[1]] for number in (1, 2, 3)] == [stamp.token for stamp in record.stamps]
    assert files["renewals/03.path.txt"].startswith(record.stamps[2].path[0][0].hex().encode() + b" ")
    assert len(files) == 6


def test_optional_files_are_there_when_their_parts_are():
    parts = make_full_parts()
    files = proof.bundle_files(parts)
    assert files[proof.ANCHOR] == parts.anchor
    assert files[proof.STATEMENT] == parts.statement
    assert files[proof.STATEMENT_SEAL] == parts.statement_seal
    assert files[proof.SECOND_SEAL] == parts.second_seal
    assert files["revocation/tsa.ocsp"] == parts.ocsps["tsa"]
    assert files["revocation/second.crl"] == parts.crls["second"]
    assert (files[proof.ENTRY], files[proof.CHECKPOINT]) == (parts.entry, parts.checkpoint)
    bare = proof.bundle_files(make_parts(rendition=None))
    optional = {
        proof.RENDITION,
        proof.ANCHOR,
        proof.STATEMENT,
        proof.STATEMENT_SEAL,
        proof.SECOND_SEAL,
        proof.SECOND_CHAIN,
    }
    assert optional <= set(files)
    assert not optional & set(bare)
