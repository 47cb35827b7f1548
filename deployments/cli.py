"""The command line: thin. It finds the instance, runs one verb, prints words or one JSON document, gives an exit code.

Exit codes: 0 done or positive; 1 negative verdict or finding; 2 bad usage or bad input; 3 a service is unavailable,
nothing is lost; 4 refused by policy. Words and progress go to stderr, results to stdout.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from json import dumps, loads
from pathlib import Path
from traceback import format_exception
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from minutier.errors import BadInputError, MinutierError, ServiceUnavailableError

if TYPE_CHECKING:
    from io import TextIOWrapper

    from storage.archive import Archive
    from storage.settings import Settings

app = typer.Typer(
    name="minutier",
    help="Probative archive: documents kept bit for bit, with a proof that a stranger checks offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        found = version("minutier")
        show({"version": found}, f"minutier {found}")
        raise typer.Exit


@app.callback()
def _common(
    home: Annotated[
        Path | None, typer.Option("--home", metavar="DIR", help="the instance; anywhere on the line")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON document on stdout; anywhere on the line")] = False,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="say which release this is")
    ] = False,
) -> None:
    """Show the common options in the help: `_common_options` has taken them before this runs."""


@dataclass
class Context:
    """Options that stand before or after any command."""

    home: Path | None = None
    json: bool = False
    out: TextIO | None = None
    """Where the document of --json goes, while a command runs."""
    told: bool = False
    """Whether it went there: what fails afterwards is said on stderr alone."""


context = Context()
_CTRL_C = 130  # what typer makes of it


def settings() -> Settings:
    """Read the settings of the instance that the caller names."""
    from storage.settings import load_settings

    return load_settings(context.home, os.environ)


@contextmanager
def running_archive() -> Iterator[Archive]:
    """Open the archive of a running instance, and point Prefect's client and the tasks at it."""
    from deployments.instance import connected, prefect_environment
    from storage.bootstrap import close_current, current_archive

    complete = connected(settings())
    os.environ.update(prefect_environment(complete))
    os.environ["MINUTIER_HOME"] = str(complete.home)
    os.environ["MINUTIER_DATABASE_URL"] = complete.database_url or ""
    os.environ["MINUTIER_TSA_URLS"] = ",".join(complete.tsa_urls or ())
    os.environ["MINUTIER_CRLS"] = ",".join(complete.crls)
    try:
        yield current_archive()
    finally:
        from tasks.isolate import close_workers

        if handlers := sys.modules.get("prefect.logging.handlers"):
            # Sent while the server that takes them still runs; commands that started no run have none.
            handlers.APILogWorker.drain_all(timeout=5)
        close_workers()
        close_current()


def say(line: str) -> None:
    """Tell progress to the person, never to the program that reads stdout."""
    _write(sys.stderr, line)


def show(value: Any, words: str) -> None:
    """Print the result: one JSON document with --json, words otherwise."""
    out, context.told = context.out or sys.stdout, True
    _write(out, _document(value, out) if context.json else words)


