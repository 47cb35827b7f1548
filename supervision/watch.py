"""The watch: what the supervision does with a bundle, and what it says when none comes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from minutier import canonical
from minutier.checkpoint import NoteKey, cosign
from minutier.errors import BadInputError, IntegrityFailureError
from minutier.events import format_time
from minutier.trace_bundle import NIGHTLY
from supervision import challenges, stamps
from supervision.judge import judge
from supervision.register import Archive, Register

SILENT, LATE, UNANSWERED, UNSTAMPED = "SILENT", "NIGHTLY_MISSED", "CHALLENGE_LATE", "STAMP_MISSED"
WITNESS_KIND = 0x04
_ANYBODYS = (
    *("TRACE_FORMAT", "TRACE_SIGNATURE", "CHALLENGE_FORMAT", "CHALLENGE_SIGNATURE", "STAMP_FORMAT", "STAMP_NOTE"),
)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """When silence is an alarm. `nightly` is the time (UTC) at which the nightly bundle is to have come.

    Where authorities are registered, a good time-stamp of the journal is to come every `stamp`. A document is
    challenged every `challenge` (zero: never), and the answer is to have come within `answer`.
    """

    silence: timedelta = timedelta(minutes=15)
    nightly: time = time(6, 0)
    nightly_grace: timedelta = timedelta(minutes=30)
    escalation: timedelta = timedelta(minutes=30)
    challenge: timedelta = timedelta(hours=1)
    answer: timedelta = timedelta(minutes=45)
    stamp: timedelta = timedelta(hours=26)


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
    archive, now = _watched(watch, name), watch.clock()
    sha256 = hashlib.sha256(data).hexdigest()
    if (known := watch.register.taken(name, sha256)) is not None:
        # Its answer was lost: it is answered as before.
        number, note = known
        watch.register.heard(name, now)
        watch.register.close_alarm(name, SILENT, now)
        return _acknowledgement(number, sha256, note)
    with _alarming(watch, name, data):
        head, bundle = judge(archive.head, data, archive.key, now)
    note = cosign(bundle.head.checkpoint.encode(), watch.witness, watch.key.sign, now).decode()
    watch.register.take(name, head, bundle, data, note, now)
    watch.register.close_alarm(name, SILENT, now)
    challenges.withdraw_gone(watch.register, name, now)
    _close_late_challenge(watch, name, now)
    if bundle.head.kind == NIGHTLY:
        watch.register.close_alarm(name, LATE, now)
    return _acknowledgement(head.number, sha256, note)


def receive_answer(watch: Watch, name: str, data: bytes) -> bytes:
    """Judge the answer to a challenge; gives what the archive is told. One that does not hold is an alarm at once.

    Raises BadInputError (`UNKNOWN_ARCHIVE`, `NOT_ASKED`), IntegrityFailureError (`CHALLENGE_…`).
    """
    archive, now = _watched(watch, name), watch.clock()
    try:
        with _alarming(watch, name, data):
            number = challenges.receive_answer(watch.register, archive, data, now)
    finally:
        _close_late_challenge(watch, name, now)
    return canonical.encode({"number": number})


def receive_stamp(watch: Watch, name: str, data: bytes) -> bytes:
    """Judge a time-stamp of the journal; gives what the archive is told. One that does not hold is an alarm at once.

    Raises BadInputError (`UNKNOWN_ARCHIVE`, `NO_TSA_ROOT`), IntegrityFailureError (`STAMP_…`).
    """
    archive, now = _watched(watch, name), watch.clock()
    with _alarming(watch, name, data):
        size = stamps.receive_stamp(watch.register, archive, data, now)
    _look_at_stamps(watch, archive, now)
    return canonical.encode({"size": size})


def _look_at_stamps(watch: Watch, archive: Archive, now: datetime) -> None:
    """Alarm when no good time-stamp of the journal came for too long, until one comes."""
    if not archive.tsa_roots:
        return
    found = stamps.last(watch.register, archive.name)
    since = found[1] if found else archive.registered_at
    if now - since > watch.deadlines.stamp:
        message = f"No good time-stamp of the journal since {format_time(since)}."
        watch.register.open_alarm(archive.name, UNSTAMPED, message, now, watch.targets)
    else:
        watch.register.close_alarm(archive.name, UNSTAMPED, now)


def _watched(watch: Watch, name: str) -> Archive:
    archive = watch.register.archive(name)
    if archive is None:
        raise BadInputError("UNKNOWN_ARCHIVE", f"No archive {name} is watched here.", remedy="Register it first.")
    return archive


@contextmanager
def _alarming(watch: Watch, name: str, data: bytes) -> Iterator[None]:
    """Open an alarm about what does not hold in the block, and keep it as evidence where the archive signed it."""
    try:
        yield
    except IntegrityFailureError as error:
        now = watch.clock()
        # What the archive did not sign proves nothing, and anybody could fill the disk with it.
        if error.code not in _ANYBODYS:
            watch.register.keep_evidence(name, hashlib.sha256(data).hexdigest(), error.code, data, now)
        watch.register.open_alarm(name, error.code, error.message, now, watch.targets)
        raise


def _close_late_challenge(watch: Watch, name: str, now: datetime) -> None:
    if challenges.standing(watch.register, name) is None:
        watch.register.close_alarm(name, UNANSWERED, now)


def _acknowledgement(number: int, sha256: str, note: str) -> bytes:
    return canonical.encode({"number": number, "sha256": sha256, "note": note})


def look(watch: Watch) -> None:
    """Open alarms for archives that are silent or late, ask for a document, escalate what nobody acknowledged."""
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
        _challenge(watch, archive, now)
        _look_at_stamps(watch, archive, now)
    for alarm in watch.register.alarms(standing=True):
        waiting = alarm.acknowledged_at is None and alarm.escalated_at is None
        if waiting and now - alarm.opened_at > watch.deadlines.escalation:
            watch.register.escalate(alarm.id, watch.escalated, now)


def _challenge(watch: Watch, archive: Archive, now: datetime) -> None:
    """Ask for a document now and then, and alarm when no answer comes; a silent archive is not asked."""
    register, deadlines = watch.register, watch.deadlines
    if (late := challenges.overdue(register, archive.name, now)) is not None:
        message = f"Challenge {late.number}, about document {late.archive_id}, was not answered."
        register.open_alarm(archive.name, UNANSWERED, message, now, watch.targets)
    heard = archive.received_at is not None and now - archive.received_at <= deadlines.silence
    if deadlines.challenge and heard:
        challenges.draw(register, archive.name, deadlines.challenge, deadlines.answer, now)


def _missed_night(watch: Watch, archive: Archive, now: datetime) -> datetime | None:
    """Give the deadline of the last night whose bundle is missing, None when it came."""
    due = datetime.combine(now.date(), watch.deadlines.nightly, UTC)
    if now < due + watch.deadlines.nightly_grace:
        due -= timedelta(days=1)
    since = due - timedelta(days=1)
    if archive.registered_at > since or (archive.nightly_at is not None and archive.nightly_at > since):
        return None
    return due
