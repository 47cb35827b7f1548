"""The proof bundle: which files it holds, and how it is put together (docs/format/proof-v1.md).

`assemble` writes; `verify` reads. The same parts always give the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from minutier import canonical, evidence, kit
from minutier.certificates import encode_pem
from minutier.container import pack
from minutier.fingerprint import fingerprint_bytes, fingerprint_file

FORMAT = "minutier-proof/1"
INCLUSION_FORMAT = "minutier-inclusion/1"

INDEX, MANIFEST, SEAL = "proof.json", "manifest.json", "manifest.json.p7s"
RECORD, PATH_TEXT, TOKEN = "evidence.ers", "path.txt", "token.tst"
ENTRY, INCLUSION, CHECKPOINT = "journal/entry.json", "journal/inclusion.json", "journal/checkpoint.txt"
SEAL_CHAIN, TOKEN_CHAIN, ROOTS = "certificates/seal.pem", "certificates/tsa.pem", "certificates/root.pem"
README_FR, README_EN, SCRIPT = "README.fr.txt", "README.en.txt", "verify.sh"
RENDITION = "document/rendition.pdf"
REQUIRED = (
    INDEX, MANIFEST, SEAL, RECORD, PATH_TEXT, TOKEN, ENTRY, INCLUSION, CHECKPOINT,
    SEAL_CHAIN, TOKEN_CHAIN, ROOTS, README_FR, README_EN, SCRIPT,
)  # fmt: skip
_ORIGINAL = re.compile(r"document/original(?:\.[a-z0-9]{1,10})?")
_CRL = re.compile(r"revocation/[A-Za-z0-9_-]{1,40}\.crl")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class ProofParts:
    """Everything a bundle is made of.

    `original_extension` is without dot, "" for none. `inclusion_path` proves the entry at `entry_index` in the tree of
    `tree_size` leaves with root `tree_root`, the one of `checkpoint` (a signed, cosigned note). `crls` maps short names
    to DER. Chains begin with the leaf.
    """

    archive_id: str
    original: bytes | Path
    original_extension: str
    manifest: bytes
    seal: bytes
    record: bytes
    seal_chain: Sequence[x509.Certificate]
    token_chain: Sequence[x509.Certificate]
    roots: Sequence[x509.Certificate]
    entry: bytes
    entry_index: int
    tree_size: int
    tree_root: bytes
    inclusion_path: Sequence[bytes]
    checkpoint: bytes
    rendition: bytes | Path | None = None
    crls: Mapping[str, bytes] = field(default_factory=dict)


def original_path(extension: str) -> str:
    """Give the path of the original for a file extension; one that is not plain is left out."""
    plain = extension.lower().removeprefix(".")
    return f"document/original.{plain}" if _EXTENSION.fullmatch(plain) else "document/original"


def is_original(path: str) -> bool:
    """Say whether a path is that of the original document."""
    return _ORIGINAL.fullmatch(path) is not None


def is_crl(path: str) -> bool:
    """Say whether a path is that of a revocation list."""
    return _CRL.fullmatch(path) is not None


def encode_inclusion(index: int, size: int, root: bytes, path: Sequence[bytes]) -> bytes:
    """Write journal/inclusion.json."""
    return canonical.encode(
        {
            "format": INCLUSION_FORMAT,
            "index": index,
            "size": size,
            "root": root.hex(),
            "path": [item.hex() for item in path],
        }
    )


def encode_index(archive_id: str, files: Mapping[str, bytes | Path]) -> bytes:
    """Write proof.json: path, SHA-256 and size of every other file, sorted by path."""
    found = []
    for path in sorted(files):
        source = files[path]
        measured = fingerprint_file(source) if isinstance(source, Path) else fingerprint_bytes(source)
        found.append({"path": path, "sha256": measured.sha256, "size": measured.size})
    return canonical.encode({"format": FORMAT, "archive_id": archive_id, "files": found})


def bundle_files(parts: ProofParts) -> dict[str, bytes | Path]:
    """Give every file of the bundle by path, the index included."""
    decoded = evidence.decode_record(parts.record)
    files: dict[str, bytes | Path] = {
        original_path(parts.original_extension): parts.original,
        MANIFEST: parts.manifest,
        SEAL: parts.seal,
        RECORD: parts.record,
        PATH_TEXT: evidence.path_text(decoded.path).encode(),
        TOKEN: decoded.token,
        SEAL_CHAIN: encode_pem(parts.seal_chain),
        TOKEN_CHAIN: encode_pem(parts.token_chain),
        ROOTS: encode_pem(parts.roots),
        ENTRY: parts.entry,
        INCLUSION: encode_inclusion(parts.entry_index, parts.tree_size, parts.tree_root, parts.inclusion_path),
        CHECKPOINT: parts.checkpoint,
        README_FR: kit.README_FR.encode(),
        README_EN: kit.README_EN.encode(),
        SCRIPT: kit.VERIFY_SH.encode(),
    }
    if parts.rendition is not None:
        files[RENDITION] = parts.rendition
    files |= {f"revocation/{name}.crl": data for name, data in parts.crls.items()}
    files[INDEX] = encode_index(parts.archive_id, files)
    return files


def assemble(parts: ProofParts, target: Path) -> str:
    """Write the bundle at `target` and give the SHA-256 of the file; the same parts give the same bytes.

    ValueError when a part is too large or a name is not plain, IntegrityFailureError when the record is not readable.
    """
    pack(bundle_files(parts), target)
    with target.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
