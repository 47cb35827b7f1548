"""Certificates and revocation lists: read strictly, and paths found only to anchors that were given."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, x448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from minutier import certificates, der, issuance
from minutier.certificates import encode_pem, load_certificate, load_crl, load_pem, name_of, signed_by, validate_path
from minutier.errors import IntegrityFailureError
from tests.support.pki import END, NOW, START, default_pki, issue, make_crl, new_key, new_pki

PKI = default_pki()


def refusal(leaf, *, pool=(), at=NOW, crls=()) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        validate_path(leaf, pool, [PKI.root], at, crls, prefix="T")
    return caught.value.code


def fields(data: bytes) -> list[bytes]:
    return [item.encoded for item in der.read(data).children()]


def with_body(data: bytes, change) -> bytes:
    """Give a certificate or list whose signed body was altered; its signature no longer verifies."""
    body, *rest = fields(data)
    return der.sequence(der.sequence(*change(fields(body))), *rest)


DER = PKI.tsa.public_bytes(Encoding.DER)
CRL = PKI.crl.public_bytes(Encoding.DER)
EXTENSION = der.sequence(der.oid("2.5.29.19"), der.octets(der.sequence()))
UNREADABLE = {
    "nothing": b"",
    "cut": DER[:-1],
    "trailing": DER + b"\0",
    "name-in-a-bit-string": with_body(
        DER,
        lambda body: [
            *body[:3],
            der.sequence(der.set_of(der.sequence(der.oid("2.5.4.3"), der.tlv(der.BIT_STRING, b"\0x")))),
            *body[4:],
        ],
    ),
    "version-1": with_body(DER, lambda body: body[1:-1]),
    "version-2": with_body(DER, lambda body: [der.context(0, der.integer(1)), *body[1:]]),
    "serial-zero": with_body(DER, lambda body: [body[0], der.integer(0), *body[2:]]),
    "serial-negative": with_body(DER, lambda body: [body[0], der.integer(-5), *body[2:]]),
    "extension-twice": with_body(DER, lambda body: [*body[:-1], der.context(3, der.sequence(EXTENSION, EXTENSION))]),
    "key-of-an-unknown-kind": with_body(
        DER,
        lambda body: [*body[:6], der.sequence(der.sequence(der.oid("2.999.8")), der.tlv(3, b"\0\1")), *body[7:]],
    ),
    "signature-with-unused-bits": der.sequence(*fields(DER)[:2], der.tlv(der.BIT_STRING, b"\x01\x02")),
    "signature-of-nothing": der.sequence(*fields(DER)[:2], der.tlv(der.BIT_STRING)),
    "fourth-field": der.sequence(*fields(DER), der.null()),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_certificate_in_another_form_is_not_read(name):
    with pytest.raises(ValueError, match=r"."):
        load_certificate(UNREADABLE[name])


LISTS = {
    "nothing": b"",
    "trailing": CRL + b"\0",
    "version-9": with_body(CRL, lambda body: [der.integer(9), *body[1:]]),
    "signature-with-unused-bits": der.sequence(*fields(CRL)[:2], der.tlv(der.BIT_STRING, b"\x01\x02")),
    "a-certificate": DER,
    "extension-twice": with_body(CRL, lambda body: [*body, der.context(0, der.sequence(EXTENSION, EXTENSION))]),
    "signature-algorithm-unknown": der.sequence(fields(CRL)[0], der.sequence(der.oid("2.999.9")), fields(CRL)[2]),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_in_another_form_is_not_read(name):
    with pytest.raises(ValueError, match=r"."):
        load_crl(LISTS[name])


def test_pem_files_there_and_back():
    both = (PKI.seal, PKI.root)
    assert load_pem(encode_pem(both)) == both
    assert load_certificate(DER) == PKI.tsa
    assert load_crl(CRL) == PKI.crl
    for nothing in (b"", b"text", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match=r"."):
            load_pem(nothing)


def test_no_altered_byte_of_a_list_is_read_as_signed():
    for index in range(len(CRL)):
        for bit in range(8):
            spoiled = CRL[:index] + bytes((CRL[index] ^ 1 << bit,)) + CRL[index + 1 :]
            try:
                read = load_crl(spoiled)
            except ValueError:
                continue
            assert not signed_by(read, PKI.root), (index, bit)


def test_a_list_is_signed_by_its_issuer_only():
    assert signed_by(PKI.crl, PKI.root)
    assert not signed_by(PKI.crl, PKI.tsa)
    assert not signed_by(PKI.crl, new_pki("Test").root)  # the same name, another key


def test_a_list_signed_over_a_weak_hash_says_nothing():
    start = x509.CertificateRevocationListBuilder().issuer_name(PKI.root.subject).last_update(START).next_update(END)
    assert not signed_by(start.sign(PKI.root_key, hashes.SHA224()), PKI.root)
    assert signed_by(start.sign(PKI.root_key, hashes.SHA256()), PKI.root)
    key = ed25519.Ed25519PrivateKey.generate()
    assert signed_by(start.sign(key, None), issue("Test root", key, ca=True))


def test_a_key_that_cannot_sign_signed_no_list():
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test root")])
    agreement = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(5).not_valid_before(START)
        .not_valid_after(END).public_key(x448.X448PrivateKey.generate().public_key())
        .sign(PKI.root_key, hashes.SHA256())
    )  # fmt: skip
    assert not signed_by(PKI.crl, agreement)


def test_a_list_must_be_there_for_each_certificate_and_be_whole():
    key = new_key()
    middle = issue("Middle", key, issuer=(PKI.root, PKI.root_key), ca=True)
    leaf = issue("Leaf", new_key(), issuer=(middle, key))
    both = [PKI.crl, make_crl(middle, key)]
    assert validate_path(leaf, [middle], [PKI.root], NOW, both, prefix="T").revocation_known
    assert not validate_path(leaf, [middle], [PKI.root], NOW, both[:1], prefix="T").revocation_known
    critical = (
        x509.CertificateRevocationListBuilder().issuer_name(middle.subject).last_update(START).next_update(END)
        .add_extension(x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier("http://example.org/part.crl")], relative_name=None,
            only_contains_user_certs=False, only_contains_ca_certs=False, only_some_reasons=None,
            indirect_crl=False, only_contains_attribute_certs=False,
        ), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    partial = [PKI.crl, critical]
    assert not validate_path(leaf, [middle], [PKI.root], NOW, partial, prefix="T").revocation_known


def test_a_path_has_at_most_six_certificates_below_the_root():
    issuer, pool = (PKI.root, PKI.root_key), []
    for depth in range(6):
        leaf = issue(f"Leaf {depth}", new_key(), issuer=issuer)
        if depth <= 4:
            assert len(validate_path(leaf, pool, [PKI.root], NOW, prefix="T").certificates) == depth + 2
        key = new_key()
        issuer = (issue(f"Middle {depth}", key, issuer=issuer, ca=True), key)
        pool.append(issuer[0])
    assert refusal(issue("Too deep", new_key(), issuer=issuer), pool=pool) == "T_CHAIN"


def test_two_authorities_that_issued_each_other_lead_nowhere():
    one_key, two_key = new_key(), new_key()
    one = issue("One", one_key, ca=True)
    two = issue("Two", two_key, issuer=(one, one_key), ca=True)
    one_again = issue("One", one_key, issuer=(two, two_key), ca=True)
    assert refusal(issue("Leaf", new_key(), issuer=(two, two_key)), pool=[one, two, one_again]) == "T_CHAIN"


def test_many_certificates_of_one_name_and_key_are_looked_at_once_each(monkeypatch):
    key, asked = new_key(), []
    crowd = [issue("Crowd", key, ca=True) for _ in range(20)]
    leaf = issue("Leaf", new_key(), issuer=(crowd[0], key))
    monkeypatch.setattr(certificates, "issued", lambda *pair: asked.append(pair) or issuance.issued(*pair))
    with pytest.raises(IntegrityFailureError, match="does not lead to any trusted root"):
        validate_path(leaf, crowd, [default_pki().root], NOW, prefix="TOKEN")
    assert len(asked) < 1000


def test_a_certificate_signed_over_a_weak_hash_leads_nowhere():
    weak = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(PKI.root.subject).serial_number(9)
        .not_valid_before(START).not_valid_after(END).public_key(new_key().public_key())
        .sign(PKI.root_key, hashes.SHA224())
    )  # fmt: skip
    assert refusal(weak) == "T_CHAIN"


@pytest.mark.parametrize("at", [START - timedelta(seconds=1), END + timedelta(seconds=1)])
def test_a_path_holds_between_its_dates_only(at):
    assert refusal(PKI.seal, at=at) == "T_CHAIN"
    for edge in (START, END):
        validate_path(PKI.seal, [], [PKI.root], edge, prefix="T")


def test_names_are_printed_without_control_characters():
    assert name_of(issue("a\nb\x1b[2J", new_key())) == "CN=a\\x0ab\\x1b[2J"
    assert certificates.failure("T", "X", "sentence.", "clause").message == "Sentence."


@pytest.mark.parametrize(("usage", "counts"), [(None, True), ("crl", True), ("certificates", False)])
def test_a_list_counts_when_its_issuer_may_sign_lists(usage, counts):
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(5).not_valid_before(START)
        .not_valid_after(END).public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )  # fmt: skip
    if usage is not None:
        flags = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "encipher_only", "decipher_only"), False,
        )  # fmt: skip
        builder = builder.add_extension(
            x509.KeyUsage(**flags, key_cert_sign=True, crl_sign=usage == "crl"), critical=True
        )
    root = builder.sign(key, hashes.SHA256())
    leaf = issue("Leaf", new_key(), issuer=(root, key))
    found = validate_path(leaf, [], [root], NOW, [make_crl(root, key)], prefix="T")
    assert found.revocation_known is counts
