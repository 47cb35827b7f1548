"""The S3 store before a server that answers badly, slowly, or not at all: each fault in the words of the port."""

import io
import socket
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from minutier.age import HYBRID, X25519, generate_identity
from minutier.age_stream import encrypt_bytes
from minutier.errors import BadInputError, PolicyRefusedError, ServiceUnavailableError
from storage.keys import decrypt_stream
from storage.s3 import S3Store
from tests.support.minio_server import find_minio, minio_server

LATER = datetime(2099, 1, 1, tzinfo=UTC)
VERSION = "0b9a4f0e-2b6e-4f0c-9d3e-1c0c6a3f5f11"
LOCKED = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"}
DESCRIBED = {"Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT", "x-amz-version-id": VERSION, "Content-Length": "1"}


class Script:
    """Answers by method, in order; the last one of a method is repeated. An answer: status, headers, body."""

    def __init__(self, **answers):
        self.answers = {method: list(given) for method, given in answers.items()}
        self.requests = []

    def next(self, method):
        given = self.answers[method]
        return given.pop(0) if len(given) > 1 else given[0]


def error(status, code, message="told by the store", headers=None):
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return status, {"Content-Type": "application/xml", **(headers or {})}, body


@contextmanager
def serving(script):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append((self.command, self.path, dict(self.headers)))
            status, headers, body = script.next(self.command)
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # a client that has given up
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def credentials(tmp_path):
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = 100%secret\nregion = gra\n")
    return path


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"x")
    return path


@contextmanager
def scripted(credentials, **answers):
    script = Script(**answers)
    with serving(script) as endpoint:
        store = S3Store("scripted", endpoint, "bucket", credentials, secure=False, timeout=5.0)
        yield store, script
        store.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error(507, "XMinioStorageFull"), "DISK_FULL"),
        (error(503, "SlowDown"), "STORE_FAILED"),
        (error(503, "SlowDown", headers={"Retry-After": "1"}), "STORE_FAILED"),
        (error(500, "InternalError"), "STORE_FAILED"),
        (error(403, "AccessDenied"), "STORE_CREDENTIALS"),
        (error(403, "InvalidAccessKeyId"), "STORE_CREDENTIALS"),
        (error(403, "RequestTimeTooSkewed"), "STORE_CLOCK"),
        (error(400, "BadDigest"), "STORE_TRANSIT"),
        (error(400, "XAmzContentSHA256Mismatch"), "STORE_TRANSIT"),
        (error(404, "NoSuchBucket"), "STORE_MISSING"),
        ((502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>"), "STORE_UNANSWERED"),
        ((503, {"Content-Type": "application/xml"}, b""), "STORE_UNANSWERED"),
        ((500, {"Content-Type": "application/xml"}, b"not xml"), "STORE_UNANSWERED"),
    ],
)
def test_a_write_that_fails_is_sent_once_and_is_unavailable(credentials, source, answer, code):
    with scripted(credentials, PUT=[answer]) as (store, script):
        with pytest.raises(ServiceUnavailableError) as failed:
            store.put("demo/a", source, LATER)
        assert failed.value.code == code
        assert failed.value.remedy
        assert len(script.requests) == 1
        assert "secret" not in str(failed.value)


def test_a_write_carries_its_lock_and_its_digest(credentials, source):
    written, described = (200, {"x-amz-version-id": VERSION}, b""), (200, {**DESCRIBED, **LOCKED}, b"")
    with scripted(credentials, PUT=[written], HEAD=[described]) as (store, script):
        assert store.put("demo/a", source, LATER).version_id == VERSION
        headers = script.requests[0][2]
        assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
        assert headers["x-amz-object-lock-retain-until-date"] == "2099-01-01T00:00:00.000Z"
        assert headers["x-amz-content-sha256"] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        assert "/gra/s3/" in headers["Authorization"]


@pytest.mark.parametrize(
    ("written", "described", "expected"),
    [
        ({}, {}, PolicyRefusedError),
        ({"x-amz-version-id": VERSION}, DESCRIBED, PolicyRefusedError),
        (
            {"x-amz-version-id": VERSION},
            {**DESCRIBED, **LOCKED, "x-amz-object-lock-retain-until-date": "2098-12-31T23:59:59Z"},
            PolicyRefusedError,
        ),
        ({"x-amz-version-id": VERSION}, {**DESCRIBED, **LOCKED, "Content-Length": "7"}, ServiceUnavailableError),
        ({"x-amz-version-id": VERSION}, {**LOCKED, "x-amz-version-id": VERSION}, ServiceUnavailableError),
    ],
    ids=["no version id", "no lock", "shorter lock", "other size", "no date"],
)
def test_a_write_that_is_not_kept_as_asked_is_not_believed(credentials, source, written, described, expected):
    described = {"Content-Length": "1", **described}
    with (
        scripted(credentials, PUT=[(200, written, b"")], HEAD=[(200, described, b"")]) as (store, _),
        pytest.raises(expected) as refused,
    ):
        store.put("demo/a", source, LATER)
    assert refused.value.code in {"STORE_DOES_NOT_LOCK", "STORE_TRANSIT", "STORE_UNANSWERED"}


