"""Steps 7 and 8 of `verify`: the journal entry, its inclusion, the checkpoint (docs/format/journal-v1.md).

7.1 The entry is that of the commit of this document and this manifest, not before its token.
7.2 The inclusion proof leads from the entry to the root of the checkpoint.
7.3 Where SHA-256 no longer counts, the anchor carries entry and checkpoint over: an evidence record by another hash.
8.1 The checkpoint is signed by a trusted journal key.
"""

from __future__ import annotations

import hashlib

from minutier import canonical, checkpoint, evidence, merkle, proof
from minutier.events import ENTRY_FORMAT, Event, parse_time
from minutier.fingerprint import fingerprint_bytes
from minutier.verification import CLOCK_SKEW, Run, as_object, list_of, number_of, text_of
from minutier.verify_evidence import by_algorithm, check_stamps

_TREE_HASH = "sha256"  # RFC 6962 §2.1


def check_journal(run: Run) -> None:
    """Step 7."""
    entry = run.read(proof.ENTRY)
    with run.guard(proof.ENTRY, "JOURNAL_ENTRY_FORMAT"):
        _check_entry(run, entry)
    with run.guard(proof.INCLUSION, "INCLUSION_FORMAT"):
        _check_inclusion(run, entry)
    _check_anchor(run, entry)


def _check_entry(run: Run, data: bytes) -> None:
    """7.1."""
    entry = as_object(canonical.decode(data), ENTRY_FORMAT)
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
    committed_at = parse_time(text_of(entry, "at"))
    if run.token is not None and committed_at < run.token.gen_time - run.token.accuracy - CLOCK_SKEW:
        run.failed("JOURNAL_TIME", proof.ENTRY, "The document was committed before its token says that it existed.")
    if committed_at > run.at + CLOCK_SKEW:
        run.failed("JOURNAL_TIME", proof.ENTRY, "The commit is later than the time of judgement.")


def _check_inclusion(run: Run, entry: bytes) -> None:
    """7.2."""
    inclusion = as_object(canonical.decode(run.read(proof.INCLUSION)), proof.INCLUSION_FORMAT)
    index, size = number_of(inclusion.get("index")), number_of(inclusion.get("size"))
    root = bytes.fromhex(text_of(inclusion, "root"))
    path = [bytes.fromhex(item) for item in list_of(inclusion, "path", str)]
    if run.read(proof.INCLUSION) != proof.encode_inclusion(index, size, root, path):
        raise ValueError("unknown members, or hexadecimal in upper case")
    if not merkle.verify_inclusion(merkle.leaf_hash(entry), index, size, path, root):
        run.failed("INCLUSION_PATH", proof.INCLUSION, "The entry is not in the tree of this root.", "RFC 9162 §2.1.3")
    with run.guard(proof.CHECKPOINT):
        signed, _ = checkpoint.parse_checkpoint(run.read(proof.CHECKPOINT))
        run.facts |= {"journal": signed.origin, "journal_size": str(signed.size)}
        if (signed.size, signed.root) != (size, root):
            message = "The inclusion proof is for another checkpoint."
            run.failed("INCLUSION_CHECKPOINT", proof.INCLUSION, message, "C2SP tlog-checkpoint")


def _check_anchor(run: Run, entry: bytes) -> None:
    """7.3. An anchor that is there must hold; one that is missing is missed only where SHA-256 no longer counts."""
    anchored = False
    if proof.ANCHOR in run.container.entries:
        with run.guard(proof.ANCHOR):
            record = evidence.decode_record(run.read(proof.ANCHOR))
            found = [fingerprint_bytes(data) for data in (entry, run.read(proof.CHECKPOINT))]
            digests = [
                {"sha256": bytes.fromhex(item.sha256), "sha3_512": bytes.fromhex(item.sha3_512)} for item in found
            ]
            evidence.check_record(record, by_algorithm(digests))
            tokens = check_stamps(run, record, [proof.ANCHOR] * len(record.stamps))
            # In time, and by a hash of its own: only then does the tree of SHA-256 stand behind it.
            anchored = bool(tokens) and not run.trust.dates.ended([_TREE_HASH], tokens[0].gen_time)
    if run.trust.dates.ended([_TREE_HASH], run.at) and not anchored:
        message = "The journal's tree is of SHA-256, which no longer counts, and nothing carries it over."
        run.unknown("JOURNAL_ALGORITHM_ENDED", proof.INCLUSION, message, "ETSI TS 119 312")


def check_checkpoint(run: Run) -> None:
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
