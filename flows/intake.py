"""Intake of a feed: every waiting batch is received, then each dossier of it is a deposit run of its own."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.deposit import deposit_documents
from storage.bootstrap import current_archive
from tasks.intake import Received, give_receipt, inbox, receive_waiting, waiting_batches


@flow(name="intake", flow_run_name="intake · {feed}", timeout_seconds=6 * 3600, persist_result=False)
def take_feed(feed: str, directory: str | None = None) -> State[Any]:
    """Take what waits at the door of a feed; run it again after a failure, it goes on where it stopped."""
    archive = current_archive()
    taken, waiting = 0, 0
    batches, unreadable = waiting_batches(archive, feed, inbox(archive, feed, directory))
    for batch in batches:
        received = receive_waiting(feed, batch.name, batch)
        if deposit_dossiers(received):
            give_receipt(batch.name, batch.folder, received)
            taken += 1
        else:
            waiting += 1
    sentence = f"{taken} batches taken, {waiting} to be taken again"
    if waiting or unreadable:
        return Failed(message="; ".join([sentence, *(str(error) for error in unreadable)]))
    return Completed(message=sentence)


def deposit_dossiers(received: Received) -> bool:
    """Run the deposit of each dossier; True when all of its documents reached an end."""
    states = [
        deposit_documents(f"{received.feed} · {dossier} · {len(tickets)} pieces", tickets, return_state=True)
        for dossier, tickets in received.dossiers.items()
    ]
    return all(state.is_completed() for state in states)
