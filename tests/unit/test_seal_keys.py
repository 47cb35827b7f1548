"""Sealing keys over time: each use counted, one key after another, one revoked; old proofs stand through it all."""

from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from deployments import doctor
from minutier import cms, seal
from minutier.certificates import encode_pem, load_crl, load_pem
from minutier.errors import BadInputError, MinutierError, PolicyRefusedError
from minutier.report import Verdict
from minutier.seal import check_seal
from minutier.trust import load_trust
from minutier.verify import verify
from storage import dev_keys, key_acts, seal_keys
from storage.bootstrap import open_archive
from storage.dev_ca import key_in_use
from storage.key_acts import loader, revoke, rotate
from storage.proofs import export_proof
from storage.reception import current
from storage.sealer import Sealer
from storage.sealing import seal_deposit, stamp_batch
from storage.settings import load_settings
from storage.signers import FileSigner
from tests.support.pki import default_pki, issue, new_key, new_pki
from tests.support.rig import carry, pass_screening


def refusal(code: str, act, *arguments) -> MinutierError:
    with pytest.raises(MinutierError) as caught:
        act(*arguments)
    assert caught.value.code == code
    return caught.value


def keys(rig):
    with rig.archive.database.transaction() as connection:
        return seal_keys.keys(connection)


def counts(rig):
    with rig.archive.database.transaction() as connection:
        return seal_keys.count(connection)


def entries(rig, *events):
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT entry FROM journal_event ORDER BY event_id").fetchall()
    found = [json.loads(bytes(row["entry"])) for row in rows]
    return [entry["details"] for entry in found if entry["event"] in events]


def superuser(rig, *statements):
    """Do what the archive's own code never does: the rows of a captured database."""
    with rig.archive.database.transaction() as connection:
        for table in ("seal_key", "journal_event"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)
        for table in ("seal_key", "journal_event"):
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def proof_of(rig, deposit):
    target = rig.folder / f"{deposit.archive_id}.zip"
    export_proof(rig.archive, deposit, target)
    return target


def judged(rig, bundle):
    return verify(bundle, load_trust(rig.archive.settings.trust_dir), rig.clock())


def test_the_first_key_is_taken_into_use_and_journaled_once(rig):
    (key,) = keys(rig)
    assert (key.kind, key.state, key.uses) == ("seal", "active", 0)
    assert key.certificate == rig.archive.signer.chain[0]
    other = open_archive(rig.archive.settings)
    other.database.close()
    assert entries(rig, "key:activated") == [{"kind": "seal", "seal_key": key.name}]


def test_each_seal_of_a_deposit_is_counted_in_the_entry_of_its_act(rig):
    rig.deposit(b"one", "R-1")
    rig.deposit(b"two", "R-2")
    (key,) = keys(rig)
    numbers = [details["seal_count"] for details in entries(rig, "deposit:sealed", "deposit:archived")]
    assert (sorted(numbers), key.uses) == ([1, 2, 3, 4], 4)
    assert {details["seal_key"] for details in entries(rig, "deposit:sealed")} == {key.name}
    (count,) = counts(rig)
    assert (count.journaled, count.waiting, count.trouble) == (4, 0, "")


def test_a_crash_after_the_signature_leaves_a_number_that_says_what_it_was_for(rig, monkeypatch):
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    with monkeypatch.context() as patch:
        patch.setattr("storage.catalogue.advance", lambda *_, **__: pytest.fail("power cut"))
        with pytest.raises(pytest.fail.Exception):
            seal_deposit(rig.archive, deposit.archive_id, {})
    (count,) = counts(rig)
    assert (count.key.uses, count.journaled, count.waiting, count.trouble) == (1, 0, 1, "")
    with rig.archive.database.transaction() as connection:
        (row,) = connection.execute("SELECT * FROM seal_use").fetchall()
    assert (row["number"], row["act"], str(row["archive_id"])) == (1, "manifest", deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {})
    (count,) = counts(rig)
    assert (count.key.uses, count.journaled, count.waiting, count.trouble) == (2, 1, 1, "")
    assert entries(rig, "deposit:sealed")[0]["seal_count"] == 2


