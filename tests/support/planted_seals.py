"""Planted alterations of seals, and of tokens that stand alone."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from cryptography import x509

from minutier import cms, der, seal
from tests.support import pki
from tests.support.plants import Table, flipped
from tests.support.renewals import OLD, STAMPED, YEAR, century, hashed
from tests.support.verifiers import Question

READS_FIRST = "its CMS reader passes over what follows the first object"
SEALS, TOKENS = Table(), Table()


# --- seals

MANIFEST = b'{"format":"minutier-manifest/1"}'
SEALED = STAMPED


@cache
def seal_key():
    key = pki.new_key()
    made = pki.issue(
        "Seal",
        key,
        issuer=(century().root, century().root_key),
        non_repudiation=True,
        start=STAMPED - YEAR / 12,
        end=STAMPED + YEAR,
    )
    return pki.FileSigner(key, (made,))


@cache
def good_seal() -> bytes:
    return seal.seal(MANIFEST, seal_key(), SEALED)


def ask_seal(sealed: bytes, manifest: bytes = MANIFEST, **changes) -> Question:
    judged = SEALED + timedelta(days=30)
    values = {"moment": judged, "roots": (century().root,), "crls": century().lists([SEALED], judged), **changes}
    return Question("", "seal", sealed, (manifest,), **values)


@SEALS.plant("a seal over another manifest")
def _() -> Question:
    return ask_seal(seal.seal(MANIFEST + b" ", seal_key(), SEALED))


@SEALS.plant("a byte flipped in the sealed manifest")
def _() -> Question:
    return ask_seal(good_seal(), flipped(MANIFEST, 5))


@SEALS.plant("a byte flipped in the signature of the seal")
def _() -> Question:
    return ask_seal(flipped(good_seal()))


@SEALS.plant("the signingTime of the seal altered")
def _() -> Question:
    return ask_seal(flipped(good_seal(), good_seal().rindex(b"261101") + 5))


@SEALS.plant("the messageDigest of the seal altered")
def _() -> Question:
    return ask_seal(flipped(good_seal(), good_seal().index(hashed(OLD, MANIFEST))))


@SEALS.plant("a seal whose certificate has another key")
def _() -> Question:
    other = pki.FileSigner(pki.new_key(), seal_key().chain)
    return ask_seal(seal.seal(MANIFEST, other, SEALED))


@SEALS.plant("a seal under another root")
def _() -> Question:
    return ask_seal(seal.seal(MANIFEST, pki.new_pki("Stranger", SEALED).signer, SEALED))


@SEALS.plant(
    "a seal whose signingCertificateV2 names another certificate",
    bouncy_castle="its CMS verifier does not read this attribute",
)
def _() -> Question:
    signer = seal_key()
    named = pki.ess_value(pki.default_pki().seal)
    return ask_seal(_seal_with(named, signer))


@SEALS.plant("a revoked seal", bouncy_castle="it is given no revocation list: no path validation of its own")
def _() -> Question:
    issued = SEALED + timedelta(days=29)
    revoked = [(seal_key().chain[0], SEALED - timedelta(days=2), x509.ReasonFlags.key_compromise)]
    stated = pki.make_crl(century().root, century().root_key, revoked, start=issued, end=issued + timedelta(days=30))
    return ask_seal(good_seal(), crls=(stated,))


@SEALS.plant("a byte follows the seal", bouncy_castle=READS_FIRST, dss=READS_FIRST)
def _() -> Question:
    return ask_seal(good_seal() + b"\x00")


@SEALS.plant("the seal is cut")
def _() -> Question:
    return ask_seal(good_seal()[:-1])


def _seal_with(named: bytes, signer: pki.FileSigner) -> bytes:
    """Seal with a chosen signingCertificateV2: that of the archive's own seal is replaced before signing."""
    made = der.read(good_seal())
    info = der.read(made.children()[1].content)
    fields = [item.encoded for item in info.children()]
    signer_fields = [item.encoded for item in der.read(der.read(fields[-1]).content).children()]
    kept = [
        item.encoded
        for item in der.read(signer_fields[3]).retagged(der.SET).children()
        if item.children()[0].as_oid() != cms.SIGNING_CERTIFICATE_V2
    ]
    attributes = der.set_of(*kept, cms.attribute(cms.SIGNING_CERTIFICATE_V2, named))
    signer_fields[3] = der.read(attributes).retagged(0xA0).encoded
    signer_fields[-1] = der.octets(signer.sign(attributes))
    fields[-1] = der.set_of(der.sequence(*signer_fields))
    return der.sequence(der.oid(cms.SIGNED_DATA), der.context(0, der.sequence(*fields)))


# --- tokens alone

STAMPED_DATA = b"what the token dates"


@cache
def good_token() -> bytes:
    return century().authorities[0].token(hashed(OLD, STAMPED_DATA), OLD, STAMPED)


def ask_token(token: bytes, data: bytes = STAMPED_DATA) -> Question:
    judged = STAMPED + timedelta(days=30)
    crls = century().lists([STAMPED], judged)
    return Question("", "token", token, (data,), judged, (century().root,), crls)


@TOKENS.plant("a token over other data")
def _() -> Question:
    return ask_token(good_token(), STAMPED_DATA + b" ")


@TOKENS.plant("a byte flipped in the signature of a token")
def _() -> Question:
    return ask_token(flipped(good_token()))


@TOKENS.plant("a byte follows a token", bouncy_castle=READS_FIRST, dss=READS_FIRST)
def _() -> Question:
    return ask_token(good_token() + b"\x00")


@TOKENS.plant("a token under another root")
def _() -> Question:
    stranger = pki.new_pki("Stranger", STAMPED)
    return ask_token(pki.make_token(stranger, pki.make_info(hashed(OLD, STAMPED_DATA), gen_time=STAMPED)))


@TOKENS.plant("a token by a seal certificate")
def _() -> Question:
    info = pki.make_info(hashed(OLD, STAMPED_DATA), gen_time=STAMPED)
    signer = seal_key()
    return ask_token(pki.make_token(pki.default_pki(), info, certificate=signer.chain[0], key=signer.key))
