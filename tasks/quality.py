"""Step: judge a batch as a whole with great-expectations: what no line shows alone, and no line is refused for.

The same reference, file or content twice, numbers that are missing from a sequence, dates that no such file has, far
more or fewer lines than the feed usually brings. The engine is imported here alone, when the step runs. Of what it
finds only line numbers and rules are kept: values may name people.
"""

from __future__ import annotations

import logging
import os
import re
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from storage.archive import Archive
from storage.bootstrap import current_archive
from tasks.bordereau import Batch, Finding
from tasks.feed_profiles import WARN
from tasks.intake import Received

_HISTORY, _LEAST_HISTORY, _DRIFT = 10, 3, 10
"""Batches that the usual volume is taken from, at most and at least; how many times more or fewer lines are told."""
_OLDEST_YEARS = 100
_LAST_NUMBER = re.compile(r"([0-9]{1,9})\Z")


@dataclass(frozen=True, slots=True)
class BatchRule:
    """A rule on whole batches: its code, the column of the manifest that it is about, its sentences."""

    code: str
    field: str
    fr: str
    en: str


RULES = {
    "reference": BatchRule(
        "LOT-01", "reference",
        "La même référence est sur plusieurs lignes du lot : une seule d’entre elles peut être archivée.",
        "The same reference is on several lines of the batch: only one of them can be archived.",
    ),
    "fichier": BatchRule(
        "LOT-02", "fichier", "Le même fichier est annoncé sur plusieurs lignes du lot.",
        "The same file is listed on several lines of the batch.",
    ),
    "content": BatchRule(
        "LOT-03", "sha256", "Le même contenu est sur plusieurs lignes du lot, sous des noms différents.",
        "The same content is on several lines of the batch, under different names.",
    ),
    "gap": BatchRule(
        "LOT-04", "reference",
        "Il manque un numéro avant celui de cette ligne dans la suite des références du dossier.",
        "A number is missing before this line's in the sequence of references of its dossier.",
    ),
    "day": BatchRule(
        "LOT-05", "date", "La date est dans le futur, ou a plus de cent ans.",
        "The date is in the future, or more than a hundred years ago.",
    ),
    "volume": BatchRule(
        "LOT-06", "lot", "Le lot a dix fois plus ou dix fois moins de lignes que les lots précédents de ce flux.",
        "The batch has ten times more or ten times fewer lines than the batches before it in this feed.",
    ),
}  # fmt: skip


def not_judged(received: Received) -> Received:
    """Say in what is told to the depositor that the batch as a whole was not judged: silence would say that it was."""
    said = Finding(
        0, "lot", "LOT-00", WARN,
        "Le lot n’a pas pu être contrôlé dans son ensemble ; chaque ligne l’a été.",
        "The batch could not be judged as a whole; each of its lines was.",
    )  # fmt: skip
    return replace(received, findings=(*received.findings, said))


def judge_batch(batch: Batch, today: date, history: Sequence[int] = ()) -> tuple[Finding, ...]:
    """Give what the batch as a whole breaks, by rule then by line; line 0 stands for the batch.

    `history` are the numbers of lines of the batches before it.
    """
    rows = _rows(batch)
    if not rows:
        return ()
    found = _judged(rows, today, _usual(history, len(rows)))
    return tuple(
        Finding(line, rule.field, rule.code, WARN, rule.fr, rule.en)
        for name, rule in RULES.items()
        for line in found.get(name, ())
    )


def _rows(batch: Batch) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for line in batch.lines:
        if line.row is not None:
            rows.append({
                "line": line.number,
                "reference": line.row.reference,
                "fichier": line.row.fichier,
                "content": line.row.sha256 or getattr(line.row, "sha512", "") or None,
                "day": line.row.date.toordinal(),
                "dossier": line.row.dossier,
            })  # fmt: skip
    return _with_gaps(rows)


