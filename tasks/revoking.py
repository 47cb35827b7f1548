"""Step: complete the revocation data of time-stamps."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from minutier.errors import MinutierError
from storage.batches import store_revocation
from storage.bootstrap import current_archive
from storage.revocation import CompletionReport, complete


@task(name="complete revocation data", timeout_seconds=3600, persist_result=False)
def complete_revocation() -> CompletionReport:
    """Fetch what authorities published after their tokens; a server that is down is logged, and asked again next time.

    A token that no longer stands is an artifact of its own: the documents under it need another proof of their time.
    """
    report = complete(current_archive())
    logger = get_run_logger()
    try:
        store_revocation(current_archive())
    except MinutierError as error:  # the next night puts it
        logger.warning("%s", error)
    for sentence in report.silent:
        logger.warning("%s", sentence)
    logger.info(
        "%d tokens confirmed, %d open", report.confirmed, report.pending + report.unanswered + report.sourceless
    )
    if report.alarm:
        lines = [f"- token {token_id}: its certificate was revoked" for token_id in report.revoked]
        lines += [f"- token {sentence}" for sentence in report.unjudged]
        create_markdown_artifact(
            key="revoked-time-stamps",
            markdown="\n".join(["## ALARM: time-stamps that no longer stand", "", *lines]),
            description="Their documents need another proof of their time",
        )
    return report
