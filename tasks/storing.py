"""Steps: store on every replica, commit, lock to the term, attest."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import State

from storage import vault
from storage.bootstrap import current_archive
from tasks.prefect_step import Ticket, outcome, step


@step("store")
def store_document(ticket: Ticket) -> Ticket | State[Any]:
    """Put every object, encrypted, on every replica, and read it back."""
    return outcome(ticket, vault.store_deposit(current_archive(), ticket.archive_id))


@step("commit")
def commit_document(ticket: Ticket) -> Ticket | State[Any]:
    """Commit the document and its journal entry in one transaction."""
    return outcome(ticket, vault.commit_deposit(current_archive(), ticket.archive_id))


@step("lock")
def lock_document(ticket: Ticket) -> Ticket | State[Any]:
    """Lock every copy to the end of its class, with the legal hold."""
    return outcome(ticket, vault.lock_deposit(current_archive(), ticket.archive_id))


@step("attest")
def attest_document(ticket: Ticket) -> Ticket | State[Any]:
    """Put the sealed attestation in the outbox: the document is archived."""
    return outcome(ticket, vault.attest_deposit(current_archive(), ticket.archive_id))
