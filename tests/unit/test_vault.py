"""Store, commit, lock, attest: each step from the recorded state, nothing done twice, nothing said too early."""

import hashlib
import json
import shutil
from datetime import timedelta

import pytest

from minutier.errors import IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.seal import check_seal
from storage import catalogue, journal, seam, vault
from storage.abandoning import abandon
from storage.ports import LockState
from storage.reception import current
from storage.sealing import seal_deposit, stamp_batch
from storage.sweep import sweep
from tests.support.rig import carry, pass_screening

ROLES = {"original", "record"}


def versions(store):
    return list(store.list_objects("demo/"))


def stamped(rig, reference="R-1"):
    """Bring one deposit to STAMPED."""
    deposit = rig.deliver(reference=reference)
    pass_screening(rig.archive, deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {})
    stamp_batch(rig.archive, [deposit.archive_id])
    return deposit.archive_id


def test_an_archived_document_is_whole_and_locked_on_every_replica(rig):
    found = rig.deposit()
    assert found.state == "ARCHIVED"
    for store in rig.stores:
        assert {version.key.split("/")[-1] for version in versions(store)} == {f"{role}.age" for role in ROLES}
        (batch,) = store.list_objects("_evidence/")
        for version in (*versions(store), batch):
            lock = store.lock_state(version.key, version.version_id)
            assert lock.legal_hold
            assert lock.retain_until >= found.retain_until - timedelta(seconds=1)
            assert b"%PDF" not in store.open(version.key, version.version_id).read()
    assert not (rig.archive.spool / found.archive_id).exists()


def test_before_commit_versions_are_locked_for_seven_days_only(rig):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    for store in rig.stores:
        for version in versions(store):
            lock = store.lock_state(version.key, version.version_id)
            assert lock == LockState(rig.clock() + timedelta(days=7), legal_hold=False)


def test_the_attestation_is_sealed_and_says_what_is_true(rig):
    found = rig.deposit()
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT * FROM outbox").fetchone()
    body = json.loads(bytes(row["body"]))
    assert (body["act"], body["archive_id"], body["fingerprint"]) == ("deposit", found.archive_id, found.fingerprint)

    sealed = check_seal(bytes(row["body"]), bytes(row["seal"]), rig.archive.roots, rig.clock())
    assert sealed.signer == rig.archive.signer.chain[0]


def test_running_every_step_again_changes_nothing(rig):
    found = rig.deposit()
    before = [versions(store) for store in rig.stores]
    assert carry(rig.archive, [found.archive_id]) == [found]
    assert [versions(store) for store in rig.stores] == before


def test_a_version_written_without_an_answer_is_adopted(rig):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    before = [versions(store) for store in rig.stores]
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM replica_copy")
        connection.execute("UPDATE deposit SET state = 'STAMPED'")
    rig.clock.advance(5 * 86400)
    vault.store_deposit(rig.archive, archive_id)
    assert [versions(store) for store in rig.stores] == before
    for store in rig.stores:
        for version in versions(store):
            held = store.lock_state(version.key, version.version_id).retain_until
            assert held == rig.clock() + timedelta(days=7)


def test_foreign_bytes_at_the_key_are_not_adopted(rig):
    archive_id = stamped(rig)
    foreign = rig.folder / "foreign"
    foreign.write_bytes(b"foreign")
    key = f"demo/{archive_id}/original.age"
    planted = rig.stores[0].put(key, foreign, rig.clock() + timedelta(days=30))
    vault.store_deposit(rig.archive, archive_id)
    with rig.archive.database.transaction() as connection:
        pointers = {copy.version_id for copy in catalogue.copies(connection, archive_id)}
    assert planted.version_id not in pointers
    assert len(rig.stores[0].versions(key)) == 2


def test_staged_bytes_that_were_lost_are_made_again(rig):
    archive_id = stamped(rig)
    rig.stores[1].fault_hook = down
    with pytest.raises(ServiceUnavailableError):
        vault.store_deposit(rig.archive, archive_id)
    shutil.rmtree(rig.archive.spool / archive_id / "objects")
    rig.stores[1].fault_hook = None
    assert carry(rig.archive, [archive_id])[0].state == "ARCHIVED"


