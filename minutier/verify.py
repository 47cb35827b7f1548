"""Offline verification of a proof bundle. Nothing is fetched, and nothing in the bundle is trusted.

 1. The container is readable, bounded and in its only form.
 2. proof.json lists exactly the files present, with their digests.
 3. The manifest is canonical; its objects are the files, by both digests and size.
 4. The seal is over the manifest, by a certificate valid at the token's genTime under a trusted root; so is a second.
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
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509

from minutier import canonical, certificates, evidence, kit, manifest, proof, seal, timestamp
from minutier.container import open_container
from minutier.errors import IntegrityFailureError
from minutier.fingerprint import Fingerprint
from minutier.ocsp import is_signed_for
from minutier.report import Finding, Report, Step, Verdict, overall
from minutier.trust import Trust
from minutier.verification import CLOCK_SKEW, FORMAT_PAGE, Run, as_object, list_of, text_of
from minutier.verify_evidence import check_evidence, check_tokens
from minutier.verify_journal import check_checkpoint, check_journal
from minutier.verify_seals import check_seals

MAX_CERTIFICATES = 64
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


def verify(bundle: Path, trust: Trust, at: datetime) -> Report:
    """Judge a bundle as of `at` (timezone-aware) under the anchors of `trust`.

    Documents are streamed. Raises BadInputError only when there is no such file.
    """
    try:
        with open_container(bundle) as container:
            return _report(Run(container, trust, at, proof.FORMAT))
    except IntegrityFailureError as error:
        finding = Finding(error.code, bundle.name, error.message, error.clause)
        later = (Step(number, title, None) for number, title in enumerate(_TITLES[1:], 2))
        return Report(Verdict.FAILED, (finding,), (Step(1, _TITLES[0], Verdict.FAILED), *later))


def _report(run: Run) -> Report:
    steps = [Step(1, _TITLES[0], Verdict.PASSED)]
    _prepare(run)
    for number, check in enumerate(_CHECKS, 2):
        before = len(run.findings)
        check(run)
        steps.append(Step(number, _TITLES[number - 1], overall(run.findings[before:])))
    return Report(overall(run.findings), tuple(run.findings), tuple(steps), run.facts)


def _prepare(run: Run) -> None:
    """Read what several steps need: the format, revocation lists, the token's claimed time (judged in step 6)."""
    with suppress(ValueError):
        index = canonical.decode(run.read(proof.INDEX))
        if isinstance(index, dict) and index.get("format") == proof.OLD_FORMAT:
            run.format = proof.OLD_FORMAT
    for path in filter(proof.is_crl, run.container.entries):
        with run.guard(path, "CRL_FORMAT"):
            run.lists[path] = certificates.load_crl(run.read(path))
    run.crls = (*run.trust.crls, *run.lists.values())
    for path in filter(proof.is_ocsp, run.container.entries):
        with run.guard(path, "OCSP_FORMAT"):
            run.answers[path] = certificates.load_ocsp(run.read(path))
    with suppress(ValueError):  # step 9 says it
        run.given = certificates.load_pem(run.read(proof.TOKEN_CHAIN))
    with suppress(IntegrityFailureError):
        run.token = timestamp.inspect_token(evidence.decode_record(run.read(proof.RECORD)).first.token, run.given)


def _check_index(run: Run) -> None:
    """Step 2."""
    _measure(run)
    required, optional = proof.REQUIRED[run.format], (proof.RENDITION, *proof.OPTIONAL[run.format])
    for path in sorted(set(required) - set(run.container.entries)):
        run.failed("FILE_MISSING", path, f"{path} is missing.")
    originals = 0
    for path in run.container.entries:
        originals += proof.is_original(path)
        if not (path in required or path in optional or proof.is_original(path) or _is_repeated(run, path)):
            run.failed("FILE_UNEXPECTED", path, f"{path} has no place in a proof.")
    if originals != 1:
        run.failed("FILE_MISSING", "document/original", f"{originals} originals, exactly one is expected.")
    with run.guard(proof.INDEX, "INDEX_FORMAT"):
        index = as_object(canonical.decode(run.read(proof.INDEX)), run.format)
        run.archive_id = text_of(index, "archive_id")
        listed = {text_of(item, "path"): item for item in list_of(index, "files")}
        if list(listed) != sorted(listed) or len(listed) != len(list_of(index, "files")):
            raise ValueError("files are not sorted by path, or one comes twice")
        if set(index) != {"format", "archive_id", "files"}:
            raise ValueError("unknown members")
        for path in sorted(set(listed) ^ (set(run.container.entries) - {proof.INDEX})):
            run.failed("INDEX_FILES", path, f"{path} is in the index or in the container, not in both.")
        for path, item in listed.items():
            measured = run.fingerprints.get(path)
            if measured and item != {"path": path, "sha256": measured.sha256, "size": measured.size}:
                run.failed("INDEX_DIGEST", path, f"{path} is not the file that the index lists.")


