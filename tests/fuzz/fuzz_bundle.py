"""Whole proofs, judged under the anchors of the seeds: nothing raises, and nothing but a seed passes."""

from __future__ import annotations

import os
import random
import tempfile
from functools import cache
from pathlib import Path

from minutier import proof
from minutier.container import MAX_FILES, is_safe_path, open_container
from minutier.errors import IntegrityFailureError
from minutier.report import Report, Verdict, as_text
from minutier.trust import Trust
from minutier.verify import verify
from tests.fuzz.mutators import Plain, change_der, change_json
from tests.fuzz.seeds import JUDGED_AT, anchors, archive_id, proofs
from tests.support.bundle import repack, unpack


@cache
def scratch() -> Path:
    """Give a file of this process in memory."""
    shared = Path("/dev/shm")
    place = tempfile.mkdtemp(prefix="minutier-fuzz-", dir=shared if shared.is_dir() else None)
    return Path(place) / f"{os.getpid()}.zip"


def judge(data: bytes, trust: Trust) -> Report:
    scratch().write_bytes(data)
    report = verify(scratch(), trust, JUDGED_AT)
    assert as_text(report).isprintable() or "\n" in as_text(report)
    return report


def check(data: bytes) -> None:
    without = judge(data, Trust())
    assert without.verdict is not Verdict.PASSED, "a proof passed without any anchor"
    if judge(data, anchors()).verdict is Verdict.PASSED:
        assert any(is_same(unpack(scratch()), files) for files in proofs()), "an altered proof passed"


def is_same(files: dict[str, bytes], genuine: dict[str, bytes]) -> bool:
    """Say whether a proof that passed says what a seed says (proof-v2.md §5 lists what a verifier cannot see).

    It may lack revocation data, the script in Python and the statement, and its checkpoint may carry more lines of
    unknown keys; the index follows from the rest.
    """
    free = {proof.INDEX, proof.CHECKPOINT}
    may_lack = {proof.STATEMENT, proof.STATEMENT_SEAL, proof.PROGRAM, proof.ANCHOR}
    lacking = {path for path in set(genuine) - set(files) if not (proof.is_crl(path) or proof.is_ocsp(path))} - may_lack
    body = [each[proof.CHECKPOINT].partition(b"\n\n")[0] for each in (files, genuine)]
    return not lacking and body[0] == body[1] and all(genuine.get(p) == d for p, d in files.items() if p not in free)


def change(data: bytes, dice: random.Random, plain: Plain) -> bytes:
    """Change one or two files of a proof and pack it again, with an index that fits; or change the container."""
    if not dice.randrange(4):
        return plain(data)
    scratch().write_bytes(data)
    try:
        with open_container(scratch()) as container:
            files = {path: container.read(path) or b"" for path in container.entries}
        archive_id(files)
    except (IntegrityFailureError, KeyError, TypeError, ValueError):
        files = dict(dice.choice(proofs()))
    for _ in range(dice.choice((1, 1, 2))):
        _change_one(files, dice, plain)
    if not files or len(files) >= MAX_FILES:
        return plain(data)
    reindex = proof.INDEX in files and bool(dice.randrange(4))
    try:
        return repack(files, scratch(), reindex=reindex).read_bytes()
    except (ValueError, KeyError, TypeError):
        return plain(data)


def _change_one(files: dict[str, bytes], dice: random.Random, plain: Plain) -> None:
    path = dice.choice(sorted(files))
    data = files[path]
    kind = dice.randrange(12)
    if kind == 0:
        del files[path]
    elif kind == 1:
        files[dice.choice(("revocation/x.crl", "renewals/04.tst", "revocation/x.ocsp", proof.PROGRAM))] = data
    elif kind == 2:
        files[path] = dice.choice(proofs())[dice.choice(sorted(proofs()[1]))]
    elif path.endswith(".json"):
        files[path] = change_json(data, dice, plain)
    elif path.endswith((".p7s", ".ers", ".tst", ".crl", ".ocsp")):
        files[path] = change_der(data, dice, plain)
    else:
        files[path] = plain(data)
    assert all(map(is_safe_path, files))
