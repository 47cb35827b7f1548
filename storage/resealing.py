"""Seals that no longer stand when a token is asked for: no verifier accepts these, so they are made again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from cryptography import x509

from minutier import cms
from minutier.errors import ServiceUnavailableError
from minutier.seal import SEAL_PREFIX, SECOND_PREFIX
from storage import catalogue, seal_keys
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.database import Connection
from storage.reception import do_step
from storage.sealer import Sealed


def seal_manifest(archive: Archive, manifest: bytes, at: datetime, archive_id: str) -> tuple[Sealed, Sealed | None]:
    """Seal a manifest: once, and a second time where the settings ask for it."""
    sealed = archive.signer.seal(manifest, at, "manifest", archive_id)
    second = archive.second_signer.seal(manifest, at, "manifest", archive_id) if archive.second_signer else None
    return sealed, second


def journal_seals(
    connection: Connection, manifest: bytes, sealed: Sealed, second: Sealed | None
) -> dict[str, str | int]:
    """Settle the uses of the keys in the act's transaction; gives the details of its journal entry."""
    details: dict[str, str | int] = {"manifest_sha256": hashlib.sha256(manifest).hexdigest()}
    for each in filter(None, (sealed, second)):
        details |= each.journaled(connection)
    return details


def with_standing_seals(archive: Archive, waiting: Sequence[Deposit]) -> list[Deposit]:
    """Give SEALED deposits as they are, or sealed again over the same manifest where their key no longer stands.

    Raises PolicyRefusedError (`SEAL_KEY_NOT_ACTIVE`) when there is no other key yet: they wait.
    """
    with archive.database.transaction() as connection:
        revoked = _revoked(connection)
    now = archive.clock()
    return [_sealed_again(archive, deposit) if _overtaken(deposit, revoked, now) else deposit for deposit in waiting]


def require_standing_seals(connection: Connection, deposits: Sequence[Deposit], gen_time: datetime) -> None:
    """Refuse a token over seals whose key did not stand any more; ServiceUnavailableError (`SEAL_KEY_REVOKED`)."""
    gone = {sha256: since for sha256, since in _revoked(connection).items() if since <= gen_time}
    if any(_overtaken(deposit, gone, gen_time) for deposit in deposits):
        raise ServiceUnavailableError(
            "SEAL_KEY_REVOKED",
            "The sealing key was revoked, or its certificate ended, while the time-stamp was asked for.",
            remedy="Nothing is lost: run the same command again, the seal is made with the new key.",
        )


def require_readable(deposit: Deposit) -> None:
    """Read the seals of a SEALED deposit; IntegrityFailureError (`SEAL_…`) when one cannot be read."""
    _signers(deposit)


def _revoked(connection: Connection) -> dict[str, datetime]:
    return {key.sha256: key.revoked_at for key in seal_keys.keys(connection) if key.revoked_at is not None}


def _overtaken(deposit: Deposit, revoked: Collection[str], at: datetime) -> str:
    """Say why the seals of a deposit do not stand at a time: `revoked`, `ended` (the certificate), or nothing."""
    signers = _signers(deposit)
    if any(seal_keys.fingerprint(each) in revoked for each in signers):
        return "revoked"
    return "ended" if any(each.not_valid_after_utc < at for each in signers) else ""


def _signers(deposit: Deposit) -> list[x509.Certificate]:
    seals = ((deposit.seal, SEAL_PREFIX), (deposit.second_seal, SECOND_PREFIX))
    return [cms.parse(data, prefix).signer for data, prefix in seals if data is not None]


def _sealed_again(archive: Archive, deposit: Deposit) -> Deposit:
    return do_step(archive, deposit.archive_id, "SEALED", lambda held: _seal_again(archive, held))


def _seal_again(archive: Archive, held: Deposit) -> Deposit:
    with archive.database.transaction() as connection:
        revoked = _revoked(connection)
    now = archive.clock()
    why = _overtaken(held, revoked, now)
    if not why or held.manifest is None:
        return held
    sealed, second = seal_manifest(archive, held.manifest, now, held.archive_id)
    with archive.database.transaction() as connection:
        return catalogue.advance(
            connection,
            held,
            "SEALED",
            now,
            details=journal_seals(connection, held.manifest, sealed, second) | {"again": why},
            seal=sealed.signature,
            second_seal=second.signature if second else None,
        )
