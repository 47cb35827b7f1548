"""A PKI whose keys come from names or from files of tests/vectors: what is made with it is the same every time.

These keys are public. They serve tests, and nothing else.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.support.pki import TIME_STAMPING, Key, Pki, issue, make_crl

TOKENS = Path(__file__).parents[1] / "vectors" / "tokens"


def fixed_key(name: str, curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    """Give the test key of that name."""
    seed = hashlib.sha512(f"minutier test key, of no value: {name}".encode()).digest()[:27]
    return ec.derive_private_key(int.from_bytes(seed, "big"), curve or ec.SECP256R1())


def fixed_ed25519(name: str) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"minutier test key: {name}".encode()).digest())


@cache
def fixed_rsa(bits: int) -> rsa.RSAPrivateKey:
    key = load_pem_private_key((TOKENS / "keys" / f"rsa-{bits}.pem").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def fixed_issue(name: str, key: Key, serial: str | None = None, **options) -> x509.Certificate:
    """Make the certificate of that name; its serial number comes from `serial`, or from the name."""
    number = int.from_bytes(hashlib.sha256((serial or name).encode()).digest()[:15], "big")
    return issue(name, key, serial=number, **options)


@cache
def fixed_pki(name: str = "Vector", keys: str = "") -> Pki:
    """Make the PKI of that name; `keys` makes a twin of it: the same names, other keys."""
    root_key, tsa_key, seal_key = (fixed_key(f"{name} {role} {keys}") for role in ("root", "TSA", "seal"))
    root = fixed_issue(f"{name} root", root_key, ca=True)
    tsa = fixed_issue(f"{name} TSA", tsa_key, issuer=(root, root_key), eku=TIME_STAMPING)
    seal = fixed_issue(f"{name} seal", seal_key, issuer=(root, root_key), non_repudiation=True)
    return Pki(root_key, root, tsa_key, tsa, seal_key, seal, fixed_ed25519(name), make_crl(root, root_key))
