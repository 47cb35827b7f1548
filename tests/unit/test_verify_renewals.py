"""Proofs with renewals, an anchor and a statement: each rule of steps 5 to 9, with all that its finding says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha3_512, sha256

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import evidence, proof
from minutier.algorithm_dates import published_dates
from minutier.algorithms import hash_identifier
from minutier.certificates import encode_pem
from minutier.evidence import ArchiveTimestamp, EvidenceRecord
from minutier.report import Verdict
from minutier.seal import seal
from minutier.verify import verify
from tests.support.bundle import make_bundle, repack, unpack, with_json
from tests.support.full_bundle import (
    FULL_JUDGED_AT,
    STAMP_RENEWED,
    TREE_RENEWED,
    full_trust,
    make_full_bundle,
    stamped,
)
from tests.support.pki import END, NOW, TIME_STAMPING, default_pki, issue, make_info, make_token, new_key, new_pki

PKI = default_pki()
TRUST = full_trust()
PAGE = "docs/format/proof-v2.md"
RENEWALS = "RFC 4998 §5.3"
SECOND, THIRD = "renewals/02.tst", "renewals/03.tst"


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    return unpack(make_full_bundle(tmp_path_factory.mktemp("full") / "P.zip"))


@pytest.fixture
def files(genuine):
    return dict(genuine)


def findings(files, tmp_path, *, trust=TRUST, at=FULL_JUDGED_AT) -> list[tuple[str, str, str, str, Verdict]]:
    report = verify(repack(files, tmp_path / "Q.zip"), trust, at)
    worst = {item.verdict for item in report.findings}
    assert report.verdict is (
        Verdict.FAILED if Verdict.FAILED in worst else Verdict.INDETERMINATE if worst else Verdict.PASSED
    )
    return [(item.code, item.where, item.message, item.clause, item.verdict) for item in report.findings]


def failed(code: str, where: str, message: str, clause: str = PAGE):
    return (code, where, message, clause, Verdict.FAILED)


def unknown(code: str, where: str, message: str, clause: str):
    return (code, where, message, clause, Verdict.INDETERMINATE)


def with_record(files, chains, *, name=proof.RECORD):
    """Put another record in, and the texts and tokens that go with it."""
    kept = {path: data for path, data in files.items() if not path.startswith("renewals/")}
    record = EvidenceRecord(tuple(chains))
    if name == proof.RECORD:
        kept |= proof.evidence_files(record)
    certificates = dict.fromkeys(_certificates(record)) if name == proof.RECORD else None
    if certificates:
        kept[proof.TOKEN_CHAIN] = b"".join(item.public_bytes(Encoding.PEM) for item in certificates)
    return {**kept, name: evidence.encode_record(record)}


def _certificates(record):
    from minutier.timestamp import inspect_token

    return [item for stamp in record.stamps for item in inspect_token(stamp.token).certificates]


def record_of(files) -> EvidenceRecord:
    return evidence.decode_record(files[proof.RECORD])


def renewal(chain, moment=STAMP_RENEWED, **options) -> ArchiveTimestamp:
    """Renew the last time-stamp of a chain, alone in its batch."""
    leaf = [sha256(chain[-1].token).digest()]
    token = make_token(PKI, make_info(leaf[0], gen_time=moment, serial=55), **options)
    return ArchiveTimestamp("sha256", (tuple(leaf),), token)


def test_the_whole_proof_passes_and_says_when_it_was_renewed(files, tmp_path):
    report = verify(repack(files, tmp_path / "Q.zip"), TRUST, FULL_JUDGED_AT)
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    expected = {
        "archive_id": "0193a2f0-7c11-7abc-8def-0123456789ab",
        "safe": "demo",
        "deposited_at": "2026-11-23T09:59:00Z",
        "sealed_by": "CN=Test seal",
        "second_sealed_by": "CN=Second seal",
        "gen_time": "2026-11-23T10:00:00Z",
        "timestamped_by": "CN=Test TSA",
        "revocation": "not settled by data made after the last token",
        "time_stamp_certificate_until": "2027-11-23T10:00:00Z",
        "renewed_at": "2027-03-03T10:00:00Z, 2027-06-11T10:00:00Z",
        "journal": "journal.example",
        "journal_size": "7",
    }
    assert {name: report.facts.get(name) for name in expected} == expected


def test_a_proof_without_renewal_says_none(tmp_path):
    report = verify(make_bundle(tmp_path / "P.zip"), TRUST, NOW + timedelta(days=1))
    assert "renewed_at" not in report.facts


@pytest.mark.parametrize("path", ["renewals/02.path.txt", "renewals/03.path.txt", proof.PATH_TEXT])
def test_a_text_of_a_renewal_is_that_of_the_record(files, tmp_path, path):
    files[path] += b"\n"
    assert findings(files, tmp_path) == [
        failed("EVIDENCE_PATH_TEXT", path, f"{path} differs from the evidence record.")
    ]


@pytest.mark.parametrize("path", [SECOND, THIRD, proof.TOKEN])
def test_a_token_of_a_renewal_is_that_of_the_record(files, tmp_path, path):
    files[path] = files[path][:-1] + bytes((files[path][-1] ^ 1,))
    message = f"{path} is not the token of the evidence record."
    assert findings(files, tmp_path) == [failed("EVIDENCE_TOKEN", path, message)]


def test_a_missing_token_of_a_renewal_is_missed(files, tmp_path):
    del files[SECOND]
    message = f"{SECOND} is not the token of the evidence record."
    assert findings(files, tmp_path) == [failed("EVIDENCE_TOKEN", SECOND, message)]


@pytest.mark.parametrize("path", ["renewals/04.tst", "renewals/01.path.txt"])
def test_a_renewal_that_the_record_does_not_have_is_named(files, tmp_path, path):
    files[path] = b"x"
    message = f"{path} belongs to no archive time-stamp of the record."
    assert findings(files, tmp_path) == [failed("EVIDENCE_FORMAT", path, message)]


def test_a_renewal_over_another_root(files, tmp_path):
    chain = record_of(files).chains[0]
    wrong = replace(renewal(chain[:1]), token=make_token(PKI, make_info(bytes(32), gen_time=STAMP_RENEWED)))
    found = findings(with_record(files, [(chain[0], wrong)]), tmp_path)
    message = "The token is about another value than the root of the evidence record."
    assert found == [failed("TOKEN_IMPRINT", SECOND, message, "RFC 4998 §4.3")]


def test_a_renewal_by_another_hash_than_its_chain(files, tmp_path):
    chain = record_of(files).chains[0]
    good = renewal(chain[:1])
    info = make_info(good.root, imprint_algorithm=hash_identifier("sha3_256"), gen_time=STAMP_RENEWED)
    found = findings(with_record(files, [(chain[0], replace(good, token=make_token(PKI, info)))]), tmp_path)
    assert [item[:2] for item in found] == [("TOKEN_IMPRINT", SECOND)]


def test_a_renewal_of_another_token(files, tmp_path):
    chain = record_of(files).chains[0]
    other = stamped(PKI, [sha256(b"another token").digest()], "sha256", STAMP_RENEWED, 5)
    found = findings(with_record(files, [(chain[0], other)]), tmp_path)
    message = "A time-stamp renewal is about another token than the one before it."
    assert found == [failed("EVIDENCE_RENEWAL", proof.RECORD, message, "RFC 4998 §4.3, §5.3")]


def test_a_renewal_is_not_earlier_than_what_it_renews(files, tmp_path):
    chain = record_of(files).chains[0][:1]
    early = renewal(chain, NOW - timedelta(seconds=1))
    found = findings(with_record(files, [(*chain, early)]), tmp_path)
    message = "A renewal is earlier than what it renews."
    assert found == [failed("EVIDENCE_ORDER", SECOND, message, RENEWALS)]
    assert findings(with_record(files, [(*chain, renewal(chain, NOW))]), tmp_path) == []


def test_a_renewal_after_the_certificate_had_ended_leaves_no_verdict(files, tmp_path):
    key = new_key()
    short = issue("Short TSA", key, issuer=(PKI.root, PKI.root_key), eku=TIME_STAMPING, end=NOW + timedelta(days=30))
    group = record_of(files).first.path[0]
    root = evidence.path_root([group])
    first = ArchiveTimestamp("sha256", (group,), make_token(PKI, make_info(root), certificate=short, key=key))
    late = NOW + timedelta(days=30, seconds=1)
    found = findings(with_record(files, [(first, renewal([first], late))]), tmp_path)
    message = "The renewal came after the certificate of the token before it had ended."
    assert found == [unknown("RENEWAL_LATE", SECOND, message, RENEWALS)]
    in_time = renewal([first], NOW + timedelta(days=30))
    assert findings(with_record(files, [(first, in_time)]), tmp_path) == []


@pytest.mark.parametrize(
    ("early", "fails"), [(timedelta(minutes=5, seconds=1), False), (timedelta(minutes=5, seconds=2), True)]
)
def test_a_token_is_not_later_than_the_time_of_judgement(files, tmp_path, early, fails):
    # The clock may be off by five minutes, and the token by its accuracy of one second.
    found = findings(files, tmp_path, at=TREE_RENEWED - early)
    message = "The token is later than the time of judgement."
    expected = [failed("TOKEN_TIME", where, message, "RFC 3161 §2.4.2") for where in (THIRD, proof.ANCHOR)]
    assert found == (expected if fails else [])


def test_a_renewal_by_a_stranger(files, tmp_path):
    rogue = new_pki("Rogue")
    chain = record_of(files).chains[0][:1]
    strange = renewal(chain, certificate=rogue.tsa, key=rogue.tsa_key)
    found = findings(with_record(files, [(*chain, strange)]), tmp_path)
    assert [item[:2] for item in found] == [("TOKEN_CHAIN", SECOND)]


def test_an_unreadable_renewal_token(files, tmp_path):
    chain = record_of(files).chains[0][:1]
    broken = replace(renewal(chain), token=b"\x30\x00")
    files = {**{p: d for p, d in files.items() if not p.startswith("renewals/")}}
    record = EvidenceRecord(((*chain, broken),))
    files |= {**proof.evidence_files(record), proof.RECORD: evidence.encode_record(record)}
    assert [item[:2] for item in findings(files, tmp_path)] == [("TOKEN_DER", SECOND)]


def ending(**ends: datetime):
    dates = published_dates()
    return replace(TRUST, dates=replace(dates, ends={**dates.ends, **ends}))


BETWEEN = STAMP_RENEWED + timedelta(days=1)


def ended(names: str, where: str, moment: datetime):
    message = f"{names} no longer counted at {moment:%Y-%m-%d}, and nothing later stands in."
    return unknown("ALGORITHM_ENDED", where, message, "ETSI EN 319 102-1 §5.2.8, ETSI TS 119 312")


def test_an_algorithm_must_count_until_the_next_time_stamp_takes_over(files, tmp_path):
    # Both tokens of the first chain still rested on it when the third came.
    found = findings(files, tmp_path, trust=ending(ecdsa=BETWEEN))
    assert found[0] == ended("ecdsa", SECOND, TREE_RENEWED)
    assert [item[:2] for item in found] == [
        ("ALGORITHM_ENDED", SECOND), ("ALGORITHM_ENDED", THIRD), ("ALGORITHM_ENDED", proof.ANCHOR),
    ]  # fmt: skip
    assert findings(files, tmp_path, trust=ending(sha3_512=FULL_JUDGED_AT))[0] == ended(
        "sha3_512", THIRD, FULL_JUDGED_AT
    )
    assert findings(files, tmp_path, trust=ending(sha512=NOW, sha3_256=NOW)) == []


def test_an_unknown_algorithm_never_counted(files, tmp_path):
    dates = published_dates()
    trust = replace(TRUST, dates=replace(dates, ends={k: v for k, v in dates.ends.items() if k != "ecdsa"}))
    assert [item[:2] for item in findings(files, tmp_path, trust=trust)] == [
        ("ALGORITHM_ENDED", where) for where in (proof.TOKEN, SECOND, THIRD, proof.ANCHOR)
    ]


def test_without_a_root_each_token_says_so(files, tmp_path):
    found = findings(files, tmp_path, trust=replace(TRUST, roots=()))
    message = "No root certificate was given to judge by: who signed is not known."
    where = [proof.SEAL, proof.TOKEN, SECOND, THIRD, proof.ANCHOR]
    assert found == [unknown("NO_TRUST_ANCHOR", path, message, "ETSI EN 319 102-1 §5.2.6") for path in where]


def test_without_revocation_data_each_signature_says_so(files, tmp_path):
    del files["revocation/root.crl"], files["revocation/tsa.ocsp"]
    found = findings(files, tmp_path)
    message = "No usable revocation list or OCSP answer covers the certificate at the time of the token."
    where = [proof.SEAL, proof.TOKEN, SECOND, THIRD, proof.ANCHOR]
    assert found == [unknown("REVOCATION_UNKNOWN", path, message, "ETSI EN 319 102-1 §5.2.5") for path in where]


def test_a_record_that_is_not_readable_still_has_its_token_judged(files, tmp_path):
    files[proof.RECORD] = b"\x30\x00"
    found = findings(files, tmp_path, trust=replace(TRUST, roots=()))
    assert [item[:2] for item in found] == [
        ("NO_TRUST_ANCHOR", proof.SEAL), ("EVIDENCE_FORMAT", proof.RECORD), ("NO_TRUST_ANCHOR", proof.TOKEN),
        ("NO_TRUST_ANCHOR", proof.ANCHOR),
    ]  # fmt: skip
    assert [item[:2] for item in findings(files, tmp_path)] == [("EVIDENCE_FORMAT", proof.RECORD)]
    files[proof.TOKEN] = b"x"
    found = findings(files, tmp_path)
    assert [item[:2] for item in found] == [("EVIDENCE_FORMAT", proof.RECORD), ("TOKEN_DER", proof.TOKEN)]


# The journal's anchor.

SHA256_ENDED = TREE_RENEWED + timedelta(hours=1)
MISSED = unknown(
    "JOURNAL_ALGORITHM_ENDED", proof.INCLUSION,
    "The journal's tree is of SHA-256, which no longer counts, and nothing carries it over.", "ETSI TS 119 312",
)  # fmt: skip


def journal_findings(files, tmp_path, end=SHA256_ENDED):
    found = findings(files, tmp_path, trust=ending(sha256=end))
    return [item for item in found if item[1] in (proof.INCLUSION, proof.ANCHOR) and item[0] != "ALGORITHM_ENDED"]


def test_an_anchor_in_time_carries_the_journal_over(files, tmp_path):
    assert journal_findings(files, tmp_path) == []
    assert journal_findings(files, tmp_path, TREE_RENEWED) == [MISSED]  # the anchor came too late
    assert journal_findings(files, tmp_path, TREE_RENEWED + timedelta(seconds=1)) == []
    del files[proof.ANCHOR]
    assert journal_findings(files, tmp_path) == [MISSED]
    assert journal_findings(files, tmp_path, FULL_JUDGED_AT) == [MISSED]
    assert journal_findings(files, tmp_path, FULL_JUDGED_AT + timedelta(seconds=1)) == []


def anchor_over(*datas: bytes) -> EvidenceRecord:
    return EvidenceRecord(((stamped(PKI, [sha3_512(d).digest() for d in datas], "sha3_512", TREE_RENEWED, 7),),))


def test_an_anchor_is_over_entry_and_checkpoint(files, tmp_path):
    good = anchor_over(files[proof.CHECKPOINT], files[proof.ENTRY])
    assert findings({**files, proof.ANCHOR: evidence.encode_record(good)}, tmp_path) == []
    for wrong in (anchor_over(files[proof.ENTRY], b"x"), anchor_over(b"x", files[proof.CHECKPOINT])):
        found = findings({**files, proof.ANCHOR: evidence.encode_record(wrong)}, tmp_path)
        message = "The evidence record is about other files than those of this proof."
        assert found == [failed("EVIDENCE_GROUP", proof.ANCHOR, message, "RFC 4998 §4.3, §5.3")]
    assert [item[:2] for item in findings({**files, proof.ANCHOR: b"x"}, tmp_path)] == [
        ("EVIDENCE_FORMAT", proof.ANCHOR)
    ]
    first = good.chains[0][0]
    unsound = EvidenceRecord(((replace(first, token=files[proof.TOKEN]),),))
    found = findings(
        {**files, proof.ANCHOR: evidence.encode_record(unsound)}, tmp_path, trust=ending(sha256=SHA256_ENDED)
    )
    assert ("TOKEN_IMPRINT", proof.ANCHOR) in [item[:2] for item in found]


# The journal entry.


def entry_findings(files, tmp_path, **changes):
    files = {**files, proof.ENTRY: with_json(files[proof.ENTRY], **changes)}
    return [item for item in findings(files, tmp_path) if item[1] == proof.ENTRY]


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"event": "deposit:received"}, "JOURNAL_EVENT", "The journal entry is not that of the commit of a document."),
        ({"archive_id": "x"}, "JOURNAL_ID", "The journal entry is about another document."),
        ({"details": {}}, "JOURNAL_MANIFEST", "The journal entry commits another manifest."),
        ({"safe": "x"}, "JOURNAL_SAFE", "The journal entry names another safe than the manifest."),
        ({"at": 1}, "JOURNAL_ENTRY_FORMAT", "journal/entry.json is not readable: at is not a string."),
        (
            {"at": "2026-11-23T10:00:00"},
            "JOURNAL_ENTRY_FORMAT",
            "journal/entry.json is not readable: a time is YYYY-MM-DDThh:mm:ssZ.",
        ),
    ],
)
def test_each_member_of_the_entry(files, tmp_path, changes, code, message):
    assert entry_findings(files, tmp_path, **changes) == [failed(code, proof.ENTRY, message)]


def test_a_document_is_not_committed_before_its_token(files, tmp_path):
    at = NOW - timedelta(minutes=5, seconds=1)  # the accuracy of the token, and the difference of clocks
    message = "The document was committed before its token says that it existed."
    assert entry_findings(files, tmp_path, at=f"{at:%Y-%m-%dT%H:%M:%SZ}") == []
    at -= timedelta(seconds=1)
    found = entry_findings(files, tmp_path, at=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    assert found == [failed("JOURNAL_TIME", proof.ENTRY, message)]


TLOG = "C2SP tlog-checkpoint"
UNREADABLE = "journal/inclusion.json is not readable"
OTHER_FORM = f"{UNREADABLE}: unknown members, or hexadecimal in upper case."


@pytest.mark.parametrize(
    ("changes", "code", "message", "clause"),
    [
        ({"index": 2}, "INCLUSION_PATH", "The entry is not in the tree of this root.", "RFC 9162 §2.1.3"),
        ({"size": 8}, "INCLUSION_CHECKPOINT", "The inclusion proof is for another checkpoint.", TLOG),
        ({"more": 1}, "INCLUSION_FORMAT", OTHER_FORM, PAGE),
        ({"root": "AA" * 32}, "INCLUSION_FORMAT", OTHER_FORM, PAGE),
        ({"size": "7"}, "INCLUSION_FORMAT", f"{UNREADABLE}: a number is missing.", PAGE),
        ({"path": [1]}, "INCLUSION_FORMAT", f"{UNREADABLE}: path is not a list of the right kind.", PAGE),
        ({"format": "x"}, "INCLUSION_FORMAT", f"{UNREADABLE}: it is not of the format minutier-inclusion/1.", PAGE),
    ],
)  # fmt: skip
def test_each_member_of_the_inclusion(files, tmp_path, changes, code, message, clause):
    files[proof.INCLUSION] = with_json(files[proof.INCLUSION], **changes)
    assert findings(files, tmp_path) == [failed(code, proof.INCLUSION, message, clause)]


def test_without_a_journal_key_the_checkpoint_is_read_all_the_same(files, tmp_path):
    message = "No journal key was given to judge by: who kept the journal is not known."
    expected = unknown("NO_JOURNAL_KEY", proof.CHECKPOINT, message, "C2SP signed-note")
    del files[proof.ANCHOR]
    trust = replace(TRUST, journal_keys=())
    assert findings(files, tmp_path, trust=trust) == [expected]
    files[proof.CHECKPOINT] = b"hello\n"
    found = findings(files, tmp_path, trust=trust)
    assert [item[:2] for item in found] == [("CHECKPOINT_FORMAT", proof.CHECKPOINT)] * 2 + [expected[:2]]


# The statement for people.


@pytest.mark.parametrize("path", [proof.STATEMENT, proof.STATEMENT_SEAL])
def test_the_statement_and_its_seal_come_together(files, tmp_path, path):
    del files[path]
    (left,) = {proof.STATEMENT, proof.STATEMENT_SEAL} - {path}
    assert findings(files, tmp_path) == [failed("FILE_MISSING", left, "The statement and its seal come together.")]


def test_an_altered_statement(files, tmp_path):
    files[proof.STATEMENT] += b"x"
    assert [item[:2] for item in findings(files, tmp_path)] == [("SEAL_DIGEST", proof.STATEMENT_SEAL)]


@pytest.mark.parametrize(("minutes", "fails"), [(5, False), (6, True)])
def test_a_statement_is_not_later_than_the_time_of_judgement(files, tmp_path, minutes, fails):
    files[proof.STATEMENT_SEAL] = seal(files[proof.STATEMENT], PKI.signer, FULL_JUDGED_AT + timedelta(minutes=minutes))
    message = "The statement is later than the time of judgement."
    assert findings(files, tmp_path) == ([failed("SEAL_TIME", proof.STATEMENT_SEAL, message)] if fails else [])


def test_a_statement_sealed_by_a_stranger_or_out_of_time(files, tmp_path):
    rogue = {**files, proof.STATEMENT_SEAL: seal(files[proof.STATEMENT], new_pki("Rogue").signer, NOW)}
    assert [item[:2] for item in findings(rogue, tmp_path)] == [("SEAL_CHAIN", proof.STATEMENT_SEAL)]
    assert findings(rogue, tmp_path, trust=replace(TRUST, roots=()))[-1][:2] == ("NO_TRUST_ANCHOR", proof.ANCHOR)
    before = {**files, proof.STATEMENT_SEAL: seal(files[proof.STATEMENT], PKI.signer, datetime(2020, 1, 1, tzinfo=UTC))}
    assert [item[:2] for item in findings(before, tmp_path)] == [("SEAL_CHAIN", proof.STATEMENT_SEAL)]


def test_judged_after_every_certificate_ended_it_still_passes(files, tmp_path):
    assert findings(files, tmp_path, at=END + timedelta(days=365 * 20)) == []


def test_a_file_of_certificates_holds_at_most_64(files, tmp_path):
    crowd = [issue(f"Other {number}", new_key()) for number in range(63)]
    files[proof.ROOTS] += encode_pem(crowd)
    assert [item[:2] for item in findings(files, tmp_path)] == [("ROOT_FOREIGN", proof.ROOTS)]
    files[proof.ROOTS] += encode_pem([issue("One more", new_key())])
    message = f"{proof.ROOTS} is not readable: more than 64 certificates."
    assert findings(files, tmp_path) == [failed("CERTIFICATE_FORMAT", proof.ROOTS, message)]


# The seals.


def test_an_altered_seal_is_named(files, tmp_path):
    files[proof.SEAL] = b"x"
    assert findings(files, tmp_path)[0][:2] == ("SEAL_DER", proof.SEAL)
    files[proof.SECOND_SEAL] = b"x"
    assert [item[:2] for item in findings(files, tmp_path)][:2] == [
        ("SEAL_DER", proof.SEAL), ("SEAL2_DER", proof.SECOND_SEAL),
    ]  # fmt: skip


def test_what_is_missing_to_judge_a_second_seal(files, tmp_path):
    del files["revocation/second.crl"]
    message = "No usable revocation list covers the certificate of the second seal at the token's time."
    unsure = unknown("REVOCATION_UNKNOWN", proof.SECOND_SEAL, message, "ETSI EN 319 102-1 §5.2.5")
    assert findings(files, tmp_path) == [unsure]
    rootless = replace(TRUST, second_roots=())
    report = verify(repack(files, tmp_path / "Q.zip"), rootless, FULL_JUDGED_AT)
    assert report.verdict is Verdict.PASSED
    assert report.facts["second_sealed_by"] == "CN=Second seal (not judged: no ML-DSA-65 root was given)"
    message = "No ML-DSA-65 root was given: who made the second seal, which the policy asks for, is not known."
    asked = unknown("NO_TRUST_ANCHOR", proof.SECOND_SEAL, message, "ETSI EN 319 102-1 §5.2.6")
    assert findings(files, tmp_path, trust=replace(rootless, second_seal_from=2026)) == [asked]
    assert findings(files, tmp_path, trust=replace(rootless, second_seal_from=2027)) == []


def test_a_second_seal_that_the_policy_asks_for(tmp_path):
    files = unpack(make_bundle(tmp_path / "P.zip"))
    message = "A second seal is asked of proofs from 2026 on, and this one of 2026 has none."
    missing = failed("SEAL2_MISSING", proof.SECOND_SEAL, message, "docs/format/seal-v1.md §4")
    assert findings(files, tmp_path, trust=replace(TRUST, second_seal_from=2026)) == [missing]
    assert findings(files, tmp_path, trust=replace(TRUST, second_seal_from=2027)) == []
