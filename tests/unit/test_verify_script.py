"""`verify.sh` as a stranger runs it: in the unzipped folder, with sh, openssl and coreutils and nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import kit, proof
from minutier.seal import seal
from tests.support.bundle import ARCHIVE_ID, committed_at, make_bundle, make_parts, unpack
from tests.support.pki import TIME_STAMPING, Pki, issue, make_crl, new_key, new_pki, write_trust
from tests.support.renewed import DAY, Renewal, long_pki, next_tsa, ocsp_answer, renewed_files, with_index, written

# The script compares the token with the clock of the machine: the proof is made two minutes ago.
MOMENT = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
PROGRAMS = ("openssl", "basenc", "cat", "date", "mktemp", "rm", "sort", "tail", "tr", "wc")
TRUST = ("../trust/root.pem", "../trust/journal.vkey")
HELD, DID_NOT_HOLD, NOT_CHECKED, NOT_YET_A_PROOF = 0, 1, 2, 3


@cache
def pki():
    return new_pki("Script", MOMENT)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("script") / "P.zip", pki(), moment=MOMENT)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> str:
    """A PATH that leads to openssl and ten programs of coreutils: no python, grep, sed, awk, unzip."""
    programs = tmp_path_factory.mktemp("programs")
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        (programs / name).symlink_to(found)
    return str(programs)


def anchors(place: Path) -> None:
    (place / "mine.pem").write_bytes(pki().root.public_bytes(Encoding.PEM))
    (place / "mine.vkey").write_text(pki().note_key.vkey() + "\n")


@pytest.fixture
def folder(bundle, tmp_path) -> Path:
    for name, data in unpack(bundle).items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    anchors(tmp_path)
    return tmp_path / "P"


def run(
    folder: Path, path: str, *arguments: str, before: tuple[str, ...] = (), shell: str = "sh"
) -> subprocess.CompletedProcess[str]:
    shell = shutil.which(shell)
    assert shell
    return subprocess.run(
        [*before, shell, "verify.sh", *arguments],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def said(found: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Give the exit code and the verdict, which is the last line of the output; nothing is said beside it."""
    assert found.stderr == ""
    return found.returncode, found.stdout.splitlines(keepends=True)[-1]


def fingerprint() -> str:
    """The form of the statement and of the texts: 64 digits in lower case."""
    return hashlib.sha256(pki().root.public_bytes(Encoding.DER)).hexdigest()


def test_the_key_beside_the_root_is_taken_unless_it_came_with_the_proof(folder, path):
    trust = folder.parent / "trust"
    trust.mkdir()
    shutil.copy(folder.parent / "mine.pem", trust / "root.pem")
    shutil.copy(folder.parent / "mine.vkey", trust / "journal.vkey")
    found = run(folder, path, "../trust/root.pem")
    assert (found.returncode, found.stderr) == (HELD, "")
    assert f"the journal's key is taken from beside your root: {trust.resolve()}/journal.vkey" in found.stdout
    # What is in the folder of the proof is no anchor, however it is named.
    for place in (folder, folder / "certificates"):
        shutil.copy(trust / "journal.vkey", place / "journal.vkey")
        shutil.copy(trust / "root.pem", place / "given.pem")
    for name in ("given.pem", "./given.pem", "certificates/given.pem", str(folder / "given.pem"), "../P/given.pem"):
        found = run(folder, path, name)
        assert found.returncode != HELD
        assert "taken from beside" not in found.stdout


def test_with_the_root_and_the_key_every_check_holds(folder, path):
    found = run(folder, path, "../mine.pem", "../mine.vkey")
    assert (found.returncode, found.stderr) == (HELD, "")
    steps = [line.split()[:2] for line in found.stdout.splitlines()[:9]]
    # The container is not there any more.
    assert steps == [["--" if n == 1 else "ok", f"{n}/9"] for n in range(1, 10)]
    assert "seal: ecdsa-with-SHA256 over sha256" in found.stdout
    assert f"SHA-256: {fingerprint()}" in found.stdout
    assert f"document {ARCHIVE_ID} existed, as it is here, on {MOMENT:%Y-%m-%dT%H:%M:%SZ}." in found.stdout


