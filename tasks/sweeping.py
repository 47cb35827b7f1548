"""Step: the integrity sweep, with its progress on the Prefect page."""

from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from storage.bootstrap import current_archive
from storage.sweep import SweepReport, sweep


@task(name="re-read every copy", timeout_seconds=6 * 3600, persist_result=False)
def sweep_copies(budget: timedelta) -> SweepReport:
    """Run the sweep of this instance and give its report."""
    progress_id = cast(UUID, create_progress_artifact(progress=0.0, key="sweep-progress", description="Copies re-read"))
    logger = get_run_logger()

    def show(done: int, left: int) -> None:
        update_progress_artifact(progress_id, progress=100.0 * done / max(done + left, 1))
        logger.info("%d copies read, %d to go", done, left)

    report = sweep(current_archive(), budget=budget, progress=show)
    update_progress_artifact(progress_id, progress=100.0 if not report.remaining else 99.0)
    return report
