"""Scale of the deposit: several worker processes at once, and what a document costs once very many are archived.

    uv run python -m benchmarks.scale --json

Papers of PDF/A-2b of about 300 kB, which pass as they are; two directory stores; fsync and synchronous commit on.

Sustained: worker processes share nothing but PostgreSQL and the stores; each carries batches from files to ARCHIVED by
the steps of flows/deposit.py. Baselines: benchmarks/baseline_deposit.sh on the same kind of papers, alone and two at
once: short, which neither screens, renders, encrypts nor journals, and whole, which does what ordinary tools can.

Growth: the same batch is deposited in an archive that is filled up between the measurements. What fills it are rows of
a document that was deposited for real, copied with new names, with its folders in the stores and its wrapped keys: they
weigh what documents weigh to a deposit, and nobody could read them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.deposit import BASELINE, Script
from benchmarks.rendition import archival_papers, ocrmypdf_command
from benchmarks.rig import Journey, Rig, cpu_seconds, deposit, load_average, machine, running, say, scratch
from storage.bootstrap import opened_archive, require_probed
from storage.database import Connection
from storage.settings import load_settings

KILOBYTES = 240  # of the image; the paper has about 300
_BATCH = 50
_COPIED = {
    "deposit": "archive_id, reference",
    "document_key": "archive_id",
    "object": "archive_id, key",
    "replica_copy": "archive_id",
    "evidence_chain": "archive_id",
    "outbox": "archive_id",
}


def measure(documents: int, workers: tuple[int, ...], baseline: int, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Deposit `documents` by each number of `workers`, `baseline` by the script; then grow to each of `sizes`."""
    load = load_average()
    with scratch() as directory, running(directory) as rig:
        say("scale: writing the papers")
        wanted = documents * len(workers) + 5 * baseline + 4 + 2 * _BATCH * len(sizes)
        files = iter(archival_papers(directory, wanted, KILOBYTES))
        deposit(rig.archive, [next(files)])
        sustained = {str(count): _sustained(rig, [next(files) for _ in range(documents)], count) for count in workers}
        script = _script(rig, directory, files, baseline) if baseline else None
        whole = _whole(rig, directory, files, baseline) if baseline else None
        growth = [_grown(rig, size, [next(files) for _ in range(2 * _BATCH)]) for size in sizes]
    best = max(found["documents_per_second"] for found in sustained.values())
    return {
        "machine": machine(),
        "load_before_and_after": [load, load_average()],
        "documents": documents,
        "workers": sustained,
        "baseline": BASELINE,
        "script": script,
        "whole_script": whole,
        "ratio": round(best / script["one"], 2) if script else None,
        "ratio_whole": round(best / whole["one"], 1) if whole else None,
        "ratio_whole_at_once": round(best / whole["two_at_once"], 1) if whole else None,
        "ratio_at_once": round(best / script["two_at_once"], 2) if script else None,
        "growth": growth,
        "growth_ratio": round(growth[-1]["ms_per_document"] / growth[0]["ms_per_document"], 2) if growth else None,
    }


