"""Steps: store on every replica, commit the batch, lock to the term, attest the batch."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from storage import vault
from storage.bootstrap import current_archive
from tasks.prefect_step import Ticket, batch_step, outcome, step


@step("store")
def store_document(ticket: Ticket) -> Ticket | State[Any]:
    """Put every object, encrypted, on every replica, and read it back."""
    return outcome(ticket, vault.store_deposit(current_archive(), ticket.archive_id))


@batch_step("commit")
def commit_documents(title: str, tickets: list[Ticket]) -> None:
    """Commit the documents of a batch and their journal entries in one transaction."""
    vault.commit_deposits(current_archive(), [ticket.archive_id for ticket in tickets])


@step("lock")
def lock_document(ticket: Ticket) -> Ticket | State[Any]:
    """Lock every copy to the end of its class, with the legal hold."""
    return outcome(ticket, vault.lock_deposit(current_archive(), ticket.archive_id))


@batch_step("attest")
def attest_documents(title: str, tickets: list[Ticket]) -> None:
    """Put the sealed attestations of a batch in the outbox: its documents are archived."""
    vault.attest_deposits(current_archive(), [ticket.archive_id for ticket in tickets])
