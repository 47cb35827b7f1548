"""Sealing and stamping: a manifest under the archive's seal, one time-stamp token for a batch (steps 5 to 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from minutier.errors import IntegrityFailureError, PolicyRefusedError
from minutier.events import Event
from minutier.evidence import build_batch
from minutier.fingerprint import fingerprint_file
from minutier.manifest import Description, Part, encode_manifest
from storage import catalogue, journal, revocation
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.classes import get_class
from storage.evidence_store import keep_token, leaves_of, members, start_chains
from storage.keys import spool_altered
from storage.reception import RUNGS_WITH_FILE, do_step
from storage.resealing import (
    journal_seals,
    require_readable,
    require_standing_seals,
    seal_manifest,
    with_standing_seals,
)  # fmt: skip

_TREE_HASH = "sha256"


def seal_deposit(archive: Archive, archive_id: str, software: Mapping[str, str]) -> Deposit:
    """Describe a RENDERED deposit in a manifest and seal it; a deposit already past this is given back as it is."""
    return do_step(archive, archive_id, "RENDERED", lambda deposit: _seal(archive, deposit, software))


def _seal(archive: Archive, deposit: Deposit, software: Mapping[str, str]) -> Deposit:
    now = archive.clock()
    with archive.database.transaction() as connection:
        lifecycle = get_class(connection, deposit.lifecycle_class)
    until = lifecycle.retain_until(deposit.received_at)
    description = Description(
        archive_id=deposit.archive_id,
        safe=deposit.safe,
        lifecycle_class=deposit.lifecycle_class,
        reference=deposit.reference,
        dossier=deposit.dossier,
        depositor=deposit.depositor,
        deposited_at=deposit.received_at,
        retain_until=until,
        metadata=deposit.metadata,
        screening=deposit.screening or {},
        rendition=deposit.rendition or {},
        software=dict(software),
    )
    manifest = encode_manifest(description, parts(archive, deposit))
    sealed, second = seal_manifest(archive, manifest, now, deposit.archive_id)
    with archive.database.transaction() as connection:
        return catalogue.advance(
            connection,
            deposit,
            "SEALED",
            now,
            details=journal_seals(connection, manifest, sealed, second),
            manifest=manifest,
            seal=sealed.signature,
            second_seal=second.signature if second else None,
            retain_until=until,
        )


def parts(archive: Archive, deposit: Deposit) -> list[Part]:
    """Give the files of a document that is still in the spool: the original, and its rendition if there is one."""
    original = archive.spooled(deposit.archive_id, "original")
    rendition = archive.spooled(deposit.archive_id, "rendition.pdf")
    if not original.is_file():
        raise spool_altered("original")
    captured = fingerprint_file(original)
    if (captured.sha256, captured.sha3_512) != (deposit.sha256, deposit.sha3_512):
        raise spool_altered("original")
    if (deposit.rendition or {}).get("rung") in RUNGS_WITH_FILE and not rendition.is_file():
        raise spool_altered("rendition")
    media_type = str((deposit.screening or {}).get("media_type", "application/octet-stream"))
    found = [Part("original", deposit.name, media_type, captured)]
    if rendition.is_file():
        found.append(Part("rendition", "rendition.pdf", "application/pdf", fingerprint_file(rendition)))
    return found


def stamp_batch(archive: Archive, archive_ids: Sequence[str]) -> str | None:
    """Get one token over the evidence of all SEALED deposits given; gives the token's id, None when none waited.

    The token is verified before it is kept, and kept in the same transaction as the paths that rest on it. A deposit
    whose manifest or seal was altered hinders no other: IntegrityFailureError tells of it once the others are stamped.
    """
    with archive.database.transaction() as connection:
        waiting = catalogue.get_all(connection, archive_ids)
    waiting, trouble = _whole([deposit for deposit in waiting if deposit.state == "SEALED"])
    token_id = _stamp(archive, waiting)
    if trouble is not None:
        raise trouble
    return token_id


def _whole(waiting: Sequence[Deposit]) -> tuple[list[Deposit], IntegrityFailureError | None]:
    """Give the deposits whose manifest and seals can be read, and the first error of the others."""
    whole, trouble = list[Deposit](), list[IntegrityFailureError]()
    for deposit in waiting:
        try:
            members(deposit)
            require_readable(deposit)
        except (IntegrityFailureError, ValueError) as error:
            trouble.append(
                IntegrityFailureError(
                    "SEALED_ALTERED",
                    f"The manifest or the seal of {deposit.archive_id} in the database cannot be read ({error}).",
                    remedy=f"`minutier abandon {deposit.archive_id} --reason …`, then send the document again.",
                )
            )
        else:
            whole.append(deposit)
    return whole, trouble[0] if trouble else None


def _stamp(archive: Archive, waiting: Sequence[Deposit]) -> str | None:
    waiting = with_standing_seals(archive, waiting)
    # Again: another worker may have abandoned one, or carried it on, before it was this one's turn to seal it.
    waiting = [deposit for deposit in waiting if deposit.state == "SEALED"]
    if not waiting:
        return None
    if archive.dates.ended([_TREE_HASH], archive.clock()):
        raise PolicyRefusedError(
            "HASH_ENDED",
            f"{_TREE_HASH} no longer counts (algorithms.json): a proof made with it would be worth nothing.",
            remedy="Nothing is lost: deposits wait, sealed. Take a release that seals with another hash.",
            clause="ETSI TS 119 312",
        )
    root, paths = build_batch([members(deposit)[_TREE_HASH] for deposit in waiting])
    with archive.database.transaction() as connection:
        sealed_at = journal.latest(connection, Event.DEPOSIT_SEALED, [deposit.archive_id for deposit in waiting])
    stamped = archive.tsa.stamp(root, archive.clock, previous_tokens(archive), sealed_at=sealed_at)
    token = stamped.token
    now = archive.clock()
    values, leaves = leaves_of(paths, _TREE_HASH)
    with archive.database.transaction() as connection:
        require_standing_seals(connection, waiting, token.gen_time)
        token_id = keep_token(connection, token, stamped.url, root, values, _TREE_HASH)
        revocation.keep(connection, token_id, stamped.revocation, gen_time=token.gen_time, at=now)
        details = {"token": token_id, "gen_time": token.gen_time.isoformat()}
        catalogue.advance_all(connection, [(each, details) for each in waiting], "STAMPED", now, token_id=token_id)
        chains = zip(waiting, leaves, strict=True)
        rows = [(deposit.archive_id, "document", 1, leaf, None) for deposit, leaf in chains]
        start_chains(connection, _TREE_HASH, token_id, rows)
    return token_id


def previous_tokens(archive: Archive) -> dict[str, datetime]:
    """Give the genTime of the last token of each authority: its next one is not older (RFC 3161 §2.4.2)."""
    with archive.database.transaction() as connection:
        rows = connection.execute("SELECT tsa, max(gen_time) AS latest FROM token GROUP BY tsa")
        return {row["tsa"]: row["latest"] for row in rows}
