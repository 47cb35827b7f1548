"""Time-stamp answers, good and hostile, each named after what it does: made here, and stored in tests/vectors/tokens.

Run `python -m tests.support.hostile_tokens` to write the stored files again: they are the same, but for RSASSA-PSS.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from minutier import algorithms, cms, der
from minutier.certificates import load_certificate, load_crl, load_ocsp
from minutier.timestamp import TimestampToken, accept_response
from tests.support.fixed_pki import TOKENS, fixed_ed25519, fixed_issue, fixed_key, fixed_pki, fixed_rsa
from tests.support.ocsp_answers import answer, revoked, single
from tests.support.pki import (
    NONCE,
    NOW,
    POLICY,
    PSS_SHA256,
    TIME_STAMPING,
    ess_value,
    make_crl,
    make_info,
    make_response,
    make_token,
    sign,
)

DIGEST = hashlib.sha256(b"root of a batch").digest()
SHA3_DIGEST = hashlib.sha3_512(b"root of a batch").digest()
PKI = fixed_pki()
ROGUE = fixed_pki("Rogue")
TWIN = fixed_pki("Vector", keys="other")  # the names of the trusted PKI, other keys
SHA1, MD5 = "1.3.14.3.2.26", "1.2.840.113549.2.5"
SHA384, SHA512, SHA3_256 = "2.16.840.1.101.3.4.2.2", "2.16.840.1.101.3.4.2.3", "2.16.840.1.101.3.4.2.8"
DATA = "1.2.840.113549.1.7.1"
# Where the parts of a token are, for `at`.
SIGNED, INFO = (1, 0), (1, 0, 2, 1, 0)
SIGNER = (1, 0, 4, 0)


@dataclass(frozen=True)
class Case:
    """One answer of an authority (TimeStampResp) and what it is judged with; `code` is "" for a good one."""

    name: str
    code: str
    response: bytes
    digest: bytes = DIGEST
    algorithm: str = "sha256"
    nonce: int = NONCE
    policy: str | None = POLICY
    clock: datetime = NOW
    not_before: datetime | None = None
    known_serials: tuple[int, ...] = ()
    signers: tuple[bytes, ...] = ()
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    ocsp: tuple[bytes, ...] = ()
    repeatable: bool = True

    @property
    def token(self) -> bytes:
        return der.read(self.response).children()[1].encoded

    def judge(self) -> TimestampToken:
        """Judge the answer as the archive would, under the root of the vectors."""
        return accept_response(
            self.response,
            self.digest,
            self.nonce,
            self.clock,
            self.policy,
            [PKI.root],
            [load_certificate(item) for item in self.intermediates],
            algorithm=self.algorithm,
            crls=[load_crl(item) for item in self.crls],
            ocsp=[load_ocsp(item) for item in self.ocsp],
            signers=[load_certificate(item) for item in self.signers],
            not_before=self.not_before,
            known_serials=self.known_serials,
        )


def at(data: bytes, path: Sequence[int], change: Callable[[der.Element], bytes]) -> bytes:
    """Change the element at a path of child numbers, and write all lengths around it anew."""
    element = der.read(data)
    if not path:
        return change(element)
    children = [item.encoded for item in element.children()]
    children[path[0]] = at(children[path[0]], path[1:], change)
    return der.tlv(element.tag, *children)


def encoded(*certificates: x509.Certificate) -> tuple[bytes, ...]:
    return tuple(item.public_bytes(Encoding.DER) for item in certificates)


def info(**options) -> bytes:
    return make_info(options.pop("digest", DIGEST), **options)


def token(**options) -> bytes:
    """Make a good token but for the options: of TSTInfo under `info`, of the signature otherwise."""
    return make_token(PKI, options.pop("info", info()), **options)


def leaf(name: str, key=None, **options) -> dict:
    """Make a time-stamp certificate under the root but for the options, and give it with its key."""
    key = key or fixed_key(name)
    options.setdefault("eku", TIME_STAMPING)
    options.setdefault("issuer", (PKI.root, PKI.root_key))
    return {"certificate": fixed_issue(name, key, **options), "key": key}


def ca(name: str, **options) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a certification authority under the root but for the options, and give it with its key."""
    key = fixed_key(name)
    options = {"ca": True, "issuer": (PKI.root, PKI.root_key)} | options
    return fixed_issue(name, key, **options), key