@pytest.mark.parametrize("code", ["AccessDenied", "ObjectLocked"])
def test_other_stores_words_of_refusal_are_understood(credentials, code):
    with scripted(
        credentials, HEAD=[(200, {**DESCRIBED, **LOCKED}, b"")], DELETE=[error(403, code)], PUT=[error(403, code)]
    ) as (store, _):
        for act in (
            lambda: store.delete_version("demo/a", VERSION),
            lambda: store.shorten_lock("demo/a", VERSION, LATER - timedelta(days=1)),
            store.suspend_versioning,
        ):
            with pytest.raises(PolicyRefusedError) as refused:
                act()
            assert refused.value.code == "WORM_REFUSED"


def test_a_denied_reading_is_not_an_absence(credentials):
    with scripted(credentials, GET=[error(403, "AccessDenied")], HEAD=[(403, {}, b"")]) as (store, _):
        for act in (
            lambda: store.versions("demo/a"),
            lambda: list(store.list_objects("demo/")),
            lambda: store.open("demo/a", VERSION).__enter__(),
            lambda: store.lock_state("demo/a", VERSION),
        ):
            with pytest.raises(ServiceUnavailableError) as failed:
                act()
            assert failed.value.code == "STORE_CREDENTIALS"


def test_a_body_cut_short_is_unavailable_not_short(credentials):
    with (
        scripted(credentials, GET=[(200, {"Content-Length": "1000"}, b"only this")]) as (store, _),
        pytest.raises(ServiceUnavailableError) as failed,
        store.open("demo/a", VERSION) as stream,
    ):
        stream.read()
    assert failed.value.code == "STORE_UNANSWERED"


@pytest.mark.parametrize("kind", [X25519, HYBRID])
@pytest.mark.parametrize("came", [0, 100, 300_000])
def test_a_body_cut_short_is_not_an_altered_file(credentials, came, kind):
    """The decoder that reads it gives the word of the store on, wherever the connection ends."""
    identity = generate_identity(kind)
    closed = encrypt_bytes(bytes(500_000), [identity.recipient])
    answer = (200, {"Content-Length": str(len(closed))}, closed[:came])
    with (
        scripted(credentials, GET=[answer]) as (store, _),
        pytest.raises(ServiceUnavailableError) as failed,
        store.open("demo/a", VERSION) as stream,
    ):
        decrypt_stream(stream, io.BytesIO(), identity)
    assert failed.value.code == "STORE_UNANSWERED"


@pytest.mark.parametrize("date", [None, "yesterday", ""])
def test_a_store_that_does_not_say_its_time_is_unavailable(credentials, date):
    headers = {} if date is None else {"Date": date}
    with scripted(credentials, HEAD=[(403, headers, b"")]) as (store, _):
        with pytest.raises(ServiceUnavailableError) as failed:
            store.clock()
        assert failed.value.code == "STORE_CLOCK"


