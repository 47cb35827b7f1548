"""Taking up again: deposits that wait for a time-stamp, or that a run left on their way, go on by themselves."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.deposit import deposit_documents
from tasks.keeping import keep_segments
from tasks.resuming import find_waiting


@flow(name="resume", flow_run_name="resume what waits", timeout_seconds=2 * 3600, persist_result=False)
def resume_waiting(left_behind: bool = False) -> State[Any]:
    """Run the deposit of what waits; a time-stamp authority that is still down leaves it waiting for the next visit.

    `left_behind` takes up also what stopped for any other reason: less often, for it may need a person.
    """
    keep_segments()
    tickets = find_waiting(left_behind=left_behind)
    if not tickets:
        return Completed(message="nothing waits")
    ended: State[Any] = deposit_documents(f"resumed · {len(tickets)} waiting", tickets, return_state=True)
    if not ended.is_completed():
        ended.result()
    return Completed(name="Resumed", message=ended.message)