def _with_gaps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each row how many numbers are missing before its own, among references of its dossier that count up."""
    by_stem: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        row["gap"] = 0
        if match := _LAST_NUMBER.search(row["reference"]):
            stem = (row["dossier"], row["reference"][: match.start()])
            by_stem.setdefault(stem, {})[int(match[1])] = row
    for numbered in by_stem.values():
        numbers = sorted(numbered)
        # A sequence, and not numbers that mean something else: most of them follow each other.
        steps = [number - before for before, number in pairwise(numbers)]
        if len(steps) >= 2 and 2 * steps.count(1) >= len(steps):
            for number, taken in zip(numbers[1:], steps, strict=True):
                numbered[number]["gap"] = taken - 1
    return rows


def _usual(history: Sequence[int], lines: int) -> tuple[int, int]:
    """Give how many lines the batch may have without being told; whatever it has where there is no history."""
    if len(history) < _LEAST_HISTORY:
        return lines, lines
    usual = statistics.median(history)
    return max(1, round(usual / _DRIFT)), max(1, round(usual * _DRIFT))


def _judged(rows: list[dict[str, Any]], today: date, usual: tuple[int, int]) -> dict[str, list[int]]:
    """Run the suite; gives the lines that break each rule."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of its own dependencies, at import
        import great_expectations as gx
        import pandas as pd  # type: ignore[import-untyped]
        from great_expectations import expectations
        from great_expectations.data_context.types.base import ProgressBarsConfig

        gxe: Any = expectations  # its module exports nothing by name
        logging.getLogger("great_expectations").setLevel(logging.WARNING)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("feed").add_dataframe_asset("batch")
        data = asset.add_batch_definition_whole_dataframe("whole")
        oldest = today - timedelta(days=round(365.25 * _OLDEST_YEARS))
        named: dict[str, Any] = {
            **{name: gxe.ExpectColumnValuesToBeUnique(column=name) for name in ("reference", "fichier", "content")},
            "gap": gxe.ExpectColumnValuesToBeInSet(column="gap", value_set=[0]),
            "day": gxe.ExpectColumnValuesToBeBetween(
                column="day", min_value=oldest.toordinal(), max_value=today.toordinal() + 1
            ),
            "volume": gxe.ExpectTableRowCountToBeBetween(min_value=usual[0], max_value=max(usual[1], 1)),
        }
        for name, expectation in named.items():
            expectation.meta = {"rule": name}
        suite = context.suites.add(gx.ExpectationSuite("batch", expectations=list(named.values())))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name="batch", data=data, suite=suite))
        outcome: Any = definition.run(
            batch_parameters={"dataframe": pd.DataFrame(rows)},
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["line"]},
        )
    return {result.expectation_config.meta["rule"]: _lines(result) for result in outcome.results if not result.success}


def _lines(result: Any) -> list[int]:
    """Give the lines that a result names, 0 for one about the whole batch."""
    if (result.exception_info or {}).get("raised_exception"):
        raise RuntimeError(f"a rule could not be judged: {result.exception_info['exception_message']}")
    return sorted({int(each["line"]) for each in result.result.get("unexpected_index_list") or ()}) or [0]


def _history(archive: Archive, feed: str, name: str) -> list[int]:
    """Give how many lines each of the last batches of a feed had, but for the one of this name."""
    with archive.database.transaction() as connection:
        rows = connection.execute(
            "SELECT jsonb_array_length(report -> 'lines') AS lines FROM batch WHERE feed = %s AND name <> %s"
            " ORDER BY taken_at DESC LIMIT %s",
            (feed, name, _HISTORY),
        )
        return [int(row["lines"]) for row in rows]


@task(name="judge the batch", task_run_name="quality · {name}", persist_result=False)
def judge_whole(name: str, batch: Batch, received: Received) -> Received:
    """Judge a batch as a whole; gives what was received, with what was found; publishes counts by rule."""
    archive = current_archive()
    found = judge_batch(batch, archive.clock().date(), _history(archive, received.feed, name))
    every = (*received.findings, *found)
    create_table_artifact(key="quality", table=_table(every), description=f"## {received.feed} · {name}\nRules broken.")
    return replace(received, findings=every)


def _table(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Count findings by rule: codes and line numbers, no value."""
    by_rule: dict[tuple[str, str, str], list[int]] = {}
    for each in findings:
        by_rule.setdefault((each.rule, each.level, each.en), []).append(each.line)
    return [
        {"rule": rule, "level": level, "broken by": len(lines), "lines": ", ".join(map(str, lines[:20])), "says": says}
        for (rule, level, says), lines in sorted(by_rule.items())
    ] or [{"rule": "all", "level": "", "broken by": 0, "lines": "", "says": "Every rule holds."}]
