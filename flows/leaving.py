"""The exit rehearsal: each month some documents leave the archive, and an empty one takes them in again."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.guarding import leave_and_come_in, publish_exit
from tasks.waiting_out import put_off


@flow(name="leaving", flow_run_name="exit rehearsal", timeout_seconds=3 * 3600, persist_result=False)
def rehearse_leaving(documents: int = 20) -> State[Any]:
    """Rehearse the exit and publish what was found; a red one fails the run."""
    if (waits := put_off()) is not None:
        return waits
    report = leave_and_come_in(documents)
    publish_exit(report)
    sentence = f"{report.documents} left, {report.verified} proofs passed, {report.equal} came in elsewhere unchanged"
    if report.verdict == "red":
        return Failed(message=f"{sentence}; {len(report.bad)} did not hold")
    return Completed(name=report.verdict.capitalize(), message=sentence, data=report.as_dict())
