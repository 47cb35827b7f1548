"""Steps: the canary, and the integrity sweep with its progress on the Prefect page."""

from __future__ import annotations

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage.bootstrap import current_archive, probe_store
from storage.postgres_checks import check
from storage.sweep import SweepReport, sweep
from storage.waiting import alarm


@task(name="try the locks", timeout_seconds=600, persist_result=False)
def probe_stores() -> list[str]:
    """Run the canary on every replica and look at the settings of the database; gives what does not pass.

    A replica that is down is left to the sweep to report. One that does not lock does not keep the copies from being
    read; the run ends red, and deposits are refused until it passes.
    """
    archive, logger = current_archive(), get_run_logger()
    troubles = []
    try:
        with archive.database.transaction() as connection:
            check(connection)
    except PolicyRefusedError as error:
        troubles.append(error.message)
    for store in archive.replicas:
        try:
            report = probe_store(archive, store.name)
            for warning in report.warnings:
                logger.warning("%s", warning)
            report.require()
        except ServiceUnavailableError as error:
            logger.warning("%s", error)
        except PolicyRefusedError as error:
            troubles.append(error.message)
    for trouble in troubles:
        logger.error("%s", trouble)
    return troubles


@task(name="look for late locks", persist_result=False)
def find_late_locks() -> str:
    """Say which deposits were committed more than a day ago and are not locked to their term, "" when none is."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        return alarm(connection, archive.clock())


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
