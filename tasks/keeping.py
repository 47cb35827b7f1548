"""Step: keep the journal on the stores, so that the archive can be made again from them alone."""

from __future__ import annotations

from storage.bootstrap import current_archive
from storage.proofs import make_checkpoint
from storage.segments import extend_segments, keep_journal
from tasks.prefect_step import retried


@retried("keep the journal")
def keep_segments() -> int:
    """Put on every replica what no segment of the journal tells yet; gives how many segments were cut."""
    return keep_journal(current_archive())


@retried("keep the journal and its checkpoint")
def keep_checkpoint() -> int:
    """Sign a checkpoint over the journal, keep it with the rest, and lock older segments as long as newer documents."""
    archive = current_archive()
    with archive.database.transaction() as connection:
        make_checkpoint(archive, connection)
    cut = keep_journal(archive)
    extend_segments(archive)
    return cut