def test_without_a_root_it_prints_the_fingerprint_and_does_not_say_passed(folder, path):
    found = run(folder, path)
    assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
    assert f"SHA-256: {fingerprint()}" in found.stdout
    assert "PASSED" not in found.stdout
    assert "NOT YET A PROOF" in found.stdout
    assert "NO_TRUST_ANCHOR" in found.stdout and "NO_JOURNAL_KEY" in found.stdout


def test_without_a_rendition_it_holds_too(tmp_path, path):
    for name, data in unpack(make_bundle(tmp_path / "P.zip", pki(), moment=MOMENT, rendition=None, batch=1)).items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    anchors(tmp_path)
    assert run(tmp_path / "P", path, "../mine.pem", "../mine.vkey").returncode == HELD


# verify.sh cannot be its own judge: an altered script may say anything. The reader of the .zip looks at it.
COVERED = sorted(
    {*proof.REQUIRED[proof.FORMAT], proof.RENDITION, "document/original.pdf", "revocation/root.crl"} - {proof.SCRIPT}
)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 1.0], ids=["first", "middle", "last"])
@pytest.mark.parametrize("member", COVERED)
def test_one_altered_byte_of_any_file_is_found(folder, path, member, fraction):
    data = bytearray((folder / member).read_bytes())
    data[min(len(data) - 1, int(len(data) * fraction))] ^= 1
    (folder / member).write_bytes(data)
    found = run(folder, path, "../mine.pem", "../mine.vkey")
    code, verdict = said(found)
    assert (code, verdict[:8]) == (DID_NOT_HOLD, "FAILED: ")
    assert "PASSED" not in found.stdout


@pytest.mark.parametrize("member", COVERED)
def test_a_missing_file_is_found(folder, path, member):
    (folder / member).unlink()
    found = run(folder, path, "../mine.pem", "../mine.vkey")
    code, verdict = said(found)
    assert (code, verdict[:8]) == (DID_NOT_HOLD, "FAILED: ")


