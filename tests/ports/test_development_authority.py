"""The development authority: made once, whole or not at all, and a time-stamp door that refuses what it must."""

import hashlib
import http.client
import queue
import shutil
import stat
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from minutier import algorithms, der
from minutier.certificates import load_crl, load_pem
from minutier.errors import BadInputError
from minutier.timestamp import accept_response, build_request
from storage import dev_tsa
from storage.dev_ca import create_development_ca
from storage.dev_crl import current_list
from storage.dev_tsa import DEVELOPMENT_POLICY, issue_token, load_tsa_key, make_server
from storage.files import write_durably
from tests.support.pki import make_crl

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUERY = "application/timestamp-query"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return create_development_ca(tmp_path_factory.mktemp("authority"), NOW)


def request(*, digest=b"x" * 32, version=1, policy=None, algorithm="sha256"):
    imprint = der.sequence(algorithms.hash_identifier(algorithm), der.octets(digest))
    return der.sequence(der.integer(version), imprint, der.oid(policy) if policy else b"", der.integer(77))


def rejection_bit(reply):
    """The place of the one bit set in PKIFailureInfo, and no token."""
    status = der.read(reply).reader()
    info = status.next().reader()
    assert info.next().as_integer() == 2
    bits = info.next().content
    status.end()
    value = int.from_bytes(bits[1:], "big")
    return 8 * (len(bits) - 1) - value.bit_length()


def test_it_is_made_once_and_kept(tmp_path):
    first = create_development_ca(tmp_path, NOW)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = create_development_ca(tmp_path, NOW + timedelta(days=1))
    assert again == first
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in first.pki.iterdir()) == [
        "journal.key", "journal.vkey", "root.crl", "root.key", "root.pem", "seal.key", "seal.pem", "tsa.key", "tsa.pem",
    ]  # fmt: skip


def test_keys_are_for_their_owner_alone(authority):
    for path in authority.pki.iterdir():
        if path.suffix == ".key":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(authority.pki.stat().st_mode) == 0o700


def test_an_anchor_taken_away_is_put_back_and_one_that_was_changed_is_kept(tmp_path):
    places = create_development_ca(tmp_path, NOW)
    (places.trust / "root.pem").unlink()
    (places.trust / "journal.vkey").write_text("chosen by the user\n")
    create_development_ca(tmp_path, NOW)
    assert (places.trust / "root.pem").read_bytes() == places.root.read_bytes()
    assert (places.trust / "journal.vkey").read_text() == "chosen by the user\n"


def test_a_run_cut_short_leaves_no_authority(tmp_path, monkeypatch):
    written = []

    def cut_short(path, data, **options):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        write_durably(path, data, **options)

    with monkeypatch.context() as patch:
        patch.setattr("storage.dev_ca.write_durably", cut_short)
        with pytest.raises(KeyboardInterrupt):
            create_development_ca(tmp_path, NOW)
    assert not (tmp_path / "pki").exists()
    places = create_development_ca(tmp_path, NOW)
    assert load_tsa_key(places.tsa_key).public_key() == load_pem(places.tsa_certificate.read_bytes())[0].public_key()


