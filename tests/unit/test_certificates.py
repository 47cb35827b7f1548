"""Certificates and revocation lists: read strictly, and paths found only to anchors that were given."""

from __future__ import annotations

import base64
import time
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x448
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from minutier import certificates, der, issuance
from minutier.certificates import (
    WRONG_ROOT,
    encode_pem,
    load_certificate,
    load_crl,
    load_pem,
    name_of,
    signed_by,
    validate_path,
)
from minutier.errors import IntegrityFailureError
from tests.support.pki import END, NOW, START, default_pki, issue, make_crl, new_key, new_pki
from tests.support.said import well_said

PKI = default_pki()


def refusal(leaf, *, pool=(), at=NOW, crls=()) -> str:
    with pytest.raises(IntegrityFailureError) as caught:
        validate_path(leaf, pool, [PKI.root], at, crls, prefix="T")
    return well_said(caught.value)


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


def test_sixty_authorities_that_issued_each_other_are_told_apart_in_little_time():
    # Each could have issued each: a search along every way would never end.
    key = new_key()
    pool = [issue("Round", key, ca=True) for _ in range(60)]
    started = time.process_time()
    assert refusal(issue("Leaf", new_key(), issuer=(pool[0], key)), pool=pool) == "T_CHAIN"
    assert time.process_time() - started < 20


def said(leaf, *, pool=(), roots=(PKI.root,), at=NOW) -> tuple[str, str, str]:
    with pytest.raises(IntegrityFailureError) as caught:
        validate_path(leaf, pool, roots, at, prefix="T")
    return caught.value.code, caught.value.message, caught.value.clause


def authority(name: str = "Middle", *, above=(PKI.root, PKI.root_key), ca: bool = True, **options):
    key = new_key()
    return issue(name, key, issuer=above, ca=ca, **options), key


def below(issuer):
    return issue("Leaf", new_key(), issuer=issuer)


def test_what_each_refusal_of_a_path_says():
    message = f"CN=Leaf does not lead to any trusted root. {WRONG_ROOT}"
    assert said(below(authority())) == ("T_CHAIN", message, "RFC 5280 §6.1")
    early = ("T_CHAIN", "CN=Test seal was not valid at 2026-10-24T09:59:59Z.", "RFC 5280 §6.1.3 (a)(2)")
    assert said(PKI.seal, at=START - timedelta(seconds=1)) == early
    odd = issue("Odd", new_key(), issuer=(PKI.root, PKI.root_key), odd_critical_extension=True)
    message = "CN=Odd has the critical extension 2.999.77, which is not understood."
    assert said(odd) == ("T_CHAIN", message, "RFC 5280 §4.2")
    weak = issue("Weak", rsa.generate_private_key(65537, 2048), issuer=(PKI.root, PKI.root_key))
    message = "CN=Weak: an RSA key of 2048 bits no longer counts at 2026-11-23."
    assert said(weak) == ("T_ALGORITHM", message, "ETSI TS 119 312")


def test_what_is_asked_of_an_issuer_and_not_of_a_leaf():
    plain = authority(ca=False, cert_sign=True)
    message = "CN=Middle issued a certificate but is not a CA."
    assert said(below(plain), pool=[plain[0]]) == ("T_CHAIN", message, "RFC 5280 §6.1.4 (k)")
    mute = authority(cert_sign=False)
    message = "CN=Middle may not sign certificates."
    assert said(below(mute), pool=[mute[0]]) == ("T_CHAIN", message, "RFC 5280 §6.1.4 (n)")
    for leaf in (plain[0], mute[0]):
        validate_path(leaf, [], [PKI.root], NOW, prefix="T")


@pytest.mark.parametrize(
    ("length", "between", "fits"), [(0, 0, True), (0, 1, False), (1, 1, True), (1, 2, False), (2, 2, True)]
)
def test_the_length_of_a_path_is_as_the_authority_allows(length, between, fits):
    top = authority("Top", path_length=length)
    pool, above = [top[0]], top
    for number in range(between):
        above = authority(f"Between {number}", above=above)
        pool.append(above[0])
    leaf = below(above)
    if fits:
        assert len(validate_path(leaf, pool, [PKI.root], NOW, prefix="T").certificates) == between + 3
    else:
        message = "CN=Top does not allow a path this long."
        assert said(leaf, pool=pool) == ("T_CHAIN", message, "RFC 5280 §6.1.4 (m)")


def test_every_certificate_of_a_path_is_checked_the_root_included():
    middle = authority(end=NOW - timedelta(days=1))
    assert said(below(middle), pool=[middle[0]])[1] == "CN=Middle was not valid at 2026-11-23T10:00:00Z."
    key = new_key()
    old = issue("Old root", key, ca=True, end=NOW - timedelta(days=1))
    leaf = issue("Leaf", new_key(), issuer=(old, key))
    assert said(leaf, roots=[old])[1] == "CN=Old root was not valid at 2026-11-23T10:00:00Z."


def test_a_root_of_the_verifier_that_is_the_leaf_stands_for_nothing():
    assert said(PKI.seal, roots=[PKI.seal])[0] == "T_CHAIN"
    assert validate_path(PKI.seal, [PKI.root], [PKI.tsa, PKI.root], NOW, prefix="T").certificates == (
        PKI.seal,
        PKI.root,
    )


