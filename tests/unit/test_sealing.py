"""One token for a batch, kept before it is used; what goes under the seal is what was captured."""

import json
from datetime import timedelta

import pytest

from minutier import canonical
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from minutier.evidence import check_record
from minutier.seal import check_seal
from minutier.timestamp import check_token, inspect_token
from storage import catalogue, sealing
from storage.abandoning import abandon
from storage.evidence_store import members, record_of
from storage.reception import current
from storage.sealing import seal_deposit, stamp_batch
from tests.support.rig import carry, pass_screening


def sealed(rig, count):
    ids = []
    for number in range(count):
        deposit = rig.deliver(f"document {number}".encode(), f"R-{number}")
        pass_screening(rig.archive, deposit.archive_id)
        seal_deposit(rig.archive, deposit.archive_id, {"minutier": "test"})
        ids.append(deposit.archive_id)
    return ids


def test_the_manifest_says_what_is_kept_and_is_sealed_as_stored(rig):
    (archive_id,) = sealed(rig, 1)
    deposit = current(rig.archive, archive_id)
    value = json.loads(deposit.manifest)
    assert canonical.encode(value) == deposit.manifest
    assert value["archive_id"] == archive_id
    assert value["objects"][0]["sha256"] == deposit.sha256
    assert value["retention"]["until"] if "retention" in value else value["retain_until"]
    check_seal(deposit.manifest, deposit.seal, rig.archive.roots, rig.clock())


def test_one_token_serves_the_batch_and_each_record_stands_alone(rig):
    ids = sealed(rig, 5)
    token_id = stamp_batch(rig.archive, ids)
    tokens = set()
    for archive_id in ids:
        deposit = current(rig.archive, archive_id)
        assert (deposit.state, deposit.token_id) == ("STAMPED", token_id)
        with rig.archive.database.transaction() as connection:
            record = record_of(connection, deposit)
        check_record(record, members(deposit))
        assert record.first.root == inspect_token(record.first.token).imprint
        tokens.add(record.first.token)
    (token,) = tokens
    with rig.archive.database.transaction() as connection:
        (row,) = connection.execute("SELECT * FROM token").fetchall()
    assert bytes(row["token"]) == token
    check_token(token, bytes(row["root"]), rig.archive.roots)


@pytest.mark.parametrize("others", [0, 1])
def test_what_was_abandoned_while_its_seal_was_looked_at_stays_abandoned(rig, monkeypatch, others):
    ids = sealed(rig, 1 + others)

    def rival(archive, waiting):
        abandon(archive, ids[0], "given up")
        return [current(archive, deposit.archive_id) for deposit in waiting]

    monkeypatch.setattr(sealing, "with_standing_seals", rival)
    assert (stamp_batch(rig.archive, ids) is None) == (not others)
    assert [current(rig.archive, each).state for each in ids] == ["ABANDONED", "STAMPED"][: 1 + others]


@pytest.mark.parametrize("column", ["manifest", "seal"])
def test_a_deposit_altered_in_the_database_hinders_no_other(rig, column):
    ids = sealed(rig, 3)
    with rig.archive.database.transaction() as connection:
        connection.execute(f"UPDATE deposit SET {column} = %s WHERE archive_id = %s", (b"altered", ids[1]))
    with pytest.raises(IntegrityFailureError) as stopped:
        stamp_batch(rig.archive, ids)
    assert stopped.value.code == "SEALED_ALTERED"
    assert [current(rig.archive, each).state for each in ids] == ["STAMPED", "SEALED", "STAMPED"]
    abandon(rig.archive, ids[1], "altered")
    assert [each.state for each in carry(rig.archive, [ids[0], ids[2]])] == ["ARCHIVED", "ARCHIVED"]


def test_nothing_leaves_a_final_state(rig):
    archived = rig.deposit()
    abandoned = abandon(rig.archive, sealed(rig, 1)[0], "given up")
    refused = rig.deliver(b"other", "R-1")
    assert refused.state == "REFUSED"
    for deposit in (archived, abandoned, refused):
        for move in (
            lambda connection, found: catalogue.advance(connection, found, "STAMPED", rig.clock()),
            lambda connection, found: catalogue.advance_all(connection, [(found, {})], "STAMPED", rig.clock()),
        ):
            with (
                pytest.raises(ServiceUnavailableError, match="moved"),
                rig.archive.database.transaction() as connection,
            ):
                move(connection, deposit)
        assert current(rig.archive, deposit.archive_id).state == deposit.state


def test_nothing_waiting_asks_no_token(rig):
    (archive_id,) = sealed(rig, 1)
    assert stamp_batch(rig.archive, [archive_id])
    assert stamp_batch(rig.archive, [archive_id]) is None


def test_with_no_authority_the_deposit_waits_sealed_and_goes_on_later(rig):
    (archive_id,) = sealed(rig, 1)
    rig.archive.tsa.down.append(True)
    with pytest.raises(ServiceUnavailableError) as caught:
        stamp_batch(rig.archive, [archive_id])
    assert caught.value.code == "TSA_DOWN"
    assert current(rig.archive, archive_id).state == "SEALED"
    rig.archive.tsa.down.clear()
    assert carry(rig.archive, [archive_id])[0].state == "ARCHIVED"


def test_a_token_older_than_the_last_one_is_refused(rig):
    first, second = sealed(rig, 2)
    stamp_batch(rig.archive, [first])
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE token SET gen_time = gen_time + interval '2 hours'")
    with pytest.raises(IntegrityFailureError) as caught:
        stamp_batch(rig.archive, [second])
    assert caught.value.code == "TOKEN_TIME"
    assert current(rig.archive, second).state == "SEALED"


def test_a_serial_number_given_twice_is_refused(rig):
    first, second = sealed(rig, 2)
    stamp_batch(rig.archive, [first])
    with rig.archive.database.transaction() as connection:
        row = connection.execute("UPDATE token SET serial = (serial::int + 1)::text RETURNING serial").fetchone()
    assert row is not None
    with pytest.raises(IntegrityFailureError) as caught:
        stamp_batch(rig.archive, [second])
    assert caught.value.code == "TOKEN_SERIAL"
    assert current(rig.archive, second).state == "SEALED"


def test_a_token_from_a_clock_far_from_ours_is_refused(rig):
    (archive_id,) = sealed(rig, 1)
    answer = rig.archive.tsa.answer

    def late(request):
        rig.clock.advance(600)
        response = answer(request)
        rig.clock.advance(-600)
        return response

    object.__setattr__(rig.archive.tsa, "answer", late)
    with pytest.raises(IntegrityFailureError) as caught:
        stamp_batch(rig.archive, [archive_id])
    assert caught.value.code == "TOKEN_TIME"


def test_an_original_altered_in_the_spool_is_never_sealed(rig):
    deposit = rig.deliver()
    pass_screening(rig.archive, deposit.archive_id)
    rig.archive.spooled(deposit.archive_id, "original").write_bytes(b"altered")
    with pytest.raises(IntegrityFailureError) as caught:
        seal_deposit(rig.archive, deposit.archive_id, {})
    assert caught.value.code == "SPOOL_ALTERED"


def test_the_term_counts_from_the_deposit(rig):
    (archive_id,) = sealed(rig, 1)
    deposit = current(rig.archive, archive_id)
    assert timedelta(days=5 * 365) <= deposit.retain_until - deposit.received_at <= timedelta(days=5 * 366 + 1)
