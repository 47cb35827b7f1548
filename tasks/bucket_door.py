"""A bucket as the door of a feed (docs/format/seda-v1.md §4): fetched to the feed's directory, answered beside it.

What was fetched is remembered by the tag that the store gives each version of an object. A file appears in the
directory whole, under its name, and the manifest of a batch after its files: the rules of the directory then hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from minio import Minio
from minio.error import MinioException
from prefect import task
from urllib3.exceptions import HTTPError

from minutier.errors import BadInputError, ServiceUnavailableError
from storage.archive import Archive
from storage.bootstrap import current_archive
from storage.files import durable_writer, write_durably
from storage.s3_wire import ClockedPool, credentials
from storage.settings import Settings
from tasks import seda
from tasks.bordereau import MANIFEST, RECEIPT, REPORT, Batch
from tasks.prefect_step import may_pass_later

_KNOWN = ".bucket.json"
_MANIFESTS = (MANIFEST, seda.MANIFEST, seda.TABLE)
_ANSWERS = (RECEIPT, REPORT)
_LARGEST = 8 << 30
_SECONDS = 60.0
_NAME = r"[^/\x00-\x1f\x7f\\]{1,200}"
_KEY = re.compile(rf"{_NAME}/(?:content/)?{_NAME}|{_NAME}\.zip")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a visit brought: how many objects, and how many keys were passed over."""

    objects: int
    passed_over: int


@dataclass(frozen=True, slots=True)
class _Bucket:
    client: Minio
    name: str


def has_bucket(settings: Settings, feed: str) -> bool:
    """Say whether a feed has a bucket for a door."""
    return any(each.partition("=")[0] == feed for each in settings.inbox_buckets)


def fetch(archive: Archive, feed: str, door: Path) -> Fetched:
    """Fetch to the directory what is new in the bucket of a feed.

    Raises ServiceUnavailableError (`INBOX_DOWN`), BadInputError (`CREDENTIALS_FILE`, `INBOX_CREDENTIALS`).
    """
    known: dict[str, str] = {}
    if (door / _KNOWN).is_file():
        known = json.loads((door / _KNOWN).read_bytes())
    fetched = passed_over = 0
    with _opened(archive.settings, feed) as bucket:
        found = {str(each.object_name): each for each in bucket.client.list_objects(bucket.name, recursive=True)}
        # A manifest comes after the files of its batch.
        for key in sorted(found, key=lambda key: (key.rpartition("/")[2] in _MANIFESTS, key)):
            name, size = key.rpartition("/")[2], found[key].size or 0
            if name in _ANSWERS or name.endswith(tuple(f".zip.{each}" for each in _ANSWERS)):
                continue  # ours
            parts = key.split("/")
            if not _KEY.fullmatch(key) or any(part.startswith(".") for part in parts) or size > _LARGEST:
                passed_over += 1
                continue
            target, tag = door / key, str(found[key].etag)
            if known.get(key) != tag or not target.is_file():
                _download(bucket, key, target)
                known[key] = tag
                fetched += 1
    if fetched:
        write_durably(door / _KNOWN, json.dumps(known, indent=0, sort_keys=True).encode())
    return Fetched(fetched, passed_over)


def give_back(archive: Archive, feed: str, batch: Batch) -> None:
    """Put the receipt and the report of a batch into the bucket, beside its manifest; errors as `fetch`."""
    with _opened(archive.settings, feed) as bucket:
        for name in _ANSWERS:
            answer = batch.answer(name)
            if answer.is_file():
                key = answer.name if batch.package else f"{batch.name}/{answer.name}"
                bucket.client.fput_object(bucket.name, key, str(answer), content_type="text/plain; charset=utf-8")


def _download(bucket: _Bucket, key: str, target: Path) -> None:
    answer = bucket.client.get_object(bucket.name, key)
    try:
        with durable_writer(target, mode=0o644) as stream:
            for piece in answer.stream(1 << 20):
                stream.write(piece)
    finally:
        answer.close()
        answer.release_conn()


@contextmanager
def _opened(settings: Settings, feed: str) -> Iterator[_Bucket]:
    """Open the bucket of a feed; what goes wrong with it inside the block is `INBOX_DOWN`, to be tried again."""
    address = next(each.partition("=")[2] for each in settings.inbox_buckets if each.partition("=")[0] == feed)
    if settings.inbox_credentials is None:
        raise BadInputError(
            "INBOX_CREDENTIALS", "The setting inbox_buckets needs inbox_credentials.", remedy="Name the file."
        )
    keys, parts = credentials(settings.inbox_credentials), urlsplit(address.removeprefix("s3+"))
    pool = ClockedPool(_SECONDS, lambda: datetime.now(UTC))
    client = Minio(
        parts.netloc, keys["aws_access_key_id"], keys["aws_secret_access_key"],
        session_token=keys.get("aws_session_token"), region=keys.get("region"),
        secure=parts.scheme == "https", http_client=pool,
    )  # fmt: skip
    try:
        yield _Bucket(client, parts.path.strip("/"))
    except (MinioException, HTTPError) as error:
        raise ServiceUnavailableError(
            "INBOX_DOWN",
            f"The inbox bucket of the feed {feed} gave no answer that can be used ({type(error).__name__}).",
            remedy="Nothing is lost: what lies there waits. Look at its address, its credentials and the network.",
        ) from None
    finally:
        pool.clear()


@task(
    name="fetch from the bucket",
    task_run_name="bucket · {feed}",
    retries=2,
    retry_delay_seconds=[5, 30],
    retry_condition_fn=may_pass_later,
    persist_result=False,
)
def fetch_inbox(feed: str, door: Path) -> Fetched:
    """Fetch what is new in the bucket of a feed."""
    return fetch(current_archive(), feed, door)
