"""Open a store from the way it is written in the configuration (`MINUTIER_REPLICAS`)."""

from __future__ import annotations

import re
from pathlib import Path

from minutier.errors import BadInputError
from storage.directory import DirectoryStore
from storage.ports import ObjectStore
from storage.s3 import S3Store

_S3 = re.compile(
    r"s3\+(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
    r"/(?P<bucket>[a-z0-9][a-z0-9-]{1,61}[a-z0-9])/?\Z"
)


def open_store(spec: str, name: str, credentials_file: Path | None = None, *, create: bool = False) -> ObjectStore:
    """Open `dir:PATH` or `s3+http(s)://HOST[:PORT]/BUCKET` under `name`; BadInputError on anything else.

    `credentials_file` is needed by s3 (see `S3Store`). `create` makes the directory store or the locked bucket where
    there is none; without it a missing one is ServiceUnavailableError STORE_MISSING at first use.
    """
    if spec.startswith("dir:") and spec != "dir:" and "\0" not in spec:
        return DirectoryStore(name, Path(spec.removeprefix("dir:")), create=create)
    match = _S3.match(spec)
    if match is None or not 0 < int(match["port"] or 1) < 65536:
        raise BadInputError(
            "STORE_SPEC",
            f"{_without_password(spec)!r} does not name a store.",
            remedy="Write dir:PATH or s3+https://HOST:PORT/BUCKET; keys go in a credentials file.",
        )
    if credentials_file is None:
        raise BadInputError(
            "CREDENTIALS_FILE", f"The store {name} needs a credentials file.", remedy="Give the path of the file."
        )
    endpoint = match["host"] + (f":{match['port']}" if match["port"] else "")
    return S3Store(name, endpoint, match["bucket"], credentials_file, secure=match["scheme"] == "https", create=create)


def _without_password(spec: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", spec)
