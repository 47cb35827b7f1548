"""The morning: one page says whether the night left everything as it must be."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.telling import look_at_everything, mail_morning, publish_morning


@flow(name="morning", flow_run_name="morning report", timeout_seconds=1800, persist_result=False)
def report_morning() -> State[Any]:
    """Look at everything, publish it, mail it; a line that does not hold fails the run, so that it shows red."""
    report = look_at_everything()
    publish_morning(report)
    mail_morning(report)
    if report.verdict == "red":
        return Failed(message=report.headline())
    return Completed(name=report.verdict.capitalize(), message=report.headline(), data=report.as_dict())
