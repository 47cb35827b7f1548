"""The auditor's command: `python -m minutier verify P.zip [--trust DIR] [--at TIME] [--opening O --document F]`.

Needs only this package and its three dependencies. Exit codes: 0 PASSED, 1 FAILED or INDETERMINATE, 2 bad usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from minutier.errors import BadInputError
from minutier.report import Verdict, as_text
from minutier.trust import load_trust
from minutier.verify import verify
from minutier.verify_opening import verify_opening


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and give its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.opening is None) != (options.document is None):
        parser.error("--opening and --document go together")
    try:
        report = verify(options.bundle, load_trust(options.trust), options.at or datetime.now(UTC))
        if options.opening and options.document:
            report = verify_opening(report, options.bundle, options.opening, options.document)
    except BadInputError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    text = json.dumps(report.as_dict(), ensure_ascii=False) if options.json else as_text(report)
    sys.stdout.write(text + "\n")
    return 0 if report.verdict is Verdict.PASSED else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m minutier", description="Verify proofs of a probative archive.")
    command = parser.add_subparsers(required=True).add_parser("verify", help="judge one proof bundle, offline")
    command.add_argument("bundle", type=Path, help="the proof, a .zip file")
    command.add_argument(
        "--trust", type=Path, help="directory of *.pem roots and journal.vkey that you checked yourself"
    )
    command.add_argument("--at", type=_moment, help="judge as of this RFC 3339 time (default: now)")
    command.add_argument("--opening", type=Path, help="the .opening.json of a blind document, with --document")
    command.add_argument("--document", type=Path, help="the document in clear that it is about")
    command.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("the time needs its zone, for example 2030-01-01T00:00:00Z")
    return moment


if __name__ == "__main__":
    sys.exit(main())
