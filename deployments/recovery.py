"""How old the last backup of the embedded database and the last drill are: for `status` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from deployments.findings import Check
from storage.settings import Settings
from tasks.backups import newest
from tasks.drill import last_drill
from tasks.postgres_programs import Places

BACKUP_LATE, DRILL_LATE = timedelta(hours=26), timedelta(days=8)
"""Ages from which a backup, taken each night, and a drill, run each week, are late."""


def checks(settings: Settings) -> Iterator[Check]:
    """Look at the last backup and the last drill; nothing for a database in a server of your own."""
    places = Places(settings.home)
    if settings.database_url is not None or not places.cluster.exists():
        return
    now, backup, drill = datetime.now(UTC), newest(places), last_drill(places)
    if backup is None:
        yield Check("backup", "warning", "there is none", "Take one: minutier backup")
    else:
        level = "ok" if now - backup.started_at < BACKUP_LATE else "warning"
        words = f"{_age(now - backup.started_at)} old, {backup.size / 1e6:.0f} MB"
        yield Check("backup", level, words, "" if level == "ok" else "See the run backup: minutier backup")
    if drill is None:
        yield Check("restore drill", "warning", "there was none", "Rehearse a restore: minutier drill")
    else:
        age = now - datetime.fromisoformat(drill["at"])
        level = "ok" if age < DRILL_LATE and drill["verdict"] == "green" else "warning"
        remedy = "" if level == "ok" else "Read its report in HOME/drills, then: minutier drill"
        yield Check("restore drill", level, f"{drill['verdict']}, {_age(age)} ago", remedy)


def summary(settings: Settings) -> str:
    """Say in one line what is known of backup and drill; "" for a database in a server of your own."""
    return "; ".join(f"{each.name}: {each.detail}" for each in checks(settings))


def _age(age: timedelta) -> str:
    hours = max(age, timedelta()).total_seconds() / 3600
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.0f} hours" if hours < 48 else f"{age.days} days"