def test_an_altered_script_is_found_by_the_index_that_another_copy_of_it_reads(folder, path):
    script = folder / proof.SCRIPT
    script.write_bytes(script.read_bytes() + b"\n# altered\n")
    (folder.parent / "trusted.sh").write_text(kit.VERIFY_SH)
    shell = shutil.which("sh")
    assert shell
    found = subprocess.run(
        [shell, "../trusted.sh", "../mine.pem", "../mine.vkey"],
        cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said(found) == (DID_NOT_HOLD, "FAILED: verify.sh was altered\n")


def test_a_stray_document_is_found(folder, path):
    (folder / "document/annex.pdf").write_bytes(b"x")
    assert run(folder, path, "../mine.pem", "../mine.vkey").returncode == DID_NOT_HOLD


def test_another_root_is_refused(folder, path):
    (folder.parent / "other.pem").write_bytes(new_pki("Script", MOMENT).root.public_bytes(Encoding.PEM))
    found = run(folder, path, "../other.pem")
    assert said(found) == (
        DID_NOT_HOLD,
        "FAILED: the seal does not verify under this root, or this is not the root of this archive: check it first\n",
    )  # fmt: skip


MISUSED = {
    "no such root": (("../none.pem",), "the root certificate ../none.pem cannot be read"),
    "a root that looks like an option": (("-root.pem",), "the root certificate -root.pem cannot be read"),
    "a root that is no certificate": (("proof.json",), "the root proof.json is not a PEM certificate"),
    "no such key": (("../mine.pem", "../none.vkey"), "the journal's key ../none.vkey cannot be read"),
    "a root in the place of a key": (("../mine.pem", "../mine.pem"), "../mine.pem is not a journal's key"),
    "a key with another id": (("../mine.pem", "../other.vkey"), "../other.vkey is not a journal's key"),
    "too many": (("../mine.pem", "../mine.vkey", "x"), "more than two arguments"),
    "help": (("--help",), "this is how it is used"),
}


@pytest.mark.parametrize("case", sorted(MISUSED))
def test_a_command_that_is_misused_says_nothing_about_the_proof(folder, path, case):
    arguments, words = MISUSED[case]
    name, number, key = pki().note_key.vkey().split("+", 2)
    (folder.parent / "other.vkey").write_text(f"{name}+{int(number, 16) ^ 1:08x}+{key}\n")
    found = run(folder, path, *arguments)
    assert (found.returncode, found.stdout) == (NOT_CHECKED, "")
    assert found.stderr.startswith("NOT CHECKED: ") and words in found.stderr
    assert "usage, inside the unzipped folder: sh verify.sh [ROOT.pem [JOURNAL.vkey]]" in found.stderr


def test_a_root_of_the_proof_that_is_no_certificate_is_of_the_proof(folder, path):
    (folder / "certificates/root.pem").write_text("none")
    assert said(run(folder, path)) == (
        DID_NOT_HOLD, "FAILED: the root certificates/root.pem is not a PEM certificate\n",
    )  # fmt: skip


def test_without_the_journals_key_there_is_no_verdict(folder, path):
    found = run(folder, path, "../mine.pem")
    assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
    assert "INDETERMINATE" in found.stdout and "PASSED" not in found.stdout
    assert "every check that was made held" in found.stdout
    assert found.stdout.endswith("no JOURNAL.vkey was given: who kept the journal is not known (NO_JOURNAL_KEY)\n")


def test_outside_the_folder_it_says_where_to_run(folder, path):
    (folder.parent / "verify.sh").write_text(kit.VERIFY_SH)
    found = run(folder.parent, path, "mine.pem")
    assert (found.returncode, found.stdout) == (NOT_CHECKED, "")
    assert "run this inside the folder" in found.stderr


# --- careful forgers: the index fits


def forged(tmp_path: Path, path: str, **changes: bytes) -> subprocess.CompletedProcess[str]:
    files = unpack(make_bundle(tmp_path / "P.zip", pki(), moment=MOMENT))
    files |= {name.replace("__", "/").replace("_", "."): data for name, data in changes.items()}
    del files[proof.INDEX]
    files[proof.INDEX] = proof.encode_index(ARCHIVE_ID, files)
    for name, data in files.items():
        (tmp_path / "P" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "P" / name).write_bytes(data)
    anchors(tmp_path)
    return run(tmp_path / "P", path, "../mine.pem", "../mine.vkey")


def test_a_replaced_document_is_found(tmp_path, path):
    found = forged(tmp_path, path, document__original_pdf=b"another")
    assert said(found) == (1, "FAILED: manifest.json does not describe document/original.pdf\n")


def test_a_revoked_seal_is_found(tmp_path, path):
    crl = make_crl(
        pki().root, pki().root_key, [(pki().seal, MOMENT - timedelta(days=1), None)], start=MOMENT - timedelta(days=1),
        end=MOMENT + timedelta(days=90),
    )  # fmt: skip
    found = forged(tmp_path, path, revocation__root_crl=crl.public_bytes(Encoding.DER))
    assert said(found) == (
        1, "FAILED: the certificate of the seal is revoked\n",
    )  # fmt: skip


def test_a_journal_entry_that_is_not_in_the_tree_is_found(tmp_path, path):
    files = unpack(make_bundle(tmp_path / "Q.zip", pki(), moment=MOMENT))
    entry = files[proof.ENTRY].replace(b'"objects":4', b'"objects":5')
    assert entry != files[proof.ENTRY]
    found = forged(tmp_path, path, journal__entry_json=entry)
    assert said(found) == (1, "FAILED: the journal entry is not in the journal\n")


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2001-01-01T00:00:00Z", "the journal entry is older than the first token"),
        ("2001-01-01", "journal/entry.json is malformed"),
        ("2099-01-01T00:00:00Z", "the journal entry is in the future: check the clock of this computer"),
    ],
)
def test_a_commit_before_the_token_or_after_today_is_found(tmp_path, path, at, told):
    proof.assemble(committed_at(make_parts(pki(), moment=MOMENT), at), tmp_path / "P.zip")
    anchors(tmp_path)
    found = run(written(unpack(tmp_path / "P.zip"), tmp_path / "P"), path, "../mine.pem", "../mine.vkey")
    assert said(found) == (DID_NOT_HOLD, f"FAILED: {told}\n")


