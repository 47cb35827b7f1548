"""The pages on byte formats say what the code does: examples are made again, hashes computed, error codes compared."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import (
    age,
    age_stream,
    blind,
    canonical,
    checkpoint,
    cms,
    container,
    der,
    evidence,
    kit,
    merkle,
    proof,
    segment,
    timestamp,
)
from minutier.events import ENTRY_FORMAT, Event, encode_entry
from minutier.fingerprint import fingerprint_bytes
from minutier.manifest import FORMAT, Description, Part, encode_manifest
from storage import ledger
from storage.catalogue import Deposit
from storage.comparison import TRANSIENT
from storage.segments import OWNERS, ROLE, segment_key
from storage.vault import _attestation
from tasks.bordereau import COLUMNS, MANIFEST, read_batch
from tests.support.pki import make_info

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "format").glob("*.md"))
JSON = re.compile(r"```json\n(.*)\n```\n\nSHA-256: `([0-9a-f]{64})`")
NEWEST = {"proof"}  # whose older page stays for what was written then
PLAIN = re.compile(r"^```\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
ARCHIVE_ID = "0193a2f0-7c11-7abc-8def-0123456789ab"
ORIGINAL, RENDITION = b"Bonjour\n", b"%PDF-1.7\n"


def page(name: str) -> str:
    found = sorted((ROOT / "docs" / "format").glob(f"{name}-v*.md"))
    return found[-1 if name in NEWEST else 0].read_text(encoding="utf-8")


def examples(name: str) -> list[bytes]:
    return [block.encode() for block, _ in JSON.findall(page(name))]


def blocks(name: str) -> list[str]:
    return PLAIN.findall(page(name))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def manifest() -> bytes:
    description = Description(
        archive_id=ARCHIVE_ID,
        safe="mairie",
        lifecycle_class="default",
        reference="PC-2026-12/plan",
        dossier="PC-2026-12",
        depositor="mairie",
        deposited_at=at("2026-11-23T09:59:00"),
        retain_until=at("2031-11-23T09:59:00"),
        metadata={"title": "Façade"},
        screening={"media_type": "text/plain"},
        rendition={"verdict": "passed"},
        software={"minutier": "0.1.0"},
    )
    parts = [
        Part("original", "façade.txt", "text/plain", fingerprint_bytes(ORIGINAL)),
        Part("rendition", "rendition.pdf", "application/pdf", fingerprint_bytes(RENDITION)),
    ]
    return encode_manifest(description, parts)


def entry(event: Event, uuid: str, second: int, details: dict[str, str | int]) -> bytes:
    return encode_entry(
        event,
        event_uuid=uuid,
        at=datetime(2026, 11, 23, 10, 0, second, tzinfo=UTC),
        actor="minutier",
        archive_id=ARCHIVE_ID,
        safe="mairie",
        details=details,
    )


def entries() -> list[bytes]:
    details: dict[str, str | int] = {"manifest_sha256": hashlib.sha256(manifest()).hexdigest(), "objects": 5}
    return [
        entry(Event.DEPOSIT_COMMITTED, "7a1f0a51-0b7a-4f7e-9b39-6a2f1f1e8f10", 2, details),
        entry(Event.DEPOSIT_LOCKED, "0d9c55a6-3d0c-4a0e-8f7e-52f2c9f3f7aa", 3, {}),
    ]


def test_each_format_has_its_page():
    names = {"timestamp", "seal", "evidence", "proof", "checkpoint", "manifest", "journal", "attestation", "bordereau"}
    assert {path.name for path in PAGES} >= {f"{name}-v1.md" for name in names}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_json_examples_are_canonical_and_have_their_hash(path):
    text = path.read_text(encoding="utf-8")
    found = JSON.findall(text)
    assert len(found) == text.count("```json")
    for block, digest in found:
        canonical.decode(block.encode())
        assert hashlib.sha256(block.encode()).hexdigest() == digest


def test_the_manifest():
    assert examples("manifest") == [manifest()]
    assert len(manifest()) == 1037
    members = re.findall(r"^\| `(\w+)` \|", page("manifest").partition("## 2")[2].partition("## 3")[0], re.MULTILINE)
    found = canonical.decode(manifest())
    assert sorted(members) == sorted([*found, *found["objects"][0]])
    assert f"`{FORMAT}`" in page("manifest")


def test_a_blind_deposit():
    opening = blind.encode_opening(fingerprint_bytes(ORIGINAL), bytes(range(32)))
    assert examples("blind") == [opening]
    key = age.generate_identity()
    text = blind.encode_statement(
        fingerprint_bytes(b"c"), opening, key.recipient, [str(key.recipient)], media_type="text/plain", client="c"
    )
    statement = blind.read_statement(text)

    def members(start: str, end: str) -> set[str]:
        table = page("blind").partition(start)[2].partition(end)[0]
        firsts = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", table, re.MULTILINE)
        return {name for first in firsts for name in re.findall(r"`(\w+)`", first)}

    assert members("## 1", "## 2") == set(canonical.decode(text))
    assert members("## 2", "## 3") == set(canonical.decode(opening))
    report = blind.screening(statement, text.decode())
    listed = members("## 3", "## 4") | {"media_type", "format", "flags", "pages", "size"}
    assert listed == set(report)
    for name in (blind.FORMAT, blind.OPENING_FORMAT, blind.MEDIA_TYPE):
        assert f"`{name}`" in page("blind")
    assert f"{blind.MAX_STATEMENT >> 10} KiB" in page("blind")


def test_the_encryption():
    text = page("encryption")
    beginnings = {age.X25519: ("age1", "AGE-SECRET-KEY-1"), age.HYBRID: ("age1pq1", "AGE-SECRET-KEY-PQ-1")}
    for kind, (recipient, secret) in beginnings.items():
        identity = age.generate_identity(kind)
        assert str(identity.recipient).startswith(recipient)
        assert identity.text().startswith(secret)
        assert f"| `{recipient}…` | `{secret}…` | {len(identity.recipient.public)} bytes" in text
        assert f"| `{kind}` |" in text
        stanza = identity.recipient.wrap(bytes(16))
        assert len(stanza.body) == 32
    sealed = age_stream.encrypt_bytes(bytes(age_stream.CHUNK + 1), [age.generate_identity().recipient])
    payload = len(sealed) - age.read_header(io.BytesIO(sealed)).size - age_stream.NONCE
    assert payload == age_stream.CHUNK + 1 + 2 * age_stream.TAG
    assert f"{age_stream.CHUNK:,}".replace(",", " ") in text
    assert f"{age_stream.CHUNK + age_stream.TAG:,}".replace(",", " ") in text
    assert f"{age.MAX_HEADER >> 20} MiB" in text


def test_the_journal():
    leaves = [merkle.leaf_hash(item) for item in entries()]
    root = merkle.root(leaves)
    inclusion = proof.encode_inclusion(0, 2, root, merkle.inclusion_proof(leaves, 0))
    assert examples("journal") == [*entries(), inclusion]
    first = hashlib.sha256(bytes(32) + leaves[0]).digest()
    second = hashlib.sha256(first + leaves[1]).digest()
    table = dict(re.findall(r"^\| ([\w()]+) \| `([0-9a-f]{64})` \|", page("journal"), re.MULTILINE))
    values = {"leaf(1)": leaves[0], "leaf(2)": leaves[1], "chain(1)": first, "chain(2)": second, "root": root}
    assert table == {name: value.hex() for name, value in values.items()}
    assert f"`{ENTRY_FORMAT}`" in page("journal")
    named = set(re.findall(r"`([a-z]+:[a-z]+)`", page("journal")))
    assert named == {event.value for event in Event}


def test_the_checkpoint():
    secret = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    other = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
    key = checkpoint.NoteKey("journal.example", secret.public_key().public_bytes_raw())
    witness = checkpoint.NoteKey("witness.example", other.public_key().public_bytes_raw(), 0x04)
    root = merkle.root(merkle.leaf_hash(item) for item in entries())
    note = checkpoint.sign_checkpoint(checkpoint.Checkpoint("journal.example", 2, root), key, secret.sign)
    note = checkpoint.cosign(note, witness, other.sign, at("2026-11-23T10:05:00"))
    keys, text = blocks("checkpoint")
    assert keys.split("\n") == [key.vkey(), witness.vkey()]
    assert f"{text}\n".encode() == note
    assert f"SHA-256: `{hashlib.sha256(note).hexdigest()}`" in page("checkpoint")
    assert checkpoint.verify_checkpoint(note, [key, witness]).size == 2


def segment_file() -> bytes:
    secret = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    after = segment.chain_after(segment.START, entries()).hex()
    head = segment.Head(
        1, 1, 2, segment.START.hex(), after, "", hashlib.sha256(b"a ledger").hexdigest(), 7, "2026-11-23T10:00:10Z"
    )
    return segment.encode_segment(head, entries(), secret.sign)


def test_the_segment():
    (text,) = blocks("segment")
    assert f"{text}\n".encode() == segment_file()
    assert f"SHA-256: `{hashlib.sha256(segment_file()).hexdigest()}`" in page("segment")
    members = page("segment").partition("## 1")[2].partition("## 2")[0]
    named = {
        name for first in re.findall(r"^\| (`.*?`) \|", members, re.MULTILINE) for name in re.findall(r"`(\w+)`", first)
    }
    assert named == {"format", *segment.Head.__slots__}
    assert f"`{segment.FORMAT}`" in page("segment")


def test_the_ledger():
    told = ledger.told_by_record(manifest(), "", None)
    section = page("segment").partition("## 3")[2].partition("## 4")[0]
    columns = re.findall(r"^\| `deposit` \| (.*?) \|", section, re.MULTILINE)
    assert {name for each in columns for name in re.findall(r"`(\w+)`", each)} == set(told)
    assert ledger.encode(7, []) == gzip.compress(b'{"format":"minutier-ledger/1","number":7}\n', 6, mtime=0)
    assert f'"format":"{ledger.FORMAT}"' in section
    assert all(f"`{name}`" in section for name in TRANSIENT)
    assert segment_key(1, ROLE).replace("1", "N").replace("0", "N") in page("segment")
    assert str(OWNERS) in section


def test_the_evidence_record():
    groups = [[hashlib.sha256(b"%d/%d" % (n, i)).digest() for i in (0, 1)] for n in range(3)]
    root, paths = evidence.build_batch(groups)
    _, text, record = blocks("evidence")
    assert f"{text}\n" == evidence.path_text(paths[2])
    assert record == evidence.encode_record(evidence.initial_record(paths[2], der.sequence())).hex()
    assert f"Root: `{root.hex()}`" in page("evidence")
    assert evidence.decode_record(bytes.fromhex(record)).first.root == root


def test_the_time_stamp():
    digest, nonce = hashlib.sha256(b"root").digest(), 0x8000000000000001
    request, info = blocks("timestamp")
    assert request == timestamp.build_request(digest, nonce).hex()
    moment = at("2026-11-23T10:00:00")
    assert info == make_info(digest, nonce=nonce, serial=7, policy="2.999.1", gen_time=moment).hex()


def test_the_attributes_of_the_seal():
    table = dict(re.findall(r"^\| (\w+) \| `([0-9a-f]+)` \|", page("seal"), re.MULTILINE))
    moment = at("2026-11-23T10:00:00")
    assert table == {
        "contentType": cms.attribute(cms.CONTENT_TYPE, der.oid(cms.DATA)).hex(),
        "signingTime": cms.attribute(cms.SIGNING_TIME, der.cms_time(moment)).hex(),
        "messageDigest": cms.attribute(
            cms.MESSAGE_DIGEST, der.octets(hashlib.sha256(manifest()).digest())
        ).hex(),
    }  # fmt: skip


def test_the_attributes_of_a_second_seal():
    attribute = cms.attribute(cms.MESSAGE_DIGEST, der.octets(hashlib.sha512(manifest()).digest())).hex()
    assert f"`{attribute}`" in page("seal")


def test_the_container_and_the_index(tmp_path):
    container.pack({"a": b""}, tmp_path / "a.zip")
    assert blocks("proof") == [(tmp_path / "a.zip").read_bytes().hex()]
    files = {"manifest.json": manifest(), "path.txt": b"x\n"}
    assert examples("proof") == [proof.encode_index(ARCHIVE_ID, files)]
    for path in (*proof.REQUIRED[proof.FORMAT], proof.RENDITION):
        assert f"`{path}`" in page("proof")
    limits = (container.MAX_FILES, f"{container.MAX_BYTES:,}", f"{container.MAX_SMALL_BYTES >> 20} MiB")
    assert all(str(limit) in page("proof") for limit in limits)


def test_the_attestation():
    measured = fingerprint_bytes(ORIGINAL)
    fields = dict.fromkeys(Deposit.__dataclass_fields__) | {
        "archive_id": ARCHIVE_ID, "safe": "mairie", "reference": "PC-2026-12/plan", "manifest": manifest(),
        "sha256": measured.sha256, "sha3_512": measured.sha3_512, "size": measured.size,
        "received_at": at("2026-11-23T09:59:00"), "retain_until": at("2031-11-23T09:59:00"),
    }  # fmt: skip
    assert examples("attestation") == [_attestation(Deposit(**fields), at("2026-11-23T10:00:05"))]


def test_the_bordereau(tmp_path):
    header, example = blocks("bordereau")
    assert header == ";".join(COLUMNS)
    (tmp_path / MANIFEST).write_text(f"{example}\n", encoding="utf-8")
    (line,) = read_batch(tmp_path).lines
    assert line.row is not None
    assert (line.row.sha256, line.row.taille) == (hashlib.sha256(ORIGINAL).hexdigest(), len(ORIGINAL))


def test_the_columns_of_the_receipt():
    # The receipt is made with a database: its columns are read from the code.
    tree = ast.parse((ROOT / "tasks" / "receipts.py").read_text(encoding="utf-8"))
    function = next(node for node in ast.walk(tree) if getattr(node, "name", "") == "receipt_line")
    (made,) = (node for node in ast.walk(function) if isinstance(node, ast.Return))
    assert isinstance(made.value, ast.Dict)
    columns = [key.value for key in made.value.keys if isinstance(key, ast.Constant)]
    receipt = page("bordereau").partition("## 2")[2].partition("## 3")[0]
    assert re.findall(r"^\| `(\w+)` \|", receipt, re.MULTILINE) == columns


def made(module: str, *prefixes: str) -> set[str]:
    """The codes that a module names: whole, or after the prefixes that its helper puts in front."""
    text = (ROOT / "minutier" / f"{module}.py").read_text(encoding="utf-8")
    if not prefixes:
        return set(re.findall(r'(?:failed|unknown)\(\s*"([A-Z_]+)"', text))
    found = re.findall(r'failure\(\s*(?:_PREFIX, |prefix, )?"([A-Z_]+)"', text)
    return {f"{prefix}_{code}" for prefix in prefixes for code in found}


def test_every_code_of_a_refusal_is_on_a_page():
    everything = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    codes = set().union(*map(made, ("verify", "verify_evidence", "verify_journal", "verification")))
    codes |= made("timestamp", "TOKEN") | made("seal", "SEAL") | made("evidence", "EVIDENCE")
    codes |= made("checkpoint", "CHECKPOINT") | made("cms", "TOKEN", "SEAL") | made("certificates", "TOKEN", "SEAL")
    assert len(codes) > 50
    assert [code for code in sorted(codes) if f"`{code}`" not in everything] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_code_on_a_page_is_one_of_the_code(path):
    sources = "\n".join(
        each.read_text(encoding="utf-8")
        for package in ("minutier", "storage", "tasks", "deployments", "supervision")
        for each in (ROOT / package).rglob("*.py")
    )
    for code in set(re.findall(r"`([A-Z]{3,}_[A-Z_]+)`", path.read_text(encoding="utf-8"))):
        prefix, _, rest = code.partition("_")
        whole = f'"{code}"' in sources
        assert whole or (prefix in ("TOKEN", "SEAL", "EVIDENCE", "CHECKPOINT") and f'"{rest}"' in sources), code


def test_the_published_texts_are_in_the_form_of_the_page():
    lines = (ROOT / "minutier" / "kit_files" / "published.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  (README\.(en|fr)\.txt|verify\.(sh|py))", line) for line in lines)
    assert kit.is_published(proof.SCRIPT, kit.VERIFY_SH.encode())
