"""The watch: what the supervision does with a bundle, and what it says when none comes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import canonical
from minutier.checkpoint import NoteKey, cosign
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.trace_bundle import NIGHTLY
from supervision.judge import judge
from supervision.register import Archive, Register

SILENT, LATE = "SILENT", "NIGHTLY_MISSED"
WITNESS_KIND = 0x04
_ANYBODYS = ("TRACE_FORMAT", "TRACE_SIGNATURE")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When silence is an alarm. `nightly` is the time (UTC) at which the nightly bundle is to have come."""

    silence: timedelta = timedelta(minutes=15)
    nightly: time = time(6, 0)
    nightly_grace: timedelta = timedelta(minutes=30)
    escalation: timedelta = timedelta(minutes=30)


@dataclass(frozen=True)
class Watch:
    """The register, the key that cosigns, the deadlines, whom to tell first, and whom if nobody answers."""

    register: Register
    name: str
    key: Ed25519PrivateKey
    deadlines: Deadlines = Deadlines()
    targets: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @property
    def witness(self) -> NoteKey:
        """Give the public key of its cosignatures."""
        return NoteKey(self.name, self.key.public_key().public_bytes_raw(), WITNESS_KIND)


def receive(watch: Watch, name: str, data: bytes) -> bytes:
    """Judge a bundle and keep it; gives the acknowledgement (docs/format/trace-v1.md §2), the same one each time.

    A bundle that is refused opens an alarm at once; one that the archive signed is kept as evidence. Raises
    BadInputError (`UNKNOWN_ARCHIVE`), IntegrityFailureError (`TRACE_…`).
    """
    archive, now = watch.register.archive(name), watch.clock()
    if archive is None:
        raise BadInputError("UNKNOWN_ARCHIVE", f"No archive {name} is watched here.", remedy="Register it first.")
    sha256 = hashlib.sha256(data).hexdigest()
    if (known := watch.register.taken(name, sha256)) is not None:
        # Its answer was lost: it is answered as before.
        number, note = known
        watch.register.heard(name, now)
        watch.register.close_alarm(name, SILENT, now)
        return _acknowledgement(number, sha256, note)
    try:
        head, bundle = judge(archive.head, data, archive.key, now)
    except IntegrityFailureError as error:
        # What the archive did not sign proves nothing, and anybody could fill the disk with it.
        if error.code not in _ANYBODYS:
            watch.register.keep_evidence(name, sha256, error.code, data, now)
        watch.register.open_alarm(name, error.code, error.message, now, watch.targets)
        raise
    note = cosign(bundle.head.checkpoint.encode(), watch.witness, watch.key.sign, now).decode()
    watch.register.take(name, head, data, note, now, nightly=bundle.head.kind == NIGHTLY)
    watch.register.close_alarm(name, SILENT, now)
    if bundle.head.kind == NIGHTLY:
        watch.register.close_alarm(name, LATE, now)
    return _acknowledgement(head.number, sha256, note)


def _acknowledgement(number: int, sha256: str, note: str) -> bytes:
    return canonical.encode({"number": number, "sha256": sha256, "note": note})


def look(watch: Watch) -> None:
    """Open alarms for archives that are silent or late, and tell further people of those that nobody acknowledged."""
    now = watch.clock()
    for archive in watch.register.archives():
        heard = archive.received_at or archive.registered_at
        if now - heard > watch.deadlines.silence:
            minutes = int((now - heard).total_seconds() // 60)
            watch.register.open_alarm(
                archive.name, SILENT, f"Nothing was heard for {minutes} minutes.", now, watch.targets
            )  # fmt: skip
        if (due := _missed_night(watch, archive, now)) is not None:
            message = f"The nightly bundle of {due:%Y-%m-%d %H:%M} UTC did not come."
            watch.register.open_alarm(archive.name, LATE, message, now, watch.targets)
    for alarm in watch.register.alarms(standing=True):
        waiting = alarm.acknowledged_at is None and alarm.escalated_at is None
        if waiting and now - alarm.opened_at > watch.deadlines.escalation:
            watch.register.escalate(alarm.id, watch.escalated, now)


def _missed_night(watch: Watch, archive: Archive, now: datetime) -> datetime | None:
    """Give the deadline of the last night whose bundle is missing, None when it came."""
    due = datetime.combine(now.date(), watch.deadlines.nightly, UTC)
    if now < due + watch.deadlines.nightly_grace:
        due -= timedelta(days=1)
    since = due - timedelta(days=1)
    if archive.registered_at > since or (archive.nightly_at is not None and archive.nightly_at > since):
        return None
    return due
