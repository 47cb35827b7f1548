"""A BagIt 1.0 bag (RFC 8493) over a directory whose `data/` is filled already: manifests, tag files, and a check.

Bags are read by anyone: each line of a manifest is a digest and a path, as `sha256sum --check` takes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from minutier.errors import IntegrityFailureError
from storage.files import write_durably

PAYLOAD = "data"
_ALGORITHMS = ("sha256", "sha512")
_BLOCK = 1 << 20
_DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"


def write_bag(
    folder: Path,
    info: Mapping[str, str],
    tags: Mapping[str, bytes],
    progress: Callable[[int], None] = lambda _files: None,
) -> tuple[int, int]:
    """Write the tag files of a bag over `folder/data`; gives its bytes and files. `tags` are more files of its top.

    The declaration comes last: a directory without `bagit.txt` is not a whole bag. OSError, ServiceUnavailableError
    (`DISK_FULL`).
    """
    manifests: dict[str, list[str]] = {name: [] for name in _ALGORITHMS}
    size = count = 0
    for path in payload_files(folder / PAYLOAD):
        digests, length = _digests(path)
        size, count = size + length, count + 1
        for name in _ALGORITHMS:
            manifests[name].append(f"{digests[name]}  {_encoded(path.relative_to(folder))}\n")
        progress(count)
    files = {f"manifest-{name}.txt": "".join(lines).encode() for name, lines in manifests.items()}
    described = {**info, "Payload-Oxum": f"{size}.{count}"}
    files["bag-info.txt"] = "".join(f"{name}: {value}\n" for name, value in described.items()).encode()
    files |= tags
    for name, data in files.items():
        write_durably(folder / name, data, mode=0o644)
    files["bagit.txt"] = _DECLARATION
    for algorithm in _ALGORITHMS:
        lines = [f"{hashlib.new(algorithm, data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
        write_durably(folder / f"tagmanifest-{algorithm}.txt", "".join(lines).encode(), mode=0o644)
    write_durably(folder / "bagit.txt", _DECLARATION, mode=0o644)
    return size, count


def read_bag(folder: Path) -> list[Path]:
    """Check every file of a bag against its manifests; gives those of the payload.

    Raises IntegrityFailureError (`BAG_ALTERED`) for a file that is missing, added or altered.
    """
    if not (folder / "bagit.txt").is_file():
        raise _altered("bagit.txt", "it is missing: this is not a whole bag")
    for algorithm in _ALGORITHMS:
        told = _told(folder, f"tagmanifest-{algorithm}.txt")
        for name, digest in told.items():
            if _digests(_inside(folder, name))[0][algorithm] != digest:
                raise _altered(name, "it is not the file that was put there")
    payload = {path.relative_to(folder).as_posix(): path for path in payload_files(folder / PAYLOAD)}
    manifests = {algorithm: _told(folder, f"manifest-{algorithm}.txt") for algorithm in _ALGORITHMS}
    for listed in manifests.values():
        if strange := set(listed) ^ set(payload):
            raise _altered(min(strange), "it is missing, or was added")
    for name, path in payload.items():
        digests, _ = _digests(path)
        if any(digests[algorithm] != listed[name] for algorithm, listed in manifests.items()):
            raise _altered(name, "it is not the file that was put there")
    return list(payload.values())


def payload_files(folder: Path) -> Iterator[Path]:
    """Give the files below a directory, in the order of their paths."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _digests(path: Path) -> tuple[dict[str, str], int]:
    found, size = {name: hashlib.new(name) for name in _ALGORITHMS}, 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            for digest in found.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in found.items()}, size


def _encoded(path: Path) -> str:
    # RFC 8493 §2.1.3: these three have other spellings there.
    return path.as_posix().replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def _told(folder: Path, manifest: str) -> dict[str, str]:
    found = {}
    for line in (folder / manifest).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        found[name.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")] = digest
    return found


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise _altered(name, "it is missing")
    return path


def _altered(name: str, why: str) -> IntegrityFailureError:
    return IntegrityFailureError(
        "BAG_ALTERED", f"The bag is not as it was written: {name}, {why}.", remedy="Have it restituted again."
    )
