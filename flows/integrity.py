"""The night: try every lock, re-read every copy, heal a bad one from a good one, check that the tables agree, report.

Then the revocation data of time-stamps is completed: what their authorities published since; and what the database
alone knew by then goes to the stores.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.coherence import check_coherence
from tasks.keeping import keep_checkpoint
from tasks.reporting import publish_sweep
from tasks.revoking import complete_revocation
from tasks.sweeping import find_late_locks, probe_stores, sweep_copies
from tasks.waiting_out import put_off


@flow(name="integrity", flow_run_name="integrity sweep", timeout_seconds=6 * 3600, persist_result=False)
def sweep_archive(budget_seconds: int = 2 * 3600, coherence: bool = True) -> State[Any]:
    """Sweep within a budget and publish what was found; an alarm fails the run, so that it shows red."""
    if (waits := put_off()) is not None:
        return waits
    alarms = probe_stores()
    report = sweep_copies(timedelta(seconds=budget_seconds))
    publish_sweep(report)
    if coherence and (broken := check_coherence()):
        alarms.append(f"tables that do not agree: {', '.join(broken)}")
    time_stamps = complete_revocation()
    keep_checkpoint()
    if time_stamps.alarm:
        gone = len(time_stamps.revoked + time_stamps.unjudged)
        alarms.append(f"time-stamps that no longer stand: {gone}")
    if late := find_late_locks():
        alarms.append(late)

    sentence = f"{report.copies} copies read, {report.healed} healed, {report.unhealed + report.unreachable} bad"
    if alarms or report.verdict == "alarm":
        return Failed(message="; ".join([sentence, *alarms]))
    return Completed(name=report.verdict.capitalize(), message=sentence)
