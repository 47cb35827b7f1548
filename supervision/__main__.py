"""The command of the supervision: `python -m supervision COMMAND --home DIR`. Needs the domain alone."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from minutier.errors import BadInputError, MinutierError
from supervision.notices import check_target
from supervision.page import status
from supervision.register import Register
from supervision.server import Door
from supervision.watch import Deadlines, Watch

_NAME = "minutier-supervision"
_ARCHIVE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; gives the exit code: 0 done or all is well, 1 an alarm stands, 2 bad usage or input."""
    options = _parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except MinutierError as error:
        print(f"Error [{error.code}]: {error.message}\n→ {error.remedy}".rstrip("\n→ "), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0


def open_watch(home: Path, options: argparse.Namespace | None = None) -> Watch:
    """Open the register and the key of a home; both are made when they are absent."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "witness.pem"
    if not path.exists():
        key = Ed25519PrivateKey.generate()
        data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    loaded = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(loaded, Ed25519PrivateKey):
        raise BadInputError("BAD_KEY", f"{path} is not an Ed25519 key.", remedy="Restore it from its backup.")
    targets: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()
    deadlines = Deadlines()
    if options is not None:
        targets, escalated = tuple(map(check_target, options.notify)), tuple(map(check_target, options.escalate))
        deadlines = Deadlines(
            timedelta(minutes=options.silence),
            time.fromisoformat(options.nightly),
            challenge=timedelta(minutes=options.challenge),
        )
    watch = Watch(Register(home / "register.db"), _NAME, loaded, deadlines, targets, escalated)
    (home / "witness.vkey").write_text(watch.witness.vkey() + "\n", encoding="utf-8")
    return watch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m supervision", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("serve", "receive bundles, watch, alarm"),
        ("register", "watch an archive, by its journal key"),
        ("status", "say what stands now"),
        ("acknowledge", "say that an alarm was seen"),
        ("close", "end an alarm that does not end by itself, and say why"),
        ("evidence", "write the refused bundles of an archive to a directory"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("--home", type=Path, required=True, help="directory of the supervision's own files")
        if name == "serve":
            command.add_argument("--listen", default="127.0.0.1:8460", metavar="HOST:PORT")
            command.add_argument("--tls", nargs=2, type=Path, metavar=("CERTIFICATE", "KEY"), help="serve over HTTPS")
            command.add_argument("--notify", action="append", default=[], metavar="TARGET", help="smtp:// or https://")
            command.add_argument("--escalate", action="append", default=[], metavar="TARGET", help="if nobody answers")
            command.add_argument("--silence", type=int, default=15, metavar="MINUTES")
            command.add_argument("--nightly", default="06:00", metavar="HH:MM", help="UTC")
            command.add_argument("--challenge", type=int, default=60, metavar="MINUTES", help="0: ask for no document")
        if name in ("register", "evidence"):
            command.add_argument("archive")
        if name == "register":
            command.add_argument("--key", type=Path, required=True, help="journal.vkey of the archive")
            command.add_argument("--tsa-root", type=Path, action="append", default=[], metavar="FILE",
                                 help="root of a time-stamp authority, in PEM")  # fmt: skip
        if name == "evidence":
            command.add_argument("-o", "--output", type=Path, required=True)
        if name in ("acknowledge", "close"):
            command.add_argument("alarm", type=int)
            command.add_argument("--by", default="")
        if name == "close":
            command.add_argument("--reason", required=True, help="what was found, and done")
    return parser


def _serve(options: argparse.Namespace) -> int:
    watch = open_watch(options.home, options)
    host, _, port = options.listen.rpartition(":")
    door = Door((host, int(port)), watch, tuple(options.tls) if options.tls else None)
    scheme = "https" if options.tls else "http, in clear: on one machine or behind TLS only"
    print(f"supervision: {options.listen} ({scheme}); key {watch.witness.vkey()}", file=sys.stderr, flush=True)
    door.serve(said=lambda line: print(line, file=sys.stderr, flush=True))
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInputError("FILE_MISSING", f"{path}: {error.strerror}.", remedy="Check the name.") from error
    except UnicodeDecodeError as error:
        raise BadInputError("NOT_TEXT", f"{path} is not text.", remedy="Give the file in PEM.") from error


def _register(options: argparse.Namespace) -> int:
    if not _ARCHIVE.fullmatch(options.archive):
        raise BadInputError("BAD_NAME", f"{options.archive!r} cannot name an archive.", remedy="Use small letters.")
    register = open_watch(options.home).register
    roots = [_text(path) for path in options.tsa_root]
    new = register.add_archive(options.archive, _text(options.key), datetime.now(UTC))
    for root in roots:
        register.add_tsa_root(options.archive, root)
    print(f"{options.archive}: {'watched from now on' if new else 'was watched already'}")
    return 0


def _status(options: argparse.Namespace) -> int:
    found = status(open_watch(options.home))
    print(json.dumps(found, ensure_ascii=False, indent=2))
    return 0 if found["good"] else 1


def _acknowledge(options: argparse.Namespace) -> int:
    watch = open_watch(options.home)
    if not watch.register.acknowledge(options.alarm, options.by or getpass.getuser(), datetime.now(UTC)):
        raise BadInputError("UNKNOWN_ALARM", f"There is no alarm {options.alarm}.", remedy="`status` lists them.")
    print(f"alarm {options.alarm}: seen")
    return 0


def _close(options: argparse.Namespace) -> int:
    watch, reason = open_watch(options.home), options.reason.strip()
    if not reason:
        raise BadInputError("REASON_NEEDED", "An alarm is closed for a reason.", remedy="Give --reason TEXT.")
    by = options.by or getpass.getuser()
    if not watch.register.close_by_hand(options.alarm, by, reason, datetime.now(UTC)):
        raise BadInputError(
            "UNKNOWN_ALARM", f"No alarm {options.alarm} stands.", remedy="`status` lists those that do."
        )
    print(f"alarm {options.alarm}: closed by {by}")
    return 0


def _evidence(options: argparse.Namespace) -> int:
    if not options.output.is_dir():
        raise BadInputError("BAD_OUTPUT", f"There is no directory {options.output}.", remedy="Make it first.")
    found = open_watch(options.home).register.evidence(options.archive)
    for number, (code, data) in enumerate(found, start=1):
        (options.output / f"{options.archive}-{number:03d}-{code}.trace").write_bytes(data)
    print(f"{len(found)} refused bundles written to {options.output}")
    return 0


_COMMANDS = {
    "serve": _serve,
    "register": _register,
    "status": _status,
    "acknowledge": _acknowledge,
    "close": _close,
    "evidence": _evidence,
}

if __name__ == "__main__":
    sys.exit(main())
