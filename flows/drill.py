"""The restore drill: each week the last backup is restored aside and compared with life."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.guarding import publish_drill, rehearse_restore
from tasks.waiting_out import put_off


@flow(name="drill", flow_run_name="restore drill", timeout_seconds=3 * 3600, persist_result=False)
def rehearse(documents: int = 20) -> State[Any]:
    """Rehearse a restore and publish what was found; a red one fails the run."""
    if (waits := put_off()) is not None:
        return waits
    report = rehearse_restore(documents)
    if report is None:
        return Completed(name="NotOurs", message="the database is a server of your own: so are its restores")
    publish_drill(report)
    wrong = f"{report.behind} entries behind, {len(report.bad)} bad documents"
    sentence = f"{report.entries} entries restored in {report.seconds} s, {wrong}"
    if report.verdict == "red":
        return Failed(message=f"{sentence}. {report.trouble}".strip())
    return Completed(name="Green", message=sentence, data=report.as_dict())