def down(_call):
    raise ServiceUnavailableError("STORE_UNANSWERED", "down", remedy="")


def test_a_store_that_gives_back_other_bytes_stops_the_deposit(rig):
    archive_id = stamped(rig)
    store, put = rig.stores[0], rig.stores[0].put

    def lying(key, source, until):
        version = put(key, source, until)
        store.damage(key, version.version_id, source.read_bytes()[:-1] + b"\0")
        return version

    store.put = lying
    with pytest.raises(IntegrityFailureError) as caught:
        vault.store_deposit(rig.archive, archive_id)
    assert caught.value.code == "STORE_READBACK"


def test_a_store_that_forgets_the_lock_stops_before_the_attestation(rig):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    vault.commit_deposits(rig.archive, [archive_id])
    rig.stores[0].extend_lock = lambda *_, **__: None
    with pytest.raises(PolicyRefusedError) as caught:
        vault.lock_deposit(rig.archive, archive_id)
    assert caught.value.code == "STORE_DOES_NOT_LOCK"
    assert vault.attest_deposits(rig.archive, [archive_id])[0].state == "COMMITTED"


def test_nothing_is_committed_while_a_copy_is_missing(rig):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM replica_copy WHERE role = 'record' AND replica = 'replica-b'")
    with pytest.raises(IntegrityFailureError) as caught:
        vault.commit_deposits(rig.archive, [archive_id])
    assert caught.value.code == "COPY_MISSING"
    assert "record on replica-b" in caught.value.message


def test_a_part_lost_from_the_catalogue_stops_the_deposit(rig):
    archive_id = stamped(rig)
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE deposit SET seal = NULL")
    with pytest.raises(IntegrityFailureError) as caught:
        vault.store_deposit(rig.archive, archive_id)
    assert caught.value.code == "PART_MISSING"
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE deposit SET manifest = NULL, state = 'LOCKED'")
    with pytest.raises(IntegrityFailureError):
        vault.attest_deposits(rig.archive, [archive_id])


def test_two_workers_never_store_one_deposit_at_once(rig):
    archive_id = stamped(rig)
    with rig.archive.database.exclusive(f"deposit {archive_id}"), pytest.raises(ServiceUnavailableError) as caught:
        vault.store_deposit(rig.archive, archive_id)
    assert (caught.value.code, caught.value.retryable) == ("BUSY", True)


def test_a_rival_that_moved_the_state_first_is_said(rig):
    archive_id = stamped(rig)
    with rig.archive.database.transaction() as connection:
        deposit = catalogue.get(connection, archive_id)
    vault.store_deposit(rig.archive, archive_id)
    with pytest.raises(ServiceUnavailableError) as caught, rig.archive.database.transaction() as connection:
        catalogue.advance(connection, deposit, "STORED", rig.clock())
    assert caught.value.code == "STATE_MOVED"


def test_of_two_workers_that_attest_at_once_one_is_told_to_look_again(rig):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    vault.commit_deposits(rig.archive, [archive_id])
    vault.lock_deposit(rig.archive, archive_id)
    rivals = []

    def attest_first(call):
        if (call.port, call.moment) == ("signer", seam.AFTER) and not rivals:
            rivals.append(archive_id)
            (found,) = vault.attest_deposits(rig.archive, [archive_id])
            assert found.state == "ARCHIVED"

    with seam.installed(attest_first), pytest.raises(ServiceUnavailableError) as moved:
        vault.attest_deposits(rig.archive, [archive_id])
    assert rivals
    assert moved.value.code == "STATE_MOVED"
    with rig.archive.database.transaction() as connection:
        (row,) = connection.execute("SELECT body FROM outbox").fetchall()
        (line,) = [line for line in journal.lines(connection) if line.event == "deposit:archived"]
    assert json.loads(line.entry)["details"]["attestation_sha256"] == hashlib.sha256(row["body"]).hexdigest()


def test_a_rendition_is_stored_and_sealed_with_its_original(rig):
    deposit = rig.deliver()
    rig.archive.spooled(deposit.archive_id, "rendition.pdf").write_bytes(b"%PDF-1.7 rendition")
    (found,) = carry(rig.archive, [deposit.archive_id])
    assert [part["role"] for part in json.loads(found.manifest)["objects"]] == ["original", "rendition"]
    assert len(versions(rig.stores[0])) == 3


