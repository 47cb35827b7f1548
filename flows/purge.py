"""The purge: what may go is counted; it goes, in the open, once one person listed it and another approved the list."""

from __future__ import annotations

from typing import Any

from prefect import flow, suspend_flow_run
from prefect.client.schemas.objects import State
from prefect.input import RunInput
from prefect.states import Completed, Failed
from pydantic import Field

from minutier.errors import MinutierError
from tasks.keeping import keep_segments
from tasks.purging import (
    approve_list,
    count_due,
    counted,
    destroy_listed,
    forget_input,
    go_on_with_begun,
    publish_list,
    publish_purge,
)

_DAYS_TO_DECIDE = 14


class Decision(RunInput):
    """What the second person is asked. It is noted in the archive's own register, and taken out of Prefect's."""

    approve: bool = Field(default=False, description="The documents of the list are to be destroyed. For good.")
    name: str = Field(default="", description="Who decides; not the person who asked for the list.")
    reason: str = Field(default="", description="Why, in one line.")
    visa: str = Field(default="", description="Number of the archives' visa, where a class wants one.")


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


@flow(name="decision", flow_run_name="decision on a list", timeout_seconds=12 * 3600, persist_result=False)
def decide_on_list(list_id: str) -> State[Any]:
    """Show a list, wait for a second person's decision in a form, and destroy what was approved.

    The run is suspended meanwhile, and holds no worker: resumed, it begins again and finds the decision.
    """
    publish_list(list_id)
    decision = suspend_flow_run(wait_for_input=Decision, key="decision", timeout=_DAYS_TO_DECIDE * 86400)
    try:
        if not decision.approve:
            return Completed(name="NotApproved", message="Nothing goes: the list was not approved.")
        approve_list(list_id, decision.name, decision.reason, decision.visa)
    except MinutierError as error:
        # Its code and what to do, not its message: that may name who asked, or who decided.
        return Failed(name="NotTaken", message=f"The approval was not taken: {error.code}. {error.remedy}")
    finally:
        forget_input()
    ended: State[Any] = destroy_approved(list_id, return_state=True)
    if not ended.is_completed():
        ended.result()
    return Completed(name="Destroyed", message=ended.message)
