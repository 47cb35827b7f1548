"""What was archived comes back bit for bit from any good copy, and never from a bad one."""

import shutil

import pytest

from minutier.errors import BadInputError, IntegrityFailureError, ServiceUnavailableError
from storage import catalogue, journal, reading

DATA = b"%PDF-1.7 bytes that must come back\n" * 50


def damage(rig, deposit, role="original", replicas=(0,)):
    key = f"demo/{deposit.archive_id}/{role}.age"
    for index in replicas:
        store = rig.stores[index]
        (version,) = store.versions(key)
        data = bytearray(store.open(key, version.version_id).read())
        data[len(data) // 2] ^= 1
        store.damage(key, version.version_id, bytes(data))


def down(_call):
    raise ServiceUnavailableError("STORE_UNANSWERED", "It is down.", remedy="")


def test_a_document_is_found_by_either_name_and_comes_back_whole(rig):
    deposit = rig.deposit(DATA)
    for name in (deposit.archive_id, deposit.fingerprint):
        target = rig.folder / "out"
        reading.read(rig.archive, reading.find(rig.archive, name), target)
        assert target.read_bytes() == DATA
    with rig.archive.database.transaction() as connection:
        events = [line.event for line in journal.lines(connection, deposit.archive_id)]
    assert events.count("document:read") == 2


@pytest.mark.parametrize("name", ["nothing", "0193a2f0-7c11-7abc-8def-0123456789ab", "sha256:00"])
def test_what_is_not_there_has_one_answer(rig, name):
    with pytest.raises(BadInputError) as caught:
        reading.find(rig.archive, name)
    assert caught.value.code == "UNKNOWN_ID"


def test_an_unknown_fingerprint_has_the_same_answer(rig):
    with pytest.raises(BadInputError) as caught:
        reading.find(rig.archive, f"sha256:{'0' * 64}+sha3-512:{'0' * 128}")
    assert caught.value.code == "UNKNOWN_ID"


def test_a_fingerprint_of_two_deposits_asks_which(rig):
    first, second = rig.deposit(DATA, "R-1"), rig.deposit(DATA, "R-2")
    with pytest.raises(BadInputError) as caught:
        reading.find(rig.archive, first.fingerprint)
    assert caught.value.code == "AMBIGUOUS_ID"
    assert second.archive_id in caught.value.remedy


@pytest.mark.parametrize("bad", [0, 1])
def test_one_bad_copy_is_passed_over(rig, bad):
    deposit = rig.deposit(DATA)
    damage(rig, deposit, replicas=(bad,))
    reading.read(rig.archive, deposit, rig.folder / "out")
    assert (rig.folder / "out").read_bytes() == DATA


@pytest.mark.parametrize("away", [0, 1])
def test_one_store_down_is_passed_over(rig, away):
    deposit = rig.deposit(DATA)
    rig.stores[away].fault_hook = down
    reading.read(rig.archive, deposit, rig.folder / "out")
    assert (rig.folder / "out").read_bytes() == DATA


def test_with_no_good_copy_nothing_is_given(rig):
    deposit = rig.deposit(DATA)
    damage(rig, deposit, replicas=(0, 1))
    target = rig.folder / "out"
    target.write_bytes(b"what was there before")
    with pytest.raises(IntegrityFailureError) as caught:
        reading.read(rig.archive, deposit, target)
    assert caught.value.code == "NO_GOOD_COPY"
    assert target.read_bytes() == b"what was there before"
    assert [path.name for path in rig.folder.iterdir() if path.name.startswith(".")] == []


def test_with_a_store_down_and_the_other_bad_it_is_worth_trying_again(rig):
    deposit = rig.deposit(DATA)
    damage(rig, deposit, replicas=(0,))
    rig.stores[1].fault_hook = down
    with pytest.raises(ServiceUnavailableError) as caught:
        reading.read(rig.archive, deposit, rig.folder / "out")
    assert caught.value.code == "STORE_DOWN"


def test_swapped_ciphertexts_of_the_same_key_are_seen(rig):
    deposit = rig.deposit(DATA)
    for store in rig.stores:
        other = f"demo/{deposit.archive_id}/record.age"
        bytes_of_seal = store.open(other, store.versions(other)[0].version_id).read()
        key = f"demo/{deposit.archive_id}/original.age"
        store.damage(key, store.versions(key)[0].version_id, bytes_of_seal)
    with pytest.raises(IntegrityFailureError) as caught:
        reading.read(rig.archive, deposit, rig.folder / "out")
    assert "sealed manifest" in caught.value.message


def test_a_part_that_does_not_exist_is_said(rig):
    with pytest.raises(BadInputError) as caught:
        reading.read(rig.archive, rig.deposit(DATA), rig.folder / "out", role="rendition")
    assert caught.value.code == "NO_SUCH_PART"


def test_a_document_under_way_is_not_given(rig):
    deposit = rig.deliver(DATA)
    for act in (
        lambda: reading.read(rig.archive, deposit, rig.folder / "out"),
        lambda: reading.check_copies(rig.archive, deposit),
    ):
        with pytest.raises(BadInputError) as caught:
            act()
        assert caught.value.code == "NOT_ARCHIVED"


def test_a_key_lost_with_the_database_is_read_from_the_key_directory(rig):
    deposit = rig.deposit(DATA)
    with rig.archive.database.transaction() as connection:
        connection.execute("DELETE FROM document_key")
    reading.read(rig.archive, deposit, rig.folder / "out")
    assert (rig.folder / "out").read_bytes() == DATA
    shutil.rmtree(rig.archive.settings.home / "keys" / "documents")
    with pytest.raises(IntegrityFailureError) as caught:
        reading.read(rig.archive, deposit, rig.folder / "out2")
    assert "key of this document is gone" in caught.value.message


def test_the_key_of_another_safe_opens_nothing(rig):
    rig.deposit(DATA)
    rig.archive.keys.create_safe_key("other")
    (rig.archive.settings.home / "keys" / "escrow.age-key").unlink()
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT wrapped FROM document_key").fetchone()
    with pytest.raises(IntegrityFailureError) as caught:
        rig.archive.keys.unwrap("other", bytes(row["wrapped"]))
    assert caught.value.code == "KEY_DOES_NOT_OPEN"


def test_check_reads_every_copy_and_names_the_bad_one(rig):
    deposit = rig.deposit(DATA)
    assert {found.outcome for found in reading.check_copies(rig.archive, deposit)} == {"good"}
    damage(rig, deposit, "record", (1,))
    bad = [found for found in reading.check_copies(rig.archive, deposit) if found.outcome != "good"]
    assert [(found.role, found.replica, found.outcome) for found in bad] == [("record", "replica-b", "altered")]


def test_a_single_bad_reading_is_not_believed(rig):
    deposit = rig.deposit(DATA)
    store, real, calls = rig.stores[0], rig.stores[0].open, []

    def flaky(key, version_id):
        calls.append(key)
        if len(calls) == 1:
            raise IntegrityFailureError("STORE_CHECKSUM", "A bad cable.", remedy="")
        return real(key, version_id)

    store.open = flaky
    assert {found.outcome for found in reading.check_copies(rig.archive, deposit)} == {"good"}


def test_a_replica_out_of_the_settings_is_out_of_reach_not_missing(rig):
    deposit = rig.deposit(DATA)
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE replica_copy SET replica = 'replica-z' WHERE replica = 'replica-b'")
    assert {found.outcome for found in reading.check_copies(rig.archive, deposit)} == {"good", "unreachable"}


def test_a_store_that_sees_a_damage_itself_is_heard(rig):
    deposit = rig.deposit(DATA)

    def broken(key, version_id):
        raise IntegrityFailureError("STORE_CHECKSUM", "The store says it is damaged.", remedy="")

    rig.stores[0].open = broken
    found = [item for item in reading.check_copies(rig.archive, deposit) if item.replica == "replica-a"]
    assert {(item.outcome, item.detail) for item in found} == {("altered", "The store says it is damaged.")}


def test_technical_metadata_has_what_the_norm_lists(rig):
    deposit = rig.deposit(DATA, metadata={"title": "Façade"})
    value = reading.technical_metadata(rig.archive, deposit)
    assert value["archive_id"] == deposit.archive_id
    assert (value["depositor"], value["size"]) == ("tests", len(DATA))
    assert value["digest_algorithms"] == ["sha256", "sha3-512"]
    assert value["digests"] == {"sha256": deposit.sha256, "sha3-512": deposit.sha3_512}
    assert value["timestamp"] is not None
    assert value["metadata"] == {"title": "Façade"}
    assert len(value["copies"]) == 4
    assert value["refusal"] is None


def test_metadata_of_a_refused_document_says_why(rig):
    value = reading.technical_metadata(rig.archive, rig.deliver(DATA, expected_size=1))
    assert value["refusal"]["code"] == "DIGEST_MISMATCH"
    assert (value["timestamp"], value["retained_until"], value["copies"]) == (None, None, [])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE deposit SET manifest = NULL", "PART_MISSING"),
        ("DELETE FROM evidence_chain", "PART_MISSING"),
        ("UPDATE deposit SET manifest = '{}'", "SEAL_DIGEST"),
        ("UPDATE deposit SET manifest = overlay(manifest placing 'x' from 40)", "SEAL_DIGEST"),
    ],
)
def test_a_manifest_that_is_not_the_sealed_one_stops_the_reading(rig, change, code):
    deposit = rig.deposit(DATA)
    with rig.archive.database.transaction() as connection:
        connection.execute(change)
        altered = catalogue.get(connection, deposit.archive_id)
    with pytest.raises(IntegrityFailureError) as caught:
        reading.read(rig.archive, altered, rig.folder / "out")
    assert caught.value.code == code
    assert not (rig.folder / "out").exists()


def test_a_full_disk_while_reading_is_said_as_such(rig, monkeypatch):
    deposit = rig.deposit(DATA)

    def full(*_args, **_more):
        raise ServiceUnavailableError("DISK_FULL", "No space is left.", remedy="")

    monkeypatch.setattr(reading, "durable_writer", full)
    with pytest.raises(ServiceUnavailableError) as caught:
        reading.read(rig.archive, deposit, rig.folder / "out")
    assert caught.value.code == "DISK_FULL"
