"""Whether a certificate was revoked, from lists (RFC 5280 §5) and OCSP answers (RFC 6960) kept with a proof.

Two times: data counts for a moment when it stood at that moment, or was made after it while the certificate still ran.
The first kind is captured before a token, the second after it: a revocation learnt late is in the second only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise

from cryptography import x509

from minutier.issuance import extension_value, failure, name_of, signed_by
from minutier.ocsp import OcspResponse, is_signed_for

# RFC 3161 §4: after these, tokens made before the revocation stay valid; after any other, none does.
_HARMLESS = {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.affiliation_changed,
    x509.ReasonFlags.superseded,
    x509.ReasonFlags.cessation_of_operation,
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of one certificate: `known` at all, and `confirmed` by data made at or after the moment."""

    known: bool
    confirmed: bool


@dataclass(frozen=True, slots=True)
class _Statement:
    this_update: datetime
    revoked_at: datetime | None = None
    reason: x509.ReasonFlags | None = None


def check(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList],
    ocsp: Sequence[OcspResponse] = (),
    *,
    prefix: str,
    strict_reasons: bool,
) -> Coverage:
    """Say what usable data covers the certificate; refuse when any of it says that it was revoked.

    With `strict_reasons`, a revocation for key compromise (or without a reason) counts whatever its date (RFC 3161
    §4). Raises IntegrityFailureError `<prefix>_REVOKED`.
    """
    known = confirmed = False
    for found in (*_of_lists(certificate, issuer, at, crls), *_of_answers(certificate, issuer, at, crls, ocsp)):
        known, confirmed = True, confirmed or found.this_update >= at
        when = found.revoked_at
        if when is not None and (when <= at or (strict_reasons and found.reason not in _HARMLESS)):
            message = f"{name_of(certificate)} was revoked on {when:%Y-%m-%dT%H:%M:%SZ}."
            raise failure(prefix, "REVOKED", message, "RFC 5280 §6.3, RFC 3161 §4")
    return Coverage(known, confirmed)


def list_speaks(path: Sequence[x509.Certificate], at: datetime, crl: x509.CertificateRevocationList) -> bool:
    """Say whether a list counts for a certificate of a path (leaf first) at `at`, whatever it says of it."""
    return any(next(_of_lists(one, issuer, at, [crl]), None) for one, issuer in pairwise(path))


def answer_speaks(
    path: Sequence[x509.Certificate],
    at: datetime,
    answer: OcspResponse,
    crls: Sequence[x509.CertificateRevocationList],
) -> bool:
    """Say whether an answer counts for a certificate of a path (leaf first) at `at`; `crls` are about its responder."""
    return any(next(_of_answers(one, issuer, at, crls, [answer]), None) for one, issuer in pairwise(path))


def _of_lists(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList],
) -> Iterator[_Statement]:
    for crl in crls:
        if not _usable(crl, certificate, issuer, at):
            continue
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is None:
            yield _Statement(crl.last_update_utc)
        else:
            yield _Statement(crl.last_update_utc, entry.revocation_date_utc, _reason(entry))


def _reason(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except (x509.ExtensionNotFound, ValueError):
        return None


def _usable(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> bool:
    """RFC 5280 §6.3.3: signed by the issuer, complete for this certificate, and standing at `at` or made after it."""
    if not _in_time(crl.last_update_utc, crl.next_update_utc, certificate, at):
        return False
    usage = extension_value(issuer, x509.KeyUsage)
    if (usage is not None and not usage.crl_sign) or any(item.critical for item in crl.extensions):
        return False
    return signed_by(crl, issuer)


def _in_time(this_update: datetime, next_update: datetime | None, certificate: x509.Certificate, at: datetime) -> bool:
    # Expired certificates may leave the list (RFC 5280 §3.3): later data says nothing about them.
    if this_update > certificate.not_valid_after_utc:
        return False
    return this_update >= at or (next_update is not None and next_update >= at)


def _of_answers(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    crls: Sequence[x509.CertificateRevocationList],
    ocsp: Sequence[OcspResponse],
) -> Iterator[_Statement]:
    not_revoked = partial(_stands, issuer=issuer, crls=crls)
    for response in ocsp:
        about = [
            item
            for item in response.statuses
            if item.status != "unknown"
            and item.is_about(certificate, issuer)
            and _in_time(item.this_update, item.next_update, certificate, at)
        ]
        if about and is_signed_for(response, issuer, not_revoked):
            yield from (_Statement(item.this_update, item.revoked_at, item.reason) for item in about)


def _stands(
    responder: x509.Certificate,
    at: datetime,
    *,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
) -> bool:
    """Say whether a list covers a responder's certificate and does not revoke it, whatever the date or the reason."""
    found = list(_of_lists(responder, issuer, at, crls))
    return bool(found) and all(item.revoked_at is None for item in found)
