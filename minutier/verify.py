"""Offline verification of a proof bundle. Nothing is fetched, and nothing in the bundle is trusted.

 1. The container is readable, bounded and in its only form.
 2. proof.json lists exactly the files present, with their digests.
 3. The manifest is canonical; its objects are the files, by both digests and size.
 4. The seal is over the manifest, by a certificate valid at the token's genTime under a trusted root.
 5. The evidence record is about exactly these files; path.txt and token.tst say the same as the record.
 6. The token is over the root of that record and passes the checks of `timestamp` under a trusted root.
 7. The journal entry commits this document and this manifest; its inclusion proof leads to the checkpoint's root.
 8. The checkpoint is signed by a trusted journal key.
 9. The files that are there for convenience agree with what was verified: certificates, lists, texts, script.

All steps run and all findings are collected; only a container that cannot be read stops at once. Without anchors the
verdict is INDETERMINATE at best.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from minutier import canonical, certificates, checkpoint, evidence, kit, manifest, merkle, proof, seal, timestamp
from minutier.container import Container, open_container
from minutier.errors import IntegrityFailureError
from minutier.events import ENTRY_FORMAT, Event
from minutier.fingerprint import Fingerprint
from minutier.report import Finding, Report, Step, Verdict, overall
from minutier.trust import Trust

_TITLES = (
    "container readable, bounded, canonical",
    "index lists exactly the files, with their digests",
    "manifest canonical, its objects are the files",
    "seal over the manifest, trusted at the time of the token",
    "evidence record about exactly these files",
    "time-stamp token trusted, over the evidence",
    "journal entry commits this manifest, included under the checkpoint",
    "checkpoint signed by a trusted journal key",
    "accompanying files agree with what was verified",
)
_CLOCK_SKEW = timedelta(minutes=5)
_FORMAT = "docs/format/proof-v1.md"


@dataclass
class _Run:
    """One verification under way: the inputs, what earlier steps established, and the findings so far."""

    container: Container
    trust: Trust
    at: datetime
    findings: list[Finding] = field(default_factory=list)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, x509.CertificateRevocationList] = field(default_factory=dict)
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    archive_id: str | None = None
    manifest: dict[str, Any] | None = None
    seal: seal.SealInfo | None = None
    record: evidence.EvidenceRecord | None = None
    token: timestamp.TimestampToken | None = None

    def failed(self, code: str, where: str, message: str, clause: str = _FORMAT) -> None:
        """Add a finding that makes the verdict FAILED."""
        self.findings.append(Finding(code, where, message, clause))

    def unknown(self, code: str, where: str, message: str, clause: str) -> None:
        """Add a finding that leaves the verdict INDETERMINATE at best."""
        self.findings.append(Finding(code, where, message, clause, Verdict.INDETERMINATE))

    @contextmanager
    def guard(self, where: str, code: str = "") -> Iterator[None]:
        """Turn a failed check into a finding about `where`; a ValueError (unreadable file) becomes `code`."""
        try:
            yield
        except IntegrityFailureError as error:
            self.failed(error.code, where, error.message, error.clause)
        except ValueError as error:
            self.failed(code, where, f"{where} is not readable: {error}.")

    def read(self, path: str) -> bytes:
        """Read a small file; one that is absent reads as nothing, which no check accepts (step 2 names it)."""
        return self.container.read(path) or b""


def verify(bundle: Path, trust: Trust, at: datetime) -> Report:
    """Judge a bundle as of `at` (timezone-aware) under the anchors of `trust`.

    Documents are streamed. Raises BadInputError only when there is no such file.
    """
    try:
        with open_container(bundle) as container:
            return _report(_Run(container, trust, at))
    except IntegrityFailureError as error:
        finding = Finding(error.code, bundle.name, error.message, error.clause)
        later = (Step(number, title, None) for number, title in enumerate(_TITLES[1:], 2))
        return Report(Verdict.FAILED, (finding,), (Step(1, _TITLES[0], Verdict.FAILED), *later))


def _report(run: _Run) -> Report:
    steps = [Step(1, _TITLES[0], Verdict.PASSED)]
    _prepare(run)
    for number, check in enumerate(_CHECKS, 2):
        before = len(run.findings)
        check(run)
        steps.append(Step(number, _TITLES[number - 1], overall(run.findings[before:])))
    return Report(overall(run.findings), tuple(run.findings), tuple(steps), run.facts)


def _prepare(run: _Run) -> None:
    """Read what several steps need: revocation lists, and the token's claimed time (judged in step 6)."""
    for path in filter(proof.is_crl, run.container.entries):
        with run.guard(path, "CRL_FORMAT"):
            run.lists[path] = certificates.load_crl(run.read(path))
    run.crls = (*run.trust.crls, *run.lists.values())
    try:
        run.token = timestamp.inspect_token(run.read(proof.TOKEN))
    except IntegrityFailureError:
        run.token = None


