"""The time-stamp client over real HTTP: it fails over, and believes no answer that the checks refuse."""

import hashlib
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, TCPServer, ThreadingMixIn

import pytest

from minutier.certificates import load_pem
from minutier.errors import IntegrityFailureError, ServiceUnavailableError
from minutier.trust import load_trust
from storage.dev_tsa import load_tsa_key, make_server
from storage.tsa import TimestampAuthorities
from tests.support.postgres import free_port

DIGEST = bytes(range(32))


def now():
    return datetime.now(UTC)


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def authority(home, clock=now):
    key = load_tsa_key(home / "pki" / "tsa.key")
    chain = load_pem((home / "pki" / "tsa.pem").read_bytes())
    with serving(make_server("127.0.0.1", 0, key, chain, clock)) as url:
        yield url


@contextmanager
def answering(status, kind, body):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url


def client(home, *urls, **more):
    return TimestampAuthorities(urls, load_trust(home / "trust").roots, **more)


def test_a_token_comes_verified_with_the_name_of_who_gave_it(certified_home):
    with authority(certified_home) as url:
        stamped = client(certified_home, url).stamp(DIGEST, now)
    token = stamped.token
    assert (stamped.url, stamped.revocation, stamped.silent) == (url, (), ())
    assert token.imprint == DIGEST
    assert abs(token.gen_time - now()) < timedelta(seconds=30)


def test_the_next_authority_answers_when_one_is_down(certified_home):
    closed = f"http://127.0.0.1:{free_port()}/"
    with authority(certified_home) as url:
        assert client(certified_home, closed, url).stamp(DIGEST, now).url == url


@pytest.mark.parametrize(
    ("status", "kind", "body", "said"),
    [
        (500, "application/timestamp-reply", b"", "answered 500"),
        (200, "text/html", b"<html>", "text/html"),
        (200, "application/timestamp-reply", b"x" * (1 << 20) + b"x", "more than"),
        (302, "application/timestamp-reply", b"", "answered 302"),
        (204, "application/timestamp-reply", b"", "answered 204"),
    ],
)
def test_what_is_not_an_answer_is_a_service_that_is_down(certified_home, status, kind, body, said):
    with answering(status, kind, body) as url, pytest.raises(ServiceUnavailableError) as caught:
        client(certified_home, url).stamp(DIGEST, now)
    assert caught.value.code == "TSA_DOWN"
    assert said in caught.value.message


def test_none_configured_is_said(certified_home):
    with pytest.raises(ServiceUnavailableError) as caught:
        client(certified_home).stamp(DIGEST, now)
    assert "none is configured" in caught.value.message


def test_an_answer_that_the_checks_refuse_is_refused_and_the_next_is_asked(certified_home):
    with answering(200, "application/timestamp-reply", b"0\x03\x02\x01\x00") as bad:
        with pytest.raises(IntegrityFailureError):
            client(certified_home, bad).stamp(DIGEST, now)
        with authority(certified_home) as good:
            assert client(certified_home, bad, good).stamp(DIGEST, now).url == good


def test_a_token_dated_far_from_our_clock_is_refused(certified_home):
    with authority(certified_home, lambda: now() + timedelta(minutes=10)) as url:
        with pytest.raises(IntegrityFailureError) as caught:
            client(certified_home, url).stamp(DIGEST, now)
    assert caught.value.code == "TOKEN_TIME"


def test_a_policy_other_than_the_contracted_one_is_refused(certified_home):
    with authority(certified_home) as url, pytest.raises(IntegrityFailureError) as caught:
        client(certified_home, url, policy="2.999.42").stamp(DIGEST, now)
    assert caught.value.code == "TOKEN_POLICY"


@contextmanager
def raw(*pieces, pause=0.0):
    """Serve these bytes on each connection, with a pause before each piece, whatever was asked."""

    class Handler(StreamRequestHandler):
        def handle(self):
            self.request.recv(4096)
            for piece in pieces:
                time.sleep(pause)
                try:
                    self.wfile.write(piece)
                except OSError:
                    return  # the client has had enough

    class Server(ThreadingMixIn, TCPServer):
        daemon_threads = True
        block_on_close = False

    with serving(Server(("127.0.0.1", 0), Handler)) as url:
        yield url


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\nContent-Length: 900\r\n\r\n"


@pytest.mark.parametrize(
    ("pieces", "pause"),
    [((HEAD, b"0" * 400), 0.0), ((HEAD[:30],), 0.0), ((b"",), 0.0), ((b"",), 2.0), ((HEAD, *[b"0"] * 60), 0.05)],
    ids=["cut", "cut-in-its-head", "hangs-up", "silent", "a-byte-now-and-then"],
)
def test_an_answer_that_does_not_come_whole_and_in_time_is_a_service_that_is_down(certified_home, pieces, pause):
    begun = time.monotonic()
    with raw(*pieces, pause=pause) as bad, authority(certified_home) as good:
        with pytest.raises(ServiceUnavailableError) as caught:
            client(certified_home, bad, timeout=0.5).stamp(DIGEST, now)
        assert caught.value.code == "TSA_DOWN"
        assert time.monotonic() - begun < 2.0
        assert client(certified_home, bad, good, timeout=0.5).stamp(DIGEST, now).url == good


def test_a_token_over_sha3_is_had_by_saying_so(certified_home):
    digest = hashlib.sha3_512(b"").digest()
    with authority(certified_home) as url:
        token = client(certified_home, url).stamp(digest, now, algorithm="sha3_512").token
    assert (token.imprint_algorithm, token.imprint, token.digest_name) == ("sha3_512", digest, "sha512")


def test_a_token_older_than_what_was_sealed_is_refused(certified_home):
    with authority(certified_home) as url:
        stamping = client(certified_home, url)
        assert stamping.stamp(DIGEST, now, sealed_at=now() + timedelta(seconds=30)).url == url
        with pytest.raises(IntegrityFailureError) as caught:
            stamping.stamp(DIGEST, now, sealed_at=now() + timedelta(seconds=90))
    assert caught.value.code == "TOKEN_TIME"


def test_what_is_refused_is_said_even_when_the_others_are_down(certified_home):
    closed = f"http://127.0.0.1:{free_port()}/"
    with authority(certified_home, lambda: now() + timedelta(minutes=10)) as bad:
        for urls in ((closed, bad), (bad, closed)):
            with pytest.raises(IntegrityFailureError) as caught:
                client(certified_home, *urls).stamp(DIGEST, now)
            assert caught.value.code == "TOKEN_TIME"
