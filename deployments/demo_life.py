"""The part of the demo about the end of life and the other side: a hold, a term, a restitution, a shipped journal."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.processes import free_port
from minutier.checkpoint import parse_vkey
from minutier.errors import PolicyRefusedError, ServiceUnavailableError
from storage import acts, holds
from storage.archive import Archive
from storage.catalogue import Deposit
from storage.destruction import Decision, destroy
from storage.traces import Shipped, ship
from tasks.restituting import restitute
from tasks.shipping import HttpWire

_NAME = "demo"
_PATIENCE_SECONDS = 20.0


def show_hold(archive: Archive, deposit: Deposit, say: Callable[[str], None]) -> tuple[str, bool, str]:
    """Hold a document, try to destroy it under the hold and before its term; gives sentence, verdict, detail."""
    say(f"legal hold on {deposit.reference}, then two attempts to destroy it")
    holds.place_hold(archive, deposit.archive_id, "demo: a case is open", "demo")
    codes = [_refusal(archive, deposit)]
    holds.release_holds(archive, deposit.archive_id, "demo: the case is closed", "demo")
    codes.append(_refusal(archive, deposit))
    sentence = "A held document is not destroyed, and a released one not before its term."
    return sentence, codes == ["HELD", "RETENTION"], f"({', '.join(codes)})"


def _refusal(archive: Archive, deposit: Deposit) -> str:
    try:
        destroy(archive, deposit.archive_id, Decision("demo", "demo"))
    except PolicyRefusedError as error:
        return error.code
    return "DESTROYED"


def show_restitution(
    archive: Archive, deposits: list[Deposit], folder: Path, say: Callable[[str], None]
) -> tuple[str, bool, str]:
    """Give some documents back in a bag, and read the bag again."""
    say(f"restitution of {len(deposits)} documents in one bag")
    shutil.rmtree(folder, ignore_errors=True)
    done = restitute(archive, deposits, folder, to="demo")
    held = len(done.given) == len(deposits) and not done.missing and acts.get(archive, done.act.act_id) == done.act
    return "Documents were given back in a bag with their proofs, and attested.", held, f"({folder})"


def show_supervision(archive: Archive, home: Path, say: Callable[[str], None]) -> tuple[str, bool, str]:
    """Start the other side for a moment, ship it the journal, and check what it cosigned."""
    say("the journal is shipped to the other side, which recomputes it")
    with _supervision(archive, home) as address:
        witness = parse_vkey((home / "witness.vkey").read_text(encoding="utf-8"))
        done = _patiently(lambda: ship(archive, HttpWire(f"{address}/v1/archives/{_NAME}"), witness))
    sentence = "The other side recomputed the whole journal and cosigned it."
    return sentence, done.cosigned_at is not None and done.last > 0, f"({done.last} entries)"


@contextmanager
def _supervision(archive: Archive, home: Path) -> Iterator[str]:
    """Run the supervision as its own process, with its own files, as it would run elsewhere."""
    command, port = [sys.executable, "-P", "-m", "supervision"], free_port(str(home), None)
    key = archive.settings.trust_dir / "journal.vkey"
    subprocess.run(
        [*command, "register", _NAME, "--key", str(key), "--home", str(home)], check=True, capture_output=True
    )
    server = subprocess.Popen(
        [*command, "serve", "--home", str(home), "--listen", f"127.0.0.1:{port}"],
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
