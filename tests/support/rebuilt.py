"""An archive in every condition that a rebuild must give back, and the rebuild of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minutier.trust import load_trust
from storage.bootstrap import open_archive
from storage.comparison import Comparison, compare
from storage.rebuild import RebuildReport, Sources, rebuild
from tests.support.rig import Rig


def sources(rig: Rig) -> Sources:
    """What a rebuild of this rig reads: nothing of its database."""
    archive = rig.archive
    trust = load_trust(archive.settings.trust_dir)
    return Sources(archive.replicas, archive.keys, archive.journal_key.public_key(), trust, archive.crls)


def rebuild_rig(rig: Rig, url: str) -> tuple[RebuildReport, Comparison]:
    """Rebuild a rig into an empty database, and compare it with the one that lives."""
    report = rebuild(sources(rig), url, rig.clock())
    return report, compare(live_url(rig), url)


def live_url(rig: Rig) -> str:
    url = rig.archive.settings.database_url
    assert url is not None
    return url


def figures(found: Comparison) -> dict[str, tuple[int, ...]]:
    """What is not equal, by table: different, missing, extra, later."""
    return {
        each.table: (each.different, each.missing, each.extra, each.later) for each in found.tables if not each.same
    }


@contextmanager
def on_database(rig: Rig, url: str, folder: Path) -> Iterator[Rig]:
    """Go on with another database behind the same stores and keys, as after a change of the settings."""
    settings = rig.archive.settings.model_copy(update={"database_url": url})
    opened = open_archive(settings)
    ports = {"clock": rig.clock, "replicas": rig.archive.replicas, "tsa": rig.archive.tsa}
    try:
        yield Rig(dataclasses.replace(opened, **ports), rig.clock, folder)  # type: ignore[arg-type]
    finally:
        opened.database.close()