def _is_repeated(run: Run, path: str) -> bool:
    """Say whether a path is one of those of which a proof may hold any number; step 5 counts the renewals."""
    later = run.format != proof.OLD_FORMAT
    return proof.is_crl(path) or (later and (proof.is_ocsp(path) or proof.is_renewal(path)))


def _measure(run: Run) -> None:
    """Read every file once: digest, size, the container's CRC-32; the second digest of what the evidence is about."""
    for path, entry in run.container.entries.items():
        digests, crc, size = [hashlib.sha256(), *([hashlib.sha3_512()] if proof.is_member(path) else [])], 0, 0
        for piece in run.container.stream(path):
            for digest in digests:
                digest.update(piece)
            crc, size = zlib.crc32(piece, crc), size + len(piece)
        first, second = (*(digest.hexdigest() for digest in digests), "")[:2]
        run.fingerprints[path] = Fingerprint(first, second, size)
        if crc != entry.crc:
            run.failed("CONTAINER_CRC", path, f"{path} was altered inside the container.", f"{FORMAT_PAGE} §1")


def _check_manifest(run: Run) -> None:
    """Step 3."""
    with run.guard(proof.MANIFEST, "MANIFEST_FORMAT"):
        found = as_object(canonical.decode(run.read(proof.MANIFEST)), manifest.FORMAT)
        run.facts |= {name: text_of(found, name) for name in ("archive_id", "safe", "deposited_at")}
        roles = [text_of(item, "role") for item in list_of(found, "objects")]
        if roles not in (["original"], ["original", "rendition"]):
            raise ValueError("objects are the original, then the rendition if there is one")
        run.manifest = found
        if found["archive_id"] != run.archive_id:
            run.failed("MANIFEST_ID", proof.MANIFEST, "The manifest and the index name different documents.")
        for role, item in zip(roles, found["objects"], strict=True):
            _check_object(run, _document(run, role), item)
        if ("rendition" in roles) != (proof.RENDITION in run.container.entries):
            run.failed("MANIFEST_OBJECT", proof.RENDITION, "The rendition is in the manifest or here, not in both.")


def _check_object(run: Run, path: str, item: dict[str, Any]) -> None:
    measured = run.fingerprints.get(path)
    if measured is None:
        return  # step 2 has said that it is missing
    expected = (text_of(item, "sha256"), text_of(item, "sha3_512"), item.get("size"))
    if (measured.sha256, measured.sha3_512, measured.size) != expected:
        run.failed("MANIFEST_OBJECT", path, f"{path} is not the document that the manifest describes.", "NF Z42-013")


def _document(run: Run, role: str) -> str:
    if role == "rendition":
        return proof.RENDITION
    return next(filter(proof.is_original, run.container.entries), "document/original")


def _check_accompaniment(run: Run) -> None:
    """Step 9: what no signature covers, and a reader would use all the same."""
    issuers: set[x509.Certificate] = {*run.trust.all_roots, *run.trust.second_roots}
    for path, signed in ((proof.SEAL_CHAIN, [run.seal] if run.seal else []), (proof.TOKEN_CHAIN, _tokens(run))):
        with run.guard(path, "CERTIFICATE_FORMAT"):
            chain = _certificates(run, path)
            embedded = {item for each in signed for item in (each.signer, *each.certificates)}
            # What a signature leaves out comes beside it: the signer, and who issued one of the others.
            above = {item for item in chain if any(item != one and certificates.issued(one, item) for one in chain)}
            if signed and (chain[0] != signed[0].signer or not embedded <= set(chain) <= embedded | above):
                run.failed("CERTIFICATE_MISMATCH", path, f"{path} is not the certificates of the signature.")
            issuers.update(chain, embedded)
    with run.guard(proof.ROOTS, "CERTIFICATE_FORMAT"):
        roots = _certificates(run, proof.ROOTS)
        issuers.update(roots)
        if run.trust.all_roots and not set(roots) <= set(run.trust.all_roots):
            message = "The root that comes with the proof is not one of yours. " + certificates.WRONG_ROOT
            run.failed("ROOT_FOREIGN", proof.ROOTS, message)
    issuers.update(_check_second_chain(run))
    for path, crl in run.lists.items():
        if not any(certificates.signed_by(crl, issuer) for issuer in issuers):
            run.failed("CRL_SIGNATURE", path, f"{path} is not signed by an issuer of this proof.", "RFC 5280 §6.3.3")
    for path, answer in run.answers.items():
        # Whether its responder was revoked itself is judged where the answer is used.
        if not any(is_signed_for(answer, issuer, lambda _responder, _at: True) for issuer in issuers):
            message = f"{path} is not signed by an issuer of this proof, nor by a responder that it appointed."
            run.failed("OCSP_SIGNATURE", path, message, "RFC 6960 §4.2.2.2")
    _check_statement(run)
    for path in (proof.README_FR, proof.README_EN, proof.SCRIPT, proof.PROGRAM):
        if path in run.container.entries and not kit.is_published(path, run.read(path)):
            message = f"{path} is not a text of Minutier known to this version: do not run it and do not rely on it."
            run.failed("KIT_UNKNOWN", path, message)