def test_the_time_is_told_even_when_the_request_is_denied(credentials):
    with scripted(credentials, HEAD=[(403, {"Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, b"")]) as (store, _):
        assert store.clock() == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_no_server_is_unavailable(credentials, source):
    with serving(Script()) as endpoint:
        pass
    store = S3Store("down", endpoint, "bucket", credentials, secure=False, timeout=1.0)
    for act in (store.clock, lambda: store.put("a", source, LATER), lambda: store.versions("a")):
        with pytest.raises(ServiceUnavailableError):
            act()
    store.close()


def test_a_silent_server_is_unavailable_in_time(credentials, source):
    started = threading.Event()

    class Silent(Script):
        def next(self, method):
            started.wait(10)
            return 200, {}, b""

    with serving(Silent()) as endpoint:
        store = S3Store("silent", endpoint, "bucket", credentials, secure=False, timeout=0.2)
        with pytest.raises(ServiceUnavailableError):
            store.put("demo/a", source, LATER)
        store.close()
        started.set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[default]\n",
        "[default]\naws_access_key_id = a\n",
        "aws_access_key_id = secret-line\n",
        "[default]\né",
        "[default]\naws_access_key_id =\naws_secret_access_key =\n",
    ],
)
def test_a_bad_credentials_file_is_bad_input_and_is_not_quoted(tmp_path, text):
    path = tmp_path / "credentials"
    path.write_text(text, "latin-1")
    with pytest.raises(BadInputError) as refused:
        S3Store("s", "127.0.0.1:9", "bucket", path)
    assert refused.value.code == "CREDENTIALS_FILE"
    assert "secret-line" not in str(refused.value)
    with pytest.raises(BadInputError):
        S3Store("s", "127.0.0.1:9", "bucket", tmp_path / "absent")


def test_a_bad_address_or_bucket_is_bad_input(credentials):
    with pytest.raises(BadInputError):
        S3Store("s", "host/path", "bucket", credentials)
    with pytest.raises(BadInputError):
        S3Store("s", "127.0.0.1:9", "Not a bucket", credentials, create=True)


@pytest.mark.minio
def test_a_server_killed_and_started_again(tmp_path, source):
    binary = find_minio()
    if binary is None:
        pytest.skip("no MinIO server: run infra/minio.sh")
    with minio_server(binary) as server:
        store = server.store("killed")
        store.put("demo/a", source, LATER)
        server.process.kill()
        server.process.wait()
        for act in (lambda: store.put("demo/a", source, LATER), lambda: store.versions("demo/a"), store.clock):
            with pytest.raises(ServiceUnavailableError):
                act()
        store.close()


WRITTEN = {"x-amz-version-id": VERSION, "ETag": '"e"'}


def dated(seconds, status=200, headers=DESCRIBED, body=b""):
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
    return status, {**headers, **LOCKED, "Date": moment}, body


@pytest.mark.parametrize("seconds", [-3600, -62, 62, 3600])
def test_a_store_at_another_time_takes_no_write_no_lock_and_no_deletion(credentials, source, seconds):
    empty = (
        b"<ListVersionsResult><Name>bucket</Name><Prefix></Prefix><IsTruncated>false</IsTruncated></ListVersionsResult>"
    )
    with scripted(
        credentials,
        HEAD=[dated(seconds)],
        GET=[dated(seconds, headers={}, body=empty)],
        PUT=[dated(seconds, headers=WRITTEN)],
    ) as (store, script):
        store.versions("demo/a")  # reading goes on
        for act in (
            lambda: store.put("demo/a", source, LATER),
            lambda: store.extend_lock("demo/a", VERSION, LATER, legal_hold=True),
            lambda: store.delete_version("demo/a", VERSION),
        ):
            with pytest.raises(ServiceUnavailableError) as failed:
                act()
            assert failed.value.code == "STORE_CLOCK"
            assert ("ahead of" if seconds > 0 else "behind") in failed.value.message
        assert {method for method, _, _ in script.requests} == {"GET", "HEAD"}  # nothing else was sent


@pytest.mark.parametrize("seconds", [-50, 0, 50])
def test_a_store_less_than_a_minute_apart_is_written_to(credentials, source, seconds):
    with scripted(credentials, HEAD=[dated(seconds)], PUT=[dated(seconds, headers=WRITTEN)]) as (store, _):
        assert store.put("demo/a", source, LATER).version_id == VERSION


def test_a_write_whose_answer_is_of_another_time_is_not_relied_on(credentials, source):
    with scripted(credentials, HEAD=[dated(3600)], PUT=[dated(3600, headers=WRITTEN)]) as (store, _):
        with pytest.raises(ServiceUnavailableError) as failed:
            store.put("demo/a", source, LATER)
        assert failed.value.code == "STORE_CLOCK"


def test_settings_that_a_key_may_not_read_are_unknown_and_others_are_read(credentials):
    denied = error(403, "AccessDenied")
    none = error(404, "NoSuchBucketPolicy")
    with scripted(credentials, GET=[denied, error(404, "ObjectLockConfigurationNotFoundError"), denied, none]) as (
        store,
        _,
    ):
        found = store.settings()
    assert (found.versioning, found.default_lock, found.lifecycle, found.policy) == (None, "", None, "")


def cut_answer(size):
    """Serve one answer to a HEAD, cut after `size` bytes, and give the whole length with the endpoint."""
    lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in {**DESCRIBED, **LOCKED}.items())]
    whole = ("\r\n".join(lines) + "\r\n\r\n").encode()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener, listener.accept()[0] as client:
            client.recv(65_536)
            client.sendall(whole[:size])

    thread = threading.Thread(target=serve)
    thread.start()
    return len(whole), f"127.0.0.1:{listener.getsockname()[1]}", thread


def test_an_answer_cut_inside_its_headers_is_no_answer(credentials):
    total, said, cut = 10**6, [], 0
    while cut <= total:
        total, endpoint, thread = cut_answer(cut)
        store = S3Store("cut", endpoint, "bucket", credentials, secure=False, timeout=5.0)
        try:
            said.append(store.lock_state("demo/a", VERSION).retain_until)
        except ServiceUnavailableError as failed:
            said.append(failed.code)
        store.close()
        thread.join()
        cut += 1
    assert said[-1] == LATER
    assert set(said[:-1]) == {"STORE_UNANSWERED"}
