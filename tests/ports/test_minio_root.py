"""What the real MinIO refuses to the holder of its ROOT key, bypass included; and what root can still do."""

import base64
import hashlib
import io
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import urllib3
from minio import Minio
from minio.commonconfig import GOVERNANCE, Filter
from minio.deleteobjects import DeleteObject
from minio.error import S3Error
from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED, VersioningConfig

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage.ports import NOTHING_SET
from storage.probe import probe
from tests.support.minio_server import ROOT_PASSWORD, ROOT_USER

pytestmark = pytest.mark.minio
BYPASS = {"x-amz-bypass-governance-retention": "true"}


@pytest.fixture
def root(minio):
    with urllib3.PoolManager(retries=False, timeout=30.0) as pool:
        yield Minio(minio.endpoint, ROOT_USER, ROOT_PASSWORD, secure=False, http_client=pool)


@pytest.fixture
def store(minio):
    store = minio.store(f"root-{uuid.uuid4().hex}")
    yield store
    store.close()


@pytest.fixture
def locked(store, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"deed")
    return store.put("demo/deed", source, datetime.now(UTC) + timedelta(hours=1))


def put_retention(root, store, version, body):
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    query = {"retention": "", "versionId": version.version_id}
    root._execute("PUT", store._bucket, version.key, body, {**BYPASS, "Content-MD5": digest}, query)


def retention_body(mode, until):
    return (
        f'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>{mode}</Mode>'
        f"<RetainUntilDate>{until:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>"
    ).encode()


def delete_with_bypass(root, store, version):
    root._execute("DELETE", store._bucket, version.key, None, dict(BYPASS), {"versionId": version.version_id})


def untouched(store, version, lock):
    with store.open(version.key, version.version_id) as stream:
        assert stream.read() == b"deed"
    assert store.versions(version.key) == [version]
    assert store.lock_state(version.key, version.version_id) == lock


def test_root_deletes_nothing_that_is_locked(root, store, locked):
    lock = store.lock_state(locked.key, locked.version_id)
    with pytest.raises(S3Error, match="WORM protected"):
        root.remove_object(store._bucket, locked.key, version_id=locked.version_id)
    with pytest.raises(S3Error, match="WORM protected"):
        delete_with_bypass(root, store, locked)
    batch = [DeleteObject(locked.key, locked.version_id)]
    errors = list(root.remove_objects(store._bucket, batch, bypass_governance_mode=True))
    assert [error.version_id for error in errors] == [locked.version_id]
    untouched(store, locked, lock)


def test_root_shortens_and_downgrades_no_lock(root, store, locked):
    lock = store.lock_state(locked.key, locked.version_id)
    for mode, minutes in (("COMPLIANCE", 30), ("GOVERNANCE", 30), ("GOVERNANCE", 600)):
        with pytest.raises(S3Error, match="WORM protected"):
            put_retention(root, store, locked, retention_body(mode, datetime.now(UTC) + timedelta(minutes=minutes)))
    with pytest.raises(S3Error):
        put_retention(root, store, locked, b'<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></Retention>')
    untouched(store, locked, lock)


def test_root_neither_suspends_versioning_nor_drops_the_bucket(root, store, locked):
    lock = store.lock_state(locked.key, locked.version_id)
    with pytest.raises(S3Error) as refused:
        root.set_bucket_versioning(store._bucket, VersioningConfig(SUSPENDED))
    assert refused.value.code == "InvalidBucketState"
    with pytest.raises(S3Error):
        root.remove_bucket(store._bucket)
    with pytest.raises(S3Error):
        root._execute("DELETE", store._bucket, headers={"x-minio-force-delete": "true"})
    untouched(store, locked, lock)


def test_root_cannot_delete_a_held_version_whose_lock_has_ended(root, store, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"deed")
    version = store.put("demo/held", source, datetime.now(UTC) + timedelta(seconds=1))
    until = store.lock_state(version.key, version.version_id).retain_until
    store.extend_lock(version.key, version.version_id, until, legal_hold=True)
    while store.clock() <= until + timedelta(seconds=1):
        pass
    with pytest.raises(S3Error, match="WORM protected"):
        delete_with_bypass(root, store, version)


