"""The part of the demo about the end of life and the other side.

A hold, a restitution, a purge by two persons, a shipped journal, a copy that was altered in silence.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx

from deployments.commands_archive import run_sweep
from deployments.processes import free_port
from minutier.challenge import Challenge, decode_challenge
from minutier.checkpoint import NoteKey, parse_vkey
from minutier.errors import IntegrityFailureError, PolicyRefusedError, ServiceUnavailableError
from minutier.seal import check_seal
from minutier.trace_bundle import NIGHTLY
from storage import acts, catalogue, disposal, holds
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.challenges import meet_challenge
from storage.destruction import Decision, certificate, destroy
from storage.directory import DirectoryStore
from storage.journal_stamps import stamp_journal, tell_last
from storage.memory import ManualClock
from storage.reception import Delivery, receive
from storage.traces import Shipped, ship
from tasks.aside import archive_aside, carry_through
from tasks.restituting import restitute
from tasks.shipping import HttpWire

_NAME = "demo"
_SUPERVISION = (sys.executable, "-P", "-m", "supervision")
_DIFFERS = "CHALLENGE_DIFFERS"
_PATIENCE_SECONDS = 30.0
_CHALLENGE_SECONDS = 90.0


def show_hold(archive: Archive, deposit: Deposit, say: Callable[[str], None]) -> tuple[str, bool, str]:
    """Hold a document, try to destroy it under the hold and before its term; gives sentence, verdict, detail."""
    say(f"legal hold on {deposit.reference}, then two attempts to destroy it")
    holds.place_hold(archive, deposit.archive_id, "demo: a case is open", "demo")
    codes = [_code(lambda: destroy(archive, deposit.archive_id, Decision("demo", "demo")))]
    holds.release_holds(archive, deposit.archive_id, "demo: the case is closed", "demo")
    codes.append(_code(lambda: destroy(archive, deposit.archive_id, Decision("demo", "demo"))))
    sentence = "A held document is not destroyed, and a released one not before its term."
    return sentence, codes == ["HELD", "RETENTION"], f"({', '.join(codes)})"


def show_restitution(
    archive: Archive, deposits: list[Deposit], folder: Path, say: Callable[[str], None]
) -> tuple[str, bool, str]:
    """Give some documents back in a bag, and read the bag again."""
    say(f"restitution of {len(deposits)} documents in one bag")
    shutil.rmtree(folder, ignore_errors=True)
    done = restitute(archive, deposits, folder, to="demo")
    held = len(done.given) == len(deposits) and not done.missing and acts.get(archive, done.act.act_id) == done.act
    return "Documents were given back in a bag with their proofs, and attested.", held, f"({folder})"


def show_purge(archive: Archive, folder: Path, say: Callable[[str], None]) -> tuple[str, bool, str]:
    """Show a document at the end of its term, aside: held, listed, approved by another person, gone with its paper."""
    say("the end of a term: in an archive aside, six years later by its own clock, two persons let a document go")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    clock = ManualClock(archive.clock())
    with archive_aside(archive, folder, clock) as aside:
        (folder / "dossier.txt").write_text("Un dossier dont la conservation est terminée.\n", encoding="utf-8")
        delivery = Delivery(folder / "dossier.txt", "demo", "default", "PURGE-1", "demo", name="dossier.txt")
        (deposit,) = carry_through(aside, [receive(aside, delivery).archive_id])
        holds.place_hold(aside, deposit.archive_id, "demo: a case is open", "demo")
        clock.advance(timedelta(days=6 * 366).total_seconds())
        said = ["listed" if disposal.list_due(aside, "demo") else "held, so not listed"]
        holds.release_holds(aside, deposit.archive_id, "demo: the case is closed", "demo")
        listed = disposal.list_due(aside, "demo")
        if listed is not None:
            said.append(_code(lambda: disposal.approve(aside, listed.act_id, "demo", "end of its term")))
            disposal.approve(aside, listed.act_id, "another person", "end of its term")
            said += [each.outcome for each in disposal.execute(aside, listed.act_id)]
        paper = certificate(aside, deposit.archive_id)
        check_seal(paper.body, paper.seal, aside.seal_roots, paper.at, aside.crls)
        prefix = f"{deposit.safe}/{deposit.archive_id}/"
        left = sum(1 for store in aside.replicas for _ in store.list_objects(prefix))
        gone = left == 0 and aside.keys.kept(deposit.archive_id) is None
    (folder.parent / "destruction.json").write_bytes(paper.body)
    sentence = (
        "A hold keeps a document past its term; released, it goes when a second person agrees, with a certificate."
    )
    wanted = ["held, so not listed", "SAME_PERSON", "destroyed"]
    return sentence, said == wanted and gone, f"({', '.join(said)}; {folder.parent / 'destruction.json'})"


def _code(act: Callable[[], object]) -> str:
    try:
        act()
    except PolicyRefusedError as error:
        return error.code
    return "done"


def show_supervision(archive: Archive, home: Path, say: Callable[[str], None]) -> Iterator[tuple[str, bool, str]]:
    """Start the other side for a while: ship it the journal, then alter a copy under the archive, and see it found."""
    say("the journal is shipped to the other side, which recomputes it")
    with _webhook() as (hook, told), _supervision(archive, home, hook) as address:
        wire, witness = HttpWire(f"{address}/v1/archives/{_NAME}"), _witness(home)
        stamp_journal(archive)
        done = _patiently(lambda: ship(archive, wire, witness, NIGHTLY))
        stamped = tell_last(archive, wire)
        good = done.cosigned_at is not None and done.last > 0 and bool(stamped) and _status(address)["good"]
        yield (
            "The other side recomputed the whole journal, cosigned it, and judged its time-stamp: all is well there.",
            good,
            f"({done.last} entries)",
        )

        say("one copy of a document is altered below its store; the other side asks for a document (up to a minute)")
        asked = _asked(wire)
        altered = asked is not None and _alter_copy(archive, asked.archive_id)
        code = _code_of_challenge(archive, wire)
        alarms = [each["code"] for each in _status(address)["alarms"]]
        told_once = _until(lambda: told == [_DIFFERS])
        yield (
            "A copy that was altered in silence is found by the other side, which alerts with the remedy, once.",
            altered and code == "CHALLENGE_FAILED" and alarms == [_DIFFERS] and told_once,
            f"({', '.join([code, *alarms])})",
        )

        say("the sweep mends it; then an operator closes the alarm, and says why")
        report, _ = run_sweep(archive, timedelta(hours=1))
        _close_alarms(home, address)
        mended = report["verdict"] == "healed" and report["healed"] == 1
        yield (
            "The sweep mended the copy from the other replica, and the alarm was closed.",
            mended and _status(address)["good"],
            "",
        )


def _witness(home: Path) -> NoteKey:
    return parse_vkey((home / "witness.vkey").read_text(encoding="utf-8"))


def _asked(wire: HttpWire) -> Challenge | None:
    """Give the challenge of the supervision, once it asks for a document; None when it does not."""
    until = time.monotonic() + _CHALLENGE_SECONDS
    while (answer := wire.challenge()).status != 200 and time.monotonic() < until:
        time.sleep(0.5)
    return decode_challenge(answer.body) if answer.status == 200 else None


def _alter_copy(archive: Archive, archive_id: str) -> bool:
    """Alter one byte of a copy in its directory store, past the archive; False where no store is a directory."""
    with archive.database.transaction() as connection:
        item = catalogue.objects(connection, archive_id)["original"]
        copies = [each for each in catalogue.copies(connection, archive_id) if each.role == "original"]
    for copy in copies:
        store = archive.replica(copy.replica)
        if isinstance(store, DirectoryStore):
            path = store.root / item.key / f"{copy.version_id}.bin"
            data = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
            return True
    return False


def _code_of_challenge(archive: Archive, wire: HttpWire) -> str:
    try:
        meet_challenge(archive, wire)
    except IntegrityFailureError as error:
        return error.code
    return "ANSWERED"


def _status(address: str) -> dict[str, Any]:
    value: dict[str, Any] = httpx.get(f"{address}/v1/status", timeout=10).json()
    return value


def _until(held: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE_SECONDS
    while not held() and time.monotonic() < until:
        time.sleep(0.2)
    return held()


def _close_alarms(home: Path, address: str) -> None:
    for alarm in _status(address)["alarms"]:
        words = ["--by", "demo", "--reason", "planted by the demo; the sweep mended it"]
        command = [*_SUPERVISION, "close", str(alarm["id"]), "--home", str(home), *words]
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def _webhook() -> Iterator[tuple[str, list[str]]]:
    """Listen as somebody's alerting would; gives the address, and the codes of what comes with its remedy."""
    told: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            value = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append(value["code"] if value["remedy"] and value["remede"] else "no remedy")
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/alarms", told
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _supervision(archive: Archive, home: Path, hook: str) -> Iterator[str]:
    """Run the supervision as its own process, with its own files, as it would run elsewhere."""
    port = free_port(str(home), None)
    trust = archive.settings.trust_dir
    anchors = ["--key", str(trust / "journal.vkey"), "--tsa-root", str(trust / "root.pem")]
    subprocess.run([*_SUPERVISION, "register", _NAME, *anchors, "--home", str(home)], check=True, capture_output=True)
    asking = ["--notify", hook, "--challenge", "1"]
    server = subprocess.Popen(
        [*_SUPERVISION, "serve", "--home", str(home), "--listen", f"127.0.0.1:{port}", *asking],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


def _patiently(act: Callable[[], Shipped]) -> Shipped:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return act()
        except ServiceUnavailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
