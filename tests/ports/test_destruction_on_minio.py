"""The end of a document on two real S3 stores: before its term they refuse by themselves, whoever asks and however."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from minutier.errors import MinutierError, PolicyRefusedError
from storage import reading
from storage.destruction import Decision, certificate, destroy
from storage.reception import current
from tests.support.minio_server import PIN, find_minio, minio_server
from tests.support.rig import make_rig

pytestmark = pytest.mark.minio
WHY = Decision("end of its class", "archivist-1")
YEARS = timedelta(days=366 * 6)


class Ours:
    """The time of this machine as the client of the stores knows it: a request of another time is refused."""

    off = timedelta(0)

    def __call__(self):
        return datetime.now(UTC) + self.off


@pytest.fixture
def servers(database_url, certified_home, tmp_path, monkeypatch):
    binary = find_minio()
    if binary is None:
        pytest.skip(f"no MinIO server {PIN}: run infra/minio.sh, or set MINUTIER_MINIO")
    shutil.copytree(certified_home, tmp_path / "home")
    with minio_server(binary) as one, minio_server(binary) as other:
        ours = Ours()
        monkeypatch.setattr("minio.time.utcnow", ours)
        opened = [one.store("first", "replica-a", clock=ours), other.store("second", "replica-b", clock=ours)]
        with make_rig(database_url, tmp_path, lambda _clock: opened) as rig:
            yield rig, (one, other), ours
        for store in opened:
            store.close()


def versions(rig, deposit):
    """Give every version that lies under a document's name, each with its store."""
    prefix = f"{deposit.safe}/{deposit.archive_id}/"
    return [(store, each) for store in rig.archive.replicas for each in store.list_objects(prefix)]


def refused(call):
    with pytest.raises(MinutierError) as stopped:
        call()
    return stopped.value.code


def test_before_its_term_the_stores_refuse_and_after_it_every_version_goes(servers, tmp_path):
    rig, (one, other), ours = servers
    data = b"%PDF-1.7 kept for five years\n"
    deposit = rig.deposit(data)
    there = versions(rig, deposit)
    assert {store.name for store, _ in there} == {"replica-a", "replica-b"}

    # With the root keys of the stores, past the archive: neither deleted, nor with the right to bypass, nor shortened.
    for store, each in there:
        soon = ours() + timedelta(hours=1)
        for act in (
            lambda s=store, v=each: s.delete_version(v.key, v.version_id),
            lambda s=store, v=each: s.delete_with_bypass(v.key, v.version_id),
            lambda s=store, v=each: s.downgrade_lock(v.key, v.version_id),
            lambda s=store, v=each, t=soon: s.shorten_lock(v.key, v.version_id, t),
        ):
            assert refused(act) == "WORM_REFUSED"

    # Through the archive: by the rules; with the term rewritten in the database; with the archive's clock moved.
    assert refused(lambda: destroy(rig.archive, deposit.archive_id, WHY)) == "RETENTION"
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE deposit SET retain_until = %s", (rig.clock() - timedelta(days=1),))
    with pytest.raises(PolicyRefusedError) as stopped:
        destroy(rig.archive, deposit.archive_id, WHY)
    assert (stopped.value.code, "holds it locked" in stopped.value.message) == ("RETENTION", True)
    with rig.archive.database.transaction() as connection:
        connection.execute("UPDATE deposit SET retain_until = %s", (deposit.retain_until,))
    now = rig.clock()
    rig.clock.now = now + YEARS
    assert refused(lambda: destroy(rig.archive, deposit.archive_id, WHY)) == "CLOCKS_APART"
    rig.clock.now = now
    assert current(rig.archive, deposit.archive_id).state == "ARCHIVED"
    assert versions(rig, deposit) == there
    reading.read(rig.archive, deposit, tmp_path / "read.pdf")
    assert (tmp_path / "read.pdf").read_bytes() == data

    # Six years later, by every clock.
    for server in (one, other):
        server.stop()
        server.start(moved=int(YEARS.total_seconds()))
    ours.off = YEARS
    rig.clock.now = max(store.clock() for store in rig.archive.replicas)
    paper = destroy(rig.archive, deposit.archive_id, WHY)
    assert versions(rig, deposit) == []
    told = {(each["replica"], each["key"], each["version"]): each["answer"] for each in paper.value["versions"]}
    assert told == {(store.name, each.key, each.version_id): "deleted" for store, each in there}
    assert certificate(rig.archive, deposit.archive_id) == paper
    assert rig.archive.keys.kept(deposit.archive_id) is None
    assert refused(lambda: reading.read(rig.archive, current(rig.archive, deposit.archive_id), tmp_path / "gone")) == (
        "DESTROYED"
    )
