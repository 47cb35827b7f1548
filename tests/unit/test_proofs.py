"""The proof that the archive exports is whole, and passes the verifier that knows nothing of the archive."""

import dataclasses

import pytest

from minutier.checkpoint import NoteKey
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.report import Verdict
from minutier.trust import Trust
from minutier.verify import verify
from storage import catalogue, proofs
from storage.reception import current
from storage.safes import safes
from tests.support.rig import carry


def trust(rig):
    key = NoteKey(proofs.ORIGIN, rig.archive.journal_key.public_key().public_bytes_raw())
    return Trust(rig.archive.roots, (key,))


def test_each_proof_of_a_batch_passes_offline(rig):
    ids = [rig.deliver(f"document {number}".encode(), f"R-{number}").archive_id for number in range(3)]
    rig.archive.spooled(ids[1], "rendition.pdf").write_bytes(b"%PDF-1.7 rendition")
    for deposit in carry(rig.archive, ids):
        target = rig.folder / f"{deposit.archive_id}.zip"
        proofs.export_proof(rig.archive, deposit, target)
        report = verify(target, trust(rig), rig.clock())
        assert (report.verdict, report.findings) == (Verdict.PASSED, ())
        assert verify(target, Trust((), ()), rig.clock()).verdict is Verdict.INDETERMINATE


def test_a_proof_of_one_archive_does_not_pass_for_another_root(rig, certified_home, tmp_path_factory):
    from datetime import UTC, datetime

    from minutier.trust import load_trust
    from storage.dev_ca import create_development_ca

    other = tmp_path_factory.mktemp("other")
    create_development_ca(other, datetime.now(UTC))
    target = rig.folder / "P.zip"
    proofs.export_proof(rig.archive, rig.deposit(), target)
    assert verify(target, load_trust(other / "trust"), rig.clock()).verdict is not Verdict.PASSED


def test_a_checkpoint_is_signed_once_per_size(rig):
    rig.deposit()
    with rig.archive.database.transaction() as connection:
        first = proofs.make_checkpoint(rig.archive, connection)
        assert proofs.make_checkpoint(rig.archive, connection) == first
        assert len(connection.execute("SELECT * FROM journal_checkpoint").fetchall()) == 1
    rig.deposit(b"another", "R-2")
    with rig.archive.database.transaction() as connection:
        assert proofs.make_checkpoint(rig.archive, connection).size > first.size


def test_only_what_is_archived_has_a_proof(rig):
    with pytest.raises(BadInputError) as caught:
        proofs.export_proof(rig.archive, rig.deliver(), rig.folder / "P.zip")
    assert caught.value.code == "NOT_ARCHIVED"


def test_a_part_lost_from_the_catalogue_is_said(rig):
    deposit = dataclasses.replace(rig.deposit(), seal=None)
    with pytest.raises(IntegrityFailureError) as caught:
        proofs.export_proof(rig.archive, deposit, rig.folder / "P.zip")
    assert caught.value.code == "PART_MISSING"


def test_a_proof_that_cannot_be_made_leaves_the_earlier_file_alone(rig):
    deposit = rig.deposit()
    target = rig.folder / "P.zip"
    target.write_bytes(b"an earlier file")
    for store in rig.stores:
        store._entries.clear()
    with pytest.raises(IntegrityFailureError):
        proofs.export_proof(rig.archive, deposit, target)
    assert target.read_bytes() == b"an earlier file"
    assert [path.name for path in rig.folder.iterdir() if path.name.startswith(".proof-")] == []


def test_an_export_is_in_the_journal(rig):
    deposit = rig.deposit()
    proofs.export_proof(rig.archive, deposit, rig.folder / "P.zip")
    with rig.archive.database.transaction() as connection:
        row = connection.execute(
            "SELECT count(*) AS n FROM journal_event WHERE event = 'proof:exported' AND archive_id = %s",
            (deposit.archive_id,),
        ).fetchone()
        assert [item.archive_id for item in catalogue.list_deposits(connection, "demo")] == [deposit.archive_id]
        assert catalogue.list_deposits(connection, unfinished=True) == []
        assert catalogue.count_by_state(connection) == {"ARCHIVED": 1}
        assert [item["documents"] for item in safes(connection)] == [1]
    assert row["n"] == 1
    assert current(rig.archive, deposit.archive_id) == deposit
