"""What a person gives with a deposit, made usable or refused in a sentence: names, metadata, a reference of our own."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from minutier.errors import BadInputError, IntegrityFailureError

if TYPE_CHECKING:
    from storage.archive import Archive

DEPOSITOR = "command-line"
# PostgreSQL keeps no NUL. Half a surrogate pair, Python's stand-in for a byte that is not UTF-8, has no UTF-8.
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_KEY_BYTES = 32


def require_text(**options: str) -> None:
    """Raise BadInputError (`BAD_NAME`) for an option that holds NUL or bytes that are not UTF-8."""
    for option, value in options.items():
        if _UNUSABLE.search(value):
            raise BadInputError(
                "BAD_NAME",
                f"The {option} {value!r} holds a character that cannot be kept.",
                remedy="Write it in UTF-8, without NUL. Is the terminal or the script in another encoding?",
            )


def require_file(path: Path) -> None:
    """Raise BadInputError unless a path is a file: `FILE_MISSING`, or `NOT_A_FILE` for a directory."""
    if path.is_dir():
        raise BadInputError("NOT_A_FILE", f"{path} is a directory.", remedy="Give the name of a file in it.")
    if not path.is_file():
        raise BadInputError("FILE_MISSING", f"There is no file {path}.", remedy="Check the name.")


def read_metadata(path: Path | None) -> dict[str, str]:
    """Read the JSON file of a depositor, an object of strings; BadInputError (`BAD_METADATA`) for anything else."""
    if path is None:
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInputError("BAD_METADATA", f"{path} is not JSON ({error}).", remedy="Correct the file.") from error
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise BadInputError("BAD_METADATA", f"{path} is not an object of strings.", remedy='Write {"title": "…"}.')
    for text in (*value, *value.values()):
        if _UNUSABLE.search(text):
            raise BadInputError(
                "BAD_METADATA",
                f"{path} holds a character that cannot be kept, in {text[:80]!r}.",
                remedy="Take \\u0000 and lone surrogates (\\ud800 to \\udfff) out of the file.",
            )
    return value


def own_reference(archive: Archive, path: Path) -> str:
    """Name a delivery without reference by its content, keyed: the same bytes again are the same deposit.

    A file name may name a person, and a bare digest of a guessable form could confirm a guess; this shows neither.
    """
    key = _reference_key(archive)
    with path.open("rb") as stream:
        if path.stat().st_size > archive.settings.max_document_bytes:
            # It will be refused for its size: its beginning is enough to name the refusal.
            digest = hashlib.sha256(stream.read(1 << 20)).digest()
        else:
            digest = hashlib.file_digest(stream, "sha256").digest()
    return "file-" + hmac.digest(key, digest, "sha256").hex()[:20]


def _reference_key(archive: Archive) -> bytes:
    """Give the key of references, made once in the life of the archive.

    With another key the same bytes would be another deposit, archived a second time: where deposits were named with a
    key that is gone, IntegrityFailureError (`KEYS_MISSING`).
    """
    path = archive.settings.home / "keys" / "reference.key"
    # Looked for again after the question: another first run may have made it, and deposited, in between.
    if not path.exists() and _named_before(archive) and not path.exists():
        raise _key_gone(path)
    if not path.exists():
        _make_once(path)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise _key_gone(path)
    return key


def _make_once(path: Path) -> None:
    """Write a new key aside and link it to its name: of two runs at once, both then use the one that came first."""
    from storage.files import sync_directory, write_durably

    aside = path.with_name(f".{uuid.uuid4().hex}.reference")
    try:
        write_durably(aside, secrets.token_bytes(_KEY_BYTES))
        with suppress(FileExistsError):
            os.link(aside, path)
        sync_directory(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def _named_before(archive: Archive) -> bool:
    with archive.database.transaction() as connection:
        query = "SELECT 1 AS one FROM deposit WHERE depositor = %s AND reference ~ '^file-[0-9a-f]{20}$' LIMIT 1"
        return connection.execute(query, (DEPOSITOR,)).fetchone() is not None


def _key_gone(path: Path) -> IntegrityFailureError:
    return IntegrityFailureError(
        "KEYS_MISSING",
        f"{path}, which names documents given without a reference, is gone: the same document would be archived twice.",
        remedy="Restore the keys directory from its backup, or give --reference. Nothing was deposited.",
    )


def moment(text: str) -> datetime:
    """Read the time of an option, UTC where it names no zone; now for an empty one."""
    if not text:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInputError("BAD_TIME", f"{text!r} is not a time.", remedy="Write 2030-01-31T12:00:00Z.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