def _check_index(run: _Run) -> None:
    """Step 2."""
    _measure(run)
    for path in sorted(set(proof.REQUIRED) - set(run.container.entries)):
        run.failed("FILE_MISSING", path, f"{path} is missing.")
    originals = 0
    for path in run.container.entries:
        originals += proof.is_original(path)
        if not (path in proof.REQUIRED or path == proof.RENDITION or proof.is_original(path) or proof.is_crl(path)):
            run.failed("FILE_UNEXPECTED", path, f"{path} has no place in a proof.")
    if originals != 1:
        run.failed("FILE_MISSING", "document/original", f"{originals} originals, exactly one is expected.")
    with run.guard(proof.INDEX, "INDEX_FORMAT"):
        index = _object(canonical.decode(run.read(proof.INDEX)), proof.FORMAT)
        run.archive_id = _text(index, "archive_id")
        listed = {_text(item, "path"): item for item in _list(index, "files")}
        if list(listed) != sorted(listed) or len(listed) != len(_list(index, "files")):
            raise ValueError("files are not sorted by path, or one comes twice")
        if set(index) != {"format", "archive_id", "files"}:
            raise ValueError("unknown members")
        for path in sorted(set(listed) ^ (set(run.container.entries) - {proof.INDEX})):
            run.failed("INDEX_FILES", path, f"{path} is in the index or in the container, not in both.")
        for path, item in listed.items():
            measured = run.fingerprints.get(path)
            if measured and item != {"path": path, "sha256": measured.sha256, "size": measured.size}:
                run.failed("INDEX_DIGEST", path, f"{path} is not the file that the index lists.")


