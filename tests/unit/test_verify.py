"""The verdict on whole proofs: good ones, forged ones (packed again with a fitting index), and missing anchors."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import canonical, evidence, kit, proof
from minutier.__main__ import main
from minutier.checkpoint import Checkpoint, NoteKey, cosign, sign_checkpoint
from minutier.errors import BadInputError
from minutier.report import Verdict
from minutier.trust import Trust, load_trust
from minutier.verify import verify
from tests.support.bundle import ARCHIVE_ID, committed_at, make_bundle, make_parts, repack, trust_of, unpack, with_json
from tests.support.ocsp_answers import GOOD, answer, revoked, single
from tests.support.pki import NOW, default_pki, make_crl, make_info, make_token, new_pki, write_trust

PKI = default_pki()
TRUST = trust_of(PKI)
LATER = NOW + timedelta(days=1)


@pytest.fixture
def files(tmp_path):
    return unpack(make_bundle(tmp_path / "P.zip"))


def judge(files, tmp_path, *, trust=TRUST, at=LATER, reindex=True):
    report = verify(repack(files, tmp_path / "Q.zip", reindex=reindex), trust, at)
    assert all(finding.where and finding.message and finding.clause for finding in report.findings)
    return report


def codes(report, where=None) -> set[str]:
    return {finding.code for finding in report.findings if where in (None, finding.where)}


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("rendition", [None, b"%PDF"])
def test_a_good_proof_passes(tmp_path, batch, rendition):
    report = verify(make_bundle(tmp_path / "P.zip", batch=batch, rendition=rendition), TRUST, LATER)
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    assert [(step.number, step.verdict) for step in report.steps] == [(number, "PASSED") for number in range(1, 10)]
    assert report.facts["archive_id"] == ARCHIVE_ID
    assert report.facts["gen_time"] == "2026-11-23T10:00:00Z"


def test_a_good_proof_passes_long_after_its_certificates_ended(tmp_path):
    report = verify(make_bundle(tmp_path / "P.zip"), TRUST, NOW + timedelta(days=365 * 30))
    assert report.verdict is Verdict.PASSED


def test_without_anchors_the_verdict_is_indeterminate(tmp_path):
    bundle = make_bundle(tmp_path / "P.zip")
    report = verify(bundle, Trust(), LATER)
    assert report.verdict is Verdict.INDETERMINATE
    assert codes(report) == {"NO_TRUST_ANCHOR", "NO_JOURNAL_KEY"}
    assert codes(verify(bundle, replace(TRUST, journal_keys=()), LATER)) == {"NO_JOURNAL_KEY"}
    assert codes(verify(bundle, replace(TRUST, roots=()), LATER)) == {"NO_TRUST_ANCHOR"}


def test_a_proof_by_strangers_fails_and_is_never_better_without_anchors(tmp_path):
    bundle = make_bundle(tmp_path / "P.zip", new_pki("Rogue"))
    report = verify(bundle, TRUST, LATER)
    assert report.verdict is Verdict.FAILED
    assert codes(report) == {"SEAL_CHAIN", "TOKEN_CHAIN", "CHECKPOINT_SIGNATURE", "ROOT_FOREIGN"}
    assert verify(bundle, Trust(), LATER).verdict is Verdict.INDETERMINATE


def test_without_revocation_lists_the_verdict_is_indeterminate_until_the_verifier_brings_them(files, tmp_path):
    del files["revocation/root.crl"]
    report = judge(files, tmp_path)
    assert (report.verdict, codes(report)) == (Verdict.INDETERMINATE, {"REVOCATION_UNKNOWN"})
    assert judge(files, tmp_path, trust=replace(TRUST, crls=(PKI.crl,))).verdict is Verdict.PASSED


def test_a_fresh_list_that_says_compromised_takes_the_token_away(files, tmp_path):
    crl = make_crl(PKI.root, PKI.root_key, [(PKI.tsa, LATER, x509.ReasonFlags.key_compromise)])
    report = judge(files, tmp_path, trust=replace(TRUST, crls=(crl,)))
    assert (report.verdict, codes(report)) == (Verdict.FAILED, {"TOKEN_REVOKED"})


def test_a_proof_is_later_than_the_time_of_judgement(files, tmp_path):
    assert codes(judge(files, tmp_path, at=NOW - timedelta(days=1))) == {"TOKEN_TIME", "JOURNAL_TIME"}


# Each forgery alters the files as a careful forger would; the index is made to fit unless it is what is altered.


def entry_with(files, **changes):
    return {proof.ENTRY: with_json(files[proof.ENTRY], **changes)}


def inclusion_with(files, **changes):
    return {proof.INCLUSION: with_json(files[proof.INCLUSION], **changes)}


def another(**options):
    return proof.bundle_files(make_parts(**options))


def other_token():
    return make_token(PKI, make_info(hashlib.sha256(b"another root").digest()))


def resealed_record(files, token):
    record = evidence.decode_record(files[proof.RECORD])
    return {proof.RECORD: evidence.encode_record(evidence.initial_record(record.first.path, token)), proof.TOKEN: token}


def swapped_checkpoint():
    note = sign_checkpoint(Checkpoint(PKI.note_key.name, 7, bytes(32)), PKI.note_key, PKI.journal_key.sign)
    return {proof.CHECKPOINT: note}


def manifest_with(files, **changes):
    return {proof.MANIFEST: with_json(files[proof.MANIFEST], **changes)}


OTHER_ID = "0193a2f0-7c11-7abc-8def-00000000ffff"


def ocsp_answer(pki, status=GOOD):
    return answer([single(pki.tsa, pki.root, status, this_update=NOW + timedelta(hours=1))], pki.root, pki.root_key)


FORGERIES = {
    "document-replaced": (
        lambda files: {"document/original.pdf": b"another document"},
        {"document/original.pdf": {"MANIFEST_OBJECT", "EVIDENCE_FILE"}, "evidence.ers": {"EVIDENCE_GROUP"}},
    ),
    "rendition-replaced": (
        lambda files: {proof.RENDITION: b"%PDF another"},
        {proof.RENDITION: {"MANIFEST_OBJECT", "EVIDENCE_FILE"}},
    ),
    "rendition-removed": (
        lambda files: {proof.RENDITION: None},
        {proof.RENDITION: {"MANIFEST_OBJECT"}, proof.RECORD: {"EVIDENCE_GROUP"}},
    ),
    "second-original-added": (
        lambda files: {"document/original.txt": b"x"},
        {"document/original": {"FILE_MISSING"}, "document/original.txt": {"EVIDENCE_FILE"}},
    ),
    "stray-file-added": (lambda files: {"notes.txt": b"x"}, {"notes.txt": {"FILE_UNEXPECTED"}}),
    "manifest-altered": (
        lambda files: manifest_with(files, depositor="garage"),
        {
            proof.SEAL: {"SEAL_DIGEST"},
            proof.MANIFEST: {"EVIDENCE_FILE"},
            proof.ENTRY: {"JOURNAL_MANIFEST"},
        },
    ),
    "manifest-of-another-format": (
        lambda files: manifest_with(files, format="minutier-manifest/9"),
        {proof.MANIFEST: {"MANIFEST_FORMAT", "EVIDENCE_FILE"}},
    ),
    "manifest-not-canonical": (
        lambda files: {proof.MANIFEST: files[proof.MANIFEST] + b"\n"},
        {proof.MANIFEST: {"MANIFEST_FORMAT", "EVIDENCE_FILE"}},
    ),
    "manifest-with-two-originals": (
        lambda files: manifest_with(files, objects=json.loads(files[proof.MANIFEST])["objects"][:1] * 2),
        {proof.MANIFEST: {"MANIFEST_FORMAT", "EVIDENCE_FILE"}},
    ),
    "manifest-of-another-document": (
        lambda files: manifest_with(files, archive_id=OTHER_ID),
        {proof.MANIFEST: {"MANIFEST_ID", "EVIDENCE_FILE"}},
    ),
    "seal-of-another-manifest": (
        lambda files: {proof.SEAL: another(original=b"other")[proof.SEAL]},
        {proof.SEAL: {"SEAL_DIGEST", "EVIDENCE_FILE"}},
    ),
    "seal-by-a-stranger": (
        lambda files: {proof.SEAL: another(pki=new_pki("Rogue"))[proof.SEAL]},
        {proof.SEAL: {"SEAL_CHAIN", "EVIDENCE_FILE"}, proof.SEAL_CHAIN: {"CERTIFICATE_MISMATCH"}},
    ),
    "token-over-another-root": (
        lambda files: resealed_record(files, other_token()),
        {proof.TOKEN: {"TOKEN_IMPRINT"}},
    ),
    "token-differs-from-the-record": (
        lambda files: {proof.TOKEN: other_token()},
        {proof.TOKEN: {"EVIDENCE_TOKEN"}},
    ),
    "token-is-no-token": (
        lambda files: {proof.TOKEN: b"\x30\x00"},
        {proof.TOKEN: {"EVIDENCE_TOKEN"}},
    ),
    "record-of-another-document": (
        lambda files: {proof.RECORD: another(original=b"other")[proof.RECORD]},
        {proof.RECORD: {"EVIDENCE_GROUP"}, proof.PATH_TEXT: {"EVIDENCE_PATH_TEXT"}},
    ),
    "record-is-no-record": (lambda files: {proof.RECORD: b"\x30\x00"}, {proof.RECORD: {"EVIDENCE_FORMAT"}}),
    "path-text-differs": (
        lambda files: {proof.PATH_TEXT: files[proof.PATH_TEXT].replace(b"\n", b" \n", 1)},
        {proof.PATH_TEXT: {"EVIDENCE_PATH_TEXT"}},
    ),
    "entry-of-another-event": (
        lambda files: entry_with(files, event="deposit:received"),
        {proof.ENTRY: {"JOURNAL_EVENT"}, proof.INCLUSION: {"INCLUSION_PATH"}},
    ),
    "entry-of-another-document": (
        lambda files: entry_with(files, archive_id=OTHER_ID),
        {proof.ENTRY: {"JOURNAL_ID"}, proof.INCLUSION: {"INCLUSION_PATH"}},
    ),
    "entry-of-another-safe": (
        lambda files: entry_with(files, safe="other"),
        {proof.ENTRY: {"JOURNAL_SAFE"}, proof.INCLUSION: {"INCLUSION_PATH"}},
    ),
    "entry-of-another-manifest": (
        lambda files: entry_with(files, details={"manifest_sha256": "00" * 32}),
        {proof.ENTRY: {"JOURNAL_MANIFEST"}, proof.INCLUSION: {"INCLUSION_PATH"}},
    ),
    "entry-without-details": (
        lambda files: entry_with(files, details=[]),
        {proof.ENTRY: {"JOURNAL_MANIFEST"}, proof.INCLUSION: {"INCLUSION_PATH"}},
    ),
    "entry-is-a-list": (lambda files: {proof.ENTRY: b"[]"}, {proof.ENTRY: {"JOURNAL_ENTRY_FORMAT"}}),
    "inclusion-at-another-place": (lambda files: inclusion_with(files, index=2), {proof.INCLUSION: {"INCLUSION_PATH"}}),
    "inclusion-in-another-size": (
        lambda files: inclusion_with(files, size=8),
        {proof.INCLUSION: {"INCLUSION_CHECKPOINT"}},
    ),
    "inclusion-to-another-root": (
        lambda files: inclusion_with(files, root="00" * 32),
        {proof.INCLUSION: {"INCLUSION_PATH", "INCLUSION_CHECKPOINT"}},
    ),
    "inclusion-with-more": (lambda files: inclusion_with(files, more="x"), {proof.INCLUSION: {"INCLUSION_FORMAT"}}),
    "inclusion-index-is-text": (
        lambda files: inclusion_with(files, index="3"),
        {proof.INCLUSION: {"INCLUSION_FORMAT"}},
    ),
    "inclusion-path-of-numbers": (
        lambda files: inclusion_with(files, path=[1]),
        {proof.INCLUSION: {"INCLUSION_FORMAT"}},
    ),
    "checkpoint-of-another-tree": (lambda files: swapped_checkpoint(), {proof.INCLUSION: {"INCLUSION_CHECKPOINT"}}),
    "checkpoint-by-a-stranger": (
        lambda files: {proof.CHECKPOINT: another(pki=new_pki("Rogue"))[proof.CHECKPOINT]},
        {proof.CHECKPOINT: {"CHECKPOINT_SIGNATURE"}},
    ),
    "checkpoint-is-no-note": (
        lambda files: {proof.CHECKPOINT: b"hello\n"},
        {proof.CHECKPOINT: {"CHECKPOINT_FORMAT"}},
    ),
    "certificate-of-another-seal": (
        lambda files: {proof.SEAL_CHAIN: files[proof.TOKEN_CHAIN]},
        {proof.SEAL_CHAIN: {"CERTIFICATE_MISMATCH"}},
    ),
    "certificate-is-no-pem": (
        lambda files: {proof.TOKEN_CHAIN: b"x"},
        {proof.TOKEN_CHAIN: {"CERTIFICATE_FORMAT"}},
    ),
    "root-of-strangers": (
        lambda files: {proof.ROOTS: new_pki("Rogue").root.public_bytes(Encoding.PEM)},
        {proof.ROOTS: {"ROOT_FOREIGN"}},
    ),
    "certificate-twice": (
        lambda files: {proof.SEAL_CHAIN: files[proof.SEAL_CHAIN] * 2},
        {proof.SEAL_CHAIN: {"CERTIFICATE_FORMAT"}},
    ),
    "certificate-with-text-around": (
        lambda files: {proof.ROOTS: b"trust me\n" + files[proof.ROOTS]},
        {proof.ROOTS: {"CERTIFICATE_FORMAT"}},
    ),
    "certificate-besides-those-of-the-token": (
        lambda files: {proof.TOKEN_CHAIN: files[proof.TOKEN_CHAIN] + files[proof.SEAL_CHAIN]},
        {proof.TOKEN_CHAIN: {"CERTIFICATE_MISMATCH"}},
    ),
    "script-altered": (
        lambda files: {proof.SCRIPT: files[proof.SCRIPT] + b"echo PASSED\n"},
        {proof.SCRIPT: {"KIT_UNKNOWN"}},
    ),
    "french-page-altered": (lambda files: {proof.README_FR: b"Bonjour"}, {proof.README_FR: {"KIT_UNKNOWN"}}),
    "english-page-in-place-of-the-french-one": (
        lambda files: {proof.README_FR: files[proof.README_EN]},
        {proof.README_FR: {"KIT_UNKNOWN"}},
    ),
    "list-of-strangers-added": (
        lambda files: {"revocation/other.crl": new_pki("Test").crl.public_bytes(Encoding.DER)},
        {"revocation/other.crl": {"CRL_SIGNATURE"}},
    ),
    "list-of-an-impossible-version": (
        lambda files: {
            "revocation/root.crl": files["revocation/root.crl"].replace(b"\x02\x01\x01", b"\x02\x01\x00", 1)
        },
        {"revocation/root.crl": {"CRL_FORMAT"}},
    ),
    "answer-of-a-stranger-added": (
        lambda files: {"revocation/other.ocsp": ocsp_answer(new_pki("Test"))},
        {"revocation/other.ocsp": {"OCSP_SIGNATURE"}},
    ),
    "answer-is-no-answer": (
        lambda files: {"revocation/other.ocsp": b"x"},
        {"revocation/other.ocsp": {"OCSP_FORMAT"}},
    ),
    "answer-that-the-token-s-certificate-is-revoked": (
        lambda files: {"revocation/tsa.ocsp": ocsp_answer(default_pki(), revoked(NOW, 1))},
        {proof.TOKEN: {"TOKEN_REVOKED"}},
    ),
    "list-is-no-list": (
        lambda files: {"revocation/root.crl": b"x"},
        {"revocation/root.crl": {"CRL_FORMAT"}},
    ),
}


def test_an_ocsp_answer_stands_for_a_list(files, tmp_path):
    # The seal's certificate has no answer of its own here, and keeps the verdict from passing.
    del files["revocation/root.crl"]
    assert proof.TOKEN in {finding.where for finding in judge(files, tmp_path).findings}
    files["revocation/tsa.ocsp"] = ocsp_answer(default_pki())
    report = judge(files, tmp_path)
    assert [(finding.code, finding.where) for finding in report.findings] == [("REVOCATION_UNKNOWN", proof.SEAL)]


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_fails_and_is_named(files, tmp_path, name):
    forge, expected = FORGERIES[name]
    for path, data in forge(files).items():
        if data is None:
            del files[path]
        else:
            files[path] = data
    report = judge(files, tmp_path)
    assert report.verdict is Verdict.FAILED
    for where, wanted in expected.items():
        assert codes(report, where) == wanted


@pytest.mark.parametrize("path", [path for path in proof.REQUIRED[proof.FORMAT] if path != proof.INDEX])
def test_each_required_file_is_missed(files, tmp_path, path):
    del files[path]
    report = judge(files, tmp_path)
    assert report.verdict is Verdict.FAILED
    assert "FILE_MISSING" in codes(report, path)


@pytest.mark.parametrize(
    ("forge", "where", "code"),
    [
        (lambda index: index["files"].pop(), "verify.sh", "INDEX_FILES"),
        (lambda index: index["files"].reverse(), "proof.json", "INDEX_FORMAT"),
        (lambda index: index["files"].append(dict(index["files"][-1])), "proof.json", "INDEX_FORMAT"),
        (lambda index: index["files"][0].update(size=1), "README.en.txt", "INDEX_DIGEST"),
        (lambda index: index["files"][0].update(note="x"), "README.en.txt", "INDEX_DIGEST"),
        (lambda index: index.update(note="x"), "proof.json", "INDEX_FORMAT"),
        (lambda index: index.update(format="minutier-proof/3"), "proof.json", "INDEX_FORMAT"),
        (lambda index: index.update(archive_id=OTHER_ID), "manifest.json", "MANIFEST_ID"),
        (lambda index: index.update(archive_id=7), "proof.json", "INDEX_FORMAT"),
        (lambda index: index.update(files="x"), "proof.json", "INDEX_FORMAT"),
    ],
)
def test_an_altered_index_fails(files, tmp_path, forge, where, code):
    index = json.loads(files[proof.INDEX])
    forge(index)
    files[proof.INDEX] = canonical.encode(index)
    assert code in codes(judge(files, tmp_path, reindex=False), where)


def test_without_an_index_it_fails(files, tmp_path):
    del files[proof.INDEX]
    assert codes(judge(files, tmp_path, reindex=False), proof.INDEX) == {"FILE_MISSING", "INDEX_FORMAT"}


def test_a_whole_proof_of_another_document_does_not_stand_for_this_one(files, tmp_path):
    # Seal, record, token and journal are good, but of another document under the same archive.
    mixed = {**files, **{path: data for path, data in another(original=b"other").items() if "document/" not in path}}
    report = judge(mixed, tmp_path)
    assert codes(report) == {"MANIFEST_OBJECT", "EVIDENCE_FILE", "EVIDENCE_GROUP"}


def test_a_bundle_that_is_no_container(tmp_path):
    (tmp_path / "P.zip").write_bytes(b"hello")
    report = verify(tmp_path / "P.zip", TRUST, LATER)
    assert (report.verdict, codes(report, "P.zip")) == (Verdict.FAILED, {"CONTAINER_NOT_CANONICAL"})
    assert [step.verdict for step in report.steps] == [Verdict.FAILED] + [None] * 8


def test_the_texts_of_today_are_among_those_published():
    # A text that changes is added to kit_files/published.txt; no line ever leaves it.
    for name, text in (
        (proof.README_FR, kit.README_FR),
        (proof.README_EN, kit.README_EN),
        (proof.SCRIPT, kit.VERIFY_SH),
    ):
        assert kit.is_published(name, text.encode())
        assert not kit.is_published(name, text.encode() + b" ")


def test_a_trusted_witness_is_checked(files, tmp_path):
    secret = Ed25519PrivateKey.generate()
    witness = NoteKey("witness.example", secret.public_key().public_bytes_raw(), 0x04)
    trust = replace(TRUST, journal_keys=(*TRUST.journal_keys, witness))
    note = files[proof.CHECKPOINT]
    for sign, wanted in ((secret.sign, set()), (Ed25519PrivateKey.generate().sign, {"CHECKPOINT_COSIGNATURE"})):
        files[proof.CHECKPOINT] = cosign(note, witness, sign, NOW)
        assert codes(judge(files, tmp_path, trust=trust), proof.CHECKPOINT) == wanted
    only = replace(TRUST, journal_keys=(witness,))
    files[proof.CHECKPOINT] = note
    assert codes(judge(files, tmp_path, trust=only)) == {"CHECKPOINT_SIGNATURE"}


# --- trust directories


def test_a_trust_directory_is_read(tmp_path):
    write_trust(tmp_path / "trust", PKI)
    (tmp_path / "trust" / "root.crl").write_bytes(PKI.crl.public_bytes(Encoding.DER))
    assert load_trust(tmp_path / "trust") == Trust((PKI.root,), (PKI.note_key,), (PKI.crl,))
    assert load_trust(None) == Trust()


@pytest.mark.parametrize("name", ["root.pem", "journal.vkey", "list.crl"])
def test_an_unusable_trust_directory_is_bad_input(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BadInputError):
        load_trust(tmp_path)
    with pytest.raises(BadInputError):
        load_trust(tmp_path / "none")


# --- the command


def test_the_command_says_the_verdict_and_exits_with_it(tmp_path, capsys):
    bundle, trust = str(make_bundle(tmp_path / "P.zip")), str(write_trust(tmp_path / "trust", PKI))
    at = "--at=2026-11-24T00:00:00Z"
    assert main(["verify", bundle, "--trust", trust, at]) == 0
    assert capsys.readouterr().out.endswith("Verdict: PASSED\n")
    assert main(["verify", bundle, at, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "INDETERMINATE"
    assert set(found["findings"][0]) == {"code", "where", "message", "clause", "indication", "sub_indication"}
    assert main(["verify", bundle, "--trust", str(tmp_path / "none"), at]) == 2
    assert main(["verify", str(tmp_path / "none.zip"), "--trust", trust, at]) == 2
    assert "TRUST_UNREADABLE" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["verify", bundle, "--at=2026-11-24T00:00:00"])
    assert caught.value.code == 2


def test_nothing_from_the_bundle_draws_on_the_terminal(tmp_path, capsys, files):
    files[proof.MANIFEST] = with_json(files[proof.MANIFEST], safe="\x1b[2JPASSED\nVerdict: PASSED")
    bundle = repack(files, tmp_path / "Q.zip")
    assert main(["verify", str(bundle), "--at=2026-11-24T00:00:00Z"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\nVerdict: PASSED" not in out


def test_it_runs_as_a_module(tmp_path):
    bundle, trust = make_bundle(tmp_path / "P.zip"), write_trust(tmp_path / "trust", PKI)
    command = [sys.executable, "-m", "minutier", "verify", bundle, "--trust", trust, "--at", "2026-11-24T00:00:00Z"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("at", "codes"),
    [
        ("2001-01-01T00:00:00Z", ["JOURNAL_TIME"]),
        ("2001-01-01T00:00:00", ["JOURNAL_ENTRY_FORMAT"]),
        ("2099-01-01", ["JOURNAL_ENTRY_FORMAT"]),
        ("2099-01-01T01:00:00+01:00", ["JOURNAL_ENTRY_FORMAT"]),
    ],
)
def test_the_time_of_the_commit_has_one_form_and_is_not_before_the_token(tmp_path, at, codes):
    proof.assemble(committed_at(make_parts(), at), tmp_path / "P.zip")
    found = verify(tmp_path / "P.zip", trust_of(default_pki()), NOW + timedelta(days=1))
    assert [finding.code for finding in found.findings] == codes


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_token_of_a_year_without_before_or_after_is_a_finding(tmp_path, year):
    parts = make_parts()
    first = evidence.decode_record(parts.record).first
    token = make_token(default_pki(), make_info(first.root, gen_time=NOW.replace(year=year)))
    record = evidence.encode_record(evidence.initial_record(first.path, token))
    proof.assemble(replace(parts, record=record), tmp_path / "P.zip")
    found = verify(tmp_path / "P.zip", trust_of(default_pki()), NOW + timedelta(days=1))
    assert "TOKEN_DER" in {finding.code for finding in found.findings}


def test_a_root_for_time_stamps_alone_stands_behind_no_seal_and_the_other_way_round(tmp_path):
    pki, bundle = default_pki(), make_bundle(tmp_path / "P.zip")
    trust = tmp_path / "trust"
    for names, expected in (
        (("tsa-root.pem", "seal-root.pem"), []),
        (("root.pem",), []),
        (("tsa-root.pem",), [("NO_TRUST_ANCHOR", proof.SEAL)]),
        (("seal-root.pem",), [("NO_TRUST_ANCHOR", proof.TOKEN)]),
    ):
        write_trust(trust, pki)
        (trust / "root.pem").unlink()
        for name in names:
            (trust / name).write_bytes(pki.root.public_bytes(Encoding.PEM))
        report = verify(bundle, load_trust(trust), NOW + timedelta(days=1))
        assert [(finding.code, finding.where) for finding in report.findings] == expected
        shutil.rmtree(trust)
    other = new_pki("Other")
    write_trust(trust, pki)
    (trust / "root.pem").rename(trust / "tsa-root.pem")
    (trust / "seal-root.pem").write_bytes(other.root.public_bytes(Encoding.PEM))
    report = verify(bundle, load_trust(trust), NOW + timedelta(days=1))
    assert ("SEAL_CHAIN", proof.SEAL) in [(finding.code, finding.where) for finding in report.findings]


def test_a_commit_after_the_judgement_is_found(tmp_path):
    proof.assemble(committed_at(make_parts(), "2099-01-01T00:00:00Z"), tmp_path / "P.zip")
    found = verify(tmp_path / "P.zip", trust_of(default_pki()), NOW + timedelta(days=1))
    assert [finding.code for finding in found.findings] == ["JOURNAL_TIME"]