# --- long after


@pytest.mark.parametrize("day", ["2050-01-01", "2099-12-31"])
def test_it_holds_long_after_the_certificates_have_ended(folder, path, day):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    before = (faketime, f"{day} 00:00:00")
    said = subprocess.run([*before, "date", "-u", "+%Y"], capture_output=True, text=True, check=True).stdout.strip()
    assert said in (day[:4], str(int(day[:4]) - 1))
    found = run(folder, path, "../mine.pem", "../mine.vkey", before=before)
    assert (found.returncode, found.stderr) == (HELD, "")


def test_a_clock_before_the_token_is_said(folder, path):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    found = run(folder, path, "../mine.pem", "../mine.vkey", before=(faketime, "2020-01-01 00:00:00"))
    assert found.returncode == DID_NOT_HOLD
    assert "check the clock" in found.stdout


# --- renewals: one of a time-stamp, one of the hash tree, one more of each


@cache
def old_pki() -> Pki:
    return long_pki(OLD)


OLD = MOMENT - timedelta(days=1500)


def plan(pki: Pki) -> list[Renewal]:
    second, third, fourth = (next_tsa(pki, OLD + days * DAY) for days in (200, 400, 600))
    return [
        Renewal("time", OLD + 200 * DAY, *second),
        Renewal("tree", OLD + 400 * DAY, *third),
        Renewal("time", OLD + 600 * DAY, *fourth, batch=1),
        Renewal("tree", OLD + 800 * DAY, *fourth, batch=5, algorithm="sha256"),
    ]


@pytest.fixture(scope="module")
def renewed(tmp_path_factory) -> dict[str, bytes]:
    return renewed_files(tmp_path_factory.mktemp("renewed"), old_pki(), OLD, plan(old_pki()), ARCHIVE_ID)


