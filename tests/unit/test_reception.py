"""A delivery becomes one deposit, however often it is sent, and never loses bytes on the way."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.errors import UniqueViolation

from minutier.errors import BadInputError, IntegrityFailureError, RefusedDocumentError, ServiceUnavailableError
from storage import catalogue, reception
from storage.abandoning import abandon
from storage.reception import Delivery, current, parse_expected, receive, refuse, refuse_deposit
from storage.sealing import seal_deposit, stamp_batch
from tests.support.rig import carry, pass_screening

DATA = b"%PDF-1.7 a document\n"


def spooled(rig):
    return sorted(path.name for path in rig.archive.spool.iterdir())


def test_a_delivery_is_spooled_whole_with_both_digests(rig):
    found = rig.deliver(DATA)
    assert (found.state, found.size) == ("RECEIVED", len(DATA))
    assert found.sha256 == hashlib.sha256(DATA).hexdigest()
    assert found.sha3_512 == hashlib.sha3_512(DATA).hexdigest()
    original = rig.archive.spooled(found.archive_id, "original")
    assert original.read_bytes() == DATA
    assert original.stat().st_mode & 0o077 == 0


def test_the_same_delivery_twice_is_one_deposit_and_leaves_one_spool(rig):
    first, second = rig.deliver(DATA), rig.deliver(DATA)
    assert first == second
    assert spooled(rig) == [first.archive_id]


def test_eight_at_once_are_one_deposit(rig):
    path = rig.folder / "file.pdf"
    path.write_bytes(DATA)
    delivery = Delivery(path, "demo", "default", "R-1", "tests")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: receive(rig.archive, delivery).archive_id, range(8)))
    assert len(found) == 1
    assert spooled(rig) == sorted(found)


def test_a_rival_that_inserts_between_look_and_insert_wins(rig, monkeypatch):
    rival = rig.deliver(DATA)
    real, looks = catalogue.find_by_reference, []

    def blind_at_first(connection, safe, reference):
        looks.append(reference)
        return [] if len(looks) == 1 else real(connection, safe, reference)

    monkeypatch.setattr(catalogue, "find_by_reference", blind_at_first)
    assert rig.deliver(DATA) == rival
    assert len(looks) == 2


@pytest.mark.parametrize("data", [DATA, b"%PDF-1.7 corrected"])
def test_a_rival_that_has_ended_when_it_is_looked_at_makes_room(rig, monkeypatch, data):
    rival = rig.deliver(DATA)
    real, looks = catalogue.find_by_reference, []

    def ended_meanwhile(connection, safe, reference):
        looks.append(reference)
        if len(looks) == 2:
            abandon(rig.archive, rival.archive_id, "given up")
        return [] if len(looks) == 1 else real(connection, safe, reference)

    monkeypatch.setattr(catalogue, "find_by_reference", ended_meanwhile)
    found = rig.deliver(data)
    assert (found.state, found.archive_id != rival.archive_id) == ("RECEIVED", True)
    assert current(rig.archive, rival.archive_id).state == "ABANDONED"
    assert rig.archive.spooled(found.archive_id, "original").read_bytes() == data


@pytest.mark.parametrize("looks", [1, 2])
def test_a_deposit_abandoned_while_its_spool_is_mended_is_not_brought_back(rig, monkeypatch, looks):
    first, seen, real = rig.deliver(DATA), [], reception._spool_whole
    rig.archive.spooled(first.archive_id, "original").unlink()

    def rival(archive, deposit, fingerprint):
        seen.append(deposit)
        if len(seen) == 1:
            abandon(archive, first.archive_id, "given up")
        return real(archive, deposit, fingerprint) if looks == 1 else True

    monkeypatch.setattr(reception, "_spool_whole", rival)
    again = rig.deliver(DATA)
    assert (again.state, again.archive_id != first.archive_id) == ("RECEIVED", True)
    assert current(rig.archive, first.archive_id).state == "ABANDONED"
    assert rig.archive.spooled(again.archive_id, "original").read_bytes() == DATA


def test_other_content_under_a_live_reference_is_refused_and_kept(rig):
    first = rig.deliver(DATA)
    second = rig.deliver(b"other bytes")
    assert (second.state, second.refusal_code) == ("REFUSED", "REFERENCE_CONFLICT")
    assert second.refusal_fr.startswith("Un autre document")
    assert (rig.archive.quarantine / second.archive_id / "original").read_bytes() == b"other bytes"
    assert current(rig.archive, first.archive_id).state == "RECEIVED"
    assert rig.deliver(b"other bytes") == second


def test_a_refused_reference_can_be_sent_again_corrected(rig):
    wrong = rig.deliver(DATA, expected={"sha256": "0" * 64})
    assert wrong.refusal_code == "DIGEST_MISMATCH"
    assert "sha256" in wrong.refusal_en
    right = rig.deliver(DATA, expected={"sha256": hashlib.sha256(DATA).hexdigest()})
    assert right.state == "RECEIVED"
    assert right.archive_id != wrong.archive_id


@pytest.mark.parametrize(
    "claim",
    [
        {"expected": {"sha512": "0" * 128}},
        {"expected": {"sha3-512": "0" * 128}},
        {"expected_size": 3},
    ],
)
def test_each_claim_about_the_bytes_is_checked(rig, claim):
    assert rig.deliver(DATA, **claim).refusal_code == "DIGEST_MISMATCH"


def test_true_claims_pass(rig):
    expected = {name: hashlib.new(name.replace("-", "_"), DATA).hexdigest() for name in ("sha256", "sha512")}
    expected["sha3-512"] = hashlib.sha3_512(DATA).hexdigest()
    assert rig.deliver(DATA, expected=expected, expected_size=len(DATA)).state == "RECEIVED"


def test_a_refusal_of_the_content_answers_the_same_bytes_again(rig):
    first = rig.deliver(DATA)
    refused = refuse_deposit(rig.archive, first, RefusedDocumentError("DAMAGED", "It is cut.", "Il est tronqué."))
    assert refused.refusal_fr == "Il est tronqué."
    assert (rig.archive.quarantine / first.archive_id / "original").read_bytes() == DATA
    assert rig.deliver(DATA) == refused
    assert spooled(rig) == []
    assert rig.deliver(b"corrected").state == "RECEIVED"


def test_a_file_over_the_limit_is_refused_unread(rig, monkeypatch):
    monkeypatch.setattr(reception, "_spool", lambda *_: pytest.fail("it was read"))
    path = rig.folder / "large"
    with path.open("wb") as stream:
        stream.truncate(3 * 2**30)
    found = receive(rig.archive, Delivery(path, "demo", "default", "R-L", "tests"))
    assert (found.refusal_code, found.sha256) == ("TOO_LARGE", None)
    assert str(3 * 2**30) in found.refusal_en
    assert receive(rig.archive, Delivery(path, "demo", "default", "R-L", "tests")) == found


def test_a_lost_spool_is_mended_by_the_same_bytes(rig):
    first = rig.deliver(DATA)
    original = rig.archive.spooled(first.archive_id, "original")
    original.unlink()
    assert rig.deliver(DATA) == first
    assert original.read_bytes() == DATA
    original.write_bytes(b"bitrot")
    assert rig.deliver(DATA) == first
    assert original.read_bytes() == DATA
    assert spooled(rig) == [first.archive_id]


@pytest.mark.parametrize("reached", ["RENDERED", "SEALED", "STAMPED"])
@pytest.mark.parametrize("lost", ["original", "rendition.pdf"])
def test_a_deposit_whose_files_were_lost_starts_again_from_the_same_bytes(rig, reached, lost):
    deposit = rig.deliver(DATA)
    rig.archive.spooled(deposit.archive_id, "rendition.pdf").write_bytes(b"%PDF-1.7 rendition")
    pass_screening(rig.archive, deposit.archive_id, rung="pdfa-structural")
    if reached != "RENDERED":
        seal_deposit(rig.archive, deposit.archive_id, {})
    if reached == "STAMPED":
        stamp_batch(rig.archive, [deposit.archive_id])
    rig.archive.spooled(deposit.archive_id, lost).unlink()
    with pytest.raises(IntegrityFailureError) as caught:
        carry(rig.archive, [deposit.archive_id])
    assert caught.value.code == "SPOOL_ALTERED"
    again = rig.deliver(DATA)
    assert (again.archive_id, again.state, again.manifest) == (deposit.archive_id, "RECEIVED", None)
    assert carry(rig.archive, [deposit.archive_id])[0].state == "ARCHIVED"


def test_a_refusal_about_the_name_does_not_bind_another_name(rig):
    first = rig.deliver(DATA, name="photo.jpg")
    refuse_deposit(rig.archive, first, RefusedDocumentError("FORMAT_MISMATCH", "Not a JPEG.", "Pas un JPEG."))
    assert rig.deliver(DATA, name="photo.jpg").refusal_code == "FORMAT_MISMATCH"
    assert rig.deliver(DATA, name="photo.png").state == "RECEIVED"


def test_the_first_description_of_a_document_stays(rig):
    first = rig.deliver(DATA, metadata={"title": "one"})
    assert rig.deliver(DATA, metadata={"title": "two"}) == first
    assert current(rig.archive, first.archive_id).metadata == {"title": "one"}


def test_bytes_that_read_back_otherwise_stop_the_deposit(rig, monkeypatch):
    real = reception.fingerprint_file
    monkeypatch.setattr(
        reception, "fingerprint_file", lambda path: real(rig.archive.settings.home / "pki" / "root.pem")
    )
    with pytest.raises(IntegrityFailureError) as caught:
        rig.deliver(DATA)
    assert caught.value.code == "SPOOL_ALTERED"
    assert spooled(rig) == []


def test_a_spool_whose_claim_cannot_be_looked_up_is_left_alone(rig, monkeypatch):
    def down(*_):
        raise ServiceUnavailableError("DATABASE_DOWN", "down", remedy="")

    monkeypatch.setattr(reception, "_record", down)
    monkeypatch.setattr(catalogue, "state_of", down)
    with pytest.raises(ServiceUnavailableError):
        rig.deliver(DATA)
    assert len(spooled(rig)) == 1


def test_a_second_unique_violation_is_not_swallowed(rig, monkeypatch):
    def clash(*_):
        raise UniqueViolation

    monkeypatch.setattr(catalogue, "insert_deposit", clash)
    with pytest.raises(IndexError):
        rig.deliver(DATA)


@pytest.mark.parametrize(
    ("change", "code"), [({"safe": "none"}, "UNKNOWN_SAFE"), ({"lifecycle_class": "none"}, "UNKNOWN_CLASS")]
)
def test_unknown_names_are_refused_before_anything_is_copied(rig, change, code):
    with pytest.raises(BadInputError) as caught:
        rig.deliver(DATA, **change)
    assert caught.value.code == code
    assert "demo" in caught.value.remedy or "default" in caught.value.remedy
    assert not rig.archive.spool.exists()


def test_what_is_not_a_readable_file_is_said(rig, monkeypatch):
    def deliver(path):
        return receive(rig.archive, Delivery(path, "demo", "default", "R", "tests"))

    for path, code in ((rig.folder, "NOT_A_FILE"), (rig.folder / "absent", "FILE_MISSING")):
        with pytest.raises(BadInputError) as caught:
            deliver(path)
        assert caught.value.code == code
    path = rig.folder / "closed"
    path.write_bytes(DATA)
    # Root reads everything: the refusal of the system is played.
    monkeypatch.setattr(type(path), "is_file", lambda _: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(BadInputError) as caught:
        deliver(path)
    assert caught.value.code == "NOT_READABLE"


def test_a_refusal_without_bytes_is_recorded_once(rig):
    delivery = Delivery(rig.folder / "absent.pdf", "demo", "default", "R-9", "tests")
    refusal = RefusedDocumentError("FILE_MISSING", "It did not come.", "Il n’est pas venu.")
    first, second = refuse(rig.archive, delivery, refusal), refuse(rig.archive, delivery, refusal)
    assert first == second
    assert (first.fingerprint, first.refusal_en) == ("", "It did not come.")
    assert not first.reached("RECEIVED")


def test_each_change_of_state_is_in_the_journal(rig):
    found = rig.deliver(DATA, expected_size=1)
    with rig.archive.database.transaction() as connection:
        rows = connection.execute("SELECT event, entry FROM journal_event WHERE archive_id = %s", (found.archive_id,))
        lines = [(row["event"], json.loads(bytes(row["entry"]))) for row in rows]
    ((event, entry),) = lines
    assert event == "deposit:refused"
    assert entry["details"] == {"code": "DIGEST_MISMATCH"}


def test_announced_digests_are_read_strictly():
    assert parse_expected(f"sha256:{'AB' * 32}") == ("sha256", "ab" * 32)
    for text in ("md5:" + "0" * 32, "sha256:" + "0" * 63, "sha256:" + "g" * 64, "", "sha256"):
        with pytest.raises(BadInputError) as caught:
            parse_expected(text)
        assert caught.value.code == "BAD_DIGEST"


def test_a_reference_is_looked_up_by_an_index_however_many_there_are(rig):
    """A partial index serves no question about ended deposits: the plan would read the whole table at each delivery."""
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        query = "EXPLAIN SELECT * FROM deposit WHERE safe = 'demo' AND reference = 'R-1'"
        plan = " ".join(row["QUERY PLAN"] for row in connection.execute(query))
    assert "deposit_by_reference" in plan


def test_files_set_aside_before_they_are_claimed_are_not_acknowledged(rig, monkeypatch):
    real = reception._record

    def late(archive, delivery, archive_id, fingerprint):
        reception.quarantine(archive, archive.spool / archive_id, f"unclaimed-{archive_id}")
        return real(archive, delivery, archive_id, fingerprint)

    monkeypatch.setattr(reception, "_record", late)
    with pytest.raises(ServiceUnavailableError) as caught:
        rig.deliver()
    assert caught.value.code == "SPOOL_TAKEN"
    assert caught.value.retryable
    monkeypatch.undo()
    assert rig.deposit().state == "ARCHIVED"
