"""Makes a store ready for an archive on a MinIO server: a bucket with Object Lock, and a key that can do no more.

    python infra/minio/make_store.py --endpoint HOST:PORT --bucket NAME --root FILE --key FILE [--clear]

`--root` is the credentials file of the server's root key, which the archive never sees; `--key` is where that of the
archive's own key goes (mode 0600). Its rights are those of archive-policy.json. Safe to run again: a key that is there
stays. Exit 1 with a sentence when the bucket was made without Object Lock, or the server does not answer.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

from minio import Minio
from minio.credentials import AWSConfigProvider
from minio.error import MinioAdminException, MinioException
from minio.minioadmin import MinioAdmin
from urllib3.exceptions import HTTPError

POLICY = Path(__file__).with_name("archive-policy.json")


def main(arguments: list[str] | None = None) -> int:
    """Run; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True, metavar="HOST:PORT")
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--root", required=True, type=Path, help="credentials file of the root key")
    parser.add_argument("--key", required=True, type=Path, help="credentials file to write for the archive")
    parser.add_argument("--clear", action="store_true", help="speak HTTP: to a server on the same machine only")
    options = parser.parse_args(arguments)
    try:
        print(make(options.endpoint, options.bucket, options.root, options.key, secure=not options.clear))
    except (MinioException, MinioAdminException, HTTPError, OSError, ValueError) as error:
        print(f"make_store: {error}", file=sys.stderr)
        return 1
    return 0


def make(endpoint: str, bucket: str, root: Path, key: Path, *, secure: bool) -> str:
    """Make bucket, policy and key, each where it is absent; gives a sentence. Errors as the module says."""
    provider = AWSConfigProvider(str(root), "default")
    client = Minio(endpoint, credentials=provider, secure=secure)
    if not client.bucket_exists(bucket):
        client.make_bucket(bucket, object_lock=True)
    if client.get_bucket_versioning(bucket).status != "Enabled":
        raise ValueError(f"the bucket {bucket} was made without Object Lock: choose another name")
    admin = MinioAdmin(endpoint=endpoint, credentials=provider, secure=secure)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as written:
        json.dump(json.loads(POLICY.read_text("ascii").replace("BUCKET", bucket)), written)
        written.flush()
        admin.policy_add(f"minutier-{bucket}", written.name)
    if key.exists():
        return f"{bucket}: the key in {key} stays"
    name, secret = f"minutier-{bucket}-{secrets.token_hex(4)}", secrets.token_urlsafe(30)
    admin.user_add(name, secret)
    admin.policy_set(f"minutier-{bucket}", user=name)
    descriptor = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = {secret}\n")
    return f"{bucket}: ready; the key of the archive is in {key}"


if __name__ == "__main__":
    sys.exit(main())
