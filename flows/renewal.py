"""The renewal: before certificates or algorithms end, new tokens and new trees take over. No document is read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from tasks.renewing import publish_renewal, renew_stamps


@flow(name="renewal", flow_run_name="renewal of evidence", timeout_seconds=6 * 3600, persist_result=False)
def renew_evidence(margin_days: int = 180) -> State[Any]:
    """Renew what ends within the margin; a renewal that gains nothing fails the run, so that it shows red."""
    report = renew_stamps(timedelta(days=margin_days))
    publish_renewal(report)
    sentence = f"{report.tokens_renewed} tokens renewed, {report.documents_rehashed} documents under a new hash"
    return Completed(name="Renewed" if report.new_tokens else "NothingDue", message=sentence, data=report.as_dict())
