"""What is not on the list is refused: no default, no fall-back, no other spelling."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from minutier import algorithms, der
from minutier.algorithms import AlgorithmError
from tests.support.pki import PSS_SHA256, new_key, rsa_key, sign

BEFORE, AFTER = datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
MESSAGE = b"signed attributes"
RSA_OID, MGF1 = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.8"


def verify(key, algorithm: bytes, signature: bytes, digest="sha256"):
    return algorithms.verify_signature(key.public_key(), der.read(algorithm), digest, signature, MESSAGE)


@pytest.mark.parametrize("name", ["md5", "sha1", "sha224", "blake2b", "SHA256", ""])
def test_other_hashes_are_refused(name):
    with pytest.raises(AlgorithmError):
        algorithms.hash_identifier(name)
    with pytest.raises(AlgorithmError):
        algorithms.digest(name, b"")


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512"])
def test_listed_hashes_are_read_with_absent_or_null_parameters(name):
    plain = algorithms.hash_identifier(name)
    assert algorithms.read_hash(der.read(plain)) == name
    with_null = der.sequence(*(item.encoded for item in der.read(plain).children()), der.null())
    assert algorithms.read_hash(der.read(with_null)) == name
    with pytest.raises(der.DerError):
        algorithms.read_hash(der.read(der.sequence(der.read(plain).children()[0].encoded, der.integer(1))))


def test_certificates_signed_over_a_weak_hash_do_not_count():
    for weak in (hashes.SHA1(), hashes.MD5(), hashes.SHA224()):
        with pytest.raises(AlgorithmError):
            algorithms.check_certificate_hash(weak)
    for good in (None, hashes.SHA256(), hashes.SHA3_512()):
        algorithms.check_certificate_hash(good)


def test_keys_count_by_kind_curve_and_size():
    for key in (new_key(), rsa_key(), ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()):
        algorithms.check_key(key.public_key(), AFTER)
    algorithms.check_key(rsa_key(2048).public_key(), BEFORE)
    refused = (
        rsa_key(2048),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2048),
    )
    for key in refused:
        with pytest.raises(AlgorithmError):
            algorithms.check_key(key.public_key(), AFTER)
    with pytest.raises(AlgorithmError):
        algorithms.check_key(rsa.generate_private_key(65537, 1024).public_key(), BEFORE)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (new_key(), algorithms.identifier(algorithms.ECDSA_SHA256)),
        (rsa_key(), algorithms.identifier("1.2.840.113549.1.1.11")),
        (rsa_key(), der.sequence(der.oid(RSA_OID), der.null())),
        (rsa_key(), PSS_SHA256),
        (ed25519.Ed25519PrivateKey.generate(), algorithms.identifier("1.3.101.112")),
    ],
    ids=["ecdsa", "rsa-sha256", "rsa", "pss", "ed25519"],
)
def test_a_listed_signature_verifies_and_no_other(key, algorithm):
    good = sign(key, MESSAGE, hashes.SHA256(), pss=algorithm == PSS_SHA256)
    assert verify(key, algorithm, good) == der.read(algorithm).children()[0].as_oid()
    for bad in (good[:-1] + bytes((good[-1] ^ 1,)), good[:-1], b""):
        with pytest.raises(InvalidSignature):
            verify(key, algorithm, bad)
    with pytest.raises(AlgorithmError):  # the algorithm of another kind of key
        verify(ed448.Ed448PrivateKey.generate(), algorithm, good)


def test_a_signature_over_another_hash_than_the_digest_is_refused():
    key = new_key()
    good = key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(AlgorithmError):
        verify(key, algorithms.identifier(algorithms.ECDSA_SHA256), good, digest="sha512")


def pss(*, hashed="sha256", masked="sha256", mask=MGF1, salt=32) -> bytes:
    parameters = der.sequence(
        der.context(0, algorithms.hash_identifier(hashed)),
        der.context(1, der.sequence(der.oid(mask), algorithms.hash_identifier(masked))),
        der.context(2, der.integer(salt)),
    )
    return der.sequence(der.oid("1.2.840.113549.1.1.10"), parameters)


@pytest.mark.parametrize(
    "algorithm",
    [pss(mask="2.999.1"), pss(masked="sha512"), pss(hashed="sha512"), pss(salt=513), pss(salt=-1)],
    ids=["mask-function", "mask-hash", "hash", "salt-too-long", "salt-negative"],
)
def test_other_parameters_of_pss_are_refused(algorithm):
    good = sign(rsa_key(), MESSAGE, hashes.SHA256(), pss=True)
    assert verify(rsa_key(), pss(), good)
    with pytest.raises(AlgorithmError):
        verify(rsa_key(), algorithm, good)


def test_a_salt_of_another_length_does_not_verify():
    with pytest.raises(InvalidSignature):
        verify(rsa_key(), pss(salt=20), sign(rsa_key(), MESSAGE, hashes.SHA256(), pss=True))


def test_the_message_is_hashed_here():
    # A signature over a digest given as message would let the signer choose what was hashed.
    key = new_key()
    with pytest.raises(InvalidSignature):
        verify(
            key,
            algorithms.identifier(algorithms.ECDSA_SHA256),
            key.sign(MESSAGE.ljust(32, b"\0"), ec.ECDSA(Prehashed(hashes.SHA256()))),
        )


PSS_OID = "1.2.840.113549.1.1.10"


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (algorithms.identifier(algorithms.ECDSA_SHA256), "sha256"),
        (algorithms.identifier(algorithms.ECDSA_SHA512), "sha512"),
        (der.sequence(der.oid("1.2.840.113549.1.1.12"), der.null()), "sha384"),
        (algorithms.identifier("1.3.101.112"), "sha512"),
        (der.sequence(der.oid(PSS_OID), der.sequence(der.context(0, algorithms.hash_identifier("sha384")))), "sha384"),
    ],
)
def test_a_signature_algorithm_names_its_hash(algorithm, name):
    assert algorithms.hash_of_signature(der.read(algorithm)) == name


@pytest.mark.parametrize(
    "algorithm",
    [
        algorithms.identifier("1.2.840.10045.4.1"),
        algorithms.identifier("2.999.7"),
        der.sequence(der.oid(PSS_OID), der.sequence()),
        der.sequence(der.oid(PSS_OID), der.sequence(der.context(0, algorithms.identifier("1.3.14.3.2.26")))),
    ],
)
def test_a_signature_algorithm_over_a_weak_or_unknown_hash_is_refused(algorithm):
    with pytest.raises(algorithms.AlgorithmError):
        algorithms.hash_of_signature(der.read(algorithm))


ED25519_OID, PSS_OID, ML_DSA_OID = "1.3.101.112", "1.2.840.113549.1.1.10", algorithms.ML_DSA_65


def told(call) -> str:
    with pytest.raises(AlgorithmError) as caught:
        call()
    return str(caught.value)


def test_names_under_which_a_signature_and_its_key_end():
    ecdsa, edwards = new_key().public_key(), ed25519.Ed25519PrivateKey.generate().public_key()
    small, large = rsa_key(2048).public_key(), rsa_key(3072).public_key()
    assert algorithms.key_names(ecdsa, algorithms.ECDSA_SHA256) == {"ecdsa"}
    assert algorithms.key_names(ecdsa, "2.16.840.1.101.3.4.3.12") == {"ecdsa"}
    assert algorithms.key_names(edwards, ED25519_OID) == {"ed25519"}
    assert algorithms.key_names(large, RSA_OID) == {"rsa-pkcs1"}
    assert algorithms.key_names(large, "1.2.840.113549.1.1.11") == {"rsa-pkcs1"}
    assert algorithms.key_names(large, PSS_OID) == {"rsa-pss"}
    assert algorithms.key_names(small, PSS_OID) == {"rsa-pss", "rsa-2048"}
    assert algorithms.key_names(small, "1.2.840.113549.1.1.13") == {"rsa-pkcs1", "rsa-2048"}
    assert algorithms.key_names(rsa.generate_private_key(65537, 3000).public_key(), PSS_OID) == {"rsa-pss"}
    assert algorithms.key_names(ecdsa, "2.999") == {"2.999"}  # absent from every table of dates: it never counted


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (algorithms.identifier(ED25519_OID), "sha512"),
        (algorithms.identifier(algorithms.ECDSA_SHA256), "sha256"),
        (algorithms.identifier("1.2.840.113549.1.1.12"), "sha384"),
        (algorithms.identifier("2.16.840.1.101.3.4.3.11"), "sha3_384"),
        (pss(), "sha256"),
        (pss(hashed="sha3_512"), "sha3_512"),
    ],
)
def test_the_hash_that_a_signature_names_by_itself(algorithm, name):
    assert algorithms.hash_of_signature(der.read(algorithm)) == name


@pytest.mark.parametrize(
    ("algorithm", "why"),
    [
        (algorithms.identifier(RSA_OID), f"signature algorithm {RSA_OID} is not on the list"),
        (der.sequence(der.oid(PSS_OID), der.sequence()), "RSASSA-PSS says its hash: its default is SHA-1"),
        (
            der.sequence(der.oid(PSS_OID), der.sequence(der.context(0, der.sequence(der.oid("1.3.14.3.2.26"))))),
            "hash 1.3.14.3.2.26 is not on the list",
        ),
    ],
)
def test_a_signature_that_names_no_listed_hash(algorithm, why):
    assert told(lambda: algorithms.hash_of_signature(der.read(algorithm))) == why


def test_pss_parameters_are_a_sequence():
    with pytest.raises(der.DerError):
        algorithms.hash_of_signature(der.read(der.sequence(der.oid(PSS_OID), der.null())))
    with pytest.raises(der.DerError):
        verify(rsa_key(), der.sequence(der.oid(PSS_OID), der.null()), b"")


def test_why_a_key_or_a_hash_does_not_count():
    day = datetime(2026, 4, 1, tzinfo=UTC)
    for bits in (2048, 2999):
        key = rsa.generate_private_key(65537, bits).public_key()
        assert told(lambda key=key: algorithms.check_key(key, day)).endswith("bits no longer counts at 2026-04-01")
        algorithms.check_key(key, day - (AFTER - BEFORE))
    algorithms.check_key(rsa.generate_private_key(65537, 3000).public_key(), day)
    old = rsa.generate_private_key(65537, 2047).public_key()
    assert told(lambda: algorithms.check_key(old, BEFORE)) == "an RSA key of 2047 bits no longer counts at 2026-03-31"
    curve = ec.generate_private_key(ec.SECP256K1()).public_key()
    assert told(lambda: algorithms.check_key(curve, day)) == "curve secp256k1 is not on the list"
    other = dsa.generate_private_key(2048).public_key()
    assert told(lambda: algorithms.check_key(other, day)).endswith("is not on the list")
    for good in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.BrainpoolP256R1(), ec.BrainpoolP512R1()):
        algorithms.check_key(ec.generate_private_key(good).public_key(), day)
    assert told(lambda: algorithms.check_certificate_hash(hashes.SHA1())) == "sha1 signs a certificate or a CRL"
    assert told(lambda: algorithms.digest("md5", b"")) == "hash md5 is not on the list"
    assert told(lambda: algorithms.hash_identifier("md5")) == "hash md5 is not on the list"
    assert (
        told(lambda: algorithms.read_hash(der.read(algorithms.identifier("2.999")))) == "hash 2.999 is not on the list"
    )


def test_why_a_signature_is_not_even_tried():
    key, edwards = new_key(), ed25519.Ed25519PrivateKey.generate()
    plain = algorithms.identifier(algorithms.ECDSA_SHA256)
    good = key.sign(MESSAGE, ec.ECDSA(hashes.SHA256()))
    mismatch = "the signature and the digest use different hashes"
    assert told(lambda: verify(key, plain, good, digest="sha512")) == mismatch
    unlisted = "signature algorithm {} is not on the list, or is not the key's"
    for oid in (RSA_OID, ED25519_OID, ML_DSA_OID, "2.999"):
        assert told(lambda oid=oid: verify(key, algorithms.identifier(oid), good)) == unlisted.format(oid)
    assert told(lambda: verify(edwards, plain, good)) == unlisted.format(algorithms.ECDSA_SHA256)
    assert told(lambda: verify(rsa_key(), algorithms.identifier(ED25519_OID), good)) == unlisted.format(ED25519_OID)
    assert told(lambda: verify(key, pss(), good)) == unlisted.format(PSS_OID)
    assert verify(key, der.sequence(der.oid(algorithms.ECDSA_SHA256), der.null()), good)
    for oid in (ED25519_OID, ML_DSA_OID):
        with pytest.raises(der.DerError):  # no parameters, not even NULL (RFC 8410 §3, RFC 9882 §3.2)
            verify(edwards, der.sequence(der.oid(oid), der.null()), b"")


@pytest.mark.parametrize(
    ("algorithm", "why"),
    [
        (pss(mask="2.999.1"), "RSASSA-PSS takes MGF1"),
        (pss(masked="sha512"), "RSASSA-PSS takes one hash throughout"),
        (pss(hashed="sha512"), "RSASSA-PSS takes one hash throughout"),
        (pss(hashed="sha512", masked="sha512"), "RSASSA-PSS takes one hash throughout"),
        (pss(salt=513), "RSASSA-PSS salt length is out of bounds"),
        (pss(salt=-1), "RSASSA-PSS salt length is out of bounds"),
    ],
)
def test_why_parameters_of_pss_are_refused(algorithm, why):
    assert told(lambda: verify(rsa_key(), algorithm, b"")) == why


@pytest.mark.parametrize("missing", range(3))
def test_defaults_of_pss_are_refused(missing):
    parameters = [item.encoded for item in der.read(pss()).children()[1].children()]
    del parameters[missing]
    algorithm = der.sequence(der.oid(PSS_OID), der.sequence(*parameters))
    why = "RSASSA-PSS says its hash, mask and salt: its defaults are SHA-1"
    assert told(lambda: verify(rsa_key(), algorithm, b"")) == why
    whole = [item.encoded for item in der.read(pss()).children()[1].children()]
    with pytest.raises(InvalidSignature, match="unexpected field"):
        verify(rsa_key(), der.sequence(der.oid(PSS_OID), der.sequence(*whole, der.null())), b"")


@pytest.mark.parametrize("salt", [0, 20, 64])
def test_salts_within_the_bounds_verify(salt):
    signature = rsa_key().sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
    assert verify(rsa_key(), pss(salt=salt), signature) == PSS_OID
    with pytest.raises(InvalidSignature):
        verify(rsa_key(), pss(salt=512), signature)


def test_digests_are_of_the_data():
    assert algorithms.digest("sha256", b"abc").hex().startswith("ba7816bf8f01cfea")
    assert algorithms.digest("sha3_512", b"abc").hex().startswith("b751850b1a57168a")


def test_a_post_quantum_signature_verifies_under_its_own_key_alone():
    key, algorithm = mldsa.MLDSA65PrivateKey.generate(), algorithms.identifier(ML_DSA_OID)
    assert verify(key, algorithm, key.sign(MESSAGE), digest="sha512") == ML_DSA_OID
    with pytest.raises(InvalidSignature):
        verify(key, algorithm, key.sign(MESSAGE + b"x"), digest="sha512")
    with pytest.raises(AlgorithmError):
        verify(key, algorithms.identifier(ED25519_OID), key.sign(MESSAGE))