def test_a_device_that_fails_has_spent_its_number(rig, monkeypatch):
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    broken = type("Broken", (), {"chain": rig.archive.signer.chain, "sign": lambda self, tbs: 1 / 0})()
    monkeypatch.setattr(rig.archive.signer, "_signer", broken)
    with pytest.raises(ZeroDivisionError):
        seal_deposit(rig.archive, deposit.archive_id, {})
    assert [(count.key.uses, count.waiting) for count in counts(rig)] == [(1, 1)]


def test_a_bare_signature_is_counted_and_stands_out(rig):
    seal.seal(b"{}", rig.archive.signer, rig.clock())
    (count,) = counts(rig)
    assert (count.key.uses, count.waiting, count.trouble) == (1, 1, "")
    with rig.archive.database.transaction() as connection:
        assert [row["act"] for row in connection.execute("SELECT act FROM seal_use")] == ["unnamed"]


def test_one_number_serves_one_act(rig):
    sealed = rig.archive.signer.seal(b"{}", rig.clock(), "test")
    with rig.archive.database.transaction() as connection:
        assert sealed.journaled(connection)["seal_count"] == 1
    with rig.archive.database.transaction() as connection:
        refusal("SEAL_COUNT", sealed.journaled, connection)


def test_rivals_get_numbers_of_their_own(rig):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: rig.archive.signer.seal(b"{}", rig.clock(), "test").number, range(40)))
    assert sorted(made) == list(range(1, 41))