def _measure(run: _Run) -> None:
    """Read every file once: both digests, the size, and the container's CRC-32."""
    for path, entry in run.container.entries.items():
        first, second, crc, size = hashlib.sha256(), hashlib.sha3_512(), 0, 0
        for piece in run.container.stream(path):
            first.update(piece)
            second.update(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        run.fingerprints[path] = Fingerprint(first.hexdigest(), second.hexdigest(), size)
        if crc != entry.crc:
            run.failed("CONTAINER_CRC", path, f"{path} was altered inside the container.", f"{_FORMAT} §1")


def _check_manifest(run: _Run) -> None:
    """Step 3."""
    with run.guard(proof.MANIFEST, "MANIFEST_FORMAT"):
        found = _object(canonical.decode(run.read(proof.MANIFEST)), manifest.FORMAT)
        run.facts |= {name: _text(found, name) for name in ("archive_id", "safe", "deposited_at")}
        roles = [_text(item, "role") for item in _list(found, "objects")]
        if roles not in (["original"], ["original", "rendition"]):
            raise ValueError("objects are the original, then the rendition if there is one")
        run.manifest = found
        if found["archive_id"] != run.archive_id:
            run.failed("MANIFEST_ID", proof.MANIFEST, "The manifest and the index name different documents.")
        for role, item in zip(roles, found["objects"], strict=True):
            _check_object(run, _document(run, role), item)
        if ("rendition" in roles) != (proof.RENDITION in run.container.entries):
            run.failed("MANIFEST_OBJECT", proof.RENDITION, "The rendition is in the manifest or here, not in both.")


def _check_object(run: _Run, path: str, item: dict[str, Any]) -> None:
    measured = run.fingerprints.get(path)
    if measured is None:
        return  # step 2 has said that it is missing
    expected = (_text(item, "sha256"), _text(item, "sha3_512"), item.get("size"))
    if (measured.sha256, measured.sha3_512, measured.size) != expected:
        run.failed("MANIFEST_OBJECT", path, f"{path} is not the document that the manifest describes.", "NF Z42-013")


def _document(run: _Run, role: str) -> str:
    if role == "rendition":
        return proof.RENDITION
    return next(filter(proof.is_original, run.container.entries), "document/original")


def _check_seal(run: _Run) -> None:
    """Step 4."""
    content, signature = run.read(proof.MANIFEST), run.read(proof.SEAL)
    with run.guard(proof.SEAL):
        run.seal = seal.inspect_seal(content, signature)
        run.facts["sealed_by"] = certificates.name_of(run.seal.signer)
        if run.trust.roots:
            moment = run.token.gen_time if run.token else run.at
            run.seal = seal.check_seal(content, signature, run.trust.roots, moment, run.crls)
    _note_trust(run, proof.SEAL, known=run.seal is None or run.seal.revocation_known)


def _check_evidence(run: _Run) -> None:
    """Step 5."""
    with run.guard(proof.RECORD):
        run.record = record = evidence.decode_record(run.read(proof.RECORD))
        if run.read(proof.PATH_TEXT) != evidence.path_text(record.path).encode():
            run.failed("EVIDENCE_PATH_TEXT", proof.PATH_TEXT, "path.txt differs from the evidence record.")
        if run.read(proof.TOKEN) != record.token:
            run.failed("EVIDENCE_TOKEN", proof.TOKEN, "token.tst is not the token of the evidence record.")
        covered = [path for path in run.container.entries if path.startswith("document/")]
        covered += [proof.MANIFEST, proof.SEAL]
        hashes = {path: bytes.fromhex(run.fingerprints[path].sha256) for path in covered if path in run.fingerprints}
        for path, value in hashes.items():
            if value not in record.members:
                run.failed("EVIDENCE_FILE", path, f"The evidence record is not about this {path}.", "RFC 4998 §4.3")
        evidence.check_record(record, list(hashes.values()))


def _check_token(run: _Run) -> None:
    """Step 6."""
    with run.guard(proof.TOKEN):
        run.token = token = timestamp.inspect_token(run.read(proof.TOKEN))
        run.facts |= {
            "gen_time": f"{token.gen_time:%Y-%m-%dT%H:%M:%SZ}",
            "timestamped_by": certificates.name_of(token.signer),
        }
        if token.gen_time > run.at + token.accuracy + _CLOCK_SKEW:
            run.failed("TOKEN_TIME", proof.TOKEN, "The token is later than the time of judgement.", "RFC 3161 §2.4.2")
        if run.record is not None and run.record.root != token.imprint:
            message = "The token is about another value than the root of the evidence record."
            run.failed("TOKEN_IMPRINT", proof.TOKEN, message, "RFC 4998 §4.3")
        if run.trust.roots:
            run.token = timestamp.check_token(token.der, token.imprint, run.trust.roots, run.crls)
    _note_trust(run, proof.TOKEN, known=run.token is None or run.token.revocation_known)


def _note_trust(run: _Run, where: str, *, known: bool) -> None:
    if not run.trust.roots:
        message = "No root certificate was given to judge by: who signed is not known."
        run.unknown("NO_TRUST_ANCHOR", where, message, "ETSI EN 319 102-1 §5.2.6")
    elif not known and not any(finding.where == where for finding in run.findings):
        message = "No usable revocation list covers the certificate at the time of the token."
        run.unknown("REVOCATION_UNKNOWN", where, message, "ETSI EN 319 102-1 §5.2.5")


def _check_journal(run: _Run) -> None:
    """Step 7."""
    entry_bytes = run.read(proof.ENTRY)
    with run.guard(proof.ENTRY, "JOURNAL_ENTRY_FORMAT"):
        entry = _object(canonical.decode(entry_bytes), ENTRY_FORMAT)
        details = entry.get("details")
        digest = details.get("manifest_sha256") if isinstance(details, dict) else None
        if entry.get("event") != Event.DEPOSIT_COMMITTED.value:
            run.failed("JOURNAL_EVENT", proof.ENTRY, "The journal entry is not that of the commit of a document.")
        if entry.get("archive_id") != run.archive_id:
            run.failed("JOURNAL_ID", proof.ENTRY, "The journal entry is about another document.")
        if digest != hashlib.sha256(run.read(proof.MANIFEST)).hexdigest():
            run.failed("JOURNAL_MANIFEST", proof.ENTRY, "The journal entry commits another manifest.")
        if run.manifest is not None and entry.get("safe") != run.manifest["safe"]:
            run.failed("JOURNAL_SAFE", proof.ENTRY, "The journal entry names another safe than the manifest.")
    with run.guard(proof.INCLUSION, "INCLUSION_FORMAT"):
        inclusion = _object(canonical.decode(run.read(proof.INCLUSION)), proof.INCLUSION_FORMAT)
        index, size, root = inclusion.get("index"), inclusion.get("size"), bytes.fromhex(_text(inclusion, "root"))
        path = [bytes.fromhex(item) for item in _list(inclusion, "path", str)]
        if run.read(proof.INCLUSION) != proof.encode_inclusion(_number(index), _number(size), root, path):
            raise ValueError("unknown members, or hexadecimal in upper case")
        leaf = merkle.leaf_hash(entry_bytes)
        if not merkle.verify_inclusion(leaf, _number(index), _number(size), path, root):
            run.failed(
                "INCLUSION_PATH", proof.INCLUSION, "The entry is not in the tree of this root.", "RFC 9162 §2.1.3"
            )
        with run.guard(proof.CHECKPOINT):
            signed, _ = checkpoint.parse_checkpoint(run.read(proof.CHECKPOINT))
            run.facts |= {"journal": signed.origin, "journal_size": str(signed.size)}
            if (signed.size, signed.root) != (size, root):
                message = "The inclusion proof is for another checkpoint."
                run.failed("INCLUSION_CHECKPOINT", proof.INCLUSION, message, "C2SP tlog-checkpoint")


def _check_checkpoint(run: _Run) -> None:
    """Step 8."""
    with run.guard(proof.CHECKPOINT):
        note = run.read(proof.CHECKPOINT)
        if run.trust.journal_keys:
            checkpoint.verify_checkpoint(note, run.trust.journal_keys)
        else:
            checkpoint.parse_checkpoint(note)
    if not run.trust.journal_keys:
        message = "No journal key was given to judge by: who kept the journal is not known."
        run.unknown("NO_JOURNAL_KEY", proof.CHECKPOINT, message, "C2SP signed-note")


def _check_accompaniment(run: _Run) -> None:
    """Step 9: what no signature covers, and a reader would use all the same."""
    issuers: set[x509.Certificate] = set(run.trust.roots)
    for path, signed in ((proof.SEAL_CHAIN, run.seal), (proof.TOKEN_CHAIN, run.token)):
        with run.guard(path, "CERTIFICATE_FORMAT"):
            chain = _certificates(run, path)
            embedded = signed.certificates if signed is not None else ()
            if signed is not None and (chain[0] != signed.signer or set(chain) != set(embedded)):
                run.failed("CERTIFICATE_MISMATCH", path, f"{path} is not the certificates of the signature.")
            issuers.update(chain, embedded)
    with run.guard(proof.ROOTS, "CERTIFICATE_FORMAT"):
        roots = _certificates(run, proof.ROOTS)
        issuers.update(roots)
        if run.trust.roots and not set(roots) <= set(run.trust.roots):
            message = "The root that comes with the proof is not one of yours: verify.sh alone would mislead you."
            run.failed("ROOT_FOREIGN", proof.ROOTS, message)
    for path, crl in run.lists.items():
        if not any(certificates.signed_by(crl, issuer) for issuer in issuers):
            run.failed("CRL_SIGNATURE", path, f"{path} is not signed by an issuer of this proof.", "RFC 5280 §6.3.3")
    for path in (proof.README_FR, proof.README_EN, proof.SCRIPT):
        if not kit.is_published(path, run.read(path)):
            message = f"{path} is not a text of Minutier known to this version: do not run it and do not rely on it."
            run.failed("KIT_UNKNOWN", path, message)


def _certificates(run: _Run, path: str) -> tuple[x509.Certificate, ...]:
    """Read a PEM file of the bundle: each certificate once, and not a character more."""
    found = certificates.load_pem(run.read(path))
    if certificates.encode_pem(dict.fromkeys(found)) != run.read(path):
        raise ValueError("a certificate comes twice, or the PEM is not in its only form")
    return found


def _object(value: Any, expected: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("format") != expected:
        raise ValueError(f"it is not of the format {expected}")
    return value


def _text(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, str):
        raise ValueError(f"{name} is not a string")
    return found


def _list(value: dict[str, Any], name: str, kind: type = dict) -> list[Any]:
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(item, kind) for item in found):
        raise ValueError(f"{name} is not a list of the right kind")
    return found


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError("a number is missing")
    return value


_CHECKS = (
    _check_index,
    _check_manifest,
    _check_seal,
    _check_evidence,
    _check_token,
    _check_journal,
    _check_checkpoint,
    _check_accompaniment,
)
