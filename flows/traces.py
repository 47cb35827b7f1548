"""Traces: the journal goes to the supervision, which keeps its own head and raises the alarm when nothing comes."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from storage.bootstrap import current_archive
from tasks.shipping import answer_supervision, publish_shipping, ship_traces, stamp_day, tell_stamp


@flow(name="traces", flow_run_name="traces · {kind}", timeout_seconds=3600, persist_result=False)
def ship_journal(kind: str = "heartbeat") -> State[Any]:
    """Ship the journal: all that is new, or a sign of life; after a cut, all that the supervision has missed.

    Then the document that it asks for, if any, is read on every store and answered for.
    Each night it is time-stamped first, supervision or not; an authority that is down holds back no shipping.
    """
    stamping: State[Any] | None = stamp_day(return_state=True) if kind == "nightly" else None
    if current_archive().settings.supervision_url is None:
        if stamping is not None and not stamping.is_completed():
            stamping.result()
        return Completed(name="NoSupervision", message="No supervision is named in the settings: nothing is shipped.")
    report = ship_traces(kind)
    told: State[Any] | None = tell_stamp(return_state=True) if kind == "nightly" else None
    challenge = answer_supervision(return_state=True)
    publish_shipping(report, challenged=challenge.result(raise_on_failure=False) is True)
    message = f"{report.bundles} bundles, {report.entries} entries; the supervision holds {report.last}"
    for state in (stamping, told, challenge):
        if state is not None and not state.is_completed():
            state.result()
    return Completed(name="Shipped", message=message, data=report)
