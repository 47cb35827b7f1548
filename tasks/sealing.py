"""Steps: seal one document's manifest; time-stamp a whole batch with one token."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

from prefect import task
from prefect.client.schemas.objects import State

from storage import catalogue
from storage.bootstrap import current_archive
from storage.sealing import seal_deposit, stamp_batch
from storage.waiting import noted
from tasks.prefect_step import Ticket, may_pass_later, outcome, step


@cache
def software() -> dict[str, str]:
    """Give the versions of what shapes a document's proof, recorded in each manifest."""
    names = ("minutier", "cryptography", "pikepdf", "img2pdf", "opf-fido", "pyrage", "rfc3161-client")
    return {name: version(name) for name in names}


@step("seal")
def seal_document(ticket: Ticket) -> Ticket | State[Any]:
    """Seal one document."""
    return outcome(ticket, seal_deposit(current_archive(), ticket.archive_id, software()))


@task(
    name="time-stamp",
    task_run_name="time-stamp · {title}",
    retries=3,
    retry_delay_seconds=[2, 10, 30],
    retry_condition_fn=may_pass_later,
    timeout_seconds=120,
    persist_result=False,
)
def stamp_documents(title: str, tickets: list[Ticket]) -> None:
    """Get one RFC 3161 token for all sealed documents of the batch; why there is none is noted with each of them."""
    archive, ids = current_archive(), [ticket.archive_id for ticket in tickets]
    with noted(archive, ids):
        stamp_batch(archive, ids)


def with_token(tickets: list[Ticket]) -> list[Ticket]:
    """Give those of these documents that have a time-stamp: the others wait for one, and no later step is theirs."""
    with current_archive().database.transaction() as connection:
        return [ticket for ticket in tickets if catalogue.state_of(connection, ticket.archive_id) != "SEALED"]