def printable(text: str) -> str:
    """Give the text with U+FFFD for what stands in it for a byte that is not UTF-8."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _document(value: Any, out: TextIO) -> str:
    text = printable(dumps(value, ensure_ascii=False, indent=2, default=str))
    return text if "utf" in (out.encoding or "").lower() else dumps(loads(text), indent=2)


def _write(stream: TextIO, text: str) -> None:
    try:
        print(printable(text), file=stream, flush=True)
    except BrokenPipeError:
        # `… | head` has what it wanted. What Python flushes at its end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def table(headers: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Lay out rows in columns wide enough for their content."""
    cells = [headers, *[tuple("" if value is None else str(value) for value in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not in UTF-8 shows a question mark, not an error.
        cast("TextIOWrapper", stream).reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; gives the exit code. Every error becomes a sentence (and one JSON document), no traceback."""
    _silence_libraries()
    try:
        result = _command(arguments)
    except MinutierError as error:
        return _report(error)
    except typer.Exit as leave:
        return leave.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _report(_interrupted())
    except typer.TyperException as error:
        message = error.format_message()
        # Without a command the help was printed, which says it all; a program gets its document.
        return _report(_usage(message)) if message or context.json else _usage("").exit_code
    except OSError as error:
        return _report(_from_system(error))
    except Exception as error:  # noqa: BLE001 - the edge of the process: past it, exit 1 would say "negative verdict"
        return _report(_engine_down(error) or _fault(error))
    return _report(_interrupted()) if result == _CTRL_C else result


def _command(arguments: list[str]) -> int:
    from deployments import (  # noqa: F401 - they register
        commands_archive,
        commands_deposits,
        commands_documents,
        commands_instance,
        commands_journal,
        commands_keys,
        commands_lifecycle,
        commands_quarantine,
        commands_reading,
        commands_recovery,
        commands_restitution,
        commands_safes,
        commands_texts,
        commands_traces,
    )

    rest = _common_options(arguments)
    with ExitStack() as undo:
        if context.json:  # stdout is for the one document: help, and whatever a library prints, go elsewhere
            context.out = sys.stdout
            undo.callback(setattr, context, "out", None)
            undo.enter_context(redirect_stdout(sys.stderr))
        result = app(args=rest, prog_name="minutier", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _silence_libraries() -> None:
    """Keep the logs of libraries off the terminal, before the first of them is imported.

    What stopped a command is said in one sentence, and what stopped a run stays on the run's page.
    """
    # The terminal alone: the page of a run keeps the log of its steps.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # Runs belong on the server of the instance; a server of the moment would take them without a word.
    os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    if not logging.root.handlers:  # without any, Python writes warnings to stderr
        logging.root.addHandler(logging.NullHandler())


def _common_options(arguments: list[str]) -> list[str]:
    """Take --json and --home from wherever they stand, so that people need not remember the order."""
    rest: list[str] = []
    end = arguments.index("--") if "--" in arguments else len(arguments)
    # Known before anything can be wrong on the line: an error is a JSON document too.
    context.json, context.home, context.told = "--json" in arguments[:end], None, False
    items = iter(arguments)
    for item in items:
        if item == "--":
            return [*rest, item, *items]
        if item == "--json":
            continue
        if item == "--home" or item.startswith("--home="):
            value = item.partition("=")[2] if "=" in item else next(items, "")
            if not value or value.startswith("-"):
                raise BadInputError("USAGE", "--home needs a directory.", remedy="Write --home DIR.")
            context.home = Path(value)
        else:
            rest.append(item)
    return rest


def _report(error: MinutierError) -> int:
    with suppress(OSError):  # stdout itself may be what failed
        if context.json and not context.told:
            _write(sys.stdout, _document({"error": error.as_dict()}, sys.stdout))
    tell_error(error)
    return error.exit_code


def tell_error(error: MinutierError) -> None:
    """Say what happened, why, and what to do."""
    say(f"Error [{error.code}]: {error.message}" + (f"\n→ {error.remedy}" if error.remedy else ""))


def _from_system(error: OSError) -> MinutierError:
    where = error.filename or "a file"
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return BadInputError("FILE_ERROR", f"{where}: {error.strerror}.", remedy="Check the path and the rights on it.")
    return ServiceUnavailableError(
        "SYSTEM_ERROR", f"{where}: {error.strerror or error}.", remedy="Nothing is lost. Mend the cause and try again."
    )


def _usage(message: str) -> MinutierError:
    return BadInputError("USAGE", message or "A command is missing.", remedy="minutier --help, minutier COMMAND --help")


def _interrupted() -> MinutierError:
    return ServiceUnavailableError("INTERRUPTED", "Interrupted.", remedy="Nothing is lost: run the same command again.")


def _engine_down(error: Exception) -> MinutierError | None:
    """Give the sentence for a Prefect server that does not answer, None for another error.

    Its client raises a bare RuntimeError from the error of the network; no other client leaves those as they are.
    """
    from httpx import TransportError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, TransportError):
        cause = cause.__cause__
    if cause is None:
        return None
    return ServiceUnavailableError(
        "PREFECT_DOWN",
        f"The Prefect server does not answer ({cause}).",
        remedy="Nothing is lost. Start it (`minutier up`, or your own) and run the same command again.",
    )


def _fault(error: Exception) -> MinutierError:
    """Give the sentence for what nobody foresaw; its traceback goes to the command log of the home."""
    log = _keep_traceback(error)
    report = f"If it ends the same, report it with the end of {log}." if log else "If it ends the same, report it."
    return ServiceUnavailableError(
        "INTERNAL",
        f"This is a fault of Minutier, not of what you asked ({type(error).__name__}).",
        remedy=f"What was archived is safe. Run the same command again: what was done is not done twice. {report}",
    )


def _keep_traceback(error: Exception) -> Path | None:
    """Append the traceback to HOME/logs/command.log; None when there is no home, or it cannot be written."""
    from deployments.processes import rotate
    from storage.settings import home_directory

    try:
        home = home_directory(context.home, os.environ)
        if not home.is_dir():
            return None
        log = home / "logs" / "command.log"
        log.parent.mkdir(exist_ok=True, mode=0o700)
        rotate(log)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{datetime.now(UTC).isoformat()} {''.join(format_exception(error))}\n")
    except (OSError, ValueError, RuntimeError):  # the last from a `~` without a home; the fault is said all the same
        return None
    return log
