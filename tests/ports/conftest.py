"""One MinIO server for all the ports tests, and one harness per kind of store."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.directory import DirectoryStore
from storage.memory import ManualClock, MemoryStore
from tests.support.minio_server import PIN, find_minio, minio_server


@pytest.fixture(scope="session")
def minio():
    binary = find_minio()
    if binary is None:
        pytest.skip(f"no MinIO server {PIN}: run infra/minio.sh, or set MINUTIER_MINIO")
    with minio_server(binary) as server:
        yield server


@dataclass
class Harness:
    """A store and what a test may do around it: read its clock, let time pass, put bytes."""

    store: Any
    clock: ManualClock | None
    folder: Any

    def now(self) -> datetime:
        return self.clock() if self.clock else datetime.now(UTC)

    def pass_time(self, seconds: float) -> None:
        if self.clock:
            self.clock.advance(seconds)
        else:
            time.sleep(seconds)

    def put(self, key: str, data: bytes, seconds: float = 3600):
        source = self.folder / f"source-{uuid.uuid4().hex}"
        source.write_bytes(data)
        return self.store.put(key, source, self.now() + timedelta(seconds=seconds))

    def read(self, key: str, version_id: str) -> bytes:
        with self.store.open(key, version_id) as stream:
            return stream.read()


@pytest.fixture(params=["memory", "directory", pytest.param("minio", marks=pytest.mark.minio)])
def harness(request, tmp_path):
    clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    if request.param == "memory":
        yield Harness(MemoryStore(clock=clock), clock, tmp_path)
    elif request.param == "directory":
        yield Harness(DirectoryStore("directory", tmp_path / "store", create=True, clock=clock), clock, tmp_path)
    else:
        store = request.getfixturevalue("minio").store(f"contract-{uuid.uuid4().hex}")
        yield Harness(store, None, tmp_path)
        store.close()