def below(name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], *more: x509.Certificate) -> dict:
    """Make a time-stamp certificate under `issuer`, embedded with it and with `more`."""
    signer = leaf(name, issuer=issuer)
    return signer | {"embedded": [signer["certificate"], issuer[0], *more]}


def time(text: bytes, tag: int = der.GENERALIZED_TIME) -> bytes:
    return token(info=info(time=der.tlv(tag, text)))


def accuracy(*parts: bytes) -> bytes:
    return token(info=info(accuracy=der.sequence(*parts)))


def resigned(certificate: x509.Certificate, issuer_key: ec.EllipticCurvePrivateKey, dotted: str, hashed) -> bytes:
    """Sign a certificate again over a hash that no library signs with any more."""
    algorithm = algorithms.identifier(dotted)
    body = at(certificate.tbs_certificate_bytes, (2,), lambda _: algorithm)
    signature = sign(issuer_key, body, hashed)
    return der.sequence(body, algorithm, der.tlv(der.BIT_STRING, b"\0" + signature))


def unused_bits(data: bytes) -> bytes:
    """Say that the last bit of the certificate's signature is unused: nothing signs that count."""
    path = (*SIGNED, 3, 0, 2)
    return at(data, path, lambda bits: der.tlv(der.BIT_STRING, b"\x01" + bits.content[1:]))


def indefinite(data: bytes) -> bytes:
    """Write the outermost length in the indefinite form of BER."""
    return b"\x30\x80" + der.read(data).content + b"\0\0"


def long_length(data: bytes) -> bytes:
    """Write the outermost length with one octet more than needed."""
    content = der.read(data).content
    return b"\x30\x83" + len(content).to_bytes(3, "big") + content


def attributes(data: bytes, change: Callable[[list[bytes]], list[bytes]], *, sort: bool = True) -> bytes:
    """Change the signed attributes and sign them again."""

    def again(signer: der.Element) -> bytes:
        fields = [item.encoded for item in signer.children()]
        members = change([item.encoded for item in der.read(fields[3]).children()])
        written = der.set_of(*members) if sort else der.tlv(der.SET, *members)
        fields[3] = der.read(written).retagged(0xA0).encoded
        fields[5] = der.octets(sign(PKI.tsa_key, written, hashes.SHA256()))
        return der.sequence(*fields)

    return at(data, SIGNER, again)


def envelope() -> Iterator[tuple[str, bytes]]:
    """Check 1 of the token: TOKEN_DER."""
    good = token()
    yield "trailing-byte-after-the-token-content", at(good, (1,), lambda e: der.tlv(0xA0, e.content + b"\x05\x00"))
    yield "not-signed-data", der.sequence(der.oid(DATA), der.context(0, der.null()))
    yield "content-detached", token(detached=True)
    yield "info-version-2", token(info=info(version=2))
    critical = der.context(1, der.sequence(der.oid("2.999.5"), der.boolean(True), der.octets(b"")))
    yield "critical-extension-unknown", token(info=info(extensions=critical))
    yield "time-with-trailing-zero", time(b"20261123100000.10Z")
    yield "time-without-zone", time(b"20261123100000")
    yield "time-with-an-offset", time(b"20261123110000+0100")
    yield "time-without-seconds", time(b"202611231000Z")
    yield "time-on-the-32nd", time(b"20261132100000Z")
    yield "time-as-utctime", time(b"261123100000Z", der.UTC_TIME)
    yield "ordering-written-though-false", token(info=info(accuracy=der.sequence(der.integer(1)) + der.boolean(False)))
    yield "accuracy-of-1000-milliseconds", accuracy(der.tlv(0x80, b"\x03\xe8"))
    yield "accuracy-of-a-year", accuracy(der.integer(31_536_000))
    yield "accuracy-negative", accuracy(der.integer(-1))
    yield "signed-data-version-2", at(good, (*SIGNED, 0), lambda _: der.integer(2))
    yield "certificate-with-unused-bits", unused_bits(good)
    yield "certificate-garbled", at(good, (*SIGNED, 3, 0, 0, 0), lambda _: der.null())
    both = token(embedded=[PKI.tsa, PKI.seal])
    yield (
        "certificates-not-sorted",
        at(both, (*SIGNED, 3), lambda e: der.tlv(0xA0, *(c.encoded for c in reversed(e.children())))),
    )
    yield "certificate-twice", at(good, (*SIGNED, 3), lambda e: der.tlv(0xA0, e.content, e.content))
    yield "no-signer", token(signers=0)
    yield (
        "signer-named-by-key-identifier",
        at(at(good, (*SIGNER, 0), lambda _: der.integer(3)), (*SIGNER, 1), lambda _: der.tlv(0x80, bytes(20))),
    )
    yield "digest-not-listed", at(good, (*SIGNED, 1), lambda _: der.set_of(algorithms.identifier(SHA512)))
    yield "attributes-not-sorted", attributes(good, lambda found: found[::-1], sort=False)
    yield "attribute-twice", attributes(good, lambda found: [*found, cms.attribute(cms.CONTENT_TYPE, der.null())])
    yield "integer-with-a-leading-zero", token(info=at(info(), (3,), lambda _: der.tlv(der.INTEGER, b"\x00\x07")))
    yield "boolean-true-as-01", token(info=info(accuracy=der.sequence(der.integer(1)) + b"\x01\x01\x01"))
    yield "a-field-after-the-last", token(info=at(info(), (), lambda e: der.sequence(e.content, der.context(2))))


