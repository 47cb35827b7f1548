"""The proof bundle: which files it holds, and how it is put together (docs/format/proof-v2.md).

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

FORMAT, OLD_FORMAT = "minutier-proof/2", "minutier-proof/1"
INCLUSION_FORMAT = "minutier-inclusion/1"

INDEX, MANIFEST, SEAL = "proof.json", "manifest.json", "manifest.json.p7s"
RECORD, PATH_TEXT, TOKEN = "evidence.ers", "path.txt", "token.tst"
ENTRY, INCLUSION, CHECKPOINT = "journal/entry.json", "journal/inclusion.json", "journal/checkpoint.txt"
SEAL_CHAIN, TOKEN_CHAIN, ROOTS = "certificates/seal.pem", "certificates/tsa.pem", "certificates/root.pem"
README_FR, README_EN, SCRIPT, PROGRAM = "README.fr.txt", "README.en.txt", "verify.sh", "verify.py"
RENDITION = "document/rendition.pdf"
SECOND_SEAL, SECOND_CHAIN = "manifest.json.mldsa65.p7s", "certificates/seal-mldsa65.pem"
ANCHOR = "journal/anchor.ers"
STATEMENT, STATEMENT_SEAL = "statement.pdf", "statement.pdf.p7s"
_OLD_REQUIRED = (
    INDEX, MANIFEST, SEAL, RECORD, PATH_TEXT, TOKEN, ENTRY, INCLUSION, CHECKPOINT,
    SEAL_CHAIN, TOKEN_CHAIN, ROOTS, README_FR, README_EN, SCRIPT,
)  # fmt: skip
# What a proof of each format must hold, and may hold besides its documents and revocation data.
REQUIRED = {OLD_FORMAT: _OLD_REQUIRED, FORMAT: _OLD_REQUIRED}
OPTIONAL = {OLD_FORMAT: (), FORMAT: (PROGRAM, SECOND_SEAL, SECOND_CHAIN, ANCHOR, STATEMENT, STATEMENT_SEAL)}
_ORIGINAL = re.compile(r"document/original(?:\.[a-z0-9]{1,10})?")
_CRL = re.compile(r"revocation/[A-Za-z0-9_-]{1,40}\.crl")
_RENEWAL = re.compile(r"renewals/[0-9]{2,3}\.(?:path\.txt|tst)")
_OCSP = re.compile(r"revocation/[A-Za-z0-9_-]{1,40}\.ocsp")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class ProofParts:
    """Everything a bundle is made of.

    `original_extension` is without dot, "" for none. `inclusion_path` proves the entry at `entry_index` in the tree of
    `tree_size` leaves with root `tree_root`, the one of `checkpoint` (a signed, cosigned note). `crls` and `ocsps`
    map short names to DER. Chains begin with the leaf; `token_chain` is of all tokens of the record. `anchor` is the
    evidence record over entry and checkpoint, where there is one.
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
    ocsps: Mapping[str, bytes] = field(default_factory=dict)
    anchor: bytes | None = None
    second_seal: bytes | None = None
    second_chain: Sequence[x509.Certificate] = ()
    statement: bytes | None = None
    statement_seal: bytes | None = None


def original_path(extension: str) -> str:
    """Give the path of the original for a file extension; one that is not plain is left out."""
    plain = extension.lower().removeprefix(".")
    return f"document/original.{plain}" if _EXTENSION.fullmatch(plain) else "document/original"


def is_original(path: str) -> bool:
    """Say whether a path is that of the original document."""
    return _ORIGINAL.fullmatch(path) is not None


def is_member(path: str) -> bool:
    """Say whether a file is of the data group that the evidence record is about (RFC 4998 §4.2)."""
    return path.startswith("document/") or path in (MANIFEST, SEAL, SECOND_SEAL)


def is_crl(path: str) -> bool:
    """Say whether a path is that of a revocation list."""
    return _CRL.fullmatch(path) is not None


def is_ocsp(path: str) -> bool:
    """Say whether a path is that of an OCSP response."""
    return _OCSP.fullmatch(path) is not None


def is_renewal(path: str) -> bool:
    """Say whether a path is that of the text or the token of a renewal."""
    return _RENEWAL.fullmatch(path) is not None


def renewal_paths(number: int) -> tuple[str, str]:
    """Give the paths of the text and the token of the archive time-stamp `number`, from 1 (evidence-v2.md §3)."""
    return (PATH_TEXT, TOKEN) if number == 1 else (f"renewals/{number:02d}.path.txt", f"renewals/{number:02d}.tst")


def statement_mark(manifest: bytes) -> bytes:
    """Give the text that binds a statement to its proof: it is in the metadata of the PDF, in clear."""
    return b"manifest.json sha256:" + hashlib.sha256(manifest).hexdigest().encode()


def evidence_files(record: evidence.EvidenceRecord) -> dict[str, bytes]:
    """Give the text and the token of each archive time-stamp, by path."""
    files: dict[str, bytes] = {}
    for number, stamp in enumerate(record.stamps, 1):
        text, token = renewal_paths(number)
        files |= {text: evidence.path_text(stamp.path).encode(), token: stamp.token}
    return files


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
    files: dict[str, bytes | Path] = {
        original_path(parts.original_extension): parts.original,
        MANIFEST: parts.manifest,
        SEAL: parts.seal,
        RECORD: parts.record,
        SEAL_CHAIN: encode_pem(parts.seal_chain),
        TOKEN_CHAIN: encode_pem(parts.token_chain),
        ROOTS: encode_pem(parts.roots),
        ENTRY: parts.entry,
        INCLUSION: encode_inclusion(parts.entry_index, parts.tree_size, parts.tree_root, parts.inclusion_path),
        CHECKPOINT: parts.checkpoint,
        README_FR: kit.README_FR.encode(),
        README_EN: kit.README_EN.encode(),
        SCRIPT: kit.VERIFY_SH.encode(),
        PROGRAM: kit.VERIFY_PY.encode(),
    }
    files |= evidence_files(evidence.decode_record(parts.record))
    optional = {
        RENDITION: parts.rendition,
        ANCHOR: parts.anchor,
        SECOND_SEAL: parts.second_seal,
        SECOND_CHAIN: encode_pem(parts.second_chain) or None,
        STATEMENT: parts.statement,
        STATEMENT_SEAL: parts.statement_seal,
    }
    files |= {path: source for path, source in optional.items() if source is not None}
    files |= {f"revocation/{name}.crl": data for name, data in parts.crls.items()}
    files |= {f"revocation/{name}.ocsp": data for name, data in parts.ocsps.items()}
    files[INDEX] = encode_index(parts.archive_id, files)
    return files


def assemble(parts: ProofParts, target: Path) -> str:
    """Write the bundle at `target` and give the SHA-256 of the file; the same parts give the same bytes.

    ValueError when a part is too large or a name is not plain, IntegrityFailureError when the record is not readable.
    """
    pack(bundle_files(parts), target)
    with target.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
