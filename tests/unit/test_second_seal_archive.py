"""An archive that makes second seals: from the deposit to the proof, with a key of its own that is rotated too."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import datetime, timedelta

import pytest

from minutier.algorithm_dates import AlgorithmDates, published_dates
from minutier.certificates import load_pem
from minutier.errors import IntegrityFailureError, MinutierError
from minutier.evidence import decode_record
from minutier.report import Verdict
from minutier.seal import check_second_seal
from minutier.sealed_record import SealedRecord, decode_sealed_record
from minutier.trust import load_trust
from minutier.verify import verify
from storage import catalogue, renewal, seal_keys
from storage.bootstrap import open_archive
from storage.key_acts import revoke, rotate
from storage.proofs import export_proof
from storage.reading import fetch, require_sealed
from storage.reception import current
from storage.seal_keys import SECOND
from storage.settings import load_settings
from tests.support.authority import change_authority
from tests.support.bundle import unpack


@pytest.fixture
def second(rig):
    """The rig's archive, with second seals."""
    home, url = rig.archive.settings.home, rig.archive.settings.database_url
    rig.archive.database.close()
    opened = open_archive(
        load_settings(
            home,
            {
                "MINUTIER_DATABASE_URL": url,
                "MINUTIER_TSA_URLS": "http://tsa.test/",
                "MINUTIER_SECOND_SEAL": "ml-dsa-65",
            },
        )
    )
    rig.archive = dataclasses.replace(opened, clock=rig.clock, replicas=rig.archive.replicas, tsa=rig.archive.tsa)
    return rig


def proof_of(rig, deposit):
    target = rig.folder / f"{deposit.archive_id}.zip"
    export_proof(rig.archive, deposit, target)
    return target


def judged(rig, bundle, at: datetime | None = None):
    return verify(bundle, load_trust(rig.archive.settings.trust_dir), at or rig.clock())


def test_a_deposit_has_both_seals_on_every_replica_and_in_its_proof(second):
    deposit = second.deposit()
    archive = second.archive
    check_second_seal(deposit.manifest, deposit.second_seal, archive.second_roots, second.clock(), archive.crls)
    with archive.database.transaction() as connection:
        copies = [copy for copy in catalogue.copies(connection, deposit.archive_id) if copy.role == "record"]
    for copy in copies:
        fetch(archive, deposit, "record", second.folder / copy.replica)
        stored = decode_sealed_record((second.folder / copy.replica).read_bytes())
        assert stored == SealedRecord(deposit.manifest, deposit.seal, deposit.second_seal)
    assert {copy.replica for copy in copies} == {"replica-a", "replica-b"}
    assert all(copy.locked_until == deposit.retain_until for copy in copies)
    bundle = proof_of(second, deposit)
    report = judged(second, bundle)
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    assert "second seal" in report.facts["second_sealed_by"]
    assert unpack(bundle)["manifest.json.mldsa65.p7s"] == deposit.second_seal
    require_sealed(archive, deposit)


def test_both_keys_count(second):
    second.deposit()
    with second.archive.database.transaction() as connection:
        counts = {count.key.kind: count for count in seal_keys.count(connection)}
    assert {kind: (count.journaled, count.key.uses, count.trouble) for kind, count in counts.items()} == {
        "seal": (2, 2, ""),
        SECOND: (1, 1, ""),
    }


def test_the_policy_of_the_instance_is_met_by_it_and_not_by_older_proofs(rig):
    single = proof_of(rig, rig.deposit())
    (rig.archive.settings.trust_dir / "policy.toml").write_text(f"second_seal_required_from = {rig.clock().year}\n")
    assert {finding.code for finding in judged(rig, single).findings} == {"SEAL2_MISSING"}
    year = rig.clock().year + 1
    (rig.archive.settings.trust_dir / "policy.toml").write_text(f"second_seal_required_from = {year}\n")
    assert judged(rig, single).verdict is Verdict.PASSED


def test_documents_of_before_and_after_the_setting_live_side_by_side(rig, request):
    before = rig.deposit(b"before", "R-1")
    second = request.getfixturevalue("second")
    after = second.deposit(b"after", "R-2")
    assert (before.second_seal, bool(after.second_seal)) == (None, True)
    for deposit in (before, after):
        report = judged(second, proof_of(second, current(second.archive, deposit.archive_id)))
        assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    plain = open_archive(rig.archive.settings.model_copy(update={"second_seal": "none"}))
    second.archive = dataclasses.replace(second.archive, second_signer=plain.second_signer, crls=plain.crls)
    assert second.archive.second_signer is None
    assert judged(second, proof_of(second, after)).verdict is Verdict.PASSED
    plain.database.close()


def test_an_altered_second_seal_in_the_catalogue_is_noticed(second):
    deposit = second.deposit()
    with pytest.raises(IntegrityFailureError) as caught:
        require_sealed(second.archive, dataclasses.replace(deposit, second_seal=deposit.second_seal[:-1] + b"\0"))
    assert caught.value.code.startswith("SEAL2_")


def test_its_key_is_rotated_and_revoked_alone(second):
    before = second.deposit(b"before", "R-1")
    exported = proof_of(second, before)
    second.clock.advance(60)
    with second.archive.database.transaction() as connection:
        old = seal_keys.active(connection, SECOND)
    revoke(second.archive, old.name, "keyCompromise")
    made = rotate(second.archive, SECOND)
    after = second.deposit(b"after", "R-2")
    assert made.certificate != old.certificate
    for bundle in (exported, proof_of(second, before), proof_of(second, after)):
        report = judged(second, bundle)
        assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    again = open_archive(second.archive.settings)
    assert again.second_signer.chain[0] == made.certificate
    again.database.close()
    with second.archive.database.transaction() as connection:
        states = {(key.kind, key.state) for key in seal_keys.keys(connection)}
    assert states == {("seal", "active"), (SECOND, "revoked"), (SECOND, "active")}


def test_its_keys_that_are_gone_are_never_made_again_in_silence(second):
    folder = second.archive.settings.home / "pki" / "mldsa65"
    root = second.archive.settings.trust_dir / "root-mldsa65.pem"
    assert load_pem(root.read_bytes()) == load_pem((folder / "root.pem").read_bytes())
    for harm in ((folder / "seal.key").unlink, lambda: shutil.rmtree(folder)):
        harm()
        with pytest.raises(MinutierError) as caught:
            open_archive(second.archive.settings)
        assert caught.value.code == "KEYS_MISSING"
    assert not folder.exists()


def test_it_stays_a_member_of_the_evidence_when_a_hash_ends(second):
    deposits = [second.deposit(b"one", "R-1"), second.deposit(b"two", "R-2")]
    second.clock.advance(60)
    second = change_authority(second, end=second.clock() + timedelta(days=7300), strong=True)
    dates = published_dates()
    broken = second.clock() + timedelta(days=30)
    dates = AlgorithmDates("a drill", {**dates.ends, "sha256": broken})
    second.archive = dataclasses.replace(second.archive, dates=dates)
    assert renewal.renew(second.archive).documents_rehashed == 2
    trust = dataclasses.replace(load_trust(second.archive.settings.trust_dir), dates=dates)
    for deposit in deposits:
        bundle = proof_of(second, deposit)
        found = verify(bundle, trust, broken + timedelta(days=365))
        assert (found.verdict, found.findings) == (Verdict.PASSED, ())
        record = decode_record(unpack(bundle)["evidence.ers"])
        assert [(chain[0].algorithm, len(chain[0].path[0])) for chain in record.chains] == [
            ("sha256", 4),
            ("sha3_512", 4),
        ]
