"""The command line: thin. It finds the instance, runs one verb, prints words or one JSON document, gives an exit code.

Exit codes: 0 done or positive; 1 negative verdict or finding; 2 bad usage or bad input; 3 a service is unavailable,
nothing is lost; 4 refused by policy. Words and progress go to stderr, results to stdout.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from minutier.errors import BadInputError, MinutierError

if TYPE_CHECKING:
    from storage.archive import Archive
    from storage.settings import Settings

app = typer.Typer(
    name="minutier",
    help="Probative archive: documents kept bit for bit, with a proof that a stranger checks offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@dataclass
class Context:
    """Options that stand before or after any command."""

    home: Path | None = None
    json: bool = False


context = Context()


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
    # What stopped a run is said in one sentence; its traceback stays on the run's page.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    os.environ["MINUTIER_HOME"] = str(complete.home)
    os.environ["MINUTIER_DATABASE_URL"] = complete.database_url or ""
    os.environ["MINUTIER_TSA_URLS"] = ",".join(complete.tsa_urls or ())
    try:
        yield current_archive()
    finally:
        from tasks.isolate import close_workers

        close_workers()
        close_current()


def say(line: str) -> None:
    """Tell progress to the person, never to the program that reads stdout."""
    print(line, file=sys.stderr, flush=True)


def show(value: Any, words: str) -> None:
    """Print the result: one JSON document with --json, words otherwise."""
    print(dumps(value, ensure_ascii=False, indent=2, default=str) if context.json else words)


def table(headers: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Lay out rows in columns wide enough for their content."""
    cells = [headers, *[tuple("" if value is None else str(value) for value in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; gives the exit code. Errors that are expected become sentences, never tracebacks."""
    from deployments import commands_archive, commands_documents, commands_instance  # noqa: F401 - they register

    try:
        result = app(args=_common_options(arguments), prog_name="minutier", standalone_mode=False)
    except MinutierError as error:
        return _report(error)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        say("Interrupted. Nothing is lost: run the same command again.")
        return 3
    except typer.TyperException as error:
        say(f"Error [USAGE]: {error.format_message()}\n→ minutier --help, minutier COMMAND --help")
        return 2
    except OSError as error:
        return _report(_from_system(error))
    return result if isinstance(result, int) else 0


def _common_options(arguments: list[str]) -> list[str]:
    """Take --json and --home from wherever they stand, so that people need not remember the order."""
    rest: list[str] = []
    context.json, context.home = False, None
    items = iter(arguments)
    for item in items:
        if item == "--":
            return [*rest, item, *items]
        if item == "--json":
            context.json = True
        elif item == "--home" or item.startswith("--home="):
            value = item.partition("=")[2] or next(items, "")
            if not value:
                raise BadInputError("USAGE", "--home needs a directory.", remedy="Write --home DIR.")
            context.home = Path(value)
        else:
            rest.append(item)
    return rest


def _report(error: MinutierError) -> int:
    if context.json:
        print(dumps({"error": error.as_dict()}, ensure_ascii=False, indent=2))
    tell_error(error)
    return error.exit_code


def tell_error(error: MinutierError) -> None:
    """Say what happened, why, and what to do."""
    say(f"Error [{error.code}]: {error.message}" + (f"\n→ {error.remedy}" if error.remedy else ""))


def _from_system(error: OSError) -> MinutierError:
    from minutier.errors import ServiceUnavailableError

    where = error.filename or "a file"
    if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return BadInputError("FILE_ERROR", f"{where}: {error.strerror}.", remedy="Check the path and the rights on it.")
    return ServiceUnavailableError(
        "SYSTEM_ERROR", f"{where}: {error.strerror or error}.", remedy="Nothing is lost. Mend the cause and try again."
    )
