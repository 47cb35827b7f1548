"""Proofs by the thousand, for measuring verifiers: real seals, one real batch, real journal, files on disk.

They are put together from the domain alone, as the archive does it, without database or stores. The keys are those of
the development authority, which has no legal value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from minutier import evidence, merkle
from minutier.certificates import load_pem
from minutier.checkpoint import Checkpoint, parse_vkey, sign_checkpoint
from minutier.events import Event, encode_entry
from minutier.evidence import EvidenceRecord
from minutier.fingerprint import fingerprint_bytes
from minutier.identifiers import new_archive_id
from minutier.manifest import Description, Part, encode_manifest
from minutier.proof import ProofParts, assemble
from minutier.seal import seal
from minutier.timestamp import accept_response, build_request
from minutier.trust import Trust, load_trust
from storage.dev_ca import DevelopmentCa, create_development_ca
from storage.dev_tsa import issue_token

_NONCE = 1 << 63 | 1
_PAGE = 60_000


@dataclass(frozen=True)
class _Key:
    """A sealing key in a file, without the archive's count of signatures."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    def sign(self, tbs: bytes) -> bytes:
        return self.key.sign(tbs, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class Document:
    """One document: its bytes and those that vouch for it. The original can be made again from its number."""

    archive_id: str
    original: bytes
    manifest: bytes
    seal: bytes
    entry: bytes

    @property
    def objects(self) -> tuple[bytes, ...]:
        """Give the members of its data group: original, rendition, manifest, seal."""
        return (self.original, self.original[::-1], self.manifest, self.seal)


class Issuer:
    """A development authority in a directory, and what it signs at one moment."""

    def __init__(self, home: Path) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.authority: DevelopmentCa = create_development_ca(home, self.now - timedelta(days=1))
        self.roots = load_pem(self.authority.root.read_bytes())
        self._tsa = _load(self.authority.tsa_key), load_pem(self.authority.tsa_certificate.read_bytes())
        self._seal = _Key(_load(self.authority.seal_key), load_pem(self.authority.seal_certificate.read_bytes()))
        self._serial = 0

    @property
    def trust(self) -> Trust:
        """Give what a verifier brings."""
        return load_trust(self.authority.trust)

    def stamp(self, root: bytes, algorithm: str = "sha256") -> bytes:
        """Get a token over the root of a tree, and check it as the archive does."""
        self._serial += 1
        request = build_request(root, _NONCE, algorithm)
        response = issue_token(request, *self._tsa, self.now, self._serial)
        return accept_response(response, root, _NONCE, self.now, None, self.roots, algorithm=algorithm).der

    def document(self, number: int) -> Document:
        """Make, describe and seal one document of two files of 60 kB."""
        original = (f"%PDF-1.7 paper {number}\n".encode() * (_PAGE // 16))[:_PAGE]
        archive_id = new_archive_id(self.now)
        described = Description(
            archive_id=archive_id, safe="demo", lifecycle_class="default", reference=f"P-{number}", dossier="bench",
            depositor="benchmark", deposited_at=self.now, retain_until=self.now + timedelta(days=1826), metadata={},
            screening={"format": "PDF"}, rendition={"verdict": "passed"}, software={"minutier": "benchmark"},
        )  # fmt: skip
        parts = [
            Part("original", "paper.pdf", "application/pdf", fingerprint_bytes(original)),
            Part("rendition", "rendition.pdf", "application/pdf", fingerprint_bytes(original[::-1])),
        ]
        manifest = encode_manifest(described, parts)
        entry = encode_entry(
            Event.DEPOSIT_COMMITTED, event_uuid=archive_id, at=self.now, actor="minutier", archive_id=archive_id,
            safe="demo", details={"manifest_sha256": hashlib.sha256(manifest).hexdigest(), "objects": 4},
        )  # fmt: skip
        return Document(archive_id, original, manifest, seal(manifest, self._seal, self.now), entry)

    def write(self, documents: Sequence[Document], records: Sequence[EvidenceRecord], folder: Path) -> list[Path]:
        """Write the proof of each document, all in one journal under one checkpoint."""
        folder.mkdir()
        leaves = [merkle.leaf_hash(document.entry) for document in documents]
        vkey = parse_vkey(self.authority.journal_vkey.read_text(encoding="ascii"))
        checkpoint = Checkpoint(vkey.name, len(leaves), merkle.root(leaves))
        key = serialization.load_pem_private_key(self.authority.journal_key.read_bytes(), None)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise TypeError("the journal's key is Ed25519")
        note = sign_checkpoint(checkpoint, vkey, key.sign)
        paths = []
        for index, (document, record) in enumerate(zip(documents, records, strict=True)):
            parts = ProofParts(
                archive_id=document.archive_id, original=document.original, original_extension="pdf",
                rendition=document.objects[1], manifest=document.manifest, seal=document.seal,
                record=evidence.encode_record(record), seal_chain=self._seal.chain, token_chain=self._tsa[1],
                roots=self.roots, entry=document.entry, entry_index=index, tree_size=len(leaves),
                tree_root=checkpoint.root, inclusion_path=merkle.inclusion_proof(leaves, index), checkpoint=note,
                crls={"root": self.authority.root_crl.read_bytes()},
            )  # fmt: skip
            paths.append(folder / f"{index:05d}.zip")
            assemble(parts, paths[-1])
        return paths


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path.name} is not an ECDSA key")
    return key
