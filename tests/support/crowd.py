"""Thousands of documents in a rig, sealed one by one by the archive's own code and stamped in one batch.

A crowd has no bytes: its rows are written together, with digests of documents that no store holds. Whoever would read
one of them does not find it. Stamping and commit entries are those of the archive.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from psycopg.types.json import Jsonb

from minutier import merkle
from minutier.certificates import load_pem
from minutier.events import Event, encode_entry
from minutier.fingerprint import fingerprint_bytes
from minutier.identifiers import new_archive_id
from minutier.manifest import Description, Part, encode_manifest
from minutier.retention import retain_until
from minutier.seal import seal
from storage import catalogue, journal
from storage.catalogue import Deposit
from storage.sealing import seal_deposit, stamp_batch
from tests.support.pki import FileSigner, issue, new_key
from tests.support.rig import RENDITION, SCREENING, Rig, carry, pass_screening

_COLUMNS = (
    "archive_id", "safe", "class", "reference", "dossier", "depositor", "name", "metadata", "state", "received_at",
    "sha256", "sha3_512", "size", "screening", "rendition", "retain_until", "manifest", "seal",
)  # fmt: skip


def deposit_crowd(rig: Rig, count: int, real: int) -> tuple[list[Deposit], list[str]]:
    """Stamp `count` documents in one batch, `real` of them whole, and end all of them ARCHIVED.

    Gives the whole ones, and the ids of all. The whole ones stand among the others at even distances.
    """
    crowd = _seal_rows(rig, count - real)
    whole = [rig.deliver(b"document %d" % number, f"W-{number}").archive_id for number in range(real)]
    for archive_id in whole:
        pass_screening(rig.archive, archive_id)
        seal_deposit(rig.archive, archive_id, {"minutier": "test"})
    everyone, step = list(crowd), max(1, count // max(1, real))
    for number, archive_id in enumerate(whole):
        everyone.insert(number * step, archive_id)
    assert stamp_batch(rig.archive, everyone) is not None
    _commit_rows(rig, crowd)
    return carry(rig.archive, whole), everyone


def _signer(rig: Rig) -> FileSigner:
    """Certify one more sealing key under the root of the home: what the archive keeps of its own is not needed."""
    pki = rig.archive.settings.home / "pki"
    root, root_key = (
        load_pem((pki / "root.pem").read_bytes())[0],
        load_pem_private_key((pki / "root.key").read_bytes(), None),
    )
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    key, now = new_key(), rig.clock()
    options = {"start": now - timedelta(days=1), "end": now + timedelta(days=365), "non_repudiation": True}
    return FileSigner(key, (issue("Seal of a crowd", key, issuer=(root, root_key), **options),))


def _seal_rows(rig: Rig, count: int) -> list[str]:
    """Write rows of sealed deposits: manifest and seal are made as `seal_deposit` makes them."""
    now = rig.clock()
    until, rows, signer = retain_until(now, 5), [], _signer(rig)
    for number in range(count):
        found = fingerprint_bytes(b"crowd %d" % number)
        archive_id, reference, name = new_archive_id(now + timedelta(milliseconds=number)), f"C-{number}", "file.pdf"
        described = Description(
            archive_id, "demo", "default", reference, "", "tests", now, until, {}, SCREENING, RENDITION,
            {"minutier": "test"},
        )  # fmt: skip
        manifest = encode_manifest(described, [Part("original", name, "application/pdf", found)])
        sealed = seal(manifest, signer, now)
        rows.append(
            (
                archive_id, "demo", "default", reference, "", "tests", name, Jsonb({}), "SEALED", now, found.sha256,
                found.sha3_512, found.size, Jsonb(SCREENING), Jsonb(RENDITION), until, manifest, sealed,
            )
        )  # fmt: skip
    places = ", ".join(["%s"] * len(_COLUMNS))
    with rig.archive.database.transaction() as connection, connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO deposit ({', '.join(_COLUMNS)}) VALUES ({places})", rows)
    return [row[0] for row in rows]


def _commit_rows(rig: Rig, archive_ids: list[str]) -> None:
    """Give each row its commit entry in the journal, then end it ARCHIVED: nothing of it is on a store."""
    at, rows = rig.clock(), []
    with rig.archive.database.transaction() as connection, connection.cursor() as cursor:
        for deposit in catalogue.get_all(connection, archive_ids):
            details = {"manifest_sha256": hashlib.sha256(deposit.manifest or b"").hexdigest(), "objects": 3}
            entry = encode_entry(
                Event.DEPOSIT_COMMITTED, event_uuid=str(uuid.uuid4()), at=at, actor=journal.ACTOR,
                archive_id=deposit.archive_id, safe=deposit.safe, details=details,
            )  # fmt: skip
            rows.append((Event.DEPOSIT_COMMITTED.value, deposit.archive_id, at, entry, merkle.leaf_hash(entry)))
        places = "INSERT INTO journal_event (event, archive_id, at, entry, leaf) VALUES (%s, %s, %s, %s, %s)"
        cursor.executemany(places, rows)
        done = connection.execute(
            "UPDATE deposit SET state = 'ARCHIVED' WHERE archive_id = ANY(%s::uuid[]) AND state = 'STAMPED'",
            (archive_ids,),
        )
        assert done.rowcount == len(archive_ids)
        while journal.sequence(connection):
            pass
