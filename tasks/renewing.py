"""Step: renew evidence before what it rests on ends, with its progress on the Prefect page."""

from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from minutier.events import format_time
from storage.bootstrap import current_archive
from storage.renewal import RenewalReport, renew


@task(name="renew what ends soon", timeout_seconds=6 * 3600, persist_result=False)
def renew_stamps(margin: timedelta) -> RenewalReport:
    """Renew all that ends within the margin and give the report."""
    progress_id = cast(UUID, create_progress_artifact(progress=0.0, key="renewal-progress", description="Renewal"))
    logger = get_run_logger()

    def show(done: int, total: int) -> None:
        update_progress_artifact(progress_id, progress=100.0 * done / max(total, 1))
        logger.info("%d of %d documents prepared for a new tree", done, total)

    report = renew(current_archive(), margin=margin, progress=show)
    update_progress_artifact(progress_id, progress=100.0)
    return report


@task(name="publish the report", persist_result=False)
def publish_renewal(report: RenewalReport) -> None:
    """Publish what was renewed, why, and when the next renewal is due."""
    due = format_time(report.next_due) if report.next_due else "nothing to renew yet"
    lines = [
        f"## {'Evidence was renewed.' if report.new_tokens else 'Nothing had to be renewed.'}",
        "",
        "| what | figure |",
        "|---|---:|",
        f"| new tokens asked for | {len(report.new_tokens)} |",
        f"| old tokens renewed | {report.tokens_renewed} |",
        f"| documents under a new hash | {report.documents_rehashed} |",
        f"| next renewal due | {due} |",
        *(["", "Why:", ""] if report.reasons else []),
        *(f"- {reason}" for reason in report.reasons),
    ]
    create_markdown_artifact(key="renewal", markdown="\n".join(lines), description="Renewal of evidence")
