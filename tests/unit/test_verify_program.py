"""`verify.py`, the second verifier: one file for Python 3.8 and openssl, written apart from the package."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import evidence, proof
from minutier.container import pack
from minutier.proof import ProofParts
from minutier.report import Report
from minutier.seal import seal
from minutier.verify import verify
from tests.support.bundle import ARCHIVE_ID, committed_at, make_bundle, make_parts, repack, trust_of, unpack, with_json
from tests.support.pki import (
    NOW,
    TIME_STAMPING,
    Pki,
    default_pki,
    issue,
    make_crl,
    make_info,
    make_token,
    new_key,
    new_pki,
    rsa_key,
    write_trust,
)
from tests.support.renewed import (
    DAY,
    Renewal,
    long_pki,
    next_tsa,
    ocsp_answer,
    pack_files,
    renewed_files,
    with_index,
    written,
)

PROGRAM = Path(__file__).parents[2] / "minutier" / "kit_files" / "verify.py"
LATER = NOW + timedelta(days=1)
AT = LATER.isoformat()
PASSED, FAILED, USAGE, INDETERMINATE = 0, 1, 2, 3


@cache
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kit_verify_program", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def judge(tmp_path, capsys, monkeypatch):
    """Run the program in this process; gives its exit code and its JSON document."""
    write_trust(tmp_path / "trust", default_pki())

    def run(path: Path, *more: str, trust: Path | None = tmp_path / "trust", at: str = AT) -> tuple[int, dict]:
        anchors = (
            [] if trust is None else ["--root", str(trust / "root.pem"), "--journal-key", str(trust / "journal.vkey")]
        )
        monkeypatch.setattr(sys, "argv", ["verify.py", *anchors, "--at", at, "--json", str(path), *more])
        code = program().main()
        return code, json.loads(capsys.readouterr().out)

    return run


def codes(document: dict) -> set[tuple[str, str]]:
    return {(item["code"], item["where"]) for item in document["findings"]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("program") / "P.zip")


@pytest.fixture(scope="module")
def files(bundle) -> dict[str, bytes]:
    return unpack(bundle)


# --- the program itself


def test_it_is_written_for_python_3_8_and_the_standard_library():
    tree = ast.parse(PROGRAM.read_text(encoding="utf-8"), feature_version=(3, 8))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names | {"__future__"}
    assert not {"socket", "urllib", "http", "pickle", "shelve", "minutier"} & named


def test_its_comments_and_its_titles_number_the_same_steps():
    text = PROGRAM.read_text(encoding="utf-8")
    assert [f"\n {number}. " in text for number in range(1, 10)] == [True] * 9
    assert [f"    # {number}. " in text for number in range(2, 10)] == [True] * 8
    assert len(program().TITLES) == 9


@pytest.mark.parametrize("python", [sys.executable, "python3.8", "python3.9", "python3.13"])
def test_a_stranger_runs_it(bundle, tmp_path, python):
    found = shutil.which(python)
    works = found and subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0
    if not works:
        pytest.skip(f"{python} is not installed")
    write_trust(tmp_path, default_pki())
    command = [str(found), "-I", str(PROGRAM), "--root", "root.pem", "--journal-key", "journal.vkey", "--at", AT]
    done = subprocess.run(
        [*command, str(bundle)],
        cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (PASSED, "")
    assert done.stdout.endswith("Verdict: PASSED\n")
    assert [line.split(". ")[0] for line in done.stdout.splitlines()[:9]] == [str(n) for n in range(1, 10)]


MISUSED = {
    "no root": (["--root", "none.pem"], "none.pem cannot be read (No such file or directory): check its name"),
    "no certificate": (["--root", "note.txt"], "--root note.txt holds no PEM certificate"),
    "no key": (["--journal-key", "note.txt"], "--journal-key note.txt is not a journal's key"),
    "a key that is no text": (["--journal-key", "raw"], "raw is not a text"),
    "no zone": (["--at", "2030-01-01T00:00:00"], "--at 2030-01-01T00:00:00 is not a time with its zone"),
    "no list": (["--algorithms", "note.txt"], "--algorithms note.txt is not a list of dates of algorithms"),
    "no proof": (["none.zip"], "there is no none.zip"),
}


@pytest.mark.parametrize("case", sorted(MISUSED))
def test_what_is_given_wrong_is_named_with_what_to_give(bundle, tmp_path, monkeypatch, capsys, case):
    arguments, words = MISUSED[case]
    monkeypatch.chdir(tmp_path)
    Path("note.txt").write_text("a note\n")
    Path("raw").write_bytes(b"\xff\xfe")
    proof_file = [] if case == "no proof" else [str(bundle)]
    monkeypatch.setattr(sys, "argv", ["verify.py", *arguments, *proof_file])
    with pytest.raises(SystemExit) as stopped:
        program().main()
    assert stopped.value.code == 2
    assert f"not checked: {words}" in capsys.readouterr().err


def test_a_file_that_is_no_zip_is_told_so(judge, tmp_path):
    (tmp_path / "note.txt").write_text("a note\n")
    code, said = judge(tmp_path / "note.txt")
    assert (code, codes(said)) == (1, {("CONTAINER_NOT_CANONICAL", "note.txt")})
    assert said["findings"][0]["message"] == "This is not a .zip file: give the proof as it was received."


# --- verdicts


def test_a_good_proof_passes_as_a_file_and_as_a_folder(bundle, files, judge, tmp_path):
    code, said = judge(bundle)
    assert (code, said["verdict"], said["findings"]) == (PASSED, "PASSED", [])
    assert [step["verdict"] for step in said["steps"]] == ["PASSED"] * 9
    assert said["facts"]["archive_id"] == ARCHIVE_ID
    code, said = judge(written(files, tmp_path / "P"))
    assert (code, said["verdict"]) == (PASSED, "PASSED")
    assert "The container was not judged: a folder was given." in said["notes"]


def test_without_anchors_there_is_no_verdict(bundle, judge):
    code, said = judge(bundle, trust=None)
    assert code == INDETERMINATE
    assert codes(said) == {
        ("NO_TRUST_ANCHOR", proof.SEAL), ("NO_TRUST_ANCHOR", proof.TOKEN), ("NO_JOURNAL_KEY", proof.CHECKPOINT),
    }  # fmt: skip


def test_other_anchors_refuse(bundle, judge, tmp_path):
    code, said = judge(bundle, trust=write_trust(tmp_path / "other", new_pki()))
    assert code == FAILED
    assert codes(said) >= {
        ("SEAL_CHAIN", proof.SEAL), ("TOKEN_CHAIN", proof.TOKEN), ("CHECKPOINT_SIGNATURE", proof.CHECKPOINT),
        ("ROOT_FOREIGN", proof.ROOTS),
    }  # fmt: skip


def test_a_token_of_the_future_is_found(bundle, judge):
    code, said = judge(bundle, at=(NOW - timedelta(hours=1)).isoformat())
    assert code == FAILED
    assert ("TOKEN_TIME", proof.TOKEN) in codes(said)


def test_an_algorithm_that_has_ended_leaves_no_verdict(bundle, judge, tmp_path):
    (tmp_path / "ends.json").write_text(json.dumps({"ends": {"sha256": "2026-11-24", "ecdsa": None}}))
    code, said = judge(bundle, "--algorithms", str(tmp_path / "ends.json"))
    assert code == INDETERMINATE
    assert codes(said) == {("ALGORITHM_ENDED", proof.TOKEN), ("JOURNAL_ALGORITHM_ENDED", proof.INCLUSION)}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["absent.zip"],
        ["--root", "absent.pem", "P.zip"],
        ["--at", "2030-01-01T00:00:00", "P.zip"],
        ["--at", "x", "P.zip"],
    ],
)
def test_misuse_is_said_without_a_traceback(arguments, tmp_path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == USAGE
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("at", "code"), [("2001-01-01T00:00:00Z", "JOURNAL_TIME"), ("2001-01-01", "JOURNAL_ENTRY_FORMAT")]
)
def test_the_commit_is_not_before_the_token(judge, tmp_path, at, code):
    proof.assemble(committed_at(make_parts(), at), tmp_path / "P.zip")
    assert codes(judge(tmp_path / "P.zip")[1]) == {(code, proof.ENTRY)}


def under_rsa(bits: int) -> ProofParts:
    """Give a proof whose token is ECDSA, by an authority whose certificate an RSA key signed."""
    pki, middle_key, key, parts = default_pki(), rsa_key(bits), new_key(), make_parts()
    middle = issue("Middle", middle_key, issuer=(pki.root, pki.root_key), ca=True)
    tsa = issue("Below", key, issuer=(middle, middle_key), eku=TIME_STAMPING)
    first = evidence.decode_record(parts.record).first
    token = make_token(pki, make_info(first.root), certificate=tsa, key=key, embedded=[tsa, middle])
    record = evidence.encode_record(evidence.initial_record(first.path, token))
    lists = {"root": pki.crl, "middle": make_crl(middle, middle_key)}
    crls = {name: crl.public_bytes(Encoding.DER) for name, crl in lists.items()}
    return dataclasses.replace(parts, record=record, token_chain=[tsa, middle], crls=crls)


@pytest.mark.parametrize(("at", "ended"), [("2033-12-31", set()), ("2034-01-01", {("ALGORITHM_ENDED", proof.TOKEN)})])
def test_the_signatures_of_authorities_end_too(judge, tmp_path, at, ended):
    proof.assemble(under_rsa(3072), tmp_path / "P.zip")
    moment = f"{at}T00:00:00+00:00"
    assert codes(judge(tmp_path / "P.zip", at=moment)[1]) == ended
    found = verify(tmp_path / "P.zip", trust_of(default_pki()), datetime.fromisoformat(moment))
    assert {(finding.code, finding.where) for finding in found.findings} == ended


# --- held against the verifier of the package


def both(path: Path, judge) -> tuple[Report, dict]:
    return verify(path, trust_of(default_pki()), LATER), judge(path)[1]


MEMBERS = sorted({*proof.REQUIRED[proof.FORMAT], proof.RENDITION, "document/original.pdf", "revocation/root.crl"})
# Nothing signs them: the package knows the texts that were published, the program does not.
TEXTS = {proof.README_EN, proof.README_FR, proof.SCRIPT}


@pytest.mark.parametrize("reindex", [False, True], ids=["index-as-it-was", "index-fits"])
@pytest.mark.parametrize("fraction", [0.3, 1.0])
@pytest.mark.parametrize("member", MEMBERS)
def test_both_verifiers_find_an_altered_byte(files, judge, tmp_path, member, fraction, reindex):
    data = bytearray(files[member])
    data[min(len(data) - 1, int(len(data) * fraction))] ^= 1
    if member == proof.INDEX and reindex:
        pytest.skip("the index is what was altered")
    path = repack({**files, member: bytes(data)}, tmp_path / "altered.zip", reindex=reindex)
    ours, theirs = both(path, judge)
    if reindex and member in TEXTS:
        assert (ours.verdict.value, theirs["verdict"]) == ("FAILED", "PASSED")
        return
    assert theirs["verdict"] == ours.verdict.value == "FAILED"
    assert {item["where"] for item in theirs["findings"]} & {item.where for item in ours.findings}


@pytest.mark.parametrize("member", [name for name in MEMBERS if name != proof.INDEX])
def test_both_verifiers_find_a_file_that_was_taken_away(files, judge, tmp_path, member):
    left = {name: data for name, data in files.items() if name != member}
    ours, theirs = both(repack(left, tmp_path / "less.zip"), judge)
    assert theirs["verdict"] == ours.verdict.value


@pytest.mark.parametrize(
    "stray", ["notes.txt", "document/annex.pdf", "journal/entry.txt", "revocation/x.crl", "journal/anchor.crs"]
)
def test_both_verifiers_find_a_stray_file(files, judge, tmp_path, stray):
    theirs = judge(repack({**files, stray: b"stray"}, tmp_path / "more.zip"))[1]
    assert stray in {item["where"] for item in theirs["findings"]}


JSON_CHANGES = [
    (proof.ENTRY, {"event": "deposit:locked"}, "JOURNAL_EVENT"),
    (proof.ENTRY, {"archive_id": "other"}, "JOURNAL_ID"),
    (proof.ENTRY, {"safe": "other"}, "JOURNAL_SAFE"),
    (proof.ENTRY, {"details": {"manifest_sha256": "0" * 64}}, "JOURNAL_MANIFEST"),
    (proof.ENTRY, {"details": []}, "JOURNAL_MANIFEST"),
    (proof.ENTRY, {"format": "minutier-journal/9"}, "JOURNAL_ENTRY_FORMAT"),
    (proof.INCLUSION, {"index": 2}, "INCLUSION_PATH"),
    (proof.INCLUSION, {"size": 8}, "INCLUSION_CHECKPOINT"),
    (proof.INCLUSION, {"path": ["0"]}, "INCLUSION_FORMAT"),
    (proof.MANIFEST, {"archive_id": "other"}, "MANIFEST_ID"),
    (proof.MANIFEST, {"objects": []}, "MANIFEST_FORMAT"),
    (proof.MANIFEST, {"objects": "x"}, "MANIFEST_FORMAT"),
    (proof.MANIFEST, {"objects": [7]}, "MANIFEST_FORMAT"),
]


@pytest.mark.parametrize(("member", "change", "code"), JSON_CHANGES)
def test_both_verifiers_give_the_same_code_to_a_forged_value(files, judge, tmp_path, member, change, code):
    altered = {**files, member: with_json(files[member], **change)}
    ours, theirs = both(repack(altered, tmp_path / "forged.zip"), judge)
    assert code in {item.code for item in ours.findings} & {item["code"] for item in theirs["findings"]}


def test_no_bytes_make_it_stumble(bundle, files, judge, tmp_path):
    chance = random.Random(4998)
    whole = bundle.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        at = chance.randrange(len(data))
        kind = chance.randrange(3)
        if kind == 0:
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + chance.randrange(1, 40)]
        else:
            data[at:at] = chance.randbytes(chance.randrange(1, 40))
        (tmp_path / "noise.zip").write_bytes(data)
        assert judge(tmp_path / "noise.zip")[0] == FAILED
    parsed = [proof.SEAL, proof.TOKEN, proof.RECORD, proof.SEAL_CHAIN, "revocation/root.crl", proof.CHECKPOINT]
    for number in range(60):
        member = parsed[number % len(parsed)]
        data = bytearray(files[member])
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(2)] = chance.randbytes(chance.randrange(3))
        path = repack({**files, member: bytes(data)}, tmp_path / "noise.zip")
        assert judge(path)[0] == (FAILED if bytes(data) != files[member] else PASSED)


# --- hostile containers


def zipped(path: Path, names: list[str], *, method: int = zipfile.ZIP_STORED, data: bytes = b"x") -> Path:
    with zipfile.ZipFile(path, "w", method) as writer:
        for name in names:
            writer.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return path


@pytest.mark.parametrize(
    "names",
    [["../out"], ["/etc/passwd"], ["a/b/c"], ["a", "a"], [".hidden"], ["a\\b"], [f"f{n:04}" for n in range(600)]],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_it_reads_no_other_zip(judge, tmp_path, names):
    code, said = judge(zipped(tmp_path / "hostile.zip", names))
    assert (code, codes(said)) == (FAILED, {("CONTAINER_NOT_CANONICAL", "hostile.zip")})
    assert [step["verdict"] for step in said["steps"]] == ["FAILED", *[None] * 8]


def test_it_unpacks_nothing(judge, tmp_path):
    bomb = zipped(tmp_path / "bomb.zip", ["document/original"], method=zipfile.ZIP_DEFLATED, data=bytes(50 << 20))
    assert bomb.stat().st_size < 100_000
    assert codes(judge(bomb)[1]) == {("CONTAINER_NOT_CANONICAL", "bomb.zip")}


def test_a_large_file_outside_the_document_is_refused(judge, tmp_path):
    pack({"document/original": bytes(9 << 20)}, tmp_path / "big.zip")
    assert ("CONTAINER_NOT_CANONICAL", "big.zip") not in codes(judge(tmp_path / "big.zip")[1])
    data = (tmp_path / "big.zip").read_bytes().replace(b"document/original", b"documenx/original")
    (tmp_path / "big.zip").write_bytes(data)
    assert codes(judge(tmp_path / "big.zip")[1]) == {("CONTAINER_NOT_CANONICAL", "big.zip")}


def test_a_folder_with_a_link_is_refused(files, judge, tmp_path):
    folder = written(files, tmp_path / "P")
    (folder / "journal" / "entry.txt").symlink_to("/etc/passwd")
    assert codes(judge(folder)[1]) == {("CONTAINER_NOT_CANONICAL", "P")}


# --- renewals

OLD = NOW - timedelta(days=1500)


@cache
def old_pki() -> Pki:
    return long_pki(OLD)


@cache
def plan() -> tuple[Renewal, ...]:
    second, third, fourth = (next_tsa(old_pki(), OLD + days * DAY) for days in (200, 400, 600))
    return (
        Renewal("time", OLD + 200 * DAY, *second),
        Renewal("tree", OLD + 400 * DAY, *third),
        Renewal("time", OLD + 600 * DAY, *fourth, batch=1),
        Renewal("tree", OLD + 800 * DAY, *fourth, batch=5, algorithm="sha256"),
    )


@pytest.fixture(scope="module")
def renewed(tmp_path_factory) -> dict[str, bytes]:
    return renewed_files(tmp_path_factory.mktemp("renewed"), old_pki(), OLD, plan(), ARCHIVE_ID)


@pytest.fixture
def judge_old(judge, tmp_path):
    write_trust(tmp_path / "old", old_pki())

    def run(files: dict[str, bytes], *more: str) -> tuple[int, dict]:
        path = pack_files(with_index(files, ARCHIVE_ID), tmp_path / "old.zip")
        return judge(path, *more, trust=tmp_path / "old")

    return run


def test_a_renewed_proof_passes(renewed, judge_old):
    code, said = judge_old(renewed)
    assert (code, said["findings"]) == (PASSED, [])
    assert said["facts"]["renewed_at"].split(", ") == [f"{item.moment:%Y-%m-%dT%H:%M:%SZ}" for item in plan()]
    assert said["facts"]["algorithms"] == "ecdsa sha256 sha3_512"


def test_the_verifier_of_the_package_agrees_on_a_renewed_proof(renewed, tmp_path):
    report = verify(pack_files(renewed, tmp_path / "P.zip"), trust_of(old_pki()), LATER)
    assert (report.findings, report.verdict.value) == ((), "PASSED")


RENEWED = [
    "evidence.ers",
    "token.tst",
    *(f"renewals/0{n}.{kind}" for n in (2, 3, 4, 5) for kind in ("path.txt", "tst")),
]


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("member", RENEWED)
def test_an_altered_byte_of_a_renewal_is_found(renewed, judge_old, member, fraction):
    data = bytearray(renewed[member])
    data[min(len(data) - 1, int(len(data) * fraction))] ^= 1
    code, said = judge_old({**renewed, member: bytes(data)})
    assert code == FAILED
    assert any(item["where"].startswith((member, "evidence.ers", "renewals/")) for item in said["findings"])


def test_sha256_may_end_once_the_tree_was_renewed(tmp_path, judge_old):
    files = renewed_files(tmp_path, old_pki(), OLD, plan()[:3], ARCHIVE_ID)
    ends = {"ends": {"sha256": f"{OLD + 500 * DAY:%Y-%m-%d}", "sha3_512": None, "ecdsa": None}}
    (tmp_path / "ends.json").write_text(json.dumps(ends))
    said = judge_old(files, "--algorithms", str(tmp_path / "ends.json"))[1]
    # The tokens and certificates of these tests are all signed over SHA-256: those of the third have ended.
    assert {where for code, where in codes(said) if code == "ALGORITHM_ENDED"} == {"renewals/03.tst", "renewals/04.tst"}


def test_a_renewal_of_other_files_is_found(renewed, judge_old, tmp_path):
    other = renewed_files(tmp_path, old_pki(), OLD, plan(), ARCHIVE_ID, original=b"other")
    code, said = judge_old({**renewed, proof.RECORD: other[proof.RECORD]})
    assert code == FAILED
    assert ("EVIDENCE_GROUP", proof.RECORD) in codes(said)
    assert ("EVIDENCE_FILE", "document/original.pdf") in codes(said)


@pytest.mark.parametrize(
    ("renewal", "finding"),
    [
        (("time", 320, 310), ("RENEWAL_LATE", "renewals/02.tst")),
        (("time", -1, None), ("EVIDENCE_ORDER", "renewals/02.tst")),
        (("time", 2000, 1900), ("TOKEN_TIME", "renewals/02.tst")),
        (("tree-same", 100, None), ("EVIDENCE_FORMAT", "evidence.ers")),
    ],
)
def test_a_renewal_that_breaks_a_rule_is_named(tmp_path, judge_old, renewal, finding):
    kind, days, issued = renewal
    tsa = (old_pki().tsa, old_pki().tsa_key) if issued is None else next_tsa(old_pki(), OLD + issued * DAY)
    made = Renewal(kind.partition("-")[0], OLD + days * DAY, *tsa, algorithm="sha256")
    said = judge_old(renewed_files(tmp_path, old_pki(), OLD, [made], ARCHIVE_ID))[1]
    assert finding in codes(said)


def test_a_tree_over_half_of_the_files_is_refused(tmp_path, judge_old, monkeypatch):
    import tests.support.renewed as support

    whole = support.members
    monkeypatch.setattr(support, "members", lambda files: whole(files)[:2])
    said = judge_old(renewed_files(tmp_path, old_pki(), OLD, plan()[:2], ARCHIVE_ID))[1]
    assert ("EVIDENCE_GROUP", proof.RECORD) in codes(said)


@pytest.mark.parametrize(
    ("whose", "days", "reason", "code"),
    [
        ("tsa", 10, x509.ReasonFlags.superseded, None),
        ("tsa", 10, x509.ReasonFlags.key_compromise, "TOKEN_REVOKED"),
        ("tsa", 10, None, "TOKEN_REVOKED"),
        ("tsa", -1, x509.ReasonFlags.superseded, "TOKEN_REVOKED"),
        ("seal", 10, x509.ReasonFlags.key_compromise, None),
        ("seal", -1, None, "SEAL_REVOKED"),
    ],
)
def test_a_revocation_counts_by_its_date_and_its_reason(tmp_path, judge_old, whose, days, reason, code):
    pki = old_pki()
    certificate = pki.tsa if whose == "tsa" else pki.seal
    crl = make_crl(
        pki.root, pki.root_key, [(certificate, OLD + days * DAY, reason)], start=OLD + 20 * DAY, end=OLD + 90 * DAY
    )
    files = unpack(make_bundle(tmp_path / "P.zip", pki, moment=OLD))
    said = judge_old({**files, "revocation/root.crl": crl.public_bytes(Encoding.DER)})[1]
    assert {found for found, _ in codes(said)} == ({code} if code else set())


def keys() -> dict[str, tuple[object, bool]]:
    made = rsa.generate_private_key(65537, 3072)
    return {"rsa": (made, False), "rsa-pss": (made, True), "ed25519": (ed25519.Ed25519PrivateKey.generate(), False)}


@pytest.mark.parametrize("kind", ["rsa", "rsa-pss", "ed25519"])
def test_tokens_of_other_algorithms(tmp_path, judge_old, kind):
    key, pss = keys()[kind]
    made = Renewal("time", OLD + 100 * DAY, *next_tsa(old_pki(), OLD + 100 * DAY, key=key), pss=pss)
    code, said = judge_old(renewed_files(tmp_path, old_pki(), OLD, [made], ARCHIVE_ID))
    if kind == "ed25519" and program().OpenSsl().version < (3, 5):
        assert (code, codes(said)) == (INDETERMINATE, {("ALGORITHM_UNSUPPORTED", "renewals/02.tst")})
    else:
        assert (code, said["findings"]) == (PASSED, [])


def test_the_statement_is_judged_by_its_seal(renewed, judge_old):
    page = b"%PDF-1.7 statement of " + proof.statement_mark(renewed["manifest.json"])
    sealed = seal(page, old_pki().signer, OLD + 300 * DAY)
    good = {**renewed, "statement.pdf": page, "statement.pdf.p7s": sealed}
    code, said = judge_old(good)
    assert (code, said["findings"]) == (PASSED, [])
    assert codes(judge_old({**good, "statement.pdf": page + b"\n"})[1]) == {("SEAL_DIGEST", "statement.pdf.p7s")}
    for other in (b"%PDF-1.7 statement of another", page[1:]):
        changed = {"statement.pdf": other, "statement.pdf.p7s": seal(other, old_pki().signer, OLD + 300 * DAY)}
        assert codes(judge_old({**good, **changed})[1]) == {("STATEMENT_MISMATCH", "statement.pdf")}
    lone = {name: data for name, data in good.items() if name != "statement.pdf.p7s"}
    assert ("FILE_MISSING", "statement.pdf.p7s") in codes(judge_old(lone)[1])


# --- OCSP responses in the place of lists


def answered(tmp_path: Path, **tsa: object) -> dict[str, bytes]:
    """A proof whose certificates are covered by OCSP responses alone; `tsa` says how that of the authority is."""
    pki = old_pki()
    files = unpack(make_bundle(tmp_path / "fresh.zip", pki, moment=OLD))
    del files["revocation/root.crl"]
    issued = tsa.pop("issued", OLD + timedelta(hours=1))
    files["revocation/tsa.ocsp"] = ocsp_answer(pki, pki.tsa, issued, **tsa)
    files["revocation/seal.ocsp"] = ocsp_answer(pki, pki.seal, OLD + timedelta(hours=1))
    return files


OCSP_CASES = {
    "good": ({}, None),
    "superseded": ({"revoked": OLD + timedelta(minutes=30), "reason": x509.ReasonFlags.superseded}, None),
    "compromised-later": (
        {"revoked": OLD + timedelta(minutes=30), "reason": x509.ReasonFlags.key_compromise},
        "revoked",
    ),
    "revoked-before": ({"revoked": OLD - timedelta(days=1), "reason": x509.ReasonFlags.superseded}, "revoked"),
    "too-old": ({"issued": OLD - timedelta(days=9)}, "unknown"),
    "spoilt": ({"spoil": True}, "spoilt"),
}


@pytest.mark.parametrize("case", sorted(OCSP_CASES))
def test_an_ocsp_response_covers_a_certificate(tmp_path, judge_old, case):
    options, expected = OCSP_CASES[case]
    code, said = judge_old(answered(tmp_path, **options))
    wanted = {
        None: (PASSED, set()),
        "revoked": (FAILED, {("TOKEN_REVOKED", "token.tst")}),
        "unknown": (INDETERMINATE, {("REVOCATION_UNKNOWN", "token.tst")}),
        "spoilt": (FAILED, {("REVOCATION_UNKNOWN", "token.tst"), ("OCSP_SIGNATURE", "revocation/tsa.ocsp")}),
    }[expected]
    assert (code, codes(said)) == wanted


def test_what_is_no_ocsp_response_is_named(tmp_path, judge_old):
    files = {**answered(tmp_path), "revocation/tsa.ocsp": b"nonsense"}
    assert ("OCSP_FORMAT", "revocation/tsa.ocsp") in codes(judge_old(files)[1])


# --- tokens that leave certificates out: certificates/tsa.pem has them


def with_less(kind: str) -> Renewal:
    """A renewal by an authority under an intermediate one, whose token embeds its own certificate alone, or none."""
    pki, moment, middle_key, key = old_pki(), OLD + 200 * DAY, new_key(), new_key()
    span = {"start": moment - DAY, "end": moment + 300 * DAY}
    middle = issue("Middle", middle_key, issuer=(pki.root, pki.root_key), ca=True, **span)
    leaf = issue("Under middle", key, issuer=(middle, middle_key), eku=TIME_STAMPING, **span)
    if kind == "bare":
        return Renewal("time", moment, *next_tsa(pki, moment), bare=True)
    return Renewal("time", moment, leaf, key, beside=(middle,))


def test_a_token_without_any_certificate_passes(tmp_path, judge_old):
    code, said = judge_old(renewed_files(tmp_path, old_pki(), OLD, [with_less("bare")], ARCHIVE_ID))
    assert (code, said["findings"]) == (PASSED, [])


def test_a_path_whose_middle_is_beside_the_token_is_followed(tmp_path, judge_old):
    code, said = judge_old(renewed_files(tmp_path, old_pki(), OLD, [with_less("middle")], ARCHIVE_ID))
    # No list of the intermediate authority is there: that is all that is missing.
    assert (code, codes(said)) == (INDETERMINATE, {("REVOCATION_UNKNOWN", "renewals/02.tst")})


@pytest.mark.parametrize("kind", ["bare", "middle", "stray"])
def test_the_package_says_the_same_of_tokens_that_leave_certificates_out(tmp_path, kind):
    renewal = with_less("bare" if kind == "stray" else kind)
    if kind == "stray":
        renewal = dataclasses.replace(renewal, beside=(next_tsa(old_pki(), OLD)[0],))
    files = renewed_files(tmp_path, old_pki(), OLD, [renewal], ARCHIVE_ID)
    pack(files, tmp_path / "P.zip")
    report = verify(tmp_path / "P.zip", trust_of(old_pki()), OLD + 210 * DAY)
    found = {(finding.code, finding.where) for finding in report.findings}
    assert (
        found
        == {
            "bare": set(),
            "middle": {("REVOCATION_UNKNOWN", "renewals/02.tst")},
            "stray": {("CERTIFICATE_MISMATCH", "certificates/tsa.pem")},
        }[kind]
    )


def test_a_certificate_that_has_no_part_in_it_is_found(tmp_path, judge_old):
    stray = next_tsa(old_pki(), OLD)[0]
    renewal = dataclasses.replace(with_less("bare"), beside=(stray,))
    said = judge_old(renewed_files(tmp_path, old_pki(), OLD, [renewal], ARCHIVE_ID))[1]
    assert ("CERTIFICATE_MISMATCH", "certificates/tsa.pem") in codes(said)