def _check_second_chain(run: Run) -> set[x509.Certificate]:
    """Check the certificates beside a second seal: those in it, then their root. Both files come together."""
    present = [path for path in (proof.SECOND_SEAL, proof.SECOND_CHAIN) if path in run.container.entries]
    if len(present) == 1:
        run.failed("FILE_MISSING", present[0], "The second seal and its certificates come together.")
    if len(present) != 2:
        return set()
    with run.guard(proof.SECOND_CHAIN, "CERTIFICATE_FORMAT"):
        *chain, root = _certificates(run, proof.SECOND_CHAIN)
        embedded = set(run.second.certificates) if run.second else set(chain)
        if run.second and (not chain or chain[0] != run.second.signer or set(chain) != embedded - {root}):
            run.failed("CERTIFICATE_MISMATCH", proof.SECOND_CHAIN, "These are not the certificates of the second seal.")
        above = (root, *chain[1:])
        if not certificates.issued(root, root) or not all(
            any(map(partial(certificates.issued, each), above)) for each in chain
        ):
            run.failed("CERTIFICATE_MISMATCH", proof.SECOND_CHAIN, "They do not lead to the root that comes with them.")
        if run.trust.second_roots and root not in run.trust.second_roots:
            message = "The root of the second seal that comes with the proof is not one of yours. "
            message += certificates.WRONG_ROOT
            run.failed("ROOT_FOREIGN", proof.SECOND_CHAIN, message)
        return {root, *chain}
    return set()


def _tokens(run: Run) -> list[timestamp.TimestampToken]:
    return run.tokens or ([run.token] if run.token else [])


def _check_statement(run: Run) -> None:
    """The page for people is sealed, and is about this manifest; it is dated by its seal alone."""
    present = [path for path in (proof.STATEMENT, proof.STATEMENT_SEAL) if path in run.container.entries]
    if len(present) == 1:
        run.failed("FILE_MISSING", present[0], "The statement and its seal come together.")
    if len(present) != 2:
        return
    content, signature = run.read(proof.STATEMENT), run.read(proof.STATEMENT_SEAL)
    # The archive seals other things than statements, and statements of other documents.
    if not content.startswith(b"%PDF-") or proof.statement_mark(run.read(proof.MANIFEST)) not in content:
        run.failed("STATEMENT_MISMATCH", proof.STATEMENT, "The statement is not about this document.")
    with run.guard(proof.STATEMENT_SEAL):
        found = seal.inspect_seal(content, signature)
        if found.signing_time > run.at + CLOCK_SKEW:
            run.failed("SEAL_TIME", proof.STATEMENT_SEAL, "The statement is later than the time of judgement.")
        elif run.trust.seal_roots:
            answers = tuple(run.answers.values())
            seal.check_seal(content, signature, run.trust.seal_roots, found.signing_time, run.crls, answers)


def _certificates(run: Run, path: str) -> tuple[x509.Certificate, ...]:
    """Read a PEM file of the bundle: each certificate once, and not a character more."""
    found = certificates.load_pem(run.read(path))
    if len(found) > MAX_CERTIFICATES:  # each is tried on each list
        raise ValueError(f"more than {MAX_CERTIFICATES} certificates")
    if certificates.encode_pem(dict.fromkeys(found)) != run.read(path):
        raise ValueError("a certificate comes twice, or the PEM is not in its only form")
    return found


_CHECKS = (
    _check_index,
    _check_manifest,
    check_seals,
    check_evidence,
    check_tokens,
    check_journal,
    check_checkpoint,
    _check_accompaniment,
)
