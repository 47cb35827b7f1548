"""Step: find the deposits to take up again."""

from __future__ import annotations

from prefect import task

from storage.bootstrap import current_archive
from storage.waiting import to_resume
from tasks.prefect_step import Ticket


@task(name="find what waits", persist_result=False)
def find_waiting(*, left_behind: bool) -> list[Ticket]:
    """Give the tickets of deposits that wait for a time-stamp, and of those `left_behind` for an hour if asked for."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        found = to_resume(connection, archive.clock(), left_behind=left_behind)
    return [Ticket(archive_id=archive_id, reference=reference) for archive_id, reference in found]
