"""A WORM replica behind the S3 Object Lock contract, through the `minio` client.

Written for the contract and not for one server: MinIO, Ceph RGW, AWS and hosts with Object Lock differ in the words of
their refusals, which `_TRANSLATIONS` and `_error` gather. A write is sent once: a request that may have reached the
store is never repeated here, because each repetition would be one more locked version. Only a refused connection is
tried again. Bytes travel with a SHA-256 of each part signed into the request (http) or a Content-MD5 (https).
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minio import Minio
from minio.commonconfig import COMPLIANCE, ENABLED
from minio.datatypes import Object
from minio.error import MinioException, S3Error
from minio.retention import Retention
from minio.versioningconfig import SUSPENDED, VersioningConfig
from urllib3.exceptions import HTTPError

from minutier.errors import BadInputError, MinutierError, ServiceUnavailableError
from storage import seam
from storage.ports import LockState, ObjectVersion, StoreSettings
from storage.s3_bucket import read_settings
from storage.s3_wire import Body, ClockedPool, another_time, credentials, date_of
from storage.worm import (
    CLOCK_SECONDS,
    check_key,
    check_not_shorter,
    check_prefix,
    does_not_lock,
    refusal,
    retain_in_past,
    whole_second,
)

_BUFFER = 1 << 17
_PART_BYTES = 16 << 20
_MAX_PARTS = 10_000
_VERSION = re.compile(r"[A-Za-z0-9._~+=-]{1,1024}\Z")
_BYPASS = {"x-amz-bypass-governance-retention": "true"}
_WEAKER = (
    '<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Mode>GOVERNANCE</Mode>'
    "<RetainUntilDate>{:%Y-%m-%dT%H:%M:%SZ}</RetainUntilDate></Retention>"
)
_NO_SUCH = {"NoSuchKey", "NoSuchVersion", "MethodNotAllowed"}
_REFUSED = {"AccessDenied", "ObjectLocked", "InvalidBucketState"}
_CREDENTIALS = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_TRANSIT = ("STORE_TRANSIT", "received other bytes than were sent", "Check the network and the source disk.")
# code of the store -> (our code, what happened, what to do)
_TRANSLATIONS = {
    "NoSuchBucket": ("STORE_MISSING", "has no such bucket", "Create the bucket with Object Lock, or correct its name."),
    "XMinioStorageFull": ("DISK_FULL", "is full", "Enlarge the store; nothing partial was kept."),
    "RequestTimeTooSkewed": ("STORE_CLOCK", "has another time than this machine", "Set both clocks by NTP."),
    "BadDigest": _TRANSIT,
    "XAmzContentSHA256Mismatch": _TRANSIT,
}


@seam.store
class S3Store:
    """`ObjectStore` in one bucket made with Object Lock.

    `endpoint` is `host` or `host:port`; `credentials_file` is an AWS shared credentials file, section `default`:
    `aws_access_key_id`, `aws_secret_access_key`, and `aws_session_token` and `region` where needed. `timeout` (seconds)
    bounds each silence of the store, not a whole transfer. `create` makes the bucket, with Object Lock, where there is
    none, and refuses (STORE_DOES_NOT_LOCK) one that was made without. Without `create`, nothing is sent before use.
    `clock` is ours: an answer dated more than 60 s from it stops writes, locks and deletions (STORE_CLOCK), not reads.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        bucket: str,
        credentials_file: Path,
        *,
        secure: bool = True,
        create: bool = False,
        timeout: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = name
        self._bucket = bucket
        self._url = f"{'https' if secure else 'http'}://{endpoint}/"
        self._pool = ClockedPool(timeout, clock)
        keys = credentials(credentials_file)
        try:
            self._client = Minio(
                endpoint,
                keys["aws_access_key_id"],
                keys["aws_secret_access_key"],
                session_token=keys.get("aws_session_token"),
                region=keys.get("region"),
                secure=secure,
                http_client=self._pool,
            )
        except ValueError as error:
            raise BadInputError(
                "STORE_ADDRESS", f"The address {endpoint} is not one of a store: {error}.", remedy="Give HOST:PORT."
            ) from error
        if create:
            self._create()

    def close(self) -> None:
        """Close idle connections. The store can still be used: it connects again."""
        self._pool.clear()

    def put(self, key: str, source: Path, retain_until: datetime) -> ObjectVersion:
        """See the port. OSError when the source cannot be read; at most 16 MiB of it (one part) is in memory.

        The lock is read back from the store: STORE_DOES_NOT_LOCK when it is not the one asked for.
        """
        check_key(key)
        until = whole_second(retain_until)
        self._require_our_time()
        with source.open("rb") as stream:
            size = source.stat().st_size
            with self._answers(f"write {key}"):
                version_id = self._client.put_object(
                    self._bucket,
                    key,
                    stream,
                    size,
                    part_size=_PART_BYTES if size <= _PART_BYTES * _MAX_PARTS else 0,
                    num_parallel_uploads=1,
                    retention=Retention(COMPLIANCE, until),
                ).version_id
        if version_id is None:
            raise does_not_lock(self.name, "it gave no version id to what it wrote")
        found = self._stat(key, version_id)
        self._require_our_time()
        lock = _lock(found)
        if lock.retain_until is None or lock.retain_until < until:
            raise does_not_lock(self.name, f"the version it wrote of {key} is not locked as asked")
        if found.size != size:
            raise ServiceUnavailableError(
                "STORE_TRANSIT",
                f"The store {self.name} kept {found.size} bytes of {key} out of {size}.",
                remedy="Check the network and the source, then try again.",
            )
        with self._answers(f"describe {key}"):
            return _version(found)

    def versions(self, key: str) -> list[ObjectVersion]:
        """See the port."""
        check_key(key)
        found = []
        with self._answers(f"list the versions of {key}"):
            for item in self._list(key):
                if item.object_name == key:
                    found.append(_version(item))
                else:  # keys come in order, and no key sorts between `key` and its own versions
                    break
        return found

    def list_objects(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port. One page of 1000 versions is held in memory."""
        check_prefix(prefix)
        return self._pages(prefix)

    def open(self, key: str, version_id: str, *, offset: int = 0, length: int = 0) -> AbstractContextManager[BinaryIO]:
        """See the port. The stream cannot seek."""
        self._check(key, version_id)
        return self._reading(key, version_id, offset, length)

    def lock_state(self, key: str, version_id: str) -> LockState:
        """See the port. GOVERNANCE, which a right can lift, counts as not locked."""
        self._check(key, version_id)
        return _lock(self._stat(key, version_id))

    def extend_lock(self, key: str, version_id: str, retain_until: datetime, *, legal_hold: bool) -> None:
        """See the port. What already stands is not sent again, so a repetition changes nothing."""
        current, until = self.lock_state(key, version_id), whole_second(retain_until)
        self._require_our_time()
        act = f"extend the lock of {key}"
        check_not_shorter(self.name, act, current, until)
        with self._answers(act, key, version_id, worm=True):
            if until != current.retain_until:
                self._retain(key, version_id, until)
            if legal_hold and not current.legal_hold:
                self._client.enable_object_legal_hold(self._bucket, key, version_id)
            elif current.legal_hold and not legal_hold:
                self._client.disable_object_legal_hold(self._bucket, key, version_id)

    def delete_version(self, key: str, version_id: str) -> None:
        """See the port. A delete marker can be deleted too, by its own id."""
        self._check(key, version_id)
        try:
            self._stat(key, version_id)  # S3 answers "deleted" for a version that never was
        except KeyError:
            if version_id not in {item.version_id for item in self._markers(key)}:
                raise
        self._require_our_time()
        with self._answers(f"delete a version of {key}", key, version_id, worm=True):
            self._client.remove_object(self._bucket, key, version_id)

    def suspend_versioning(self) -> None:
        """See the port. A store that accepts has its versioning enabled again at once, and has failed the canary."""
        with self._answers("suspend versioning", worm=True):
            self._client.set_bucket_versioning(self._bucket, VersioningConfig(SUSPENDED))
            self._client.set_bucket_versioning(self._bucket, VersioningConfig(ENABLED))

    def shorten_lock(self, key: str, version_id: str, retain_until: datetime) -> None:
        """See the port. The request is really sent: the refusal is the store's own."""
        self._check(key, version_id)
        until = whole_second(retain_until)
        with self._answers(f"shorten the lock of {key}", key, version_id, worm=True):
            self._retain(key, version_id, until)

    def downgrade_lock(self, key: str, version_id: str) -> None:
        """See the port. The request is really sent, with the header that lifts GOVERNANCE."""
        self._check(key, version_id)
        body = _WEAKER.format(datetime.now(UTC) + timedelta(days=1)).encode()
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        query = {"retention": "", "versionId": version_id}
        with self._answers(f"weaken the lock of {key}", key, version_id, worm=True):
            # The client's own call has no place for this header.
            self._client._execute("PUT", self._bucket, key, body, {**_BYPASS, "Content-MD5": md5}, {**query})

    def delete_with_bypass(self, key: str, version_id: str) -> None:
        """See the port. The request is really sent, with the header that lifts GOVERNANCE."""
        self._check(key, version_id)
        with self._answers(f"delete a version of {key}", key, version_id, worm=True):
            self._client._execute("DELETE", self._bucket, key, None, {**_BYPASS}, {"versionId": version_id})

    def clock(self) -> datetime:
        """Give the `Date` header of an answer (whole seconds). A proxy may answer for the store: see infra/minio."""
        with self._answers("give its time"):
            answer = self._pool.request("HEAD", self._url, redirect=False)
        if (said := date_of(answer)) is not None:
            return said
        raise ServiceUnavailableError(
            "STORE_CLOCK",
            f"The store {self.name} does not say its time.",
            remedy="Let its `Date` header through the proxy: retention rests on it.",
        )

    def list_markers(self, prefix: str) -> Iterator[ObjectVersion]:
        """See the port. One page of 1000 versions is held in memory."""
        check_prefix(prefix)
        with self._answers(f"list {prefix}"):
            for item in self._all_versions(prefix):
                if item.is_delete_marker and item.object_name and item.version_id and item.last_modified:
                    yield ObjectVersion(item.object_name, item.version_id, 0, item.last_modified.replace(microsecond=0))

    def settings(self) -> StoreSettings:
        """See the port."""
        with self._answers("give its settings"):
            return read_settings(self._client, self._bucket)

    def hide(self, key: str) -> str:
        """Put a delete marker on top of `key`, as S3 allows even under lock, and give the id of the marker."""
        check_key(key)
        with self._answers(f"mark {key} as deleted"):
            self._client.remove_object(self._bucket, key)
        return str(self._markers(key)[0].version_id)

    def _require_our_time(self) -> None:
        """Refuse to write, lock or delete by a clock that is not ours, as far as the last answers told."""
        if abs(self._pool.gap) > CLOCK_SECONDS:
            raise another_time(self.name, self._pool.gap)

    def _check(self, key: str, version_id: str) -> None:
        """Refuse an unsafe key, and a version id that the client would drop: without one, S3 acts on the newest."""
        check_key(key)
        if _VERSION.match(version_id) is None:
            raise KeyError(f"{self.name}: no version {version_id!r} of {key}")

    def _create(self) -> None:
        with self._answers("make its bucket"):
            try:
                if not self._client.bucket_exists(self._bucket):
                    self._client.make_bucket(self._bucket, object_lock=True)
                self._client.get_object_lock_config(self._bucket)
            except S3Error as error:
                if error.code == "ObjectLockConfigurationNotFoundError":
                    raise does_not_lock(self.name, f"its bucket {self._bucket} has no Object Lock") from error
                raise
            except ValueError as error:
                raise BadInputError(
                    "STORE_ADDRESS", f"{self._bucket} cannot name a bucket.", remedy="Use 3 to 63 of a-z, 0-9, '-'."
                ) from error

    @contextmanager
    def _reading(self, key: str, version_id: str, offset: int, length: int) -> Iterator[BinaryIO]:
        with self._answers(f"read {key}", key, version_id):
            answer = self._client.get_object(self._bucket, key, offset, length, version_id=version_id)
        try:
            lost = partial(self._unanswered, f"read {key} to its end")
            with io.BufferedReader(Body(answer, lost), _BUFFER) as stream:
                # Here, and not at the caller's first read: a decoder of age files calls a header that it cannot read
                # altered.
                stream.peek()
                yield stream
        finally:
            answer.close()
            answer.release_conn()

    def _pages(self, prefix: str) -> Iterator[ObjectVersion]:
        with self._answers(f"list {prefix}"):
            for item in self._list(prefix):
                yield _version(item)

    def _list(self, prefix: str) -> Iterator[Object]:
        return (item for item in self._all_versions(prefix) if not item.is_delete_marker)

    def _all_versions(self, prefix: str) -> Iterator[Object]:
        found: Iterator[Object] = self._client.list_objects(
            self._bucket, prefix=prefix, recursive=True, include_version=True
        )
        return found

    def _markers(self, key: str) -> list[Object]:
        """Give the delete markers of exactly `key`, newest first."""
        with self._answers(f"list the versions of {key}"):
            return [item for item in self._all_versions(key) if item.is_delete_marker and item.object_name == key]

    def _stat(self, key: str, version_id: str) -> Object:
        with self._answers(f"describe {key}", key, version_id):
            return self._client.stat_object(self._bucket, key, version_id=version_id)

    def _retain(self, key: str, version_id: str, until: datetime) -> None:
        self._client.set_object_retention(self._bucket, key, Retention(COMPLIANCE, until), version_id)

    @contextmanager
    def _answers(self, act: str, key: str = "", version_id: str = "", *, worm: bool = False) -> Iterator[None]:
        """Say what goes wrong inside in the words of the port. `worm`: a denial is the lock's, not the key's."""
        try:
            yield
        except S3Error as error:
            raise self._error(error, act, key, version_id, worm=worm) from error
        except (MinioException, HTTPError, ET.ParseError) as error:
            raise self._unanswered(act, error) from error

    def _unanswered(self, act: str, error: Exception) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            "STORE_UNANSWERED",
            f"The store {self.name} did not {act} ({type(error).__name__}); whether it was done is unknown.",
            remedy="Check that the store is up and reachable, then try again.",
        )

    def _error(self, error: S3Error, act: str, key: str, version_id: str, *, worm: bool) -> MinutierError | KeyError:
        code, words = error.code or "", error.message or ""
        # A HEAD has no body, so a malformed version id shows only as a 400.
        if code in _NO_SUCH or (version_id and code in {"BadRequest", "InvalidArgument"}):
            return KeyError(f"{self.name}: no version {version_id} of {key}")
        if "must be in the future" in words:
            return retain_in_past(self.name)
        if "missing ObjectLockConfiguration" in words:
            return does_not_lock(self.name, f"its bucket {self._bucket} has no Object Lock")
        if worm and (code in _REFUSED or "WORM" in words):
            return refusal(self.name, act, words.rstrip("."))
        if code in _CREDENTIALS:
            return ServiceUnavailableError(
                "STORE_CREDENTIALS",
                f"The store {self.name} denied its key the right to {act} ({code}).",
                remedy="Correct the credentials file or the policy of the key; deposits wait and lose nothing.",
            )
        ours, what, remedy = _TRANSLATIONS.get(
            code, ("STORE_FAILED", f"answered {code}: {words}", "Read the log of the store, then try again.")
        )
        return ServiceUnavailableError(ours, f"The store {self.name} {what} (asked to {act}).", remedy=remedy)


def _version(item: Object) -> ObjectVersion:
    """Make a version from a listing or a HEAD; to the second, because only some answers say more."""
    if item.version_id is None or item.last_modified is None or item.size is None or item.object_name is None:
        raise MinioException("an object without version id, date or size")
    return ObjectVersion(item.object_name, item.version_id, item.size, item.last_modified.replace(microsecond=0))


def _lock(item: Object) -> LockState:
    headers = item.metadata or {}
    until = headers.get("x-amz-object-lock-retain-until-date")
    locked = headers.get("x-amz-object-lock-mode") == COMPLIANCE and until is not None
    return LockState(
        datetime.fromisoformat(str(until)).astimezone(UTC) if locked else None,
        legal_hold=headers.get("x-amz-object-lock-legal-hold") == "ON",
    )
