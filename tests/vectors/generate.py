"""Makes the golden vectors: `python -m tests.vectors.generate` compares them with what is stored, `--write` stores.

Everything is made again bit for bit: keys are fixed (tests/support/vector_pki.py), ECDSA nonces are those of RFC 6979,
and no clock is read. Only the texts under `kit/` are stored inputs: proofs hold the texts of their time, and
`--new-texts` takes those of this release for the proofs of version 2. What is expected of each proof is written here by
hand (`JUDGEMENTS`), not asked of the verifier.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from minutier import canonical, evidence, merkle, proof
from minutier.certificates import encode_pem
from minutier.checkpoint import Checkpoint, cosign, sign_checkpoint
from minutier.container import pack
from minutier.events import Event, encode_entry
from minutier.evidence import ArchiveTimestamp, Chain, EvidenceRecord
from minutier.fingerprint import fingerprint_bytes
from minutier.manifest import Description, Part, encode_manifest
from minutier.seal import seal
from minutier.timestamp import inspect_token
from tests.support.vector_pki import Holder, day, key_pem, make_holder, make_list, make_root, make_token, note_key

FOLDER = Path(__file__).parent
KIT = FOLDER / "kit"
FORMAT = "minutier-test-vectors/1"
T0, T1, T2, T3 = (day(f"{year}-03-02T10:00:00") for year in (2020, 2021, 2022, 2023))
ID = "01709ae9-d280-7abc-8def-0123456789ab"
SIZES = (1, 2, 3, 5)
ORIGINAL = "Acte de vente n° 12, vecteur de test.\n".encode()
RENDITION = b"%PDF-1.7\n% a rendition for test vectors\n%%EOF\n"

ROOT = make_root("root", day("2020-01-01"), day("2060-01-01"))
FOREIGN = make_root("foreign root", day("2020-01-01"), day("2060-01-01"))
SEAL = make_holder(ROOT, "seal", 2, day("2020-01-01"), day("2020-12-31"), tsa=False)
TSA = (
    make_holder(ROOT, "tsa 2020", 3, day("2020-01-01"), day("2022-04-01"), tsa=True),
    make_holder(ROOT, "tsa 2021", 4, day("2021-01-01"), day("2022-04-01"), tsa=True),
    make_holder(ROOT, "tsa 2022", 5, day("2022-01-01"), day("2023-04-01"), tsa=True, hash_name="sha512"),
    make_holder(ROOT, "tsa 2023", 6, day("2023-01-01"), day("2033-04-01"), tsa=True, hash_name="sha512"),
)
ROGUE = make_holder(FOREIGN, "tsa 2020", 3, day("2020-01-01"), day("2022-04-01"), tsa=True)
LISTS = {
    "2020": make_list(ROOT, 1, day("2020-03-03"), day("2020-04-03")),
    "2021": make_list(ROOT, 2, day("2021-03-03"), day("2021-04-03")),
    "2022": make_list(ROOT, 3, day("2022-03-03"), day("2022-04-03"), "sha512"),
    "2023": make_list(ROOT, 4, day("2023-03-03"), day("2023-04-03"), "sha512"),
}
JOURNAL, JOURNAL_KEY = note_key("journal", 0x01)
WITNESS, WITNESS_KEY = note_key("witness", 0x04)
DRILL = {
    "format": "minutier-algorithm-dates/1",
    "source": "a drill: SHA-256 is said to end on 2022-06-01",
    "ends": {"sha256": "2022-06-01", "sha512": None, "sha3_512": None, "ecdsa": None},
}

# Proof, trust directory, time of judgement, verdict, codes.
JUDGEMENTS = (
    ("v1", "trust", "2024-01-01", "PASSED", ()),
    ("v1", None, "2024-01-01", "INDETERMINATE", ("NO_JOURNAL_KEY", "NO_TRUST_ANCHOR")),
    ("v2", "trust", "2024-01-01", "PASSED", ()),
    ("v2", "trust", "2050-01-01", "PASSED", ()),
    ("v2", "trust", "2020-03-01", "FAILED", ("JOURNAL_TIME", "TOKEN_TIME")),
    ("v2", "trust-drill", "2022-01-01", "PASSED", ()),
    ("v2", "trust-drill", "2024-01-01", "INDETERMINATE", ("ALGORITHM_ENDED", "JOURNAL_ALGORITHM_ENDED")),
    ("v2-time-stamp-renewal", "trust", "2050-01-01", "PASSED", ()),
    ("v2-hash-tree-renewal", "trust", "2050-01-01", "PASSED", ()),
    ("v2-hash-tree-renewal", "trust-drill", "2050-01-01", "PASSED", ()),
    ("v2-both-renewals", "trust", "2050-01-01", "PASSED", ()),
    ("v2-both-renewals", "trust-drill", "2050-01-01", "PASSED", ()),
    ("v2-no-anchor", "trust", "2050-01-01", "PASSED", ()),
    ("v2-no-anchor", "trust-drill", "2050-01-01", "INDETERMINATE", ("JOURNAL_ALGORITHM_ENDED",)),
    ("bad-document", "trust", "2024-01-01", "FAILED", ("EVIDENCE_FILE", "EVIDENCE_GROUP", "MANIFEST_OBJECT")),
    ("bad-renewal", "trust", "2024-01-01", "FAILED", ("EVIDENCE_RENEWAL",)),
    ("bad-renewal-order", "trust", "2024-01-01", "FAILED", ("EVIDENCE_ORDER",)),
    ("bad-tree-renewal", "trust", "2024-01-01", "FAILED", ("EVIDENCE_GROUP",)),
    ("bad-authority", "trust", "2024-01-01", "FAILED", ("TOKEN_CHAIN",)),
    ("bad-journal", "trust", "2024-01-01", "FAILED", ("INCLUSION_PATH", "JOURNAL_MANIFEST")),
    ("bad-checkpoint", "trust", "2024-01-01", "FAILED", ("CHECKPOINT_SIGNATURE",)),
    ("late-renewal", "trust", "2024-01-01", "INDETERMINATE", ("RENEWAL_LATE",)),
)


@dataclass(frozen=True)
class Document:
    """The document that every proof is about: its files, and its seven journal entries."""

    manifest: bytes
    seal: bytes
    entries: tuple[bytes, ...]

    def digests(self, algorithm: str) -> list[bytes]:
        files = (ORIGINAL, RENDITION, self.manifest, self.seal)
        return [hashlib.new(algorithm, data).digest() for data in files]


@dataclass(frozen=True)
class Batch:
    """A tree, its token, and where the document (or the renewed token) stands in it."""

    algorithm: str
    groups: list[list[bytes]]
    place: int
    root: bytes
    paths: list[evidence.HashPath]
    token: bytes

    def stamp(self, place: int | None = None) -> ArchiveTimestamp:
        path = self.paths[self.place if place is None else place]
        return ArchiveTimestamp(self.algorithm, tuple(tuple(item) for item in path), self.token)


def make_document() -> Document:
    parts = [
        Part("original", "acte n° 12.txt", "text/plain", fingerprint_bytes(ORIGINAL)),
        Part("rendition", "rendition.pdf", "application/pdf", fingerprint_bytes(RENDITION)),
    ]
    manifest = encode_manifest(
        Description(
            archive_id=ID,
            safe="vectors",
            lifecycle_class="default",
            reference='V-12 "role":"original"',
            dossier="12",
            depositor="étude",
            deposited_at=T0 - timedelta(minutes=1),
            retain_until=day("2025-03-02T09:59:00"),
            metadata={
                "titre": "Acte\tde vente \\ n° 12 \U0001d11e",
                "\ue000": "after \U0001d11e by UTF-16",
                "\U0001d11e": "",
            },
            screening={"format": "Text", "pages": 1, "flags": ["a", "b"]},
            rendition={"verdict": "passed", "tools": {"none": "0"}},
            software={"minutier": "vectors"},
        ),
        parts,
    )
    digest = hashlib.sha256(manifest).hexdigest()
    said: tuple[tuple[Event, str, dict[str, str | int]], ...] = (
        (Event.SAFE_CREATED, "", {}),
        (Event.DEPOSIT_RECEIVED, ID, {}),
        (Event.DEPOSIT_SEALED, ID, {"manifest_sha256": digest}),
        (Event.DEPOSIT_COMMITTED, ID, {"manifest_sha256": digest, "objects": 4}),
        (Event.DEPOSIT_LOCKED, ID, {}),
        (Event.DOCUMENT_READ, ID, {"role": "original"}),
        (Event.SWEEP_ENDED, "", {"copies": 8, "bad": 0}),
    )
    entries = tuple(
        encode_entry(
            event, event_uuid=f"00000000-0000-4000-8000-{number:012d}", at=T0 + timedelta(seconds=number),
            actor="minutier", archive_id=owner, safe="vectors", details=details,
        )
        for number, (event, owner, details) in enumerate(said, 1)
    )  # fmt: skip
    return Document(manifest, seal(manifest, SEAL, T0), entries)


def others(label: str, algorithm: str, count: int) -> list[list[bytes]]:
    """Give the data groups of other documents: member j of document i is the hash of the text `label/i/j`."""
    return [[hashlib.new(algorithm, f"{label}/{i}/{j}".encode()).digest() for j in range(3)] for i in range(count)]


def make_batch(
    algorithm: str, groups: list[list[bytes]], place: int, tsa: Holder, serial: int, moment: datetime
) -> Batch:
    root, paths = evidence.build_batch(groups, algorithm)
    return Batch(algorithm, groups, place, root, paths, make_token(tsa, root, algorithm, serial, moment))


def first_batch(document: Document, size: int, tsa: Holder = TSA[0]) -> Batch:
    """The document is the third of its batch, or the last of a smaller one."""
    place = min(size, 3) - 1
    groups = others(f"batch-{size}", "sha256", size - 1)
    groups.insert(place, document.digests("sha256"))
    return make_batch("sha256", groups, place, tsa, size, T0)


def renew_tokens(batch: Batch, tsa: Holder, serial: int, moment: datetime) -> Batch:
    """A time-stamp renewal of four tokens, of which that of `batch` is the second."""
    groups = [[hashlib.new(batch.algorithm, b"token %d" % number).digest()] for number in range(3)]
    groups.insert(1, [evidence.renewal_leaf(batch.token, batch.algorithm)])
    return make_batch(batch.algorithm, groups, 1, tsa, serial, moment)


def rehash(document: Document, older: Sequence[Chain], note: bytes, serial: int) -> Batch:
    """A hash-tree renewal: another document, this one (place 1), and the anchor of its journal entry (place 2)."""
    anchored = [hashlib.new("sha3_512", data).digest() for data in (document.entries[3], note)]
    first = evidence.first_list(older, (), "sha3_512", document.digests("sha3_512"))
    return make_batch("sha3_512", [*others("tree", "sha3_512", 1), first, sorted(anchored)], 1, TSA[2], serial, T2)


def make_records(document: Document, batch: Batch, note: bytes) -> tuple[dict[str, EvidenceRecord], dict[str, Batch]]:
    """Give the records of the document and of its journal anchor, and the batches of the renewals."""
    renewed = renew_tokens(batch, TSA[1], 11, T1)
    once = (batch.stamp(),)
    twice = (batch.stamp(), renewed.stamp())
    tree, both = rehash(document, [once], note, 21), rehash(document, [twice], note, 22)
    last = renew_tokens(both, TSA[3], 31, T3)
    records = {
        "t0": EvidenceRecord((once,)),
        "time-stamp-renewal": EvidenceRecord((twice,)),
        "hash-tree-renewal": EvidenceRecord((once, (tree.stamp(),))),
        "both-renewals": EvidenceRecord((twice, (both.stamp(), last.stamp()))),
        "anchor-of-hash-tree-renewal": EvidenceRecord(((tree.stamp(2),),)),
        "anchor-of-both-renewals": EvidenceRecord(((both.stamp(2), last.stamp()),)),
    }
    return records, {"time-stamp": renewed, "hash-tree": tree, "hash-tree-after-time-stamp": both, "last": last}


def make_bad_records(document: Document, batch: Batch) -> dict[str, EvidenceRecord]:
    once = (batch.stamp(),)
    other = renew_tokens(first_batch(document, 3), TSA[1], 12, T1)
    early = renew_tokens(batch, TSA[0], 13, T0 - timedelta(days=10))
    late = renew_tokens(batch, make_holder(ROOT, "tsa late", 7, T0, T3, tsa=True), 14, day("2022-04-02"))
    plain = make_batch("sha3_512", [document.digests("sha3_512")], 0, TSA[2], 23, T2)  # H(object) without ha
    return {
        "bad-renewal": EvidenceRecord(((*once, other.stamp()),)),
        "bad-renewal-order": EvidenceRecord(((*once, early.stamp()),)),
        "late-renewal": EvidenceRecord(((*once, late.stamp()),)),
        "bad-tree-renewal": EvidenceRecord((once, (plain.stamp(),))),
        "bad-authority": EvidenceRecord(((first_batch(document, 5, ROGUE).stamp(),),)),
    }


def make_note(entries: Sequence[bytes]) -> bytes:
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    checkpoint = Checkpoint(JOURNAL.name, len(leaves), merkle.root(leaves))
    note = sign_checkpoint(checkpoint, JOURNAL, JOURNAL_KEY.sign)
    return cosign(note, WITNESS, WITNESS_KEY.sign, T0 + timedelta(minutes=5))


def kit_texts(version: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((KIT / version).iterdir())}


def bundle(
    document: Document, record: EvidenceRecord, note: bytes, anchor: EvidenceRecord | None = None, version: str = "v2"
) -> dict[str, bytes]:
    """Give the files of a proof, without its index."""
    tokens = [inspect_token(stamp.token) for stamp in record.stamps]
    years = {f"{token.gen_time:%Y}" for token in tokens}
    leaves = [merkle.leaf_hash(entry) for entry in document.entries]
    files = {
        "document/original.txt": ORIGINAL,
        proof.RENDITION: RENDITION,
        proof.MANIFEST: document.manifest,
        proof.SEAL: document.seal,
        proof.RECORD: evidence.encode_record(record),
        proof.SEAL_CHAIN: encode_pem(SEAL.chain),
        proof.TOKEN_CHAIN: encode_pem(dict.fromkeys(item for token in tokens for item in token.certificates)),
        proof.ROOTS: encode_pem([ROOT.certificate]),
        proof.ENTRY: document.entries[3],
        proof.INCLUSION: proof.encode_inclusion(3, 7, merkle.root(leaves), merkle.inclusion_proof(leaves, 3)),
        proof.CHECKPOINT: note,
    }
    files |= proof.evidence_files(record) | kit_texts(version)
    files |= {proof.ANCHOR: evidence.encode_record(anchor)} if anchor else {}
    return files | {f"revocation/{year}.crl": data for year, data in LISTS.items() if year in years}


def make_proofs(document: Document, records: Mapping[str, EvidenceRecord], note: bytes) -> dict[str, bytes]:
    bad = make_bad_records(document, first_batch(document, 5))
    found = {
        "v1": bundle(document, records["t0"], note, version="v1"),
        "v2": bundle(document, records["t0"], note),
        "v2-time-stamp-renewal": bundle(document, records["time-stamp-renewal"], note),
        "v2-no-anchor": bundle(document, records["hash-tree-renewal"], note),
    }
    for name in ("hash-tree-renewal", "both-renewals"):
        found[f"v2-{name}"] = bundle(document, records[name], note, records[f"anchor-of-{name}"])
    found |= {name: bundle(document, record, note) for name, record in bad.items()}
    good = found["v2"]
    found["bad-document"] = good | {"document/original.txt": ORIGINAL.replace(b"12", b"13")}
    other = canonical.decode(document.entries[3])
    other["details"]["manifest_sha256"] = "00" * 32
    found["bad-journal"] = good | {proof.ENTRY: canonical.encode(other)}
    lines = note.split(b"\n")
    spoiled = bytearray(base64.b64decode(lines[4].rpartition(b" ")[2]))
    spoiled[-1] ^= 1
    lines[4] = lines[4].rpartition(b" ")[0] + b" " + base64.b64encode(spoiled)
    found["bad-checkpoint"] = good | {proof.CHECKPOINT: b"\n".join(lines)}
    return {name: zipped(files, "minutier-proof/1" if name == "v1" else proof.FORMAT) for name, files in found.items()}


def zipped(files: Mapping[str, bytes], format_name: str) -> bytes:
    listed = [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for path, data in sorted(files.items())
    ]
    index = canonical.encode({"format": format_name, "archive_id": ID, "files": listed})
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "proof.zip"
        pack({**files, proof.INDEX: index}, target)
        return target.read_bytes()


def describe_batch(batch: Batch) -> bytes:
    found = {
        "algorithm": batch.algorithm,
        "groups": [[item.hex() for item in group] for group in batch.groups],
        "leaves": [evidence.path_root(path[:1], batch.algorithm).hex() for path in batch.paths],
        "root": batch.root.hex(),
        "paths": [[[item.hex() for item in hashes] for hashes in path] for path in batch.paths],
        "place": batch.place,
    }
    return pretty(found)


def describe_journal(entries: Sequence[bytes]) -> bytes:
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    chain, links = bytes(32), []
    for leaf in leaves:
        chain = hashlib.sha256(chain + leaf).digest()
        links.append(chain.hex())
    sizes = range(1, len(leaves) + 1)
    found = {
        "leaves": [leaf.hex() for leaf in leaves],
        "chain": links,
        "roots": [merkle.root(leaves[:size]).hex() for size in sizes],
        "inclusion": [[item.hex() for item in merkle.inclusion_proof(leaves, place)] for place in range(len(leaves))],
        "consistency": [[item.hex() for item in merkle.consistency_proof(leaves, size)] for size in sizes],
    }
    return pretty(found)


def pretty(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def make_files() -> dict[str, bytes]:
    """Give every vector by path, but not the index."""
    document = make_document()
    note = make_note(document.entries)
    batches = {f"batch-{size}": first_batch(document, size) for size in SIZES}
    records, renewals = make_records(document, batches["batch-5"], note)
    records |= {name: EvidenceRecord(((batch.stamp(),),)) for name, batch in batches.items()}
    vkeys = (JOURNAL.vkey() + "\n").encode(), (WITNESS.vkey() + "\n").encode()
    root = ROOT.certificate.public_bytes(Encoding.PEM)
    files = {
        "document/original.txt": ORIGINAL,
        "document/rendition.pdf": RENDITION,
        "document/manifest.json": document.manifest,
        "document/manifest.json.p7s": document.seal,
        "journal/checkpoint.txt": note,
        "journal/journal.json": describe_journal(document.entries),
        "trust/root.pem": root,
        "trust/journal.vkey": vkeys[0],
        "trust/witness.vkey": vkeys[1],
        "trust-drill/root.pem": root,
        "trust-drill/journal.vkey": vkeys[0],
        "trust-drill/algorithms.json": pretty(DRILL),
    }
    files |= {f"journal/entry-{number}.json": entry for number, entry in enumerate(document.entries, 1)}
    for name, batch in {**batches, **{f"renewal-{name}": batch for name, batch in renewals.items()}}.items():
        files |= {f"batches/{name}.json": describe_batch(batch), f"batches/{name}.tst": batch.token}
    for name, record in records.items():
        files[f"records/{name}.ers"] = evidence.encode_record(record)
    files |= {f"proofs/{name}.zip": data for name, data in make_proofs(document, records, note).items()}
    holders = (ROOT, FOREIGN, SEAL, *TSA)
    files |= {f"keys/TEST-{holder.name.replace(' ', '-')}.key.pem": key_pem(holder.key) for holder in holders}
    return files | {
        "keys/TEST-journal.key.pem": key_pem(JOURNAL_KEY),
        "keys/TEST-witness.key.pem": key_pem(WITNESS_KEY),
    }


def describe(files: Mapping[str, bytes]) -> bytes:
    """Write index.json: what each file is, and what a verifier must say of each proof."""
    tokens = {
        path: {
            "gen_time": f"{token.gen_time:%Y-%m-%dT%H:%M:%SZ}",
            "serial": str(token.serial),
            "imprint_algorithm": token.imprint_algorithm,
            "imprint": token.imprint.hex(),
        }
        for path, data in files.items()
        if path.endswith(".tst")
        for token in (inspect_token(data),)
    }
    found = {
        "format": FORMAT,
        "made_by": "python -m tests.vectors.generate",
        "files": {
            path: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
            for path, data in sorted(files.items())
        },
        "tokens": tokens,
        "records": {
            path: [[stamp.root.hex() for stamp in chain] for chain in evidence.decode_record(data).chains]
            for path, data in files.items()
            if path.endswith(".ers")
        },
        "judgements": [
            {"proof": f"proofs/{name}.zip", "trust": trust, "at": f"{at}T00:00:00Z", "verdict": verdict, "codes": codes}
            for name, trust, at, verdict, codes in JUDGEMENTS
        ],
    }
    return pretty(found)


def make() -> dict[str, bytes]:
    """Give every vector by path, the index included."""
    files = make_files()
    return {**files, "index.json": describe(files)}


def main() -> int:
    """Compare, or write; 1 when what is stored differs from what is made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="store the vectors instead of comparing")
    parser.add_argument("--new-texts", action="store_true", help="first take the texts of this release for version 2")
    options = parser.parse_args()
    if options.new_texts:
        source = FOLDER.parents[1] / "minutier" / "kit_files"
        for name in (proof.README_FR, proof.README_EN, proof.SCRIPT):  # verify.py is optional, and large
            (KIT / "v2" / name).write_bytes((source / name).read_bytes())
    different = []
    for path, data in make().items():
        target = FOLDER / path
        if options.write:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        elif not target.is_file() or target.read_bytes() != data:
            different.append(path)
    print("\n".join([*different, f"{len(different)} differ"]))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
