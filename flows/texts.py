"""Texts: scanned documents are read by a machine, long after their seal; what it read is a deposit like any."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.deposit import deposit_documents
from tasks.texts import find_unread, recognise_text
from tasks.waiting_out import put_off


@flow(name="texts", flow_run_name="recognise texts", timeout_seconds=8 * 3600, persist_result=False)
def recognise_texts(limit: int = 200) -> State[Any]:
    """Look at so many unread documents, then deposit the texts that were found."""
    if (waits := put_off()) is not None:
        return waits
    unread = find_unread(limit)
    found = [ticket for each in unread if (ticket := recognise_text(each)) is not None]
    if found:
        ended: State[Any] = deposit_documents(f"texts · {len(found)}", found, return_state=True)
        if not ended.is_completed():
            ended.result()
    message = f"{len(unread)} documents looked at, {len(found)} texts"
    return Completed(name="Read" if unread else "NothingUnread", message=message, data=[len(unread), len(found)])
