"""The store as production has it: a key with few rights, behind the filtering proxy, on a real MinIO server."""

import os
import shutil
import socket
import stat
import subprocess
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import urllib3
from minio import Minio
from minio.credentials import AWSConfigProvider
from minio.error import S3Error
from minio.versioningconfig import SUSPENDED, VersioningConfig

from infra.minio.make_store import main, make
from storage.probe import probe
from storage.s3 import S3Store
from tests.support.minio_server import ROOT_PASSWORD, ROOT_USER
from tests.support.rig import make_rig

pytestmark = pytest.mark.minio
ROOT = Path(__file__).parents[2]
needs_haproxy = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is absent")


@pytest.fixture
def made(minio, tmp_path):
    """A bucket, and the key that the archive gets for it."""
    bucket, key = f"kept-{uuid.uuid4().hex[:12]}", tmp_path / "key"
    make(minio.endpoint, bucket, minio.credentials_file, key, secure=False)
    return bucket, key


def test_the_key_is_made_once_and_readable_by_its_owner_alone(minio, made, capsys):
    bucket, key = made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    words = ["--endpoint", minio.endpoint, "--bucket", bucket, "--root", str(minio.credentials_file), "--clear"]
    assert main([*words, "--key", str(key)]) == 0
    assert key.read_bytes() == before
    assert "stays" in capsys.readouterr().out
    assert main([*words[:2], "--bucket", bucket, "--root", str(key), "--clear", "--key", str(key)]) == 1


def test_a_bucket_without_object_lock_is_refused(minio, tmp_path, capsys):
    bucket = f"plain-{uuid.uuid4().hex[:12]}"
    Minio(minio.endpoint, ROOT_USER, ROOT_PASSWORD, secure=False).make_bucket(bucket)
    words = ["--endpoint", minio.endpoint, "--bucket", bucket, "--root", str(minio.credentials_file), "--clear"]
    assert main([*words, "--key", str(tmp_path / "key")]) == 1
    assert "Object Lock" in capsys.readouterr().err
    assert not (tmp_path / "key").exists()


def test_with_that_key_the_canary_passes_and_a_document_is_archived(
    minio, made, database_url, certified_home, tmp_path
):
    bucket, key = made
    other, other_key = f"kept-{uuid.uuid4().hex[:12]}", tmp_path / "other-key"
    make(minio.endpoint, other, minio.credentials_file, other_key, secure=False)
    shutil.copytree(certified_home, tmp_path / "home")
    stores = [
        S3Store("replica-a", minio.endpoint, bucket, key, secure=False),
        S3Store("replica-b", minio.endpoint, other, other_key, secure=False),
    ]
    for store in stores:
        report = probe(store, datetime.now(UTC))
        assert (report.ok, report.warnings) == (True, ())
    with make_rig(database_url, tmp_path, lambda _clock: stores) as rig:
        assert rig.deposit().state == "ARCHIVED"
    for store in stores:
        store.close()


def test_that_key_can_do_nothing_else(minio, made):
    bucket, key = made
    client = Minio(minio.endpoint, credentials=AWSConfigProvider(str(key), "default"), secure=False)
    for act in (
        lambda: client.make_bucket("another-bucket"),
        lambda: client.remove_bucket(bucket),
        lambda: client.set_bucket_policy(bucket, "{}"),
        lambda: client.set_bucket_versioning(bucket, VersioningConfig(SUSPENDED)),
        lambda: client.delete_bucket_lifecycle(bucket),
        lambda: list(client.list_objects("contract")),
    ):
        with pytest.raises((S3Error, ValueError)) as stopped:
            act()
        assert getattr(stopped.value, "code", "AccessDenied") in ("AccessDenied", "NoSuchBucket")
    assert [each.name for each in client.list_buckets()] in ([], [bucket])


@contextmanager
def proxy(server: str, folder: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "STORE_BIND": f"127.0.0.1:{port}", "STORE_SERVER": server}
    command = ["haproxy", "-db", "-f", str(ROOT / "infra" / "haproxy" / "store.cfg")]
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@needs_haproxy
def test_behind_the_proxy_the_contract_holds(minio, made, tmp_path):
    bucket, key = made
    with proxy(minio.endpoint, tmp_path) as address:
        store = S3Store("proxied", address, bucket, key, secure=False)
        report = probe(store, datetime.now(UTC))
        assert (report.ok, report.warnings) == (True, ())
        source = tmp_path / "large"
        source.write_bytes(os.urandom(12 << 20))
        version = store.put("demo/large", source, datetime.now(UTC) + timedelta(hours=1))
        with store.open("demo/large", version.version_id) as stream:
            assert stream.read() == source.read_bytes()
        assert abs((store.clock() - datetime.now(UTC)).total_seconds()) < 5
        store.close()


@needs_haproxy
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"X-Minio-Replication-Server-Side-Encryption-Sealed-Key": "x"}),
        ("/", {"x-minio-anything-that-is-yet-to-come": "x"}),
        ("/", {"X-Amz-Bucket-Replication-Status": "REPLICA"}),
        ("/", {"X-Amz-Meta-Snowball-Auto-Extract": "true"}),
        ("/", {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}),
        ("/minio/admin/v3/info", {}),
        ("/minio/health/live", {}),
    ],
)
def test_what_the_advisories_rest_on_is_refused_by_the_proxy(minio, made, tmp_path, path, headers):
    """Both say 403 to a stranger, the store with an answer of S3, the proxy with a page of its own."""
    bucket, _ = made

    def asked(at, more):
        with urllib3.PoolManager(retries=False, timeout=10.0) as pool:
            answer = pool.request("GET", f"http://{address}{at}", headers=more)
        assert answer.status == 403
        return b"<Error>" in answer.data

    with proxy(minio.endpoint, tmp_path) as address:
        assert not asked(path if path != "/" else f"/{bucket}/", headers)
        assert asked(f"/{bucket}/", {"X-Amz-Meta-Title": "an ordinary header"})