def test_at_most_64_certificates_are_looked_at():
    middle = authority()
    crowd = [issue(f"Other {number}", new_key()) for number in range(64)]
    leaf = below(middle)
    assert len(validate_path(leaf, [*crowd[:63], middle[0]], [PKI.root], NOW, prefix="T").certificates) == 3
    assert said(leaf, pool=[*crowd, middle[0]])[0] == "T_CHAIN"


def test_revocation_is_confirmed_only_when_it_is_for_every_certificate():
    middle = authority()
    leaf = below(middle)
    late = {"start": NOW, "end": END}
    lists = [make_crl(PKI.root, PKI.root_key, **late), make_crl(*middle, **late)]
    early = [make_crl(PKI.root, PKI.root_key), make_crl(*middle)]

    def known(*crls) -> tuple[bool, bool]:
        found = validate_path(leaf, [middle[0]], [PKI.root], NOW, crls, prefix="T")
        return found.revocation_known, found.revocation_confirmed

    assert known(*lists) == (True, True)
    assert known(*early) == (True, False)
    assert known(lists[0], early[1]) == known(early[0], lists[1]) == (True, False)
    assert known(lists[0]) == known(lists[1]) == known() == (False, False)


def test_the_first_serial_number_is_read_and_each_field_has_its_type():
    load_certificate(with_body(DER, lambda body: [body[0], der.integer(1), *body[2:]]))
    body, algorithm, signature = fields(DER)
    wrong = {
        "version is not a number": with_body(DER, lambda body: [der.context(0, der.null()), *body[1:]]),
        "version under another tag": with_body(DER, lambda body: [der.context(1, der.integer(2)), *body[1:]]),
        "algorithm is a set": der.sequence(body, der.read(algorithm).retagged(der.SET).encoded, signature),
        "signature of octets": der.sequence(body, algorithm, der.read(signature).retagged(der.OCTET_STRING).encoded),
    }
    for name, data in wrong.items():
        with pytest.raises(ValueError, match=r"X\.509 version 3|tag 0x"):
            load_certificate(data)
        assert name


def test_a_certificate_signed_in_an_unknown_way_is_not_read():
    unknown = DER.replace(der.oid("1.2.840.10045.4.3.2"), der.oid("1.2.840.10045.4.3.9"))
    with pytest.raises(ValueError, match=r"1\.2\.840\.10045\.4\.3\.9"):
        load_certificate(unknown)


def test_a_pem_file_with_a_certificate_of_another_version_is_not_read():
    body = with_body(DER, lambda body: [der.context(0, der.integer(5)), *body[1:]])
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(body) + b"-----END CERTIFICATE-----\n"
    with pytest.raises(ValueError, match="version"):
        load_pem(pem)


def test_the_body_of_a_list_is_a_sequence():
    body, *rest = fields(CRL)
    with pytest.raises(der.DerError, match="tag 0x30 was expected, 0x31 found"):
        load_crl(der.sequence(der.read(body).retagged(der.SET).encoded, *rest))


def test_a_compromise_learnt_later_counts_only_where_that_is_asked():
    later = make_crl(PKI.root, PKI.root_key, [(PKI.tsa, NOW + timedelta(days=1), x509.ReasonFlags.key_compromise)])
    assert validate_path(PKI.tsa, [], [PKI.root], NOW, [later], prefix="T").revocation_known
    assert validate_path(PKI.tsa, [], [PKI.root], NOW, [later], prefix="T", strict_reasons=False).revocation_known
    with pytest.raises(IntegrityFailureError) as caught:
        validate_path(PKI.tsa, [], [PKI.root], NOW, [later], prefix="T", strict_reasons=True)
    assert well_said(caught.value) == "T_REVOKED"


def test_a_pem_file_is_read_whole_or_not_at_all():
    one = PKI.root.public_bytes(Encoding.PEM)
    assert certificates.load_pem(one + b"text\n" + one) == (PKI.root, PKI.root)
    assert certificates.load_pem(one.replace(b"\n", b"\r\n")) == (PKI.root,)
    for wrong in (b"", b"text", one + one[:-30], one[:40] + b"!" + one[41:], one.replace(b"CERTIFICATE", b"KEY")):
        with pytest.raises(ValueError, match=r"certificate|base64|padding"):
            certificates.load_pem(wrong)


def test_the_base64_of_a_certificate_ends_with_its_padding():
    names = (f"Padded {'x' * number}" for number in range(60))
    padded = next(item for item in (issue(name, new_key()) for name in names) if b"=" in encode_pem([item]))
    pem = encode_pem([padded])
    assert load_pem(pem) == (padded,)
    with pytest.raises(ValueError, match="padding"):
        load_pem(pem.replace(b"\n-----END", b"\nAAAA\n-----END"))


def test_a_pem_file_is_its_certificates_one_after_the_other():
    assert encode_pem([PKI.seal, PKI.root]) == encode_pem([PKI.seal]) + encode_pem([PKI.root])
    assert encode_pem([PKI.root]) == PKI.root.public_bytes(Encoding.PEM)