ALTERED = {
    "counted-down": (["UPDATE seal_key SET uses = 1"], "the count says 1"),
    "entry-removed": (["DELETE FROM journal_event WHERE event = 'deposit:archived'"], "neither in the journal"),
    "entry-twice": (
        [
            "INSERT INTO journal_event (event, archive_id, at, entry, leaf) SELECT event, archive_id, at, entry, leaf"
            " FROM journal_event WHERE event = 'deposit:archived'"
        ],
        "twice",
    ),
    "reservation-removed": (["UPDATE seal_key SET uses = uses + 1"], "neither in the journal"),
    "reservation-of-a-use-in-the-journal": (
        ["INSERT INTO seal_use (certificate_sha256, number, act) SELECT certificate_sha256, 1, 'x' FROM seal_key"],
        "wait for it",
    ),
    "a-gap-hidden-by-a-false-reservation": (
        [
            "DELETE FROM journal_event WHERE event = 'deposit:archived'",
            "INSERT INTO seal_use (certificate_sha256, number, act) SELECT certificate_sha256, 1, 'x' FROM seal_key",
        ],
        "wait for it",
    ),
    "key-removed": (["DELETE FROM seal_use", "DELETE FROM seal_key"], "not among the keys"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_count_that_does_not_fit_the_journal_is_said(rig, name):
    rig.deposit()
    statements, told = ALTERED[name]
    superuser(rig, *statements)
    (count,) = counts(rig)
    assert told in count.trouble


def test_the_table_neither_counts_down_nor_forgets(rig):
    rig.deposit()
    for statement in (
        "UPDATE seal_key SET uses = 0",
        "DELETE FROM seal_key",
        "UPDATE seal_key SET certificate_sha256 = repeat('0', 64)",
    ):
        with pytest.raises(psycopg.errors.RaiseException), rig.archive.database.transaction() as connection:
            connection.execute(statement)


def test_an_entry_that_is_not_json_breaks_the_report_with_a_sentence(rig):
    superuser(
        rig,
        "INSERT INTO journal_event (event, at, entry, leaf) VALUES ('x', now(), '{\"seal_count\"', '\\x00')",
    )
    refusal("JOURNAL_BROKEN", counts, rig)


def test_after_a_rotation_new_deposits_have_the_new_key_and_old_proofs_stand(rig):
    before = rig.deposit(b"before", "R-1")
    exported, old = proof_of(rig, before), rig.archive.signer.chain[0]
    rig.clock.advance(60)
    made = rotate(rig.archive)
    assert [(key.state, key.certificate == old) for key in keys(rig)] == [("retired", True), ("active", False)]
    after = rig.deposit(b"after", "R-2")
    found = check_seal(after.manifest, after.seal, rig.archive.roots, rig.clock(), rig.archive.crls)
    assert (found.signer, rig.archive.signer.chain[0]) == (made.certificate, made.certificate)
    for bundle in (exported, proof_of(rig, before), proof_of(rig, after)):
        assert judged(rig, bundle).verdict is Verdict.PASSED
    assert entries(rig, "key:rotated") == [
        {"kind": "seal", "seal_key": made.name, "retired": seal_keys.fingerprint(old)[:16]}
    ]
    pki = rig.archive.settings.home / "pki"
    assert [path.name for path in pki.glob("seal*.key")] == [f"seal-{made.name}.key"]
    assert (pki / f"seal-{seal_keys.fingerprint(old)[:16]}.pem").read_bytes() == encode_pem([old])
    assert all(not count.trouble for count in counts(rig))
    again = open_archive(rig.archive.settings)
    assert again.signer.chain[0] == made.certificate
    again.database.close()


def test_a_worker_that_runs_takes_the_new_key(rig):
    worker = open_archive(rig.archive.settings)
    made = rotate(rig.archive)
    assert worker.signer.seal(b"{}", rig.clock(), "test").certificate == made.certificate
    worker.database.close()


@pytest.mark.parametrize("cut", ["issue", "check_sealing_chain", "replace", "drop_former_keys"])
@pytest.mark.parametrize("after", [False, True])
def test_a_rotation_cut_short_is_ended_by_the_next_one(rig, monkeypatch, cut, after):
    place = {"issue": dev_keys, "check_sealing_chain": key_acts, "replace": seal_keys, "drop_former_keys": dev_keys}[
        cut
    ]
    whole = getattr(place, cut)

    def power_cut(*arguments, **options):
        if after:
            whole(*arguments, **options)
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(place, cut, power_cut)
        with pytest.raises(OSError, match="power cut"):
            rotate(rig.archive)
    rotate(rig.archive)
    assert rig.deposit().state == "ARCHIVED"
    states = [key.state for key in keys(rig)]
    assert states.count("active") == 1
    pki = rig.archive.settings.home / "pki"
    assert [key_in_use(pki)] == list(pki.glob("seal*.key"))


def test_a_key_file_without_its_certificate_in_use_seals_nothing(rig):
    # The files of another key, put there without `key rotate`.
    dev_keys.issue(rig.archive.settings.home / "pki", rig.clock())
    archive = open_archive(rig.archive.settings)
    error = refusal("SEAL_KEY_NOT_ACTIVE", archive.signer.seal, b"{}", rig.clock(), "test")
    assert "minutier key rotate" in error.remedy
    archive.database.close()


def test_after_a_revocation_seals_of_before_stand_and_later_ones_do_not(rig):
    before = rig.deposit(b"before", "R-1")
    exported, stolen = proof_of(rig, before), loader(rig.archive.settings, seal_keys.SEAL)()
    rig.clock.advance(60)
    old = keys(rig)[0]
    key, listed = revoke(rig.archive, old.name, "keyCompromise")
    assert (key.state, key.reason, listed, key.revoked_at) == ("revoked", "keyCompromise", True, rig.clock())
    waiting = rig.deliver(b"waiting", "R-2")
    pass_screening(rig.archive, waiting.archive_id)
    assert isinstance(
        refusal("SEAL_KEY_NOT_ACTIVE", seal_deposit, rig.archive, waiting.archive_id, {}), PolicyRefusedError
    )
    rotate(rig.archive)
    rig.clock.advance(60)
    after = rig.deposit(b"after", "R-3")
    archive = open_archive(rig.archive.settings)
    assert len(archive.crls[0]) == 1
    archive.database.close()
    for bundle in (exported, proof_of(rig, before), proof_of(rig, after)):
        report = judged(rig, bundle)
        assert report.verdict is Verdict.PASSED, report.findings
    lists = [load_crl(path.read_bytes()) for path in rig.archive.settings.trust_dir.glob("*.crl")]
    forged = seal.seal(b'{"forged":1}', stolen, rig.clock())
    assert refusal("SEAL_REVOKED", check_seal, b'{"forged":1}', forged, rig.archive.roots, rig.clock(), lists)
    assert check_seal(before.manifest, before.seal, rig.archive.roots, before.received_at, lists).revocation_known
    assert [details["reason"] for details in entries(rig, "key:revoked")] == ["keyCompromise"]


def test_a_proof_forged_with_a_revoked_key_fails(rig, monkeypatch):
    stolen = loader(rig.archive.settings, seal_keys.SEAL)()
    revoke(rig.archive, keys(rig)[0].name, "keyCompromise")
    rotate(rig.archive)
    rig.clock.advance(60)
    whole = rig.archive.signer

    class Thief:
        """Seals as the archive does, with what was stolen."""

        kind, chain = "seal", stolen.chain

        def seal(self, content, at, act, archive_id=""):
            sealed = whole.seal(content, at, act, archive_id)
            return type(sealed)(seal.seal(content, stolen, at), sealed.certificate, sealed.kind, sealed.number)

    object.__setattr__(rig.archive, "signer", Thief())
    # The thief's own archive looks at no list.
    monkeypatch.setattr("storage.sealing.with_standing_seals", lambda _, waiting: waiting)
    monkeypatch.setattr("storage.sealing.require_standing_seals", lambda *_: None)
    forged = proof_of(rig, rig.deposit())
    report = judged(rig, forged)
    assert report.verdict is Verdict.FAILED
    assert "SEAL_REVOKED" in {finding.code for finding in report.findings}


def test_a_revocation_is_done_once_and_ended_when_it_was_cut_short(rig, monkeypatch):
    name, started = keys(rig)[0].name, rig.clock()
    with monkeypatch.context() as patch:
        patch.setattr(seal_keys, "mark_revoked", lambda *_: pytest.fail("power cut"))
        with pytest.raises(pytest.fail.Exception):
            revoke(rig.archive, name, "superseded")
    assert keys(rig)[0].state == "active"
    rig.clock.advance(3600)
    for _ in range(2):
        key, _ = revoke(rig.archive, name, "superseded")
        assert key.revoked_at == started
    crl = load_crl((rig.archive.settings.home / "pki" / "root.crl").read_bytes())
    assert len(crl) == 1
    assert len(entries(rig, "key:revoked")) == 1


def test_what_cannot_be_revoked_is_said(rig):
    refusal("UNKNOWN_KEY", revoke, rig.archive, "ffff", "superseded")
    refusal("UNKNOWN_KEY", revoke, rig.archive, "", "superseded")
    refusal("UNKNOWN_REASON", revoke, rig.archive, keys(rig)[0].name, "boredom")
    (rig.archive.settings.home / "pki" / "root.key").unlink()
    refusal("ROOT_KEY_ABSENT", revoke, rig.archive, keys(rig)[0].name, "superseded")
    refusal("ROOT_KEY_ABSENT", rotate, rig.archive)
    assert [key.state for key in keys(rig)] == ["active"]
    assert rig.deposit().state == "ARCHIVED"


PKI = default_pki()


def named_key(rig, pki, name, key=None):
    """An archive whose settings name a key of another authority."""
    home = rig.archive.settings.home
    key = key or pki.seal_key
    path = home / f"{name}.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    leaf = issue(
        name,
        key,
        issuer=(pki.root, pki.root_key),
        start=rig.clock() - timedelta(days=1),
        end=rig.clock() + timedelta(days=99),
    )
    (home / f"{name}.pem").write_bytes(encode_pem([leaf]))
    (home / "minutier.toml").write_text(f'seal_key = "{name}.key"\nseal_certificate = "{name}.pem"\n')
    environment = {"MINUTIER_DATABASE_URL": rig.archive.settings.database_url, "MINUTIER_TSA_URLS": "http://tsa.test/"}
    return open_archive(load_settings(home, environment))


def test_a_key_of_the_settings_is_taken_into_use_by_rotate(rig):
    pki = new_pki("Qualified", rig.clock())
    trust = rig.archive.settings.trust_dir
    archive = named_key(rig, pki, "first")
    refusal("SEAL_KEY_NOT_ACTIVE", archive.signer.seal, b"{}", rig.clock(), "test")
    assert "trust directory" in refusal("SEAL_KEY_NOT_ACCEPTED", rotate, archive).remedy
    archive.database.close()
    (trust / "qualified.pem").write_bytes(encode_pem([pki.root]))
    archive = named_key(rig, pki, "first")
    made = rotate(archive)
    assert archive.signer.seal(b"{}", rig.clock(), "test").certificate == made.certificate
    assert isinstance(refusal("KEY_NOT_NEW", rotate, archive), BadInputError)
    key, listed = revoke(archive, made.name, "superseded")
    assert (key.state, listed) == ("revoked", False)
    archive.database.close()
    second = named_key(rig, pki, "second", new_key())
    assert rotate(second).state == "active"
    assert [key.state for key in keys(rig)] == ["retired", "revoked", "active"]
    second.database.close()
    (rig.archive.settings.home / "minutier.toml").unlink()


def test_a_certificate_for_another_purpose_is_not_taken(rig):
    pki = new_pki("Qualified", rig.clock())
    (rig.archive.settings.trust_dir / "qualified.pem").write_bytes(encode_pem([pki.root]))
    archive = named_key(rig, pki, "tsa", pki.tsa_key)
    shutil.copy(rig.archive.settings.home / "tsa.pem", rig.archive.settings.home / "kept.pem")
    (rig.archive.settings.home / "tsa.pem").write_bytes(encode_pem([pki.tsa]))
    assert "not a certificate for sealing" in refusal("SEAL_KEY_NOT_ACCEPTED", rotate, archive).message
    archive.database.close()


def test_the_first_key_of_an_archive_is_one_that_verifiers_accept(rig):
    superuser(rig, "DELETE FROM seal_use", "DELETE FROM seal_key")
    pki = new_pki("Qualified", rig.clock())
    refusal("SEAL_KEY_NOT_ACCEPTED", named_key, rig, pki, "first")
    assert keys(rig) == []
    (rig.archive.settings.trust_dir / "qualified.pem").write_bytes(encode_pem([pki.root]))
    archive = named_key(rig, pki, "first")
    assert archive.signer.seal(b"{}", rig.clock(), "test").number == 1
    archive.database.close()


def test_no_second_seal_no_second_key(rig):
    refusal("NO_SECOND_SEAL", rotate, rig.archive, seal_keys.SECOND)


def test_the_signature_of_a_seal_is_of_the_key_that_the_journal_names(rig):
    deposit = rig.deposit()
    signed = cms.parse(deposit.seal, "SEAL")
    assert entries(rig, "deposit:sealed")[0]["seal_key"] == seal_keys.fingerprint(signed.signer)[:16]


def test_a_device_that_is_away_keeps_nobody_from_reading(rig):
    deposit = rig.deposit()
    home = rig.archive.settings.home
    (home / "minutier.toml").write_text(
        'seal_certificate = "gone.pem"\nseal_pkcs11_module = "/nowhere.so"\nseal_pkcs11_token = "t"\n'
        'seal_pkcs11_label = "l"\nseal_pin_file = "gone"\n'
    )
    environment = {"MINUTIER_DATABASE_URL": rig.archive.settings.database_url, "MINUTIER_TSA_URLS": "http://tsa.test/"}
    opened = open_archive(load_settings(home, environment))
    away = dataclasses.replace(opened, clock=rig.clock, replicas=rig.archive.replicas)
    target = rig.folder / "P.zip"
    export_proof(away, deposit, target)
    assert judged(rig, target).verdict is Verdict.PASSED
    refusal("SEAL_CERTIFICATE", away.signer.seal, b"{}", rig.clock(), "test")
    assert [count.key.uses for count in counts(rig)] == [2]
    away.database.close()


def test_the_doctor_opens_the_sealing_key(rig):
    settings = rig.archive.settings
    found = doctor._sealing_key(settings)
    assert (found.level, "no legal value" in found.detail) == ("warning", True)
    pki = new_pki("Qualified", rig.clock())
    archive = named_key(rig, pki, "first")
    assert doctor._sealing_key(archive.settings).level == "ok"
    (settings.home / "first.key").chmod(0o644)
    found = doctor._sealing_key(archive.settings)
    assert (found.level, "chmod" in found.remedy) == ("missing", True)
    archive.database.close()
    ending = archive.settings.model_copy(update={"seal_certificate": settings.home / "ending.pem"})
    (settings.home / "first.key").chmod(0o600)
    leaf = issue("Ending", pki.seal_key, issuer=(pki.root, pki.root_key), end=rig.clock() + timedelta(days=30))
    (settings.home / "ending.pem").write_bytes(encode_pem([leaf]))
    found = doctor._sealing_key(ending)
    assert (found.level, "minutier key rotate" in found.remedy) == ("warning", True)


def sealed_and_waiting(rig):
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    return seal_deposit(rig.archive, deposit.archive_id, {})


def test_a_document_that_waits_for_its_token_when_its_key_is_revoked_is_sealed_again(rig):
    waiting = sealed_and_waiting(rig)
    revoke(rig.archive, keys(rig)[0].name, "keyCompromise")
    refusal("SEAL_KEY_NOT_ACTIVE", stamp_batch, rig.archive, [waiting.archive_id])
    assert current(rig.archive, waiting.archive_id).state == "SEALED"
    made = rotate(rig.archive)
    rig.clock.advance(60)
    (deposit,) = carry(rig.archive, [waiting.archive_id])
    assert (deposit.manifest, deposit.seal == waiting.seal) == (waiting.manifest, False)
    report = judged(rig, proof_of(rig, deposit))
    assert (report.verdict, report.findings) == (Verdict.PASSED, ())
    assert [(each["seal_key"] == made.name, each.get("again")) for each in entries(rig, "deposit:sealed")] == [
        (False, None),
        (True, "revoked"),
    ]
    assert all(not count.trouble for count in counts(rig))


def test_a_token_that_came_after_the_revocation_is_not_kept(rig):
    waiting = sealed_and_waiting(rig)
    name, answer = keys(rig)[0].name, rig.archive.tsa.answer

    def revoked_meanwhile(request):
        revoke(rig.archive, name, "keyCompromise")
        return answer(request)

    object.__setattr__(rig.archive.tsa, "answer", revoked_meanwhile)
    error = refusal("SEAL_KEY_REVOKED", stamp_batch, rig.archive, [waiting.archive_id])
    assert error.retryable
    with rig.archive.database.transaction() as connection:
        assert connection.execute("SELECT 1 FROM token").fetchall() == []
    object.__setattr__(rig.archive.tsa, "answer", answer)
    rotate(rig.archive)
    rig.clock.advance(60)
    assert carry(rig.archive, [waiting.archive_id])[0].state == "ARCHIVED"


def test_a_seal_whose_certificate_ended_before_its_token_is_made_again(rig):
    pki = rig.archive.settings.home / "pki"
    root = load_pem((pki / "root.pem").read_bytes())[0]
    root_key = load_pem_private_key((pki / "root.key").read_bytes(), None)
    key, now = new_key(), rig.clock()
    certificate = issue(
        "Short", key, issuer=(root, root_key), non_repudiation=True, start=now, end=now + timedelta(hours=2)
    )
    archive = rig.archive
    short = dataclasses.replace(archive, signer=Sealer(archive.database, lambda: FileSigner(key, (certificate,))))
    with archive.database.transaction() as connection:
        seal_keys.replace(connection, seal_keys.SEAL, certificate, now)
    rig.archive = short
    waiting = sealed_and_waiting(rig)
    rig.clock.advance(3 * 3600)
    refusal("SEAL_KEY_NOT_ACTIVE", stamp_batch, short, [waiting.archive_id])
    assert current(short, waiting.archive_id).state == "SEALED"
    rig.archive = archive
    rotate(archive)
    (deposit,) = carry(archive, [waiting.archive_id])
    assert (deposit.manifest, deposit.seal == waiting.seal) == (waiting.manifest, False)
    assert judged(rig, proof_of(rig, deposit)).verdict is Verdict.PASSED
    assert [each.get("again") for each in entries(rig, "deposit:sealed")] == [None, "ended"]


def test_a_retired_key_keeps_its_seals_that_wait(rig):
    waiting = sealed_and_waiting(rig)
    rotate(rig.archive)
    (deposit,) = carry(rig.archive, [waiting.archive_id])
    assert deposit.seal == waiting.seal
    assert judged(rig, proof_of(rig, deposit)).verdict is Verdict.PASSED