def test_a_marker_or_a_newer_version_by_root_hides_nothing(root, store, locked):
    root.remove_object(store._bucket, locked.key)
    root.put_object(store._bucket, locked.key, io.BytesIO(b"forged"), 6)
    assert locked in store.versions(locked.key)
    with store.open(locked.key, locked.version_id) as stream:
        assert stream.read() == b"deed"


def test_governance_counts_as_no_lock(root, store):
    """A right lifts GOVERNANCE, so the archive does not take it for a lock."""
    retention = Retention(GOVERNANCE, datetime.now(UTC) + timedelta(hours=1))
    written = root.put_object(store._bucket, "demo/weak", io.BytesIO(b"x"), 1, retention=retention)
    assert store.lock_state("demo/weak", written.version_id).retain_until is None


def test_a_bucket_without_object_lock_is_refused(root, minio, tmp_path):
    bucket = f"nolock-{uuid.uuid4().hex}"
    root.make_bucket(bucket)
    with pytest.raises(PolicyRefusedError) as refused:
        minio.store(bucket)
    assert refused.value.code == "STORE_DOES_NOT_LOCK"
    store = minio.store(bucket, create=False)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(PolicyRefusedError) as refused:
        store.put("demo/a", source, datetime.now(UTC) + timedelta(hours=1))
    assert refused.value.code == "STORE_DOES_NOT_LOCK"
    assert store.versions("demo/a") == []
    store.suspend_versioning()  # accepted by this bucket, and at once undone
    assert root.get_bucket_versioning(bucket).status == "Enabled"
    store.close()


def test_a_bucket_made_before_is_opened_again(minio, store, locked):
    again = minio.store(store._bucket)
    assert again.versions(locked.key) == [locked]
    again.close()


def test_a_missing_bucket_and_wrong_keys_are_unavailable(minio, tmp_path):
    later = datetime.now(UTC) + timedelta(hours=1)
    source = tmp_path / "source"
    source.write_bytes(b"x")
    absent = minio.store(f"absent-{uuid.uuid4().hex}", create=False)
    wrong = tmp_path / "credentials"
    wrong.write_text(f"[default]\naws_access_key_id = {ROOT_USER}\naws_secret_access_key = wrong\n")
    denied = type(absent)("denied", minio.endpoint, "any-bucket", wrong, secure=False)
    for store, code in ((absent, "STORE_MISSING"), (denied, "STORE_CREDENTIALS")):
        for act in (lambda s=store: s.put("a", source, later), lambda s=store: s.versions("a")):
            with pytest.raises(ServiceUnavailableError) as failed:
                act()
            assert failed.value.code == code
        store.close()


def test_markers_settings_and_the_attacks_of_the_canary_on_the_real_server(root, store, locked):
    assert store.settings() == NOTHING_SET
    for attack in (store.downgrade_lock, store.delete_with_bypass):
        with pytest.raises(PolicyRefusedError) as refused:
            attack(locked.key, locked.version_id)
        assert refused.value.code == "WORM_REFUSED"
    assert list(store.list_markers("demo/")) == []
    marker = store.hide(locked.key)
    assert [(found.key, found.version_id) for found in store.list_markers("demo/")] == [(locked.key, marker)]
    with store.open(locked.key, locked.version_id) as stream:
        assert stream.read() == b"deed"
    rule = Rule("Enabled", rule_filter=Filter(prefix=""), rule_id="expire", expiration=Expiration(days=1))
    root.set_bucket_lifecycle(store._bucket, LifecycleConfig([rule]))
    root.set_object_lock_config(store._bucket, ObjectLockConfig(GOVERNANCE, 1, DAYS))
    told = store.settings()
    assert (told.lifecycle, told.default_lock) == (("expire (Enabled)",), "GOVERNANCE 1")
    assert not probe(store, datetime.now(UTC)).ok
