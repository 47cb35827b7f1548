"""The same bytes are judged once; other bytes, a refusal, and the question whom to trust are judged every time."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from minutier import certificates, issuance, seal, timestamp
from minutier.errors import IntegrityFailureError
from tests.support.pki import NOW, default_pki, make_info, make_token, new_pki

DIGEST = bytes(32)


def token(serial: int = 7) -> bytes:
    return make_token(default_pki(), make_info(DIGEST, serial=serial))


def altered(data: bytes, place: int = -1) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_the_same_token_is_read_once():
    data = token()
    assert timestamp.inspect_token(data) is timestamp.inspect_token(bytes(bytearray(data)))


def test_one_other_byte_is_another_token_however_often_it_is_asked():
    data = token(serial=8)
    timestamp.inspect_token(data)
    for _ in range(3):
        with pytest.raises(IntegrityFailureError):
            timestamp.inspect_token(altered(data))
    assert timestamp.inspect_token(data).serial == 8


def test_whom_to_trust_is_asked_each_time():
    data, pki = token(serial=9), default_pki()
    assert timestamp.check_token(data, DIGEST, [pki.root]).serial == 9
    with pytest.raises(IntegrityFailureError) as caught:
        timestamp.check_token(data, DIGEST, [new_pki().root])
    assert caught.value.code == "TOKEN_CHAIN"
    with pytest.raises(IntegrityFailureError) as caught:
        timestamp.check_token(data, bytes(31) + b"\x01", [pki.root])
    assert caught.value.code == "TOKEN_IMPRINT"


def test_a_seal_is_kept_with_its_content():
    pki = default_pki()
    sealed = seal.seal(b"content", pki.signer, NOW)
    assert seal.inspect_seal(b"content", sealed) is seal.inspect_seal(b"content", sealed)
    for content, signature in ((b"another", sealed), (b"content", altered(sealed))):
        for _ in range(2):
            with pytest.raises(IntegrityFailureError):
                seal.inspect_seal(content, signature)
    with pytest.raises(IntegrityFailureError) as caught:
        seal.check_seal(b"content", sealed, [new_pki().root], NOW)
    assert caught.value.code == "SEAL_CHAIN"


def test_a_certificate_is_kept_by_its_whole_content():
    data = default_pki().tsa.public_bytes(Encoding.DER)
    assert certificates.load_certificate(data) is certificates.load_certificate(data)
    other = certificates.load_certificate(altered(data))  # the signature alone differs: nobody has asked for it yet
    assert other.public_bytes(Encoding.DER) == altered(data)
    for _ in range(2):
        with pytest.raises(ValueError, match="bytes follow"):
            certificates.load_certificate(data + b"\x00")


def test_what_is_kept_is_bounded():
    for number in range(100):
        timestamp.inspect_token(token(serial=100 + number))
    kept = (timestamp._inspected.cache_info(), seal._inspect.cache_info(), issuance._loaded.cache_info())
    assert [each.maxsize for each in kept] == [64, 8, 128]
    assert all(each.currsize <= each.maxsize for each in kept)
