"""A bucket as the door of a feed, on a real MinIO: fetched whole, answered beside the manifest, nothing astray."""

import hashlib
import io

import pytest
from minio import Minio

from minutier.errors import ServiceUnavailableError
from tasks.bordereau import COLUMNS
from tasks.bucket_door import fetch, give_back, has_bucket
from tasks.door import waiting_batches
from tasks.intake import finish_batch, receive_batch
from tests.support.minio_server import ROOT_PASSWORD, ROOT_USER
from tests.support.rig import carry

FILES = {"demande.txt": b"Demande de permis", "plan.txt": b"Plan de masse"}


@pytest.fixture
def bucket(minio, rig):
    """A bucket of its own, named in the settings of the archive as the door of the feed `mairie`."""
    client = Minio(minio.endpoint, ROOT_USER, ROOT_PASSWORD, secure=False)
    name = f"inbox-{hashlib.sha256(str(rig.folder).encode()).hexdigest()[:12]}"
    client.make_bucket(name)
    changed = {
        "inbox_buckets": (f"mairie=s3+http://{minio.endpoint}/{name}",),
        "inbox_credentials": minio.credentials_file,
    }
    object.__setattr__(rig.archive, "settings", rig.archive.settings.model_copy(update=changed))

    def put(key, data):
        client.put_object(name, key, io.BytesIO(data), len(data))

    put.client, put.name = client, name
    return put


def slip():
    rows = [";".join(COLUMNS)]
    for number, (name, data) in enumerate(FILES.items(), 1):
        rows.append(f"D-1;D-1/{number};P;Pièce;{name};{len(data)};{hashlib.sha256(data).hexdigest()};2026-03-02")
    return "\r\n".join(rows).encode()


@pytest.fixture
def door(rig):
    path = rig.folder / "door"
    path.mkdir()
    return path


def test_what_lies_in_a_bucket_is_taken_and_answered_there(rig, bucket, door):
    assert has_bucket(rig.archive.settings, "mairie")
    assert not has_bucket(rig.archive.settings, "garage")
    bucket("lot/bordereau.csv", slip())
    bucket("lot/demande.txt", FILES["demande.txt"])
    assert fetch(rig.archive, "mairie", door).objects == 2
    assert waiting_batches(rig.archive, "mairie", door) == ([], []), "a file has not come yet"
    bucket("lot/plan.txt", FILES["plan.txt"])
    assert fetch(rig.archive, "mairie", door).objects == 1
    ((batch,), _) = waiting_batches(rig.archive, "mairie", door)
    received = receive_batch(rig.archive, "mairie", batch)
    carry(rig.archive, [each.archive_id for tickets in received.dossiers.values() for each in tickets])
    finish_batch(rig.archive, batch, received)
    give_back(rig.archive, "mairie", batch)
    answer = bucket.client.get_object(bucket.name, "lot/accuse.csv").data.decode("utf-8-sig")
    assert answer.count("archivé") == 2
    assert fetch(rig.archive, "mairie", door).objects == 0, "its own answers are not fetched"
    assert waiting_batches(rig.archive, "mairie", door) == ([], [])


def test_an_object_that_changes_is_fetched_again(rig, bucket, door):
    bucket("lot/plan.txt", b"cut sho")
    fetch(rig.archive, "mairie", door)
    bucket("lot/plan.txt", FILES["plan.txt"])
    assert fetch(rig.archive, "mairie", door).objects == 1
    assert (door / "lot" / "plan.txt").read_bytes() == FILES["plan.txt"]
    (door / "lot" / "plan.txt").unlink()
    assert fetch(rig.archive, "mairie", door).objects == 1


def test_keys_that_lead_elsewhere_are_passed_over(rig, bucket, door):
    for key in ("lot/deep/er/file.txt", "alone.txt", "lot/a\\b.txt", ".bucket.json/x"):
        bucket(key, b"x")
    bucket("sip.zip", b"PK")
    bucket("sip/content/ID1.txt", b"x")
    bucket("sip/mon-accuse.csv", b"x")
    found = fetch(rig.archive, "mairie", door)
    assert (found.objects, found.passed_over) == (3, 4)
    files = sorted(str(path.relative_to(door)) for path in door.rglob("*") if path.is_file())
    assert files == [".bucket.json", "sip.zip", "sip/content/ID1.txt", "sip/mon-accuse.csv"]


def test_a_bucket_that_does_not_answer_stops_nothing_for_good(rig, bucket, door, tmp_path):
    wrong = tmp_path / "credentials"
    wrong.write_text("[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing-at-all\n")
    changed = rig.archive.settings.model_copy(update={"inbox_credentials": wrong})
    object.__setattr__(rig.archive, "settings", changed)
    with pytest.raises(ServiceUnavailableError) as caught:
        fetch(rig.archive, "mairie", door)
    assert caught.value.code == "INBOX_DOWN"
    assert "nothing-at-all" not in str(caught.value)
