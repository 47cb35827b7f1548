"""The development authority's revocation list, signed anew on each request while the root's key is at hand.

It has no legal value. The revocations are those of `pki/root.crl`, which stays as it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minutier.certificates import load_crl
from storage.dev_ca import DevelopmentCa

CRL_PATH = "/root.crl"
_LIFE = timedelta(days=7)


def current_list(places: DevelopmentCa, now: datetime) -> bytes:
    """Give the list (DER) as of `now`, in whole seconds; the stored one when the root's key is kept elsewhere."""
    stored = places.root_crl.read_bytes()
    key_file = places.pki / "root.key"
    if not key_file.is_file():
        return stored
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return stored
    before = load_crl(stored)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(before.issuer)
        .last_update(now.replace(microsecond=0))
        .next_update(now.replace(microsecond=0) + _LIFE)
        .add_extension(x509.CRLNumber(int(now.timestamp())), critical=False)
    )
    for entry in before:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA512()).public_bytes(serialization.Encoding.DER)
