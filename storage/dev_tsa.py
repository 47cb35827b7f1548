"""A time-stamp authority for development: a stand-in with the clock of this machine and a key in a file.

It has no legal value, and its certificate says so. It answers RFC 3161 requests on the loopback interface, and gives
the revocation list of its root at /root.crl: `python -m storage.dev_tsa --home HOME --port PORT`.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minutier import algorithms, cms, der
from minutier.certificates import load_pem
from minutier.errors import BadInputError, MinutierError
from minutier.timestamp import TST_INFO
from storage.dev_ca import create_development_ca
from storage.dev_crl import CRL_PATH, current_list
from storage.tsa import TimestampAuthorities

# 2.999 is the arc of examples (ITU-T X.660): nobody contracts for this policy.
DEVELOPMENT_POLICY = "2.999.3161"
_MAX_REQUEST = 4096
_GRANTED, _REJECTED = 0, 2
_BAD_ALGORITHM, _BAD_REQUEST, _BAD_FORMAT, _UNKNOWN_POLICY = 0, 2, 5, 15


@dataclass(frozen=True)
class AuthorityInProcess(TimestampAuthorities):
    """The client of an archive, whose authority answers in this process: no port, no network."""

    answer: Callable[[bytes], bytes] = field(default=lambda request: request)

    def _ask(self, url: str, request: bytes) -> bytes:
        return self.answer(request)


def authority_in_process(
    home: Path, roots: tuple[x509.Certificate, ...], clock: Callable[[], datetime]
) -> AuthorityInProcess:
    """Give the development authority of a home, by the time of `clock`; tokens are judged under `roots`."""
    authority = create_development_ca(home, clock())
    key, chain = load_tsa_key(authority.tsa_key), load_pem(authority.tsa_certificate.read_bytes())
    return AuthorityInProcess(
        urls=("http://in-process.invalid/",),
        roots=roots,
        answer=lambda request: issue_token(request, key, chain, clock(), secrets.randbits(63) + 1),
    )


def issue_token(
    request: bytes,
    tsa_key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    now: datetime,
    serial: int,
    *,
    policy: str = DEVELOPMENT_POLICY,
) -> bytes:
    """Answer a TimeStampReq (DER) with a TimeStampResp (DER): a token dated `now` in whole seconds, or a rejection.

    `chain` begins with the certificate of `tsa_key`; it is embedded whether asked for or not.
    """
    try:
        fields = der.read(request).reader()
        version = fields.next().as_integer()
        imprint = fields.next(der.SEQUENCE)
        wanted = fields.optional(der.OID)
        nonce = fields.optional(der.INTEGER)
        imprint_fields = imprint.reader()
        name, value = algorithms.read_hash(imprint_fields.next()), imprint_fields.next().as_octets()
    except algorithms.AlgorithmError:
        return _rejection(_BAD_ALGORITHM)
    except der.DerError:
        return _rejection(_BAD_FORMAT)
    if version != 1 or len(value) != len(algorithms.digest(name, b"")):
        return _rejection(_BAD_REQUEST)
    if wanted is not None and wanted.as_oid() != policy:
        return _rejection(_UNKNOWN_POLICY)
    info = der.sequence(
        der.integer(1),
        der.oid(policy),
        imprint.encoded,
        der.integer(serial),
        der.generalized_time(now.replace(microsecond=0)),
        der.sequence(der.integer(1)),
        nonce.encoded if nonce else b"",
    )
    # Who asks over a stronger hash leaves SHA-256 behind: the signature does not rest on it either.
    scheme = algorithms.CLASSICAL if name == "sha256" else algorithms.STRONGER
    hashed = hashes.SHA256() if scheme is algorithms.CLASSICAL else hashes.SHA512()
    token = cms.build(
        TST_INFO, info, chain, lambda tbs: tsa_key.sign(tbs, ec.ECDSA(hashed)), detached=False, scheme=scheme
    )
    return der.sequence(der.sequence(der.integer(_GRANTED)), token)


def _rejection(failure_bit: int) -> bytes:
    """Write a TimeStampResp without token: status rejection and one PKIFailureInfo bit (RFC 3161 §2.4.2)."""
    size = failure_bit // 8 + 1
    bits = (1 << (8 * size - 1 - failure_bit)).to_bytes(size, "big")
    unused = 7 - failure_bit % 8
    return der.sequence(der.sequence(der.integer(_REJECTED), der.tlv(der.BIT_STRING, bytes((unused,)) + bits)))


def make_server(
    host: str,
    port: int,
    tsa_key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    clock: Callable[[], datetime],
    crl: Callable[[datetime], bytes] | None = None,
) -> ThreadingHTTPServer:
    """Bind the HTTP door (RFC 3161 §3.4) without serving yet; port 0 takes a free one (`server_address` says which).

    `crl` gives the revocation list of a moment in DER, for GET /root.crl.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body leave in one packet: unbuffered writes wait 40 ms for a delayed ACK.
        wbufsize = 64 * 1024
        timeout = 30.0

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.headers.get("Content-Type") != "application/timestamp-query" or not length.isdecimal():
                self._answer(415, "text/plain", b"POST application/timestamp-query with a length\n")
            elif int(length) > _MAX_REQUEST:
                self._answer(413, "text/plain", b"too large\n")
            else:
                request = self.rfile.read(int(length))
                # The clock is read once per token, after the whole request has come.
                reply = issue_token(request, tsa_key, chain, clock(), secrets.randbits(120) | 1)
                self._answer(200, "application/timestamp-reply", reply)

        def do_GET(self) -> None:
            if crl is None or self.path != CRL_PATH:
                self._answer(404, "text/plain", b"nothing here\n")
            else:
                self._answer(200, "application/pkix-crl", crl(clock()))

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            if status != 200:
                self.close_connection = True
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Say nothing: the journal records the tokens."""

    return ThreadingHTTPServer((host, port), Handler)


def serve(
    host: str,
    port: int,
    tsa_key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    clock: Callable[[], datetime],
    crl: Callable[[datetime], bytes] | None = None,
) -> None:
    """Serve until the process ends."""
    with make_server(host, port, tsa_key, chain, clock, crl) as server:
        server.serve_forever()


def load_tsa_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the key of the stand-in; BadInputError when it is not an EC key."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except ValueError as error:
        raise BadInputError("TSA_KEY", f"{path} is not a key in PEM.", remedy="Restore it from its backup.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadInputError("TSA_KEY", f"{path} is not an ECDSA key.", remedy="Give an ECDSA P-256 key.")
    return key


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the stand-in for one instance, making its certificates first if needed."""
    parser = argparse.ArgumentParser(prog="python -m storage.dev_tsa", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="home of the instance")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    ca = create_development_ca(options.home, datetime.now(UTC))
    chain = load_pem(ca.tsa_certificate.read_bytes())
    key = load_tsa_key(ca.tsa_key)
    serve(options.host, options.port, key, chain, lambda: datetime.now(UTC), partial(current_list, ca))


if __name__ == "__main__":
    try:
        main()
    except MinutierError as failure:
        sys.exit(str(failure))