def laid(files: dict[str, bytes], tmp_path: Path) -> Path:
    write_trust(tmp_path / "trust", old_pki())
    return written(files, tmp_path / "P")


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_renewed_proofs_hold(renewed, tmp_path, path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    folder = laid(renewed, tmp_path)
    found = run(folder, path, *TRUST, shell=shell)
    assert (found.returncode, found.stderr) == (HELD, "")
    assert "ok 5/9  the evidence is about these files (5 token(s))" in found.stdout
    assert "ok 8/9" in found.stdout
    for line in (
        "first hash tree: sha256",
        "renewed by 03: sha3-512",
        "renewed by 05: sha256",
        "renewals/04.tst: ecdsa",
    ):
        assert line in found.stdout


def test_renewed_proofs_hold_in_2050(renewed, tmp_path, path):
    faketime = shutil.which("faketime")
    if faketime is None:
        pytest.skip("the command faketime is not installed: the clock cannot be moved")
    folder = laid(renewed, tmp_path)
    found = run(folder, path, *TRUST, before=(faketime, "2050-01-01 00:00:00"))
    assert (found.returncode, found.stderr) == (HELD, "")


RENEWED = [
    "evidence.ers",
    "path.txt",
    "token.tst",
    *(f"renewals/0{n}.{kind}" for n in (2, 3, 5) for kind in ("path.txt", "tst")),
]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("member", RENEWED)
def test_an_altered_byte_of_the_evidence_is_found_even_when_the_index_fits(renewed, tmp_path, path, member, fraction):
    data = bytearray(renewed[member])
    at = int(len(data) * fraction)
    data[at] = ord("0" if data[at] != ord("0") else "1") if member.endswith("txt") else data[at] ^ 1
    folder = laid(with_index({**renewed, member: bytes(data)}, ARCHIVE_ID), tmp_path)
    found = run(folder, path, *TRUST)
    code, verdict = said(found)
    assert (code, verdict[:8]) == (DID_NOT_HOLD, "FAILED: ")


@pytest.mark.parametrize(
    ("first", "second"),
    [("renewals/02", "renewals/04"), ("renewals/03", "renewals/05")],
)
def test_exchanged_renewals_are_found(renewed, tmp_path, path, first, second):
    files = dict(renewed)
    for kind in ("path.txt", "tst"):
        files[f"{first}.{kind}"], files[f"{second}.{kind}"] = files[f"{second}.{kind}"], files[f"{first}.{kind}"]
    found = run(laid(with_index(files, ARCHIVE_ID), tmp_path), path, *TRUST)
    assert found.returncode == DID_NOT_HOLD


def test_a_renewal_taken_away_is_found(renewed, tmp_path, path):
    files = {name: data for name, data in renewed.items() if not name.startswith("renewals/05")}
    found = run(laid(with_index(files, ARCHIVE_ID), tmp_path), path, *TRUST)
    assert said(found) == (
        DID_NOT_HOLD, "FAILED: evidence.ers is not what the paths and the tokens make\n",
    )  # fmt: skip


def made(tmp_path: Path, renewals: list[Renewal]) -> Path:
    return laid(renewed_files(tmp_path, old_pki(), OLD, renewals, ARCHIVE_ID), tmp_path)


def test_a_renewal_of_other_files_is_found(renewed, tmp_path, path):
    other = renewed_files(tmp_path, old_pki(), OLD, plan(old_pki()), ARCHIVE_ID, original=b"other")
    mixed = {name: data for name, data in other.items() if name.startswith("renewals/")}
    found = run(laid(with_index({**renewed, **mixed}, ARCHIVE_ID), tmp_path), path, *TRUST)
    assert said(found) == (DID_NOT_HOLD, "FAILED: renewals/02.path.txt renews another token\n")


def test_a_renewal_that_came_too_late_leaves_no_verdict(tmp_path, path):
    late = Renewal("time", OLD + 320 * DAY, *next_tsa(old_pki(), OLD + 310 * DAY))
    found = run(made(tmp_path, [late]), path, *TRUST)
    assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
    assert "renewals/02.tst came when the certificate of token.tst was no longer good" in found.stdout
    assert "INDETERMINATE" in found.stdout and "PASSED" not in found.stdout


def test_a_renewal_that_is_not_later_is_found(tmp_path, path):
    early = Renewal("time", OLD - DAY, old_pki().tsa, old_pki().tsa_key)
    found = run(made(tmp_path, [early]), path, *TRUST)
    assert said(found) == (
        DID_NOT_HOLD, "FAILED: renewals/02.tst is earlier than the token before it\n",
    )  # fmt: skip


def test_a_tree_renewed_by_the_same_algorithm_is_refused(tmp_path, path):
    same = Renewal("tree", OLD + 100 * DAY, old_pki().tsa, old_pki().tsa_key, algorithm="sha256")
    found = run(made(tmp_path, [same]), path, *TRUST)
    assert said(found) == (
        DID_NOT_HOLD, "FAILED: renewals/02.path.txt keeps the algorithm of the chain before it\n",
    )  # fmt: skip


def test_without_lists_for_a_token_there_is_no_verdict(renewed, tmp_path, path):
    files = {
        name: data for name, data in renewed.items() if name not in ("revocation/root-4.crl", "revocation/root-5.crl")
    }
    found = run(laid(with_index(files, ARCHIVE_ID), tmp_path), path, *TRUST)
    assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
    assert "no revocation data kept here covers the certificate of renewals/05.tst" in found.stdout


# RFC 3161 §4: what a token is worth after its key was revoked depends on the reason.
@pytest.mark.parametrize(
    ("whose", "days", "reason", "stands"),
    [
        ("tsa", 10, x509.ReasonFlags.superseded, True),
        ("tsa", 10, x509.ReasonFlags.key_compromise, False),
        ("tsa", 10, None, False),
        ("tsa", -1, x509.ReasonFlags.superseded, False),
        ("seal", 10, x509.ReasonFlags.key_compromise, True),
        ("seal", -1, None, False),
    ],
)
def test_a_revocation_counts_by_its_date_and_its_reason(tmp_path, path, whose, days, reason, stands):
    pki = old_pki()
    certificate = pki.tsa if whose == "tsa" else pki.seal
    crl = make_crl(
        pki.root, pki.root_key, [(certificate, OLD + days * DAY, reason)], start=OLD + 20 * DAY, end=OLD + 90 * DAY
    )
    files = unpack(make_bundle(tmp_path / "P.zip", pki, moment=OLD))
    files["revocation/root.crl"] = crl.public_bytes(Encoding.DER)
    found = run(laid(with_index(files, ARCHIVE_ID), tmp_path), path, *TRUST)
    assert found.returncode == (HELD if stands else DID_NOT_HOLD)
    assert stands or found.stdout.endswith("is revoked\n")


def test_a_checkpoint_of_another_key_is_found(renewed, tmp_path, path):
    folder = laid(renewed, tmp_path)
    write_trust(tmp_path / "other", long_pki(OLD))
    found = run(folder, path, "../trust/root.pem", "../other/journal.vkey")
    assert said(found) == (DID_NOT_HOLD, "FAILED: the journal's key did not sign the checkpoint\n")


def test_a_statement_that_the_archive_did_not_seal_is_found(renewed, tmp_path, path):
    page = b"%PDF-1.7 statement of " + proof.statement_mark(renewed["manifest.json"])
    good = {**renewed, "statement.pdf": page, "statement.pdf.p7s": seal(page, old_pki().signer, MOMENT)}
    found = run(laid(with_index(good, ARCHIVE_ID), tmp_path / "good"), path, *TRUST)
    assert found.returncode == HELD
    assert "statement sealed by the archive" in found.stdout
    false = {**good, "statement.pdf": page + b"\n"}
    found = run(laid(with_index(false, ARCHIVE_ID), tmp_path / "false"), path, *TRUST)
    assert said(found) == (
        DID_NOT_HOLD, "FAILED: the seal of statement.pdf does not verify under this root\n",
    )  # fmt: skip


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
def test_an_ocsp_response_covers_a_certificate(tmp_path, path, case):
    options, expected = OCSP_CASES[case]
    found = run(laid(with_index(answered(tmp_path, **options), ARCHIVE_ID), tmp_path), path, *TRUST)
    if expected == "revoked":
        assert said(found) == (1, "FAILED: the certificate of token.tst is revoked\n")
    elif expected is None:
        assert (found.returncode, found.stderr) == (HELD, "")
    else:
        assert (found.returncode, found.stderr) == (NOT_YET_A_PROOF, "")
        assert "no revocation data kept here covers the certificate of token.tst" in found.stdout


@pytest.mark.parametrize("kind", ["bare", "middle"])
def test_a_token_that_leaves_certificates_out_is_followed_through_those_beside_it(tmp_path, path, kind):
    moment, middle_key, key = OLD + 200 * DAY, new_key(), new_key()
    span = {"start": moment - DAY, "end": moment + 300 * DAY}
    middle = issue("Middle", middle_key, issuer=(old_pki().root, old_pki().root_key), ca=True, **span)
    leaf = issue("Under middle", key, issuer=(middle, middle_key), eku=TIME_STAMPING, **span)
    if kind == "bare":
        renewal = Renewal("time", moment, *next_tsa(old_pki(), moment), bare=True)
    else:
        renewal = Renewal("time", moment, leaf, key, beside=(middle,))
    found = run(made(tmp_path, [renewal]), path, *TRUST)
    assert found.stderr == ""
    assert found.returncode == (HELD if kind == "bare" else NOT_YET_A_PROOF)  # no list of the middle one is there
