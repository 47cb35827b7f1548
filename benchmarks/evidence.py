"""Cost of evidence: a batch of documents, their renewals, and the verification of their proofs.

    uv run python -m benchmarks.evidence --json

Batch and renewals: CPU seconds of trees, paths and records, from the digests of the files on (members: original,
rendition, manifest, seal), with the domain's own functions. What the database adds is printed by
tests/independent/test_ten_thousand.py.

Verification: all nine steps of `minutier.verify` over whole proofs of two files of 60 kB, on one core. Two baselines
over the same proofs, in the same run: `openssl` called as an auditor would type it (digests of the four files, seal,
token twice; neither path, journal, lists nor index), and the kit's `verify.sh` (openssl and coreutils; no signature of
the checkpoint). Rates are of CPU seconds, those of child processes included, so that other programs count little.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.proof_set import Document, Issuer
from benchmarks.rig import cpu_seconds, load_average, machine, say, scratch
from minutier import evidence
from minutier.container import open_container
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.report import Verdict
from minutier.verify import verify

BASELINE = "openssl dgst, cms and ts, one process per check, over the same proofs; and the kit's verify.sh"
_NEW_HASH = "sha3_512"
_ONE = (
    "import sys, time; from datetime import datetime, timezone; from pathlib import Path;"
    "began = time.perf_counter(); from minutier.trust import load_trust; from minutier.verify import verify;"
    "ready = time.perf_counter(); found = verify(Path(sys.argv[1]), load_trust(Path(sys.argv[2])),"
    " datetime.now(timezone.utc)); print(found.verdict.value, ready - began, time.perf_counter() - ready)"
)


def measure(documents: int, verified: int, baseline: int) -> dict[str, Any]:
    """Make a batch of `documents`, renew it both ways, verify `verified` proofs; `baseline` of them with openssl."""
    result: dict[str, Any] = {"machine": machine(), "baseline": BASELINE, "documents": documents}
    load = load_average()
    with scratch() as directory:
        issuer = Issuer(directory / "home")
        say(f"evidence: sealing {verified} documents")
        made = [issuer.document(number) for number in range(verified)]
        first, second = (_groups(made, documents, algorithm) for algorithm in ("sha256", _NEW_HASH))
        say(f"evidence: a batch of {documents}, renewed both ways")
        records, result["batch"] = _batch(issuer, first)
        _, result["time_stamp_renewal"] = _renew_tokens(issuer, records)
        renewed, result["hash_tree_renewal"] = _renew_trees(issuer, records, second)
        paths = issuer.write(made, records[:verified], directory / "proofs")
        say(f"evidence: verifying {verified} proofs")
        result["one"] = _verify_one(paths[0], issuer.authority.trust)
        result["proofs"] = _verify_all(paths, issuer)
        result["renewed_proofs"] = _verify_all(issuer.write(made, renewed[:verified], directory / "renewed"), issuer)
        if baseline:
            say(f"evidence: {baseline} proofs with openssl")
            result |= _compare(paths[:baseline], directory, issuer.authority.root, result["proofs"]["per_second"])
    result["load_before_and_after"] = [load, load_average()]
    return result


def _groups(made: Sequence[Document], documents: int, algorithm: str) -> list[list[bytes]]:
    """Give the data groups of a batch: the documents made, and others of which only digests are known."""
    groups = [[hashlib.new(algorithm, data).digest() for data in document.objects] for document in made]
    for number in range(len(made), documents):
        groups.append([hashlib.new(algorithm, b"%d/%d" % (number, member)).digest() for member in range(4)])
    return groups


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Give what a call gives, and its CPU seconds in this process and in its children."""
    before = cpu_seconds()
    found = call()
    return found, cpu_seconds() - before


def _batch(issuer: Issuer, groups: list[list[bytes]]) -> tuple[list[EvidenceRecord], dict[str, Any]]:
    (root, paths), tree = _timed(lambda: evidence.build_batch(groups))
    token = issuer.stamp(root)
    records, made = _timed(lambda: [evidence.initial_record(path, token) for path in paths])
    encoded, written = _timed(lambda: [evidence.encode_record(record) for record in records])
    return records, _spent(tree, made + written, encoded)


def _renew_tokens(issuer: Issuer, records: list[EvidenceRecord]) -> tuple[list[EvidenceRecord], dict[str, Any]]:
    """Time-stamp renewal: one leaf for the token of the batch."""
    leaf = evidence.renewal_leaf(records[0].first.token, "sha256")
    (root, paths), tree = _timed(lambda: evidence.build_batch([[leaf]]))
    stamp = _stamp("sha256", paths[0], issuer.stamp(root))
    renewed, made = _timed(lambda: [EvidenceRecord(((*record.chains[0], stamp),)) for record in records])
    encoded, written = _timed(lambda: [evidence.encode_record(record) for record in renewed])
    return renewed, _spent(tree, made + written, encoded)


def _renew_trees(
    issuer: Issuer, records: list[EvidenceRecord], groups: list[list[bytes]]
) -> tuple[list[EvidenceRecord], dict[str, Any]]:
    """Hash-tree renewal: a leaf for each document, from digests that are known, and one token."""

    def tree_of() -> tuple[bytes, list[evidence.HashPath]]:
        leaves = [
            evidence.first_list(record.chains, (), _NEW_HASH, group)
            for record, group in zip(records, groups, strict=True)
        ]
        return evidence.build_batch(leaves, _NEW_HASH)

    (root, paths), tree = _timed(tree_of)
    token = issuer.stamp(root, _NEW_HASH)
    renewed, made = _timed(
        lambda: [
            EvidenceRecord((*record.chains, (_stamp(_NEW_HASH, path, token),)))
            for record, path in zip(records, paths, strict=True)
        ]
    )
    encoded, written = _timed(lambda: [evidence.encode_record(record) for record in renewed])
    return renewed, _spent(tree, made + written, encoded)


