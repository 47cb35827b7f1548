"""How stores are written in the configuration."""

import pytest

from minutier.errors import BadInputError, ServiceUnavailableError
from storage.directory import DirectoryStore
from storage.parse import open_store
from storage.s3 import S3Store


@pytest.fixture
def credentials(tmp_path):
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    return path


def test_a_directory(tmp_path):
    store = open_store(f"dir:{tmp_path}/a store", "first", create=True)
    assert isinstance(store, DirectoryStore)
    assert (store.name, store.root) == ("first", tmp_path / "a store")


def test_a_directory_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ServiceUnavailableError):
        open_store(f"dir:{tmp_path}/none", "first").versions("a")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("spec", "url"),
    [
        ("s3+http://127.0.0.1:9000/replica-1", "http://127.0.0.1:9000/"),
        ("s3+https://s3.example.org/replica-1", "https://s3.example.org/"),
        ("s3+https://s3.example.org:8443/replica-1/", "https://s3.example.org:8443/"),
    ],
)
def test_a_bucket(credentials, spec, url):
    store = open_store(spec, "second", credentials)
    assert isinstance(store, S3Store)
    assert (store.name, store._bucket, store._url) == ("second", "replica-1", url)


def test_a_bucket_without_keys_is_refused():
    with pytest.raises(BadInputError) as refused:
        open_store("s3+https://s3.example.org/replica-1", "second")
    assert refused.value.code == "CREDENTIALS_FILE"


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "dir",
        "dir:",
        "dir:a\x00b",
        "/srv/store",
        "file:/srv",
        "s3://host/bucket",
        "s3+ftp://host/bucket",
        "s3+http://host",
        "s3+http://host/",
        "s3+http:///bucket",
        "s3+http://host/a/b",
        "s3+http://host/UPPER",
        "s3+http://host:0/bucket",
        "s3+http://host:65536/bucket",
        "s3+http://host:x/bucket",
        "s3+http://host/ab",
        "s3+http://host/bucket?x=1",
        "s3+http://host/bucket#x",
        "s3+http://-host/bucket",
        "s3+http://[::1]/bucket",
        "s3+http://host/bucket\n",
        "S3+HTTP://host/bucket",
    ],
)
def test_anything_else_is_bad_input(credentials, spec):
    with pytest.raises(BadInputError) as refused:
        open_store(spec, "bad", credentials)
    assert refused.value.code == "STORE_SPEC"


def test_a_password_in_an_address_is_refused_and_not_repeated(credentials):
    with pytest.raises(BadInputError) as refused:
        open_store("s3+http://user:pass-word@host/bucket", "bad", credentials)
    assert "pass-word" not in str(refused.value)
