"""What the Prefect pages show: tables of references and states, without any personal value."""

from __future__ import annotations

from collections import Counter

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from storage import catalogue
from storage.bootstrap import current_archive, require_probed
from storage.sweep import SweepReport
from storage.waiting import code, waits
from tasks.prefect_step import Ticket

_WORDS = {"ARCHIVED": "archived", "REFUSED": "refused", "ABANDONED": "abandoned"}


@task(name="check that the stores lock", retries=2, retry_delay_seconds=5, persist_result=False)
def check_stores() -> None:
    """Refuse to start on a replica that does not really lock (the canary, once a day)."""
    require_probed(current_archive())


@task(name="publish the table", persist_result=False)
def publish_deposits(title: str, tickets: list[Ticket]) -> dict[str, int]:
    """Publish one table for the batch, straight from the catalogue; gives the number of documents by state."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        deposits = [catalogue.get(connection, ticket.archive_id) for ticket in tickets]
        waiting = waits(connection)
    create_table_artifact(
        key="deposits",
        table=[
            {
                "reference": deposit.reference,
                "state": _WORDS.get(deposit.state, f"on its way ({deposit.state.lower()})"),
                "reason": deposit.refusal_code or code(waiting, deposit.archive_id),
                "rendition": (deposit.rendition or {}).get("verdict", ""),
                "archive_id": deposit.archive_id,
            }
            for deposit in deposits
        ],
        description=f"## {title}\nOne line per document. “archived” means: locked on every replica, with its proof.",
    )
    return dict(Counter(deposit.state for deposit in deposits))


@task(name="publish the report", persist_result=False)
def publish_sweep(report: SweepReport) -> None:
    """Publish what a sweep found, in words and figures."""
    words = {
        "clean": "Every copy that was read is exactly what was stored.",
        "healed": "Damaged copies were found and healed from good ones.",
        "alarm": "ALARM: copies are damaged or out of reach and could not be healed. Act now.",
    }
    lines = [
        f"## {words[report.verdict]}",
        "",
        "| what | figure |",
        "|---|---:|",
        f"| copies read | {report.copies} |",
        f"| megabytes read | {report.bytes_read / 1e6:.1f} |",
        f"| good | {report.good} |",
        f"| healed | {report.healed} |",
        f"| not healed | {report.unhealed} |",
        f"| out of reach | {report.unreachable} |",
        f"| still to read (debt) | {report.remaining} |",
        f"| strays deleted after their short lock | {report.strays} |",
        f"| journal entries recomputed | {report.journal_entries} |",
    ]
    create_markdown_artifact(key="sweep", markdown="\n".join(lines), description="Integrity sweep")
    if report.findings:
        create_table_artifact(
            key="sweep-findings",
            table=[
                {
                    "archive_id": item.archive_id,
                    "object": item.role,
                    "replica": item.replica,
                    "found": item.outcome,
                    "detail": item.detail,
                }
                for item in report.findings
            ],
            description="Copies that were not good",
        )