def _stamp(algorithm: str, path: evidence.HashPath, token: bytes) -> ArchiveTimestamp:
    return ArchiveTimestamp(algorithm, tuple(tuple(item) for item in path), token)


def _spent(tree: float, records: float, encoded: Sequence[bytes]) -> dict[str, Any]:
    return {
        "tokens": 1,
        "tree_and_paths_cpu_seconds": round(tree, 3),
        "records_cpu_seconds": round(records, 3),
        "cpu_seconds": round(tree + records, 3),
        "bytes_per_record": max(len(data) for data in encoded),
    }


def _verify_one(path: Path, trust: Path) -> dict[str, Any]:
    """Verify one proof in a new process: seconds of import, and after it."""
    best: list[float] = []
    for _ in range(5):
        found = subprocess.run([sys.executable, "-c", _ONE, path, trust], capture_output=True, text=True, check=True)
        verdict, imported, verified = found.stdout.split()
        if verdict != Verdict.PASSED.value:
            raise RuntimeError(f"the proof ended {verdict}")
        best = min(best or [float("inf")], [float(verified), float(imported)])
    return {"seconds_after_import": round(best[0], 4), "seconds_of_import": round(best[1], 3)}


def _verify_all(paths: Sequence[Path], issuer: Issuer) -> dict[str, Any]:
    trust, at = issuer.trust, datetime.now(issuer.now.tzinfo)
    started = time.perf_counter()
    verdicts, spent = _timed(lambda: [verify(path, trust, at).verdict for path in paths])
    if set(verdicts) != {Verdict.PASSED}:
        raise RuntimeError(f"proofs ended {set(verdicts)}")
    return _rate(len(paths), spent, time.perf_counter() - started)


def _rate(count: int, spent: float, wall: float) -> dict[str, Any]:
    return {
        "proofs": count,
        "per_second": round(count / spent, 1),
        "cpu_ms_each": round(1000 * spent / count, 2),
        "wall_ms_each": round(1000 * wall / count, 2),
    }


def _compare(paths: Sequence[Path], directory: Path, root: Path, ours: float) -> dict[str, Any]:
    folders = [_unpacked(path, directory / "unpacked" / path.stem) for path in paths]
    found: dict[str, Any] = {}
    for name, check in (("openssl", _openssl), ("verify_sh", _script)):
        started = time.perf_counter()
        _, spent = _timed(lambda check=check: [check(folder, root) for folder in folders])
        found[name] = _rate(len(folders), spent, time.perf_counter() - started)
        found[f"ratio_to_{name}"] = round(ours / found[name]["per_second"], 1)
    return found


def _unpacked(path: Path, folder: Path) -> Path:
    with open_container(path) as container:
        for name in container.entries:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(container.read(name) or b"")
    return folder


def _openssl(folder: Path, root: Path) -> None:
    """Type what README.md shows, and the digests; the root of the tree is given, not computed."""
    files = ["document/original.pdf", "document/rendition.pdf", "manifest.json", "manifest.json.p7s"]
    trusted = ["-CAfile", str(root)]
    tree = evidence.decode_record((folder / "evidence.ers").read_bytes()).first.root.hex()
    calls = [["dgst", "-sha256", "-r", *files], ["dgst", "-sha3-512", "-r", *files[:2]]]
    sealed = ["-in", "manifest.json.p7s", "-content", "manifest.json", "-out", os.devnull]
    calls.append(["cms", "-verify", "-binary", "-inform", "DER", *sealed, *trusted])
    calls.append(["ts", "-verify", "-digest", tree, "-token_in", "-in", "token.tst", *trusted])
    token = ["-in", "token.tst", "-purpose", "timestampsign", "-out", os.devnull]
    calls.append(["cms", "-verify", "-inform", "DER", *token, *trusted])
    for call in calls:
        subprocess.run(["openssl", *call], cwd=folder, capture_output=True, check=True)


def _script(folder: Path, root: Path) -> None:
    command = ["sh", "verify.sh", str(root), str(root.with_name("journal.vkey"))]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    count = result["documents"]
    lines = []
    for name, what in (
        ("batch", "batch"),
        ("time_stamp_renewal", "time-stamp renewal"),
        ("hash_tree_renewal", "hash-tree renewal"),
    ):
        found = result[name]
        detail = f"tree and paths {found['tree_and_paths_cpu_seconds']} s, {found['bytes_per_record']} bytes a record"
        lines.append((f"{what} of {count}", f"{found['cpu_seconds']:.2f} s of CPU", detail))
    one = result["one"]
    lines.append(("one proof", f"{1000 * one['seconds_after_import']:.0f} ms", f"import {one['seconds_of_import']} s"))
    for name, what in (("proofs", "verification"), ("renewed_proofs", "verification, renewed")):
        lines.append((what, f"{result[name]['per_second']:.0f} proofs/s", f"{result[name]['cpu_ms_each']} ms each"))
    for name, what in (("openssl", "baseline: openssl"), ("verify_sh", "baseline: verify.sh")):
        if name in result:
            detail = f"{result[name]['cpu_ms_each']} ms each, ratio {result[f'ratio_to_{name}']}"
            lines.append((what, f"{result[name]['per_second']:.1f} proofs/s", detail))
    return lines


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents of the batch (default 10000)")
    parser.add_argument("--verified", type=int, default=1000, help="proofs verified by us (default 1000)")
    parser.add_argument("--baseline", type=int, default=20, help="proofs of the baselines; 0 skips them (default 20)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    result = measure(options.documents, options.verified, options.baseline)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
