"""Harm below the stores: what bad disks do, and whoever may write to them. Each act picks its place with a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage import catalogue
from storage.catalogue import Copy, StoredObject

KINDS = ("flip", "truncate", "delete")


@dataclass(frozen=True)
class Target:
    """One copy of one object, and the replica that has it."""

    item: StoredObject
    copy: Copy


def targets(archive) -> list[list[Target]]:
    """Give the copies of every object, the objects in a fixed order."""
    with archive.database.transaction() as connection:
        owners = [row["o"] for row in connection.execute("SELECT DISTINCT archive_id AS o FROM object ORDER BY 1")]
        found = []
        for owner in owners:
            copies = catalogue.copies(connection, str(owner))
            for role, item in catalogue.objects(connection, str(owner)).items():
                found.append([Target(item, copy) for copy in copies if copy.role == role])
    return found


def pick(archive, random_of: random.Random, count: int) -> Iterator[tuple[Target, str]]:
    """Choose `count` objects, one copy of each, and what happens to it."""
    for copies in random_of.sample(targets(archive), count):
        yield random_of.choice(copies), random_of.choice(KINDS)


def harm_file(path: Path, kind: str, random_of: random.Random) -> None:
    """Flip one bit, cut the end off, or delete."""
    if kind == "delete":
        path.unlink()
        return
    data = bytearray(path.read_bytes())
    if kind == "flip":
        place = random_of.randrange(len(data) * 8)
        data[place // 8] ^= 1 << (place % 8)
    else:
        del data[random_of.randrange(len(data)) :]
    path.chmod(0o644)
    path.write_bytes(data)


def below_directory(archive, target: Target, kind: str, random_of: random.Random) -> None:
    """Harm the file of a copy in a directory store; half of the deletions take its lock file too."""
    root: Path = archive.replica(target.copy.replica).root
    path = root / target.item.key / f"{target.copy.version_id}.bin"
    harm_file(path, kind, random_of)
    if kind == "delete" and random_of.random() < 0.5:
        path.with_name(f"{target.copy.version_id}.lock.json").unlink()


def minio_files(data: Path, bucket: str, key: str) -> Sequence[Path]:
    """Give the files in which a single-disk MinIO keeps a key: `part.N`, and `xl.meta`, which holds small objects."""
    return sorted(path for path in (data / bucket / key).rglob("*") if path.is_file())