def _sustained(rig: Rig, files: list[Path], workers: int) -> dict[str, Any]:
    """Carry the files by worker processes that start together; the time is from the start to the last one's end."""
    say(f"scale: {len(files)} documents by {workers} workers")
    settings = rig.archive.settings
    environment = dict(os.environ) | {
        "MINUTIER_DATABASE_URL": settings.database_url or "",
        "MINUTIER_TSA_URLS": ",".join(settings.tsa_urls or ()),
    }
    command = [sys.executable, "-m", "benchmarks.scale", "--worker", str(settings.home)]
    running_ = [
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    try:
        for process in running_:
            if process.stdout is None or process.stdout.readline() != "ready\n":
                raise RuntimeError("a worker did not start")
        started = time.perf_counter()
        with ThreadPoolExecutor(workers) as threads:
            parts = [files[number::workers] for number in range(workers)]
            answers = list(threads.map(_tell, running_, parts))
        seconds = time.perf_counter() - started
    finally:
        for process in running_:
            process.kill()
            process.wait()
    return {
        "documents_per_second": round(len(files) / seconds, 2),
        "cpu_ms_per_document": round(1000 * sum(each["cpu"] for each in answers) / len(files), 1),
        "peak_megabytes": max(each["peak_megabytes"] for each in answers),
    }


def _tell(process: subprocess.Popen[str], files: list[Path]) -> dict[str, Any]:
    out, _ = process.communicate(json.dumps([str(path) for path in files]), timeout=3600)
    found: dict[str, Any] = json.loads(out)
    return found


def _work(home: Path) -> None:
    with opened_archive(load_settings(home, dict(os.environ))) as archive:
        require_probed(archive)
        print("ready", flush=True)
        files = [Path(name) for name in json.loads(sys.stdin.read())]
        for start in range(0, len(files), _BATCH):
            deposit(archive, files[start : start + _BATCH])
    print(json.dumps({"cpu": cpu_seconds(), "peak_megabytes": _peak()}))


def _whole(rig: Rig, directory: Path, files: Any, baseline: int) -> dict[str, float] | None:
    """Measure the script that gives the same service; None, with a sentence, where its tools are absent."""
    command = ocrmypdf_command()
    if command is None or shutil.which("age") is None:
        say("scale: no script of the whole service (apt-get install age tesseract-ocr ghostscript)")
        return None
    return _script(rig, directory, files, max(4, baseline // 3), command)


def _script(rig: Rig, directory: Path, files: Any, baseline: int, ocrmypdf: str | None = None) -> dict[str, float]:
    say(f"scale: {baseline} documents by the {'whole' if ocrmypdf else 'short'} script, then two scripts at once")
    script = Script(rig, directory, next(files), ocrmypdf)
    alone = script.run([next(files) for _ in range(baseline)])
    parts = [[next(files) for _ in range(baseline)] for _ in range(2)]
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(script.run, parts))
    seconds = time.perf_counter() - started
    return {"one": round(baseline / alone, 2), "two_at_once": round(2 * baseline / seconds, 2)}


def _grown(rig: Rig, size: int, files: list[Path]) -> dict[str, Any]:
    """Fill the archive up to `size` documents, then deposit two batches; give what a document of them costs."""
    with rig.archive.database.transaction() as connection:
        row = connection.execute("SELECT count(*) AS n FROM deposit").fetchone()
        missing = size - int(row["n"] if row else 0)
    if missing > 0:
        say(f"scale: filling up to {size} documents")
        _fill(rig, missing)
    say(f"scale: {len(files)} documents at {size}")
    cpu, started, journey = cpu_seconds(), time.perf_counter(), Journey()
    for start in range(0, len(files), _BATCH):
        journey.add(deposit(rig.archive, files[start : start + _BATCH]))
    return {
        "steps_ms_per_document": journey.as_dict()["steps_ms_per_document"],
        "archived": size,
        "ms_per_document": round(1000 * (time.perf_counter() - started) / len(files), 1),
        "cpu_ms_per_document": round(1000 * (cpu_seconds() - cpu) / len(files), 1),
        "peak_megabytes": _peak(),
    }


def _fill(rig: Rig, count: int) -> None:
    archive = rig.archive
    with archive.database.transaction() as connection:
        query = "SELECT archive_id, safe FROM deposit WHERE state = 'ARCHIVED' ORDER BY archive_id LIMIT 1"
        row = connection.execute(query).fetchone()
        if row is None:
            raise RuntimeError("there is no document to copy")
        connection.execute("CREATE TEMPORARY TABLE fill (id uuid PRIMARY KEY, n bigint) ON COMMIT DROP")
        ids = [str(uuid.uuid4()) for _ in range(count)]
        with connection.cursor() as cursor, cursor.copy("COPY fill (id, n) FROM STDIN") as copy:
            for number, each in enumerate(ids):
                copy.write_row((each, number))
        for table, changed in _COPIED.items():
            _copy_rows(connection, table, changed, str(row["archive_id"]))
        _fill_journal(connection, str(row["archive_id"]))
        _fill_tokens(connection, count // _BATCH)
    for each in ids:
        for replica in ("a", "b"):
            (archive.settings.home / "replicas" / replica / row["safe"] / each).mkdir()
        archive.keys.keep(each, b"filling")
    with archive.database.transaction() as connection:
        connection.execute("ANALYZE")
    os.sync()  # what the filling left to write is no part of the next deposits


def _copy_rows(connection: Connection, table: str, changed: str, source: str) -> None:
    rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = %s", (table,))
    columns = [str(row["column_name"]) for row in rows]
    values = {name: f"t.{name}" for name in columns} | {"archive_id": "fill.id"}
    if "reference" in changed:
        values["reference"] = "'fill-' || fill.id"
    if "key" in changed:
        values["key"] = "replace(t.key, t.archive_id::text, fill.id::text)"
    chosen, read = ", ".join(columns), ", ".join(values[name] for name in columns)
    query = f"INSERT INTO {table} ({chosen}) SELECT {read} FROM {table} t, fill WHERE t.archive_id = %s"
    connection.execute(query.encode(), (source,))


def _fill_journal(connection: Connection, source: str) -> None:
    connection.execute(
        "INSERT INTO journal_event (event, archive_id, at, entry, leaf, seq, chain)"
        " SELECT e.event, fill.id, e.at, e.entry, e.leaf,"
        " (SELECT max(seq) FROM journal_event) + row_number() OVER (ORDER BY fill.n, e.event_id), e.chain"
        " FROM journal_event e, fill WHERE e.archive_id = %s AND e.seq IS NOT NULL",
        (source,),
    )


def _fill_tokens(connection: Connection, count: int) -> None:
    connection.execute(
        "INSERT INTO token (token_id, gen_time, serial, root, token, tsa, algorithm, leaves, stands_until, rests_on,"
        " revocation_state) SELECT gen_random_uuid(), gen_time, serial || '.' || gen_random_uuid(), root, token, tsa,"
        " algorithm, leaves, stands_until, rests_on, 'confirmed'"
        " FROM (SELECT * FROM token LIMIT 1) t, generate_series(1, %s)",
        (count,),
    )


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Lay the result out as (what, figure, detail)."""
    lines = [
        (
            f"deposit, {count} workers",
            f"{found['documents_per_second']:.1f} documents/s",
            f"peak {found['peak_megabytes']:.0f} MB each",
        )
        for count, found in result["workers"].items()
    ]
    if script := result["script"]:
        lines.append(("baseline: shell script", f"{script['one']:.1f} documents/s", f"ratio {result['ratio']}"))
        detail = f"ratio {result['ratio_at_once']}"
        lines.append(("baseline: two scripts at once", f"{script['two_at_once']:.1f} documents/s", detail))
    if whole := result["whole_script"]:
        detail = f"ratio {result['ratio_whole']}, two at once {result['ratio_whole_at_once']}"
        lines.append(("baseline: the whole script", f"{whole['one']:.1f} documents/s", detail))
    for found in result["growth"]:
        detail = f"CPU {found['cpu_ms_per_document']:.0f} ms, peak {found['peak_megabytes']:.0f} MB"
        lines.append((f"one more, at {found['archived']}", f"{found['ms_per_document']:.0f} ms", detail))
    if result["growth"]:
        lines.append(("growth, last to first", f"{result['growth_ratio']}", ""))
    return lines


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200, help="documents for each number of workers (default 200)")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4], help="worker processes (default 1 2 4)")
    parser.add_argument("--baseline", type=int, default=30, help="documents of the script; 0 skips it (default 30)")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000], help="documents archived")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        _work(options.worker)
        return
    result = measure(options.documents, tuple(options.workers), options.baseline, tuple(options.sizes))
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for what, figure, detail in rows(result):
        print(f"{what:28} {figure:>20}   {detail}")


if __name__ == "__main__":
    main()
