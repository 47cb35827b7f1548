"""Intake of a feed: every waiting batch is received, then each dossier of it is a deposit run of its own."""

from __future__ import annotations

from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.deposit import deposit_documents
from storage.bootstrap import current_archive
from tasks.bordereau import Batch
from tasks.bucket_door import fetch_inbox, has_bucket
from tasks.door import inbox, unreadable_manifests, waiting_batches
from tasks.intake import Received, give_receipt, receive_waiting
from tasks.quality import judge_whole, not_judged


@flow(name="intake", flow_run_name="intake · {feed}", timeout_seconds=6 * 3600, persist_result=False)
def take_feed(feed: str, directory: str | None = None) -> State[Any]:
    """Take what waits at the door of a feed; run it again after a failure, it goes on where it stopped."""
    archive = current_archive()
    taken, stopped = 0, list[State[Any]]()
    door = inbox(archive, feed, directory)
    if directory is None and has_bucket(archive.settings, feed):
        fetch_inbox(feed, door)
    batches, unreadable = waiting_batches(archive, feed, door)
    for batch in batches:
        trouble = take_batch(feed, batch)
        stopped += trouble
        taken += not trouble
    if stopped:
        # Raises what the first of them failed with: an expected error says what to do. The state itself, returned,
        # would be summed up as "1/1 states failed".
        stopped[0].result()
    if unreadable:
        raise unreadable_manifests(unreadable)
    return Completed(message=f"{taken} batches taken")


def take_batch(feed: str, batch: Batch) -> list[State[Any]]:
    """Take one batch to its receipt; gives the states of what stopped it, and leaves the others to go on."""
    arrived: State[Any] = receive_waiting(feed, batch.name, batch, return_state=True)
    if not arrived.is_completed():
        return [arrived]
    received = cast("Received", arrived.result())
    if unfinished := deposit_dossiers(received):
        return unfinished
    judged: State[Any] = judge_whole(batch.name, batch, received, return_state=True)
    received = cast("Received", judged.result()) if judged.is_completed() else not_judged(received)
    told: State[Any] = give_receipt(batch.name, batch, received, return_state=True)
    return [] if told.is_completed() else [told]


def deposit_dossiers(received: Received) -> list[State[Any]]:
    """Run the deposit of each dossier; gives the states of the runs that left a document on its way."""
    states = [
        deposit_documents(f"{received.feed} · {dossier} · {pieces(len(tickets))}", tickets, return_state=True)
        for dossier, tickets in received.dossiers.items()
    ]
    return [state for state in states if not state.is_completed()]


def pieces(count: int) -> str:
    """Give a number of pieces in words."""
    return "1 piece" if count == 1 else f"{count} pieces"