@pytest.mark.parametrize("name", ["original", "rendition.pdf"])
@pytest.mark.parametrize("harm", [lambda path: path.write_bytes(b"altered"), lambda path: path.unlink()])
def test_what_changed_after_the_seal_is_never_stored_as_the_document(rig, name, harm):
    deposit = rig.deliver()
    rig.archive.spooled(deposit.archive_id, "rendition.pdf").write_bytes(b"%PDF-1.7 rendition")
    pass_screening(rig.archive, deposit.archive_id)
    seal_deposit(rig.archive, deposit.archive_id, {})
    stamp_batch(rig.archive, [deposit.archive_id])
    harm(rig.archive.spooled(deposit.archive_id, name))
    with pytest.raises(IntegrityFailureError) as caught:
        carry(rig.archive, [deposit.archive_id])
    assert caught.value.code == "SPOOL_ALTERED"
    assert all(not any(name.split(".")[0] in v.key for v in versions(store)) for store in rig.stores)


def test_a_rendition_of_a_rival_run_cannot_slip_under_the_seal(rig):
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    with rig.archive.database.exclusive(f"deposit {deposit.archive_id}"):
        with pytest.raises(ServiceUnavailableError) as caught:
            seal_deposit(rig.archive, deposit.archive_id, {})
    assert caught.value.code == "BUSY"


@pytest.mark.parametrize("lost", ["document", "batch"])
def test_what_was_stored_and_is_gone_is_not_committed_and_can_be_abandoned_and_sent_again(rig, lost):
    ids = [stamped(rig, "R-1"), stamped(rig, "R-2")]
    for archive_id in ids:
        vault.store_deposit(rig.archive, archive_id)
    rig.clock.advance(8 * 86400)
    for store in rig.stores:
        owner = current(rig.archive, ids[0]).token_id if lost == "batch" else ids[0]
        for key in [key for key in store._entries if owner in key]:
            del store._entries[key]
    with pytest.raises(IntegrityFailureError) as caught:
        vault.commit_deposits(rig.archive, ids)
    assert caught.value.code == "COPY_DAMAGED"
    assert f"minutier abandon {ids[0]}" in caught.value.remedy
    assert [current(rig.archive, each).state for each in ids] == ["STORED", "COMMITTED"]
    assert abandon(rig.archive, ids[0], "its copies are gone").state == "ABANDONED"
    assert rig.deposit(reference="R-1").state == "ARCHIVED"


@pytest.mark.parametrize("hours", [0, 3])
@pytest.mark.parametrize("harm", ["altered", "gone"])
def test_a_copy_that_went_bad_before_the_lock_is_not_attested(rig, hours, harm):
    archive_id = stamped(rig)
    vault.store_deposit(rig.archive, archive_id)
    vault.commit_deposits(rig.archive, [archive_id])
    store, key = rig.stores[0], f"demo/{archive_id}/original.age"
    (version,) = store.versions(key)
    if harm == "gone":
        del store._entries[key]
    else:
        store.damage(key, version.version_id, bytes(version.size if hours else version.size + 1))
    rig.clock.advance(hours * 3600)
    with pytest.raises(IntegrityFailureError) as caught:
        vault.lock_deposit(rig.archive, archive_id)
    assert caught.value.code == "COPY_DAMAGED"
    rig.clock.advance(60)
    assert sweep(rig.archive, budget=timedelta(hours=1)).healed == 1
    assert carry(rig.archive, [archive_id])[0].state == "ARCHIVED"


def test_adopting_a_version_never_takes_its_hold_away(rig):
    found = rig.deposit()
    key = f"demo/{found.archive_id}/original.age"
    store = rig.stores[0]
    (version,) = store.versions(key)
    rig.clock.advance(6 * 366 * 86400)
    with rig.archive.database.transaction() as connection:
        item = catalogue.objects(connection, found.archive_id)["original"]
    staged = rig.folder / "staged"
    staged.write_bytes(store.open(key, version.version_id).read())
    assert vault.place(rig.archive, store, item, staged) == version
    assert store.lock_state(key, version.version_id).legal_hold