def test_two_at_once_end_with_the_same_authority(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(create_development_ca(tmp_path, NOW))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pki", "trust"]
    assert (tmp_path / "trust" / "root.pem").read_bytes() == found[0].root.read_bytes()


def test_a_place_that_cannot_be_taken_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("storage.dev_ca.Path.rename", refuse)
    with pytest.raises(PermissionError):
        create_development_ca(tmp_path, NOW)
    assert list(tmp_path.iterdir()) == []


def test_its_certificates_say_that_they_have_no_legal_value(authority):
    for path in (authority.root, authority.tsa_certificate, authority.seal_certificate):
        certificate = load_pem(path.read_bytes())[0]
        assert "no legal value" in certificate.subject.rfc4514_string()
        assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc


def test_openssl_accepts_each_chain_for_its_purpose(authority):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here: infra/bootstrap.sh installs it")
    for purpose, path in (("timestampsign", authority.tsa_certificate), ("smimesign", authority.seal_certificate)):
        command = [openssl, "verify", "-attime", str(int(NOW.timestamp())), "-purpose", purpose]
        done = subprocess.run([*command, "-CAfile", authority.root, path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_revocation_list_is_the_root_s(authority):
    root = load_pem(authority.root.read_bytes())[0]
    crl = x509.load_der_x509_crl(authority.root_crl.read_bytes())
    assert crl.is_signature_valid(root.public_key())
    assert list(crl) == []


@pytest.mark.parametrize(
    ("query", "bit"),
    [
        (b"", 5),
        (b"not DER", 5),
        (request()[:-1], 5),
        (request(digest=b"short"), 2),
        (request(version=2), 2),
        (request(policy="1.2.3"), 15),
        (request().replace(bytes.fromhex("0609608648016503040201"), bytes.fromhex("0609608648016503040219")), 0),
    ],
    ids=["empty", "text", "cut", "digest of another length", "version 2", "other policy", "unknown algorithm"],
)
def test_a_bad_request_is_rejected_with_the_bit_of_the_norm(authority, query, bit):
    chain = load_pem(authority.tsa_certificate.read_bytes())
    reply = issue_token(query, load_tsa_key(authority.tsa_key), chain, NOW, 1)
    assert rejection_bit(reply) == bit


def test_the_policy_may_be_asked_for(authority):
    chain = load_pem(authority.tsa_certificate.read_bytes())
    reply = issue_token(request(policy=DEVELOPMENT_POLICY), load_tsa_key(authority.tsa_key), chain, NOW, 1)
    assert der.read(reply).reader().next().reader().next().as_integer() == 0


def test_a_key_of_another_kind_is_bad_input(authority):
    with pytest.raises(BadInputError):
        load_tsa_key(authority.journal_key)


@contextmanager
def door(authority, crl=None):
    key, chain = load_tsa_key(authority.tsa_key), load_pem(authority.tsa_certificate.read_bytes())
    with make_server("127.0.0.1", 0, key, chain, lambda: NOW, crl) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
        try:
            yield connection
        finally:
            connection.close()
            server.shutdown()
            thread.join()


def test_the_door_answers_several_requests_on_one_connection(authority):
    with door(authority) as connection:
        serials = set()
        for _ in range(2):
            connection.request("POST", "/", request(), {"Content-Type": QUERY})
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/timestamp-reply")
            serials.add(answer.read())
        assert len(serials) == 2


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"x", 415),
        ({"Content-Type": QUERY, "Content-Length": "many"}, b"x", 415),
        ({"Content-Type": QUERY, "Content-Length": "-1"}, b"", 415),
        ({"Content-Type": QUERY}, b"x" * 4097, 413),
    ],
)
def test_the_door_refuses_what_is_no_query(authority, headers, body, status):
    with door(authority) as connection:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        assert answer.status == status
        assert answer.headers["Connection"] == "close"


def test_the_door_gives_no_page(authority):
    with door(authority) as connection:
        for path in ("/", "/root.crl"):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == 404
            answer.read()


def test_the_door_gives_the_list_of_the_moment(authority):
    root = load_pem(authority.root.read_bytes())[0]
    with door(authority, partial(current_list, authority)) as connection:
        connection.request("GET", "/root.crl")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/pkix-crl")
        crl = load_crl(answer.read())
    assert crl.is_signature_valid(root.public_key())
    assert (crl.last_update_utc, list(crl)) == (NOW, [])


def test_the_list_of_the_moment_keeps_the_revocations(tmp_path):
    places = create_development_ca(tmp_path, NOW)
    root = load_pem(places.root.read_bytes())[0]
    key = load_pem_private_key((places.pki / "root.key").read_bytes(), None)
    gone = load_pem(places.seal_certificate.read_bytes())[0]
    revoked = make_crl(root, key, [(gone, NOW, x509.ReasonFlags.superseded)], start=NOW, end=NOW + timedelta(days=9))
    places.root_crl.write_bytes(revoked.public_bytes(Encoding.DER))
    later = NOW + timedelta(days=3, microseconds=5)
    entry = load_crl(current_list(places, later)).get_revoked_certificate_by_serial_number(gone.serial_number)
    assert entry is not None
    assert entry.revocation_date_utc == NOW
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    (places.pki / "root.key").unlink()
    assert current_list(places, later) == places.root_crl.read_bytes()


def test_a_request_over_sha3_is_answered_without_sha256(authority):
    chain = load_pem(authority.tsa_certificate.read_bytes())
    key, digest = load_tsa_key(authority.tsa_key), hashlib.sha3_512(b"").digest()
    reply = issue_token(build_request(digest, 9, "sha3_512"), key, chain, NOW, 1)
    root = load_pem(authority.root.read_bytes())[0]
    token = accept_response(reply, digest, 9, NOW, DEVELOPMENT_POLICY, [root], algorithm="sha3_512")
    assert token.signature_algorithm == algorithms.ECDSA_SHA512
    assert der.oid(algorithms.SHA256) not in token.der
    assert der.oid(algorithms.ECDSA_SHA256) not in token.der


def test_the_program_makes_its_authority_and_serves_until_it_is_shut(tmp_path, monkeypatch):
    made = queue.Queue()

    def make_and_tell(*arguments):
        server = make_server(*arguments)
        made.put(server)
        return server

    monkeypatch.setattr(dev_tsa, "make_server", make_and_tell)
    program = threading.Thread(target=dev_tsa.main, args=(["--home", str(tmp_path), "--port", "0"],))
    program.start()
    server = made.get(timeout=30)
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("POST", "/", request(), {"Content-Type": QUERY})
    assert connection.getresponse().status == 200
    connection.close()
    server.shutdown()
    program.join(30)
    assert not program.is_alive()
    assert (tmp_path / "pki" / "tsa.key").exists()
