"""The backup of the embedded database: a base backup each night, and every few minutes what is new goes elsewhere."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.guarding import back_up_database


@flow(name="backup", flow_run_name="backup of the database", timeout_seconds=3 * 3600, persist_result=False)
def back_up(base: bool = True) -> State[Any]:
    """Back up; a failure fails the run, so that it shows red, and nothing older was removed."""
    report = back_up_database(base=base)
    if report is None:
        return Completed(name="NotOurs", message="the database is a server of your own: so are its backups")
    taken = f"{report.taken.size / 1e6:.1f} MB taken, " if report.taken else ""
    message = f"{taken}{len(report.removed)} old ones removed, {report.shipped} files copied elsewhere"
    return Completed(message=message, data=report.as_dict())