def answers() -> Iterator[tuple[str, str, bytes]]:
    """Checks 1 and 2 of the response itself."""
    good = make_response(token())
    yield "trailing-byte-after-the-answer", "TOKEN_DER", good + b"\0"
    yield "answer-cut-short", "TOKEN_DER", good[:-1]
    yield "answer-cut-in-the-middle", "TOKEN_DER", good[: len(good) // 2]
    yield "answer-of-nothing", "TOKEN_DER", b""
    yield "answer-is-a-web-page", "TOKEN_DER", b"<html><body>Welcome</body></html>"
    yield "indefinite-length", "TOKEN_DER", indefinite(good)
    yield "length-not-minimal", "TOKEN_DER", long_length(good)
    yield "second-token-in-the-answer", "TOKEN_DER", at(good, (), lambda e: der.sequence(e.content, token()))
    yield "token-alone-without-status", "TOKEN_DER", token()
    for status, name in enumerate(("granted-with-modifications", "rejection", "waiting", "revocation-warning"), 1):
        yield f"{name}-with-a-good-token", "TOKEN_STATUS", make_response(token(), status)
    yield "revocation-notification-with-a-good-token", "TOKEN_STATUS", make_response(token(), 5)
    yield "granted-without-token", "TOKEN_STATUS", der.sequence(der.sequence(der.integer(0)))
    yield "rejection-without-token", "TOKEN_STATUS", der.sequence(der.sequence(der.integer(2)))


def content_and_signer() -> Iterator[tuple[str, str, bytes]]:
    """Checks 3 and 4."""
    yield "content-type-data", "TOKEN_CONTENT_TYPE", token(content_type=DATA)
    yield "no-content-type-attribute", "TOKEN_CONTENT_TYPE", token(content_type_attribute=None)
    yield "content-type-attribute-other", "TOKEN_CONTENT_TYPE", token(content_type_attribute=DATA)
    yield "two-signers", "TOKEN_SIGNER", token(signers=2)
    yield "no-certificate-embedded-none-given", "TOKEN_SIGNER", token(embedded=[])
    yield "another-certificate-embedded", "TOKEN_SIGNER", token(embedded=[PKI.seal])
    twin = fixed_issue("Other subject", fixed_key("x"), "Vector TSA", issuer=(PKI.root, PKI.root_key))
    yield "two-certificates-of-one-name-and-serial", "TOKEN_SIGNER", token(embedded=[PKI.tsa, twin])


def signature() -> Iterator[tuple[str, str, bytes]]:
    """Check 5."""
    yield "signature-spoiled", "TOKEN_SIGNATURE", token(spoil_signature=True)
    yield "signature-empty", "TOKEN_SIGNATURE", at(token(), (*SIGNER, 5), lambda _: der.octets(b""))
    zeros = der.sequence(der.integer(0), der.integer(0))
    yield "signature-of-zeros", "TOKEN_SIGNATURE", at(token(), (*SIGNER, 5), lambda _: der.octets(zeros))
    yield "signed-by-another-key", "TOKEN_SIGNATURE", token(key=fixed_key("thief"))
    yield "no-signed-attributes", "TOKEN_SIGNATURE", token(attributes=False)
    added = cms.attribute(cms.SIGNING_TIME, der.cms_time(NOW))
    yield (
        "attribute-added-after-signing",
        "TOKEN_SIGNATURE",
        at(
            token(),
            (*SIGNER, 3),
            lambda e: der.read(der.set_of(*(c.encoded for c in e.children()), added)).retagged(0xA0).encoded,
        ),
    )
    yield "digest-of-other-content", "TOKEN_DIGEST", token(message_digest=DIGEST)
    yield (
        "no-message-digest",
        "TOKEN_DIGEST",
        attributes(token(), lambda found: [item for item in found if der.oid(cms.MESSAGE_DIGEST) not in item]),
    )
    moved = info(gen_time=NOW + timedelta(seconds=5))
    yield "time-changed-after-signing", "TOKEN_DIGEST", at(token(), INFO, lambda _: der.octets(moved))
    yield "sha1-throughout", "TOKEN_ALGORITHM", token(digest_algorithm=SHA1, hashed=hashes.SHA1())
    yield "md5-throughout", "TOKEN_ALGORITHM", token(digest_algorithm=MD5, hashed=hashes.MD5())
    rsa = leaf("RSA", fixed_rsa(3072))
    yield (
        "md5-with-rsa-signature",
        "TOKEN_ALGORITHM",
        token(
            **rsa,
            hashed=hashes.MD5(),
            digest_algorithm=MD5,
            signature_algorithm=algorithms.identifier("1.2.840.113549.1.1.4"),
        ),
    )
    yield (
        "sha1-with-rsa-signature",
        "TOKEN_ALGORITHM",
        token(**rsa, signature_algorithm=algorithms.identifier("1.2.840.113549.1.1.5")),
    )
    for name, dotted in (
        ("sha1-signature-over-sha256-digest", "1.2.840.10045.4.1"),
        ("signature-hash-differs-from-digest", "1.2.840.10045.4.3.4"),
        ("algorithm-of-another-key-kind", "1.2.840.113549.1.1.11"),
        ("algorithm-unknown", "2.999.6"),
    ):
        yield name, "TOKEN_ALGORITHM", token(signature_algorithm=algorithms.identifier(dotted))
    pss = der.sequence(der.oid("1.2.840.113549.1.1.10"), der.sequence())
    yield "pss-with-its-sha1-defaults", "TOKEN_ALGORITHM", token(**rsa, signature_algorithm=pss)
    sha256, sha1 = algorithms.hash_identifier("sha256"), algorithms.identifier(SHA1)
    mask = der.sequence(der.oid("1.2.840.113549.1.1.8"), sha1)
    mixed = der.sequence(der.context(0, sha256), der.context(1, mask), der.context(2, der.integer(32)))
    yield (
        "pss-with-a-sha1-mask",
        "TOKEN_ALGORITHM",
        token(**rsa, signature_algorithm=der.sequence(der.oid("1.2.840.113549.1.1.10"), mixed)),
    )


def signing_certificate() -> Iterator[tuple[str, bytes]]:
    """Check 6: TOKEN_ESS."""
    first = der.sequence(der.octets(hashlib.sha1(PKI.tsa.public_bytes(Encoding.DER)).digest()))
    old = der.sequence(der.sequence(first))
    yield "no-signing-certificate", token(ess=None)
    yield "signing-certificate-is-another", token(ess=PKI.seal)
    yield "signing-certificate-by-sha1", token(ess=old)
    yield (
        "signing-certificate-of-version-1-only",
        attributes(token(ess=None), lambda found: [*found, cms.attribute("1.2.840.113549.1.9.16.2.12", old)]),
    )
    wrong = der.sequence(
        der.sequence(der.context(4, PKI.tsa.issuer.public_bytes())), der.integer(PKI.tsa.serial_number + 1)
    )
    yield "signing-certificate-with-another-serial", token(ess=ess_value(PKI.tsa, issuer_serial=wrong))
    yield "signing-certificate-unreadable", token(ess=der.null())
    named = [der.read(ess_value(item)).children()[0].children()[0].encoded for item in (PKI.seal, PKI.tsa)]
    yield "signing-certificate-second-in-its-list", token(ess=der.sequence(der.sequence(*named)))


def purpose() -> Iterator[tuple[str, bytes]]:
    """Check 7: TOKEN_PURPOSE."""
    yield "sealing-certificate-stamps", token(certificate=PKI.seal, key=PKI.seal_key)
    yield "purpose-not-critical", token(**leaf("Not critical", eku_critical=False))
    email = ExtendedKeyUsageOID.EMAIL_PROTECTION
    yield "purpose-with-a-second-one", token(**leaf("Two purposes", eku=[*TIME_STAMPING, email]))
    yield "purpose-code-signing", token(**leaf("Code", eku=[ExtendedKeyUsageOID.CODE_SIGNING]))
    yield "purpose-any", token(**leaf("Any", eku=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))
    yield "key-not-for-signing", token(**leaf("Mute", signs=False))
    certificate, key = ca("CA that stamps", eku=TIME_STAMPING, non_repudiation=True)
    yield "a-ca-stamps", token(certificate=certificate, key=key)
    rogue = fixed_key("self-signed")
    # Self-signed and a CA at once: what rfc3161ng accepts when it is given no certificate.
    yield (
        "self-signed-ca-stamps",
        token(certificate=fixed_issue("Self CA", rogue, ca=True, eku=TIME_STAMPING, non_repudiation=True), key=rogue),
    )


def path() -> Iterator[tuple[str, str, bytes]]:
    """Check 8 without revocation: TOKEN_CHAIN, TOKEN_ALGORITHM."""
    alone = fixed_key("alone")
    yield (
        "rogue-self-signed-authority",
        "TOKEN_CHAIN",
        token(certificate=fixed_issue("Vector TSA", alone, eku=TIME_STAMPING), key=alone),
    )
    for name, pki in (
        ("rogue-root-embedded", ROGUE),
        ("rogue-root-with-the-name-of-the-trusted-one", TWIN),
    ):
        yield name, "TOKEN_CHAIN", token(certificate=pki.tsa, key=pki.tsa_key, embedded=[pki.tsa, pki.root])
    yield (
        "rogue-beside-the-trusted-root",
        "TOKEN_CHAIN",
        token(certificate=ROGUE.tsa, key=ROGUE.tsa_key, embedded=[ROGUE.tsa, ROGUE.root, PKI.root]),
    )
    yield "certificate-ended-before", "TOKEN_CHAIN", token(**leaf("Ended", end=NOW - timedelta(seconds=1)))
    yield "certificate-not-begun", "TOKEN_CHAIN", token(**leaf("Not begun", start=NOW + timedelta(seconds=1)))
    ended = ca("Ended CA", end=NOW - timedelta(seconds=1))
    yield "intermediate-ended-before", "TOKEN_CHAIN", token(**below("Under ended", ended))
    middle = ca("Absent")
    signer = leaf("Under absent", issuer=middle)
    yield "intermediate-missing", "TOKEN_CHAIN", token(**signer)
    end_entity = ca("Not a CA", ca=False)
    yield "issued-by-an-end-entity", "TOKEN_CHAIN", token(**below("Under end entity", end_entity))
    no_room = ca("No room below", path_length=0)
    deeper = ca("Below no room", issuer=no_room)
    yield "path-longer-than-allowed", "TOKEN_CHAIN", token(**below("Too deep", deeper, no_room[0]))
    mute = ca("CA not for signing", cert_sign=False)
    yield "issued-by-a-ca-not-for-signing", "TOKEN_CHAIN", token(**below("Under mute", mute))
    odd = leaf("Odd", odd_critical_extension=True)
    yield "unknown-critical-extension-in-the-certificate", "TOKEN_CHAIN", token(**odd)
    key = fixed_key("Weakly issued")
    weak = load_certificate(
        resigned(leaf("Weakly issued", key)["certificate"], PKI.root_key, "1.2.840.10045.4.1", hashes.SHA1())
    )
    yield "certificate-signed-over-sha1", "TOKEN_CHAIN", token(certificate=weak, key=key)
    yield "rsa-1024", "TOKEN_ALGORITHM", token(**leaf("RSA 1024", fixed_rsa(1024)))
    yield "rsa-2048-after-its-end", "TOKEN_ALGORITHM", token(**leaf("RSA 2048", fixed_rsa(2048)))
    yield "p224-curve", "TOKEN_ALGORITHM", token(**leaf("P-224", fixed_key("P-224", ec.SECP224R1())))
    yield "secp256k1-curve", "TOKEN_ALGORITHM", token(**leaf("k1", fixed_key("k1", ec.SECP256K1())))
    future = info(gen_time=NOW + timedelta(days=400))
    yield "400-days-in-the-future", "TOKEN_CHAIN", token(info=future)


def request() -> Iterator[tuple[str, str, bytes]]:
    """Checks 9 to 12, of what was asked and when."""
    other = hashlib.sha256(b"other").digest()
    yield "imprint-of-another-value", "TOKEN_IMPRINT", token(info=info(digest=other))
    renamed = algorithms.hash_identifier("sha3_256")
    yield "imprint-renamed-sha3", "TOKEN_IMPRINT", token(info=info(imprint_algorithm=renamed))
    yield "imprint-cut-to-20-bytes", "TOKEN_IMPRINT", token(info=info(digest=DIGEST[:20]))
    yield "imprint-renamed-sha1", "TOKEN_ALGORITHM", token(info=info(imprint_algorithm=algorithms.identifier(SHA1)))
    yield "nonce-of-another-request", "TOKEN_NONCE", token(info=info(nonce=NONCE + 1))
    # The other verifier takes no negative nonce at all, and speaks first.
    yield "nonce-negated", "TOKEN_SECOND_OPINION", token(info=info(nonce=-NONCE))
    yield "no-nonce", "TOKEN_NONCE", token(info=info(nonce=None))
    yield "another-policy", "TOKEN_POLICY", token(info=info(policy="2.999.2"))
    for name, seconds in (
        ("62-seconds-in-the-future", 62),
        ("an-hour-old", -3600),
        ("a-month-old-backdated", -2_500_000),
    ):
        yield name, "TOKEN_TIME", token(info=info(gen_time=NOW + timedelta(seconds=seconds)))


def with_more() -> Iterator[Case]:
    """Hostile answers that are so by what is known beside them."""
    plain, bare = make_response(token()), make_response(token(embedded=[]))
    yield Case("older-than-the-previous-token", "TOKEN_TIME", plain, not_before=NOW + timedelta(seconds=2))
    yield Case("serial-given-before", "TOKEN_SERIAL", plain, known_serials=(7,))
    yield Case("sha256-token-where-sha3-512-was-asked", "TOKEN_IMPRINT", plain, SHA3_DIGEST, "sha3_512")
    issuer = (PKI.root, PKI.root_key)
    yield Case("no-certificate-another-given", "TOKEN_SIGNER", bare, signers=encoded(PKI.seal))
    thief = fixed_issue("Vector TSA", fixed_key("thief"), issuer=issuer, eku=TIME_STAMPING)
    yield Case("no-certificate-given-one-of-another-key", "TOKEN_SIGNATURE", bare, signers=encoded(thief))
    renewed = fixed_issue("Vector TSA", PKI.tsa_key, issuer=issuer, eku=TIME_STAMPING, end=NOW + timedelta(days=9))
    yield Case("no-certificate-given-one-issued-anew", "TOKEN_ESS", bare, signers=encoded(renewed))
    yield Case(
        "embedded-certificate-replaced-by-a-given-one",
        "TOKEN_SIGNER",
        make_response(token(embedded=[PKI.seal])),
        signers=encoded(PKI.tsa),
    )
    yield from _revoked(plain)


def _revoked(plain: bytes) -> Iterator[Case]:
    reasons = x509.ReasonFlags

    def listed(days: int, reason: x509.ReasonFlags | None, certificate: x509.Certificate = PKI.tsa) -> tuple[bytes]:
        revocations = [(certificate, NOW + timedelta(days=days), reason)]
        return (
            make_crl(PKI.root, PKI.root_key, revocations, start=NOW + timedelta(days=3)).public_bytes(Encoding.DER),
        )

    yield Case("revoked-before-the-time", "TOKEN_REVOKED", plain, crls=listed(-1, reasons.superseded))
    yield Case("key-compromised-after-the-time", "TOKEN_REVOKED", plain, crls=listed(1, reasons.key_compromise))
    yield Case("revoked-after-the-time-without-reason", "TOKEN_REVOKED", plain, crls=listed(1, None))
    middle = ca("Revoked CA")
    token_below = make_response(token(**below("Under revoked", middle)))
    crls = listed(-1, reasons.ca_compromise, middle[0])
    yield Case("intermediate-revoked-before-the-time", "TOKEN_REVOKED", token_below, crls=crls)
    for name, when, reason in (("revoked-before-the-time", -1, 4), ("key-compromised-after-the-time", 1, 1)):
        about = single(
            PKI.tsa, PKI.root, revoked(NOW + timedelta(days=when), reason), this_update=NOW + timedelta(days=2)
        )
        said = answer([about], PKI.root, PKI.root_key, produced_at=NOW + timedelta(days=2))
        yield Case(f"{name}-by-ocsp", "TOKEN_REVOKED", plain, ocsp=(said,))
    yield Case("good-after-the-time", "", plain, ocsp=(_good_answer(),))
    yield Case("superseded-after-the-time", "", plain, crls=listed(1, reasons.superseded))


def _good_answer() -> bytes:
    about = single(PKI.tsa, PKI.root, this_update=NOW + timedelta(days=1), next_update=NOW + timedelta(days=2))
    return answer([about], PKI.root, PKI.root_key, produced_at=NOW + timedelta(days=1))


def good() -> Iterator[Case]:
    """Answers that are right, in every way that the norms allow and the archive accepts."""

    def case(name: str, data: bytes, **options) -> Case:
        return Case(name, "", make_response(data), **options)

    yield case("ecdsa-p256", token())
    p384 = fixed_key("P-384", ec.SECP384R1())
    with_384 = {"digest_algorithm": SHA384, "hashed": hashes.SHA384()}
    ecdsa_384 = algorithms.identifier("1.2.840.10045.4.3.3")
    yield case("ecdsa-p384", token(**leaf("P-384", p384), **with_384, signature_algorithm=ecdsa_384))
    with_512 = {"digest_algorithm": SHA512, "hashed": hashes.SHA512()}
    ecdsa_512 = algorithms.identifier(algorithms.ECDSA_SHA512)
    p521 = fixed_key("P-521", ec.SECP521R1())
    yield case("ecdsa-p521", token(**leaf("P-521", p521), **with_512, signature_algorithm=ecdsa_512))
    yield case("rsa-3072", token(**leaf("RSA", fixed_rsa(3072))))
    pss = token(**leaf("RSA", fixed_rsa(3072)), signature_algorithm=PSS_SHA256)
    yield case("rsa-pss", pss, repeatable=False)  # its salt is random
    yield case("ed25519", token(**leaf("Ed25519", fixed_ed25519("TSA")), **with_512))
    ecdsa_sha3 = algorithms.identifier("2.16.840.1.101.3.4.3.10")
    with_sha3 = {"digest_algorithm": SHA3_256, "hashed": hashes.SHA3_256()}
    yield case("ecdsa-with-sha3-256", token(**with_sha3, signature_algorithm=ecdsa_sha3))
    sha3 = algorithms.hash_identifier("sha3_512")
    stronger = token(
        info=info(digest=SHA3_DIGEST, imprint_algorithm=sha3),
        **with_512,
        signature_algorithm=ecdsa_512,
        ess=ess_value(PKI.tsa, algorithm="sha512"),
    )
    yield case("sha3-512-imprint-signed-over-sha512", stronger, digest=SHA3_DIGEST, algorithm="sha3_512")
    yield case("no-certificate-the-right-one-given", token(embedded=[]), signers=encoded(PKI.tsa))
    yield case("certificate-ends-the-next-day", token(**leaf("Short", end=NOW + timedelta(days=1))))
    fraction = NOW + timedelta(milliseconds=250)
    yield case("fraction-of-a-second", token(info=info(gen_time=fraction)))
    yield case("microsecond-before-the-second", token(info=info(gen_time=NOW - timedelta(microseconds=1))))
    fine = der.sequence(der.integer(0), der.tlv(0x80, b"\x05"), der.tlv(0x81, b"\x01\xf4"))
    yield case("accuracy-of-5500-microseconds", token(info=info(accuracy=fine)))
    yield case("no-accuracy", token(info=info(accuracy=b"")))
    yield case("61-seconds-off-with-an-accuracy-of-one", token(info=info(gen_time=NOW + timedelta(seconds=61))))
    yield case("ordering-true", token(info=info(accuracy=der.sequence(der.integer(1)) + der.boolean(True))))
    passed_over = der.context(1, der.sequence(der.oid("2.999.5"), der.octets(b"")))
    yield case("extension-not-critical", token(info=info(extensions=passed_over)))
    named = der.context(0, der.context(4, PKI.tsa.subject.public_bytes()))
    yield case("names-its-authority", token(info=info(extensions=named)))
    yield case("serial-of-160-bits", token(info=info(serial=1 << 159)))
    middle = ca("Middle", path_length=0)
    yield case("intermediate-embedded", token(**below("Under middle", middle)))
    yield case("intermediate-given", token(**leaf("Under middle", issuer=middle)), intermediates=encoded(middle[0]))
    null = der.sequence(der.oid(algorithms.SHA256), der.null())
    yield case("hash-with-null-parameters", token(info=info(imprint_algorithm=null)))
    signing_time = cms.attribute(cms.SIGNING_TIME, der.cms_time(NOW))
    yield case("signing-time-attribute", attributes(token(), lambda found: [*found, signing_time]))
    crl = PKI.crl.public_bytes(Encoding.DER)
    yield case("list-kept-beside-it", token(), crls=(crl,))


@cache
def cases() -> dict[str, Case]:
    """Give every case by its name."""
    found = list(good())
    for code, make in (("TOKEN_DER", envelope), ("TOKEN_ESS", signing_certificate), ("TOKEN_PURPOSE", purpose)):
        found += [Case(name, code, make_response(data)) for name, data in make()]
    for group in (content_and_signer, signature, path, request):
        found += [Case(name, code, make_response(data)) for name, code, data in group()]
    found += [Case(name, code, data) for name, code, data in answers()]
    found += with_more()
    named = {case.name: case for case in found}
    assert len(named) == len(found)
    return named


_BYTES = ("signers", "intermediates", "crls", "ocsp")


def index_entry(case: Case) -> dict[str, object]:
    """Give what index.json says of a case; what is left out has its default (docs/format/timestamp-v1.md)."""
    entry: dict[str, object] = {
        "name": case.name,
        "code": case.code,
        "algorithm": case.algorithm,
        "digest": case.digest.hex(),
        "nonce": f"{case.nonce:x}",
        "policy": case.policy,
        "clock": case.clock.isoformat(),
    }
    if case.not_before:
        entry["not_before"] = case.not_before.isoformat()
    if case.known_serials:
        entry["known_serials"] = list(case.known_serials)
    for name in _BYTES:
        if values := getattr(case, name):
            entry[name] = [base64.b64encode(item).decode() for item in values]
    return entry


def read_stored() -> dict[str, Case]:
    """Read the stored cases."""
    found = {}
    for entry in json.loads((TOKENS / "index.json").read_text(encoding="utf-8"))["cases"]:
        times = {name: datetime.fromisoformat(entry[name]) for name in ("clock", "not_before") if name in entry}
        more = {name: tuple(base64.b64decode(item) for item in entry.get(name, ())) for name in _BYTES}
        found[entry["name"]] = Case(
            entry["name"],
            entry["code"],
            (TOKENS / f"{entry['name']}.der").read_bytes(),
            bytes.fromhex(entry["digest"]),
            entry["algorithm"],
            int(entry["nonce"], 16),
            entry["policy"],
            known_serials=tuple(entry.get("known_serials", ())),
            **times,
            **more,
        )
    return found


def write_stored() -> None:
    """Write the stored cases, their index and the root that they are judged under."""
    for path in TOKENS.glob("*.der"):
        path.unlink()
    for case in cases().values():
        (TOKENS / f"{case.name}.der").write_bytes(case.response)
    (TOKENS / "root.pem").write_bytes(PKI.root.public_bytes(Encoding.PEM))
    index = {"root": "root.pem", "cases": [index_entry(case) for case in cases().values()]}
    (TOKENS / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_stored()
