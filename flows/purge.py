"""The purge: what may go is counted; it goes, in the open, once one person listed it and another approved the list."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.keeping import keep_segments
from tasks.purging import count_due, counted, destroy_listed, go_on_with_begun, publish_purge


@flow(name="purge", flow_run_name="purge: what may go", timeout_seconds=6 * 3600, persist_result=False)
def review_due() -> State[Any]:
    """End destructions that had begun, and count what may go now. It lists and destroys nothing by itself."""
    report = counted(go_on_with_begun()) | {"due": count_due()}
    keep_segments()
    publish_purge(report)
    message = f"{sum(report['due'].values())} may go, {report['destroyed']} destroyed that had waited"
    if report["left"]:
        return Failed(message=f"{message}, {sum(report['left'].values())} wait still", data=report)
    return Completed(name="Reviewed" if report["due"] else "NothingDue", message=message, data=report)


@flow(name="destruction", flow_run_name="destruction of a list", timeout_seconds=12 * 3600, persist_result=False)
def destroy_approved(list_id: str) -> State[Any]:
    """Destroy the documents of an approved list; run again, it goes on."""
    report = counted(destroy_listed(list_id))
    keep_segments()
    publish_purge(report)
    message = f"{report['destroyed']} destroyed, {sum(report['left'].values())} left"
    return Completed(name="Destroyed", message=message, data=report)
