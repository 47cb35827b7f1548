"""Which kinds of tokens other verifiers take inside an evidence record: what to ask of a time-stamp authority."""

from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from minutier import algorithms
from minutier.evidence import build_batch, initial_record
from tests.support import pki
from tests.support.renewals import OLD, STAMPED, YEAR, batch, century, hashed
from tests.support.verifiers import NAMES, all_answers

SHA384, SHA512, SHA3_512 = (f"2.16.840.1.101.3.4.2.{number}" for number in (2, 3, 10))


def signed_with(digest, hashed_by, signature: str) -> dict:
    return {
        "digest_algorithm": digest, "hashed": hashed_by, "signature_algorithm": algorithms.identifier(signature),
    }  # fmt: skip


@cache
def kinds() -> dict[str, tuple[pki.Key, dict]]:
    """The key of the authority and how it signs, by name."""
    p384, p521 = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP521R1())
    return {
        "ECDSA P-256, SHA-256": (pki.new_key(), {}),
        "ECDSA P-384, SHA-256": (p384, {}),
        "ECDSA P-384, SHA-384": (p384, signed_with(SHA384, hashes.SHA384(), "1.2.840.10045.4.3.3")),
        "ECDSA P-521, SHA-512": (p521, signed_with(SHA512, hashes.SHA512(), "1.2.840.10045.4.3.4")),
        "ECDSA P-256, SHA3-512": (
            pki.new_key(), signed_with(SHA3_512, hashes.SHA3_512(), "2.16.840.1.101.3.4.3.12"),
        ),
        "RSA 3072, PKCS #1": (pki.rsa_key(), {}),
        "RSA 3072, PSS": (pki.rsa_key(), {"signature_algorithm": pki.PSS_SHA256}),
        "RSA 2048, PKCS #1": (pki.rsa_key(2048), {}),
        "Ed25519": (
            ed25519.Ed25519PrivateKey.generate(), {"digest_algorithm": SHA512, "hashed": hashes.SHA512()},
        ),
        "without its certificate": (pki.new_key(), {"embedded": []}),
    }  # fmt: skip


# Who refuses. RSA below 3000 bits ended on 2026-04-01 for us (ETSI TS 119 312); the policy of DSS has no Ed25519.
REFUSED_BY = {"RSA 2048, PKCS #1": {"ours"}, "Ed25519": {"dss"}, "without its certificate": set(NAMES)}
NAMED = [
    "ECDSA P-256, SHA-256", "ECDSA P-384, SHA-256", "ECDSA P-384, SHA-384", "ECDSA P-521, SHA-512",
    "ECDSA P-256, SHA3-512", "RSA 3072, PKCS #1", "RSA 3072, PSS", "RSA 2048, PKCS #1", "Ed25519",
    "without its certificate",
]  # fmt: skip


def question(name: str):
    key, options = kinds()[name]
    issuer = (century().root, century().root_key)
    certificate = pki.issue(
        f"TSA {name}", key, issuer=issuer, eku=pki.TIME_STAMPING, start=STAMPED - YEAR / 12, end=STAMPED + YEAR
    )
    (document,) = batch(1).documents
    root, (path,) = build_batch([[hashed(OLD, item) for item in document]])
    info = pki.make_info(root, gen_time=STAMPED)
    token = pki.make_token(pki.default_pki(), info, certificate=certificate, key=key, **options)
    return century().question(name, initial_record(path, token), document, (STAMPED,))


@pytest.fixture(scope="module")
def answers(judges, tmp_path_factory):
    assert list(kinds()) == NAMED
    return all_answers(judges, [question(name) for name in NAMED], tmp_path_factory.mktemp("kinds"))


@pytest.mark.parametrize("name", NAMED)
def test_who_takes_it(answers, name):
    assert {judge for judge in NAMES if not answers[judge][name].accepted} == REFUSED_BY.get(name, set())
