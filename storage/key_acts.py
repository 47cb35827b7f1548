"""Acts on sealing keys: take another one into use, revoke one. Old seals and old proofs are not touched by either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography import x509

from minutier.errors import BadInputError, IntegrityFailureError, PolicyRefusedError
from minutier.seal import SEAL_PREFIX, SECOND_PREFIX, Signer, check_sealing_chain
from storage import dev_keys, seal_keys
from storage.archive import Archive
from storage.dev_ca import DevelopmentCa
from storage.dev_keys import SECOND_FOLDER
from storage.seal_keys import SEAL, SealKey
from storage.settings import Settings
from storage.signers import load_second_signer, open_signer

REASONS = {
    "unspecified": x509.ReasonFlags.unspecified,
    "keyCompromise": x509.ReasonFlags.key_compromise,
    "affiliationChanged": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessationOfOperation": x509.ReasonFlags.cessation_of_operation,
}
"""Reasons of a revocation by their names in RFC 5280 §5.3.1."""


def places_of(settings: Settings) -> DevelopmentCa:
    """Give the places of the development authority of an instance."""
    return DevelopmentCa(settings.home / "pki", settings.home / "trust")


def loader(settings: Settings, kind: str) -> Callable[[], Signer]:
    """Give what opens the sealing key of a kind as it is on the disk, or in the device, at that moment."""
    places = places_of(settings)
    folder = places.pki / SECOND_FOLDER

    def load() -> Signer:
        if kind == SEAL:
            return open_signer(settings, places.seal_key, places.seal_certificate)
        return load_second_signer(dev_keys.key_of(folder), folder / "seal.pem")

    return load


def rotate(archive: Archive, kind: str = SEAL) -> SealKey:
    """Seal with another key from now on: the one that the settings name by now, or a new one of the development CA.

    Cut short anywhere, the same call ends it. Raises BadInputError (`KEY_NOT_NEW` when the settings still name the key
    in use, `NO_SECOND_SEAL`), PolicyRefusedError (`SEAL_KEY_NOT_ACCEPTED`, `ROOT_KEY_ABSENT`).
    """
    if kind != SEAL and archive.second_signer is None:
        raise BadInputError(
            "NO_SECOND_SEAL", "This archive makes no second seal.", remedy='Set second_seal = "ml-dsa-65" first.'
        )
    folder = _folder(archive, kind)
    ours = kind != SEAL or archive.settings.seal_certificate is None
    with archive.database.exclusive("sealing keys"):
        load, now = loader(archive.settings, kind), archive.clock()
        signer = load()
        with archive.database.transaction() as connection:
            known = {key.sha256 for key in seal_keys.keys(connection)}
        if ours and seal_keys.fingerprint(signer.chain[0]) in known:
            dev_keys.issue(folder, now)
            signer = load()
        require_acceptable(archive, kind, signer)
        with archive.database.transaction() as connection:
            seal_keys.replace(connection, kind, signer.chain[0], now)
            made = seal_keys.find(connection, seal_keys.fingerprint(signer.chain[0]))
        if ours:
            dev_keys.drop_former_keys(folder)
    return made


def require_acceptable(archive: Archive, kind: str, signer: Signer) -> None:
    """Refuse, before it is used, a key whose seals no verifier with our anchors would accept now.

    Raises PolicyRefusedError (`SEAL_KEY_NOT_ACCEPTED`).
    """
    prefix, roots = (SEAL_PREFIX, archive.seal_roots) if kind == SEAL else (SECOND_PREFIX, archive.second_roots)
    try:
        check_sealing_chain(signer.chain, roots, archive.clock(), archive.crls, prefix=prefix)
    except IntegrityFailureError as error:
        raise PolicyRefusedError(
            "SEAL_KEY_NOT_ACCEPTED",
            f"No verifier would accept seals of this key: {error.message}",
            remedy="Put the root of its issuer in the trust directory, or name another sealing certificate.",
            clause=error.clause,
        ) from error


def revoke(archive: Archive, name: str, reason: str) -> tuple[SealKey, bool]:
    """Revoke a sealing key from now on; gives the key, and whether its certificate is on a revocation list of ours.

    Seals that a token dates before this moment stay good; later ones are refused wherever the list is known. A
    certificate of another authority is refused here at once, and is to be revoked there. Revoked before: nothing new.
    Raises BadInputError (`UNKNOWN_KEY`, `UNKNOWN_REASON`), PolicyRefusedError (`ROOT_KEY_ABSENT`).
    """
    if reason not in REASONS:
        raise BadInputError(
            "UNKNOWN_REASON", f"{reason!r} is not a reason.", remedy=f"Use one of: {', '.join(REASONS)}."
        )
    with archive.database.exclusive("sealing keys"):
        with archive.database.transaction() as connection:
            key = seal_keys.find(connection, name)
        folder, at = _folder(archive, key.kind), archive.clock().replace(microsecond=0)
        listed = dev_keys.issued(folder, key.certificate)
        if listed:
            # The list first: a key that is listed and not yet marked is revoked again, with the date of the list.
            at = dev_keys.revoke(folder, key.certificate, at, REASONS[reason], _anchor(archive, key.kind))
        with archive.database.transaction() as connection:
            seal_keys.mark_revoked(connection, key, at, reason)
            return seal_keys.find(connection, key.sha256), listed


def _folder(archive: Archive, kind: str) -> Path:
    pki = places_of(archive.settings).pki
    return pki if kind == SEAL else pki / SECOND_FOLDER


def _anchor(archive: Archive, kind: str) -> Path:
    return archive.settings.trust_dir / ("root.crl" if kind == SEAL else f"root-{SECOND_FOLDER}.crl")
