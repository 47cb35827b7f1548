"""Golden vectors: each stored byte is the one that the code writes and reads; each proof gets its verdict."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from minutier import canonical, checkpoint, evidence, kit, merkle, timestamp
from minutier.certificates import load_pem
from minutier.container import open_container
from minutier.fingerprint import fingerprint_file
from minutier.manifest import read_parts
from minutier.seal import check_seal
from minutier.trust import load_trust
from minutier.verify import verify
from tests.support.bundle import unpack
from tests.vectors import generate

FOLDER = Path(generate.__file__).parent
INDEX = json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))
# Other folders have generators of their own (tokens, age), or are inputs (kit).
OURS = {"document", "batches", "records", "journal", "proofs", "trust", "trust-drill", "keys"}
MOMENT = datetime.fromisoformat("2020-03-02T10:00:00+00:00")


def stored(path: str) -> bytes:
    return (FOLDER / path).read_bytes()


def batches(prefix: str = "") -> list[str]:
    return sorted(path for path in INDEX["files"] if path.startswith(f"batches/{prefix}") and path.endswith(".json"))


def test_the_generator_makes_every_stored_byte_again():
    made = generate.make()
    assert [path for path, data in made.items() if stored(path) != data] == []


def test_the_index_lists_exactly_what_is_stored():
    present = {
        path.relative_to(FOLDER).as_posix() for name in OURS for path in (FOLDER / name).rglob("*") if path.is_file()
    }
    assert set(INDEX["files"]) == present
    for path, expected in INDEX["files"].items():
        data = stored(path)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (expected["sha256"], expected["size"])
    assert sum(expected["size"] for expected in INDEX["files"].values()) < 1_000_000


def judgement_name(item: dict) -> str:
    return f"{Path(item['proof']).stem}-{item['trust']}-{item['at'][:4]}"


@pytest.mark.parametrize("expected", INDEX["judgements"], ids=judgement_name)
def test_each_proof_gets_its_verdict(expected):
    trust = load_trust(FOLDER / expected["trust"] if expected["trust"] else None)
    found = verify(FOLDER / expected["proof"], trust, datetime.fromisoformat(expected["at"]))
    codes = sorted({finding.code for finding in found.findings})
    assert (found.verdict.value, codes) == (expected["verdict"], expected["codes"]), found


def test_every_proof_is_judged():
    judged = {item["proof"] for item in INDEX["judgements"]}
    assert judged == {path for path in INDEX["files"] if path.startswith("proofs/")}
    assert {item["verdict"] for item in INDEX["judgements"]} == {"PASSED", "FAILED", "INDETERMINATE"}


@pytest.mark.parametrize("path", batches())
def test_each_tree_has_its_leaves_its_root_and_its_paths(path):
    found = json.loads(stored(path))
    groups = [[bytes.fromhex(item) for item in group] for group in found["groups"]]
    root, paths = evidence.build_batch(groups, found["algorithm"])
    assert root.hex() == found["root"]
    assert [[[item.hex() for item in hashes] for hashes in each] for each in paths] == found["paths"]
    for leaf, each in zip(found["leaves"], paths, strict=True):
        assert evidence.path_root(each[:1], found["algorithm"]).hex() == leaf
        assert evidence.path_root(each, found["algorithm"]) == root
    token = timestamp.inspect_token(stored(path.replace(".json", ".tst")))
    assert (token.imprint_algorithm, token.imprint) == (found["algorithm"], root)


def test_batches_of_one_two_three_and_five_are_there():
    assert [len(json.loads(stored(path))["groups"]) for path in batches("batch-")] == [1, 2, 3, 5]


@pytest.mark.parametrize("path", INDEX["records"])
def test_each_record_is_read_and_written_again(path):
    record = evidence.decode_record(stored(path))
    assert evidence.encode_record(record) == stored(path)
    assert [[stamp.root.hex() for stamp in chain] for chain in record.chains] == INDEX["records"][path]
    for stamp in record.stamps:
        token = timestamp.inspect_token(stamp.token)
        assert (token.imprint_algorithm, token.imprint) == (stamp.algorithm, stamp.root)
    anchored = "anchor" in path
    names = ("journal/entry-4.json", "journal/checkpoint.txt") if anchored else (
        "document/original.txt", "document/rendition.pdf", "document/manifest.json", "document/manifest.json.p7s"
    )  # fmt: skip
    digests = {name: [hashlib.new(name, stored(each)).digest() for each in names] for name in evidence.SIZES}
    evidence.check_record(record, digests)


@pytest.mark.parametrize("path", INDEX["tokens"])
def test_each_token_says_what_the_index_says(path):
    roots = load_pem(stored("trust/root.pem"))
    expected = INDEX["tokens"][path]
    found = timestamp.check_token(
        stored(path), bytes.fromhex(expected["imprint"]), roots, algorithm=expected["imprint_algorithm"]
    )
    assert (f"{found.gen_time:%Y-%m-%dT%H:%M:%SZ}", str(found.serial)) == (expected["gen_time"], expected["serial"])


def test_the_manifest_is_sealed_and_describes_the_files():
    manifest = stored("document/manifest.json")
    assert canonical.encode(canonical.decode(manifest)) == manifest
    for part, name in zip(read_parts(manifest), ("original.txt", "rendition.pdf"), strict=True):
        assert part.fingerprint == fingerprint_file(FOLDER / "document" / name)
    sealed = check_seal(manifest, stored("document/manifest.json.p7s"), load_pem(stored("trust/root.pem")), MOMENT)
    assert sealed.signing_time == MOMENT


def test_the_journal_has_its_leaves_its_roots_and_its_proofs():
    found = json.loads(stored("journal/journal.json"))
    leaves = [merkle.leaf_hash(stored(f"journal/entry-{number}.json")) for number in range(1, 8)]
    assert [leaf.hex() for leaf in leaves] == found["leaves"]
    chain = bytes(32)
    for leaf, link in zip(leaves, found["chain"], strict=True):
        chain = hashlib.sha256(chain + leaf).digest()
        assert chain.hex() == link
    roots = [bytes.fromhex(root) for root in found["roots"]]
    for place, path in enumerate(found["inclusion"]):
        assert merkle.verify_inclusion(leaves[place], place, 7, [bytes.fromhex(item) for item in path], roots[-1])
    for size, path in enumerate(found["consistency"], 1):
        proof = [bytes.fromhex(item) for item in path]
        assert merkle.verify_consistency(size, roots[size - 1], 7, roots[-1], proof)
    keys = load_trust(FOLDER / "trust").journal_keys
    signed = checkpoint.verify_checkpoint(stored("journal/checkpoint.txt"), keys)
    assert (signed.size, signed.root) == (7, roots[-1])
    (witness,) = [key for key in keys if key.kind == 4]
    assert f"{checkpoint.verify_cosignature(stored('journal/checkpoint.txt'), witness):%H:%M}" == "10:05"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("v1", 0),
        ("v2", 0),
        ("v2-time-stamp-renewal", 0),
        ("v2-hash-tree-renewal", 0),
        ("v2-both-renewals", 0),
        ("late-renewal", 3),
        ("bad-document", 1),
        ("bad-authority", 1),
        ("bad-journal", 1),
        ("bad-checkpoint", 1),
        ("bad-renewal", 1),
        ("bad-renewal-order", 1),
        ("bad-tree-renewal", 1),
    ],
)
def test_the_script_inside_a_proof_says_the_same(name, code, tmp_path):
    for path, data in unpack(FOLDER / "proofs" / f"{name}.zip").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    arguments = ["sh", "verify.sh", str(FOLDER / "trust" / "root.pem"), str(FOLDER / "trust" / "journal.vkey")]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize("expected", INDEX["judgements"], ids=judgement_name)
def test_the_program_of_one_file_gives_each_verdict(expected):
    program = Path(kit.__file__).parent / "kit_files" / "verify.py"
    arguments = [sys.executable, str(program), "--json", "--at", expected["at"]]
    if expected["trust"]:
        trust = FOLDER / expected["trust"]
        arguments += ["--root", str(trust / "root.pem"), "--journal-key", str(trust / "journal.vkey")]
        dates = trust / "algorithms.json"
        arguments += ["--algorithms", str(dates)] if dates.exists() else []
    done = subprocess.run([*arguments, str(FOLDER / expected["proof"])], capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["verdict"] == expected["verdict"]
    # It may say more of what is wrong, not less.
    assert {item["code"] for item in found["findings"]} >= set(expected["codes"])


def test_one_wrong_byte_in_any_file_of_a_good_proof_is_seen(tmp_path):
    trust, at = load_trust(FOLDER / "trust"), datetime.fromisoformat("2024-01-01T00:00:00+00:00")
    whole = bytearray(stored("proofs/v2-both-renewals.zip"))
    with open_container(FOLDER / "proofs/v2-both-renewals.zip") as container:
        places = {path: entry.offset + entry.size // 2 for path, entry in container.entries.items()}
    target = tmp_path / "P.zip"
    for place in places.values():
        whole[place] ^= 1
        target.write_bytes(whole)
        assert verify(target, trust, at).verdict.value == "FAILED"
        whole[place] ^= 1
